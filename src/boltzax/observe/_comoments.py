"""Covariances of many functions of the weights, streamed over the draws.

There are two sweeps. The first merges batches of draws into the mean and the spread of every
function; the second sums the products of the centred functions. Memory holds one batch of draws
times two blocks of functions, and six matrices of block by block.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ..core import Estimate, estimate_of_parts

PIECES = 32
"""Least number of pieces, over all chains, whose means give the error."""


class Plan(eqx.Module):
    """Which draws belong together: half chains, their pieces, and batches that fit into memory.

    `index` counts through `[chain, draw]`; `real` is False where a batch was filled up.
    """

    index: Int[Array, "half piece batch draw"]
    real: Bool[Array, "half piece batch draw"]


def plan(chains: int, draws: int, chunk: int) -> Plan:
    """Two halves a chain, each in pieces of (nearly) equal length, at least `PIECES` in all.

    A piece has at least four draws: a short run has fewer pieces, but at least one a half.
    """
    pieces = max(1, min(-(-PIECES // (2 * chains)), draws // 8))
    parts = np.array_split(np.arange(draws), 2 * pieces)
    longest = len(parts[0])
    size = min(chunk, longest)
    batches = -(-longest // size)
    index = np.zeros((chains, 2 * pieces, batches * size), dtype=np.int32)
    real = np.zeros(index.shape, dtype=bool)
    for i, part in enumerate(parts):
        index[:, i, : len(part)] = part + draws * np.arange(chains)[:, None]
        real[:, i, : len(part)] = True
    shape = (2 * chains, pieces, batches, size)
    return Plan(jnp.asarray(index.reshape(shape)), jnp.asarray(real.reshape(shape)))


class Draws(eqx.Module):
    """Draws at one beta, chains end to end.

    Attributes:
        complete: From one entry of `w` and a key to the model.
        w: The draws, with a leading axis.
        keys: What completes weights that were integrated out.
        plan: Which draws belong together.
    """

    complete: Callable[[PyTree, PRNGKeyArray], PyTree]
    w: PyTree
    keys: PRNGKeyArray
    plan: Plan

    def values(self, index: Array, real: Array, functions: tuple) -> list[Float[Array, "draw n"]]:
        """The values of each function at some draws; 0 where the batch was filled up."""

        def at_draw(i):
            w = jax.tree.map(lambda leaf: leaf[i], self.w)
            model = self.complete(w, self.keys[i])
            return [function(model) for function in functions]

        return [jnp.where(real[:, None], values, 0.0) for values in jax.vmap(at_draw)(index)]


class Spread(eqx.Module):
    """Mean and standard deviation (with n - 1) of each function over all draws."""

    mean: Float[Array, " n"]
    deviation: Float[Array, " n"]


@eqx.filter_jit
def spread(draws: Draws, function) -> Spread:
    """Mean and spread by merging batches, so that no large sums cancel.

    Chan, Golub & LeVeque 1983, Am. Stat. 37:242.
    """

    def merge(carry, batch):
        count, mean, squares = carry
        index, real = batch
        (values,) = draws.values(index, real, (function,))
        new = jnp.sum(real, dtype=values.dtype)
        own = jnp.sum(values, axis=0) / jnp.maximum(new, 1)
        within = jnp.sum(jnp.where(real[:, None], values - own[None], 0.0) ** 2, axis=0)
        total = count + new
        share = new / jnp.maximum(total, 1)
        squares = squares + within + count * share * (own - mean) ** 2
        return (total, mean + share * (own - mean), squares), None

    size = draws.plan.index.shape[-1]
    batches = (draws.plan.index.reshape(-1, size), draws.plan.real.reshape(-1, size))
    (values,) = jax.eval_shape(
        lambda index, real: draws.values(index, real, (function,)), *(x[0] for x in batches)
    )
    zeros = jnp.zeros(values.shape[1:], values.dtype)
    start = (jnp.zeros((), values.dtype), zeros, zeros)
    (count, mean, squares), _ = jax.lax.scan(merge, start, batches)
    return Spread(mean, jnp.sqrt(squares / jnp.maximum(count - 1, 1)))


def covariance(draws: Draws, rows, columns, row: Spread, column: Spread) -> Estimate:
    """`Cov(a_i, b_j)` over all draws, `[rows, columns]`, with its error (see `influence`)."""
    unscaled = [Spread(side.mean, jnp.ones_like(side.mean)) for side in (row, column)]
    return _estimate(draws.plan, _sweep(draws, rows, columns, *unscaled, None), False)


def covariance_of_pieces(draws: Draws, rows, columns) -> tuple[Estimate, Float[Array, "piece n m"]]:
    """`covariance`, and its value in each piece of the chains, centred by the means of all draws.

    The mean of the pieces differs from the covariance by the weights of their lengths, and by the
    factor n/(n - 1).
    """
    unscaled = [
        Spread(s.mean, jnp.ones_like(s.mean)) for s in (spread(draws, f) for f in (rows, columns))
    ]
    *sums, pieces = _sweep(draws, rows, columns, *unscaled, None, True)
    return _estimate(draws.plan, sums, False), pieces.reshape(-1, *pieces.shape[-2:])


def correlation(draws: Draws, rows, columns, row: Spread, column: Spread) -> Estimate:
    """`Corr(a_i, b_j)`; its error is that of `uv - ρ(u² + v²)/2`, u and v standardised."""
    count = int(draws.plan.real.sum())
    mean, *_ = _sweep(draws, rows, columns, row, column, None)
    rho = mean * (count / max(count - 1, 1))
    moves = _estimate(draws.plan, _sweep(draws, rows, columns, row, column, rho), True)
    return eqx.tree_at(lambda e: e.value, moves, jnp.where(jnp.isnan(moves.value), jnp.nan, rho))


@eqx.filter_jit
def _sweep(draws, rows, columns, row, column, rho, each=False):
    """Mean of the products, sum of their squares, and spreads of the means of pieces and halves.

    Products are `a b` of the centred and scaled functions, minus `rho (a² + b²)/2` if rho is given.
    The spreads are `Σ n (mean - whole mean)²`, by an update (West 1979, Comm. ACM 22:532). `each`:
    also the mean of each piece.
    """

    def batch(carry, at):
        a, b = draws.values(*at, (rows, columns))
        real = at[1][:, None]
        a = jnp.where(real, (a - row.mean[None]) / row.deviation[None], 0.0)
        b = jnp.where(real, (b - column.mean[None]) / column.deviation[None], 0.0)
        sums, squares = _product(a, b), _product(a**2, b**2)
        if rho is not None:
            a2, b2 = (jnp.sum(x**2, axis=0) for x in (a, b))
            a4, b4 = (jnp.sum(x**4, axis=0) for x in (a, b))
            sums = sums - 0.5 * rho * (a2[:, None] + b2[None])
            fourth = a4[:, None] + b4[None] + 2 * squares
            crossed = _product(a**3, b) + _product(a, b**3)
            squares = squares - rho * crossed + 0.25 * rho**2 * fourth
        new = (jnp.sum(at[1], dtype=zero.dtype), sums, squares)
        return jax.tree.map(jnp.add, carry, new), None

    def piece(carry, at):
        pieces, half = carry
        new, _ = jax.lax.scan(batch, empty, at)
        own = new[1] / new[0] if each else None
        return (_west(pieces, new[0], new[1]), jax.tree.map(jnp.add, half, new)), own

    def half(carry, at):
        pieces, halves, squares = carry
        (pieces, new), own = jax.lax.scan(piece, (pieces, empty), at)
        return (pieces, _west(halves, new[0], new[1]), squares + new[2]), own

    zero = jnp.zeros((row.mean.size, column.mean.size), row.mean.dtype)
    empty = (jnp.zeros((), zero.dtype), zero, zero)
    at = (draws.plan.index, draws.plan.real)
    (pieces, halves, squares), own = jax.lax.scan(half, (empty, empty, zero), at)
    found = (pieces[1], squares, pieces[2], halves[2], pieces[0])
    return (*found, own) if each else found


def _estimate(plan: Plan, sums, standardised: bool) -> Estimate:
    """Value, ess, split r_hat of the halves, and the error from the means of the pieces.

    Where the halves differ by more than the spread inside them explains (F test at 1e-3), as in
    chains that do not mix, the error is taken from the means of the halves.
    """
    mean, squares, pieces, halves, n = sums
    halves_count, pieces_of_half = plan.real.shape[:2]
    pieces_count = halves_count * pieces_of_half
    factor = n / jnp.maximum(n - 1, 1)
    variance = (squares - n * mean**2) / jnp.maximum(n - 1, 1)
    error2 = pieces / (n * (pieces_count - 1))
    if pieces_of_half > 1:
        freedom = halves_count - 1, pieces_count - halves_count
        bound = scipy.special.fdtri(*freedom, 0.999)
        apart = halves * freedom[1] > bound * (pieces - halves) * freedom[0]
        error2 = jnp.where(apart, halves / (n * freedom[0]), error2)
    within = (squares - halves - n * mean**2) / jnp.maximum(n - halves_count, 1)
    length = n / halves_count
    between = halves / (length * (halves_count - 1))
    scale = jnp.maximum(squares / n, 1.0 * standardised)
    still = variance <= 100 * jnp.finfo(mean.dtype).eps * scale
    finite = jnp.isfinite(variance) & jnp.isfinite(mean)
    ess = jnp.where(still, n, jnp.clip(variance / error2, 1.0, n))
    r_hat = jnp.where(still, 1.0, jnp.sqrt((length - 1) / length + between / within))
    return estimate_of_parts(
        jnp.where(finite, mean * factor, jnp.nan),
        jnp.where(finite, jnp.where(still, 0.0, jnp.sqrt(error2)) * factor, jnp.nan),
        jnp.where(finite, ess, 0.0),
        jnp.where(finite, r_hat, jnp.inf),
    )


def _west(carry, count, sums):
    """Weighted mean and `Σ n (mean - whole mean)²` with one more group in it."""
    before, mean, spread = carry
    total = before + count
    apart = sums / count - mean
    return total, mean + apart * (count / total), spread + apart**2 * (before * count / total)


def _product(a: Float[Array, "draw n"], b: Float[Array, "draw m"]) -> Float[Array, "n m"]:
    return jnp.matmul(a.T, b, precision="highest")
