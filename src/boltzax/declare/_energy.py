"""Energies: what `beta` multiplies."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core import DeclarationError, weights_of
from ._measure import AbstractMeasure


def zero(x: PyTree) -> Float[Array, ""]:
    """The target that is zero everywhere."""
    return jnp.zeros(())


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


class SumEnergy(AbstractEnergy):
    """`E_1 + E_2 + ...`"""

    parts: tuple[AbstractEnergy, ...]

    def terms(self):
        return tuple(term for part in self.parts for term in part.terms())


class ScaledEnergy(AbstractEnergy):
    """`factor * E`"""

    factor: Array
    energy: AbstractEnergy

    def __init__(self, factor: float | Array, energy: AbstractEnergy):
        self.factor = _real("factor", factor, "multiply an energy by a scalar")
        self.energy = energy

    def terms(self):
        return tuple((self.factor * factor, term) for factor, term in self.energy.terms())


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

    def value(self, model: PyTree) -> Float[Array, ""]:
        return self.measure.integrate(lambda datum: self.loss(model, datum))

    def estimate(self, model: PyTree, key: PRNGKeyArray) -> Float[Array, ""]:
        return self.measure.estimate(lambda datum: self.loss(model, datum), key)


class SquaredError(AbstractDataTerm):
    """`E(w) = ∫ ½ |f(x) - y|² μ(dz)`: the unit-variance Gaussian likelihood, up to its constant.

    With `target` (a function or another model), the datum is `x` and `y = target(x)`; without it
    the datum is a pair `(x, y)`. For data of variance s², multiply by 1/s².
    """

    model: PyTree
    measure: AbstractMeasure
    target: PyTree = None

    def __post_init__(self):
        _check_data_term(self.model, self.measure, self.target)

    def residual(self, model: PyTree, datum: PyTree) -> Array:
        """`f(x) - y`, of the shape of the model's output."""
        x, y = _split(self.target, datum)
        return model(x) - y

    def loss(self, model: PyTree, datum: PyTree) -> Float[Array, ""]:
        return 0.5 * jnp.sum(self.residual(model, datum) ** 2)


class CrossEntropy(AbstractDataTerm):
    """`E(w) = ∫ -log softmax(f(x))_y μ(dz)` in nats.

    A vector output is read as logits of the classes, `y` an integer class or a vector of class
    probabilities; a scalar output is the logit of class 1 of two, `y` in [0, 1].
    """

    model: PyTree
    measure: AbstractMeasure
    target: PyTree = None

    def __post_init__(self):
        _check_data_term(self.model, self.measure, self.target)

    def loss(self, model: PyTree, datum: PyTree) -> Float[Array, ""]:
        x, y = _split(self.target, datum)
        logits = model(x)
        if logits.ndim == 0:
            return jnp.logaddexp(0.0, logits) - y * logits
        log_p = jax.nn.log_softmax(logits)
        if jnp.issubdtype(jnp.result_type(y), jnp.integer) and jnp.ndim(y) == 0:
            return -log_p[y]
        return -jnp.sum(y * log_p)


class PerDatum(AbstractDataTerm):
    """`E(w) = ∫ fn(model, z) μ(dz)` for any per-datum loss `fn` that returns a scalar."""

    model: PyTree
    measure: AbstractMeasure
    fn: Callable = eqx.field(static=True)

    def __post_init__(self):
        if not callable(self.fn):
            raise DeclarationError(
                "fn",
                got=repr(self.fn),
                expected="a function (model, datum) -> scalar",
                mend="pass the per-datum loss",
            )
        _check_measure(self.measure)

    def loss(self, model: PyTree, datum: PyTree) -> Float[Array, ""]:
        return self.fn(model, datum)


class Localisation(AbstractTerm):
    """`(strength/2) |w - w*|²` about the weights `w*` of `model`.

    It belongs to the prior: the compiler adds it to `log_prior`, so that neither `beta` nor the
    mean energy of a learning coefficient sees it (the γ of Lau et al. 2023, arXiv:2308.12108).
    """

    model: PyTree
    strength: Array

    def __init__(self, model: PyTree, strength: float | Array):
        self.model = model
        self.strength = _real("strength", strength, "pass e.g. strength=1.0")
        traced = isinstance(self.strength, Tracer)
        if not traced and not 0 <= float(self.strength) < float("inf"):
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


def _split(target: PyTree, datum: PyTree) -> tuple[PyTree, PyTree]:
    return datum if target is None else (datum, target(datum))


def _check_measure(measure: object) -> None:
    if not isinstance(measure, AbstractMeasure):
        raise DeclarationError(
            "measure",
            got=type(measure).__name__,
            expected="a measure",
            mend="pass e.g. bx.GaussianMeasure(1), or bx.Empirical((x, y)) for arrays of data",
        )


def _check_data_term(model: object, measure: object, target: object) -> None:
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
