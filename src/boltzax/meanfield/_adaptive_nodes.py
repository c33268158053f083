"""Nodes concentrated on the law: importance sampling from the prior and kernels about the law."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import map_within
from ..declare import GaussianMeasure
from ._cumulant import AbstractCumulant, NodeCumulant, at_nodes
from ._self_consistency import SelfConsistency

ENOUGH = 1000.0
"""Effective nodes with which a law is left as it is."""
CENTRES = 512
"""Kernels about the law."""
WIDTHS = (0.05, 0.15, 0.4)
"""Widths of the kernels, in units of the prior."""
KEPT = 0.25
"""Part of the nodes that stay with the prior."""


def refined(
    problem: SelfConsistency,
    nodes: AbstractCumulant,
    field: Float[Array, " n"],
    seed: int,
    rounds: int,
    follow: Callable[[AbstractCumulant, Array], Array] = lambda nodes, field: field,
) -> AbstractCumulant:
    """Nodes drawn again near the law while fewer than 1,000 are effective, `rounds` times at most.

    Args:
        follow: The field on new nodes, if it changes with them.
    """
    for round in range(rounds):
        if not isinstance(nodes, NodeCumulant) or float(nodes.ess(field)) >= ENOUGH:
            break
        nodes = refine(problem, nodes, field, seed + round)
        field = follow(nodes, field)
    return nodes


def refine(
    problem: SelfConsistency, cumulant: NodeCumulant, field: Float[Array, " n"], seed: int
) -> NodeCumulant:
    """As many nodes again, three quarters of them near the law in this field.

    Sobol points are mapped to the mixture `q = ¼ N(0, 1) + ¾ kernels`, of three widths about 512
    draws of the law, and weighted by `N(u; 0, 1)/q(u)` (Hesterberg 1995, Technometrics 37:185,
    defensive mixtures): `Ψ` is the same integral, whatever the kernels are. The weights are divided
    by their sum.
    """
    count, dim = cumulant.points.shape
    count = 1 << (count - 1).bit_length()
    normal, _ = GaussianMeasure(dim + 1, order=count, rule="sobol", seed=seed + 1).nodes()
    points, log_weights = _mixture(cumulant, field, normal)
    return at_nodes(
        problem, cumulant.one, points, log_weights, jnp.full_like(log_weights, 1 / count)
    )


@eqx.filter_jit
def _mixture(cumulant: NodeCumulant, field: Array, normal: Array) -> tuple[Array, Array]:
    choice, noise = jax.scipy.special.ndtr(normal[:, 0]), normal[:, 1:]
    law = cumulant.law(field)
    # systematic draws: evenly spaced quantiles of the law
    quantiles = (jnp.arange(CENTRES, dtype=law.dtype) + 0.5) / CENTRES
    cumulative = jnp.cumsum(law)
    drawn = jnp.searchsorted(cumulative / cumulative[-1], quantiles)
    centres = cumulant.points[jnp.clip(drawn, 0, len(law) - 1)]
    widths = jnp.asarray(WIDTHS, noise.dtype)

    kernels = CENTRES * len(WIDTHS)
    place = jnp.clip(((choice - KEPT) / (1 - KEPT) * kernels).astype(int), 0, kernels - 1)
    near = centres[place // len(WIDTHS)] + widths[place % len(WIDTHS)][:, None] * noise
    points = jnp.where((choice < KEPT)[:, None], noise, near)

    def log_ratio(u):
        """`log q(u) - log N(u; 0, 1)`."""
        square = jnp.sum((u[None] - centres) ** 2, axis=1)[:, None] / widths[None] ** 2
        each = -0.5 * square - len(u) * jnp.log(widths)[None] + 0.5 * jnp.sum(u**2)
        together = jax.nn.logsumexp(each) + jnp.log((1 - KEPT) / kernels)
        return jnp.logaddexp(together, jnp.log(KEPT))

    log_weights = -map_within(log_ratio, points)
    return points, log_weights - jax.nn.logsumexp(log_weights)
