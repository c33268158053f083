"""Information of labels: exact means, coverage at nine laws."""

import itertools

import numpy as np
import pytest
from scipy import special

from boltzax.channels._label_information import (
    LabelSpread,
    _cells,
    _mean,
    _of_binomial,
    _paired,
    label_information,
)


def flipped_twice(flip, labels=2):
    """The law `[x, y, latent]` of a label seen twice, another one with probability `flip`."""
    seen = np.full((labels, labels), flip / (labels - 1))
    np.fill_diagonal(seen, 1 - flip)
    return np.einsum("xz,yz->xyz", seen, seen) / labels


def exact_information(law):
    def total(p):
        return float(np.sum(special.entr(p)))

    return total(law.sum(1)) + total(law.sum(0)) - total(law.sum((0, 1))) - total(law)


def intervals(law, samples, repeats, seed=0):
    """Value, error and ends for data of a law of three labels, `[quantity, data]`."""
    counts = np.random.default_rng(seed).multinomial(samples, law.ravel(), size=repeats)
    found = []
    for each in counts:
        labels = np.unravel_index(np.repeat(np.arange(law.size), each), law.shape)
        info = label_information(*labels)
        found.append([float(v) for v in (info.value, info.standard_error, *info.interval())])
    return np.array(found).T


RANDOM = np.random.default_rng(0).dirichlet(np.ones(18)).reshape(3, 3, 2)
TWICE, RARE = flipped_twice(0.1), flipped_twice(0.02)
LAWS = {
    "bits": (TWICE, 1000), "few bits": (TWICE, 50), "rare flips": (RARE, 1000),
    "few rare flips": (RARE, 60), "nine labels": (np.full((3, 3, 3), 1 / 27), 300),
    "four labels": (flipped_twice(0.1, 4), 400), "dependent": (RANDOM, 200),
    "the latent, of bits": (TWICE.transpose(0, 2, 1), 200),
    "the latent, of rare flips": (RARE.transpose(0, 2, 1), 60),
}  # fmt: skip


def check_coverage(name, repeats):
    law, samples = LAWS[name]
    truth = exact_information(law)
    value, error, low, high = intervals(law, samples, repeats)
    inside = np.mean((low <= truth + 1e-12) & (truth <= high))
    assert inside > 0.91 - 4 * (0.09 * 0.91 / repeats) ** 0.5
    # within a half of the standard deviation
    assert abs(np.mean(value) - truth) < (0.5 + 4 / repeats**0.5) * np.std(value)
    assert np.mean(error) > (0.75 - 2 / repeats**0.5) * np.std(value)


@pytest.mark.parametrize("name", ["bits", "few rare flips", "the latent, of rare flips"])
def test_intervals_cover(name):
    check_coverage(name, 60)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_intervals_cover_at_many_laws(name):
    check_coverage(name, 1000)


def counted(x, y, third):
    """Counts of every combination, of nine times as many samples as are taken."""
    cells = _cells(*(np.tile(each, 9) for each in (x, y, third)))
    return cells._replace(counts=cells.counts / 9)


def plug_in(x, y, third):
    law = np.zeros((3, 3, 2))
    np.add.at(law, (x, y, third), 1 / len(x))
    return exact_information(law)


def test_the_mean_over_all_pairings():
    """By all 720 orders of six samples, and two groups of three."""
    x, y = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 0, 0])
    third = np.array([0, 0, 0, 1, 1, 1])
    for groups in (np.zeros(6, int), third):
        cells = counted(x, y, groups)
        orders = [list(p) for p in itertools.permutations(range(6))]
        orders = [p for p in orders if np.array_equal(groups[p], groups)]
        each = [plug_in(x, y[p], groups) for p in orders]
        np.testing.assert_allclose(_paired(cells)[0], np.mean(each), rtol=1e-12)


def test_the_mean_over_all_counts():
    """Of four samples of a law of two bits given a third, by all 70 kinds of counts."""
    law = np.random.default_rng(1).dirichlet(np.ones(4))
    bits = np.array(list(itertools.product((0, 1), (0, 1), (0,))))
    cells = counted(*np.repeat(bits, 2, axis=0).T)
    mean = 0.0
    for counts in itertools.product(range(5), repeat=4):
        if sum(counts) == 4:
            logs = special.gammaln(5) - special.gammaln(np.add(counts, 1)).sum()
            probability = np.exp(logs + special.xlogy(counts, law).sum())
            mean += probability * plug_in(*np.repeat(bits, counts, axis=0).T)
    np.testing.assert_allclose(_mean(cells, law, 4), mean, rtol=1e-12)


def test_large_counts_by_moments():
    """Means just above 100 against the sum over all counts."""
    samples, p = 5000, np.array([0.0201, 0.03])
    k = np.arange(samples + 1.0)
    logs = special.gammaln(samples + 1) - special.gammaln(k + 1) - special.gammaln(samples - k + 1)
    masses = np.exp(logs + k * np.log(p[:, None]) + (samples - k) * np.log1p(-p[:, None]))
    exact = np.sum(masses @ special.xlogy(k, k))
    assert abs(_of_binomial(samples, p) - exact) < 1e-4


