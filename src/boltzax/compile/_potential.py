"""Potentials: the energy, or the free energy left once some weights are integrated out.

The Gibbs measure at `beta` has density `π(w) exp(-U(w, β))`. For a plain energy `U = β E(w)`; with
weights `a` integrated out, `U(w, β) = -log ∫ π(a) exp(-β E(w, a)) da`. In both cases `∂U/∂β` is the
mean energy given `w` and `-∂²U/∂β²` its variance given `w`. Observables are written in terms of
these two numbers, and are Rao-Blackwellised if weights were integrated out.
"""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from ..core import known, map_within, with_weights
from ..declare import (
    AbstractCountedTerm,
    AbstractDataTerm,
    AbstractTerm,
    Distribution,
    SquaredError,
    amount,
)


class Moments(NamedTuple):
    """`U` in nats, the energy `∂U/∂β`, and its variance `-∂²U/∂β²` over the integrated weights."""

    potential: Float[Array, ""]
    energy: Float[Array, ""]
    energy_variance: Float[Array, ""]


class AbstractPotential(eqx.Module):
    """`U(w, β)`, a function of all weights of the model by path (constrained values)."""

    @abc.abstractmethod
    def __call__(self, weights: dict[str, Array], beta: Float[Array, ""]) -> Float[Array, ""]:
        """`U(w, β)`, in nats."""

    @abc.abstractmethod
    def moments(self, weights: dict[str, Array], beta: Float[Array, ""]) -> Moments:
        """`U`, `∂U/∂β` and `-∂²U/∂β²`."""

    @abc.abstractmethod
    def estimate(
        self, weights: dict[str, Array], beta: Float[Array, ""], key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """An unbiased estimate of `U(w, β)`."""

    @abc.abstractmethod
    def energy_estimate(
        self, weights: dict[str, Array], beta: Float[Array, ""], key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """An unbiased estimate of the energy `∂U/∂β`."""

    @abc.abstractmethod
    def offset(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The declared energy less the energy of this potential, as the sum of two floats."""

    @abc.abstractmethod
    def rounding(self, energy: Float[Array, ""]) -> Float[Array, ""]:
        """Standard deviation of the rounding error of an energy that all nearby `w` share.

        Of an energy that is one number it is half its spacing, `½ ε |E|`.
        """

    @abc.abstractmethod
    def complete(
        self, weights: dict[str, Array], beta: Float[Array, ""], key: PRNGKeyArray
    ) -> dict[str, Array]:
        """All weights, with the integrated ones drawn from their conditional law given `w`."""

    @abc.abstractmethod
    def energy_at(self, weights: dict[str, Array]) -> Float[Array, ""]:
        """The energy `E` at a full set of weights, without averages."""

    @abc.abstractmethod
    def integrated(self) -> dict[str, Distribution]:
        """The priors of the weights that were integrated out, by path."""

    @abc.abstractmethod
    def notes(self) -> tuple[str, ...]:
        """How each term is evaluated: one line for each."""


class AbstractSumPotential(AbstractPotential):
    """`U(w, β) = β E(w)`, with no weights integrated out."""

    def __call__(self, weights, beta):
        return beta * self.energy_at(weights)

    def moments(self, weights, beta):
        energy = self.energy_at(weights)
        return Moments(beta * energy, energy, jnp.zeros(()))

    def estimate(self, weights, beta, key):
        return beta * self.energy_estimate(weights, beta, key)

    def integrated(self):
        return {}


class AbstractMarginalPotential(AbstractPotential):
    """`U(w, β) = -log ∫ π(a) exp(-β E(w, a)) da` over the weights `readout`, in closed form."""

    readout: eqx.AbstractVar[dict[str, Distribution]]

    def estimate(self, weights, beta, key):
        return self(weights, beta)

    def energy_estimate(self, weights, beta, key):
        return self.moments(weights, beta).energy

    def offset(self):
        return jnp.zeros(()), jnp.zeros(())

    def integrated(self):
        return self.readout


class AbstractLowered(eqx.Module):
    """One term of the energy, in the form in which it is evaluated."""

    @abc.abstractmethod
    def value(self, weights: dict[str, Array]) -> Float[Array, ""]:
        """The term's energy, its factor included."""

    @abc.abstractmethod
    def estimate(self, weights: dict[str, Array], key: PRNGKeyArray) -> Float[Array, ""]:
        """An unbiased estimate of `value`."""

    @abc.abstractmethod
    def anchor(self, reference: dict[str, Array]) -> PyTree:
        """The values at the reference weights that `difference` needs."""

    @abc.abstractmethod
    def difference(self, weights: dict[str, Array], anchor: PyTree) -> Float[Array, ""]:
        """`E(w) - E(w_ref)`, as a sum of the differences of the losses of each datum."""

    @abc.abstractmethod
    def difference_estimate(
        self, weights: dict[str, Array], anchor: PyTree, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """An unbiased estimate of `difference`, with both energies from the same minibatch."""

    @abc.abstractmethod
    def losses(self, weights: dict[str, Array]) -> tuple[Float[Array, " loss"], bool]:
        """The summands of the energy, and whether `difference` subtracts these summands.

        If it does, it has their rounding errors; else it subtracts smaller numbers.
        """

    @abc.abstractmethod
    def note(self) -> str:
        """How the term is evaluated, in one line."""


class Plain(AbstractLowered):
    """A term that is evaluated as declared."""

    factor: Array
    term: AbstractTerm

    def value(self, weights: dict[str, Array]) -> Float[Array, ""]:
        return self.factor * self.term.value(with_weights(self.term.model, weights))

    def estimate(self, weights: dict[str, Array], key: PRNGKeyArray) -> Float[Array, ""]:
        return self.factor * self.term.estimate(with_weights(self.term.model, weights), key)

    def anchor(self, reference: dict[str, Array]) -> PyTree:
        return reference

    def difference(self, weights: dict[str, Array], anchor: PyTree) -> Float[Array, ""]:
        if not isinstance(self.term, AbstractDataTerm):
            return self.value(weights) - self.value(anchor)
        return self.factor * self.term.measure.integrate(self._change(weights, anchor))

    def difference_estimate(
        self, weights: dict[str, Array], anchor: PyTree, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        if not isinstance(self.term, AbstractDataTerm):
            return self.estimate(weights, key) - self.estimate(anchor, key)
        return self.factor * self.term.measure.estimate(self._change(weights, anchor), key)

    def _change(self, weights: dict[str, Array], reference: dict[str, Array]) -> Callable:
        """The function that gives the difference of the losses of one datum."""
        term = self.term
        here, there = (with_weights(term.model, w) for w in (weights, reference))
        if isinstance(term, SquaredError):
            return lambda datum: term.change(here, there, datum)
        assert isinstance(term, AbstractDataTerm)
        return lambda datum: term.loss(here, datum) - term.loss(there, datum)

    def losses(self, weights: dict[str, Array]) -> tuple[Float[Array, " loss"], bool]:
        if not isinstance(self.term, AbstractDataTerm):
            return self.value(weights)[None], True
        points, mass = self.term.measure.nodes()
        losses = _losses(self.term, with_weights(self.term.model, weights), points)
        return self.factor * mass * losses, not isinstance(self.term, SquaredError)

    def note(self) -> str:
        text = f"{type(self.term).__name__}: evaluated as declared"
        if not isinstance(self.term, AbstractCountedTerm) or self.term.unit == "data":
            return text
        total = amount(self.term)
        number = f" {float(total):.8g}" if known(total) else ""
        return f"{text}; n counts{number} {self.term.unit}"


@eqx.filter_jit
def _losses(term: AbstractDataTerm, model: PyTree, points: PyTree) -> Float[Array, " node"]:
    return map_within(lambda datum: term.loss(model, datum), points)


def half_spacing(energy: Float[Array, ""]) -> Float[Array, ""]:
    """Half the distance of an energy to the next larger float, `½ ε |E|` at most."""
    return 0.5 * jnp.finfo(energy.dtype).eps * jnp.abs(energy)


class EnergyPotential(AbstractSumPotential):
    """`U(w, β) = β Σ_t E_t(w)`."""

    parts: tuple[AbstractLowered, ...]

    def energy_at(self, weights):
        return sum((part.value(weights) for part in self.parts), jnp.zeros(()))

    def complete(self, weights, beta, key):
        return weights

    def energy_estimate(self, weights, beta, key):
        keys = jax.random.split(key, len(self.parts)) if len(self.parts) > 1 else (key,)
        pairs = zip(self.parts, keys, strict=True)
        return sum((part.estimate(weights, k) for part, k in pairs), jnp.zeros(()))

    def offset(self):
        return jnp.zeros(()), jnp.zeros(())

    def rounding(self, energy):
        return half_spacing(energy)

    def notes(self):
        return tuple(part.note() for part in self.parts)


class RestrictedPotential(AbstractSumPotential):
    """`U(w, β) = β E(w')`, with `w'` equal to w inside a part and to fixed weights outside.

    Attributes:
        inner: The potential of the whole.
        centre: The fixed weights by path.
        inside: True at the entries of the part.
    """

    inner: AbstractPotential
    centre: dict[str, Array]
    inside: dict[str, Bool[Array, "..."]]

    def energy_at(self, weights):
        return self.inner.energy_at(self.seen(weights))

    def energy_estimate(self, weights, beta, key):
        return self.inner.energy_estimate(self.seen(weights), beta, key)

    def complete(self, weights, beta, key):
        return self.seen(weights)

    def offset(self):
        return self.inner.offset()

    def rounding(self, energy):
        return self.inner.rounding(energy)

    def notes(self):
        return (*self.inner.notes(), "the energy depends on a part of the weights only")

    def seen(self, weights: dict[str, Array]) -> dict[str, Array]:
        """The weights that reach the model."""
        return {
            path: jnp.where(self.inside[path], leaf, self.centre[path])
            for path, leaf in weights.items()
        }
