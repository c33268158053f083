"""Linear response: what a perturbation of the energy does to a mean, in all or datum by datum."""

import math
from collections.abc import Callable, Iterator
from typing import Annotated, TypeAlias

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
    ModelFunction,
    Said,
    errors_named,
    model_errors,
    share,
    typed,
    working_bytes,
)
from ..declare import AbstractDataTerm, AbstractEnergy
from ..sample import AbstractDrawn, Trace, completing_key, trace_of
from ._comoments import Draws, correlation, covariance, covariance_of_pieces, plan, spread
from ._response_functions import (
    Both,
    DatumLosses,
    Flat,
    Observable,
    Values,
    check_energy,
    check_own_energy,
    checked_function,
)

TokenLosses: TypeAlias = Annotated[
    Callable,
    Said(
        expected="a function (model, datum) -> losses of the tokens of the datum, one vector",
        mend="return the terms whose sum is the loss of the datum",
    ),
]


@typed
@model_errors("in bx.susceptibility")
def susceptibility(
    trace: Trace | AbstractDrawn,
    observable: Observable,
    perturbation: AbstractEnergy,
    *,
    key: Key | None = None,
    memory: Memory = MEMORY,
) -> PyTree[Estimate]:
    """`d⟨A⟩/dh = -β Cov(A, B)` at `h = 0`, for the energy `E + h B`; shape `[*beta, *shape of A]`.

    The units are those of A: h is a number, and `β B` is in nats.

    The covariance is taken over all draws, with n - 1 in the denominator. Its error is the error of
    the mean of `(A - ⟨A⟩)(B - ⟨B⟩)` as an autocorrelated series. Weights frozen by a `chart` do not
    move: a run with a chart gives the response of the free weights alone.

    Fluctuation and response: Kubo 1957, J. Phys. Soc. Japan 12:570. For models of data: Baker et
    al. 2025, arXiv:2504.18274, whose χ is this value divided by β (nβ there).

    Args:
        trace: A run that kept its draws, or a result that has one.
        observable: `A`, a function of the model that returns an array or a pytree of arrays (one
            `Estimate` each), or an energy, whose value is then A.
        perturbation: `B`. Energies are linear in their measure: to move the data from `mu` to
            `mu + h (nu - mu)`, pass the declared energy over `nu - mu`.
        key: For weights that were integrated out, which are drawn again, as in `trace.evaluate`.
        memory: Bytes of intermediate values at once, as in `trace.evaluate`.

    Raises:
        DeclarationError: For a trace without draws, and for a perturbation of another model or
            with a `Localisation`, which β does not multiply.
    """
    trace = trace_of(trace)
    check_energy(trace.gibbs.declared, "perturbation", perturbation)
    a, b = checked_function(trace.gibbs.declared, "observable", observable), Values(perturbation)
    a_values, b_values = trace.evaluate(Both(a, b), key, memory=memory)
    chains = trace.energy.ndim - 2
    b_centred = _centred(b_values, chains)
    count = b_values.shape[chains] * b_values.shape[chains + 1]

    def response(values: Array) -> Estimate:
        axes = values.ndim - b_values.ndim
        product = _centred(values, chains) * b_centred.reshape(*b_values.shape, *(1,) * axes)
        betas = trace.betas.reshape(*trace.betas.shape, *(1,) * axes)
        return trace.mean_of(product).scaled(-betas * (count / max(count - 1, 1)))

    return jax.tree.map(response, a_values)


