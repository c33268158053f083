"""How finely samples are rounded: by the kind of numbers that they are, or were."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

ROUNDINGS = 8.0
"""Roundings of the data below which a spread, or a distance from a linear relation, is none."""
KINDS = (jnp.bfloat16, jnp.float16, jnp.float32)
"""Kinds of numbers that samples may have been before they were converted, the coarsest first."""
WHOLE = np.dtype(np.float64)


class Scaled(NamedTuple):
    """Samples, each coordinate over a power of two near its largest size.

    Args:
        values: `[sample, coordinate]`, up to 1 in size, in float64.
        exponents: Of the powers of two, `[coordinate]`.
    """

    values: np.ndarray
    exponents: np.ndarray


def scaled(values: np.ndarray) -> Scaled:
    """Samples of size 1, so that squares neither overflow nor vanish."""
    wide = np.asarray(values, np.float64)
    exponents = np.frexp(np.max(np.abs(wide), axis=0))[1]
    return Scaled(np.ldexp(wide, -exponents), exponents)


def kind_of(values: np.ndarray) -> np.dtype:
    """The coarsest kind of numbers that all samples are; float64 for numbers that are exact.

    Exact are whole numbers, and numbers of a finer kind that are multiples of a power of two with
    fewer digits than the coarse kind has.
    """
    if values.dtype.kind in "biu":
        return WHOLE
    given = values.dtype
    wide = np.asarray(values, np.float64)
    largest = int(np.frexp(np.max(np.abs(wide), initial=0.0))[1])
    kinds = {*map(np.dtype, KINDS), given} - {WHOLE}
    for kind in sorted(kinds, key=lambda kind: -float(jnp.finfo(kind).eps)):
        with np.errstate(over="ignore"):
            same = np.array_equal(values.astype(kind).astype(np.float64), wide)
        if not same:
            continue
        digits = jnp.finfo(kind).nmant
        whole = largest <= digits + 1 and np.array_equal(np.rint(wide), wide)
        steps = np.ldexp(wide, digits - largest)
        fixed = kind != given and np.array_equal(np.rint(steps), steps)
        return WHOLE if whole or fixed else kind
    return WHOLE


def stored(values: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Norm of the rounding of each coordinate, over the power of two, `[coordinate]`.

    A number of the binade `2^e` is rounded by up to half of `2^e eps`, evenly.
    """
    limits = jnp.finfo(kind_of(values))
    wide = np.asarray(values, np.float64)
    binades = np.frexp(wide)[1] - 1
    finest = np.ldexp(float(limits.smallest_subnormal), -exponents)
    steps = np.maximum(np.ldexp(float(limits.eps), binades - exponents), finest)
    return np.linalg.norm(np.where(wide != 0, steps, 0.0), axis=0) / np.sqrt(12)


def computed(values: np.ndarray) -> float:
    """Relative rounding of the arithmetic that made the samples, which is float32 at least."""
    return float(min(jnp.finfo(kind_of(values)).eps, np.finfo(np.float32).eps))


def relative_rounding(values: np.ndarray) -> float:
    """Rounding of samples over their spread, root mean squares over coordinates, eight times."""
    unit, exponents = scaled(values)
    top = int(np.max(exponents))
    spreads = np.ldexp(np.std(unit, axis=0), exponents - top)
    steps = np.ldexp(stored(values, exponents), exponents - top)
    spread = float(np.linalg.norm(spreads)) * np.sqrt(len(unit))
    return float(ROUNDINGS * np.linalg.norm(steps) / spread) if spread else 0.0


def spread_of_side(values: np.ndarray) -> float:
    """Root mean square spread of the coordinates, of numbers of any size."""
    unit, exponents = scaled(values)
    top = int(np.max(exponents))
    spreads = np.ldexp(np.std(unit, axis=0), exponents - top)
    return float(np.ldexp(np.sqrt(np.mean(spreads**2)), top))
