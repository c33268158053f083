"""Unbiased cumulants (k-statistics) of samples, with the influence of each sample on them."""

import functools
import itertools

import jax
import numpy as np

from ..core import Estimate, Influence, estimate_of_parts

HIGHEST = 5
"""The highest marginal cumulant: Edgeworth's third order takes it."""
PIECE = 2**23
"""Numbers in products of samples at once."""


def series_of(values: np.ndarray, chain_axes: int, name: str) -> Influence:
    """The mean over draws and inputs of `values [*draws, input, *shape]`.

    Inputs are independent, and so are draws of an axis `sample`; draws of `chain, draw` are a
    series. A draw and an input have their own sources, each with the mean over the other: the
    first two terms of Hoeffding's decomposition. What belongs to single pairs enters both, so that
    the error is rather too large.

    Args:
        values: Numbers at each draw and input.
        chain_axes: Number of axes of draws: none, one (independent) or two (chain, draw).
        name: Of the data; sources of the same name are the same data.
    """
    axes = tuple(range(chain_axes))
    mean = values.mean(axis=(*axes, chain_axes))
    inputs = np.moveaxis(values.mean(axis=axes), 0, -1) - mean[..., None]
    several = inputs.shape[-1] > 1 or not chain_axes
    rows = {f"{name}, inputs": inputs[..., None]} if several else {}
    if chain_axes:
        draws = np.moveaxis(values.mean(axis=chain_axes), axes, range(-chain_axes, 0))
        draws = draws - mean[(...,) + (None,) * chain_axes]
        rows[f"{name}, draws"] = draws if chain_axes == 2 else draws[..., None]
    return Influence(mean, rows)


def cumulants(values: np.ndarray, chain_axes: int, name: str) -> Influence:
    """Mean, variance, third to fifth cumulants, `[cumulant, *shape]`, from the powers of values.

    They are Fisher's k-statistics, unbiased for independent samples. For draws and inputs together
    the number of samples is the one that gives the error of the mean.
    """
    centre = values.mean(axis=tuple(range(chain_axes + 1)))
    centred = values - centre
    powers = np.stack([centred**r for r in range(1, HIGHEST + 1)], axis=chain_axes + 1)
    moments = series_of(powers, chain_axes, name)
    count = effective_count(values, chain_axes)
    value = _k_statistics(np.asarray(moments.value), count)
    value[0] += centre
    rows = {source: _moved(moments.value, row, count) for source, row in moments.rows.items()}
    return Influence(value, rows)


def effective_count(values: np.ndarray, chain_axes: int) -> float:
    """Number of independent samples; with draws, the least that explains the error of a mean."""
    if not chain_axes:
        return float(values.shape[0])
    error = np.asarray(series_of(values, chain_axes, "draws").estimate().standard_error)
    variance = values.var(axis=tuple(range(chain_axes + 1)))
    counts = variance[error > 0] / error[error > 0] ** 2
    return max(float(np.min(counts, initial=values.size)), HIGHEST + 1.0)


def _k_statistics(moments: np.ndarray, n: float) -> np.ndarray:
    """k-statistics of `n` samples by their central moments, `[moment, *shape]`.

    Kendall & Stuart 1969, The Advanced Theory of Statistics, vol. 1, sect. 12.9.
    """
    mean, m2, m3, m4, m5 = moments
    _, *factors = _factors(n)
    k4 = (n + 1) * m4 - 3 * (n - 1) * m2**2
    k5 = (n + 5) * m5 - 10 * (n - 1) * m2 * m3
    found = [f * m for f, m in zip(factors, (m2, m3, k4, k5), strict=True)]
    return np.stack([mean, *found])


