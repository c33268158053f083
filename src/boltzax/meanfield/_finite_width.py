"""The order 1/N of the difference between a net of N neurons and its fixed point."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import DeclarationError, map_within, text_of_values, typed, with_weights
from ..declare import GaussianMeasure
from ._cumulant import AbstractCumulant, NodeCumulant, completed
from ._dual import Dual, newton
from ._solve import FixedPoint


@typed
class WidthErrors(eqx.Module):
    """Errors due to the nodes over weights, of the fields of `FiniteWidth` with the same names.

    Half the difference between the two halves of the nodes (every other one), each with a fixed
    point of its own. One difference: it is often two times too large or too small. Zero for a
    closed form; NaN for grids, of which half is no rule: compare two orders. Nodes that both miss a
    part of the law do not show it.

    Args:
        loss: See `FiniteWidth`.
        log_partition: See `FiniteWidth`.
        observable: See `FiniteWidth`.
        limit: See `FiniteWidth`.
    """

    background: Float[Array, "node *out"]
    loss: Float[Array, ""]
    log_partition: Float[Array, ""]
    observable: Float[Array, "..."] | None
    limit: Float[Array, "..."] | None


@typed
class FiniteWidth(eqx.Module):
    """Coefficients of `1/N` under the Gibbs measure of a net of `N` neurons.

    - `background` `[node, *out]`: of `E f`, `E f = f* + background/N`.
    - `loss`: of `E ½|f - y|²`: half the thermal fluctuation and `⟨f* - y, background⟩`.
    - `log_partition`: `-½ log det(1 + C/T)`: `log Z = -N F/T` and this, to order 1.
    - `observable`: of `E A(θ_1)`, `limit` in the infinite net (both None without one);
    - `errors`: of these by the nodes over weights, under the same names.
    """

    background: Float[Array, "node *out"]
    loss: Float[Array, ""]
    log_partition: Float[Array, ""]
    observable: Float[Array, "..."] | None
    limit: Float[Array, "..."] | None
    errors: WidthErrors

    @text_of_values
    def __repr__(self) -> str:
        text = f"FiniteWidth: loss* ({float(self.loss):+.5g} ± {float(self.errors.loss):.1g})/N"
        if self.observable is not None and self.observable.shape == ():
            text += f", observable {float(self.limit):.5g} {float(self.observable):+.5g}/N"
        return text


@typed
def finite_width(
    fixed_point: FixedPoint,
    observable: Callable | None = None,
    *,
    cumulant: AbstractCumulant | None = None,
) -> FiniteWidth:
    """The order `1/N` of a Bayesian net, `p ∝ p0^N exp(-(N/T) ½|f - y|²)`.

    The square is an integral over fields (Hubbard 1959, Phys. Rev. Lett. 3:77), ::

        E A(θ_1) = ∫ dk exp(N D(g* + ik)) a(g* + ik) / ∫ dk exp(N D(g* + ik)),   a(g) = E_ρ[A],

    exact at any `N`, with `D` the dual function. About its saddle, with `C = ∇²Ψ`, `H = T + C` and
    `t = ∇³Ψ : H⁻¹`, the coefficient of `1/N` is ::

        ½ ∇a·H⁻¹t - ½ ∇²a : H⁻¹ = -½ Cov_ρ(A, u),   u = δh·H⁻¹δh - δh·H⁻¹t,   δh = h - E_ρ[h],

    so that a neuron of the net has the law `ρ (1 - (u - E u)/(2N))`: the first part is what a
    neuron feels of itself, screened by the others, the second the shift of the field. For `A = h`
    this is `E f - f* = -(T/2N) H⁻¹ t`. Fluctuations of `f` have the covariance `C(1 + C/T)⁻¹/N`.

    Args:
        observable: `A(model)` of one neuron, a number or an array. What was integrated out is a sum
            over 16 Hermite nodes (256 points of Sobol's sequence in more than two dimensions).
        cumulant: The closed form that `fixed_point` was solved with, if it was.

    Raises:
        DeclarationError: An observable of a closed form, or a closed form not passed.
    """
    law = fixed_point.law
    nodes = cumulant if law is None else law.nodes
    if nodes is None or (observable is not None and not isinstance(nodes, NodeCumulant)):
        raise DeclarationError(
            "fixed_point",
            got="a fixed point from a closed form",
            expected="its `cumulant` and no observable, or a law on nodes",
            mend="pass cumulant=..., or call `solve` without one",
        )
    problem = fixed_point.problem
    field, target = problem.to_vector(fixed_point.field), problem.to_vector(problem.targets())
    found = _coefficients(fixed_point, nodes, field, observable)
    if not isinstance(nodes, NodeCumulant):
        return FiniteWidth(*found, WidthErrors(*jax.tree.map(jnp.zeros_like, found)))

    def half(first: int) -> tuple:
        part = nodes.part(slice(first, None, 2))
        dual = Dual(part, target, problem.temperature)
        own = newton(dual, field, jnp.asarray(1e-9, field.dtype), 100).field
        return _coefficients(fixed_point, part, own, observable)

    # half of a grid is no rule
    half_size = jnp.where(jnp.ptp(nodes.rule) <= 1e-6 * jnp.max(nodes.rule), 0.5, jnp.nan)
    apart = jax.tree.map(lambda a, b: half_size * jnp.abs(a - b), half(0), half(1))
    return FiniteWidth(*found, WidthErrors(*apart))


@eqx.filter_jit
def _coefficients(point: FixedPoint, nodes: AbstractCumulant, field: Array, observable) -> tuple:
    temperature = point.problem.temperature
    covariance = nodes.covariance(field)
    eye = jnp.eye(len(field), dtype=field.dtype)
    inverse = jnp.linalg.inv(covariance + temperature * eye)
    third = _third(nodes, field, inverse)
    shift = inverse @ third
    change = -0.5 * temperature * shift
    # f* - y = -T g
    eigenvalues = jnp.clip(jnp.linalg.eigvalsh(covariance), 0.0)
    thermal = jnp.sum(eigenvalues / (1 + eigenvalues / temperature))
    loss = 0.5 * thermal - temperature * field @ change
    determinant = jnp.linalg.slogdet(eye + covariance / temperature)[1]
    found = limit = None
    if observable is not None:
        assert isinstance(nodes, NodeCumulant)
        found, limit = _observed(nodes, field, inverse, shift, observable)
    return point.problem.from_vector(change), loss, -0.5 * determinant, found, limit


def _third(nodes: AbstractCumulant, field, inverse) -> Float[Array, " n"]:
    """`t = ∇³Ψ : H⁻¹ = E_ρ[δh (δh·H⁻¹δh)]`."""
    return jax.grad(lambda g: jnp.vdot(inverse, nodes.covariance(g)))(field)


def _observed(nodes: NodeCumulant, field, inverse, shift, observable):
    """`-½ Cov_ρ(A, u)` and `E_ρ[A]`."""
    size = nodes.design.shape[2]
    noise, weights = jnp.zeros((1, 0), field.dtype), jnp.ones(1, field.dtype)
    if size:
        rule = {"rule": "hermite", "order": 16} if size <= 2 else {"rule": "sobol", "order": 256}
        noise, weights = GaussianMeasure(size, **rule).nodes()
    law, f = nodes.law(field), nodes.mean(field)

    def at(u, design, plain, e):
        a = design.T @ field + e
        off = plain + design @ a - f
        neuron = with_weights(nodes.one.declared, completed(nodes.one, u, a))
        return observable(neuron), off @ (inverse @ off - shift)

    each = (nodes.nodes, nodes.design, nodes.shift)
    value, u = map_within(lambda node: jax.vmap(lambda e: at(*node, e))(noise), each)
    mass = law[:, None] * weights
    limit = jnp.tensordot(mass, value, 2)
    return -0.5 * jnp.tensordot(mass * (u - jnp.vdot(mass, u)), value, 2), limit
