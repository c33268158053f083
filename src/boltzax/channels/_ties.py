"""Outliers of a spectrum that samples do not tell apart."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from ..core import Estimate, estimate_of_parts, normal_quantile

CHANCE = 0.01
"""Probability with which equal outliers are told apart."""
UNEQUAL = 2.0
"""Most by which the error of a group is taken above the least error in it."""


Ends: TypeAlias = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""The 95% interval of values with relative errors, in units of the values."""


class Ties(NamedTuple):
    """What `ties` finds, of each outlier.

    Args:
        groups: First and last rank of those with which it may be equal, from 0.
        value: Its value; of one that may be equal to others the middle of the means of the groups.
        error: Standard error, which reaches over the means of all groups.
        low: Lower end of the 95% interval that holds for every such group.
        high: Its upper end.
    """

    groups: Int[np.ndarray, "outlier 2"]
    value: Float[np.ndarray, " outlier"]
    error: Float[np.ndarray, " outlier"]
    low: Float[np.ndarray, " outlier"]
    high: Float[np.ndarray, " outlier"]

    def estimate(self, samples: int) -> Estimate:
        """All of it as one estimate."""
        return estimate_of_parts(self.value, self.error, samples, bounds=(self.low, self.high))


def normal_ends(value: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of a normal law."""
    half = normal_quantile(0.95) * error
    return value - half, value + half


def variance_ends(value: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of a variance, `l f/χ²_f`, with the degrees of freedom `f = 2 l²/error²`."""
    freedom = np.minimum(2 * (value / error) ** 2, 1e12)
    ends = (special.gammaincinv(freedom / 2, tail) for tail in (0.975, 0.025))
    low, high = (value * freedom / (2 * end) for end in ends)
    return low, high


def ties(values: np.ndarray, errors: np.ndarray, ends: Ends) -> Ties:
    """Which outliers may be equal, and intervals that hold whether they are or not.

    The sample spreads m equal eigenvalues as those of a random symmetric matrix: the largest is too
    large, the smallest too small, their mean right with an error smaller by √m. The matrix has
    entries of variance σ² on the diagonal and σ²/2 off it, so that equal ones have ::

        Σ (l_i - l̄)²/σ² ~ χ² with (m - 1)(m + 2)/2 degrees of freedom

    (John 1971, Biometrika 58:123, for eigenvalues of covariances; the same holds for canonical
    correlations of Gaussian data). Neighbours that this test does not refute at 1% are a group. The
    interval of an outlier is the smallest that holds those of the means of all groups that contain
    it, itself included.

    Args:
        values: Falling, `[outlier]`.
        errors: Of each as if it stood alone.
        ends: From values and errors to their intervals.
    """
    count = len(values)
    alike, mean, error = _groups(values, errors)
    before = np.logical_or.accumulate(alike[:, ::-1], axis=1)[:, ::-1]
    after = np.logical_or.accumulate(alike, axis=0)
    last = count - 1 - np.argmax(after[:, ::-1], axis=1) if count else np.zeros(0, int)
    groups = np.stack([np.argmax(before, axis=0) if count else last, last], axis=1)

    def over(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ends over all groups that contain each outlier."""
        return (
            _over(np.where(alike, low, np.inf), np.minimum),
            _over(np.where(alike, high, -np.inf), np.maximum),
        )

    low, high = over(mean - error, mean + error)
    half = 0.5 * (high - low)
    middle = np.where(np.isfinite(half), np.nan_to_num(low) + np.nan_to_num(half), values)
    return Ties(groups, middle, half, *over(*ends(mean, error)))


def group_words(group: np.ndarray) -> str:
    """`, as 1 to 3` for an outlier that may be equal to others, else nothing."""
    first, last = (int(rank) + 1 for rank in group)
    return f", not told apart: {first} to {last}" if last > first else ""


def _groups(values: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether those from rank `a` to `b` may be equal `[a, b]`, their mean, and its error."""
    count = len(values)
    alike = np.zeros((count, count), bool)
    means, spreads = np.ones((count, count)), np.ones((count, count))
    for first in range(count):
        own = values[first]
        sizes = np.arange(1, count - first + 1)
        steps, error = values[first:] / own - 1, errors[first:] / own
        mean = np.cumsum(steps) / sizes
        squares = np.maximum(np.cumsum(steps**2) - sizes * mean**2, 0.0)
        # a weak outlier can have an infinite error
        error = np.minimum(np.cumsum(error) / sizes, UNEQUAL * np.minimum.accumulate(error))
        freedom = (sizes - 1) * (sizes + 2) / 2
        chance = special.gammaincc(np.maximum(freedom, 1) / 2, squares / error**2 / 2)
        alike[first, first:] = (chance > CHANCE) | (sizes == 1)
        means[first, first:] = own * (1 + mean)
        spreads[first, first:] = own * error / np.sqrt(sizes)
    return alike, means, spreads


def _over(ends: np.ndarray, better: np.ufunc) -> np.ndarray:
    """The best end `[a, b]` over all groups with a <= i <= b, `[i]`."""
    return np.diag(better.accumulate(better.accumulate(ends, axis=0)[:, ::-1], axis=1)[:, ::-1])
