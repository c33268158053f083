"""Where on a dial a survival crosses a level, by a cubic through the points around it."""

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
        An `Estimate`; NaN where the curve does not significantly cross the level.

    Raises:
        RunError: For several crossings that the errors distinguish.
    """
    x = np.asarray(curve.x, float)
    if not np.all(x > 0):
        return curve.crossing(level, near=NEAR)
    return curve.over(np.log(x), f"log {curve.axis}").crossing(level, near=NEAR).map(jnp.exp)
