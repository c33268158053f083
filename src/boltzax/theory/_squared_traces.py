"""Unbiased moments of the spectrum of a covariance."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core import typed


@typed
def squared_traces(
    trace: ArrayLike, trace_of_square: ArrayLike, fourth: ArrayLike, samples: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unbiased estimates of `(tr Σ)²` and `tr Σ²`, for data of any law with fourth moments.

    With the sample covariance S of n samples (divided by n - 1) and `Q = Σ|x_i - x̄|⁴/(n - 1)` ::

        c (2 tr S² + (n² - 3n + 1)(tr S)² - n Q),    c ((n - 1)(n - 2) tr S² + (tr S)² - n Q),

    `c = (n - 1)/(n (n - 2)(n - 3))` (Himeno & Yamada 2014, J. Multivar. Anal. 130:27). For
    Gaussian data alone Q can be left out: with ν = n - 1 the ratio is then
    `[(1 + 1/ν) t₁² - 2 t₂/ν]/(t₂ - t₁²/ν)`.

    Args:
        trace: `tr S`.
        trace_of_square: `tr S²`.
        fourth: `Q`.
        samples: `n`, at least 4.
    """
    t1, t2, q, n = (np.asarray(x, np.float64) for x in (trace, trace_of_square, fourth, samples))
    factor = (n - 1) / (n * (n - 2) * (n - 3))
    square = factor * (2 * t2 + (n**2 - 3 * n + 1) * t1**2 - n * q)
    return square, factor * ((n - 1) * (n - 2) * t2 + t1**2 - n * q)
