"""Potentials: the energy, or the free energy left once some weights are integrated out.

The Gibbs measure at `beta` has density `π(w) exp(-U(w, β))`. For a plain energy `U = β E(w)`; with
weights `a` integrated out, `U(w, β) = -log ∫ π(a) exp(-β E(w, a)) da`. Either way `∂U/∂β` is the
mean energy given `w` and `-∂²U/∂β²` its variance given `w`, which makes every thermodynamic
observable one formula (and Rao-Blackwellised where something was integrated out).
"""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

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
    """`U`; `∂U/∂β`, the energy; `-∂²U/∂β²`, its variance over what was integrated out."""

    potential: Float[Array, ""]
    energy: Float[Array, ""]
    energy_variance: Float[Array, ""]


class AbstractPotential(eqx.Module):
    """`U(w, β)` as a function of all weights of the model, by path (constrained values)."""

    @abc.abstractmethod
    def __call__(self, weights: dict[str, Array], beta: Float[Array, ""]) -> Float[Array, ""]:
        """`U(w, β)`, in nats."""

    @abc.abstractmethod
    def moments(self, weights: dict[str, Array], beta: Float[Array, ""]) -> Moments:
        """`U` with its first two derivatives in β."""

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
        """What is to be added to the energies to have the declared ones: the sum of two floats."""

    @abc.abstractmethod
    def rounding(self, energy: Float[Array, ""]) -> Float[Array, ""]:
        """Standard deviation of the rounding of an energy that moving `w` a little cannot show."""

    @abc.abstractmethod
    def complete(
        self, weights: dict[str, Array], beta: Float[Array, ""], key: PRNGKeyArray
    ) -> dict[str, Array]:
        """The weights with those that were integrated out drawn from their conditional law."""

    @abc.abstractmethod
    def energy_at(self, weights: dict[str, Array]) -> Float[Array, ""]:
        """`E` at a full set of weights, nothing averaged."""

    @abc.abstractmethod
    def integrated(self) -> dict[str, Distribution]:
        """The priors of the weights that were integrated out, by path."""

    @abc.abstractmethod
    def notes(self) -> tuple[str, ...]:
        """What was lowered to what, a line each."""


class AbstractLowered(eqx.Module):
    """An energy term after lowering."""

    @abc.abstractmethod
    def value(self, weights: dict[str, Array]) -> Float[Array, ""]:
        """The term's energy, its factor included."""

    @abc.abstractmethod
    def estimate(self, weights: dict[str, Array], key: PRNGKeyArray) -> Float[Array, ""]:
        """An unbiased estimate of `value`."""

    @abc.abstractmethod
    def anchor(self, reference: dict[str, Array]) -> PyTree:
        """What `difference` has to know of the reference weights."""

    @abc.abstractmethod
    def difference(self, weights: dict[str, Array], anchor: PyTree) -> Float[Array, ""]:
        """`E(w) - E(w_ref)`, subtracted datum by datum."""

    @abc.abstractmethod
    def difference_estimate(
        self, weights: dict[str, Array], anchor: PyTree, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """An unbiased estimate of `difference`, both energies from the same batch."""

    @abc.abstractmethod
    def losses(self, weights: dict[str, Array]) -> tuple[Float[Array, " loss"], bool]:
        """The summands of the energy, and whether `difference` subtracts just those.

        If it does, their rounding is hidden in it; else it subtracts something smaller.
        """

    @abc.abstractmethod
    def note(self) -> str:
        """What it was lowered to."""


class Plain(AbstractLowered):
    """A declared term evaluated as declared."""

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
        """The difference of the losses of one datum."""
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
        found = _losses(self.term, with_weights(self.term.model, weights), points)
        return self.factor * mass * found, not isinstance(self.term, SquaredError)

    def note(self) -> str:
        said = f"{type(self.term).__name__}: evaluated as declared"
        if not isinstance(self.term, AbstractCountedTerm) or self.term.unit == "data":
            return said
        total = amount(self.term)
        number = f" {float(total):.8g}" if known(total) else ""
        return f"{said}; n counts{number} {self.term.unit}"


@eqx.filter_jit
def _losses(term: AbstractDataTerm, model: PyTree, points: PyTree) -> Float[Array, " node"]:
    return map_within(lambda datum: term.loss(model, datum), points)


class EnergyPotential(AbstractPotential):
    """`U(w, β) = β Σ E_t(w)`."""

    parts: tuple[AbstractLowered, ...]

    def __call__(self, weights, beta):
        return beta * self._energy(weights)

    def moments(self, weights, beta):
        energy = self._energy(weights)
        return Moments(beta * energy, energy, jnp.zeros(()))

    def _energy(self, weights: dict[str, Array]) -> Float[Array, ""]:
        return sum((part.value(weights) for part in self.parts), jnp.zeros(()))

    def complete(self, weights, beta, key):
        return weights

    def energy_at(self, weights):
        return self._energy(weights)

    def estimate(self, weights, beta, key):
        return beta * self.energy_estimate(weights, beta, key)

    def energy_estimate(self, weights, beta, key):
        keys = jax.random.split(key, len(self.parts)) if len(self.parts) > 1 else (key,)
        pairs = zip(self.parts, keys, strict=True)
        return sum((part.estimate(weights, k) for part, k in pairs), jnp.zeros(()))

    def offset(self):
        return jnp.zeros(()), jnp.zeros(())

    def rounding(self, energy):
        return 0.5 * jnp.finfo(energy.dtype).eps * jnp.abs(energy)

    def integrated(self):
        return {}

    def notes(self):
        return tuple(part.note() for part in self.parts)
