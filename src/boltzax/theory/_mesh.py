"""Composite Gauss-Legendre rules on panels that shrink geometrically towards given centres."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rule = tuple[NDArray[np.float64], NDArray[np.float64]]


def panel_rule(edges: NDArray[np.float64], points: int) -> Rule:
    """Nodes and weights of the `points`-point Gauss-Legendre rule on each panel between `edges`."""
    node, weight = np.polynomial.legendre.leggauss(points)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + node)).ravel(), (half * weight).ravel()


def outward_rule(length: float, depth: int, points: int) -> Rule:
    """Rule on [0, length], its panels halving `depth` times towards 0.

    Relative accuracy of the nodes is kept down to the smallest panel.
    """
    edges = np.concatenate([[0.0], length * 0.5 ** np.arange(depth, -1, -1)])
    return panel_rule(edges, points)


def graded_rule(lo: float, hi: float, centres: Iterable[float], depth: int, points: int) -> Rule:
    """Rule on [lo, hi], its panels halving `depth` times towards each of the `centres`.

    Centres outside the interval are left out. Between two centres the panels halve towards both.
    """
    inside = sorted({float(c) for c in centres if lo <= c <= hi})
    cuts = [lo, *inside, hi]
    nodes, weights = [], []
    for left, right in pairwise(cuts):
        if left == right:
            continue
        middle = (left + right) / 2 if left in inside and right in inside else None
        if middle is not None:
            pieces = [(left, middle, 1), (right, middle, -1)]
        elif left in inside:
            pieces = [(left, right, 1)]
        elif right in inside:
            pieces = [(right, left, -1)]
        else:
            pieces = [(left, right, 1)]
        for origin, end, sign in pieces:
            node, weight = outward_rule(abs(end - origin), depth, points)
            nodes.append((origin + sign * node)[::sign])
            weights.append(weight[::sign])
    return np.concatenate(nodes), np.concatenate(weights)
