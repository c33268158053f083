"""The marginal potential of exchangeable units in a graded basis, accurate at any beta.

With `C = diag(σ) V`, `V = [v(b_1) ... v(b_H)]` and `Λ = 1/(β τ² σ²)` (τ the readout's prior sd),
`log det(I + β τ² C Cᵀ) = log det(Λ + V Vᵀ) - Σ log Λ`. The matrix `Λ + V Vᵀ` is not formed. It can
be singular to working precision while its determinant is well conditioned: if no unit is near zero,
or if the frame is wider than the units. Instead the columns of `[Vᵀ; √Λ]` are orthogonalised in the
order of the modes, `Λ + V Vᵀ = Rᵀ R`. A rounding error of column k matters only if `R_kk` is small
against that column, and `√Λ_k` bounds `R_kk` from below.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..declare import Distribution
from ._potential import AbstractMarginalPotential, AbstractPotential, Moments

FLOOR = 1e-12
"""Least beta; at beta = 0 the potential vanishes to this relative precision."""


class UnitState(NamedTuple):
    """`U`, and features `R⁻ᵀ v(b)`, in coordinates where `Λ + V Vᵀ` is the identity.

    Args:
        value: `U`.
        units: The features of the units, `[unit, mode]`.
        ridge: The rows of `√Λ R⁻¹`, `[mode, mode]`. With `units` they have orthonormal columns.
        others: The features of other units, `[other, mode]`.
    """

    value: Float[Array, ""]
    units: Float[Array, "unit mode"]
    ridge: Float[Array, "mode mode"]
    others: Float[Array, "other mode"]


class UnitPotential(AbstractMarginalPotential):
    """`U = ½ log det(I + β τ² C(b) C(b)ᵀ)` for scalar units `b`, with tables of graded features.

    Tables: `coefficients [frame * panel, degree + 1, mode]`, `log_sigma [frame, mode]`, `scale
    [frame]`; `stretch = asinh(top / scale)`.
    """

    coefficients: Float[Array, "row power mode"]
    log_sigma: Float[Array, "frame mode"]
    scale: Float[Array, " frame"]
    stretch: Float[Array, " frame"]
    deviation: Float[Array, ""]
    path: str = eqx.field(static=True)
    readout: dict[str, Distribution]
    odd: bool = eqx.field(static=True)
    plain: AbstractPotential

    def frame_of(self, b: Float[Array, " unit"]) -> Int[Array, ""]:
        """The index of the narrowest frame that contains all units."""
        top = jnp.max(jnp.abs(b))
        return jnp.argmin(jnp.where(self.scale >= 0.95 * top, self.scale, jnp.inf))

    def features(
        self, b: Float[Array, " unit"], frame: Int[Array, ""]
    ) -> Float[Array, "unit mode"]:
        """The features `v_j(b)` of every unit."""
        panels = self.coefficients.shape[0] // self.scale.shape[0]
        place = jnp.arcsinh((jnp.abs(b) if self.odd else b) / self.scale[frame])
        place = place / self.stretch[frame]
        place = (place if self.odd else (place + 1) / 2) * panels
        panel = jnp.clip(place.astype(jnp.int32), 0, panels - 1)
        u = jnp.clip(2 * (place - panel) - 1, -1.0, 1.0)
        factor, u, row = jax.lax.optimization_barrier(
            (
                b[:, None] if self.odd else jnp.ones_like(b)[:, None],
                u[:, None],
                frame * panels + panel,
            )
        )
        table = jax.lax.optimization_barrier(self.coefficients[row])
        total = table[:, -1, :]
        for power in range(table.shape[1] - 2, -1, -1):
            total = total * u + table[:, power, :]
        return jax.lax.optimization_barrier(total * factor)

    def state(
        self,
        b: Float[Array, " unit"],
        beta: Float[Array, ""],
        others: Float[Array, " other"] | None = None,
    ) -> UnitState:
        """The potential of units `b`, and the features of these and of other units."""
        frame, count, modes = self.frame_of(b), b.shape[0], self.log_sigma.shape[1]
        log_root = -0.5 * jnp.log(jnp.maximum(beta, FLOOR) * self.deviation**2)
        log_root = log_root - self.log_sigma[frame]
        every = b if others is None else jnp.concatenate([b, others])
        rows = self.features(every, frame)
        rows = jnp.concatenate([rows[:count], jnp.diag(jnp.exp(log_root)), rows[count:]])
        rows, log_norms = orthogonalise(rows, count + modes)
        value = jnp.sum(log_norms - log_root)
        return UnitState(value, *jnp.split(rows, [count, count + modes]))

    def __call__(self, weights, beta):
        return self.state(weights[self.path][:, 0], beta).value

    def moments(self, weights, beta):
        # energy ½ tr(S W)/β and variance ½ tr((S W)²)/β², with S = V Vᵀ and W = (Λ + S)⁻¹
        state = self.state(weights[self.path][:, 0], beta)
        beta = jnp.maximum(beta, FLOOR)
        share = state.units.T @ state.units
        energy = 0.5 * jnp.trace(share) / beta
        variance = 0.5 * jnp.sum(share**2) / beta**2
        return Moments(state.value, energy, variance)

    def rounding(self, energy):
        return jnp.zeros(())

    def complete(self, weights, beta, key):
        return self.plain.complete(weights, beta, key)

    def energy_at(self, weights):
        return self.plain.energy_at(weights)

    def notes(self):
        *lines, last = self.plain.notes()
        frames, modes = self.log_sigma.shape
        return (
            *lines,
            f"features of a unit: {modes} modes of a basis graded by size, {frames} scale(s)",
            last,
        )


def orthogonalise(
    rows: Float[Array, "row mode"], active: int
) -> tuple[Float[Array, "row mode"], Float[Array, " mode"]]:
    """Modified Gram-Schmidt on the columns, with the inner product of the first `active` rows.

    It uses plain array operations, so that thousands of small matrices run as one fused loop.
    Batched LAPACK calls block inside XLA's thread pool and can deadlock with several host devices.

    Source: Björck 1967, BIT 7:1.

    Returns:
        All rows in the new coordinates, and the logarithms of the lengths `R_kk`.
    """
    index = jnp.arange(rows.shape[1])
    counts = (jnp.arange(rows.shape[0]) < active)[:, None]

    def column(k, carry):
        rows, log_norms = carry
        own = jax.lax.dynamic_slice_in_dim(rows, k, 1, 1)
        seen = jnp.where(counts, own, 0.0)
        norm = jnp.sqrt(jnp.sum(seen**2))
        along = jnp.where(index > k, jnp.sum(seen * rows, 0) / norm, 0.0)
        unit, along = jax.lax.optimization_barrier((own / norm, along))
        rows = jnp.where(index == k, unit, rows - unit * along)
        return rows, jnp.where(index == k, jnp.log(norm), log_norms)

    return jax.lax.fori_loop(0, len(index), column, (rows, jnp.zeros_like(rows[0])))
