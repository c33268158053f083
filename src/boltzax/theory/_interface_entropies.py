"""Entropies of interfaces in closed form: `log P_prior[the contract holds]`, in nats.

The relative error is about 1e-13, also for tiny probabilities: lengths and areas are subtracted as
exact fractions, and probabilities of wedges are integrated as logarithms.
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
    """The entropy of `y = w x`, `w ~ U[0, width]`, in nats.

    Every `x` in `[0, l₀]` must give a `y` in `[0, l₁]`, every `x >= h₀` one in `[h₁, ∞)`. So w lies
    between `h₁/h₀` and `l₁/l₀`, and `H = log((min(width, l₁/l₀) - h₁/h₀)₊ / width)`; -inf if no w
    is left.

    Args:
        width: Upper end of the prior of w.
        before: Thresholds `(l₀, h₀)` of x, both positive.
        after: Thresholds `(l₁, h₁)` of y, both positive.
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
    """The entropy of the step `y = height · 1[x > c]`, `c ~ U[0, height]`, in nats.

    The step must lie between the thresholds `(l, h)` of x: `H = log((h - l)/height)`.

    Args:
        height: Upper end of the prior of c, and height of the step.
        thresholds: The thresholds `(l, h)`, `0 <= l < h <= height`.
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
    """The entropy of `y = w x + b`, with w and b uniform on two intervals, in nats.

    Each end of each interval is a half-plane in (w, b). The part of the rectangle inside all of
    them is a convex polygon, and `H = log(its area / the area of the rectangle)`.

    Args:
        weight: The interval of w.
        bias: The interval of b.
        pairs: Pairs of intervals. Every x in the first must give a y in the second, which may have
            infinite ends.
    """
    _check_rising("weight", weight)
    _check_rising("bias", bias)
    (w0, w1), (b0, b1) = map(Fraction, weight), map(Fraction, bias)
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


@typed
def amplifier_interface(
    before: tuple[float, float],
    after: tuple[float, float],
    *,
    scale: Above = 1.0,
    height: Above = 5.0,
) -> float:
    """The entropy of `y = height · σ(g (x - height/2) + b)`, g and b from N(0, scale²), in nats.

    With `L = logit(l₁/height)` and `H = logit(h₁/height)` the contract is
    `g (l₀ - height/2) + b <= L` and `g (h₀ - height/2) + b >= H`. (The two imply g > 0, so no other
    x matters.) This is a wedge under a bivariate normal law; its probability is integrated as a
    logarithm. The relative error of the entropy is about 1e-13.

    Args:
        before: Thresholds `(l₀, h₀)` of x.
        after: Thresholds `(l₁, h₁)` of y.
        scale: Standard deviation of g and b.
        height: Range of the signal.

    Raises:
        DeclarationError: Unless `l₀ < h₀` and `0 < l₁ < h₁ < height`.
    """
    _check_rising("before", before)
    _check_rising("after", after, 0.0, height)
    centre = height / 2
    low, high = (math.log(y) - math.log(height - y) for y in after)
    # where both hold with equality; in units of the prior
    gain = (high - low) / (before[1] - before[0])
    tip = np.array([gain, low - gain * (before[0] - centre)]) / scale
    sides = np.array([[before[0] - centre, 1.0], [centre - before[1], -1.0]])
    return log_wedge(tip, sides[0], sides[1])


def _check_rising(
    name: str, pair: tuple[float, float], least: float = -math.inf, most: float = math.inf
) -> None:
    if not least < pair[0] < pair[1] < most:
        raise DeclarationError(
            name,
            got=str(pair),
            expected=f"two numbers, {least:g} < low < high < {most:g}",
            mend="put the lower number first, and both inside the range",
        )


@typed
def linear_chain_maximum(
    width: Above, before: Thresholds, after: Thresholds, length: Count
) -> float:
    """The maximum, over the interfaces between components, of the entropy of a chain, in nats.

    The chain has n components `y = w x`, `w ~ U[0, width]`. With `R = l_n/l₀` and `S = h_n/h₀` at
    the two ends, the maximum is `n log((R^{1/n} - S^{1/n})/width)`; -inf if `R <= S`.

    Args:
        width: Upper end of the prior of each w.
        before: Thresholds `(l₀, h₀)` of the input.
        after: Thresholds `(l_n, h_n)` of the output.
        length: The number n of components.

    Raises:
        DeclarationError: Unless `R^{1/n} <= width`.
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
