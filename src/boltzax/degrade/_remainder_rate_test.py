"""A test of predicted error rates in bins of inputs: Hotelling's T², or a score test of counts."""

import numpy as np
import scipy.special
from jaxtyping import Float

from ..core import POWER, Estimate, Influence

EXPECTED = 10.0
"""Variance of the number of errors in a bin, at least: the number itself where errors are rare."""
SKEWNESS, LEAST = 0.25, 2.0
"""Most skewness of an observed rate over draws, `(1 - 2p)/(n p (1 - p))^½`, and least variance."""
PER_BIN, PIECES_PER_BIN = 20, 8
"""Independent units a bin, at least, and pieces of chains, whose means are nearly Gaussian."""
LONG, PIECES = 5.0, 25
"""Effective draws in a piece of a chain, at least, and pieces of a chain, at most."""
Rates = Float[np.ndarray, " input"]


def bins_of_inputs(rates: Rates, count: int) -> np.ndarray:
    """Weights of the inputs in each bin, and of all in the last row: `[bin + 1, input]`.

    Inputs are sorted by their predicted rate, and bins have like shares of its variance.
    """
    rates = np.clip(rates, 1e-6, 1 - 1e-6)
    order = np.argsort(rates, kind="stable")
    mass = np.cumsum((rates * (1 - rates))[order])
    place = np.empty(len(rates), int)
    place[order] = np.minimum((count * (mass / mass[-1]) * (1 - 1e-9)).astype(int), count - 1)
    rows = [place == b for b in range(count) if np.any(place == b)]
    weights = np.stack([*rows, np.ones(len(rates), bool)]).astype(float)
    return weights / weights.sum(axis=1, keepdims=True)


def variance_of_hits(rates: Rates) -> Rates:
    """`p (1 - p)`; the rates of an expansion can leave [0, 1]."""
    rates = np.clip(rates, 0.0, 1.0)
    return rates * (1 - rates)


def bins_allowed(
    apart: Influence, rates: Rates, draws: str | None, inputs: bool, most: int
) -> tuple[int, str]:
    """How many bins the data allow, and why none if there are too few.

    Args:
        apart: Predicted minus observed rates in `most` bins, with the errors that are estimated.
        rates: Predicted by order 0.
        draws: The source of the held-out draws, if there are some.
        inputs: Whether held-out inputs are independent, too.
        most: Bins that are asked for.
    """
    counts = {s: independent_means(rows).shape[1] for s, rows in apart.rows.items()}
    pieces = {s: rows.shape[-1] > 1 for s, rows in apart.rows.items()}
    limits = [n // (PIECES_PER_BIN if pieces[s] else PER_BIN) for s, n in counts.items()]
    if inputs:
        limits.append(int(np.sum(variance_of_hits(rates)) // EXPECTED))
    if draws is not None:
        # as if all inputs erred at the same draws
        rate = float(np.mean(np.clip(rates, 0, 1)))
        expected = effective_draws(apart.rows[draws]) * rate * (1 - rate)
        limits.append(int(expected // EXPECTED))
        needed = max(LEAST, ((1 - 2 * rate) / SKEWNESS) ** 2)
        if expected < needed:
            return 1, f"{expected:.2g} errors expected in independent draws, {needed:.2g} needed"
    few = min(counts, key=lambda s: counts[s])
    if counts[few] < 3:
        return 1, f"{counts[few]} independent units of {few!r}, 3 needed"
    return int(np.clip(min(limits), 1, most)), ""


def rate_test(
    apart: Influence, noise: np.ndarray | None, step: float, level: float
) -> tuple[float, float]:
    """p-value of no difference in any bin, and the shift of all that is detected.

    Args:
        apart: Predicted minus observed rate in each bin, with the errors that are estimated.
        noise: Variance of the observed rates if it is known under the null law, `[bin]`.
        step: By how much one error changes the observed rate of a single bin: half of it is the
            correction for continuity.
        level: p-value at or below which an order is refused.
    """
    value = np.asarray(apart.value)
    covariance = np.zeros((len(value), len(value))) if noise is None else np.diag(noise)
    units = np.inf
    for rows in apart.rows.values():
        means = independent_means(np.asarray(rows))
        count = means.shape[1]
        covariance += means @ means.T / (count * (count - 1))
        units = min(units, count)
    if noise is not None and len(value) == 1:
        value = np.sign(value) * np.maximum(np.abs(value) - step / 2, 0.0)
    scale, vectors = np.linalg.eigh(covariance)
    good = scale > 1e-10 * max(scale[-1], 1e-300)
    bins, vectors = int(np.sum(good)), vectors[:, good] / np.sqrt(scale[good])
    if units <= bins + 1 or not bins:
        return np.nan, np.inf
    factor = (units - bins) / (bins * (units - 1))
    square = float(np.sum((value @ vectors) ** 2))
    p_value = float(scipy.special.fdtrc(bins, units - bins, factor * square))
    critical = float(scipy.special.fdtri(bins, units - bins, 1 - level)) / factor
    needed = float(scipy.special.chndtrinc(critical, bins, 1 - POWER))
    return p_value, float(np.sqrt(needed / np.sum(vectors.sum(axis=0) ** 2)))


def independent_means(rows: Float[np.ndarray, "bin chain draw"]) -> np.ndarray:
    """Rows as means of independent units, `[bin, unit]`: samples, or pieces of chains.

    A piece holds `LONG` effective draws of the slowest bin or is a whole chain: at five, the
    variance of its mean is a tenth too small for draws of an autoregression.
    """
    bins, chains, draws = rows.shape
    if draws == 1:
        return np.asarray(rows)[..., 0]
    pieces = int(np.clip(effective_draws(rows) / (LONG * chains), 1, min(PIECES, draws)))
    length = draws // pieces
    cut = np.asarray(rows)[:, :, : pieces * length].reshape(bins, chains * pieces, length)
    return cut.mean(axis=-1)


def effective_draws(rows: Float[np.ndarray, "bin chain draw"]) -> float:
    """Number of effective draws of the slowest bin; independent samples have one draw a chain."""
    if rows.shape[-1] == 1:
        return float(rows.shape[-2])
    return float(np.min(np.asarray(Estimate.of_series(rows, exact=True).ess)))
