"""Energies: what `beta` multiplies."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core import DeclarationError, described, eager, full_products, known, weights_of
from ._basis import widened
from ._check_loss import AbstractSupervised, check_loss
from ._measure import AbstractMeasure


def zero(x: PyTree) -> Float[Array, ""]:
    """The target that is zero everywhere."""
    return jnp.zeros(())


def total(energy: "AbstractEnergy", model: PyTree) -> Float[Array, ""]:
    """The energy of a model, summed over the terms."""
    return sum((factor * term.value(model) for factor, term in energy.terms()), jnp.zeros(()))


@described("an energy", "pass e.g. bx.SquaredError(model, bx.Empirical((x, y)))")
class AbstractEnergy(eqx.Module):
    """A function of the weights; energies add and scale."""

    @abc.abstractmethod
    def terms(self) -> tuple[tuple[Array | float, "AbstractTerm"], ...]:
        """The energy as a linear combination of elementary terms."""

    def __add__(self, other: object) -> "SumEnergy":
        if not isinstance(other, AbstractEnergy):
            raise DeclarationError(
                "energy",
                got=repr(other),
                expected="an energy on both sides of +",
                mend="add energies to energies; use `factor * energy` to scale",
            )
        return SumEnergy((self, other))

    def __radd__(self, other: object) -> "AbstractEnergy":
        # the builtin `sum` starts from 0
        return self if isinstance(other, int) and other == 0 else self + other

    def __mul__(self, factor: float | Array) -> "ScaledEnergy":
        return ScaledEnergy(factor, self)

    def __rmul__(self, factor: float | Array) -> "ScaledEnergy":
        return ScaledEnergy(factor, self)

    def __truediv__(self, divisor: float | Array) -> "ScaledEnergy":
        return ScaledEnergy(1 / _real("divisor", divisor, "divide an energy by a scalar"), self)


class SumEnergy(AbstractEnergy):
    """`E_1 + E_2 + ...`"""

    parts: tuple[AbstractEnergy, ...]

    def terms(self):
        return tuple(term for part in self.parts for term in part.terms())

    def value(self, model: PyTree) -> Float[Array, ""]:
        """The energy of a model with the structure of the declared one."""
        return total(self, model)


class ScaledEnergy(AbstractEnergy):
    """`factor * E`"""

    factor: Array
    energy: AbstractEnergy

    @eager
    def __init__(self, factor: float | Array, energy: AbstractEnergy):
        self.factor = _real("factor", factor, "multiply an energy by a scalar")
        self.energy = energy

    def terms(self):
        return tuple((self.factor * factor, term) for factor, term in self.energy.terms())

    @full_products()
    def value(self, model: PyTree) -> Float[Array, ""]:
        """The energy of a model with the structure of the declared one."""
        return total(self, model)


class AbstractTerm(AbstractEnergy):
    """An elementary energy of one declared model."""

    model: eqx.AbstractVar[PyTree]

    @abc.abstractmethod
    def value(self, model: PyTree) -> Float[Array, ""]:
        """The energy of the model with these weights."""

    @abc.abstractmethod
    def estimate(self, model: PyTree, key: PRNGKeyArray) -> Float[Array, ""]:
        """An unbiased estimate of `value` (a minibatch, if the measure is `Subsampled`)."""

    def terms(self):
        return ((1.0, self),)


class AbstractDataTerm(AbstractTerm):
    """`E(w) = ∫ loss(w, z) μ(dz)`: an integral over the data measure."""

    measure: eqx.AbstractVar[AbstractMeasure]

    @abc.abstractmethod
    def loss(self, model: PyTree, datum: PyTree) -> Float[Array, ""]:
        """The loss of one datum."""

    @full_products()
    def value(self, model: PyTree) -> Float[Array, ""]:
        self._check(model)
        return self.measure.integrate(lambda datum: self.loss(model, datum))

    @full_products()
    def estimate(self, model: PyTree, key: PRNGKeyArray) -> Float[Array, ""]:
        self._check(model)
        return self.measure.estimate(lambda datum: self.loss(model, datum), key)

    def _check(self, model: PyTree) -> None:
        """What `compile` checks of a loss; not again inside programs, where data are traced."""
        if known(self.measure):
            check_loss(self, model)


class AbstractCountedTerm(AbstractDataTerm):
    """A data term that says how many things a datum holds, where n does not count data.

    `E` stays a sum, so that `β E` is in nats. A `Temperature` speaks of n and of the mean loss;
    both are in units of what is counted here.
    """

    @property
    @abc.abstractmethod
    def unit(self) -> str:
        """What n counts: `"data"` or another plural."""

    @abc.abstractmethod
    def counted(self, datum: PyTree) -> Float[Array, ""]:
        """How many of them one datum holds."""


def amount(term: AbstractDataTerm) -> Float[Array, ""]:
    """What n counts, over the measure of a term: its mass, unless the term counts otherwise."""
    if not isinstance(term, AbstractCountedTerm) or term.unit == "data":
        return term.measure.mass
    return term.measure.integrate(term.counted)


class SquaredError(AbstractDataTerm, AbstractSupervised):
    """`E(w) = ∫ ½ |f(x) - y|² μ(dz)`: the unit-variance Gaussian likelihood, up to its constant.

    With `target` (a function or another model), the datum is `x` and `y = target(x)`; without it
    the datum is a pair `(x, y)`. For data of variance s², multiply by 1/s².
    """

    model: PyTree
    measure: AbstractMeasure
    target: PyTree = None

    def __post_init__(self):
        check_data_term(self.model, self.measure, self.target)

    @property
    def lengths(self) -> tuple[int, ...]:
        return (2,)

    def check_label(self, output, y) -> None:
        constant = y.shape == () and self.target is not None
        if y.shape != output.shape and not constant:
            raise DeclarationError(
                "target",
                got=f"shape {tuple(y.shape)} against a model output of shape {tuple(output.shape)}",
                expected="equal shapes, so that nothing broadcasts silently",
                mend="reshape the labels or the model's output, e.g. y[:, None] or out[0]",
            )

    def residual(self, model: PyTree, datum: PyTree) -> Array:
        """`f(x) - y`, of the shape of the model's output, in the precision of the process."""
        x, y = split_datum(self.target, datum)
        output, y = widened(model(x)), widened(y)
        self.check_label(output, y)
        return output - y

    def prediction(self, model: PyTree, datum: PyTree) -> Array:
        """`f(x)`, in the precision of the process."""
        return widened(model(datum if self.target is not None else datum[0]))

    def loss(self, model: PyTree, datum: PyTree) -> Float[Array, ""]:
        return 0.5 * jnp.sum(self.residual(model, datum) ** 2)

    def change(self, model: PyTree, reference: PyTree, datum: PyTree) -> Float[Array, ""]:
        """`½|r|² - ½|r_ref|² = (f - f_ref)·(r + r_ref)/2`, without loss of digits."""
        moved = self.prediction(model, datum) - self.prediction(reference, datum)
        return jnp.sum(moved * (self.residual(reference, datum) + 0.5 * moved))


