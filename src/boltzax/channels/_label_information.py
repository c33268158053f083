"""Conditional information of labels from their counts, without the bias of finite samples."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from ..core import DeclarationError, Estimate, estimate_of_parts
from ..numerics import root
from ._information_interval import TAIL, AbstractSpread, standard_error_and_bounds

LEAST = 5.0
"""Samples for each occupied combination of labels."""
STEPS = 8
"""Intervals of the line from independence to the frequencies of the sample."""
ROUNDING = 1e-9
"""Plug-in of independent labels, times the samples, that is none."""
WINDOWS = ((0.0, 1.0, 24), (1.0, 10.0, 60), (10.0, 100.0, 250))
"""Means from, to, and the largest count whose probability is summed; beyond, moments do."""


class Cells(NamedTuple):
    """Counts of two labels and a third one, wherever both may occur together with the third.

    Args:
        counts: `[cell]`, with zeros.
        one, other, third: The pair (one, third), the pair (other, third) and the third label of
            each cell, as whole numbers `[cell]`.
    """

    counts: np.ndarray
    one: np.ndarray
    other: np.ndarray
    third: np.ndarray

    def sums(self, cells: np.ndarray) -> list[np.ndarray]:
        """Sums over all cells with the same pair, and with the same third, `[pair]`."""
        return [np.bincount(at, cells) for at in (self.one, self.other, self.third)]

    def spread_out(self, cells: np.ndarray) -> list[np.ndarray]:
        """The same sums at each cell, `[cell]`."""
        sums = self.sums(cells)
        return [each[at] for each, at in zip(sums, self[1:], strict=True)]


class LabelSpread(AbstractSpread):
    """The law of the plug-in on the line of laws from conditional independence to the sample.

    All laws of the line have the pairs of the sample. Beyond its ends, the bias is that at the end,
    and the variance grows in proportion to the information.

    Attributes:
        determined: Whether the third label determines one of the two in the sample.

    Args:
        cells: Counts.
    """

    def __init__(self, cells: Cells):
        self.samples = int(cells.counts.sum())
        one, other, third = cells.spread_out(cells.counts)
        independent, seen = one * other / third / self.samples, cells.counts / self.samples
        rows = []
        once = float(np.sum(cells.counts == 1)) / self.samples
        for share in np.linspace(0, 1 - once, STEPS + 1):
            law = (1 - share) * independent + share * seen
            information, variance = _information(cells, law)
            rows.append((information, _mean(cells, law, self.samples) - information, variance))
        self.informations, biases, variances = np.array(rows).T
        # of independent labels the mean is that over all pairings, whatever the pairs' laws are
        excess, self.independent = _paired(cells)
        self.biases = biases + (excess - biases[0]) * np.linspace(1, 0, STEPS + 1)
        self.variances = variances / self.samples
        self.plug_in = _information(cells, seen)[0]
        self.determined = excess < ROUNDING / self.samples
        self.freedom = 0.0 if self.determined else 2 * excess**2 / self.independent

    def bias(self, information: float) -> float:
        return float(np.interp(information, self.informations, self.biases))

    def variance(self, information: float) -> float:
        """Of the plug-in, nats²: that of independent labels, and that of the mean log-ratio."""
        last = self.informations[-1]
        beyond = max(information / last, 1.0) if last > 0 else 1.0
        spread = beyond * np.interp(information, self.informations, self.variances)
        return self.independent + float(spread)

    def information(self) -> float:
        """The information at which the plug-in of the sample is the mean."""

        def missing(information: float) -> float:
            return information + self.bias(information) - self.plug_in

        if missing(0.0) >= 0:
            return self.plug_in - self.bias(0.0)
        last = self.informations[-1]
        return root(missing, 0.0, last) if missing(last) > 0 else self.plug_in - self.bias(last)


def label_information(one: np.ndarray, other: np.ndarray, third: np.ndarray) -> Estimate:
    """Conditional mutual information of labels, nats.

    Args:
        one, other: Two labels, whole numbers `[sample]`.
        third: What is given; one and the same number for nothing.

    Raises:
        DeclarationError: For few samples.
    """
    cells = _cells(one, other, third)
    spread = LabelSpread(cells)
    value = error = low = high = 0.0
    if not spread.determined:
        value = spread.information()
        error, low, high = standard_error_and_bounds(spread, spread.plug_in, value)
    unseen = _entropy_limit(one, other, third)
    if unseen > high:  # no sample says how much a label varies that has not varied
        high, error = unseen, max(error, (unseen - value) / special.ndtri(1 - TAIL))
    return estimate_of_parts(value, error, spread.samples, bounds=(low, high))


def _entropy_limit(one: np.ndarray, other: np.ndarray, third: np.ndarray) -> float:
    """The largest information if a label never varied that the third determines; else -∞.

    None of `n` samples has another label than the third says, so that such have a probability `p`
    of at most `1 - 0.025^{1/n}`, and the entropy is at most `h(p) + p log(labels - 1)` (Fano).
    """
    p = -math.expm1(math.log(TAIL) / len(third))
    limits = []
    for label in (one, other):
        labels = max(len(np.unique(label)), 2)
        pairs = np.unique(np.stack([third, label], 1), axis=0)
        if len(pairs) == len(np.unique(third)):
            entropy = special.entr(p) + special.entr(1 - p)
            limits.append(float(entropy) + p * math.log(labels - 1))
    return min(limits, default=-math.inf)


def _cells(one: np.ndarray, other: np.ndarray, third: np.ndarray) -> Cells:
    """Counts of all combinations that may occur.

    Raises:
        DeclarationError: For fewer samples than combinations, or fewer than 5 for each that occurs.
    """
    pairs, places = [], []
    for label in (one, other):
        kinds, place = np.unique(np.stack([third, label], 1), axis=0, return_inverse=True)
        pairs.append(kinds[:, 0])
        places.append(place.reshape(-1))
    sizes = [np.bincount(each) for each in pairs]
    occupied, counts = np.unique(np.stack(places, 1), axis=0, return_counts=True)
    combinations = int(sizes[0] @ sizes[1])
    if len(one) < max(LEAST * len(occupied), combinations):
        raise DeclarationError(
            "x",
            got=f"{len(one)} samples of {len(occupied)} combinations of labels, of {combinations} "
            "that may occur",
            expected=f"at least {LEAST:g} samples for each combination, and one for each that may "
            "occur",
            mend="take more samples, or labels with fewer values",
        )
    starts = [np.append(0, np.cumsum(size))[:-1] for size in sizes]
    width = sizes[1][pairs[0]]  # other labels that go with each (third, one)
    row = np.repeat(np.arange(len(pairs[0])), width)
    first = np.append(0, np.cumsum(width))[:-1]
    at = np.arange(combinations) - first[row]
    third = pairs[0][row]
    cells = np.zeros(combinations)
    seen = first[occupied[:, 0]] + occupied[:, 1] - starts[1][pairs[0][occupied[:, 0]]]
    cells[seen] = counts
    return Cells(cells, row, starts[1][third] + at, third)


def _information(cells: Cells, law: np.ndarray) -> tuple[float, float]:
    """Mean and variance of the log-ratio, whose mean is the information, nats."""
    one, other, third = cells.spread_out(law)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(law > 0, np.log(law * third / (one * other)), 0.0)
    mean = float(law @ ratio)
    return mean, float(law @ (ratio - mean) ** 2)


def _mean(cells: Cells, law: np.ndarray, samples: int) -> float:
    """The mean plug-in of independent samples of a law, exactly: counts are binomial."""
    one, other, third = cells.sums(law)
    terms = [_of_binomial(samples, each) for each in (law, third, one, other)]
    return (terms[0] + terms[1] - terms[2] - terms[3]) / samples


def _paired(cells: Cells) -> tuple[float, float]:
    """The plug-in over all pairings of one and the other within each third: mean and variance.

    Counts are hypergeometric. The mean is exact, and it is that of independent labels given all
    pairs. The plug-in is a constant and `Σ d/n` with the deviances `d = k log(k/m) - k + m` of the
    counts: of many samples `2d` is `χ²` of one degree of freedom, so that the variance is the mean
    over `n`. Of rare counts it may be larger, by the ratio for single counts.
    """
    one, other, third = cells.spread_out(cells.counts)
    samples, mean = cells.counts.sum(), one * other / third
    left = (third - one) * (third - other)
    variance = mean * left / (third * np.maximum(third - 1, 1))
    skew = (third - 2 * one) * (third - 2 * other) / (third * np.maximum(third - 2, 1))

    def log_mass(k, rows):
        a, b, n = (each[rows, None] for each in (one, other, third))
        inside = (k <= np.minimum(a, b)) & (k >= a + b - n)
        k = np.where(inside, k, np.minimum(a, b))
        logs = _log_choose(a, k) + _log_choose(n - a, b - k) - _log_choose(n, b)
        return np.where(inside, logs, -np.inf)

    total = _mean_k_log_k(mean, variance, variance * skew, log_mass)
    margins = [float(special.xlogy(each, each).sum()) for each in cells.sums(cells.counts)]
    excess = (total + margins[2] - margins[0] - margins[1]) / samples

    def deviance(k, m):
        return special.xlogy(k, k / m) - k + m

    share = variance / mean  # of the other dimensions, in which a count may vary
    means = _expected(mean, log_mass, deviance)
    squares = _expected(mean, log_mass, lambda k, m: deviance(k, m) ** 2)
    large = mean > WINDOWS[-1][1]
    spread = np.where(large, 0.5 * share**2, squares - means**2).sum()
    same = np.where(large, 0.5 * share**2, means * share).sum()
    return excess, excess / samples * (max(spread / same, 1.0) if same else 0.0)


def _of_binomial(samples: int, p: np.ndarray) -> float:
    p = np.minimum(p, 1.0)  # of rounding
    mean = samples * p
    variance = mean * (1 - p)

    def log_mass(k, rows):
        share = p[rows, None]
        rest = special.xlog1py(np.maximum(samples - k, 0), -share)
        return _log_choose(samples, k) + special.xlogy(k, share) + rest

    return _mean_k_log_k(mean, variance, variance * (1 - 2 * p), log_mass)


def _mean_k_log_k(
    mean: np.ndarray, variance: np.ndarray, third: np.ndarray, log_mass: Callable
) -> float:
    """`Σ E k log k` over counts of these laws, of known mean, variance and third cumulant."""
    large = mean > WINDOWS[-1][1]
    m, v, t = mean[large], variance[large], third[large]
    beyond = np.sum(m * np.log(m) + v / (2 * m) - t / (6 * m**2) + v**2 / (4 * m**3))
    return float(beyond + _expected(mean, log_mass, lambda k, m: special.xlogy(k, k)).sum())


def _expected(mean: np.ndarray, log_mass: Callable, fn: Callable) -> np.ndarray:
    """`E fn(k, mean)` over each count with a mean up to 100; 0 beyond."""
    out = np.zeros_like(mean)
    for low, high, most in WINDOWS:
        rows = np.flatnonzero((mean > low) & (mean <= high))
        if len(rows):
            k = np.arange(most + 1.0)
            out[rows] = np.sum(np.exp(log_mass(k, rows)) * fn(k, mean[rows, None]), axis=1)
    return out


def _log_choose(n: np.ndarray | int, k: np.ndarray) -> np.ndarray:
    log = special.gammaln
    return log(n + 1.0) - log(k + 1.0) - log(n - k + 1.0)
