"""Energy differences from a reference model, without cancellation.

A posterior depends on differences of energies of order `1/β`. The energies themselves grow with the
number of data and with the units of the targets: in float32 a sum of 1e10 has an error of 1e3. The
energy `E(w) - E(w_ref)` gives the same measure. It is computed as a sum of the differences of the
losses of each datum.

From a minibatch B both energies are taken together. A control variate goes one order further: the
derivative of the minibatch at the reference `a` is replaced by that of all data,

    ê(w) = e_B(w) - e_B(a) + (∇e(a) - ∇e_B(a))·(w - a),    ĝ(w) = g_B(w) - g_B(a) + g(a).

Both are unbiased at any `w`. Near the reference their variances go as `|w - a|⁴` and `|w - a|²`,
where those of `e_B(w) - e_B(a)` and `g_B(w)` go as `|w - a|²` and a constant.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..core import DeclarationError, at_once, full_products, known
from ._potential import (
    AbstractLowered,
    AbstractPotential,
    AbstractSumPotential,
    EnergyPotential,
    RestrictedPotential,
)


class RelativePotential(AbstractSumPotential):
    """`U(w, β) = β Σ_t (E_t(w) - E_t(w_ref))`, each difference taken before anything is summed.

    Attributes:
        parts: The energy terms.
        anchors: For each term, the values at the reference that its difference needs.
        level: `E(w_ref)` as the sum of two floats, for float32.
        blur: Standard deviation of the rounding error of `E(w) - E(w_ref)` from losses that are
            computed by the declaration and subtracted.
    """

    parts: tuple[AbstractLowered, ...]
    anchors: tuple[PyTree, ...]
    level: Float[Array, "two"]
    blur: Float[Array, ""]

    def complete(self, weights, beta, key):
        return weights

    def energy_at(self, weights):
        pairs = zip(self.parts, self.anchors, strict=True)
        return sum((part.difference(weights, anchor) for part, anchor in pairs), jnp.zeros(()))

    def energy_estimate(self, weights, beta, key):
        keys = jax.random.split(key, len(self.parts)) if len(self.parts) > 1 else (key,)
        triples = zip(self.parts, self.anchors, keys, strict=True)
        return sum((p.difference_estimate(weights, a, k) for p, a, k in triples), jnp.zeros(()))

    def offset(self):
        return self.level[0], self.level[1]

    def rounding(self, energy):
        return self.blur

    def notes(self):
        lines = tuple(part.note() for part in self.parts)
        note = "energies are differences from those of a reference model"
        if known(self.level):
            note += f", whose energy is {sum(np.asarray(self.level, float)):.6g}"
        return (*lines, note)


class ControlledPotential(AbstractSumPotential):
    """The same, its estimates from minibatches with control variates at the reference.

    Attributes:
        relative: Differences from the energies of the reference.
        reference: All weights of the reference, by path.
        slope: `∇E` there over all data, by the weights that move.
    """

    relative: AbstractPotential
    reference: dict[str, Array]
    slope: dict[str, Array]

    def complete(self, weights, beta, key):
        return weights

    def energy_at(self, weights):
        return self.relative.energy_at(weights)

    def energy_estimate(self, weights, beta, key):
        def batch(moving):
            return self.relative.energy_estimate(self.reference | moving, beta, key)

        slope = jax.grad(batch)({path: self.reference[path] for path in self.slope})
        linear = [
            jnp.sum((self.slope[path] - slope[path]) * (weights[path] - self.reference[path]))
            for path in self.slope
        ]
        return self.relative.energy_estimate(weights, beta, key) + sum(linear)

    def offset(self):
        return self.relative.offset()

    def rounding(self, energy):
        return self.relative.rounding(energy)

    def notes(self):
        return (*self.relative.notes(), "minibatches have control variates at the reference model")


@full_products()
@at_once
def energy_slope(
    potential: AbstractPotential, weights: dict[str, Array], moving: tuple[str, ...]
) -> dict[str, Array]:
    """`∇E` at all weights, over all data, by the weights `moving`."""

    def energy(free):
        return potential.energy_at(weights | free)

    return jax.grad(energy)({path: weights[path] for path in moving})


def paired(potential: AbstractPotential, reference: dict[str, Array]) -> AbstractPotential:
    """Differences from a reference that may be traced, without its energy and its rounding."""
    if isinstance(potential, RestrictedPotential):
        inner = paired(potential.inner, potential.seen(reference))
        return RestrictedPotential(inner, potential.centre, potential.inside)
    parts = _parts(potential)
    anchors = tuple(part.anchor(reference) for part in parts)
    return RelativePotential(parts, anchors, jnp.zeros(2), jnp.zeros(()))


def relative_potential(
    potential: AbstractPotential, reference: dict[str, Array]
) -> RelativePotential:
    """The potential of energy differences from the weights `reference` (all leaves, by path).

    Raises:
        DeclarationError: if weights were integrated out.
    """
    parts = _parts(potential)
    anchors = tuple(part.anchor(reference) for part in parts)
    summands = _losses(parts, reference)
    level = sum((np.sum(_wide(losses)) for losses, _ in summands), np.zeros(()))
    blur = sum((np.sum(_wide(losses) ** 2) for losses, same in summands if same), np.zeros(()))
    kind = jnp.result_type(float)
    high = jnp.asarray(level, kind)
    low = jnp.asarray(level - _wide(high), kind)
    blur = 0.5 * float(jnp.finfo(kind).eps) * blur**0.5
    return RelativePotential(parts, anchors, jnp.stack([high, low]), jnp.asarray(blur, kind))


def _parts(potential: AbstractPotential) -> tuple[AbstractLowered, ...]:
    """The terms of an energy over all weights."""
    if isinstance(potential, ControlledPotential):
        return _parts(potential.relative)
    if not isinstance(potential, EnergyPotential | RelativePotential):
        raise DeclarationError(
            "gibbs",
            got="a measure with weights integrated out",
            expected="a measure over all weights: the energy given the others depends on beta",
            mend="compile with marginalise=False",
        )
    return potential.parts


@full_products()
@at_once
def _losses(parts: tuple[AbstractLowered, ...], reference: dict[str, Array]) -> list[Any]:
    return [part.losses(reference) for part in parts]


def _wide(losses: Array) -> Any:
    """In float64 on the host; unchanged while they are traced."""
    return np.asarray(losses, np.float64) if known(losses) else losses
