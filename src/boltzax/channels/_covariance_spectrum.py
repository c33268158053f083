"""The spectrum of a covariance, against that of white noise."""

from typing import final

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..core import (
    Estimate,
    Fraction,
    at_most_level,
    estimate_of_parts,
    text_of_values,
    typed,
)
from ..theory import largest_eigenvalue_p_value, marchenko_pastur_edges
from ._covariances import beyond_null, check_rows, decomposed
from ._sample_matrices import Samples, side

SHOWN = 8
"""Outliers in a text."""


@typed
@final
class CovarianceSpectrum(eqx.Module):
    """What `covariance_spectrum` returns.

    Args:
        eigenvalues: Of the sample, falling; those that are 0 for want of samples are left out.
        count: Eigenvalues beyond the null.
        outliers: Variances of the data along these directions, corrected for finite samples,
            `[count]`.
        p_values: Of each eigenvalue tested: of the outliers, and of the first that is none.
        noise: Variance of the white noise that the other eigenvalues would be of.
        edge: Upper edge of Marchenko and Pastur for this noise.
        detectable: `noise (1 + √(d/ν))`; a weaker direction gives no eigenvalue beyond the edge in
            large systems; one of this variance itself is found in a small share of samples.
        samples: Their number, n; ν = n - 1.
        dimensions: Coordinates of a sample, `d`.
        level: Of the tests.
    """

    eigenvalues: Float[np.ndarray, " eigenvalue"]
    count: int = eqx.field(static=True)
    outliers: Estimate
    p_values: Float[np.ndarray, " tested"]
    noise: float
    edge: float
    detectable: float
    samples: int = eqx.field(static=True)
    dimensions: int = eqx.field(static=True)
    level: float = eqx.field(static=True)

    @text_of_values
    def __repr__(self) -> str:
        lines = [
            f"Covariance of {self.dimensions} coordinates, {self.samples} samples: "
            f"{self.count} beyond white noise (level {self.level:g})",
            f"  noise {self.noise:.4g}, edge {self.edge:.4g}, of large systems "
            f"from {self.detectable:.4g}",
        ]
        for i in range(min(self.count, SHOWN)):
            lines.append(
                f"  {self.eigenvalues[i]:.4g} of the sample: {self.outliers[i]!r}, "
                f"p {self.p_values[i]:.2g}"
            )
        return "\n".join(lines + ["  ..."] * (self.count > SHOWN))


@typed
def covariance_spectrum(
    x: Samples, *, level: Fraction = 0.05, scaled: bool = False
) -> CovarianceSpectrum:
    """Eigenvalues of the covariance of samples, and which lie beyond those of white noise.

    The largest eigenvalue is compared with that of white Gaussian noise of unknown variance
    (`boltzax.theory.largest_eigenvalue_p_value`), then the second with the first set aside, and so
    on to the first that is inside (Kritchman & Nadler 2009, IEEE Trans. Sig. Proc. 57:3930). In
    white Gaussian data, also with more dimensions than samples, one is found with probability
    `level`.

    A direction of variance l has a larger eigenvalue in the sample, λ. It is corrected by
    `l = -1/m(λ)`, with m the companion Stieltjes transform of the other eigenvalues (Bai & Ding
    2012). For white noise this is the formula of Baik, Ben Arous & Péché,
    `boltzax.theory.spike_of_outlier`; it also holds if the rest is not white. The error is
    asymptotic, `l √((κ - 1)/ν dl/dλ)` with κ the fourth moment of the scores (3 if Gaussian).

    The null is white and Gaussian: coordinates of unequal variance, correlations in the bulk, heavy
    tails and a scale shared by the coordinates of a sample all give eigenvalues beyond it. They are
    differences from that null, not always channels. False alarms at the level 0.05, of independent
    entries in 20 coordinates and 101 samples: 5% (Gaussian), 0.5% (signs), 7%, 36%, 88% (Student's
    t with 10, 5, 3 degrees of freedom), 57% (a shared scale, t with 10). They count as outliers
    what a few samples contribute.

    Args:
        x: Independent samples.
        level: Probability of a false alarm.
        scaled: Divide every coordinate by its standard deviation: the null is then independence,
            whatever the variances. There are fewer false alarms than `level`.

    Raises:
        DeclarationError: For fewer than 4 samples, numbers that are not finite, constant data, and
            constant coordinates if `scaled`.
    """
    check_rows(x, 4)
    rows = side("x", x).values * np.sqrt(len(x) - 1) if scaled else x
    values, scores = decomposed(rows)
    dimensions, freedom = x.shape[1], len(x) - 1

    def p_value(place: int) -> float:
        rest, total = values[place:], float(np.sum(values[place:]))
        if total <= 1e-12 * float(np.sum(values)):
            return 1.0
        share = rest[0] * (dimensions - place) / total
        return float(largest_eigenvalue_p_value(share, dimensions - place, freedom - place))

    p_values = beyond_null(len(values), p_value, level)
    count = len(p_values) - (not at_most_level(p_values[-1], level))
    left = (dimensions - count, freedom - count)
    noise = float(np.sum(values[count:])) * freedom / max(left[0] * left[1], 1)
    ratio = dimensions / freedom
    return CovarianceSpectrum(
        values,
        count,
        _corrected(values, scores, count, dimensions),
        np.array(p_values),
        noise,
        noise * marchenko_pastur_edges(ratio)[1],
        noise * (1 + ratio**0.5),
        len(x),
        dimensions,
        level,
    )


def _corrected(values: np.ndarray, scores: np.ndarray, count: int, dimensions: int) -> Estimate:
    """True variances of the outliers."""
    freedom, bulk, zeros = len(scores) - 1, values[count:], dimensions - len(values)
    ratio, outlying = (dimensions - count) / freedom, values[:count]
    gap = bulk[None] - outlying[:, None]
    transform = (ratio - 1 - zeros / freedom) / outlying + np.sum(1 / gap, axis=1) / freedom
    slope = (1 - ratio + zeros / freedom) / outlying**2 + np.sum(1 / gap**2, axis=1) / freedom
    true = -1 / transform
    spread = np.mean(scores[:, :count] ** 4, axis=0) - 1
    error = true * np.sqrt(spread / freedom * slope / transform**2)
    return estimate_of_parts(true, error, len(scores))
