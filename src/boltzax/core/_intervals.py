"""Intervals: normal, Student's, Wilson's, and those of sums."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float
from scipy import special

from ._arguments import Fraction
from ._errors import DeclarationError
from ._tracing import library
from ._typing import typed

LEVEL = 0.95
"""The probability with which kept bounds of an estimate cover the truth."""

Sides = tuple[Float[Array, "*shape"], Float[Array, "*shape"]]
"""How far the lower and the upper bound lie from a value, both positive."""


def normal_quantile(level: float) -> float:
    """`z` with `P(|N(0, 1)| < z) = level`; a `DeclarationError` unless 0 < level < 1."""
    scalar = isinstance(level, jax.Array) and level.ndim == 0 and not isinstance(level, Tracer)
    number = isinstance(level, float | np.floating) or (
        scalar and jnp.issubdtype(jnp.result_type(level), jnp.floating)
    )
    if not number or not 0.0 < float(level) < 1.0:
        raise DeclarationError(
            "level",
            got=repr(level),
            expected="a probability between 0 and 1",
            mend="pass e.g. level=0.95 for 95%",
        )
    return float(special.ndtri(0.5 + float(level) / 2))


def student_factor(replicates: int, level: float = LEVEL) -> float:
    """`t` with `P(|T| < t) = level` for Student's T with `replicates - 1` degrees of freedom."""
    return float(special.stdtrit(replicates - 1, 0.5 + level / 2)) if replicates > 1 else np.nan


@typed
def wilson(hits: ArrayLike, samples: ArrayLike, level: Fraction = LEVEL) -> Sides:
    """Wilson's interval of a probability, by counts of hits among independent samples.

    Also without a hit (lower end 0) or without a miss (upper end 1). Wilson (1927), J. Am. Stat.
    Assoc. 22:209.
    """
    xp, z = library(hits, samples), normal_quantile(level)
    p, miss = xp.asarray(hits) / samples, (samples - xp.asarray(hits)) / samples
    middle = (p + z**2 / (2 * samples)) / (1 + z**2 / samples)
    spread = xp.sqrt(p * miss / samples + z**2 / (4 * samples**2))
    half = z / (1 + z**2 / samples) * spread
    low = xp.where(p == 0, 0.0, xp.maximum(middle - half, 0.0))
    return low, xp.where(miss == 0, 1.0, middle + half)


def added(values: tuple, bounds: tuple, signs: tuple[int, ...]) -> tuple[Array, Array]:
    """Bounds of a signed sum of independent numbers, from values and bounds of each.

    The distances of the bounds from the values add in squares (Zou & Donner 2008, Stat. Med.
    27:1693); where one is infinite, the bounds themselves add.
    """
    xp = library(values, bounds)
    ends = [pair if sign > 0 else pair[::-1] for pair, sign in zip(bounds, signs, strict=True)]
    total = sum(sign * value for value, sign in zip(values, signs, strict=True))
    found = []
    for side, sign in ((0, -1), (1, 1)):
        far = [abs(end[side] - value) for end, value in zip(ends, values, strict=True)]
        square = sum(each**2 for each in far)
        plain = sum(s * end[side] for end, s in zip(ends, signs, strict=True))
        found.append(xp.where(xp.isfinite(square), total + sign * xp.sqrt(square), plain))
    return found[0], found[1]
