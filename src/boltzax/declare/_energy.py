"""Energies: what `beta` multiplies."""

import abc
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree

from ..core import (
    Arrays,
    DeclarationError,
    Key,
    Model,
    NonNegative,
    Said,
    described,
    eager,
    known,
    scalar,
    typed,
    weights_of,
)
from ._basis import widened
from ._check_loss import AbstractSupervised, check_loss
from ._measure import AbstractMeasure
from ._models import Predictor

Factor: TypeAlias = Annotated[
    float | Array,
    scalar(array=True),
    Said(expected="one real number", mend="multiply or divide an energy by a scalar"),
]
Target: TypeAlias = Annotated[
    Callable | None,
    Said(
        expected="a function of x (or None if each datum is a pair (x, y))",
        mend="pass bx.zero, a function, a model; arrays of labels belong into bx.Empirical((x, y))",
    ),
]
Strength: TypeAlias = Annotated[
    NonNegative,
    Said(expected="one finite, non-negative number", mend="pass e.g. strength=1.0"),
]
Loss: TypeAlias = Annotated[
    Callable,
    Said(expected="a function (model, datum) -> scalar", mend="pass the per-datum loss"),
]
Counter: TypeAlias = Annotated[
    Callable | None,
    Said(
        expected="a function datum -> number, or None where n counts data",
        mend="pass what is counted, e.g. `lambda z: z.shape[0]`",
    ),
]


@typed
def zero(x: Arrays) -> Float[Array, ""]:
    """The target that is zero everywhere."""
    return jnp.zeros(())


def total(energy: "AbstractEnergy", model: PyTree) -> Float[Array, ""]:
    """The energy of a model, summed over the terms."""
    return sum((factor * term.value(model) for factor, term in energy.terms()), jnp.zeros(()))


@described(
    "an energy",
    "declare e.g. bx.SquaredError(model, measure, target), or bx.PerDatum for your own loss; scale "
    "one by `factor * energy`",
)
class AbstractEnergy(eqx.Module):
    """A function of the weights; energies add and scale."""

    @abc.abstractmethod
    def terms(self) -> tuple[tuple[Array | float, "AbstractTerm"], ...]:
        """The energy as a linear combination of elementary terms."""

    @typed
    def __add__(self, energy: "AbstractEnergy") -> "SumEnergy":
        return SumEnergy((self, energy))

    def __radd__(self, other: Any) -> "AbstractEnergy":
        # the builtin `sum` starts from 0
        start = isinstance(other, int) and other == 0
        return self if start else self.__add__(other)

    def __mul__(self, factor: float | Array) -> "ScaledEnergy":
        return ScaledEnergy(factor, self)

    def __rmul__(self, factor: float | Array) -> "ScaledEnergy":
        return ScaledEnergy(factor, self)

    @typed
    def __truediv__(self, divisor: Factor) -> "ScaledEnergy":
        return ScaledEnergy(1 / jnp.asarray(divisor, float), self)


@typed
class SumEnergy(AbstractEnergy):
    """`E_1 + E_2 + ...`"""

    parts: tuple[AbstractEnergy, ...]

    def terms(self):
        return tuple(term for part in self.parts for term in part.terms())

    def value(self, model: Model) -> Float[Array, ""]:
        """The energy of a model with the structure of the declared one."""
        return total(self, model)


@typed
class ScaledEnergy(AbstractEnergy):
    """`factor * E`"""

    factor: Array
    energy: AbstractEnergy

    @eager
    def __init__(self, factor: Factor, energy: AbstractEnergy):
        self.factor = jnp.asarray(factor, float)
        self.energy = energy

    def terms(self):
        return tuple((self.factor * factor, term) for factor, term in self.energy.terms())

    def value(self, model: Model) -> Float[Array, ""]:
        """The energy of a model with the structure of the declared one."""
        return total(self, model)


class AbstractTerm(AbstractEnergy):
    """An elementary energy of one declared model."""

    model: eqx.AbstractVar[PyTree]

    @abc.abstractmethod
    def value(self, model: Model) -> Float[Array, ""]:
        """The energy of the model with these weights."""

    @abc.abstractmethod
    def estimate(self, model: Model, key: Key) -> Float[Array, ""]:
        """An unbiased estimate of `value` (a minibatch, if the measure is `Subsampled`)."""

    def terms(self):
        return ((1.0, self),)


