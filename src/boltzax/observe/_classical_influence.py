"""Influence by the implicit function theorem: the curvature at one minimum, never formed."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.experimental.sparse.linalg import lobpcg_standard
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from ..compile import Gibbs
from ..core import (
    MEMORY,
    Count,
    DeclarationError,
    Estimate,
    Memory,
    Model,
    NonNegative,
    Positive,
    map_within,
    model_errors,
    typed,
    with_weights,
)
from ..declare import AbstractDataTerm, AbstractEnergy
from ._response_functions import (
    DatumLosses,
    Flat,
    Observable,
    check_energy,
    check_own_energy,
    checked_function,
)

FEW = 64
"""Coordinates below which all eigenvalues of the Hessian are computed."""


@typed
@model_errors("in bx.classical_influence")
def classical_influence(
    gibbs: Gibbs,
    energy: AbstractEnergy,
    query: Observable | None = None,
    *,
    model: Model | None = None,
    damping: NonNegative = 0.0,
    tolerance: Positive = 1e-6,
    max_steps: Count = 200,
    memory: Memory = MEMORY,
) -> Estimate:
    """`∂q(ŵ)/∂μ_j = -β ∇q·(∇²U + δ)⁻¹ ∇ℓ_j` at a minimum `ŵ` of `U = -log p`; `[query, datum]`.

    How the minimum moves with the weight `μ_j` of a datum, to first order: what `influence` becomes
    at low temperature if the minimum is regular. Each query takes a run of conjugate gradients
    with products of the Hessian and a vector, and its error is the last correction by a second run;
    it is NaN for a query whose residual stays above `tolerance`. At a model that is not a minimum
    the value is the response of the next (damped) Newton step, not that of the minimum.

    Koh & Liang 2017, ICML, arXiv:1703.04730 (eq. 2); the Hessian is that of the log-density, with
    the prior, and is not replaced by a factored approximation.

    Args:
        gibbs: The measure, with all weights kept.
        energy: The energy whose data are perturbed, as in `influence`.
        query: What responds, as in `influence`: the losses of the same data if None, those of an
            energy, or the numbers that a function of the model returns, flattened.
        model: The minimum `ŵ`; the declared model by default.
        damping: `δ`, added to the Hessian in the coordinates of the measure: larger than its
            negative eigenvalues, if it has some.
        tolerance: Residual at which conjugate gradients end, relative to `∇q`.
        max_steps: Most steps of conjugate gradients.
        memory: Bytes of intermediate values at once.

    Returns:
        An `Estimate` `[query, datum]`, whose error is that of the solver alone.

    Raises:
        DeclarationError: For a measure with several betas or with weights integrated out, an energy
            without data or of another model, and a damped Hessian with a negative eigenvalue.
    """
    check_all_weights(gibbs)
    data = losses_of_data(gibbs, "energy", energy)
    if query is None:
        rows = data
    elif isinstance(query, AbstractEnergy):
        rows = losses_of_data(gibbs, "query", query)
    else:
        rows = (Flat(checked_function(gibbs.declared, "query", query)),)
    settings = jnp.asarray(damping, float), jnp.asarray(tolerance, float)
    found, correction, solved, curvature = _solved(
        gibbs, gibbs.position(model), rows, data, *settings, max_steps, memory
    )
    if float(curvature) < 0:
        raise DeclarationError(
            "damping",
            got=f"{damping:g} for a Hessian with a curvature of {float(curvature) - damping:.3g}",
            expected="a Hessian that is positive with the damping: that of a minimum",
            mend="pass a model nearer to a minimum, or a larger damping",
        )
    return Estimate.exact(found).widened(jnp.abs(correction)).unknown(~solved[:, None])


def check_all_weights(gibbs: Gibbs) -> None:
    """Raise `DeclarationError` for weights integrated out, and for several betas."""
    lost = gibbs.potential.integrated()
    if lost or gibbs.beta.ndim:
        raise DeclarationError(
            "gibbs",
            got=f"a measure with {', '.join(lost)} integrated out" if lost else "several betas",
            expected="a measure of all weights at one beta",
            mend="compile with marginalise=False" if lost else "take one beta: gibbs.at(beta)",
        )


@eqx.filter_jit
def _solved(
    gibbs: Gibbs, w, rows, data, damping: Array, tolerance: Array, steps: int, memory: int
) -> tuple[
    Float[Array, "query datum"],
    Float[Array, "query datum"],
    Bool[Array, " query"],
    Float[Array, ""],
]:
    """The responses after a second run of conjugate gradients, and what the second run added.

    Also which queries were solved to the tolerance, and the least curvature that was found.
    """
    place, unravel = ravel_pytree(w)
    slope = jax.grad(lambda x: -gibbs.log_prob(unravel(x)))

    def curved(v):
        return jax.jvp(slope, (place,), (v,))[1] + damping * v

    def queries(x):
        return jnp.concatenate([row(gibbs.model(unravel(x))) for row in rows])

    values, back = jax.vjp(queries, place)
    solve = partial(jax.scipy.sparse.linalg.cg, curved, tol=tolerance, maxiter=steps)

    def solved(unit):
        (target,) = back(unit)
        first, _ = solve(target)
        second, _ = solve(target - curved(first))
        left = jnp.linalg.norm(target - curved(first + second))
        return first, second, left <= close * jnp.linalg.norm(target)

    # the true residual has rounding errors that the one of the recursion has not
    close = jnp.maximum(10 * tolerance, 1e3 * jnp.finfo(place.dtype).eps)
    units = jnp.eye(values.size, dtype=values.dtype)
    *both, done = map_within(solved, units, memory)
    vectors = jnp.stack(both)  # [run, query, coordinate]

    def along(part: DatumLosses):
        def one(datum):
            def loss(x):
                here = with_weights(part.term.model, gibbs.constrain(unravel(x)))
                return part.factor * part.term.loss(here, datum)

            _, push = jax.linearize(loss, place)
            return jax.vmap(jax.vmap(push))(vectors)

        return map_within(one, part.points, memory)

    first, second = -gibbs.beta * jnp.moveaxis(jnp.concatenate([along(d) for d in data]), 0, -1)
    return first + second, second, done, _least_curvature(curved, place)


def _least_curvature(curved: Callable[[Array], Array], place: Array) -> Float[Array, ""]:
    """The least eigenvalue of a Hessian; in many dimensions a bound from above, by 20 products."""
    if place.size < FEW:
        return jnp.min(jnp.linalg.eigvalsh(jax.vmap(curved)(jnp.eye(place.size))))
    start = jax.random.normal(jax.random.key(0), (place.size, 1), place.dtype)
    lowered = jax.vmap(lambda v: -curved(v), in_axes=1, out_axes=1)
    return -lobpcg_standard(lowered, start, m=20)[0][0]


def losses_of_data(gibbs: Gibbs, argument: str, energy: AbstractEnergy) -> tuple[DatumLosses, ...]:
    check = check_energy if argument == "query" else check_own_energy
    check(gibbs.declared, argument, energy)
    terms = [(f, term) for f, term in energy.terms() if isinstance(term, AbstractDataTerm)]
    if not terms:
        raise DeclarationError(
            argument,
            got="an energy without data",
            expected="at least one integral over a measure",
            mend="pass the declared SquaredError, CrossEntropy or PerDatum",
        )
    return tuple(DatumLosses(f, term, term.measure.nodes()[0]) for f, term in terms)
