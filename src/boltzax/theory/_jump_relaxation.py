"""The stationary mean of a number that relaxes by its square and jumps up at random times."""

import math

import numpy as np

REACH = 20.0
"""`coth(b + REACH)` is 1 to rounding."""
NODES = 24
"""Chebyshev nodes of a panel."""
TAIL = 1e-14
"""Probability above the largest value looked at."""


def mean_of_jumps(rate: float, jump: float) -> float:
    """`⟨ζ⟩` of `ζ' = 1 - ζ²` with jumps `ζ → ζ + v` of a rate `ρ`.

    The distribution obeys `(ζ² - 1) N' = ρ (N(ζ) - N(ζ - v))`, the balance of the flows through
    `ζ`, and is `N = e^{-ρ b}` at `ζ = coth b` below `1 + v`. From there it is solved by collocation
    from each `1 + n v` to the next, in the `b` of `coth b = ζ - n v`, in which `N(ζ - v)` is smooth
    at the lower end too. For large `Z` the mean is `Z - ∫ N dζ/N(Z)`.
    """
    last = 0.5 * math.log1p(2 / jump)  # coth b = 1 + v
    b, derivative, weights = _panels(last, rate)
    stretch = np.sinh(b) ** -2  # -dζ/db
    below = np.exp(-rate * (b - last))  # N, divided by its value at the upper end
    area, n, end = float(np.sum(weights * below * stretch)), 0, math.inf
    while n < 3 or 1 - 1 / end > TAIL:
        n += 1
        above = 1 / np.sinh(b) * np.exp(-b) + n * jump  # ζ - 1
        pull = -rate * stretch / (above * (above + 2))
        n_of = _solved(derivative, pull, below)
        end = float(n_of[-1, -1])
        area = (area + float(np.sum(weights * n_of * stretch))) / end
        below = n_of / end
    return 1 + (n + 1) * jump - area


def _panels(last: float, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes `[panel, node]` from `last + REACH` down to `last`, derivatives, weights."""
    width = min(0.3, 3 / rate, 0.3 * last)
    edges = [0.0]
    while edges[-1] < REACH:
        edges.append(edges[-1] + min(max(width, 0.25 * edges[-1]), 1.0))
    high, low = last + np.array(edges[:0:-1]), last + np.array(edges[-2::-1])
    x = np.cos(np.pi * np.arange(NODES) / (NODES - 1))
    sign = (-1.0) ** np.arange(NODES) * np.where(np.arange(NODES) % (NODES - 1), 1.0, 2.0)
    apart = x[:, None] - x + np.eye(NODES)
    slopes = np.outer(sign, 1 / sign) / apart
    slopes -= np.diag(slopes.sum(axis=1))
    moments = [2 / (1 - k**2) if k % 2 == 0 else 0.0 for k in range(NODES)]
    rule = np.linalg.solve(np.cos(np.outer(np.arange(NODES), np.arccos(x))), moments)
    half = 0.5 * (high - low)
    b = 0.5 * (high + low)[:, None] + half[:, None] * x
    return b, slopes / half[:, None, None], rule * half[:, None]


def _solved(derivative: np.ndarray, pull: np.ndarray, below: np.ndarray) -> np.ndarray:
    """`N' = pull (N - below)` from 1 at the first node on, `[panel, node]`."""
    matrix = derivative - pull[..., None] * np.eye(NODES)
    matrix[:, 0] = np.eye(NODES)[0]
    right = np.stack([-pull * below, np.zeros_like(pull)], axis=-1)
    right[:, 0] = 0.0, 1.0
    own, free = np.moveaxis(np.linalg.solve(matrix, right), -1, 0)
    out, start = np.empty_like(own), 1.0
    for i in range(len(out)):
        out[i] = own[i] + start * free[i]
        start = out[i, -1]
    return out
