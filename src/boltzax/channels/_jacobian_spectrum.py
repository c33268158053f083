"""Singular values of the Jacobian between two places of a model."""

from typing import Annotated, TypeAlias, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..core import (
    MEMORY,
    Arrays,
    DeclarationError,
    Estimate,
    Memory,
    Model,
    Said,
    share,
    text_of_values,
    typed,
)
from ._covariances import GROUPS, jackknifed
from ._jacobians import Between, as_arrays
from ._ranks import entropy_rank, moment_rank

ROUNDING = 1e-5
"""Share of `tr G²` below which different data have no direction in common."""

Place: TypeAlias = Annotated[
    str | None,
    Said("the name of a place, or None", "pass e.g. 'blocks[0].residual'; see bx.taps(model, x)"),
]
"""A place of a model; None for the datum or the output."""


@typed
@final
class JacobianSpectrum(eqx.Module):
    """What `jacobian_spectrum` returns.

    Args:
        singular_values: Of the Jacobian J at each datum, falling, `[datum, min(out, into)]`.
        into: Eigenvalues of `E JᵀJ`, falling: which directions of the place `by` matter.
        out: Eigenvalues of `E JJᵀ`, falling: in which directions the place `of` moves.
        input_side: Participation ratio `(Σλ)²/Σλ²` of `into`, over data.
        output_side: The same of `out`.
        participation: Mean over data of the participation ratio of `JᵀJ` at one datum.
        effective_rank: Mean over data of `exp(-Σ p log p)`, `p = s²/Σs²`.
        stable_rank: Mean over data of `Σs²/max s²`.
    """

    singular_values: Float[np.ndarray, "datum value"]
    into: Float[np.ndarray, " into"]
    out: Float[np.ndarray, " out"]
    input_side: Estimate
    output_side: Estimate
    participation: Estimate
    effective_rank: Estimate
    stable_rank: Estimate

    @text_of_values
    def __repr__(self) -> str:
        data = len(self.singular_values)
        return "\n".join([
            f"Jacobian of {len(self.out)} by {len(self.into)} numbers at {data} data",
            f"  participation ratio, input side   {self.input_side!r}",
            f"  participation ratio, output side  {self.output_side!r}",
            f"  at one datum: participation ratio {self.participation!r}",
            f"                effective rank      {self.effective_rank!r}",
            f"                stable rank         {self.stable_rank!r}",
        ])  # fmt: skip


