"""The marginal potential of exchangeable units in a graded basis: small, and exact at any beta.

With `C = diag(σ) V`, `V = [v(b_1) ... v(b_H)]` and `Λ = 1/(β τ² σ²)` (τ the readout's prior sd),
`log det(I + β τ² C Cᵀ) = log det(Λ + V Vᵀ) - Σ log Λ`. The matrix `Λ + V Vᵀ` has the size of the
number of modes and is well conditioned where the frame's scale matches the spread of `b`; each
state picks the frame of its own spread. Replacing one unit is a rank-two update of its inverse.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._potential import AbstractPotential, Moments

FLOOR = 1e-12
"""Least beta; at beta = 0 the potential vanishes to this relative precision."""


class UnitState(NamedTuple):
    """Units in a frame: features `[unit, mode]`, Λ `[mode]`, `W = (Λ + VᵀV)⁻¹`, log det of 1/W."""

    frame: Int[Array, ""]
    features: Float[Array, "unit mode"]
    ridge: Float[Array, " mode"]
    inverse: Float[Array, "mode mode"]
    log_det: Float[Array, ""]


class UnitPotential(AbstractPotential):
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
    readout: dict[str, object]
    odd: bool = eqx.field(static=True)
    plain: AbstractPotential

    def frame_of(self, b: Float[Array, " unit"]) -> Int[Array, ""]:
        """The frame whose design spread is nearest to that of the units."""
        wanted = 0.5 * jnp.log(jnp.mean(b**2) + 1e-300) + jnp.log(1.8)
        return jnp.argmin(jnp.abs(jnp.log(self.scale) - wanted))

    def features(
        self, b: Float[Array, " unit"], frame: Int[Array, ""]
    ) -> Float[Array, "unit mode"]:
        """`v_j(b)` of every unit."""
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
        self, b: Float[Array, " unit"], beta: Float[Array, ""], frame: Int[Array, ""] | None = None
    ) -> UnitState:
        """Features and factorised moment matrix of the units."""
        frame = self.frame_of(b) if frame is None else frame
        v = self.features(b, frame)
        log_ridge = -jnp.log(jnp.maximum(beta, FLOOR) * self.deviation**2)
        ridge = jnp.exp(log_ridge - 2 * self.log_sigma[frame])
        inverse, log_det = invert(v.T @ v + jnp.diag(ridge))
        return UnitState(frame, v, ridge, inverse, log_det)

    def value(self, state: UnitState) -> Float[Array, ""]:
        """`U` of a state."""
        return 0.5 * (state.log_det - jnp.sum(jnp.log(state.ridge)))

    def __call__(self, weights, beta):
        return self.value(self.state(weights[self.path][:, 0], beta))

    def moments(self, weights, beta):
        # energy ½ tr(S W)/β and variance ½ tr((S W)²)/β², with S = V Vᵀ and W = (Λ + S)⁻¹
        state = self.state(weights[self.path][:, 0], beta)
        beta = jnp.maximum(beta, FLOOR)
        root = jnp.sqrt(state.ridge)
        shrunk = state.inverse * root[:, None] * root  # Λ W in symmetric form
        gram = state.features.T @ state.features
        product = gram @ state.inverse
        # S W = 1 - Λ W: the right side is exact for resolved modes, the left for the others
        hot, cold = jnp.trace(product), jnp.sum(1 - jnp.diagonal(shrunk))
        hot_square = jnp.sum(product * product.T)
        cold_square = jnp.sum((jnp.eye(len(root)) - shrunk) ** 2)
        energy = 0.5 * jnp.where(beta < 1.0, hot, cold) / beta
        variance = 0.5 * jnp.where(beta < 1.0, hot_square, cold_square) / beta**2
        return Moments(self.value(state), energy, variance)

    def estimate(self, weights, beta, key):
        return self(weights, beta)

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


def invert(
    matrix: Float[Array, "mode mode"],
) -> tuple[Float[Array, "mode mode"], Float[Array, ""]]:
    """Inverse and log-determinant of a positive matrix by symmetric pivots (the sweep operator).

    Plain array operations, so that thousands of small matrices run as one fused loop; batched
    LAPACK calls block inside XLA's thread pool and can lock up with several host devices.
    """
    index = jnp.arange(matrix.shape[0])

    def pivot(k, carry):
        a, log_det = carry
        column = jax.lax.dynamic_index_in_dim(a, k, 1, keepdims=False)
        p = jax.lax.dynamic_index_in_dim(column, k, 0, keepdims=False)
        here = index == k
        u, p = jax.lax.optimization_barrier((jnp.where(here, -1.0, column), p))
        cleared = jnp.where(here[:, None] | here[None, :], 0.0, a)
        return cleared - u[:, None] * (u / p)[None, :], log_det + jnp.log(p)

    swept, log_det = jax.lax.fori_loop(0, len(index), pivot, (matrix, jnp.zeros((), matrix.dtype)))
    return -swept, log_det
