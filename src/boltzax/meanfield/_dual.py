"""The convex dual of a squared loss, and its minimum."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..numerics import convex_minimum
from ._cumulant import AbstractCumulant


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
    """The result of Newton's method; `converged` if the residual is within the tolerance."""

    field: Float[Array, " n"]
    residual: Float[Array, ""]
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


@eqx.filter_jit
def newton(dual: Dual, start: Float[Array, " n"], tolerance: Array, steps: int) -> Solution:
    """The field, by Newton's steps with the Hessian `T + Cov_ρ(h)`.

    Stops when `|residual| <= tolerance |y|`, or when rounding leaves nothing to gain.
    """
    goal = tolerance * jnp.maximum(jnp.linalg.norm(dual.target), 1e-300)
    eye = jnp.eye(len(start), dtype=start.dtype)
    field, residual, count = convex_minimum(
        dual.value,
        dual.residual,
        lambda g: dual.cumulant.covariance(g) + dual.temperature * eye,
        start,
        goal,
        steps,
        lambda g, value: jnp.abs(value) + jnp.abs(dual.target) @ jnp.abs(g),
    )
    return Solution(field, residual, count, residual <= goal)


@eqx.filter_jit
def figures(dual: Dual, field: Array) -> dict[str, Array]:
    """Quantities of a field, as of `FixedPoint`; `background` and `field` as vectors."""
    temperature = dual.temperature
    f = dual.cumulant.mean(field)
    eigenvalues = jnp.clip(jnp.linalg.eigvalsh(dual.cumulant.covariance(field)), 0.0)
    loss = 0.5 * jnp.sum((f - dual.target) ** 2)
    entropy = dual.cumulant.value(field) - field @ f
    return {
        "background": f,
        "field": field,
        "stiffness": eigenvalues[-1] / temperature,
        "loss": loss,
        "entropy": entropy,
        "free_energy": loss - temperature * entropy,
        "fluctuation": jnp.sum(eigenvalues),
        "thermal_fluctuation": jnp.sum(eigenvalues / (1 + eigenvalues / temperature)),
    }
