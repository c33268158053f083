"""Hypothesis strategies for measures and bases.

Shapes are few (every new one is a compilation); numbers vary freely.
"""

import jax
import numpy as np
from hypothesis import strategies as st

from boltzax.core import Count, typed
from boltzax.declare import (
    AbstractBasis,
    AbstractMeasure,
    CircleMeasure,
    CubeMeasure,
    Empirical,
    GaussianMeasure,
    IntervalMeasure,
    Subsampled,
)

numbers = st.floats(-2.0, 2.0, allow_subnormal=False).map(lambda x: round(x, 3))
positive = st.floats(0.25, 2.0).map(lambda x: round(x, 3))
seeds = st.integers(0, 2**16)


@typed
@st.composite
def empiricals(draw: st.DrawFn, dim: Count = 1, size: Count = 8) -> Empirical:
    """`size` data of length `dim` with positive weights, or none."""
    rng = np.random.default_rng(draw(seeds))
    weights = rng.uniform(0.5, 2.0, size) if draw(st.booleans()) else None
    return Empirical(rng.normal(size=(size, dim)), weights=weights)


@typed
@st.composite
def gaussians(draw: st.DrawFn, dim: Count = 1) -> GaussianMeasure:
    """Gaussians of any mean and scale by Gauss-Hermite or the trapezoid rule, or sparse.

    Args:
        dim: Length of one datum.
    """
    rng = np.random.default_rng(draw(seeds))
    rule = "sparse" if dim > 3 else draw(st.sampled_from(["hermite", "trapezoid"][: 3 - dim]))
    order = 3 if rule == "sparse" else (32 if dim == 1 else 16)
    mean, scale = rng.normal(size=dim), rng.uniform(0.25, 2.0, size=dim)
    return GaussianMeasure(dim, mean=mean, scale=scale, order=order, rule=rule)


@typed
@st.composite
def intervals(draw: st.DrawFn) -> IntervalMeasure:
    """Intervals of length 0.25 to 2."""
    low = draw(numbers)
    return IntervalMeasure(low, low + draw(positive), order=32)


@st.composite
def _subsampled(draw: st.DrawFn, dim: int) -> Subsampled:
    return Subsampled(draw(empiricals(dim)), draw(st.sampled_from([2, 8])))


@typed
def measures(dim: Count = 1) -> st.SearchStrategy[AbstractMeasure]:
    """Positive measures on vectors of length `dim`, of every kind that has them."""
    kinds: list[st.SearchStrategy] = [gaussians(dim), empiricals(dim), _subsampled(dim)]
    if dim == 1:
        kinds += [intervals(), st.just(CircleMeasure(32))]
    if dim <= 16:
        kinds.append(st.just(CubeMeasure(dim)))
    return st.one_of(kinds)


@typed
@st.composite
def signed_measures(draw: st.DrawFn, dim: Count = 1) -> AbstractMeasure:
    """`a mu - b nu` with a, b > 0: signed, of any mass.

    Args:
        dim: Length of one datum.
    """
    first, second = draw(measures(dim)), draw(measures(dim))
    return draw(positive) * first - draw(positive) * second


@typed
@st.composite
def bases(draw: st.DrawFn) -> AbstractBasis:
    """Hermite (one and two dimensions), Legendre, Fourier and Walsh bases."""
    kinds = [gaussians(1), gaussians(2), intervals(), st.just(CircleMeasure(32))]
    return draw(st.one_of(*kinds, st.just(CubeMeasure(3)))).basis()


keys = seeds.map(jax.random.key)
"""Random keys."""
