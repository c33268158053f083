"""Decay of the spectrum of a unit `act(scale x)` in the orthonormal basis of its input measure."""

import math
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core import DeclarationError, Whole, typed
from ._arguments import Above, AboveOrInfinite

POLES = MappingProxyType(
    {
        "tanh": math.pi / 2,
        "sigmoid": math.pi,
        "softplus": math.pi,
        "silu": math.pi,
        "arctan": 1.0,
        "erf": math.inf,
        "gelu": math.inf,
        "sin": math.inf,
        "cos": math.inf,
    }
)
"""Distance from the real axis to the nearest singularity of analytic activations. All of the finite
ones lie on the imaginary axis; `gelu` is the exact one, with erf."""

KINKS = MappingProxyType(
    {
        "sign": 0,
        "relu": 1,
        "leaky_relu": 1,
        "abs": 1,
        "hard_tanh": 1,
        "relu6": 1,
        "selu": 1,
        "elu": 2,
        "squared_relu": 2,
    }
)
"""Order of the first derivative that jumps, for activations that are piecewise analytic (0: the
function itself jumps)."""


@typed
def hermite_slope(pole_distance: AboveOrInfinite, scale: Above) -> float:
    """Slope of `log c_k²` on `√k` for `act(scale x)`, x ~ N(0, 1): `-2 pole_distance/scale`.

    c_k are coefficients in the orthonormal (probabilists') Hermite polynomials. The function is
    analytic for `|Im x| < pole_distance/scale =: d`, and `|c_k| = exp(-d √k + o(√k))` (in
    physicists' variables `x/√2` the same reads `exp(-d' √(2k))`). At finite k a power of k, and
    the term in d², change a fitted slope by a few per cent. Minus infinity for an entire function.

    Boyd 1984, Journal of Computational Physics 54:382; Wang and Zhang 2023, arXiv 2312.07940.
    For tanh it is `-π/scale`: see `tanh_hermite_asymptotic`.

    Raises:
        DeclarationError: Unless both arguments are positive.
    """
    return -2 * pole_distance / scale


@typed
def hermite_ensemble_log_decay(
    k: ArrayLike, pole_distance: Above, spread: Above
) -> NDArray[np.float64] | np.float64:
    """Leading `log E_b c_k(b)²` for `act(b x)`, x ~ N(0, 1), b ~ N(0, spread²).

    `-(3/2) (4 pole_distance² k/spread²)^(1/3)`: the saddle point over b of
    `2 pole_distance √k/b + b²/(2 spread²)`. Large scales win, so an ensemble of units decays more
    slowly than any one unit; for tanh and spread 1, `-(3/2)(π² k)^(1/3)`.

    Derived here from `hermite_slope` by Laplace's method.

    Raises:
        DeclarationError: Unless `pole_distance` and `spread` are positive.
    """
    pole, width = pole_distance, spread
    return -1.5 * np.cbrt(np.square(2 * pole / width) * np.asarray(k, dtype=np.float64))


@typed
def legendre_slope(pole_distance: AboveOrInfinite, scale: Above) -> float:
    """Slope of `log c_k²` on `k` for `act(scale x)`, x ~ U(-1, 1): `-2 asinh(pole_distance/scale)`.

    c_k are coefficients in the orthonormal Legendre polynomials. The function is analytic inside
    the Bernstein ellipse through `±i y`, `y = pole_distance/scale`, whose half-axes add up to
    `y + √(1 + y²)`. For singularities on the imaginary axis, as all in `POLES` are.

    Trefethen 2019, *Approximation Theory and Approximation Practice*, theorem 8.1 (there for
    Chebyshev coefficients, whose geometric rate is the same).

    Raises:
        DeclarationError: Unless both arguments are positive.
    """
    return -2 * circle_half_width(pole_distance, scale)


@typed
def fourier_slope(half_width: AboveOrInfinite) -> float:
    """Slope of `log c_k²` on `k` for a function on the circle: `-2 half_width`.

    c_k are coefficients in the orthonormal Fourier basis, and the function of the angle θ is
    analytic for `|Im θ| < half_width`. For a unit `act(scale cos θ)` that is `circle_half_width`.

    Paley and Wiener; Trefethen and Weideman 2014, SIAM Review 56:385, section 3.

    Raises:
        DeclarationError: Unless `half_width` is positive.
    """
    return -2 * half_width


@typed
def circle_half_width(pole_distance: AboveOrInfinite, scale: Above) -> float:
    """Half-width in θ of the strip in which `act(scale cos θ)` is analytic.

    `asinh(pole_distance/scale)`, as `cos(π/2 + iη) = -i sinh η`; the same for `sin θ`.
    For singularities on the imaginary axis.

    Raises:
        DeclarationError: Unless both are positive.
    """
    return math.asinh(pole_distance / scale)


@typed
def power_law_exponent(
    activation: str | Whole, measure: Literal["gaussian", "interval", "circle"]
) -> float:
    """Exponent p in `c_k² ~ k^p` for an activation whose derivative of some order jumps.

    `activation` is one of `KINKS` or the order s of the first derivative that jumps. On the
    circle (Fourier) and on an interval (Legendre, the jump inside) `p = -(2s + 2)`; under a
    Gaussian (Hermite) `p = -(s + 3/2)`. A symmetric activation without bias has every other
    coefficient 0; the law is for the rest. ReLU: -4, -4, -5/2.

    Integration by parts s+1 times: each gains a factor 1/k on the circle and k^(-1/2) under the
    Gaussian, where `Σ_k h_k(x)² φ(x)` is spread over √k (Szegő 1975, *Orthogonal Polynomials*,
    theorem 8.22.9, gives the amplitude `k^(-1/4)` of the basis at a fixed point).

    Raises:
        DeclarationError: An analytic or unknown activation, or another measure.
    """
    if isinstance(activation, str):
        if activation not in KINKS:
            analytic = activation in POLES
            raise DeclarationError(
                "activation",
                got=repr(activation) + (", which is analytic" if analytic else ""),
                expected=f"one of {', '.join(KINKS)}, or the order of the derivative that jumps",
                mend="use hermite_slope, legendre_slope or fourier_slope"
                if analytic
                else "pass the order: 0 for a step, 1 for a kink",
            )
        order = KINKS[activation]
    else:
        order = activation
    if measure == "gaussian":
        return -(order + 1.5)
    return -(2.0 * order + 2)
