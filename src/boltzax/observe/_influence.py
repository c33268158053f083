"""Bayesian influence functions: the response to the weight of each datum."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core import (
    MEMORY,
    Count,
    DeclarationError,
    Estimate,
    Key,
    Memory,
    model_errors,
    share,
    typed,
    weights_of,
    with_weights,
    working_bytes,
)
from ..declare import AbstractDataTerm, AbstractEnergy
from ..sample import AbstractDrawn, Trace, trace_of
from ._comoments import Draws, correlation, covariance, plan, spread
from ._susceptibility import Values, check_energy, check_observable


@typed
@model_errors("in bx.influence")
def influence(
    trace: Trace | AbstractDrawn,
    energy: AbstractEnergy,
    query: AbstractEnergy | Callable | None = None,
    *,
    total: bool = False,
    normalised: bool = False,
    batch_size: Count | None = None,
    chunk: Count | None = None,
    memory: Memory = MEMORY,
    key: Key | None = None,
) -> PyTree[Estimate]:
    """`∂⟨ℓ_i⟩/∂μ_j = -β Cov(ℓ_i, ℓ_j)`, `μ_j` the weight of datum j; `[*beta, query, datum]`.

    With `E = Σ_j μ_j ℓ_j` over the nodes of the measure, `ℓ` is the loss of one datum as β
    multiplies it: the factors of the energy are in it, the weight is not. So adding the datum once
    more changes `⟨ℓ_i⟩` by the entry, to first order; removing one of weight 1 by minus the entry;
    and `Σ_j μ_j` of a row is the response to all of the energy. A datum of weight 0 may stand among
    the others: its column is the response to adding it.

    Errors are those of batch means: the spread of the means of 32 or more pieces of chains that
    are long against the autocorrelation time, about the mean of all. A piece of b draws with
    autocorrelation time τ makes the squared error too small by a fraction of about τ/b, and the
    products are skewed: in Gaussian posteriors the root mean square z-score was 1.0 at an `ess` of
    4000, 1.2 at 1000, 1.3 at 300. `r_hat` compares half chains; where these disagree by more than
    the pieces explain, the error is by their means.
    Each entry costs two evaluations of each loss (four if normalised) in every draw.

    Bayesian influence: Kreer et al. 2025, arXiv:2509.26544. Batch means: Geyer 1992, Stat. Sci.
    7:473; pooled over chains: Argon and Andradóttir 2006, Nav. Res. Logist. 53:289.

    Args:
        energy: Whose data are perturbed, one column each, in the order of its terms and nodes.
            Terms that are no integrals over data have no columns.
        query: What responds. None: the loss of the same data (a symmetric matrix); an energy: the
            losses of its data; a function of the model: any array or pytree of arrays, with result
            `[*beta, *shape, datum]`.
        total: Sum over the columns with their weights, i.e. the response to the whole energy,
            without the matrix; the last axis is gone.
        normalised: `-Corr` instead, in [-1, 1] for β > 0; NaN for a loss that does not vary.
        memory: Bytes of intermediate values at once. `batch_size` and `chunk` follow from it where
            they are not given; none of them changes the result by more than rounding.
        batch_size: Data at a time, for rows and for columns. Losses are computed anew for each pair
            of blocks.
        chunk: Draws at a time.
        key: For weights that were integrated out, which are drawn again, as in `trace.evaluate`.

    Raises:
        DeclarationError: A trace without draws or with fewer than 4 a chain, an energy without data
            or of another model, and a loss that is not a scalar.
    """
    trace = trace_of(trace)
    _check_trace(trace)
    columns, column_bytes = _blocks(trace, "energy", energy, batch_size, memory)
    rows, row_bytes, function = columns, column_bytes, None
    symmetric = query is None and not total
    if isinstance(query, AbstractEnergy):
        rows, row_bytes = _blocks(trace, "query", query, batch_size, memory)
    elif query is not None:
        function = check_observable(trace, "query", query)
        rows, row_bytes = [Flat(function)], _measured(trace, Flat(function))[1]
    if total:
        columns = [Flat(Values(energy))]
        column_bytes = _measured(trace, columns[0])[1]
    compare = correlation if normalised else covariance
    chunk = max(1, memory // (row_bytes + column_bytes)) if chunk is None else chunk
    levels = []
    for draws in _levels(trace, chunk, key):
        row = [spread(draws, block) for block in rows]
        column = row if symmetric else [spread(draws, block) for block in columns]
        matrix = _matrix(compare, draws, rows, columns, row, column, symmetric)
        levels.append(matrix.scaled(-1.0 if normalised else -draws.gibbs.beta))
    if trace.betas.ndim:
        whole = jax.tree.map(lambda *each: jnp.stack(each), *levels)
    else:
        (whole,) = levels
    whole = trace.vouched(whole[..., 0] if total else whole)
    return whole if function is None else _unflat(trace, function, whole, trace.betas.ndim)


class DatumLosses(eqx.Module):
    """The losses of some data, as β multiplies them."""

    factor: Array | float
    term: AbstractDataTerm
    points: PyTree

    def __call__(self, model: PyTree) -> Float[Array, " datum"]:
        here = with_weights(self.term.model, weights_of(model))
        return self.factor * jax.vmap(lambda z: self.term.loss(here, z))(self.points)


class Flat(eqx.Module):
    """All numbers that a function gives, end to end."""

    function: Callable

    def __call__(self, model: PyTree) -> Float[Array, " number"]:
        leaves = jax.tree.leaves(self.function(model))
        return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])


def _matrix(compare, draws, rows, columns, row, column, symmetric) -> Estimate:
    """The matrix from its blocks; those below the diagonal of a symmetric one are transposed."""
    ends = [np.cumsum([0, *(each.mean.size for each in side)]) for side in (row, column)]
    parts = [np.empty((ends[0][-1], ends[1][-1]), row[0].mean.dtype) for _ in range(4)]
    for i, a in enumerate(rows):
        for j, b in enumerate(columns):
            if symmetric and j < i:
                continue
            block, structure = jax.tree.flatten(compare(draws, a, b, row[i], column[j]))
            here, there = slice(*ends[0][i : i + 2]), slice(*ends[1][j : j + 2])
            for part, each in zip(parts, block, strict=True):
                part[here, there] = each
                if symmetric and j > i:
                    part[there, here] = each.T
    return jax.tree.unflatten(structure, map(jnp.asarray, parts))


def _measured(trace: Trace, function: Callable) -> tuple[tuple[int, ...], int]:
    """Shape of what a function gives at one draw, and the bytes it holds there."""
    gibbs = eqx.tree_at(lambda g: g.beta, trace.gibbs, jnp.zeros(()))
    lead = trace.energy.ndim
    w = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[lead:], x.dtype), trace.w)
    size, shape = working_bytes(lambda w: function(gibbs.complete(w, jax.random.key(0))), w)
    return shape.shape, max(1, size)


def _blocks(
    trace: Trace, argument: str, energy: AbstractEnergy, size: int | None, memory: int
) -> tuple[list[DatumLosses], int]:
    """The data of an energy, some at a time, and the bytes that these hold at one draw.

    Without a size, there are as many data at a time as leave room for 4 draws.
    """
    check_energy(trace, argument, energy)
    blocks, largest = [], 1
    for factor, term in energy.terms():
        if not isinstance(term, AbstractDataTerm):
            continue
        points, weights = term.measure.nodes()
        first = DatumLosses(factor, term, jax.tree.map(lambda x: x[:1], points))
        shape, datum_bytes = _measured(trace, first)
        if shape != (1,):
            raise DeclarationError(
                argument,
                got=f"a loss of shape {shape[1:]} for one datum",
                expected="a scalar loss",
                mend="sum over the outputs of one datum",
            )
        count = weights.shape[0]
        step = size or share(count, memory // (4 * datum_bytes))
        largest = max(largest, min(step, count) * datum_bytes)
        for start in range(0, count, step):
            part = slice(start, start + step)
            blocks.append(DatumLosses(factor, term, jax.tree.map(lambda x, s=part: x[s], points)))
    if not blocks:
        raise DeclarationError(
            argument,
            got="an energy without data",
            expected="at least one integral over a measure",
            mend="pass the declared SquaredError, CrossEntropy or PerDatum",
        )
    return blocks, largest


def _levels(trace: Trace, chunk: int, key: PRNGKeyArray | None):
    """The draws at each beta, completed with the keys that `trace.evaluate` uses."""
    *_, chains, count = trace.energy.shape
    keys = jax.random.split(jax.random.key(0) if key is None else key, trace.energy.shape)
    lead = trace.betas.ndim
    flat = jax.tree.map(lambda x: x.reshape(-1, chains * count, *x.shape[lead + 2 :]), trace.w)
    for i, beta in enumerate(trace.betas.reshape(-1)):
        gibbs = eqx.tree_at(lambda g: g.beta, trace.gibbs, beta)
        w = jax.tree.map(lambda leaf, i=i: leaf[i], flat)
        each = keys.reshape(-1, chains * count)[i]
        yield Draws(gibbs, w, each, plan(chains, count, chunk))


def _unflat(trace: Trace, function: Callable, whole: Estimate, axis: int) -> PyTree[Estimate]:
    """The rows in the shape in which the function gives them."""
    shapes, structure = jax.tree.flatten(eqx.filter_eval_shape(function, trace.gibbs.declared))
    parts, start = [], 0
    for shape in shapes:
        here = (slice(None),) * axis + (slice(start, start + shape.size),)
        part = whole[here]
        lead, rest = part.shape[:axis], part.shape[axis + 1 :]
        parts.append(jax.tree.map(lambda x, s=(*lead, *shape.shape, *rest): x.reshape(s), part))
        start += shape.size
    return jax.tree.unflatten(structure, parts)


def _check_trace(trace: Trace) -> None:
    if trace.w is None or trace.energy.shape[-1] < 4:
        raise DeclarationError(
            "trace",
            got="a trace without draws" if trace.w is None else f"{trace.energy.shape[-1]} draws",
            expected="the draws of the weights, at least 4 a chain",
            mend="run with keep=True",
        )
