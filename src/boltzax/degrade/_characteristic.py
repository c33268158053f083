"""Where on a dial a survival crosses a level, by a cubic through the points around it."""

import warnings

import jax.numpy as jnp
import numpy as np

from ..core import Curve, Estimate, Fraction, typed

NEAR = 0.3
"""Points whose survival differs by less from the level are fitted."""


@typed
def characteristic_temperature(curve: Curve, level: Fraction = 0.5) -> Estimate:
    """Where a survival crosses a level: T* of a curve over the temperature.

    Of a curve over another dial, it is the setting of that dial. A cubic is fitted to the points
    around the crossing whose survival is within 0.3 of the level (four at least), in the logarithm
    of the places if all are positive. A crossing of the line through the points alone would have an
    error that is too small where points lie closer together than their errors allow. The error
    holds that of the values, and what another degree changes beyond the noise: a quadratic, or the
    line through the points where only four are fitted.

    Args:
        curve: A survival, of one number at each point.
        level: The level.

    Returns:
        An `Estimate`. NaN where the curve does not significantly cross the level; a
        `RuntimeWarning` says why.

    Raises:
        RunError: For several crossings that the errors distinguish.
    """
    place = place_of(curve, level)
    if np.isnan(float(place.value)):
        warn_no_crossing(curve, level)
    return place


def place_of(curve: Curve, level: float, near: float | None = NEAR) -> Estimate:
    """As `characteristic_temperature`, without a warning; `near` as of `Curve.crossing`."""
    x = np.asarray(curve.x, float)
    if not np.all(x > 0):
        return curve.crossing(level, near=near)
    return curve.over(np.log(x), f"log {curve.axis}").crossing(level, near=near).map(jnp.exp)


def warn_no_crossing(curve: Curve, level: float) -> None:
    """Warn that a curve does not significantly cross a level, and why."""
    warnings.warn(
        f"The curve does not significantly cross {level:g}: {_reason(curve, level)}",
        RuntimeWarning,
        stacklevel=4,  # past the check of arguments, and equinox
    )


def _reason(curve: Curve, level: float) -> str:
    value, error = (np.asarray(each, float) for each in (curve.value, curve.standard_error))
    low, high = (np.asarray(end, float) for end in curve.interval())
    above, below = np.any(low > level), np.any(high < level)
    if not np.any(np.isfinite(low)):
        return "no point has an error. Draw more models, or longer chains."
    if above and below:
        return "it leaves the level and returns to its side. Take a part, curve[i:j]."
    if not above and not below:
        return "no point differs from it by more than its error. Draw more models."
    i = int(np.nanargmin(value) if above else np.nanargmax(value))
    far, side = ("below", "least") if above else ("above", "greatest")
    return (
        f"no point is significantly {far} it, the {side} is {value[i]:.3g} ± {error[i]:.2g} at "
        f"{curve.axis} {float(curve.x[i]):.4g}. Extend the dial"
        + ("." if (value[i] > level) == above else ", or draw more models.")
    )
