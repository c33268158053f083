"""The law of the largest eigenvalue of a large random matrix."""

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ..core import typed

NODES = 40
"""Nodes of the rule by which the determinant is computed: an error below 1e-9."""
DEGREE = 100
"""Degree of the polynomial by which the distribution function is interpolated."""
END = 12.0
"""Past it on either side the distribution function is 0 or 1 to rounding."""
LENGTH = 20.0
"""Length of the integral past the argument, where the kernel has fallen below rounding."""


@typed
def tracy_widom(s: ArrayLike) -> NDArray[np.float64]:
    """The distribution function of Tracy and Widom for real matrices (beta = 1), `P(S <= s)`.

    A determinant of Fredholm with the kernel `½ Ai((x + y)/2)` on `(s, ∞)` (Ferrari & Spohn 2005,
    J. Phys. A 38:L557), by a rule of Gauss (Bornemann 2010, Math. Comp. 79:871).

    Args:
        s: Deviation of the largest eigenvalue from its centre, in units of its scale.
    """
    return np.clip(_interpolant()(np.clip(np.asarray(s, np.float64), -END, END)), 0.0, 1.0)


@functools.cache
def _interpolant() -> np.polynomial.Chebyshev:
    """It is smooth: the polynomial is within 2e-13 of the determinant, and as fast as an array."""
    return np.polynomial.Chebyshev.interpolate(np.vectorize(_determinant), DEGREE, [-END, END])


def _determinant(s: float) -> float:
    nodes, weights = _rule()
    x = s + nodes
    kernel = 0.5 * special.airy(0.5 * (x[:, None] + x[None]))[0]
    root = np.sqrt(weights)
    return float(np.linalg.det(np.eye(NODES) - root[:, None] * kernel * root))


@functools.cache
def _rule() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return 0.5 * LENGTH * (nodes + 1), 0.5 * LENGTH * weights
