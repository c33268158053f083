"""Hermite coefficients of tanh, exactly and for large order."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, logsumexp

from ..core import Whole, typed
from ._arguments import Above, OddOrder


@typed
def tanh_hermite_coefficient(k: Whole, scale: Above) -> float:
    """`c_k = E tanh(scale x) h_k(x)`, x ~ N(0, 1), h_k the orthonormal Hermite polynomials.

    `exp(tanh_hermite_log_magnitude)` with sign `(-1)^((k-1)/2)`; 0 for even k. Relative error
    about 1e-13 up to k = 10,000, until it underflows near 1e-308.

    Raises:
        DeclarationError: If `k` is negative or `scale` not positive.
    """
    order = k
    if order % 2 == 0:
        return 0.0
    magnitude = float(np.exp(tanh_hermite_log_magnitude([order], scale)[0]))
    return magnitude if order % 4 == 1 else -magnitude


@typed
def tanh_hermite_log_magnitude(k: Sequence[OddOrder], scale: Above) -> NDArray[np.float64]:
    """`log |c_k|` of `tanh_hermite_coefficient` for a sequence of odd orders.

    From `tanh y = ∫_0^∞ sin(yu)/sinh(πu/2) du` (Gradshteyn and Ryzhik 3.981.1) and
    `|E sin(ux) h_k(x)| = u^k exp(-u²/2)/√k!`::

        |c_k| = (k!)^(-½) ∫_0^∞ (u scale)^k exp(-(u scale)²/2)/sinh(πu/2) du.

    The integrand is positive, so the sum has full relative precision: trapezoidal rule in log u.

    Raises:
        DeclarationError: If an order is not odd and positive, or `scale` not positive.
    """
    return np.array([_log_integral(order, scale) for order in k])


@typed
def tanh_hermite_asymptotic(k: ArrayLike, scale: Above) -> NDArray[np.float64] | np.float64:
    """`log |c_k|` for large odd k: `log(2√π/w) - ¼ log(2πk) - π√k/(2w) + π²/(16w²)`, w the scale.

    Laplace's method on the integral of `tanh_hermite_log_magnitude`, at t = uw near √k: there
    `1/sinh(πt/2w)` is `2 exp(-πt/2w)` up to `exp(-π√k/w)`. The error is `O((1 + w^(-3))/√k)`.

    Raises:
        DeclarationError: Unless `scale` is positive.
    """
    w = scale
    order = np.asarray(k, dtype=np.float64)
    return (
        np.log(2 * np.sqrt(np.pi) / w)
        - 0.25 * np.log(2 * np.pi * order)
        - np.pi * np.sqrt(order) / (2 * w)
        + np.pi**2 / (16 * w**2)
    )


def _log_integral(k: int, w: float) -> float:
    """log ∫ t^k exp(-t²/2)/sinh(ct) dt/w - ½ log k!, c = π/(2w), in v = log t."""
    c = np.pi / (2 * w)
    peak = (-c + np.hypot(c, 2 * np.sqrt(k))) / 2
    step = min(0.1, 0.4 / np.sqrt(k + peak**2))
    below = 40.0 / k + 12.0 / np.sqrt(k) + np.log1p(1 / c)
    above = min(3.0, 16.0 / np.sqrt(k)) + np.log1p(1 / c) / k
    v = np.log(peak) + np.arange(-below - 1, above + 1, step)
    t = np.exp(v)
    log_sinh = c * t + np.log(-np.expm1(-2 * c * t)) - np.log(2.0)
    log = (k + 1) * v - 0.5 * t**2 - log_sinh
    return float(logsumexp(log) + np.log(step) - np.log(w) - 0.5 * gammaln(k + 1))
