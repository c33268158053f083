"""Transitions of finite systems: Binder's cumulant, and where the curves of several sizes cross."""

import itertools
from collections.abc import Mapping

import equinox as eqx
import numpy as np
import scipy.special
from jaxtyping import Array, Float

from ..core import (
    Curve,
    DeclarationError,
    Estimate,
    Fraction,
    Influence,
    Outcome,
    at_most_level,
    check_real,
    outcome_of,
    text_of_values,
    typed,
)
from ._outcome_words import words

SEEN = 6.0
"""Standard errors by which two curves have to come apart for their slopes to be told apart."""


@typed
class SizeCrossing(eqx.Module):
    """Where the curves of neighbouring sizes cross, as `size_crossing` gives it.

    Args:
        value: The transition in the limit of large size: the crossing of the two largest sizes;
            half of what it moved since the pair before is added to its error.
        pairs: The crossing of each pair of neighbouring sizes, `[pair]`, of lines between points;
            what the curves bend between them is in the errors.
        level: The quantity at the last crossing, with the error of the place and of the bend.
        exponent: `1/ν` from the slopes at each crossing, `log(slope ratio)/log(size ratio)`,
            `[pair]`: near the transition the curves depend on `(x - x_c) size^(1/ν)` alone. The
            error is that of the draws; differences between distant points make slopes too flat.
        p_value: Of the hypothesis that all pairs cross at one place.
        sizes: In rising order.
        threshold: p-value at or below which the pairs drift.
    """

    value: Estimate
    pairs: Estimate
    level: Estimate
    exponent: Estimate
    p_value: Float[Array, ""]
    sizes: tuple[float, ...] = eqx.field(static=True)
    threshold: Fraction = eqx.field(static=True)

    @property
    def outcome(self) -> Outcome:
        """`agree` if the pairs cross at one place; `disagree` if they drift with size; `too_few`
        for one pair, or where a pair does not cross significantly."""
        if not np.isfinite(float(self.p_value)):
            return Outcome.too_few
        return outcome_of(at_most_level(self.p_value, self.threshold), True)

    @text_of_values
    def __repr__(self) -> str:
        told = words(self.outcome, "at one place", "drift with size", "undecided")
        pairs = ", ".join(
            f"{a:g}/{b:g}: {at:.5g}"
            for (a, b), at in zip(itertools.pairwise(self.sizes), self.pairs, strict=True)
        )
        return (
            f"SizeCrossing at {self.value:.5g} (pairs {told}, p {float(self.p_value):.2g}; {pairs})"
        )


@typed
def binder_cumulant(order_parameter: Float[Array, "*shape chain draw"]) -> Influence:
    """`U = 1 - ⟨m⁴⟩/(3 ⟨m²⟩²)` of an order parameter `m` that is symmetric about 0.

    0 for Gaussian fluctuations about 0, 2/3 where `m = ±m_0`. At a continuous transition it does
    not depend on size, so that the curves of several sizes cross there (Binder 1981, Z. Phys. B
    43:119). In mean field the value there is `1 - Γ(1/4)⁴/(24π²) = 0.2705`. The error is to first
    order: 95% intervals of 30 independent draws cover 88 to 90%, of 200 draws 92 to 95%, of 2,000
    95 to 96% (64 spins in mean field at β = 0.9, 1, 1.3; 1,000 repetitions).

    Args:
        order_parameter: Draws `[*shape, chain, draw]`; independent ones along the chain axis, with
            one draw each.

    Returns:
        An `Influence`, for `bx.Curve(betas, binder_cumulant(m), axis="beta")` or `.estimate()`.
    """
    m = np.asarray(order_parameter, float)
    check_real(m)
    second, fourth = Influence.of(m**2), Influence.of(m**4)
    return second.map(lambda a, b: 1 - b / (3 * a**2), fourth)


@typed
def size_crossing(curves: Mapping[float, Curve], *, threshold: Fraction = 0.05) -> SizeCrossing:
    """The transition of large systems, where the curves of several sizes cross.

    Args:
        curves: By size, a scalar curve such as Binder's cumulant over temperature, all over the
            same places; from independent runs.
        threshold: p-value at or below which crossings of the pairs are taken to drift.

    Raises:
        DeclarationError: For fewer than two sizes, sizes that are not positive, curves over other
            places, and curves with more than one number at a place.
        RunError: For two curves that cross several times within their errors: pass a part of them.
    """
    sizes = sorted(curves)
    if len(sizes) < 2 or sizes[0] <= 0:
        raise DeclarationError(
            "curves",
            got=f"curves of the sizes {sizes}",
            expected="at least two positive sizes",
            mend="pass {size: curve, ...}",
        )
    pairs, levels, exponents = zip(
        *(
            _crossed(curves[small], curves[large], float(np.log(large / small)))
            for small, large in itertools.pairwise(sizes)
        ),
        strict=True,
    )
    places = Estimate.stack(pairs)
    value = places[-1]
    if len(pairs) > 1:
        value = value.widened(0.5 * abs(float(places.value[-1] - places.value[-2])))
    return SizeCrossing(
        value,
        places,
        levels[-1],
        Estimate.stack(exponents),
        np.asarray(_drift(places, [curves[size] for size in sizes])),
        tuple(map(float, sizes)),
        threshold,
    )


