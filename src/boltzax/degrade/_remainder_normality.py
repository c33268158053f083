"""Tests of a Gaussian law by skewness and kurtosis."""

import numpy as np
import scipy.special

from ..core import Influence

LEAST = 20.0
"""Effective samples, at least, of draws and inputs together."""
MOMENTS = np.array([1.0, 2.0, 6.0, 24.0])[:, None]
"""`n` times the variance of the first four cumulants of `n` Gaussian numbers of variance 1."""
ROUNDING = 1e-13
"""Spread of a constant, over its mean."""


def normality(influence: Influence, samples: int | None) -> tuple[float, tuple]:
    """p-value of a Gaussian law of all outputs, and the errors of `λ_3` and `λ_4` under it.

    Outputs that are constant have no law to test. Draws that depend on each other count as
    `effective_samples`; of fewer than 20 an output is not tested, and its errors are infinite.

    Args:
        influence: Cumulants, `[cumulant, output]`.
        samples: Number of independent samples; None for draws and inputs together.
    """
    vary = varying(np.asarray(influence.value))
    if not np.any(vary):
        return np.nan, (np.asarray(np.inf), np.asarray(np.inf))
    own = influence[:, vary]
    value = np.asarray(own.value)
    n = np.full(value.shape[1], float(samples)) if samples else effective_samples(own)
    enough = n >= (0 if samples else LEAST)
    errors = tuple(np.where(enough, np.sqrt(v / n), np.inf) for v in (6, 24))
    if not np.any(enough):
        return np.nan, errors
    value, n = value[:, enough], n[enough]
    third, fourth = value[2] / value[1] ** 1.5, value[3] / value[1] ** 2
    biased = third * (n - 2) / np.sqrt(n * (n - 1))
    # m4/m2² from k4/k2²
    kurtosis = (n - 2) * (n - 3) / (n**2 - 1) * fourth + 3 * (n - 1) / (n + 1)
    scores = np.concatenate([_of_skewness(biased, n), _of_kurtosis(kurtosis, n)])
    p_values = 2 * scipy.special.ndtr(-np.abs(scores))
    return float(min(1.0, len(p_values) * np.min(p_values))), errors


def varying(cumulants: np.ndarray) -> np.ndarray:
    """Which outputs are not constant, `[output]`, by their cumulants."""
    return cumulants[1] > (ROUNDING * np.abs(cumulants[0])) ** 2


def effective_samples(influence: Influence) -> np.ndarray:
    """Number of independent Gaussian numbers with errors like these, `[output]`.

    The least that explains the error of one of the first four cumulants.
    """
    value, errors = np.asarray(influence.value), np.asarray(influence.estimate().standard_error)
    scale = value[1] ** np.arange(1, 5)[:, None]
    return np.min(MOMENTS * scale / errors[:4] ** 2, axis=0)


def _of_skewness(skewness: np.ndarray, n: np.ndarray) -> np.ndarray:
    """A standard normal score of `m3/m2^1.5` of `n` Gaussian numbers (D'Agostino 1970)."""
    y = skewness * np.sqrt((n + 1) * (n + 3) / (6 * (n - 2)))
    beta = 3 * (n**2 + 27 * n - 70) * (n + 1) * (n + 3)
    beta = beta / ((n - 2) * (n + 5) * (n + 7) * (n + 9))
    square = np.sqrt(2 * (beta - 1)) - 1
    return np.arcsinh(y * np.sqrt((square - 1) / 2)) / np.sqrt(0.5 * np.log(square))


def _of_kurtosis(kurtosis: np.ndarray, n: np.ndarray) -> np.ndarray:
    """A standard normal score of `m4/m2²` of `n` Gaussian numbers (Anscombe & Glynn 1983)."""
    mean = 3 * (n - 1) / (n + 1)
    variance = 24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    x = (kurtosis - mean) / np.sqrt(variance)
    third = 6 * (n**2 - 5 * n + 2) / ((n + 7) * (n + 9))
    third = third * np.sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    a = 6 + 8 / third * (2 / third + np.sqrt(1 + 4 / third**2))
    ratio = (1 - 2 / a) / (1 + x * np.sqrt(2 / (a - 4)))
    return ((1 - 2 / (9 * a)) - np.cbrt(ratio)) / np.sqrt(2 / (9 * a))
