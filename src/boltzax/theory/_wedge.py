"""Probability of a wedge of the plane under the standard normal law, as a logarithm."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp

from ..numerics import root_beyond
from ._mesh import graded_rule

_DROP = 50.0
"""How far the logarithm of the integrand may fall before it is left out."""


def log_wedge(tip: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """`log P[a·(z - tip) <= 0 and b·(z - tip) <= 0]`, z ~ N(0, 1) in the plane.

    With `s` the coordinate of the tip along `a/|a|`, `y` that across it and `k = a·b/(a×b)`,

        P = ∫_0^∞ φ(s - u) Φ(y + k u) du,

    turned so that `a×b > 0`. The logarithm of the integrand is concave: it is cut where it has
    fallen by 50, and integrated on panels that halve towards its peak and towards `y + k u = 0`.
    """
    cross, dot = float(a[0] * b[1] - a[1] * b[0]), float(a @ b)
    size = float(np.hypot(*a))
    s = float(a @ tip) / size
    y = float(a[0] * tip[1] - a[1] * tip[0]) / size
    if cross < 0:
        cross, y = -cross, -y
    k = dot / cross

    def log(u: NDArray[np.float64]) -> NDArray[np.float64]:
        return -0.5 * (s - u) ** 2 + log_ndtr(y + k * u)

    def slope(u: float) -> float:
        x = y + k * u
        return s - u + k * math.exp(-0.5 * x * x - 0.5 * math.log(2 * math.pi) - log_ndtr(x))

    peak = 0.0 if slope(0.0) <= 0 else _crossing(slope, 0.0)
    top = float(log(np.asarray(peak)))
    end = _crossing(lambda u: float(log(np.asarray(u))) - top + _DROP, peak)
    start = 0.0
    if peak > 0 and float(log(np.asarray(0.0))) < top - _DROP:
        start = peak - _crossing(lambda d: float(log(np.asarray(peak - d))) - top + _DROP, 0.0)
    centres = [peak] if k == 0 else [peak, -y / k]
    depth = 4 + max(0, math.ceil(math.log2(1 + (abs(k) + 1) * (end - start))))
    nodes, weights = graded_rule(start, end, centres, depth, 16)
    total = float(np.asarray(logsumexp(log(nodes) - top, b=weights)))
    return top + total - 0.5 * math.log(2 * math.pi)


def _crossing(fn: Callable[[float], float], start: float) -> float:
    """Where a function that falls, and is positive at `start`, has come to zero."""
    return root_beyond(fn, start, max(abs(start), 1.0) * 1e-12)
