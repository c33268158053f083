"""Differences from a truth, in units of the error."""

import warnings

import numpy as np
from jaxtyping import Array, ArrayLike

from ._arguments import Said
from ._confidence_intervals import LEVEL, normal_quantile
from ._tracing import known, library, refuted

TRUTH = Said(
    "numbers that are known exactly, or an independent bx.Estimate",
    "of a curve pass its estimates, curve.values; of an influence its estimate, "
    "influence.estimate(), if the draws are others; of a result its `value` or `estimate`",
)
"""Words of what an estimate is compared with."""


def in_errors(value: Array, error: Array, bounds: tuple[Array, Array] | None) -> Array:
    """A value in units of its error, or of its interval's half towards 0 where the error is 0."""
    xp = library(value, error, bounds)
    with np.errstate(divide="ignore", invalid="ignore"):
        if bounds is not None:
            side = xp.where(value < 0, bounds[1] - value, value - bounds[0])
            error = xp.where(error == 0, side / normal_quantile(LEVEL), error)
        return value / error


def warn_limit(value: ArrayLike, interval: tuple, truth: ArrayLike) -> None:
    """Warn that entries with an infinite value have no z-score, and what their interval says."""
    if not refuted(lambda values: ~np.isinf(values), value) or not known(interval, truth):
        return
    low, high, numbers = np.broadcast_arrays(*map(np.asarray, (*interval, truth)))
    limits = np.broadcast_to(np.isinf(value), low.shape)
    place = tuple(np.argwhere(limits)[0])
    inside = low[place] <= numbers[place] <= high[place]
    warnings.warn(
        f"z_score is NaN at {np.sum(limits)} of {limits.size} entries: an infinite value is a "
        f"limit without an error. Its 95% interval, {low[place]:.5g} to {high[place]:.5g}, "
        f"{'holds' if inside else 'does not hold'} the truth, {numbers[place]:.5g}.",
        RuntimeWarning,
        stacklevel=5,  # past the check of arguments, and equinox
    )