@typed
def jacobian_spectrum(
    model: Model,
    data: Arrays,
    *,
    of: Place = None,
    by: Place = None,
    memory: Memory = MEMORY,
) -> JacobianSpectrum:
    """The exact spectrum of the derivative of one place of a model by another, over data.

    `J = ∂(value at of)/∂(value at by)` at each datum, by vector-Jacobian or Jacobian-vector
    products, whichever are fewer. A channel between the places that is open to few directions has
    few large singular values; the input side `E JᵀJ` says whether they are the same ones for all
    data. The null of a random Gaussian chain is `boltzax.theory.chain_participation`.

    Estimates are over data as independent samples; of the averaged Gram matrices over pairs of
    different data, with a jackknife of up to twenty groups; of one datum alone without an error.
    For larger places
    `boltzax.channels.jacobian_ranks` needs products with J alone.

    Args:
        model: A callable pytree, as for `bx.taps`.
        data: Inputs of the model along the first axis.
        of: The place whose value it is; the output of the model if None.
        by: The place that is varied; the datum if None.
        memory: Bytes of intermediate values at once.

    Returns:
        A `JacobianSpectrum`.

    Raises:
        DeclarationError: For places that the model does not have, a place of whole numbers, and
            places that are too large for `memory`.
    """
    between, data = Between(of, by), as_arrays(data)
    out, into = between.sizes(model, data)
    count = jax.tree.leaves(data)[0].shape[0]
    groups = min(GROUPS, count)
    size = jnp.result_type(float).itemsize
    needed = size * ((groups + 1) * (out**2 + into**2) + 3 * out * into)
    if needed > memory:
        raise DeclarationError(
            "memory",
            got=f"{memory} bytes for Jacobians of {out} by {into}",
            expected=f"at least {needed} bytes",
            mend="raise it, or use channels.jacobian_ranks, which needs products alone",
        )
    most = max((memory - needed) // (4 * size * out * into), 1)
    singular, grams = _over_data(between, model, data, groups, most, memory)
    squares = singular.astype(float) ** 2
    _check_moves(squares)
    sides = [gram.sum(axis=0) / count for gram in grams]
    ranks = [
        Estimate.of_samples(np.array([rank(row) for row in squares]), exact=True)
        for rank in (moment_rank, entropy_rank, lambda row: float(np.sum(row) / np.max(row)))
    ]
    return JacobianSpectrum(
        singular,
        *(np.maximum(np.linalg.eigvalsh(side)[::-1], 0.0) for side in sides),
        *(_participation(gram, squares) for gram in grams),
        *ranks,
    )


def _over_data(
    between: Between, model: PyTree, data: PyTree, groups: int, most: int, memory: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Singular values `[datum, value]`, and the sums of `JᵀJ` and of `JJᵀ` in each group."""
    count = jax.tree.leaves(data)[0].shape[0]
    values: list = [None] * count
    grams: list[list[np.ndarray]] = [[], []]
    for group in range(groups):
        places = np.arange(group, count, groups)
        step = share(len(places), most)
        totals = [0.0, 0.0]
        for first in range(0, len(places), step):
            rows = places[first : first + step]
            part = jax.tree.map(lambda leaf, rows=rows: jnp.asarray(np.asarray(leaf)[rows]), data)
            singular, *products = _part(between, model, part, memory)
            for row, found in zip(rows, np.asarray(singular), strict=True):
                values[row] = found
            totals = [t + np.asarray(p, float) for t, p in zip(totals, products, strict=True)]
        for gram, total in zip(grams, totals, strict=True):
            gram.append(total)
    return np.stack(values), [np.stack(gram) for gram in grams]


@eqx.filter_jit
def _part(between: Between, model: PyTree, data: PyTree, memory: int) -> tuple[Array, Array, Array]:
    """Singular values of some data, and the sums of `JᵀJ` and `JJᵀ`."""
    jacobians = jax.vmap(lambda datum: between.jacobian(model, datum, memory))(data)
    singular = jnp.linalg.svd(jacobians, compute_uv=False)
    into = jnp.einsum("dki,dkj->ij", jacobians, jacobians)
    return singular, into, jnp.einsum("dik,djk->ij", jacobians, jacobians)


def _participation(grams: np.ndarray, squares: np.ndarray) -> Estimate:
    """`(tr G)²/tr G²` of the mean Gram matrix, by a jackknife over groups of data.

    Both over pairs of different data, `Σ_{i≠j} tr G_i tr G_j` and `Σ_{i≠j} tr G_i G_j`, whose means
    are those of infinitely many data.

    Args:
        grams: Sums of the Gram matrices of each group of data.
        squares: Squared singular values at each datum.
    """
    groups, places = len(grams), np.arange(len(squares)) % len(grams)
    own = np.stack([np.sum(squares, axis=1) ** 2, np.sum(squares**2, axis=1)])
    own = np.stack([np.sum(own[:, places == group], axis=1) for group in range(groups)])

    def ratio(gram: np.ndarray, same: np.ndarray) -> float:
        pairs = np.array([np.trace(gram) ** 2, np.sum(gram**2)])
        apart = pairs - same
        return float(np.divide(*(apart if apart[1] > ROUNDING * pairs[1] else pairs)))

    total, all_own = grams.sum(axis=0), own.sum(axis=0)
    if groups == 1:
        return Estimate.of_replicates(np.array([ratio(total, all_own)]))
    left = [ratio(total - gram, all_own - one) for gram, one in zip(grams, own, strict=True)]
    return jackknifed(ratio(total, all_own), np.array(left))


def _check_moves(squares: np.ndarray) -> None:
    still = int(np.sum(~(np.sum(squares, axis=1) > 0)))
    if still:
        raise DeclarationError(
            "of",
            got=f"a Jacobian that is zero or not finite at {still} of {len(squares)} data",
            expected="a place that depends on `by`",
            mend="take a place `of` that the model computes after `by`, or leave these data out",
        )
