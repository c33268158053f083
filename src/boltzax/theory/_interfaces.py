"""Entropies of interfaces in closed form: `log P_prior[the contract holds]`, in nats."""

import math

import numpy as np

from ..core import DeclarationError
from ._check import whole


def linear_interface(
    width: float, before: tuple[float, float], after: tuple[float, float]
) -> float:
    """`y = w x`, `w ~ U[0, width]`, thresholds `(l₀, h₀)` before and `(l₁, h₁)` after.

    Every `x` in `[0, l₀]` must come to `[0, l₁]`, every `x >= h₀` to `[h₁, ∞)`: w lies between
    `h₁/h₀` and `l₁/l₀`, so that `H = log((min(width, l₁/l₀) - h₁/h₀)₊ / width)`; -inf if nothing is
    left. Thresholds must be positive.
    """
    _positive(width=width, l0=before[0], h0=before[1], l1=after[0], h1=after[1])
    free = min(width, after[0] / before[0]) - after[1] / before[1]
    return math.log(free / width) if free > 0 else -math.inf


def step_interface(height: float, thresholds: tuple[float, float]) -> float:
    """`y = height · 1[x > c]`, `c ~ U[0, height]`, with thresholds `(l, h)` before it.

    The step must lie between them: `H = log((h - l)/height)`.
    """
    low, high = thresholds
    _positive(height=height)
    if not 0 <= low < high <= height:
        raise DeclarationError(
            "thresholds",
            got=str(thresholds),
            expected=f"0 <= low < high <= {height}",
            mend="put the thresholds in the range of the signal",
        )
    return math.log((high - low) / height)


def affine_interface(
    weight: tuple[float, float],
    bias: tuple[float, float],
    pairs: list[tuple[tuple[float, float], tuple[float, float]]],
) -> float:
    """`y = w x + b` with w, b uniform on the intervals `weight` and `bias`.

    For each pair of intervals, every x in the first must come to the second. Each end of each
    interval is a half-plane in (w, b); what they leave of the rectangle is a convex polygon, and
    `H = log(its area / that of the rectangle)`. Infinite ends of the second are no constraint.
    """
    (w0, w1), (b0, b1) = weight, bias
    polygon = [(w0, b0), (w1, b0), (w1, b1), (w0, b1)]
    for inputs, (low, high) in pairs:
        for x in inputs:
            if math.isfinite(high):
                polygon = _clipped(polygon, (x, 1.0), high)
            if math.isfinite(low):
                polygon = _clipped(polygon, (-x, -1.0), -low)
    area = _area(polygon)
    return math.log(area / ((w1 - w0) * (b1 - b0))) if area > 0 else -math.inf


def amplifier_interface(
    before: tuple[float, float],
    after: tuple[float, float],
    *,
    scale: float = 1.0,
    height: float = 5.0,
) -> float:
    """`y = height · σ(g (x - height/2) + b)`, g and b from N(0, scale²), thresholds
    `(l₀, h₀)` before and `(l₁, h₁)` after.

    With `L = logit(l₁/height)`, `H = logit(h₁/height)` the contract is
    `g (l₀ - height/2) + b <= L` and `g (h₀ - height/2) + b >= H` (both together make g positive, so
    that the inner ends decide): an orthant of a bivariate normal.
    """
    from scipy.stats import multivariate_normal  # costs half of what jax does to import

    _positive(scale=scale, height=height)
    centre = height / 2
    logits = [math.log(y / (height - y)) for y in after]
    rows = scale * np.array([[centre - before[0], -1.0], [before[1] - centre, 1.0]])
    bounds = np.array([logits[0], -logits[1]])
    law = multivariate_normal(np.zeros(2), rows @ rows.T, abseps=1e-14, releps=1e-12)  # type: ignore[call-arg]
    return float(np.log(law.cdf(bounds)))


def linear_chain_maximum(
    width: float, before: tuple[float, float], after: tuple[float, float], length: int
) -> float:
    """The largest sum of entropies of a chain of `length` components `y = w x`, `w ~ U[0, width]`,
    over the interfaces between them.

    With `R = l_n/l₀` and `S = h_n/h₀` (thresholds at both ends) every component takes an equal
    share: `n log((R^{1/n} - S^{1/n})/width)`, as long as `R^{1/n} <= width`; -inf if `R <= S`.
    """
    n = whole("length", length, 1)
    _positive(width=width, l0=before[0], h0=before[1], ln=after[0], hn=after[1])
    low, high = (after[0] / before[0]) ** (1 / n), (after[1] / before[1]) ** (1 / n)
    if low > width:
        raise DeclarationError(
            "width",
            got=f"{width}, less than the share {low:.6g} of each component",
            expected="width >= (l_n/l_0)^(1/n)",
            mend="widen the prior",
        )
    return n * math.log((low - high) / width) if low > high else -math.inf


def _positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise DeclarationError(
                name, got=str(value), expected="a positive number", mend="correct its sign"
            )


def _clipped(
    polygon: list[tuple[float, float]], normal: tuple[float, float], bound: float
) -> list[tuple[float, float]]:
    """The part of a convex polygon where `normal · p <= bound`."""
    kept = []
    for here, there in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        a = normal[0] * here[0] + normal[1] * here[1] - bound
        b = normal[0] * there[0] + normal[1] * there[1] - bound
        if a <= 0:
            kept.append(here)
        if a * b < 0:
            t = a / (a - b)
            kept.append((here[0] + t * (there[0] - here[0]), here[1] + t * (there[1] - here[1])))
    return kept


def _area(polygon: list[tuple[float, float]]) -> float:
    ring = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in ring)) / 2