def _moved(moments: np.ndarray, rows: np.ndarray, n: float) -> np.ndarray:
    """First-order change of the k-statistics by changes `[moment, ...]` of the moments.

    The moments are about the mean of the samples, which moves too.
    """
    m1, m2, m3, m4, _ = (each[..., None, None] for each in moments)
    lower = (np.ones_like(m1), m1, m2, m3, m4)
    d1 = rows[0]
    _, d2, d3, d4, d5 = (
        d - r * m * d1 for r, (m, d) in enumerate(zip(lower, rows, strict=True), 1)
    )
    _, *factors = _factors(n)
    d4 = (n + 1) * d4 - 6 * (n - 1) * m2 * d2
    d5 = (n + 5) * d5 - 10 * (n - 1) * (m2 * d3 + m3 * d2)
    return np.stack([d1, *(f * d for f, d in zip(factors, (d2, d3, d4, d5), strict=True))])


def _factors(n: float) -> list[float]:
    """`1, n/(n-1), n²/((n-1)(n-2)), n²/((n-1)(n-2)(n-3)), n³/((n-1)...(n-4))`."""
    powers, falling = (0, 1, 2, 2, 3), np.cumprod([1.0, n - 1, n - 2, n - 3, n - 4])
    return [n**power / below for power, below in zip(powers, falling, strict=True)]


def joint(centred: np.ndarray, chain_axes: int, degree: int, count: float) -> Estimate:
    """Joint cumulants of degree 2, 3 or 4 of the outputs, `[output] * degree`.

    Args:
        centred: Values less their mean, `[*draws, input, output]`.
        chain_axes: Number of axes of draws.
        degree: Number of outputs in each cumulant.
        count: Number of independent samples.
    """
    outputs = centred.shape[-1]
    places = np.array(list(itertools.combinations_with_replacement(range(outputs), degree)))
    rank = {tuple(place): i for i, place in enumerate(places)}
    grid = itertools.product(range(outputs), repeat=degree)
    where = np.array([rank[tuple(sorted(place))] for place in grid]).reshape((outputs,) * degree)
    return joint_at(centred, chain_axes, places, count)[where]


def joint_at(centred: np.ndarray, chain_axes: int, places: np.ndarray, count: float) -> Estimate:
    """The joint cumulants of some outputs, `[place]`.

    Args:
        centred: Values less their mean, `[*draws, input, output]`.
        chain_axes: Number of axes of draws.
        places: Outputs of each cumulant, `[place, degree]`.
        count: Number of independent samples.
    """
    step = max(1, PIECE // (centred.size // centred.shape[-1]))
    parts = [
        _joint_of(centred, chain_axes, places[i : i + step], count)
        for i in range(0, len(places), step)
    ]
    leaves = zip(*(jax.tree.leaves(part) for part in parts), strict=True)
    return estimate_of_parts(*(np.concatenate(list(map(np.asarray, leaf))) for leaf in leaves))


def _joint_of(centred: np.ndarray, chain_axes: int, places: np.ndarray, count: float) -> Estimate:
    """Some joint cumulants, `[place]`, from the influence of each value on them."""
    over = tuple(range(chain_axes + 1))
    z = [centred[..., places[:, i]] for i in range(places.shape[1])]
    n, product = count, functools.reduce(np.multiply, z)
    mean = product.mean(axis=over)

    def moment(*which: int) -> np.ndarray:
        return functools.reduce(np.multiply, [z[i] for i in which]).mean(axis=over)

    moves = product - mean
    if len(z) == 2:
        factor, value = n / (n - 1), mean
    elif len(z) == 3:
        factor, value = n**2 / ((n - 1) * (n - 2)), mean
        moves = moves - sum(z[i] * moment(*_rest(3, i)) for i in range(3))
    else:
        pairs = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
        squares = sum(moment(*a) * moment(*b) for a, b in pairs)
        factor = n**2 * (n + 1) / ((n - 1) * (n - 2) * (n - 3))
        value = mean - (n - 1) / (n + 1) * squares
        moves = moves - sum(z[i] * moment(*_rest(4, i)) for i in range(4))
        for a, b in (*pairs, *(pair[::-1] for pair in pairs)):
            moves = moves - (z[a[0]] * z[a[1]] - moment(*a)) * moment(*b)
    rows = series_of(moves, chain_axes, "draws")
    return Influence(value, rows.rows).scaled(factor).estimate()


def _rest(degree: int, left_out: int) -> list[int]:
    return [i for i in range(degree) if i != left_out]
