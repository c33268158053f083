"""Canonical correlations of two sides, against those of independent data."""

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
from ..theory import (
    correlation_of_outlier,
    detectable_correlation,
    largest_correlation_p_value,
    wachter_edges,
)
from ._covariance_spectrum import SHOWN
from ._covariances import beyond_null
from ._sample_matrices import Paired, Samples, canonical, check_count, check_pair, side


@typed
@final
class CanonicalSpectrum(eqx.Module):
    """What `canonical_spectrum` returns.

    Args:
        correlations: Canonical correlations of the sample, falling.
        count: Those beyond the null: directions in which the two sides depend on each other.
        outliers: True correlations along these directions, corrected for finite samples, `[count]`.
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
                f"p {self.p_values[i]:.2g}"
            )
        return "\n".join(lines + ["  ..."] * (self.count > SHOWN))


@typed
def canonical_spectrum(x: Samples, y: Paired, *, level: Fraction = 0.05) -> CanonicalSpectrum:
    """Canonical correlations of two sides, and which lie beyond those of independent data.

    The largest is compared with that of independent Gaussian data
    (`boltzax.theory.largest_correlation_p_value`), then the second with one direction of each side
    set aside, and so on to the first that is inside. A correlation beyond the null is corrected by
    `boltzax.theory.correlation_of_outlier`, with the error
    `(1 - ρ²)/√(ν dλ/dρ²)` for Gaussian data, which is exact for few dimensions and 5% to 20% too
    large for many. `boltzax.channels.gaussian_information` sums all of them.

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
    edge = wachter_edges(a, b)[1]
    # a correlation can be significant by less than the edge of infinite dimensions
    beyond = np.maximum(squares[:count], edge)
    true = correlation_of_outlier(beyond, a, b)
    slope = np.maximum((1 - a) * (1 - b) - a * b / true**4, 0.0)
    with np.errstate(divide="ignore"):
        error = (1 - true**2) / np.sqrt(freedom * slope)
    return CanonicalSpectrum(
        found,
        count,
        estimate_of_parts(true, error, len(x)),
        np.array(p_values),
        edge**0.5,
        detectable_correlation(a, b),
        len(x),
        (dx, dy),
        level,
    )
