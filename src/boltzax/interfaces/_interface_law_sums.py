"""Sums over the interfaces of a chain, as functions of weighted prior draws, and their errors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Int

from ..core import Estimate, RunError, estimate_of_parts
from ._maximum_entropy import ChainTables

Weights = tuple[Float[Array, " draw"], ...]
"""The weight of each draw of each table: 1/draws, and its neighbourhood for the errors."""


class Messages(NamedTuple):
    """Sum-product messages, each normalised, and the evidence.

    `left[i][τ] ∝ P[T = τ]`, T the tightest image of what lies before component i;
    `right[i][b] ∝ P[what lies after component i keeps the specification | it accepts b]`.
    """

    kernels: list[Float[Array, "before after"]]
    left: list[Float[Array, " member"]]
    right: list[Float[Array, " member"]]
    log_evidence: Float[Array, ""]


class Images(eqx.Module):
    """The tightest image of each draw: `images[u][b, n]` a member of `after`, or their number.

    `orders[i]` is the inclusion matrix of the family after component i.
    """

    tables: ChainTables
    images: tuple[Int[Array, "before draw"], ...]
    orders: tuple[Bool[Array, "member member"], ...]

    def order(self, joint: int) -> Float[Array, "member member"]:
        return self.orders[joint].astype(jnp.result_type(float))

    def messages(self, weights: Weights) -> Messages:
        """One pass to the right and one to the left."""
        kernels = {
            u: kernel(self.images[u], weights[u], len(self.tables.tables[u].after))
            for u in set(self.tables.position)
        }
        chosen = [kernels[u] for u in self.tables.position]
        left, right, log = [jnp.ones(1)], [jnp.ones(1)], jnp.zeros(())
        for each in chosen:
            message, log = _normal(left[-1] @ each, log)
            left.append(message)
        for each in reversed(chosen[1:]):
            right.insert(0, _normal(each @ right[0], log)[0])
        return Messages(chosen, left[:-1], right, log)

    def estimate(self, functional: Callable[..., Array], *arguments: Any) -> Estimate:
        """`functional(self, messages, weights, *arguments)` at weights 1/draws, with its error.

        `Var ≈ Σ_n (∂φ/∂w_n - mean)² / draws²`, summed over the tables: the infinitesimal jackknife
        (Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, ch. 6). Raises
        `RunError` for a value that is not finite.
        """
        found, error = _estimate(self, functional, arguments)
        if not bool(jnp.all(jnp.isfinite(found))):
            raise RunError(
                "No draws kept the specification through the families. Take more draws, wider "
                "families, or a wider specification."
            )
        draws = min(table.draws for table in self.tables.tables)
        return estimate_of_parts(found, error, draws)


@eqx.filter_jit
def _estimate(given: Images, functional: Callable, arguments: tuple) -> tuple[Array, Array]:
    kind = jnp.result_type(float)
    weights = tuple(jnp.full(t.draws, 1 / t.draws, kind) for t in given.tables.tables)
    found, back = jax.vjp(lambda w: functional(given, given.messages(w), w, *arguments), weights)

    def square(unit):
        (slopes,) = back(unit)
        return jnp.sum(jnp.stack([jnp.var(slope) / slope.size for slope in slopes]))

    units = jnp.eye(found.size, dtype=found.dtype).reshape(-1, *found.shape)
    return found, jnp.sqrt(jax.lax.map(square, units).reshape(found.shape))


def log_evidence(given: Images, m: Messages, w: Weights) -> Array:
    return m.log_evidence


def image(given: Images, m: Messages, w: Weights, joint: int, rows: Array) -> Array:
    both = m.left[joint + 1] * m.right[joint]
    return both[rows] / jnp.sum(both)


def satisfaction(given: Images, m: Messages, w: Weights, joint: int, rows: Array) -> Array:
    both = (m.left[joint + 1] @ given.order(joint)) * m.right[joint]
    return both[rows] / (m.left[joint + 1] @ m.right[joint])


def log_share(given: Images, m: Messages, w: Weights, members: Array) -> Array:
    """`ΣH - log Z` of a chain of members."""
    tables, path = given.tables.tables, [0, *members, 0]
    kept = []
    for i, u in enumerate(given.tables.position):
        hit = tables[u].contains[tables[u].cell[path[i]], path[i + 1]]  # the members are traced
        kept.append(jnp.sum(jnp.where(hit, w[u], 0.0)))
    return jnp.sum(jnp.log(jnp.stack(kept))) - m.log_evidence


def expected_count(given: Images, m: Messages, w: Weights) -> Array:
    message, log = jnp.ones(1), jnp.zeros(())
    for i, each in enumerate(m.kernels):
        message, log = _normal(message @ each @ given.order(i), log)
    return jnp.exp(log - m.log_evidence)


def mutual_information(given: Images, m: Messages, w: Weights, joint: int) -> Array:
    order, left, right = given.order(joint), m.left[joint + 1], m.right[joint]
    within, whole = left @ order, left @ right
    images, inputs = left * right / whole, _widest(order, right) * within / whole
    return jnp.log(whole) - _mean_log(images, right) - _mean_log(inputs, within)


def swap_rate(given: Images, m: Messages, w: Weights, component: int) -> Array:
    order, u = given.order(component), given.tables.position[component]
    before, after = m.left[component], m.right[component]
    # how much each draw weighs given the specification
    keeps = jnp.concatenate([after, jnp.zeros(1)])[given.images[u]]  # [before, draw]
    weight = w[u] * (before @ keeps)
    others = kernel(given.images[u], weight / jnp.sum(weight), len(after)) @ order
    pairs = before[:, None] * (m.kernels[component] @ order) * _widest(order, after)
    return jnp.sum(pairs * others) / jnp.sum(pairs)


def kernel(images: Array, weights: Array, count: int) -> Float[Array, "before after"]:
    """The kernel of tightest images with weighted draws, without the column of none."""
    rows = jnp.arange(images.shape[0])[:, None]
    sums = jnp.zeros((images.shape[0], count + 1), weights.dtype)
    return sums.at[rows, images].add(weights)[:, :count]


def _normal(message: Array, log: Array | float) -> tuple[Array, Array]:
    total = jnp.sum(message)
    return message / total, log + jnp.log(total)


def _mean_log(law: Array, of: Array) -> Float[Array, ""]:
    """`Σ law log(of)`, nothing where the law is nothing."""
    there = (law > 0) & (of > 0)
    return jnp.sum(jnp.where(there, law * jnp.log(jnp.where(there, of, 1.0)), 0.0))


def _widest(order: Array, right: Array) -> Float[Array, " member"]:
    """The law of W from `P[W >= b]`: Möbius inversion over the inclusion order."""
    rank = jnp.argsort(jnp.sum(order, axis=0))
    law = solve_triangular(order[rank][:, rank], right[rank], lower=False, unit_diagonal=True)
    return jnp.zeros_like(right).at[rank].set(law)
