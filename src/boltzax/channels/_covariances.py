"""Eigenvalues of sample covariances, and counts of those beyond a null."""

from collections.abc import Callable

import numpy as np

from ..core import DeclarationError, at_most_level
from ._sample_matrices import check_pair

GROUPS = 20
"""Groups of samples in a jackknife."""


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
    if not np.any(np.ptp(x, axis=0) > 0):
        raise DeclarationError(
            "x",
            got="samples that are all equal",
            expected="samples that vary",
            mend="look at other data, or at a place of the model that depends on them",
        )


def decomposed(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `[k]` of the sample covariance, falling, and scores `[sample, k]`.

    Scores have mean 0 and mean square 1. `k = min(d, n - 1)`: the other eigenvalues are 0.
    """
    rows = np.asarray(x, np.float64)
    rows = rows - rows.mean(axis=0)
    count = min(rows.shape[1], len(rows) - 1)
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    scores = left[:, :count] * np.sqrt(len(rows))
    return singular[:count] ** 2 / (len(rows) - 1), scores


def eigenvalues_of(x: np.ndarray) -> np.ndarray:
    """Eigenvalues `[k]` of the sample covariance, falling, of those that need not be 0."""
    rows = np.asarray(x, np.float64)
    rows = rows - rows.mean(axis=0)
    singular = np.linalg.svd(rows, compute_uv=False)
    return singular[: min(rows.shape[1], len(rows) - 1)] ** 2 / (len(rows) - 1)


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
