"""Intervals: normal, Student's, Wilson's, and those of sums."""

from typing import Annotated, TypeAlias

import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy import special

from ._arguments import Fraction, Said
from ._delta_method import total_length
from ._tracing import check_known, library
from ._typing import typed

LEVEL = 0.95
"""The probability with which the stored bounds of an estimate cover the truth."""

Coverage: TypeAlias = Annotated[
    Fraction, Said("a probability between 0 and 1", "pass e.g. level=0.95 for 95%")
]
"""The probability with which an interval covers the truth."""

Sides = tuple[Float[Array, "*shape"], Float[Array, "*shape"]]
"""How far the lower and the upper bound lie from a value, both positive."""


@typed
def normal_quantile(level: Coverage) -> float:
    """`z` with `P(|N(0, 1)| < z) = level`; a `DeclarationError` unless 0 < level < 1."""
    check_known("level", level, "an interval")
    return float(special.ndtri(0.5 + float(level) / 2))


def student_factor(replicates: int, level: float = LEVEL) -> float:
    """`t` with `P(|T| < t) = level` for Student's T with `replicates - 1` degrees of freedom."""
    return float(special.stdtrit(replicates - 1, 0.5 + level / 2)) if replicates > 1 else np.nan


@typed
def wilson(hits: ArrayLike, samples: ArrayLike, level: Coverage = LEVEL) -> Sides:
    """Wilson's interval of a probability, by counts of hits among independent samples.

    Also without a hit (lower end 0) or without a miss (upper end 1). Wilson (1927), J. Am. Stat.
    Assoc. 22:209.

    Args:
        hits: How many.
        samples: Of how many.
        level: Of the interval.
    """
    xp, z = library(hits, samples), normal_quantile(level)
    p, miss = xp.asarray(hits) / samples, (samples - xp.asarray(hits)) / samples
    middle = (p + z**2 / (2 * samples)) / (1 + z**2 / samples)
    spread = xp.sqrt(p * miss / samples + z**2 / (4 * samples**2))
    half = z / (1 + z**2 / samples) * spread
    low = xp.where(p == 0, 0.0, xp.maximum(middle - half, 0.0))
    return low, xp.where(miss == 0, 1.0, middle + half)


def clopper_pearson(hits: int, samples: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a probability by a count, which covers with `level` at least.

    Clopper & Pearson (1934), Biometrika 26:404. Wilson's is shorter, and covers by 0.95 on average;
    at an expected number of hits or misses near 0.2 it covers by 0.84.
    """
    tail, misses = (1 - level) / 2, samples - hits
    low = special.betaincinv(hits, misses + 1, tail) if hits else 0.0
    high = special.betaincinv(hits + 1, misses, 1 - tail) if misses else 1.0
    return float(low), float(high)


def added(values: tuple, bounds: tuple, signs: tuple[int, ...]) -> tuple[Array, Array]:
    """Bounds of a signed sum of independent numbers, from values and bounds of each.

    The distances of the bounds from the values add in squares (Zou & Donner 2008, Stat. Med.
    27:1693); where one is infinite, the bounds themselves add.
    """
    xp = library(values, bounds)
    ends = [pair if sign > 0 else pair[::-1] for pair, sign in zip(bounds, signs, strict=True)]
    total = sum(sign * value for value, sign in zip(values, signs, strict=True))
    bounds_of_sum = []
    for side, direction in ((0, -1), (1, 1)):
        distances = [abs(end[side] - value) for end, value in zip(ends, values, strict=True)]
        length = total_length(distances)
        plain = sum(sign * end[side] for end, sign in zip(ends, signs, strict=True))
        quadrature = total + direction * length
        bounds_of_sum.append(xp.where(xp.isfinite(length), quadrature, plain))
    return bounds_of_sum[0], bounds_of_sum[1]
