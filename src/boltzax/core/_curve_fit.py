"""Where a curve with errors crosses a level, by a polynomial through the points around it."""

from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float

from ._curve_crossing import Crossing

NOISE = 6.0
"""Points within so many standard errors of the level are fitted."""
LEAST = 4
"""Points that are fitted at least; of fewer the line between two is taken."""
MISFIT = 1e-3
"""p-value below which a parabola is no fit."""
GRID = 65
"""Places at which the band of a fit is evaluated."""

Points = Float[np.ndarray, " point"]
Rows = Float[np.ndarray, "place point"]


class Fit(NamedTuple):
    """A polynomial fit that crosses a level.

    Args:
        place: Where it does.
        slopes: The derivative of the place by the values, `[point]`.
        p_value: Of the fit, by `χ²` of independent points.
        grid: Places between the ends of the fitted points, `[place]`.
        values: The fit minus the level there, as a matrix of the values, `[place, point]`.
        single: Whether it crosses once between the ends.
    """

    place: float
    slopes: Points
    p_value: float
    grid: Points
    values: Rows
    single: bool


def window(x: Points, y: Points, error: Points, left: int, near: float | None) -> np.ndarray:
    """The run of points about a crossing that lie near the level: a mask `[point]`.

    Of given nearness, all that are nearer, two at least on either side. Else all within `NOISE`
    errors, and the first beyond on either side: what lies further tells little of the place.

    Args:
        x: Rising places.
        y: Values minus the level.
        error: Their standard errors.
        left: The crossing is between this point and the next.
        near: What differs by less from the level is near; None for `NOISE` errors.
    """
    inside = np.abs(y) <= NOISE * error if near is None else np.abs(y) < near
    first, last = left, left + 1
    if near is None:
        while first > 0 and inside[first]:
            first -= 1
        while last < len(x) - 1 and inside[last]:
            last += 1
    else:
        while first > 0 and (inside[first - 1] or left + 1 - first < LEAST // 2):
            first -= 1
        while last < len(x) - 1 and (inside[last + 1] or last - left < LEAST // 2):
            last += 1
    chosen = np.zeros(len(x), bool)
    chosen[first : last + 1] = True
    return chosen


def polynomial(
    x: Points, y: Points, error: Points, chosen: np.ndarray, degree: int, rough: float
) -> Fit | None:
    """The crossing of a weighted fit nearest to a place; None if it does not cross.

    Args:
        x: Rising places.
        y: Values minus the level.
        error: Their standard errors: the weights of the fit, unless one of them is 0 or unknown.
        chosen: The points that are fitted.
        degree: Of the polynomial.
        rough: The place.
    """
    inside, size = x[chosen], error[chosen]
    fair = bool(np.all(np.isfinite(size) & (size > 0)))
    weights = np.min(size) / size if fair else np.ones(len(inside))
    middle, half = 0.5 * (inside[0] + inside[-1]), 0.5 * (inside[-1] - inside[0])
    powers = np.vander((inside - middle) / half, degree + 1, increasing=True)
    inverse = np.linalg.pinv(weights[:, None] * powers) * weights
    coefficients = inverse @ y[chosen]
    # a leading one that is rounding would spoil the other roots
    fit = np.polynomial.Polynomial(coefficients).trim(1e-12 * np.max(np.abs(coefficients)))
    roots = fit.roots()
    real = np.real(roots[np.abs(np.imag(roots)) < 1e-9])
    real = real[np.abs(real) <= 1]
    if not len(real):
        return None
    place = float(real[np.argmin(np.abs(middle + half * real - rough))])
    slopes, values = np.zeros(len(x)), np.zeros((GRID, len(x)))
    slopes[chosen] = -half * (place ** np.arange(degree + 1)) @ inverse / fit.deriv()(place)
    grid = np.linspace(-1, 1, GRID)
    values[:, chosen] = np.vander(grid, degree + 1, increasing=True) @ inverse
    left_over = weights * (y[chosen] - powers @ coefficients)
    square = np.sum(left_over**2) / np.min(size) ** 2 if fair else 0.0
    p_value = float(scipy.special.chdtrc(max(len(inside) - degree - 1, 1), square))
    place = float(middle + half * place)
    return Fit(place, slopes, p_value, middle + half * grid, values, len(real) == 1)


def line(x: Points, y: Points, left: int) -> tuple[float, Points]:
    """Where the line between two points is 0, and the derivative of the place by the values."""
    slopes = np.zeros(len(x))
    step, rise = x[left + 1] - x[left], y[left + 1] - y[left]
    share = -y[left] / rise
    slopes[left], slopes[left + 1] = (share - 1) * step / rise, -share * step / rise
    return float(x[left] + step * share), slopes


def bends(x: Points, y: Points, left: int) -> Rows:
    """What a bend moves the line between two points at most, as a matrix of the values.

    `h² y''/(8 y')`, with the second difference at either point, `[difference, point]`.
    """
    rows = []
    step, rise = x[left + 1] - x[left], y[left + 1] - y[left]
    for i in range(max(left, 1), min(left + 2, len(x) - 1)):
        row, before, after = np.zeros(len(x)), x[i] - x[i - 1], x[i + 1] - x[i]
        row[i - 1], row[i], row[i + 1] = 1 / before, -1 / before - 1 / after, 1 / after
        rows.append(row / (before + after) * step**3 / (4 * rise))
    return np.array(rows).reshape(-1, len(x))


def band(fit: Fit, y: Points, half: Points, region: Crossing) -> tuple:
    """Ends of the places around the crossing of a fit at which the level is inside its band.

    Where the band holds the level up to an end of the fit, that of the region of the points.

    Args:
        fit: The fit.
        y: Values minus the level.
        half: Half width of the 95% interval of the fit on its grid.
        region: The crossing of the line through the points.
    """
    excess = np.abs(fit.values @ y) - half
    right = int(np.clip(np.searchsorted(fit.grid, fit.place), 1, len(fit.grid) - 1))

    def end(places: range, beyond: float) -> float:
        before = (fit.place, -float(np.interp(fit.place, fit.grid, half)))
        for i in places:
            if excess[i] > 0:
                share = before[1] / (before[1] - excess[i])
                return float(before[0] + share * (fit.grid[i] - before[0]))
            before = (fit.grid[i], float(excess[i]))
        return beyond

    low = end(range(right - 1, -1, -1), min(region.low, fit.grid[0]))
    return low, end(range(right, len(fit.grid)), max(region.high, fit.grid[-1]))
