"""Normal crossings at finite n, exactly."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, gammaln, loggamma

from ..core import typed
from ..numerics import root
from ._arguments import Powers, PriorPowers, log_counts
from ._normal_crossing import crossing_exponents
from ._result import ExactFreeEnergy, distance

_HEIGHT = 25.0
_FINENESS = 12.0


@typed
def normal_crossing_exact(
    powers: Powers,
    log_n: Annotated[ArrayLike, log_counts(2000)],
    prior_powers: PriorPowers | None = None,
    prior: Literal["uniform", "normal"] = "uniform",
) -> ExactFreeEnergy:
    """`Z(n) = E exp(-n Π |w_i|^(2k_i))` and its slope in log n, for independent weights.

    `powers` and `prior_powers` are the k_i and h_i of `normal_crossing`. Under `"uniform"` the
    density of w_i is `∝ |w_i|^(h_i)` on [0, 1] (or, the same, on [-1, 1]); under `"normal"` it is
    `∝ |w_i|^(h_i) exp(-w_i²/2)`. Note that `K` has no factor ½ here.

    Mellin-Barnes integral, the inverse of the zeta function ζ(-s) = E K^(-s)::

        Z(n) = (1/2πi) ∫ Γ(s) n^(-s) E[K^(-s)] ds,   0 < Re s < the learning coefficient,

    with `E|w|^(-2ks) = r/(r - s)`, `r = (h+1)/(2k)`, or `2^(-ks) Γ((h+1)/2 - ks)/Γ((h+1)/2)`. The
    line passes through the saddle point, so nothing cancels, and the trapezoidal rule converges
    geometrically (Trefethen and Weideman 2014, SIAM Review 56:385). Watanabe 2009, chapter 4, has
    the expansion of the same integral in residues.

    Raises:
        DeclarationError: Wrong powers, another `prior`, or `|log_n|` above 2000.
    """
    k, h = crossing_exponents(powers, prior_powers)
    pairs = [(float(k_i), float(h_i)) for k_i, h_i in zip(k, h, strict=True) if k_i > 0]
    power, half = np.array([p for p, _ in pairs]), np.array([(q + 1) / 2 for _, q in pairs])
    rate = half / power

    def uniform(s):
        return np.sum(np.log(rate) - np.log(rate - s), axis=-1)

    def uniform_slope(s: float) -> float:
        return float(np.sum(1 / (rate - s)))

    def normal(s):
        moment = loggamma(half - power * s) - gammaln(half)
        return np.sum(moment - power * s * np.log(2.0), axis=-1)

    def normal_slope(s: float) -> float:
        return float(-np.sum(power * (digamma(half - power * s) + np.log(2.0))))

    moment, slope = (uniform, uniform_slope) if prior == "uniform" else (normal, normal_slope)
    counts = np.asarray(log_n)
    least = float(np.min(rate))
    values = np.array([_invert(moment, slope, least, value) for value in counts.ravel()])
    values = values.reshape(-1, 3)
    return ExactFreeEnergy(*(values[:, i].reshape(counts.shape) for i in range(3)))


def _invert(
    moment: Callable[[Any], Any], slope: Callable[[float], float], least: float, log_n: float
) -> tuple[float, float, float]:
    """(log Z, learning coefficient, error) at one n."""

    def derivative(s: float) -> float:
        return float(digamma(s)) - log_n + slope(s)

    saddle = root(derivative, least * 1e-9, least * (1 - 1e-9), xtol=1e-14 * least)
    step = min(saddle, least - saddle) / _FINENESS
    height = step * np.arange(2 * int(_HEIGHT / step / 2) + 1)
    s = (saddle + 1j * height)[:, None]
    log = loggamma(s[:, 0]) - s[:, 0] * log_n + moment(s)
    top = log[0].real
    values = np.exp(log - top)
    moments = values * s[:, 0]
    fine, coarse = [], []
    for term in (values.real, moments.real):
        fine.append(step * (term[0] / 2 + np.sum(term[1:])) / np.pi)
        coarse.append(2 * step * (term[0] / 2 + np.sum(term[2::2])) / np.pi)
    log_z = [top + np.log(fine[0]), top + np.log(coarse[0])]
    slopes = [fine[1] / fine[0], coarse[1] / coarse[0]]
    error = max(float(distance(np.array(x[1]), np.array(x[0]))) for x in (log_z, slopes))
    return log_z[0], slopes[0], max(error, 1e-15)
