"""The place at which a curve crosses a level, with its error."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ._confidence_intervals import LEVEL, normal_quantile
from ._curve_crossing import Crossing
from ._curve_fit import LEAST, MISFIT, band, bends, line, polynomial, window
from ._estimate import Estimate

JUMP = 0.8
"""Second difference over the first from which on points do not resolve a curve; 1 for a jump."""
UNRESOLVED = 0.9
"""The same, with its noise, from which on a place is known to the interval between points alone."""

Points = Float[np.ndarray, " point"]


class Sampled(NamedTuple):
    """The points of a curve.

    Args:
        x: Rising places.
        y: Values minus the level.
        error: Half widths of their 95% intervals, in those of a normal one: the standard errors, or
            larger ones where these are uncertain (few replicates).
        stored: Whether the intervals are stored. Then the errors may be noisy, and are not the
            weights of a fit.
        times: The estimate of a matrix `[out, point]` times the values.
    """

    x: Points
    y: Points
    error: Points
    stored: bool
    times: Callable[[np.ndarray], Estimate]

    def error_of(self, row: Points) -> float:
        """Standard error of a sum of the values with these factors."""
        return float(self.times(row[None]).standard_error[0])

    def beyond_noise(self, row: Points, size: float) -> float:
        """What is left of a size whose noise is that of a sum with these factors, in squares."""
        return max(size**2 - self.error_of(row) ** 2, 0.0) ** 0.5


def chosen_crossing(
    points: Sampled, changes: list[Crossing], found: list[Crossing]
) -> Crossing | None:
    """The one crossing: the only significant one, or the middle one of several that are noise.

    Single points of many are beyond the band by chance. Several changes are one crossing if all lie
    among the points that are fitted to the middle one, whose ends are on different sides.
    """
    if len(found) == 1 or not changes:
        return found[0] if found else None
    middle = changes[len(changes) // 2]
    places = np.flatnonzero(window(points.x, points.y, points.error, middle.left, None))
    first, last = places[0], places[-1]
    inside = all(first <= each.left < last for each in changes)
    crosses = (points.y[first] > 0) != (points.y[last] > 0)
    return middle if len(places) >= LEAST and inside and crosses else None


def fitted_place(points: Sampled, region: Crossing, near: float | None) -> Estimate | None:
    """The crossing of a polynomial fit, with an error for its degree; None for too few points.

    Args:
        points: The curve.
        region: The crossing of the line through its points.
        near: What differs by less from the level is fitted by a cubic; if None, what lies within
            the noise by a parabola.
    """
    x, y, error, stored, times = points
    chosen = window(x, y, error, region.left, near)
    count = int(np.sum(chosen))
    if near is None and count < LEAST:
        return None
    rough = line(x, y, region.left)[0]
    if stored:  # a small error by chance would draw the fit to its point
        error = np.full(len(x), np.sqrt(np.mean(error[chosen] ** 2)))
    degrees = (2, 3) if near is None else (min(3, count - 1), min(2, count - 2))
    fit, other = (polynomial(x, y, error, chosen, degree, rough) for degree in degrees)
    if fit is None or (near is None and (not fit.single or fit.p_value < MISFIT)):
        return None
    place = times(fit.slopes[None])[0]
    place = place.shifted(fit.place - float(place.value))
    low, high = (np.asarray(bound, float) for bound in times(fit.values).interval())
    ends = band(fit, y, 0.5 * (high - low), region)
    place = place.bounded(min(ends[0], fit.place), max(ends[1], fit.place))
    if count <= LEAST and near is not None:
        return _bent(points, region.left, place)
    if other is None:
        return place
    apart = abs(other.place - fit.place)
    return place.widened(points.beyond_noise(other.slopes - fit.slopes, apart))


def line_place(
    points: Sampled, changes: list[Crossing], one: Crossing, found: Estimate
) -> Estimate:
    """A crossing by the line between two points, with errors beside that of their values.

    What the bend of the curve changes, and the distance of the farthest of other crossings in its
    region, which the errors do not distinguish from it.
    """
    x, y = points.x, points.y
    place = line(x, y, one.left)[0]
    same = [line(x, y, each.left)[0] for each in changes if each[1:] == one[1:]]
    spread = np.max(np.abs(np.array(same) - place))
    return _bent(points, one.left, found.widened(float(spread)))


def _bent(points: Sampled, left: int, found: Estimate) -> Estimate:
    """A crossing by the line between two points, with the error of a bend of the curve.

    Of a jump only the interval between the points is known, in which the place is uniform.
    """
    x = points.x
    if not _jumps(points, left):
        return found.widened(_bend(points, left))
    ends = (min(float(found.lower), x[left]), max(float(found.upper), x[left + 1]))
    return found.widened(float(x[left + 1] - x[left]) / 12**0.5).bounded(*ends)


def _jumps(points: Sampled, left: int) -> bool:
    """Whether two points differ from the level, and the slope beside them may vanish, by noise."""
    pair = slice(left, left + 2)
    rows = bends(points.x, points.y, left)
    if not len(rows) or not np.all(
        np.abs(points.y[pair]) > normal_quantile(LEVEL) * points.error[pair]
    ):
        return False
    step = points.x[left + 1] - points.x[left]
    ratio = max(abs(row @ points.y) + points.error_of(row) for row in rows)
    return bool(8 * ratio > UNRESOLVED * step)


def _bend(points: Sampled, left: int) -> float:
    """What a cubic through four points changes in the line between two, beyond the noise.

    Where a second difference is more than `JUMP` of the step between the two points, they do not
    resolve the curve: then what that difference changes at most, `h² y''/(8 y')`.
    """
    x, y = points.x, points.y
    rows = bends(x, y, left)
    if not len(rows):
        return 0.0
    step = x[left + 1] - x[left]
    moved = np.abs(rows @ y)
    place, slopes = line(x, y, left)
    chosen = np.zeros(len(x), bool)
    chosen[max(left - 1, 0) : left + 3] = True
    cubic = polynomial(x, y, np.zeros(len(x)), chosen, int(np.sum(chosen)) - 1, place)
    if cubic is None or 8 * np.max(moved) > JUMP * step:
        return max(points.beyond_noise(*each) for each in zip(rows, moved, strict=True))
    return points.beyond_noise(cubic.slopes - slopes, abs(cubic.place - place))
