"""Canonical correlations of two sides, against those of independent data."""

from typing import final

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ..core import Estimate, Fraction, at_most_level, estimate_of_parts, text_of_values, typed
from ..theory import (
    correlation_of_outlier,
    detectable_correlation,
    largest_correlation_p_value,
    wachter_edges,
)
from ._covariance_spectrum import SHOWN
from ._covariances import beyond_null
from ._sample_matrices import Paired, Samples, canonical, check_count, check_pair, side
from ._ties import Ties, group_words, normal_ends, ties


@typed
@final
class CanonicalSpectrum(eqx.Module):
    """What `canonical_spectrum` returns.

    Args:
        correlations: Canonical correlations of the sample, falling.
        count: Those beyond the null: directions in which the two sides depend on each other.
        outliers: True correlations along these directions, corrected for finite samples, `[count]`.
            The intervals hold also where some of them are equal.
        groups: First and last rank of the outliers that may have the same correlation as each,
            `[count, 2]`, from 0.
        p_values: Of each correlation tested: of the outliers, and of the first that is none.
        edge: Largest correlation of independent data, Wachter's edge.
        detectable: A weaker correlation gives none beyond the edge in large systems; one of this
            size itself is found in a small share of samples.
        samples: Their number.
        sizes: Coordinates of x and of y.
        level: Of the tests.
    """

    correlations: Float[np.ndarray, " pair"]
    count: int = eqx.field(static=True)
    outliers: Estimate
    groups: Int[np.ndarray, "outlier 2"]
    p_values: Float[np.ndarray, " tested"]
    edge: float
    detectable: float
    samples: int = eqx.field(static=True)
    sizes: tuple[int, int] = eqx.field(static=True)
    level: float = eqx.field(static=True)

    @text_of_values
    def __repr__(self) -> str:
        lines = [
            f"Canonical correlations of {self.sizes[0]} and {self.sizes[1]} coordinates, "
            f"{self.samples} samples: {self.count} beyond independence (level {self.level:g})",
            f"  edge {self.edge:.3f}, of large systems from {self.detectable:.3f}",
        ]
        for i in range(min(self.count, SHOWN)):
            lines.append(
                f"  {self.correlations[i]:.3f} of the sample: {self.outliers[i]!r}, "
                f"p {self.p_values[i]:.2g}{group_words(self.groups[i])}"
            )
        return "\n".join(lines + ["  ..."] * (self.count > SHOWN))


@typed
def canonical_spectrum(x: Samples, y: Paired, *, level: Fraction = 0.05) -> CanonicalSpectrum:
    """Canonical correlations of two sides, and which lie beyond those of independent data.

    The largest is compared with that of independent Gaussian data
    (`boltzax.theory.largest_correlation_p_value`), then the second with one direction of each side
    set aside, and so on to the first that is inside. A correlation beyond the null is corrected by
    `boltzax.theory.correlation_of_outlier`, with the dimensions and the samples that the outliers
    leave, and by `-2 r² (1 - r²) Σ_j (1 - r_j²)/(r² - r_j²)/ν` for the other outliers j that are
    told apart from it (Lawley 1959, Biometrika 46:59). The error is that of Gaussian data,
    `(1 - ρ²)/√(ν dλ/dρ²)`. Outliers of nearly equal correlation repel each other in a sample; which
    ones may be equal is in `groups`, and each interval reaches over all such groups. Its middle is
    the value. `boltzax.channels.gaussian_information` sums all of them.

    Args:
        x: One side, `[sample, coordinate]`.
        y: The other side, of the same independent samples.
        level: Probability of a false alarm.

    Raises:
        DeclarationError: As `boltzax.channels.gaussian_information`.
    """
    check_pair(x, y)
    dx, dy, freedom = x.shape[1], y.shape[1], len(x) - 1
    check_count(len(x), dx, dy)
    found = canonical(side("x", x), side("y", y)).correlations
    squares = found**2

    def p_value(k: int) -> float:
        return float(largest_correlation_p_value(squares[k], dx - k, dy - k, freedom - k))

    p_values = beyond_null(len(found), p_value, level)
    count = len(p_values) - (not at_most_level(p_values[-1], level))
    a, b = dx / freedom, dy / freedom
    shares = ((dx - count) / (freedom - count), (dy - count) / (freedom - count))
    return CanonicalSpectrum(
        found,
        count,
        *_corrected(squares[:count], shares, freedom),
        np.array(p_values),
        wachter_edges(a, b)[1] ** 0.5,
        detectable_correlation(a, b),
        len(x),
        (dx, dy),
        level,
    )


def _corrected(
    squares: np.ndarray, shares: tuple[float, float], freedom: int
) -> tuple[Estimate, np.ndarray]:
    """True correlations of the outliers, and the groups that may be equal.

    First by the noise alone, `shares` of it on each side, then by all outliers that are told apart.
    Errors are on the scale of Fisher, `atanh ρ`, where they are `1/√ν` in few dimensions.
    """
    a, b = shares
    edge, rank = wachter_edges(a, b)[1], np.arange(len(squares))
    gap = squares[:, None] - squares[None]

    def by_others(apart: np.ndarray) -> Ties:
        pull = np.divide(1.0, gap, out=np.zeros_like(gap), where=apart) * (1 - squares)
        rest = squares - 2 * (1 - squares) * squares * np.sum(pull, axis=1) / freedom
        # a correlation can be significant by less than the edge of infinite dimensions
        true = correlation_of_outlier(np.clip(rest, max(edge, 1e-20), 1 - 1e-15), a, b)
        slope = np.maximum((1 - a) * (1 - b) - a * b / true**4, 0.0)
        with np.errstate(divide="ignore"):
            return ties(np.arctanh(true), 1 / np.sqrt(freedom * slope), normal_ends)

    first, last = by_others(np.zeros(gap.shape, bool)).groups.T[..., None]
    found = by_others((rank < first) | (rank > last))
    below, above, low, high = (
        np.tanh(end)
        for end in (found.value - found.error, found.value + found.error, found.low, found.high)
    )
    value, error = np.tanh(found.value), 0.5 * (above - below)
    return estimate_of_parts(value, error, freedom + 1, bounds=(low, high)), found.groups
