"""Finite unions of closed boxes, as their maximal boxes.

A maximal box of a union is a box inside the union that is not contained in a larger one. The set of
maximal boxes is a canonical form of the union. Any box inside the union lies in a maximal box, so
inclusion, erosion and the distance to the boundary are exact. Maximal boxes are computed by
consensus, as the prime implicants of a Boolean function (Quine 1955, Am. Math. Monthly 62:627).

A box is a pair of tuples (lower, upper) of extended reals; everything here runs on the host.
"""

import itertools

Box = tuple[tuple[float, ...], tuple[float, ...]]
"""Lower and upper corner; infinite entries stand for rays."""


def maximal(boxes: list[Box]) -> tuple[Box, ...]:
    """The maximal boxes of the union, sorted."""
    kept = _outermost([box for box in boxes if all(a <= b for a, b in zip(*box, strict=True))])
    while True:
        new = {
            joined
            for one, other in itertools.combinations(kept, 2)
            for joined in _consensus(one, other)
            if not any(inside(joined, box) for box in kept)
        }
        if not new:
            return tuple(sorted(kept))
        kept = _outermost([*kept, *sorted(new)])


def inside(one: Box, other: Box) -> bool:
    """Whether a box lies in another."""
    low = all(a >= b for a, b in zip(one[0], other[0], strict=True))
    return low and all(a <= b for a, b in zip(one[1], other[1], strict=True))


def intersection(one: Box, other: Box) -> Box:
    """The intersection; if it is empty, a lower entry is above the upper one."""
    low = tuple(max(a, b) for a, b in zip(one[0], other[0], strict=True))
    return low, tuple(min(a, b) for a, b in zip(one[1], other[1], strict=True))


def _consensus(one: Box, other: Box) -> list[Box]:
    """For each axis, the box that extends the intersection to the union of both along that axis."""
    low, high = intersection(one, other)
    gaps = [axis for axis, (a, b) in enumerate(zip(low, high, strict=True)) if a > b]
    if gaps:
        return []
    extended = []
    for axis in range(len(low)):
        lower, upper = list(low), list(high)
        lower[axis] = min(one[0][axis], other[0][axis])
        upper[axis] = max(one[1][axis], other[1][axis])
        extended.append((tuple(lower), tuple(upper)))
    return extended


def _outermost(boxes: list[Box]) -> list[Box]:
    """The boxes that lie in no other box."""
    unique = list(dict.fromkeys(boxes))
    return [
        box for box in unique if not any(inside(box, other) for other in unique if other != box)
    ]
