"""Sample canonical correlations: edges, density, largest one, and outliers."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ..core import Count, DeclarationError, Fraction, refuted, typed
from ._arguments import Share
from ._tracy_widom import tracy_widom


@typed
def wachter_edges(a: Share, b: Share) -> tuple[float, float]:
    """`(√(a(1-b)) ∓ √(b(1-a)))²`: between them lie squared canonical correlations of noise.

    Of independent Gaussian data, as dimensions and samples grow in one ratio (Wachter 1980, Ann.
    Stat. 8:937).

    Args:
        a: `dx/ν`, dimensions over degrees of freedom (samples - 1 after centring).
        b: `dy/ν`, with `a + b <= 1`.

    Raises:
        DeclarationError: For `a + b > 1`, where correlations equal 1 for any data.
    """
    _check(a, b)
    ends = math.sqrt(a * (1 - b)), math.sqrt(b * (1 - a))
    return (ends[0] - ends[1]) ** 2, (ends[0] + ends[1]) ** 2


@typed
def wachter_density(x: ArrayLike, a: Fraction, b: Fraction) -> NDArray[np.float64]:
    """`√((x₊ - x)(x - x₋))/(2π min(a, b) x (1 - x))` of squared correlations, of integral 1.

    Args:
        x: Squared correlations.
        a: `dx/ν`.
        b: `dy/ν`.

    Raises:
        DeclarationError: As `wachter_edges`.
    """
    low, high = wachter_edges(a, b)
    x = np.asarray(x, np.float64)
    inside = np.maximum((high - x) * (x - low), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.sqrt(inside) / (2 * np.pi * min(a, b) * x * (1 - x))
    return np.where(inside > 0, density, 0.0)


@typed
def detectable_correlation(a: Fraction, b: Fraction) -> float:
    """`(a b/((1 - a)(1 - b)))^¼`: weaker correlations stay inside the bulk of those of noise.

    Bao, Hu, Pan & Zhou 2019, Ann. Stat. 47:612.

    Args:
        a: `dx/ν`.
        b: `dy/ν`.

    Raises:
        DeclarationError: As `wachter_edges`.
    """
    _check(a, b)
    return (a * b / ((1 - a) * (1 - b))) ** 0.25


@typed
def outlier_of_correlation(correlation: ArrayLike, a: Fraction, b: Fraction) -> NDArray[np.float64]:
    """The squared sample correlation `r (1 - a + a/r)(1 - b + b/r)` of a true one, `r = ρ²`.

    Bao, Hu, Pan & Zhou 2019.

    Args:
        correlation: `ρ`; below `detectable_correlation` the result is the edge.
        a: `dx/ν`.
        b: `dy/ν`.

    Raises:
        DeclarationError: As `wachter_edges`.
    """
    r = np.maximum(np.asarray(correlation, np.float64), detectable_correlation(a, b)) ** 2
    return (a + (1 - a) * r) * (b + (1 - b) * r) / r


@typed
def correlation_of_outlier(square: ArrayLike, a: Share, b: Share) -> NDArray[np.float64]:
    """The inverse of `outlier_of_correlation`, `ρ`.

    Args:
        square: Squared sample correlations.
        a: `dx/ν`.
        b: `dy/ν`.

    Raises:
        DeclarationError: As `wachter_edges`; and for one below the edge, or above 1.
    """
    x, edge = np.asarray(square, np.float64), wachter_edges(a, b)[1]
    if refuted(lambda value: (value >= edge * (1 - 1e-12)) & (value <= 1 + 1e-12), x):
        raise DeclarationError(
            "square",
            got=f"squared correlations from {np.min(x):g} to {np.max(x):g}",
            expected=f"numbers from {edge:g}, the edge of noise, to 1",
            mend="leave those inside the bulk out: they tell no correlation",
        )
    middle, lead = x - a * (1 - b) - b * (1 - a), (1 - a) * (1 - b)
    root = np.sqrt(np.maximum(middle**2 - 4 * lead * a * b, 0.0))
    return np.sqrt(np.minimum((middle + root) / (2 * lead), 1.0))


@typed
def largest_correlation_p_value(
    square: ArrayLike, dx: Count, dy: Count, freedom: Count
) -> NDArray[np.float64]:
    """Probability that independent Gaussian data have a larger first canonical correlation.

    The logit of the squared correlation follows `tracy_widom` with centre and scale of Johnstone
    (2008, Ann. Stat. 36:2638). At 5% the rate of false alarms is 2.5% to 6%, the lower for few
    samples. If one side has one dimension the law is that of a multiple correlation, a Beta law.

    Args:
        square: The largest squared sample correlation.
        dx: Dimensions of one side.
        dy: Dimensions of the other.
        freedom: `ν >= dx + dy`, degrees of freedom.

    Raises:
        DeclarationError: For fewer degrees of freedom.
    """
    if freedom < dx + dy:
        raise DeclarationError(
            "freedom",
            got=str(freedom),
            expected=f"at least dx + dy = {dx + dy}",
            mend="take more samples, or fewer dimensions",
        )
    total, least, most = freedom - 1, min(dx, dy), max(dx, dy)
    x = np.clip(np.asarray(square, np.float64), 1e-300, 1 - 1e-16)
    if least == 1:
        return special.betaincc(0.5 * most, 0.5 * (freedom - most), x)
    phi = 2 * math.asin(math.sqrt((most - 0.5) / total))
    gamma = 2 * math.asin(math.sqrt((least - 0.5) / total))
    centre = 2 * math.log(math.tan(0.5 * (phi + gamma)))
    cube = 16 / total**2 / (math.sin(phi + gamma) ** 2 * math.sin(phi) * math.sin(gamma))
    return 1 - tracy_widom((np.log(x) - np.log1p(-x) - centre) / cube ** (1 / 3))


def _check(a: float, b: float) -> None:
    if a + b > 1:
        raise DeclarationError(
            "b",
            got=f"a + b = {a + b:g}",
            expected="a + b <= 1: with fewer samples any data have correlations of 1",
            mend="take more samples, or fewer dimensions",
        )
