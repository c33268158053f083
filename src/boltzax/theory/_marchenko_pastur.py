"""Sample covariances of white noise: edges, density, largest eigenvalue, and outliers."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core import Count, DeclarationError, refuted, typed
from ._arguments import Above
from ._tracy_widom import tracy_widom


@typed
def marchenko_pastur_edges(ratio: Above) -> tuple[float, float]:
    """`(1 ∓ √γ)²`: between them lie the eigenvalues of a sample covariance of white noise.

    Of those that are not 0, for unit variance, as dimension and samples grow in one ratio
    (Marčenko & Pastur 1967).

    Args:
        ratio: `γ = d/ν`, dimensions over degrees of freedom (samples - 1 after centring).
    """
    return (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2


@typed
def marchenko_pastur_density(x: ArrayLike, ratio: Above) -> NDArray[np.float64]:
    """`√((x₊ - x)(x - x₋))/(2π γ x)` between the edges; for γ > 1 a mass `1 - 1/γ` lies at 0.

    Args:
        x: Eigenvalues, in units of the variance.
        ratio: `γ = d/ν`.
    """
    low, high = marchenko_pastur_edges(ratio)
    x = np.asarray(x, np.float64)
    inside = np.maximum((high - x) * (x - low), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(inside > 0, np.sqrt(inside) / (2 * np.pi * ratio * x), 0.0)


@typed
def outlier_of_spike(strength: ArrayLike, ratio: Above) -> NDArray[np.float64]:
    """`l (1 + γ/(l - 1))`: the sample eigenvalue of a direction of variance `l` in unit noise.

    Down to `l = 1 + √γ`; weaker directions give no eigenvalue beyond the edge (Baik, Ben Arous &
    Péché 2005; Baik & Silverstein 2006, J. Multivar. Anal. 97:1382).

    Args:
        strength: `l`; below `1 + √γ` the result is the edge.
        ratio: `γ = d/ν`.
    """
    strength = np.maximum(np.asarray(strength, np.float64), 1 + ratio**0.5)
    return strength * (1 + ratio / (strength - 1))


@typed
def spike_of_outlier(eigenvalue: ArrayLike, ratio: Above) -> NDArray[np.float64]:
    """The inverse of `outlier_of_spike`: the larger root of `l² - (x + 1 - γ) l + x = 0`.

    Args:
        eigenvalue: `x`, in units of the noise variance.
        ratio: `γ = d/ν`.

    Raises:
        DeclarationError: For an eigenvalue below the edge, which no strength gives.
    """
    x = np.asarray(eigenvalue, np.float64)
    edge = marchenko_pastur_edges(ratio)[1]
    if refuted(lambda value: value >= edge * (1 - 1e-12), x):
        raise DeclarationError(
            "eigenvalue",
            got=f"{np.min(x):g} below the edge",
            expected=f"at least {edge:g}, the edge for ratio={ratio:g}",
            mend="leave eigenvalues inside the bulk out: they tell no strength",
        )
    middle = x + 1 - ratio
    return 0.5 * (middle + np.sqrt(np.maximum(middle**2 - 4 * x, 0.0)))


@typed
def largest_eigenvalue_p_value(
    share: ArrayLike, dimensions: Count, freedom: Count
) -> NDArray[np.float64]:
    """Probability that white Gaussian noise of unknown variance has a larger first eigenvalue.

    The largest eigenvalue follows `tracy_widom` with centre and scale ::

        (√(ν-½) + √(d-½))²/ν,    (√(ν-½) + √(d-½)) (1/√(ν-½) + 1/√(d-½))^(1/3) / ν

    (Johnstone 2001, Ann. Stat. 29:295; Ma 2012, Bernoulli 18:322), less the fluctuation of the
    trace by which it is divided (Nadler 2011, J. Multivar. Anal. 102:363). At 5% the rate of false
    alarms is 4% to 6% from 5 dimensions on, also with fewer samples than dimensions, and less for
    2 to 4 dimensions. In one dimension it is 1.

    Args:
        share: The largest eigenvalue over the mean of all `d`.
        dimensions: `d`.
        freedom: `ν`, degrees of freedom.
    """
    share = np.asarray(share, np.float64)
    if min(dimensions, freedom) < 2:
        return np.ones_like(share)
    centre, scale = _centre_and_scale(dimensions, freedom)
    s, step = (share - centre) / scale, 1e-2
    left, middle, right = (tracy_widom(s + shift) for shift in (-step, 0.0, step))
    curvature = (left - 2 * middle + right) / step**2
    corrected = middle - curvature * (centre / scale) ** 2 / (dimensions * freedom)
    return np.clip(1 - corrected, 0.0, 1.0)


def _centre_and_scale(dimensions: int, freedom: int) -> tuple[float, float]:
    rows, columns = (freedom - 0.5) ** 0.5, (dimensions - 0.5) ** 0.5
    scale = (rows + columns) * (1 / rows + 1 / columns) ** (1 / 3)
    return (rows + columns) ** 2 / freedom, scale / freedom