@typed
@model_errors("in bx.influence")
def influence(
    trace: Trace | AbstractDrawn,
    energy: AbstractEnergy,
    query: Observable | None = None,
    *,
    total: bool = False,
    normalised: bool = False,
    tokens: TokenLosses | None = None,
    batch_size: Count | None = None,
    chunk: Count | None = None,
    memory: Memory = MEMORY,
    key: Key | None = None,
) -> PyTree[Estimate]:
    """`∂⟨ℓ_i⟩/∂μ_j = -β Cov(ℓ_i, ℓ_j)`, `μ_j` the weight of datum j; `[*beta, query, datum]`.

    With `E = Σ_j μ_j ℓ_j` over the nodes of the measure, `ℓ` is the loss of one datum as β
    multiplies it: it includes the factors of the energy, but not the weight. To first order, one
    more copy of datum j changes `⟨ℓ_i⟩` by the entry, and removal of a datum of weight 1 by minus
    the entry. The sum `Σ_j μ_j` over a row is the response to the whole energy. The column of a
    datum of weight 0 is the response to adding it.

    Errors are those of batch means: the spread of the means of 32 or more pieces of chains about
    the overall mean. The pieces must be long against the autocorrelation time: a piece of b draws
    with autocorrelation time τ makes the squared error too small by a fraction of about τ/b.
    Products are skewed too: in Gaussian posteriors the root mean square z-score was 1.0 at an `ess`
    of 4000, 1.2 at 1000, 1.3 at 300. `r_hat` compares half chains. Where these disagree by more
    than the pieces explain, the error is taken from their means.
    Each entry costs two evaluations of each loss (four if normalised) in every draw.

    Bayesian influence: Kreer et al. 2025, arXiv:2509.26544. Batch means: Geyer 1992, Stat. Sci.
    7:473; pooled over chains: Argon and Andradóttir 2006, Nav. Res. Logist. 53:289.

    Args:
        trace: A run that kept its draws, or a result that has one.
        energy: The energy whose data are perturbed: one column for each datum, in the order of its
            terms and nodes. Terms that are not integrals over data have no columns.
        query: What responds. None: the losses of the same data (a symmetric matrix). An energy: the
            losses of its data. A function of the model: any array or pytree of arrays, with result
            `[*beta, *shape, datum]`.
        total: Sum over the columns with their weights: the response to the whole energy, without
            the matrix and without the last axis.
        normalised: `-Corr` instead, in [-1, 1] for β > 0; NaN for a loss that does not vary.
        tokens: `(model, datum) -> [token]`, the terms of the loss of one datum: columns for each
            token of each datum, `[*beta, query, datum, token]`. Their sum over the tokens is the
            influence of the datum. Rows stay those of `query`. All data have as many tokens.
        batch_size: Data at a time, for rows and for columns. Losses are computed anew for each pair
            of blocks.
        chunk: Draws at a time.
        memory: Bytes of intermediate values at once. It determines `batch_size` and `chunk` where
            they are not given. None of the three changes the result by more than rounding.
        key: For weights that were integrated out, which are drawn again, as in `trace.evaluate`.

    Raises:
        DeclarationError: For a trace without draws or with fewer than 4 a chain, an energy without
            data or of another model, a loss that is not a scalar, and terms whose data have
            different numbers of tokens.
    """
    trace = trace_of(trace)
    _check_draws(trace)
    columns, column_bytes = _blocks(trace, "energy", energy, batch_size, memory)
    rows, row_bytes, function = columns, column_bytes, None
    count = sum(block.count for block in columns)
    if tokens is not None:
        _refuse_total(total)
        columns, column_bytes = _blocks(trace, "tokens", energy, batch_size, memory, tokens)
    if isinstance(query, AbstractEnergy):
        rows, row_bytes = _blocks(trace, "query", query, batch_size, memory)
    elif query is not None:
        function = checked_function(trace.gibbs.declared, "query", query)
        rows, row_bytes = [Flat(function)], _measured(trace, Flat(function))[1]
    if total:
        columns = [Flat(Values(energy))]
        column_bytes = _measured(trace, columns[0])[1]
    compare = correlation if normalised else covariance
    chunk = max(1, memory // (row_bytes + column_bytes)) if chunk is None else chunk
    matrices = []
    for beta, draws in _draws_by_beta(trace, chunk, key):
        row_spreads = [spread(draws, block) for block in rows]
        symmetric = columns is rows
        column_spreads = row_spreads if symmetric else [spread(draws, block) for block in columns]
        sides = list(zip(rows, row_spreads)), list(zip(columns, column_spreads))
        matrix = _matrix(compare, draws, *sides, symmetric)
        matrices.append(matrix.scaled(-1.0 if normalised else -beta))
    whole = jax.tree.map(lambda *each: jnp.stack(each), *matrices)
    whole = whole if trace.betas.ndim else whole[0]
    whole = trace.vouched(whole[..., 0] if total else whole)
    if tokens is not None:
        whole = jax.tree.map(lambda x: x.reshape(*x.shape[:-1], count, -1), whole)
    return whole if function is None else _unflat(trace, function, whole)


Row: TypeAlias = tuple[Estimate, Float[Array, "piece number"]]
"""Responses `[number]`, and those of each piece of the chains."""


def response_to(trace: Trace, observable: Observable, losses: ModelFunction, memory: int) -> Row:
    """`-β Cov(A, ℓ)` of one number A with all numbers of a function, at one beta."""
    _check_draws(trace)
    rows = Flat(checked_function(trace.gibbs.declared, "observable", observable))
    columns = Flat(checked_function(trace.gibbs.declared, "tokens", losses))
    (shape, row_bytes), column_bytes = _measured(trace, rows), _measured(trace, columns)[1]
    if shape != (1,):
        raise DeclarationError(
            "observable",
            got=f"{shape[0]} numbers",
            expected="one number for each model",
            mend="return a scalar, such as a loss",
        )
    chunk = max(1, memory // (row_bytes + column_bytes))
    ((beta, draws),) = _draws_by_beta(trace, chunk, None)
    found, pieces = covariance_of_pieces(draws, rows, columns)
    return trace.vouched(found[0].scaled(-beta)), -beta * pieces[:, 0]


def response_of_values(
    energies: Float[Array, "chain draw"],
    losses: Float[Array, "chain draw number"],
    beta: float,
    memory: int,
) -> Row:
    """`-β Cov(E, ℓ)` of values that were recorded, without the weights."""
    chains, count, size = losses.shape
    flat = {"energy": energies.reshape(-1, 1), "losses": losses.reshape(-1, size)}
    chunk = max(1, memory // (losses.dtype.itemsize * (size + 1)))
    draws = Draws(_recorded, flat, jnp.zeros(chains * count), plan(chains, count, chunk))
    found, pieces = covariance_of_pieces(draws, _recorded_energy, _recorded_losses)
    return found[0].scaled(-beta), -beta * pieces[:, 0]


def _recorded(values: dict[str, Array], key: Array) -> dict[str, Array]:
    return values


def _recorded_energy(values: dict[str, Array]) -> Array:
    return values["energy"]


def _recorded_losses(values: dict[str, Array]) -> Array:
    return values["losses"]


def _matrix(
    compare: Callable, draws: Draws, rows: list, columns: list, symmetric: bool
) -> Estimate:
    """The matrix from its blocks; those below the diagonal of a symmetric one are transposed."""
    ends = [np.cumsum([0, *(s.mean.size for _, s in side)]) for side in (rows, columns)]
    parts = [np.empty((ends[0][-1], ends[1][-1]), rows[0][1].mean.dtype) for _ in range(4)]
    for i, (row, row_spread) in enumerate(rows):
        for j, (column, column_spread) in enumerate(columns):
            if symmetric and j < i:
                continue
            estimate = compare(draws, row, column, row_spread, column_spread)
            block, structure = jax.tree.flatten(estimate)
            here, there = slice(*ends[0][i : i + 2]), slice(*ends[1][j : j + 2])
            for part, leaf in zip(parts, block, strict=True):
                part[here, there] = leaf
                if symmetric and j > i:
                    part[there, here] = leaf.T
    return jax.tree.unflatten(structure, map(jnp.asarray, parts))


def _measured(trace: Trace, function: Callable) -> tuple[tuple[int, ...], int]:
    """Shape of what a function returns at one draw, and the bytes that it holds there."""
    gibbs = eqx.tree_at(lambda g: g.beta, trace.gibbs, jnp.zeros(()))
    axes = trace.energy.ndim
    w = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[axes:], x.dtype), trace.w)
    size, shape = working_bytes(lambda w: function(gibbs.complete(w, jax.random.key(0))), w)
    return shape.shape, max(1, size)


def _blocks(
    trace: Trace,
    argument: str,
    energy: AbstractEnergy,
    size: int | None,
    memory: int,
    tokens: Callable | None = None,
) -> tuple[list[DatumLosses], int]:
    """The data of an energy in blocks, and the bytes that a block holds at one draw.

    Without a size, a block is as large as leaves room for 4 draws.
    """
    check = check_energy if argument == "query" else check_own_energy
    check(trace.gibbs.declared, argument, energy)
    blocks, largest, lengths = [], 1, set()
    for factor, term in energy.terms():
        if not isinstance(term, AbstractDataTerm):
            continue
        points, weights = term.measure.nodes()
        first = DatumLosses(factor, term, jax.tree.map(lambda x: x[:1], points), tokens)
        with errors_named(
            argument,
            expected="an energy whose loss takes the model and one datum",
            mend="write the loss for one model and one datum",
        ):
            shape, datum_bytes = _measured(trace, first)
        if tokens is None and shape != (1,):
            raise DeclarationError(
                argument,
                got=f"a loss of shape {shape[1:]} for one datum",
                expected="a scalar loss",
                mend="sum over the outputs of one datum",
            )
        lengths.add(math.prod(shape))
        count = weights.shape[0]
        step = size or share(count, memory // (4 * datum_bytes))
        largest = max(largest, min(step, count) * datum_bytes)
        for start in range(0, count, step):
            part = slice(start, start + step)
            some = jax.tree.map(lambda x, s=part: x[s], points)
            blocks.append(DatumLosses(factor, term, some, tokens))
    if not blocks:
        raise DeclarationError(
            argument,
            got="an energy without data",
            expected="at least one integral over a measure",
            mend="pass the declared SquaredError, CrossEntropy or PerDatum",
        )
    if len(lengths) > 1:
        raise DeclarationError(
            argument,
            got=f"data of {sorted(lengths)} tokens in the terms of the energy",
            expected="as many tokens for each datum, which are the last axis of the result",
            mend="pad the losses with zeros, or pass the energy of each term on its own",
        )
    return blocks, largest


def _draws_by_beta(
    trace: Trace, chunk: int, key: PRNGKeyArray | None
) -> Iterator[tuple[Array, Draws]]:
    """Each beta and its draws, completed with the keys that `trace.evaluate` uses."""
    *_, chains, count = trace.energy.shape
    keys = jax.random.split(completing_key(key, trace.key), trace.energy.shape)
    axes = trace.energy.ndim
    flat = jax.tree.map(lambda x: x.reshape(-1, chains * count, *x.shape[axes:]), trace.w)
    for i, beta in enumerate(trace.betas.reshape(-1)):
        gibbs = eqx.tree_at(lambda g: g.beta, trace.gibbs, beta)
        w = jax.tree.map(lambda leaf, i=i: leaf[i], flat)
        own = keys.reshape(-1, chains * count)[i]
        yield beta, Draws(gibbs.complete, w, own, plan(chains, count, chunk))


def _unflat(trace: Trace, function: Callable, whole: Estimate) -> PyTree[Estimate]:
    """The rows in the shapes that the function returns."""
    shapes, structure = jax.tree.flatten(eqx.filter_eval_shape(function, trace.gibbs.declared))
    parts, start, axis = [], 0, trace.betas.ndim
    for shape in shapes:
        part = whole[(slice(None),) * axis + (slice(start, start + shape.size),)]
        full = (*part.shape[:axis], *shape.shape, *part.shape[axis + 1 :])
        parts.append(jax.tree.map(lambda x, full=full: x.reshape(full), part))
        start += shape.size
    return jax.tree.unflatten(structure, parts)


def _refuse_total(total: bool) -> None:
    if total:
        raise DeclarationError(
            "tokens",
            got="tokens of a total",
            expected="columns, or the response to the whole energy",
            mend="leave out tokens or total",
        )


def _check_draws(trace: Trace) -> None:
    if trace.w is None or trace.energy.shape[-1] < 4:
        raise DeclarationError(
            "trace",
            got="a trace without draws" if trace.w is None else f"{trace.energy.shape[-1]} draws",
            expected="the draws of the weights, at least 4 a chain",
            mend="run with keep=True",
        )


def _centred(values: Array, axis: int) -> Array:
    return values - jnp.mean(values, axis=(axis, axis + 1), keepdims=True)
