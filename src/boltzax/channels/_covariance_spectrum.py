"""The spectrum of a covariance, against that of white noise."""

from typing import final

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ..core import Estimate, Fraction, at_most_level, text_of_values, typed
from ..theory import largest_eigenvalue_p_value, marchenko_pastur_edges
from ._covariances import beyond_null, check_rows, decomposed
from ._sample_matrices import Samples, side
from ._ties import Ties, group_words, ties, variance_ends

SHOWN = 8
"""Outliers in a text."""


@typed
@final
class CovarianceSpectrum(eqx.Module):
    """What `covariance_spectrum` returns.

    Args:
        eigenvalues: Of the sample, falling; those that are 0, to rounding, are left out.
        count: Eigenvalues beyond the null.
        outliers: Variances of the data along these directions, corrected for finite samples,
            `[count]`. The intervals hold also where some of them are equal.
        groups: First and last rank of the outliers that may have the same variance as each,
            `[count, 2]`, from 0.
        p_values: Of each eigenvalue tested: of the outliers, and of the first that is none.
        noise: Variance of the white noise that the other eigenvalues would be of.
        edge: Upper edge of Marchenko and Pastur for this noise.
        detectable: `noise (1 + √(d/ν))`; a weaker direction gives no eigenvalue beyond the edge in
            large systems; one of this variance itself is found in a small share of samples.
        samples: Their number, n; ν = n - 1.
        dimensions: Coordinates of a sample.
        rank: Directions in which the samples vary, `d`: fewer than the coordinates where some are
            constant, or linear functions of others.
        level: Of the tests.
    """

    eigenvalues: Float[np.ndarray, " eigenvalue"]
    count: int = eqx.field(static=True)
    outliers: Estimate
    groups: Int[np.ndarray, "outlier 2"]
    p_values: Float[np.ndarray, " tested"]
    noise: float
    edge: float
    detectable: float
    samples: int = eqx.field(static=True)
    dimensions: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    level: float = eqx.field(static=True)

    @text_of_values
    def __repr__(self) -> str:
        rank = f" (rank {self.rank})" if self.rank < self.dimensions else ""
        lines = [
            f"Covariance of {self.dimensions} coordinates{rank}, {self.samples} samples: "
            f"{self.count} beyond white noise (level {self.level:g})",
            f"  noise {self.noise:.4g}, edge {self.edge:.4g}, of large systems "
            f"from {self.detectable:.4g}",
        ]
        for i in range(min(self.count, SHOWN)):
            lines.append(
                f"  {self.eigenvalues[i]:.4g} of the sample: {self.outliers[i]!r}, "
                f"p {self.p_values[i]:.2g}{group_words(self.groups[i])}"
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

    A direction of variance l has a larger eigenvalue in the sample, λ. It is corrected by ::

        l_i = λ_i/(1 + Σ_j λ_j/(λ_i - λ_j)/ν)

    over the eigenvalues j that are told apart from it (Lawley 1956, Biometrika 43:128; for many
    dimensions Bai & Ding 2012). For white noise this is the formula of Baik, Ben Arous & Péché,
    `boltzax.theory.spike_of_outlier`; it also holds if the rest is not white. The error is
    asymptotic, `l √((κ - 1)/ν dl/dλ)` with κ the fourth moment of the scores, at
    least that of Gaussian data, 3; intervals are those of a variance, `l f/χ²_f`.
    Outliers of nearly equal variance repel each other in a sample; which ones may be equal is in
    `groups`, and each interval reaches over all such groups. Its middle is the value.

    Coordinates that are constant, or linear functions of others, add no direction: the null is
    white noise in as many directions as the samples vary in, `rank`.

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
        DeclarationError: For fewer than 4 samples, numbers that are not finite, constant data,
            constant coordinates if `scaled`, and numbers whose squares overflow.
    """
    return compared(x, level, scaled)[0]


def compared(x: np.ndarray, level: float, scaled: bool) -> tuple[CovarianceSpectrum, np.ndarray]:
    """The spectrum, and the scores `[sample, eigenvalue]` of the samples."""
    check_rows(x, 4)
    rows = side("x", x).values * np.sqrt(len(x) - 1) if scaled else x
    values, scores = decomposed(rows)
    freedom = len(x) - 1
    rank = len(values) if len(values) < min(x.shape[1], freedom) else x.shape[1]

    def p_value(place: int) -> float:
        share = values[place] * (rank - place) / float(np.sum(values[place:]))
        return float(largest_eigenvalue_p_value(share, rank - place, freedom - place))

    p_values = beyond_null(len(values), p_value, level)
    count = len(p_values) - (not at_most_level(p_values[-1], level))
    left = (rank - count, freedom - count)
    noise = float(np.sum(values[count:])) * freedom / max(left[0] * left[1], 1)
    ratio = rank / freedom
    found = _corrected(values, scores, count)
    spectrum = CovarianceSpectrum(
        values,
        count,
        found.estimate(len(x)),
        found.groups,
        np.array(p_values),
        noise,
        noise * marchenko_pastur_edges(ratio)[1],
        noise * (1 + ratio**0.5),
        len(x),
        x.shape[1],
        rank,
        level,
    )
    return spectrum, scores


def _corrected(values: np.ndarray, scores: np.ndarray, count: int) -> Ties:
    """True variances of the outliers: first by the bulk alone, then by all that are told apart."""
    freedom, place, size = len(scores) - 1, np.arange(len(values)), len(scores)
    fourth = np.mean(scores[:, :count] ** 4, axis=0) * (size + 1) / (size - 1)
    spread = np.maximum(fourth, 3.0) - 1  # 2 if Gaussian, and not taken below it
    ratio = values[None] / values[:count, None] - 1

    def by_others(apart: np.ndarray) -> Ties:
        inverse = np.divide(1.0, ratio, out=np.zeros_like(ratio), where=apart)
        others = np.sum(apart, axis=1)
        shrink = 1 - (others + np.sum(inverse, axis=1)) / freedom
        slope = (1 - others / freedom + np.sum(inverse**2, axis=1) / freedom) / shrink**2
        true = values[:count] / shrink
        return ties(true, true * np.sqrt(spread * slope / freedom), variance_ends)

    first, last = by_others(np.broadcast_to(place >= count, ratio.shape)).groups.T[..., None]
    return by_others((place < first) | (place > last))
