"""Where on a dial a survival crosses a level, by a cubic through the points around it."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..core import Curve, Estimate, Fraction, Influence, typed

NEAR = 0.3
"""Points whose survival differs by less from the level are fitted."""
LEAST = 4
"""Points that are fitted at least."""
DEGREE = 3

Points = Float[np.ndarray, " point"]


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
    log = bool(np.all(x > 0))
    straight = curve.over(np.log(x), f"log {curve.axis}") if log else curve
    rough = straight.crossing(level)
    if not np.isfinite(float(rough.value)):
        return rough
    place = _fitted(straight, level, float(rough.value))
    return place.map(jnp.exp) if log else place


def _fitted(curve: Curve, level: float, rough: float) -> Estimate:
    """The crossing by a cubic, with an error for its degree."""
    order = np.argsort(np.asarray(curve.x), kind="stable")
    x, y = np.asarray(curve.x, float)[order], np.asarray(curve.value, float)[order]
    chosen = _around(x, y, level, rough)
    line = _interpolated(x, y, level, rough)
    degree = min(DEGREE, np.sum(chosen) - 1)
    cubic = _crossing(x, y, chosen, degree, level, rough)
    if cubic is None:  # a jump, which a cubic overshoots
        cubic, other = line, None
    elif np.sum(chosen) > LEAST:
        other = _crossing(x, y, chosen, degree - 1, level, rough)
    else:
        other = line
    place, slopes = cubic
    found = _moved(curve, order, slopes, place)
    if other is None:
        return found
    apart = abs(other[0] - place)
    noise = float(_moved(curve, order, other[1] - slopes, 0.0).standard_error)
    return found.widened(np.sqrt(max(apart**2 - noise**2, 0.0)))


def _around(x: Points, y: Points, level: float, rough: float) -> np.ndarray:
    """The run of points about the crossing that are within `NEAR` of the level, at least four."""
    right = int(np.clip(np.searchsorted(x, rough), 1, len(x) - 1))
    near = np.abs(y - level) < NEAR
    first, last = right - 1, right
    while first > 0 and (near[first - 1] or right - first < LEAST // 2):
        first -= 1
    while last < len(x) - 1 and (near[last + 1] or last - right + 1 < LEAST // 2):
        last += 1
    chosen = np.zeros(len(x), bool)
    chosen[first : last + 1] = True
    return chosen


def _crossing(
    x: Points, y: Points, chosen: np.ndarray, degree: int, level: float, rough: float
) -> tuple[float, Points] | None:
    """The crossing of a polynomial fit nearest to a place, and its derivative by the values.

    None if the fit does not cross between the ends of its points.
    """
    inside = x[chosen]
    middle, half = 0.5 * (inside[0] + inside[-1]), 0.5 * (inside[-1] - inside[0])
    powers = np.vander((inside - middle) / half, degree + 1, increasing=True)
    inverse = np.linalg.pinv(powers)
    fit = np.polynomial.Polynomial(inverse @ y[chosen]) - level
    roots = fit.roots()
    real = np.real(roots[np.abs(np.imag(roots)) < 1e-9])
    real = real[np.abs(real) <= 1]
    if not len(real):
        return None
    place = float(real[np.argmin(np.abs(middle + half * real - rough))])
    slopes = np.zeros(len(x))
    slopes[chosen] = -half * (place ** np.arange(degree + 1)) @ inverse / fit.deriv()(place)
    return float(middle + half * place), slopes


def _interpolated(x: Points, y: Points, level: float, rough: float) -> tuple[float, Points]:
    """The crossing of the line through the two points next to a place, and its derivative."""
    pair = np.zeros(len(x), bool)
    right = int(np.clip(np.searchsorted(x, rough), 1, len(x) - 1))
    pair[right - 1 : right + 1] = True
    found = _crossing(x, y, pair, 1, level, rough)
    assert found is not None
    return found


def _moved(curve: Curve, order: np.ndarray, slopes: Points, place: float) -> Estimate:
    """A place that depends on the values by these slopes."""
    values = curve.values if curve.influence is None else curve.influence
    moved = values[order].times(slopes[None])[0]
    moved = moved.estimate() if isinstance(moved, Influence) else moved
    return moved.shifted(place - float(moved.value))
