"""Eigenvalues of sample covariances, and counts of those beyond a null."""

from collections.abc import Callable

import numpy as np

from ..core import DeclarationError, Estimate, at_most_level, estimate_of_parts, student_factor
from ._sample_matrices import check_pair
from ._sample_rounding import ROUNDINGS, computed, stored

GROUPS = 20
"""Groups of samples in a jackknife."""
FREEDOM = 6
"""Degrees of freedom of its error for ranks: of skewed groups it is less certain than of 20."""


def check_rows(x: np.ndarray, least: int) -> None:
    """That there are enough samples, of finite numbers that vary.

    Raises:
        DeclarationError: For others.
    """
    check_pair(x, x)
    if len(x) < least:
        raise DeclarationError(
            "x",
            got=f"{len(x)} samples of {x.shape[1]} coordinates",
            expected=f"at least {least} samples",
            mend="take more samples, or fewer coordinates",
        )
    if not np.any(x != x[:1]):
        raise DeclarationError(
            "x",
            got="samples that are all equal",
            expected="samples that vary",
            mend="look at other data, or at a place of the model that depends on them",
        )


def decomposed(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `[k]` of the sample covariance, falling, and scores `[sample, k]`.

    Scores have mean 0 and mean square 1. At most `min(d, n - 1)` eigenvalues are not 0; those that
    are, to rounding, are left out.

    Raises:
        DeclarationError: For numbers whose squares are beyond those of a float64.
    """
    rows = np.asarray(x, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        centred = rows - rows.mean(axis=0)
        largest = np.max(np.abs(centred))
    if not 1e-140 < largest < 1e140:
        raise DeclarationError(
            "x",
            got=f"deviations from the mean of size {largest:.2g}",
            expected="sizes from 1e-140 to 1e140, whose squares are numbers of a float64",
            mend="divide the samples by their size",
        )
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    size = np.max(np.abs(rows))
    kept = np.max(stored(x, np.zeros(rows.shape[1], int)))
    coarse = max(computed(x) * size * np.sqrt(rows.size), ROUNDINGS * kept)
    count = int(np.sum(singular[: min(rows.shape[1], len(rows) - 1)] > coarse))
    scores = left[:, :count] * np.sqrt(len(rows))
    return singular[:count] ** 2 / (len(rows) - 1), scores


def unit_scale(x: np.ndarray) -> np.ndarray:
    """Samples times a power of two, which rounds nothing, so that the largest number is about 1.

    For what does not depend on a scale: no square of them is too large or too small.
    """
    rows = np.asarray(x, np.float64)
    return np.ldexp(rows, -np.frexp(np.max(np.abs(rows)))[1])


def eigenvalues_of(x: np.ndarray) -> np.ndarray:
    """Eigenvalues `[k]` of the sample covariance, falling, of those that need not be 0."""
    rows = np.asarray(x, np.float64)
    rows = rows - rows.mean(axis=0)
    singular = np.linalg.svd(rows, compute_uv=False)
    return singular[: min(rows.shape[1], len(rows) - 1)] ** 2 / (len(rows) - 1)


def jackknifed(whole: float, left: np.ndarray, least: float = 0.0) -> Estimate:
    """A function of all samples by its values without one of the groups each, `left`.

    Args:
        whole: The function of all samples.
        left: Without each group.
        least: Another standard error, of which and of the jackknife's the larger is taken.
    """
    count = len(left)
    found = Estimate.of_replicates(count * whole - (count - 1) * left)
    error = float(np.fmax(found.standard_error, least))
    half = student_factor(min(FREEDOM, count - 1) + 1) * error
    return estimate_of_parts(
        found.value, error, count, bounds=(found.value - half, found.value + half)
    )


def beyond_null(most: int, p_value: Callable[[int], float], level: float) -> list[float]:
    """p-values of the first, the second, ... of falling values, up to the first above a level.

    The k-th is tested with those before it taken as known. The probability that more are found than
    there are is at most the level: it is that of one false test.
    """
    found: list[float] = []
    for place in range(most):
        found.append(p_value(place))
        if not at_most_level(found[-1], level):
            break
    return found
