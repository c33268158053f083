"""The response of parts of a model to tokens: a matrix, its components and their null."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ..core import (
    MEMORY,
    Count,
    DeclarationError,
    Estimate,
    Key,
    Memory,
    ModelFunction,
    Said,
    model_errors,
    numpy_generator,
    typed,
)
from ..sample import AbstractDrawn, Trace, trace_of
from ._response import Row, response_to
from ._response_functions import Observable

TINY = np.finfo(float).tiny
FEWEST = 6
"""Groups whose signs have fewer than 2^5 patterns tell little."""
Groups: TypeAlias = Annotated[
    Integer[np.ndarray, " token"],
    Said("the group of each token, whole numbers [token]", "pass e.g. the ids of the tokens"),
]


@typed
class ResponseMatrix(eqx.Module):
    """Responses `[part, token]`; see `response_matrix`.

    Args:
        parts: Names of the rows.
        estimate: `-β Cov`, `[part, token]`.
        pieces: Those of each piece of the chains, `[piece, token]` for each part; their spread is
            the noise of the draws. None for responses that are known exactly.
    """

    parts: tuple[str, ...] = eqx.field(static=True)
    estimate: Estimate
    pieces: tuple[Float[Array, "_ token"], ...] | None = None

    def components(
        self, *, key: Key, permutations: Count = 200, groups: Groups | None = None
    ) -> "ResponseComponents":
        """Principal components of the tokens' responses, and how large they are by chance.

        The mean of each row is subtracted, and rows are scaled to mean square one. There are two
        nulls. One permutes the tokens of each row separately: rows keep their values, and what they
        have in common is lost. That takes exchangeable tokens. Where tokens of one letter or of one
        sequence respond alike, parts without anything in common have a larger component than
        permutations tell: pass `groups`, and each group of each row gets one random sign instead.
        The other null is the noise of the draws: the deviations of the pieces
        of the chains from their mean, with random signs. Rows have independent noise, but that of
        different tokens is correlated, so that a few directions of it dominate, by chance in
        several rows at once; a permutation does not see that. The p-value of component k compares
        its share of the variance with that of the k-th component of a null; the larger one of the
        two nulls counts. That is conservative from the second component on, since the total
        variance is shared.

        Args:
            key: For the permutations and signs.
            permutations: Their number in each null.
            groups: The group of each token, whole numbers `[token]`, such as the ids of the tokens.

        Raises:
            DeclarationError: For another number of groups than tokens, and fewer than six groups.
        """
        return _components(self, key, permutations, groups)

    def __repr__(self) -> str:
        rows, columns = self.estimate.shape
        clear = np.mean(np.abs(np.asarray(self.estimate.z_score(0.0))) > 2)
        return (
            f"responses of {rows} parts ({', '.join(self.parts[:4])}{', ...' * (rows > 4)}) to "
            f"{columns} tokens; {100 * clear:.0f}% beyond two standard errors"
        )


@typed
class ResponseComponents(eqx.Module):
    """Principal components of a response matrix.

    Args:
        parts: Names of the parts.
        variances: Fraction of the variance of each component, in falling order.
        loadings: `[component, part]`, orthonormal; the largest entry of each is positive.
        scores: `[component, token]`.
        null: 95% quantile of the fractions under the null, the larger one of the two.
        p_values: `(1 + #{null >= observed})/(1 + permutations)`, the larger one of the two.
        noise: Share of the noise of the draws in the mean square of the matrix.
    """

    parts: tuple[str, ...] = eqx.field(static=True)
    variances: Float[Array, " component"]
    loadings: Float[Array, "component part"]
    scores: Float[Array, "component token"]
    null: Float[Array, " component"]
    p_values: Float[Array, " component"]
    noise: float

    def __repr__(self) -> str:
        lines = [f"noise of the draws: {100 * self.noise:.0f}% of the mean square"]
        for k in range(min(4, len(self.parts))):
            order = np.argsort(-np.abs(np.asarray(self.loadings[k])))[:3]
            named = ", ".join(f"{self.parts[i]} {float(self.loadings[k, i]):+.2f}" for i in order)
            lines.append(
                f"component {k}: {100 * float(self.variances[k]):.1f}% of the variance (chance up "
                f"to {100 * float(self.null[k]):.1f}%, p {float(self.p_values[k]):.2g}): {named}"
            )
        return "\n".join(lines)


@typed
@model_errors("in bx.response_matrix")
def response_matrix(
    runs: Mapping[str, Trace | AbstractDrawn],
    tokens: ModelFunction,
    observable: Observable | None = None,
    *,
    centred: bool = True,
    memory: Memory = MEMORY,
) -> ResponseMatrix:
    """`χ_(part, token) = -β Cov(φ, ℓ_token - ℓ̄)` in the posterior of each part alone.

    The response of the observable `φ`, in the posterior where only the part's weights move, to more
    weight on one token, at the cost of all others alike. By default `φ` is the energy that was
    compiled: a token that the part serves responds with the opposite sign of one it works against.

    Baker et al. 2025, arXiv:2504.18274, whose χ is this divided by β (nβ there), for a loss that is
    a mean. The errors are those of `influence`.

    Args:
        runs: A run of each part, by name: of `compile(energy, prior, chart=part)` for each of
            `bx.parts(model, pattern)`, with the draws kept, at one beta.
        tokens: The losses of the tokens as a function of the model: one array of any shape, which
            is flattened. They need not be those that the run was tempered by.
        observable: `φ`, a function of the model that gives one number, or an energy; the energy of
            the run by default.
        centred: Whether the mean loss over the tokens is subtracted.
        memory: Bytes of intermediate values at once.

    Returns:
        A `ResponseMatrix`, `[part, token]`.

    Raises:
        DeclarationError: For no runs, a run without draws or at several betas, an observable that
            is not one number, and fewer than two tokens to be centred.
    """
    if not runs:
        raise DeclarationError(
            "runs",
            got="no runs",
            expected="at least one part and its run",
            mend="sample bx.compile(energy, prior, chart=part) for each part",
        )
    rows = []
    for name, run in runs.items():
        trace = trace_of(run)
        if trace.betas.ndim:
            raise DeclarationError(
                f"runs[{name!r}]",
                got=f"a run at {trace.betas.size} betas",
                expected="a run at one beta",
                mend="take one of them",
            )
        phi = trace.gibbs.energy_of if observable is None else observable
        losses = Centred(tokens) if centred else tokens
        rows.append(response_to(trace, phi, losses, memory))
    return matrix_of(tuple(runs), rows)


def matrix_of(parts: tuple[str, ...], rows: Sequence[Row]) -> ResponseMatrix:
    """The matrix of rows, one for each part, and of their pieces."""
    each, pieces = zip(*rows, strict=True)
    return ResponseMatrix(parts, Estimate.stack(each), pieces)


class Centred(eqx.Module):
    """All numbers that a function returns, less their mean."""

    function: ModelFunction

    def __call__(self, model) -> Float[Array, " token"]:
        values = jnp.ravel(self.function(model))
        if values.size < 2:
            raise DeclarationError(
                "tokens",
                got=f"{values.size} losses",
                expected="at least two, whose mean is subtracted",
                mend="return the losses of more tokens; response_matrix(..., centred=False) takes "
                "one as it is",
            )
        return values - jnp.mean(values)


def _components(
    matrix: ResponseMatrix, key: Key, permutations: int, groups: np.ndarray | None
) -> ResponseComponents:
    values = np.asarray(matrix.estimate.value, float)
    values = values - values.mean(axis=1, keepdims=True)
    size = np.mean(values**2, axis=1, keepdims=True)
    if not np.all(np.isfinite(size)) or np.any(size == 0):
        raise DeclarationError(
            "matrix",
            got="a part whose responses are all alike, or not finite",
            expected="parts that respond to some tokens more than to others",
            mend="leave the part out, or draw more",
        )
    values = values / np.sqrt(size)
    rng = numpy_generator(key)
    axes, lengths, scores = np.linalg.svd(values, full_matrices=False)
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    observed = lengths**2 / np.sum(lengths**2)
    shuffled = _permuted(values, rng) if groups is None else _flipped(values, groups, rng)
    nulls = [[_shares(next(shuffled)) for _ in range(permutations)]]
    if matrix.pieces is not None:
        apart = [np.asarray(pieces, float) for pieces in matrix.pieces]
        apart = [pieces - pieces.mean(axis=0) for pieces in apart]
        nulls.append([_shares(_signed(apart, rng)) for _ in range(permutations)])
    chance = np.stack(nulls)  # [null, permutation, component]
    more = np.sum(chance >= observed * (1 - 1e-12), axis=1)
    noise = np.nan_to_num(np.asarray(matrix.estimate.standard_error, float)) ** 2
    return ResponseComponents(
        matrix.parts,
        jnp.asarray(observed),
        jnp.asarray((axes * signs).T),
        jnp.asarray(lengths[:, None] * scores * signs[:, None]),
        jnp.asarray(np.quantile(chance, 0.95, axis=1).max(axis=0)),
        jnp.asarray((1 + more.max(axis=0)) / (1 + permutations)),
        float(np.mean(noise / size)),
    )


def _permuted(values: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The columns of each row in random orders."""
    while True:
        yield rng.permuted(values, axis=1)


def _flipped(
    values: np.ndarray, groups: np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Rows with one random sign for each group of columns."""
    _, member = np.unique(groups, return_inverse=True)
    count = int(member.max(initial=-1)) + 1
    if groups.shape != values.shape[1:] or count < FEWEST:
        raise DeclarationError(
            "groups",
            got=f"{groups.size} numbers that name {count} groups, for {values.shape[1]} tokens",
            expected=f"one number for each token, of at least {FEWEST} groups",
            mend="pass e.g. the ids of the tokens",
        )
    while True:
        yield values * rng.choice([-1.0, 1.0], (len(values), count))[:, member]


def _signed(apart: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Rows of noise: the sums of the deviations of pieces with random signs."""
    return np.stack([rng.choice([-1.0, 1.0], len(pieces)) @ pieces for pieces in apart])


def _shares(values: np.ndarray) -> np.ndarray:
    """Share of the variance of each component, of rows with mean 0 and mean square 1."""
    values = values - values.mean(axis=1, keepdims=True)
    values = values / np.sqrt(np.maximum(np.mean(values**2, axis=1, keepdims=True), TINY))
    squares = np.linalg.svd(values, compute_uv=False) ** 2
    return squares / max(squares.sum(), TINY)