def _crossed(one: Curve, other: Curve, scale: float) -> tuple[Estimate, Estimate, Estimate]:
    """Where two curves cross, the quantity there, and `log(slope ratio)/scale`.

    A change of the curves at the crossing `x` moves it by `-(δother - δone)/(other' - one')`, and
    with it the quantity and the slopes there: all three are linear in the values of both curves.
    """
    one, other = _at_finite_points(one, other)
    apart = other.minus(one)
    at = apart.crossing()
    place = float(at.value)
    if not np.isfinite(place):
        return at, at, at
    low, high = _ends(apart, place)
    step = float(one.x[high] - one.x[low])
    rises = [float(curve.value[high] - curve.value[low]) / step for curve in (one, other)]
    gap = rises[1] - rises[0]
    share = rises[1] / gap
    crossed = one.scaled(share) + other.scaled(1 - share)  # level where they cross
    level = crossed.at(place).widened(_bend(crossed, place))
    return at, level, _ratio_of_slopes(one, other, place, gap) / scale


def _at_finite_points(one: Curve, other: Curve) -> list[Curve]:
    """Both curves in rising order, where both are finite."""
    good = np.isfinite(np.asarray(other.minus(one).value))
    order = np.argsort(np.asarray(one.x), kind="stable")
    if good.ndim > 1:
        return [one, other]  # refused by `crossing`
    parts = [curve[order[good[order]]] for curve in (one, other)]
    return [part for part in parts if isinstance(part, Curve)]


def _ratio_of_slopes(one: Curve, other: Curve, place: float, gap: float) -> Estimate:
    """The logarithm of the ratio of two slopes where the curves cross, with the slopes `gap` apart.

    It is linear in the values `[point]`: of the slopes at the place, and of the place.
    """
    x = np.asarray(one.x, float)
    units = np.eye(len(x))
    differences = np.gradient(units, x, axis=0, edge_order=min(2, len(x) - 1))
    within = np.array([np.interp(place, x, unit) for unit in units])
    slopes = [differences @ np.asarray(curve.value, float) for curve in (one, other)]
    steepness = [float(within @ slope) for slope in slopes]
    if not min(steepness) * max(steepness) > 0:
        return Estimate.exact(np.nan).unknown(True)
    _, _, left = _segment(one, place)
    bends = [
        (slope[left + 1] - slope[left]) / (x[left + 1] - x[left]) / steep
        for slope, steep in zip(slopes, steepness, strict=True)
    ]
    of_place = (bends[1] - bends[0]) / gap * within
    rows = [
        sign * within @ differences / s - sign * of_place
        for sign, s in zip((-1.0, 1.0), steepness, strict=True)
    ]
    parts = one.scaled(rows[0]) + other.scaled(rows[1])
    best = parts.values if parts.influence is None else parts.influence
    total = best.times(np.ones((1, len(x))))[0]
    moved = total if isinstance(total, Estimate) else total.estimate()
    return moved + (np.log(steepness[1] / steepness[0]) - float(moved.value))


def _ends(apart: Curve, place: float) -> tuple[int, int]:
    """The nearest points about a place between which a difference changes by more than noise."""
    _, y, left = _segment(apart, place)
    error = np.asarray(apart.standard_error, float)
    low, high = left, left + 1
    while abs(y[high] - y[low]) <= SEEN * np.hypot(error[low], error[high]):
        if low == 0 and high == len(y) - 1:
            break
        low, high = max(low - 1, 0), min(high + 1, len(y) - 1)
    return low, high


def _bend(curve: Curve, place: float) -> float:
    """Error of a line between two points: an eighth of `second derivative · step²`."""
    x, y, left = _segment(curve, place)
    if len(x) < 3:
        return 0.0
    bent = np.diff(np.diff(y) / np.diff(x)) / (x[2:] - x[:-2])
    near = bent[max(left - 1, 0) : left + 1]
    return float(np.max(np.abs(near)) * (x[left + 1] - x[left]) ** 2 / 4)


def _segment(curve: Curve, place: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Places and values, and the last point below a place."""
    x, y = (np.asarray(each, float) for each in (curve.x, curve.value))
    return x, y, int(np.clip(np.searchsorted(x, place) - 1, 0, len(x) - 2))


def _drift(places: Estimate, curves: list[Curve]) -> float:
    """p-value of equal crossings: `χ²` of the pairs about their weighted mean.

    Neighbouring pairs share a curve, whose error moves the one crossing up and the other down:
    their correlation is minus the root of its shares in both variances.
    """
    value, error = np.asarray(places.value, float), np.asarray(places.standard_error, float)
    if len(value) < 2 or not np.all(np.isfinite(value) & np.isfinite(error) & (error > 0)):
        return np.nan
    shares = []  # of the smaller and the larger size in the variance of each pair
    for pair, at in zip(itertools.pairwise(curves), value, strict=True):
        squares = np.array([float(curve.at(at).standard_error) for curve in pair]) ** 2
        whole = squares.sum()
        shares.append(np.clip(squares / whole, 0.01, 0.99) if whole > 0 else np.full(2, 0.5))
    shared = np.sqrt([one[1] * other[0] for one, other in itertools.pairwise(shares)])
    correlation = np.eye(len(value)) - np.diag(shared, 1) - np.diag(shared, -1)
    precision = np.linalg.inv(correlation * np.outer(error, error))
    mean = np.sum(precision @ value) / np.sum(precision)
    square = (value - mean) @ precision @ (value - mean)
    return float(scipy.special.chdtrc(len(value) - 1, square))
