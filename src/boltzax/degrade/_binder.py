"""Transitions of finite systems: Binder's cumulant, and where the curves of several sizes cross."""

import itertools
from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
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


@typed
class SizeCrossing(eqx.Module):
    """Where the curves of neighbouring sizes cross, as `size_crossing` gives it.

    Args:
        value: The transition in the limit of large size: the crossing of the two largest sizes;
            half of what it moved since the pair before is added to its error.
        pairs: The crossing of each pair of neighbouring sizes, `[pair]`, of lines between points;
            what the curves bend between them is in the errors.
        level: The quantity at the last crossing.
        exponent: `1/ν` from the slopes at each crossing, `log(slope ratio)/log(size ratio)`,
            `[pair]`: near the transition the curves depend on `(x - x_c) size^(1/ν)` alone.
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
    43:119). In mean field the value there is `1 - Γ(1/4)⁴/(24π²) = 0.2705`.

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
    pairs, exponents, levels = [], [], []
    for small, large in itertools.pairwise(sizes):
        one, other = curves[small], curves[large]
        apart = other.minus(one)
        at = apart.crossing()
        pairs.append(at)
        place = float(at.value)
        known = np.isfinite(place)
        levels.append(other.at(place) if known else at)
        slopes = [each.slope().at(place) for each in (one, other)] if known else [at, at]
        scale = float(np.log(large / small))
        exponents.append(slopes[1].map(lambda b, a: jnp.log(b / a), slopes[0]) / scale)
    places = Estimate.stack(pairs)
    value = places[-1]
    if len(pairs) > 1:
        value = value.widened(0.5 * abs(float(places.value[-1] - places.value[-2])))
    return SizeCrossing(
        value,
        places,
        levels[-1],
        Estimate.stack(exponents),
        np.asarray(_drift(places)),
        tuple(map(float, sizes)),
        threshold,
    )


def _drift(places: Estimate) -> float:
    """p-value of equal crossings: `χ²` of the pairs about their weighted mean.

    Neighbouring pairs share a size. For curves of like errors their crossings are anticorrelated,
    by half the product of their errors.
    """
    value, error = np.asarray(places.value, float), np.asarray(places.standard_error, float)
    if len(value) < 2 or not np.all(np.isfinite(value) & np.isfinite(error) & (error > 0)):
        return np.nan
    correlation = np.eye(len(value)) - 0.5 * (np.eye(len(value), k=1) + np.eye(len(value), k=-1))
    precision = np.linalg.inv(correlation * np.outer(error, error))
    mean = np.sum(precision @ value) / np.sum(precision)
    square = (value - mean) @ precision @ (value - mean)
    return float(scipy.special.chdtrc(len(value) - 1, square))
