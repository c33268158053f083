"""Entropies of interfaces in closed form: `log P_prior[the contract holds]`, in nats.

Right to a relative precision of about 1e-13 also where the probability is tiny: differences of
lengths and areas are taken in exact fractions, orthants are integrated as logarithms.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ..core import Count, DeclarationError, typed
from ._arguments import Above, AboveOrInfinite
from ._wedge import log_wedge

Point = tuple[Fraction, Fraction]
Thresholds = tuple[AboveOrInfinite, AboveOrInfinite]
"""Low and high, both positive."""


@typed
def linear_interface(width: Above, before: Thresholds, after: Thresholds) -> float:
    """`y = w x`, `w ~ U[0, width]`, thresholds `(l₀, h₀)` before and `(l₁, h₁)` after.

    Every `x` in `[0, l₀]` must come to `[0, l₁]`, every `x >= h₀` to `[h₁, ∞)`: w lies between
    `h₁/h₀` and `l₁/l₀`, so that `H = log((min(width, l₁/l₀) - h₁/h₀)₊ / width)`; -inf if nothing is
    left. Thresholds must be positive.
    """
    scale = Fraction(width)
    free = min(scale, _ratio(after[0], before[0])) - _ratio(after[1], before[1])
    return _log(free / scale)


def _ratio(above: float, below: float) -> Fraction:
    """A quotient of two floats, without rounding; 0 for a finite number by infinity."""
    return Fraction(0) if math.isinf(below) else Fraction(above) / Fraction(below)


def _log(share: Fraction) -> float:
    """Logarithm of an exact fraction in [0, 1], to relative precision at both ends."""
    if share <= 0:
        return -math.inf
    if 2 * share > 1:
        return math.log1p(float(share - 1))
    return math.log(share.numerator) - math.log(share.denominator)


@typed
def step_interface(height: Above, thresholds: tuple[float, float]) -> float:
    """`y = height · 1[x > c]`, `c ~ U[0, height]`, with thresholds `(l, h)` before it.

    The step must lie between them: `H = log((h - l)/height)`.
    """
    low, high = thresholds
    if not 0 <= low < high <= height:
        raise DeclarationError(
            "thresholds",
            got=str(thresholds),
            expected=f"0 <= low < high <= {height}",
            mend="put the thresholds in the range of the signal",
        )
    return _log((Fraction(high) - Fraction(low)) / Fraction(height))


@typed
def affine_interface(
    weight: tuple[float, float],
    bias: tuple[float, float],
    pairs: Sequence[tuple[tuple[float, float], tuple[float, float]]],
) -> float:
    """`y = w x + b` with w, b uniform on the intervals `weight` and `bias`.

    For each pair of intervals, every x in the first must come to the second. Each end of each
    interval is a half-plane in (w, b); what they leave of the rectangle is a convex polygon, and
    `H = log(its area / that of the rectangle)`. Infinite ends of the second are no constraint.
    """
    (w0, w1), (b0, b1) = (_side("weight", weight), _side("bias", bias))
    polygon = [(w0, b0), (w1, b0), (w1, b1), (w0, b1)]
    one = Fraction(1)
    for inputs, (low, high) in pairs:
        for end in inputs:
            x = Fraction(end)
            if math.isfinite(high):
                polygon = _clipped(polygon, (x, one), Fraction(high))
            if math.isfinite(low):
                polygon = _clipped(polygon, (-x, -one), -Fraction(low))
    return _log(_area(polygon) / ((w1 - w0) * (b1 - b0)))


def _side(name: str, ends: tuple[float, float]) -> tuple[Fraction, Fraction]:
    """A finite interval that is not empty."""
    low, high = ends
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise DeclarationError(
            name,
            got=str(ends),
            expected="two finite ends, low < high",
            mend="pass e.g. (-1.0, 1.0)",
        )
    return Fraction(low), Fraction(high)


@typed
def amplifier_interface(
    before: tuple[float, float],
    after: tuple[float, float],
    *,
    scale: Above = 1.0,
    height: Above = 5.0,
) -> float:
    """`y = height · σ(g (x - height/2) + b)`, g and b from N(0, scale²), thresholds
    `(l₀, h₀)` before and `(l₁, h₁)` after.

    With `L = logit(l₁/height)`, `H = logit(h₁/height)` the contract is
    `g (l₀ - height/2) + b <= L` and `g (h₀ - height/2) + b >= H` (both together make g positive, so
    that the inner ends decide): a wedge under a bivariate normal, integrated as a logarithm along
    the direction across one of its sides. Relative precision of H about 1e-13.

    Raises `DeclarationError` unless `l₀ < h₀` and `0 < l₁ < h₁ < height`.
    """
    _rising("before", before, -math.inf, math.inf)
    _rising("after", after, 0.0, height)
    centre = height / 2
    low, high = (math.log(y) - math.log(height - y) for y in after)
    # where both hold with equality; in units of the prior
    gain = (high - low) / (before[1] - before[0])
    tip = np.array([gain, low - gain * (before[0] - centre)]) / scale
    sides = np.array([[before[0] - centre, 1.0], [centre - before[1], -1.0]])
    return log_wedge(tip, sides[0], sides[1])


def _rising(name: str, pair: tuple[float, float], least: float, most: float) -> None:
    if not least < pair[0] < pair[1] < most:
        raise DeclarationError(
            name,
            got=str(pair),
            expected=f"two thresholds, {least:g} < low < high < {most:g}",
            mend="put the low threshold first, and both inside the range of the signal",
        )


@typed
def linear_chain_maximum(
    width: Above, before: Thresholds, after: Thresholds, length: Count
) -> float:
    """The largest sum of entropies of a chain of `length` components `y = w x`, `w ~ U[0, width]`,
    over the interfaces between them.

    With `R = l_n/l₀` and `S = h_n/h₀` (thresholds at both ends) every component takes an equal
    share: `n log((R^{1/n} - S^{1/n})/width)`, as long as `R^{1/n} <= width`; -inf if `R <= S`.
    """
    n = length
    low = (after[0] / before[0]) ** (1 / n)
    if low > width:
        raise DeclarationError(
            "width",
            got=f"{width}, less than the share {low:.6g} of each component",
            expected="width >= (l_n/l_0)^(1/n)",
            mend="widen the prior",
        )
    # low - high = low (1 - (S/R)^{1/n}), which a difference loses for long chains
    spread = -(_log_ratio(after[1], after[0]) - _log_ratio(before[1], before[0])) / n
    if spread <= 0:
        return -math.inf
    return n * (math.log(low / width) + math.log(-math.expm1(-spread)))


def _log_ratio(a: float, b: float) -> float:
    """`log(a/b)`, to relative precision near 1."""
    ratio = Fraction(a) / Fraction(b)
    if Fraction(1, 2) < ratio < 2:
        return math.log1p(float(ratio - 1))
    return math.log(ratio.numerator) - math.log(ratio.denominator)


def _clipped(polygon: list[Point], normal: Point, bound: Fraction) -> list[Point]:
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


def _area(polygon: list[Point]) -> Fraction:
    ring = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return abs(sum((a[0] * b[1] - b[0] * a[1] for a, b in ring), Fraction(0))) / 2
