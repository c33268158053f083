"""Energies as differences from those of a reference model, accurate where the energies are large.

A posterior depends on differences of energies of order `1/β`. The energies themselves grow with the
number of data and with the units of the targets: in float32 a sum of 1e10 is known to 1e3. The same
measure has the energy `E(w) - E(w_ref)`, and that is summed from differences datum by datum.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..core import DeclarationError, at_once, full_products, known
from ._potential import AbstractLowered, AbstractPotential, EnergyPotential, Moments


class RelativePotential(AbstractPotential):
    """`U(w, β) = β Σ_t (E_t(w) - E_t(w_ref))`, each difference taken before anything is summed.

    Attributes:
        parts: the energy terms.
        anchors: what the difference of each term has to know of the reference.
        level: `E(w_ref)` as the sum of two floats, so that float32 keeps its digits.
        blur: standard deviation in `E(w) - E(w_ref)` of the rounding of those losses that the
            declaration hands over as finished numbers.
    """

    parts: tuple[AbstractLowered, ...]
    anchors: tuple[PyTree, ...]
    level: Float[Array, "two"]
    blur: Float[Array, ""]

    def __call__(self, weights, beta):
        return beta * self._difference(weights)

    def moments(self, weights, beta):
        energy = self._difference(weights)
        return Moments(beta * energy, energy, jnp.zeros(()))

    def _difference(self, weights: dict[str, Array]) -> Float[Array, ""]:
        pairs = zip(self.parts, self.anchors, strict=True)
        return sum((part.difference(weights, at) for part, at in pairs), jnp.zeros(()))

    def complete(self, weights, beta, key):
        return weights

    def energy_at(self, weights):
        return self._difference(weights)

    def energy_estimate(self, weights, beta, key):
        keys = jax.random.split(key, len(self.parts)) if len(self.parts) > 1 else (key,)
        triples = zip(self.parts, self.anchors, keys, strict=True)
        return sum((p.difference_estimate(weights, a, k) for p, a, k in triples), jnp.zeros(()))

    def estimate(self, weights, beta, key):
        return beta * self.energy_estimate(weights, beta, key)

    def offset(self):
        return self.level[0], self.level[1]

    def rounding(self, energy):
        return self.blur

    def integrated(self):
        return {}

    def notes(self):
        lines = tuple(part.note() for part in self.parts)
        said = "energies are differences from those of a reference model"
        if known(self.level):
            said += f", whose energy is {sum(np.asarray(self.level, float)):.6g}"
        return (*lines, said)


def relative_potential(
    potential: AbstractPotential, reference: dict[str, Array]
) -> RelativePotential:
    """The potential of energy differences from the weights `reference` (all leaves, by path).

    Raises:
        DeclarationError: if weights were integrated out.
    """
    if not isinstance(potential, EnergyPotential | RelativePotential):
        raise DeclarationError(
            "gibbs",
            got="a measure with weights integrated out",
            expected="a measure over all weights: the energy given the others depends on beta",
            mend="compile with marginalise=False",
        )
    parts = potential.parts
    anchors = tuple(part.anchor(reference) for part in parts)  # may be the weights, shared
    found = _losses(parts, reference)
    level = sum((np.sum(_wide(losses)) for losses, _ in found), np.zeros(()))
    blur = sum((np.sum(_wide(losses) ** 2) for losses, hidden in found if hidden), np.zeros(()))
    kind = jnp.result_type(float)
    high = jnp.asarray(level, kind)
    low = jnp.asarray(level - _wide(high), kind)
    blur = 0.5 * float(jnp.finfo(kind).eps) * blur**0.5
    return RelativePotential(parts, anchors, jnp.stack([high, low]), jnp.asarray(blur, kind))


@full_products()
@at_once
def _losses(parts: tuple[AbstractLowered, ...], reference: dict[str, Array]) -> list[Any]:
    return [part.losses(reference) for part in parts]


def _wide(losses: Array) -> Any:
    """In float64 on the host; as they are where they are being traced."""
    return np.asarray(losses, np.float64) if known(losses) else losses
