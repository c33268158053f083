"""Distances between two clouds, from samples `[n, d]` and `[m, d]`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import (
    POWER_QUANTILE,
    Count,
    DeclarationError,
    Estimate,
    Fraction,
    Key,
    Outcome,
    Positive,
    at_most_level,
    outcome_of,
    permutation_test,
    text_of_values,
    typed,
)

ROWS = 128
"""Rows of the matrix of pairwise distances in memory at a time."""
MEDIAN_OF = 512
"""Most points between which the median distance is taken."""
APART = 0.1
"""The smallest relevant distance, relative to that of clouds far apart."""


@typed
class TwoSample(eqx.Module):
    """A distance between two samples, with its permutation test for equal laws.

    Args:
        value: Unbiased estimate of the distance: 0 in expectation for equal laws, and possibly
            negative.
        p_value: `(1 + #{permuted >= value})/(1 + permutations)`: the probability of as large a
            value for equal laws and independent draws, at least `1/(1 + permutations)`.
        noise: Standard deviation over the permutations: the size of an insignificant value.
        detectable: The distance between laws that the test detects (p-value of `level` or less)
            with probability 0.95: the critical value of the permutations plus 1.64 standard errors
            of a distance D of that size, `(2 D(1/n + 1/m) scale/2)^½`. Infinite if there are too
            few permutations to reach the level.
        scale: Twice the mean distance in the pooled sample: the distance of clouds far apart.
        bandwidth: Of the kernel (NaN for the energy distance).
        level: p-value at or below which the laws differ.
    """

    value: Float[Array, ""]
    p_value: Float[Array, ""]
    noise: Float[Array, ""]
    detectable: Float[Array, ""]
    scale: Float[Array, ""]
    bandwidth: Float[Array, ""]
    level: Fraction = eqx.field(static=True)

    @property
    def outcome(self) -> Outcome:
        """`disagree` if the p-value is at most `level` (or NaN); `too_few` if the test could not
        have detected a distance of a tenth of `scale`; else `agree`."""
        seen = at_most_level(self.p_value, self.level, nan=True)
        return outcome_of(seen, bool(self.detectable <= APART * self.scale))

    @text_of_values
    def __repr__(self) -> str:
        return (
            f"{float(self.value):.4g} (p {float(self.p_value):.3g}, noise {float(self.noise):.2g}, "
            f"seen from {float(self.detectable):.2g})"
        )


@typed
def energy_distance(
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    *,
    key: Key,
    permutations: Count = 999,
    level: Fraction = 1e-3,
) -> TwoSample:
    """Energy distance `2 E|X - Y| - E|X - X'| - E|Y - Y'|`, unbiased, with a permutation test.

    It is 0 for equal laws only (Székely & Rizzo 2013, J. Stat. Plan. Inference 143:1249, eq. 5.1
    and section 7), has the unit of the coordinates, and is invariant under rotations and
    translations of both samples. The matrix of distances is computed `128` rows at a time.

    Args:
        x: The first sample, `[n, d]`.
        y: The second sample, `[m, d]`.
        key: For the permutations.
        permutations: Number of random permutations of the pooled points.
        level: p-value at or below which the laws differ.

    Raises:
        DeclarationError: For fewer than two points, and points without coordinates.
    """
    _check(x, y)
    one = jnp.ones((), x.dtype)
    return TwoSample(*_test(x, y, one, key, permutations, level, False), one * jnp.nan, level)


@typed
def kernel_distance(
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    *,
    key: Key,
    bandwidth: Positive | None = None,
    permutations: Count = 999,
    level: Fraction = 1e-3,
) -> TwoSample:
    """Squared maximum mean discrepancy `E k(X, X') + E k(Y, Y') - 2 E k(X, Y)`, unbiased.

    `k = exp(-|x - y|²/(2 h²))`, dimensionless (Gretton et al. 2012, JMLR 13:723, eq. 3 and
    section 8).

    Args:
        x: The first sample, `[n, d]`.
        y: The second sample, `[m, d]`.
        key: For the permutations.
        bandwidth: `h`, in the unit of the coordinates. If None, the median distance between the
            pooled points; of more than 512 points, between 512 of them, evenly spaced in the order
            of the first coordinate.
        permutations: Number of random permutations of the pooled points.
        level: p-value at or below which the laws differ.

    Raises:
        DeclarationError: For fewer than two points, and points without coordinates.
    """
    _check(x, y)
    width = _median(x, y) if bandwidth is None else jnp.asarray(bandwidth, x.dtype)
    return TwoSample(*_test(x, y, width, key, permutations, level, True), width, level)


@typed
def sliced_wasserstein(
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    *,
    key: Key,
    directions: Count = 128,
) -> Estimate:
    """Mean over random directions `u` of `W_1 = ∫|F_{u·X} - F_{u·Y}|`, in the unit of coordinates.

    Bonneel et al. 2015, J. Math. Imaging Vision 51:22. The error is that of the mean over
    directions. For two samples of one law the value is not 0 but of order `(1/n + 1/m)^½`.

    Args:
        x: The first sample, `[n, d]`.
        y: The second sample, `[m, d]`.
        key: For the directions.
        directions: Number of random directions.

    Raises:
        DeclarationError: For fewer than two points, and points without coordinates.
    """
    _check(x, y)
    # in one dimension there is one direction
    return Estimate.of_samples(_sliced(x, y, key, directions), exact=x.shape[1] == 1)


@eqx.filter_jit
def _test(x, y, width, key, permutations: int, level: float, gaussian: bool):
    """Value, p-value, spread, detectable value and scale.

    `2 E D(X, Y) - E D(X, X') - E D(Y, Y')` with `D = -k` for a kernel: all permutations are one
    product of the matrix `D` with a matrix of labels.
    """
    n, m = x.shape[0], y.shape[0]
    pooled = jnp.concatenate([x, y])
    pooled = pooled - jnp.mean(pooled, axis=0)
    total = n + m
    first = (jnp.arange(total) < n).astype(x.dtype)
    keys = jax.random.split(key, permutations)
    shuffled = jax.vmap(lambda k: jax.random.permutation(k, first))(keys)
    labels = jnp.concatenate([first[None], shuffled]).T
    xx, touching, everything = _sums(pooled, labels, width, gaussian)
    xy = touching - xx
    yy = everything - 2 * touching + xx
    values = 2 * xy / (n * m) - xx / (n * (n - 1)) - yy / (m * (m - 1))
    value, null = values[0], values[1:]
    # a value that is equal up to rounding counts as reached
    slack = 64 * jnp.finfo(x.dtype).eps * jnp.abs(everything) / (total * (total - 1))
    p_value, critical = permutation_test(value, null, level, slack)
    mean = gaussian + everything / (total * (total - 1))
    half = 0.5 * POWER_QUANTILE * (2 * mean * (1 / n + 1 / m)) ** 0.5
    detectable = (half + (half**2 + jnp.maximum(critical, 0)) ** 0.5) ** 2
    return value, p_value.astype(x.dtype), jnp.std(null), detectable.astype(x.dtype), 2 * mean


def _sums(pooled: Array, labels: Array, width: Array, gaussian: bool) -> tuple:
    """Sums over pairs: inside the first sample, with one point in it (for each column of labels),
    and of all; the matrix of pairs is made a few rows at a time."""
    total = len(pooled)
    blocks = -(-total // ROWS)
    places = jnp.minimum(jnp.arange(blocks * ROWS), total - 1).reshape(blocks, ROWS)
    real = (jnp.arange(blocks * ROWS) < total).astype(pooled.dtype).reshape(blocks, ROWS)

    def block(sums, at):
        rows, weight = at
        matrix = _pairs(pooled[rows], pooled, width, gaussian)
        # of a point with itself: not a pair
        matrix = jnp.where(rows[:, None] == jnp.arange(total), 0.0, matrix) * weight[:, None]
        own = labels[rows]
        inside = jnp.sum(own * (matrix @ labels), axis=0)
        marginal = jnp.sum(matrix, axis=1)
        return (sums[0] + inside, sums[1] + marginal @ own, sums[2] + jnp.sum(marginal)), None

    zero = jnp.zeros(labels.shape[1], pooled.dtype)
    return jax.lax.scan(block, (zero, zero, jnp.zeros((), pooled.dtype)), (places, real))[0]


def _pairs(a: Array, b: Array, width: Array, gaussian: bool) -> Array:
    """`|a_i - b_j|`, or `-exp(-|a_i - b_j|²/(2 h²))`; one coordinate at a time, so that near points
    keep their digits."""

    def add(total, coordinate):
        left, right = coordinate
        return total + (left[:, None] - right) ** 2, None

    square, _ = jax.lax.scan(add, jnp.zeros((a.shape[0], b.shape[0]), a.dtype), (a.T, b.T))
    return -jnp.exp(-0.5 * square / width**2) if gaussian else jnp.sqrt(square)


@eqx.filter_jit
def _median(x, y):
    pooled = jnp.concatenate([x, y])
    some = pooled[jnp.argsort(pooled[:, 0])]
    some = some[np.linspace(0, len(some) - 1, min(len(some), MEDIAN_OF)).round().astype(int)]
    apart = _pairs(some, some, jnp.ones((), x.dtype), False)
    median = jnp.median(apart[np.triu_indices(len(some), 1)])
    return jnp.where(median > 0, median, 1.0)


@eqx.filter_jit
def _sliced(x, y, key, directions: int):
    normal = jax.random.normal(key, (directions, x.shape[1]), x.dtype)
    unit = normal / jnp.linalg.norm(normal, axis=1, keepdims=True)
    share = jnp.concatenate([jnp.full(len(x), 1 / len(x)), jnp.full(len(y), -1 / len(y))])

    def one(u):
        places = jnp.concatenate([x @ u, y @ u])
        order = jnp.argsort(places)
        gap = jnp.cumsum(share[order])[:-1].astype(x.dtype)
        return jnp.abs(gap) @ jnp.diff(places[order])

    return jax.lax.map(one, unit)


def _check(x: Array, y: Array) -> None:
    for argument, points in (("x", x), ("y", y)):
        if len(points) < 2 or not points.shape[1]:
            raise DeclarationError(
                argument,
                got=f"{len(points)} points of dimension {points.shape[1]}",
                expected="at least two (distances inside a sample are needed), of dimension 1 or "
                "more",
                mend="draw more, and pass them as [n, d]",
            )
