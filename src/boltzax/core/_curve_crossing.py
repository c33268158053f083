"""Where a curve with errors crosses a level."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, " point"]


class Crossing(NamedTuple):
    """A change of side between the points `left` and `left + 1` of a curve.

    `low` and `high` are the ends of the region around it in which the level lies inside the band;
    infinite where the region reaches the end of the curve.
    """

    left: int
    low: float
    high: float


def crossings(
    x: Points, value: Points, band: tuple[Points, Points], level: float
) -> list[Crossing]:
    """All changes of side of the level along rising `x`, with their regions.

    An end on the level is on the other side than its neighbour.
    """
    above = value >= level
    for end, neighbour in ((0, 1), (-1, -2)) if len(x) > 1 else ():
        if value[end] == level != value[neighbour]:
            above[end] = not above[neighbour]
    changes = np.flatnonzero(above[1:] != above[:-1])
    return [_region(x, value, band, level, int(left)) for left in changes]


def resolved(found: list[Crossing]) -> list[Crossing]:
    """One crossing for each region in which the curve changes side: the middle one.

    An even number of crossings in a region is a touch, which the errors explain.
    """
    regions: dict[tuple[float, float], list[Crossing]] = {}
    for crossing in found:
        regions.setdefault((crossing.low, crossing.high), []).append(crossing)
    return [several[len(several) // 2] for several in regions.values() if len(several) % 2]


def _region(x: Points, value: Points, band: tuple, level: float, left: int) -> Crossing:
    share = (level - value[left]) / (value[left + 1] - value[left])
    place = x[left] + share * (x[left + 1] - x[left])
    low, high = (bound - level for bound in band)

    def end(points: range, beyond: float) -> float:
        """The first place along some points at which the band leaves the level."""
        before = (place, low[left] + share * (low[left + 1] - low[left]))
        before = (*before, high[left] + share * (high[left + 1] - high[left]))
        for i in points:
            for k, bound in ((1, low), (2, high)):
                if (bound[i] > 0) if k == 1 else (bound[i] < 0):
                    step = before[k] / (before[k] - bound[i])
                    return float(before[0] + step * (x[i] - before[0]))
            before = (x[i], low[i], high[i])
        last = points[-1]
        return float(x[last]) if low[last] == high[last] else beyond

    down, up = range(left, -1, -1), range(left + 1, len(x))
    return Crossing(left, end(down, -np.inf), end(up, np.inf))
