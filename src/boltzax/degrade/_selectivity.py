"""Dials compared at matched survival: what is left of one structure where another is at a level."""

import numpy as np
import scipy.special
from jaxtyping import Float

from ..core import Curve, Estimate, Fraction, student_factor, typed
from ._characteristic import NEAR, place_of, warn_no_crossing

LEAST = 4
"""Points that are fitted at least."""
MISFIT = 0.01
"""p-value below which a cubic is no fit, and the point farthest from the level is left out."""
JAGGED = 0.25
"""Difference of a cubic and the line between two points, over that of both, that is no bend."""

STEEPER = 3.0
"""Ratio of the slopes of both beyond which it is none either."""

Points = Float[np.ndarray, " point"]
Terms = Float[np.ndarray, "term point"]


@typed
def selectivity(kept: Curve, lost: Curve, at: Fraction = 0.7) -> Estimate:
    """The survival of one structure where that of another is at a level; lower is more selective.

    Dials are compared at matched survival only: their settings have no common unit. The place is
    that of `characteristic_temperature(kept, at)`. There a cubic is fitted to
    `lost - s (kept - at)`, where `s` is the ratio of both slopes: to first order its value does not
    depend on the place. It takes the points whose survival `kept` is within 0.3 of the level, fewer
    where a cubic does not fit them, four at least.

    Args:
        kept: The survival that is to stay, over the same points as `lost`.
        lost: The survival that is to go.
        at: The survival of `kept` at which both are compared.

    Returns:
        The survival of `lost` there. Its error holds that of both curves, and what a parabola
        changes beyond the noise. Curves of one `along_dial` share their draws, which the error
        takes into account. Intervals are of Student's t by the effective draws. NaN where `kept`
        does not significantly cross the level; a `RuntimeWarning` says why.

    Raises:
        DeclarationError: For curves over different points.
        RunError: For several crossings that the errors distinguish.
    """
    kept.minus(lost)  # refuses curves over different places
    place = float(place_of(kept, at).value)
    if not np.isfinite(place):
        warn_no_crossing(kept, at)
        return Estimate.exact(np.nan).unknown(True)
    order = np.argsort(np.asarray(kept.x))
    finite = np.isfinite(np.asarray(kept.value)) & np.isfinite(np.asarray(lost.value))
    order = order[finite[order]]
    parts = [curve[order] for curve in (kept.shifted(-at), lost)]
    kept, lost = (part for part in parts if isinstance(part, Curve))
    x = np.asarray(kept.x, float)
    if np.all(x > 0):
        x, place = np.log(x), np.log(place)
    return _matched(x - place, kept, lost)


def _matched(x: Points, kept: Curve, lost: Curve) -> Estimate:
    """The value at 0 of `lost - s kept`, with the ratio `s` of their slopes there."""
    y = np.asarray(kept.value, float)
    changes = np.flatnonzero((y[1:] >= 0) != (y[:-1] >= 0))
    pair = changes[np.argmin(np.abs(x[changes] + x[changes + 1]))] + np.arange(2)
    chosen = _around(np.abs(y), pair[1])
    while True:
        rows = _terms(x, chosen, 3)
        if np.sum(chosen) <= LEAST or _fits(_level(kept, lost, rows), x, chosen, rows):
            break
        ends = np.flatnonzero(chosen)[[0, -1]]
        chosen[ends[np.argmax(np.abs(x[ends]))]] = False
    line = _terms(x, np.isin(np.arange(len(x)), pair), 1)
    step = abs(float(np.diff(np.asarray(lost.value, float)[pair])[0]))
    another = _terms(x, *_another(chosen))[0]
    value, bend, jagged = _values(_level(kept, lost, rows), rows[0], another, line[0])
    steepness = (rows[1] @ y) / (line[1] @ y)
    smooth = jagged <= JAGGED * step and 1 / STEEPER < steepness < STEEPER
    if np.min(np.abs(y[pair])) >= NEAR or (np.sum(chosen) <= LEAST and not smooth):
        # the points do not resolve the curves: between two of them any value is possible
        value, bend = _values(_level(kept, lost, line), line[0])[0], step / 12**0.5
    value = value.widened(bend)
    half = student_factor(float(value.ess)) * float(value.standard_error)
    return value.bounded(float(value.value) - half, float(value.value) + half)


def _level(kept: Curve, lost: Curve, rows: Terms) -> Curve:
    """`lost - s kept`, with the ratio `s` of their slopes by the terms of a fit."""
    slopes = [float(rows[1] @ np.asarray(curve.value, float)) for curve in (lost, kept)]
    return lost.minus(kept.scaled(slopes[0] / slopes[1]))


def _values(curve: Curve, fit: Points, *others: Points) -> list:
    """The value of a fit, and what other fits change in it beyond the noise."""
    best = curve.values if curve.influence is None else curve.influence
    every = best.times(np.stack([fit, *(fit - other for other in others)]))
    value, *moved = every if isinstance(every, Estimate) else every.estimate()
    squares = [float(m.value) ** 2 - float(m.standard_error) ** 2 for m in moved]
    return [value, *(max(square, 0.0) ** 0.5 for square in squares)]


def _around(distance: Points, right: int) -> np.ndarray:
    """The run of points about a place that lie near the level, two at least on either side."""
    first, last = right - 1, right
    while first > 0 and (distance[first - 1] < NEAR or right - first < LEAST // 2):
        first -= 1
    while last < len(distance) - 1 and (distance[last + 1] < NEAR or last - right + 1 < LEAST // 2):
        last += 1
    return (np.arange(len(distance)) >= first) & (np.arange(len(distance)) <= last)


def _another(chosen: np.ndarray) -> tuple[np.ndarray, int]:
    """Points and degree of the fit to compare with: a quartic with a point more on either side."""
    wider = chosen.copy()
    wider[1:] |= chosen[:-1]
    wider[:-1] |= chosen[1:]
    return (wider, 4) if np.sum(wider) > LEAST + 1 else (chosen, int(np.sum(chosen)) - 2)


def _terms(x: Points, chosen: np.ndarray, degree: int) -> Terms:
    """The terms about 0 of a polynomial through some points, as a matrix of the values."""
    degree = min(degree, int(np.sum(chosen)) - 1)
    rows = np.zeros((degree + 1, len(x)))
    rows[:, chosen] = np.linalg.pinv(np.vander(x[chosen], degree + 1, increasing=True))
    return rows


def _fits(curve: Curve, x: Points, chosen: np.ndarray, rows: np.ndarray) -> bool:
    """Whether a polynomial, by its terms, fits some points within their errors."""
    value, error = (np.asarray(each, float) for each in (curve.value, curve.standard_error))
    fitted = np.vander(x, len(rows), increasing=True) @ (rows @ value)
    with np.errstate(divide="ignore", invalid="ignore"):
        square = np.sum(((value - fitted) / error)[chosen] ** 2)
    return bool(scipy.special.chdtrc(np.sum(chosen) - len(rows), square) > MISFIT)