class PerDatum(AbstractCountedTerm):
    """`E(w) = ∫ fn(model, z) μ(dz)` for any per-datum loss `fn` that returns a scalar.

    Args:
        model: Any callable pytree, or whatever `fn` takes as a model.
        measure: The measure of the data.
        fn: The loss `(model, datum) -> scalar`; sum it over what a datum holds.
        count: How many things one datum holds, `datum -> number`, where n counts these and not
            data: for a sequence its tokens, `count=lambda z: z.shape[0]`.
    """

    model: PyTree
    measure: AbstractMeasure
    fn: Callable = eqx.field(static=True)
    count: Callable | None = eqx.field(static=True, default=None, kw_only=True)

    def __post_init__(self):
        for argument, value, expected in (
            ("fn", self.fn, "a function (model, datum) -> scalar"),
            ("count", self.count, "a function datum -> number, or None where n counts data"),
        ):
            if not callable(value) and not (argument == "count" and value is None):
                raise DeclarationError(
                    argument,
                    got=repr(value),
                    expected=expected,
                    mend="pass the per-datum loss, and only what is counted as `count=`",
                )
        _check_measure(self.measure)

    @property
    def unit(self) -> str:
        return "data" if self.count is None else "what `count` counts"

    def counted(self, datum: PyTree) -> Float[Array, ""]:
        return widened(1 if self.count is None else self.count(datum))

    def loss(self, model: PyTree, datum: PyTree) -> Float[Array, ""]:
        return self.fn(model, datum)


class Localisation(AbstractTerm):
    """`(strength/2) |w - w*|²` about the weights `w*` of `model`.

    It belongs to the prior: the compiler adds it to `log_prior`, so that neither `beta` nor the
    mean energy of a learning coefficient sees it (the γ of Lau et al. 2023, arXiv:2308.12108).
    """

    model: PyTree
    strength: Array

    @eager
    def __init__(self, model: PyTree, strength: float | Array):
        self.model = model
        self.strength = _real("strength", strength, "pass e.g. strength=1.0")
        if known(self.strength) and not 0 <= float(self.strength) < float("inf"):
            raise DeclarationError(
                "strength",
                got=repr(strength),
                expected="one finite, non-negative number",
                mend="pass e.g. strength=1.0",
            )

    def value(self, model: PyTree) -> Float[Array, ""]:
        centre, here = weights_of(self.model), weights_of(model)
        return 0.5 * self.strength * sum(jnp.sum((here[k] - centre[k]) ** 2) for k in centre)

    def estimate(self, model: PyTree, key: PRNGKeyArray) -> Float[Array, ""]:
        return self.value(model)


def _real(argument: str, value: object, mend: str) -> Array:
    """One real number as an array."""
    try:
        proper = value is not None and not isinstance(value, bool | str)
        kind, shape = (jnp.result_type(value), jnp.shape(value)) if proper else (None, None)
    except (TypeError, ValueError):
        kind, shape = None, None
    real = kind is not None and jnp.issubdtype(kind, jnp.number)
    if not real or jnp.issubdtype(kind, jnp.complexfloating) or shape != ():
        raise DeclarationError(
            argument, got=f"{value!r:.80}", expected="one real number", mend=mend
        )
    return jnp.asarray(value, float)


def split_datum(target: PyTree, datum: PyTree) -> tuple[PyTree, PyTree]:
    """Input and label of a datum: a pair, or an input whose label is `target(x)`."""
    return datum if target is None else (datum, target(datum))


def _check_measure(measure: object) -> None:
    if not isinstance(measure, AbstractMeasure):
        raise DeclarationError(
            "measure",
            got=type(measure).__name__,
            expected="a measure",
            mend="pass e.g. bx.GaussianMeasure(1), or bx.Empirical((x, y)) for arrays of data",
        )


def check_data_term(model: object, measure: object, target: object) -> None:
    """Kinds of the arguments of a term with a model, a measure and a target."""
    if not callable(model):
        raise DeclarationError(
            "model",
            got=type(model).__name__,
            expected="a callable pytree: model(x)",
            mend="pass an equinox module, or bx.models.Function(fn, params)",
        )
    _check_measure(measure)
    if target is not None and not callable(target):
        raise DeclarationError(
            "target",
            got=type(target).__name__,
            expected="a function of x (or None if each datum is a pair (x, y))",
            mend="pass bx.zero, a function, a model; arrays of labels belong into "
            "bx.Empirical((x, y))",
        )