@typed
class AbstractDataTerm(AbstractTerm):
    """`E(w) = ∫ loss(w, z) μ(dz)`: an integral over the data measure."""

    measure: eqx.AbstractVar[AbstractMeasure]

    @abc.abstractmethod
    def loss(self, model: Model, datum: Arrays) -> Inexact[Array, ""]:
        """The loss of one datum."""

    def value(self, model: Model) -> Float[Array, ""]:
        self._check(model)
        return self.measure.integrate(lambda datum: self.loss(model, datum))

    def estimate(self, model: Model, key: Key) -> Float[Array, ""]:
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
    def counted(self, datum: Arrays) -> Float[Array, ""]:
        """How many of them one datum holds."""


def amount(term: AbstractDataTerm) -> Float[Array, ""]:
    """What n counts, over the measure of a term: its mass, unless the term counts otherwise."""
    if not isinstance(term, AbstractCountedTerm) or term.unit == "data":
        return term.measure.mass
    return term.measure.integrate(term.counted)


@typed
class SquaredError(AbstractDataTerm, AbstractSupervised):
    """`E(w) = ∫ ½ |f(x) - y|² μ(dz)`: the unit-variance Gaussian likelihood, up to its constant.

    With `target` (a function or another model), the datum is `x` and `y = target(x)`; without it
    the datum is a pair `(x, y)`. For data of variance s², multiply by 1/s².
    """

    model: Predictor
    measure: AbstractMeasure
    target: Target = None

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

    def residual(self, model: Model, datum: Arrays) -> Array:
        """`f(x) - y`, of the shape of the model's output, in the precision of the process."""
        x, y = split_datum(self.target, datum)
        output, y = widened(model(x)), widened(y)
        self.check_label(output, y)
        return output - y

    def prediction(self, model: Model, datum: Arrays) -> Array:
        """`f(x)`, in the precision of the process."""
        return widened(model(datum if self.target is not None else datum[0]))

    def loss(self, model: Model, datum: Arrays) -> Inexact[Array, ""]:
        return 0.5 * jnp.sum(self.residual(model, datum) ** 2)

    def change(self, model: Model, reference: Model, datum: Arrays) -> Inexact[Array, ""]:
        """`½|r|² - ½|r_ref|² = (f - f_ref)·(r + r_ref)/2`, without loss of digits."""
        moved = self.prediction(model, datum) - self.prediction(reference, datum)
        return jnp.sum(moved * (self.residual(reference, datum) + 0.5 * moved))


@typed
class PerDatum(AbstractCountedTerm):
    """`E(w) = ∫ fn(model, z) μ(dz)` for any per-datum loss `fn` that returns a scalar.

    Args:
        model: Any callable pytree, or whatever `fn` takes as a model.
        measure: The measure of the data.
        fn: The loss `(model, datum) -> scalar`; sum it over what a datum holds.
        count: How many things one datum holds, `datum -> number`, where n counts these and not
            data: for a sequence its tokens, `count=lambda z: z.shape[0]`.
    """

    model: Model
    measure: AbstractMeasure
    fn: Loss = eqx.field(static=True)
    count: Counter = eqx.field(static=True, default=None, kw_only=True)

    @property
    def unit(self) -> str:
        return "data" if self.count is None else "what `count` counts"

    def counted(self, datum: Arrays) -> Array:
        return widened(1 if self.count is None else self.count(datum))

    def loss(self, model: Model, datum: Arrays) -> Any:  # what `fn` gives is checked by shape
        return self.fn(model, datum)


@typed
class Localisation(AbstractTerm):
    """`(strength/2) |w - w*|²` about the weights `w*` of `model`.

    It belongs to the prior: the compiler adds it to `log_prior`, so that neither `beta` nor the
    mean energy of a learning coefficient sees it (the γ of Lau et al. 2023, arXiv:2308.12108).
    """

    model: PyTree
    strength: Array

    @eager
    def __init__(self, model: Model, strength: Strength):
        self.model = model
        self.strength = jnp.asarray(strength, float)

    def value(self, model: Model) -> Float[Array, ""]:
        centre, here = weights_of(self.model), weights_of(model)
        return 0.5 * self.strength * sum(jnp.sum((here[k] - centre[k]) ** 2) for k in centre)

    def estimate(self, model: Model, key: Key) -> Float[Array, ""]:
        return self.value(model)


def split_datum(target: PyTree, datum: PyTree) -> tuple[PyTree, PyTree]:
    """Input and label of a datum: a pair, or an input whose label is `target(x)`."""
    return datum if target is None else (datum, target(datum))
