"""Bits of a chain of Gaussian matrices: how rarely it passes a signal on, exactly."""

import math

import numpy as np
import scipy.special

from ..core import Count, typed
from ..numerics import root, root_beyond
from ._arguments import Above

STEPS = 8.0
"""Steps of the quadrature in the distance to the nearest pole: a relative error of `exp(-16 π)`."""
REACH = 40.0
"""Standard deviations, and e-folds of the tail, along which is integrated."""
NEAR = 1e-12
"""Relative distance from a pole at which the search for the saddle point begins."""


@typed
def gaussian_chain_bits(
    length: Count, width: Count = 1, *, gain: Above = 1.0, threshold: Above = 1.0
) -> float:
    """`-log₂ P(|h_n| >= threshold |h_0|)` for a chain `h_k = gain W_k h_{k-1}/√width`.

    The entries of the `n` square matrices are independent standard normals. Whatever `h_0` is, the
    ratios `|h_k|²/|h_{k-1}|²` are independent, `gain²/width` times a `χ²` variable of `width`
    degrees of freedom. With the cumulant function of the logarithm of a ratio of lengths ::

        K(s) = s log gain + (s/2) log(2/width) + log Γ((width + s)/2) - log Γ(width/2),

    the probability is the Bromwich integral of `exp(n K(s) - s log threshold)/s` (a Meijer
    G-function), here by the trapezoidal rule along the line through its saddle point. At width 1
    the chain is a product of `n` scalars.

    Args:
        length: Number of matrices `n`.
        width: Their size.
        gain: Factor of each.
        threshold: Of the ratio of lengths.

    Returns:
        Bits, to a relative error of 1e-12; of events that are nearly sure, to 1e-15 absolute.
    """
    t = math.log(threshold) - length * math.log(gain)
    if t >= length * _slope(0.0, width):  # the event is the rarer side
        return -_log_tail(length, width, t, upper=True) / math.log(2)
    return -math.log1p(-math.exp(_log_tail(length, width, t, upper=False))) / math.log(2)


@typed
def gaussian_chain_rate(width: Count = 1, *, gain: Above = 1.0) -> float:
    """Bits a piece of a long chain of `gaussian_chain_bits`, for a threshold that stays.

    `-min_{s >= 0} K(s)/log 2` (Cramér 1938), the limit of bits over length. It is 0 where signals
    grow in the mean of their logarithm. With the width it falls to 0 at gain 1 and above; below
    gain 1 it grows in the end, as `width (1/gain² - 1 + log gain²)/(2 log 2)`.

    Args:
        width: Size of the matrices.
        gain: Factor of each.
    """
    drift = math.log(gain)
    if drift + _slope(0.0, width) >= 0:
        return 0.0
    least = root_beyond(lambda s: drift + _slope(s, width), 0.0, 1.0)
    return -(least * drift + float(np.real(_cumulants(np.array(least), width)))) / math.log(2)


def _cumulants(s: np.ndarray, width: int) -> np.ndarray:
    """`K(s)` at gain 1."""
    gamma = scipy.special.loggamma((width + s) / 2) - scipy.special.gammaln(width / 2)
    return gamma + s / 2 * math.log(2 / width)


def _slope(s: float, width: int) -> float:
    """`K'(s)` at gain 1."""
    return 0.5 * float(math.log(2 / width) + scipy.special.digamma((width + s) / 2))


def _log_tail(length: int, width: int, t: float, *, upper: bool) -> float:
    """`log P(S >= t)`, or `log P(S < t)`, of the sum `S` of `length` logarithms."""

    def slope(s: float) -> float:
        return length * _slope(s, width) - t - 1 / s

    if upper:
        saddle = root_beyond(slope, NEAR, 1.0)
        nearest = saddle
    else:
        saddle = root(slope, -width * (1 - NEAR), -NEAR)
        nearest = min(-saddle, width + saddle)
    curvature = length * float(scipy.special.polygamma(1, (width + saddle) / 2)) / 4 + 1 / saddle**2
    deviation = 1 / math.sqrt(curvature)
    step = min(nearest, deviation) / STEPS
    # |Γ((width + c + iy)/2)| falls as exp(-π y/4)
    end = REACH * (deviation + 4 / (math.pi * length))
    s = saddle + 1j * step * np.arange(1 + math.ceil(end / step))
    exponent = length * _cumulants(s, width) - s * t
    top = exponent[0].real
    terms = np.real(np.exp(exponent - top) / s)
    area = step * (terms[0] / 2 + np.sum(terms[1:])) / math.pi
    return float(top + math.log(abs(area)))
