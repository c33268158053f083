"""Tests of a Gaussian law by skewness and kurtosis."""

import numpy as np
import scipy.special

from ..core import Influence


def normality(influence: Influence, samples: int | None) -> tuple[float, tuple]:
    """p-value of a Gaussian law of all outputs, and the errors of `λ_3` and `λ_4` under it.

    Args:
        influence: Cumulants, `[cumulant, output]`.
        samples: Number of independent samples; None for draws that depend on each other, where the
            cumulants are compared with their own errors.
    """
    value = np.asarray(influence.value)
    third, fourth = value[2] / value[1] ** 1.5, value[3] / value[1] ** 2
    if samples is None:
        errors = np.asarray(influence.estimate().standard_error)
        errors = errors[2] / value[1] ** 1.5, errors[3] / value[1] ** 2
        scores = np.concatenate([third / errors[0], fourth / errors[1]])
    else:
        n = float(samples)
        errors = np.asarray(np.sqrt(6 / n)), np.asarray(np.sqrt(24 / n))
        biased = third * (n - 2) / np.sqrt(n * (n - 1))
        # m4/m2² from k4/k2²
        kurtosis = (n - 2) * (n - 3) / (n**2 - 1) * fourth + 3 * (n - 1) / (n + 1)
        scores = np.concatenate([_of_skewness(biased, n), _of_kurtosis(kurtosis, n)])
    p_values = 2 * scipy.special.ndtr(-np.abs(scores))
    return float(min(1.0, len(p_values) * np.min(p_values))), errors


def _of_skewness(skewness: np.ndarray, n: float) -> np.ndarray:
    """A standard normal score of `m3/m2^1.5` of `n` Gaussian numbers (D'Agostino 1970)."""
    y = skewness * np.sqrt((n + 1) * (n + 3) / (6 * (n - 2)))
    beta = 3 * (n**2 + 27 * n - 70) * (n + 1) * (n + 3)
    beta = beta / ((n - 2) * (n + 5) * (n + 7) * (n + 9))
    square = np.sqrt(2 * (beta - 1)) - 1
    return np.arcsinh(y * np.sqrt((square - 1) / 2)) / np.sqrt(0.5 * np.log(square))


def _of_kurtosis(kurtosis: np.ndarray, n: float) -> np.ndarray:
    """A standard normal score of `m4/m2²` of `n` Gaussian numbers (Anscombe & Glynn 1983)."""
    mean = 3 * (n - 1) / (n + 1)
    variance = 24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    x = (kurtosis - mean) / np.sqrt(variance)
    third = 6 * (n**2 - 5 * n + 2) / ((n + 7) * (n + 9))
    third = third * np.sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    a = 6 + 8 / third * (2 / third + np.sqrt(1 + 4 / third**2))
    ratio = (1 - 2 / a) / (1 + x * np.sqrt(2 / (a - 4)))
    return ((1 - 2 / (9 * a)) - np.cbrt(ratio)) / np.sqrt(2 / (9 * a))
