"""The convex dual of a squared loss, and damped Newton on it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._cumulant import AbstractCumulant

SLOPE = 1e-4
"""Part of the decrease that the slope promises with which a step is content (Armijo)."""
HALVINGS = 60
"""Most halvings of a step."""


class Dual(eqx.Module):
    """`D(g) = (T/2)|g|² + Ψ(g) - ⟨y, g⟩`, strongly convex; `∇D = 0` is `T g + E_ρ[h] = y`.

    With `F(ρ) = ½|f - y|² + T KL(ρ‖p0)` of the law that `g` makes, `F + T D = ½|T g + f - y|²`: the
    duality gap of any `g` is half its squared residual, so that `|f - f*| <= |residual|` (`F` is
    strongly convex in `f`).
    """

    cumulant: AbstractCumulant
    target: Float[Array, " n"]
    temperature: Float[Array, ""]

    def value(self, field: Float[Array, " n"]) -> Float[Array, ""]:
        """`D(g)`; `min F = -T min D`."""
        quadratic = 0.5 * self.temperature * jnp.sum(field**2)
        return quadratic + self.cumulant.value(field) - self.target @ field

    def residual(self, field: Float[Array, " n"]) -> Float[Array, " n"]:
        """`∇D = T g + E_ρ[h] - y`."""
        return self.temperature * field + self.cumulant.mean(field) - self.target


class Solution(eqx.Module):
    """Where Newton came to; `steps` taken, `converged` to the tolerance."""

    field: Float[Array, " n"]
    residual: Float[Array, ""]
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


@eqx.filter_jit
def newton(dual: Dual, start: Float[Array, " n"], tolerance: Array, steps: int) -> Solution:
    """Newton's steps with the Hessian `T + Cov_ρ(h)`, each halved until `D` falls as it should.

    Stops when `|residual| <= tolerance |y|`, or when rounding leaves nothing to gain.
    """
    goal = tolerance * jnp.maximum(jnp.linalg.norm(dual.target), 1e-300)
    eps = jnp.finfo(start.dtype).eps

    def go_on(carry):
        _, residual, count, stuck = carry
        return (jnp.linalg.norm(residual) > goal) & (count < steps) & ~stuck

    def step(carry):
        g, residual, count, _ = carry
        move = -newton_direction(dual, g, residual)
        value, slope = dual.value(g), residual @ move

        def too_long(inner):
            size, halved = inner
            new = dual.value(g + size * move)
            # what D can be told apart by
            noise = 8 * eps * (jnp.abs(value) + jnp.abs(dual.target) @ jnp.abs(g))
            return ~(new <= value + SLOPE * size * slope + noise) & (halved < HALVINGS)

        size, halved = jax.lax.while_loop(
            too_long, lambda inner: (0.5 * inner[0], inner[1] + 1), (jnp.ones_like(value), 0)
        )
        new = g + size * move
        after = dual.residual(new)
        better = jnp.linalg.norm(after) < jnp.linalg.norm(residual)
        fell = dual.value(new) < value
        keep = (better | fell) & (halved < HALVINGS)
        g = jnp.where(keep, new, g)
        return g, jnp.where(keep, after, residual), count + 1, ~keep

    begin = (start, dual.residual(start), jnp.asarray(0), jnp.asarray(False))
    g, residual, count, _ = jax.lax.while_loop(go_on, step, begin)
    norm = jnp.linalg.norm(residual)
    return Solution(g, norm, count, norm <= goal)


def newton_direction(dual: Dual, field: Array, residual: Array) -> Array:
    """`(T + Cov_ρ(h))⁻¹ residual`, by Cholesky."""
    matrix = dual.cumulant.covariance(field)
    matrix = matrix + dual.temperature * jnp.eye(len(field), dtype=field.dtype)
    return jax.scipy.linalg.solve(matrix, residual, assume_a="pos")
