"""Energies: functions of the weights, multiplied by the inverse temperature `beta`."""

import abc
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Inexact, PyTree

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
    library,
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
        mend="pass bx.zero, a function or a model; put arrays of labels into bx.Empirical((x, y))",
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
        expected="a function datum -> number, or None if n counts data",
        mend="pass a function, e.g. `lambda z: z.shape[0]` for the tokens of a sequence",
    ),
]


@typed
def zero(x: Arrays) -> Float[Array, ""]:
    """The target function `x -> 0`.

    Args:
        x: One datum; its value is not used.

    Returns:
        Zero, of shape ().
    """
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
    """A function `E(w)` of the weights. Energies can be added, and scaled by numbers.

    The Gibbs measure of an energy is `π(w) exp(-β E(w))`, so `β E` is in nats.
    """

    @abc.abstractmethod
    def terms(self) -> tuple[tuple[Array | float, "AbstractTerm"], ...]:
        """The energy as a linear combination: pairs of a factor and an elementary term."""

    @typed
    def __add__(self, energy: "AbstractEnergy") -> "SumEnergy":
        return SumEnergy((self, energy))

    def __radd__(self, other: Any) -> "AbstractEnergy":
        # the builtin `sum` starts with 0
        return self if isinstance(other, int) and other == 0 else self.__add__(other)

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
    """An elementary energy of one declared model.

    The weights of `model` are those that the Gibbs measure is over; their values are the default
    starting point and the values of frozen weights.
    """

    model: eqx.AbstractVar[PyTree]

    @abc.abstractmethod
    def value(self, model: Model) -> Float[Array, ""]:
        """The energy `E` of a model of the declared structure."""

    @abc.abstractmethod
    def estimate(self, model: Model, key: Key) -> Float[Array, ""]:
        """An unbiased estimate of `value`: from a minibatch if the measure is `Subsampled`."""

    def terms(self):
        return ((1.0, self),)


@typed
class AbstractDataTerm(AbstractTerm):
    """`E(w) = ∫ loss(w, z) μ(dz)`: the integral of a loss over the data measure.

    A subclass defines `model`, `measure` and `loss`.
    """

    measure: eqx.AbstractVar[AbstractMeasure]

    @abc.abstractmethod
    def loss(self, model: Model, datum: Arrays) -> Inexact[Array, ""]:
        """The loss of one datum, a real number."""

    def value(self, model: Model) -> Float[Array, ""]:
        self._check(model)
        return self.measure.integrate(lambda datum: self.loss(model, datum))

    def estimate(self, model: Model, key: Key) -> Float[Array, ""]:
        self._check(model)
        return self.measure.estimate(lambda datum: self.loss(model, datum), key)

    def _check(self, model: PyTree) -> None:
        """The checks of a loss that `compile` makes. They are skipped while data are traced."""
        if known(self.measure):
            check_loss(self, model)


class AbstractCountedTerm(AbstractDataTerm):
    """A data term whose sample size n can be counted in other units than data, such as tokens.

    `E` is the same sum in any unit. The unit changes n and the mean loss, which a `Temperature`
    refers to.
    """

    @property
    @abc.abstractmethod
    def unit(self) -> str:
        """The unit of n: `"data"` or another plural noun."""

    @abc.abstractmethod
    def counted(self, datum: Arrays) -> Float[Array, ""]:
        """The number of units in one datum."""


def amount(term: AbstractDataTerm) -> Float[Array, ""]:
    """The sample size n of a term: the mass of its measure, or the integral of `counted`."""
    if not isinstance(term, AbstractCountedTerm) or term.unit == "data":
        return term.measure.mass
    return term.measure.integrate(term.counted)


def total_amount(amounts: Sequence[ArrayLike]) -> Array | np.ndarray:
    """What divides an energy to a mean loss, from the sample sizes of its data terms.

    Terms of one size are losses of the same data; terms of different sizes are of different data,
    whose sizes add up. 1 without any, or where nothing is left (a signed measure).
    """
    xp = library(*amounts)
    sizes = xp.asarray(amounts if amounts else [1.0], float)
    total = xp.where(xp.allclose(sizes, sizes[0]), sizes[0], xp.sum(sizes))
    return xp.where(total > 0, total, 1.0)


@typed
class SquaredError(AbstractDataTerm, AbstractSupervised):
    """`E(w) = ∫ ½ |f(x) - y|² μ(dz)`.

    At `beta = 1` this is the negative log-likelihood of Gaussian noise of variance 1, up to a
    constant. For noise of variance s², multiply the energy by 1/s².

    Args:
        model: Any callable pytree: `f(x) = model(x)`, one array, `x` one datum.
        measure: The measure of the data: of pairs `(x, y)`, or of `x` alone if there is a `target`.
        target: `y = target(x)`, a function or another model; None if each datum is a pair.

    Raises:
        DeclarationError: By `compile`, if the shapes of `f(x)` and `y` differ.
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
                self.labels_from,
                got=f"labels of shape {tuple(y.shape)} against a model output of shape "
                f"{tuple(output.shape)}",
                expected="equal shapes, without broadcasting",
                mend="reshape the labels or the model's output, e.g. y[:, None] or out[0]",
            )

    def residual(self, model: Model, datum: Arrays) -> Array:
        """`f(x) - y`, of the shape of the model's output, in the default float dtype or wider."""
        x, y = split_datum(self.target, datum)
        output, y = widened(model(x)), widened(y)
        self.check_label(output, y)
        return output - y

    def prediction(self, model: Model, datum: Arrays) -> Array:
        """`f(x)`, in the default float dtype or wider."""
        return widened(model(datum if self.target is not None else datum[0]))

    def loss(self, model: Model, datum: Arrays) -> Inexact[Array, ""]:
        return 0.5 * jnp.sum(self.residual(model, datum) ** 2)

    def change(self, model: Model, reference: Model, datum: Arrays) -> Inexact[Array, ""]:
        """The loss of `model` less that of `reference`, without cancellation.

        `½|r|² - ½|r_ref|² = (f - f_ref)·(r + r_ref)/2` with residuals `r = f - y`.
        """
        moved = self.prediction(model, datum) - self.prediction(reference, datum)
        return jnp.sum(moved * (self.residual(reference, datum) + 0.5 * moved))


@typed
class PerDatum(AbstractCountedTerm):
    """`E(w) = ∫ fn(model, z) μ(dz)` for any per-datum loss `fn` that returns a scalar.

    Args:
        model: A pytree that holds the weights, the first argument of `fn`.
        measure: The measure of the data.
        fn: The loss `(model, datum) -> scalar`, a sum over the parts of a datum.
        count: The number of units of n in one datum, `datum -> number`, e.g.
            `lambda z: z.shape[0]` for the tokens of a sequence; None if n counts data.

    Raises:
        DeclarationError: By `compile`, if the loss of one datum is not a real scalar.
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

    def loss(self, model: Model, datum: Arrays) -> Any:  # its shape is checked by `check_loss`
        return self.fn(model, datum)


@typed
class Localisation(AbstractTerm):
    """`(strength/2) |w - w*|²` about the weights `w*` of `model`.

    The compiler subtracts it from `log_prior`. It is not multiplied by `beta`, and the energies of
    draws do not include it.

    Source: Lau et al. 2023, arXiv:2308.12108, whose γ is `strength`.

    Args:
        model: The centre `w*`.
        strength: A number that is not negative.
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
    """Input and label of a datum, which is a pair `(x, y)`, or `x` with the label `target(x)`."""
    return datum if target is None else (datum, target(datum))