def test_the_line_of_laws():
    """At its ends all pairings, and samples of the frequencies; beyond, the variance grows."""
    rng = np.random.default_rng(2)
    x, z, new = rng.integers(0, 2, (3, 400))
    y = np.where(rng.random(400) < 0.4, x, new)
    cells = _cells(x, y, z)
    spread, law = LabelSpread(cells), cells.counts / 400
    last = plug_in(x, y, z)
    np.testing.assert_allclose(spread.informations[[0, -1]], [0, last], atol=1e-12)
    np.testing.assert_allclose(spread.bias(0.0), _paired(cells)[0], rtol=1e-6)
    np.testing.assert_allclose(spread.bias(last), _mean(cells, law, 400) - last, rtol=1e-9)
    counts = [np.bincount(c) for c in (4 * x + 2 * y + z, 2 * x + z, 2 * y + z, z)]
    at = [n[c] for n, c in zip(counts, (4 * x + 2 * y + z, 2 * x + z, 2 * y + z, z), strict=True)]
    ratio = np.log(at[0] * at[3] / (at[1] * at[2]))
    free = [spread.variance(share * last) - spread.independent for share in (1, 3)]
    np.testing.assert_allclose(free, np.array([1, 3]) * np.var(ratio) / 400, rtol=1e-9)


def test_what_was_seen_once_leaves_the_line_short():
    """The share of cells seen once is that of the law not seen (Good 1953)."""
    x, y, z = np.repeat([[0, 0, 1, 1, 1], [0, 1, 0, 1, 1], [0] * 5], [9, 1, 8, 12, 9], axis=1)
    cells = _cells(x, y, z)
    one, other = (np.bincount(each) / 39 for each in (x, y))
    law = cells.counts / 39 * (1 - 1 / 39) + np.outer(one, other).ravel() / 39
    exact = law @ np.log(law / np.outer(one, other).ravel())
    np.testing.assert_allclose(LabelSpread(cells).informations[-1], exact, rtol=1e-9)


@pytest.mark.parametrize("rare, n, tolerance", [(4, 300, 0.25), (150, 300, 0.01), (300, 600, 0.01)])
def test_the_spread_over_all_pairings(rare, n, tolerance):
    """Two labels of `n` samples, each `rare` times the other one: by the four counts."""
    x = (np.arange(n) < rare).astype(int)
    k = np.arange(rare + 1.0)
    log = special.gammaln
    ways = -log(k + 1) - 2 * log(rare - k + 1) - log(n - 2 * rare + k + 1)
    mass = np.exp(ways - ways.max()) / np.exp(ways - ways.max()).sum()
    counts = np.array([k, rare - k, rare - k, n - 2 * rare + k])
    values = special.xlogy(counts, counts).sum(axis=0) / n
    variance = mass @ values**2 - (mass @ values) ** 2
    found = _paired(_cells(x, x, np.zeros(n, int)))[1]
    np.testing.assert_allclose(found, variance, rtol=tolerance)


def test_many_independent_labels_have_chi_square():
    """Of 3 by 3 labels, each pair 30 or 200 times: of `(3 - 1)²` degrees of freedom."""
    x, y = np.repeat(np.array(list(itertools.product(range(3), repeat=2))), 200, axis=0).T
    for step, rough in ((1, 0.01), (7, 0.05)):
        cells = _cells(x[::step], y[::step], 0 * x[::step])
        assert LabelSpread(cells).freedom == pytest.approx(4, rel=rough)


def test_beyond_the_line_the_bias_is_that_at_its_end():
    """Two labels that differ twice in 42 samples, once each way."""
    x, y = np.repeat([[0, 0, 1, 1], [0, 1, 0, 1]], [20, 1, 1, 20], axis=1)
    spread = LabelSpread(_cells(x, y, 0 * x))
    seen, share = np.array([20, 1, 1, 20]) / 42, 2 / 42
    law = (1 - share) * seen + share / 4
    last = law @ np.log(4 * law)
    mean = _mean(_cells(x, y, 0 * x), law, 42)
    own = seen @ np.log(4 * seen)
    assert mean < own
    assert spread.information() == pytest.approx(own - (mean - last), rel=1e-9)


def test_the_error_of_a_label_that_never_varied():
    """`p = 1 - 0.025^{1/50}` of another one: the entropy is the upper end, and 1.96 errors."""
    never, other = np.zeros(50, int), np.arange(50) % 2
    found = label_information(never, other, never)
    p = 1 - 0.025 ** (1 / 50)
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    assert float(found.value) == 0 and float(found.upper) == pytest.approx(entropy)
    assert float(found.standard_error) == pytest.approx(entropy / 1.959964, rel=1e-6)
