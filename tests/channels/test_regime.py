"""Regimes of planted covariances: right with enough data, undecided rather than wrong with few."""

from collections import Counter

import numpy as np
import pytest

from boltzax import channels as ch
from boltzax.channels._factor_models import _affinity, fitted, log_likelihoods
from boltzax.core import DeclarationError

KINDS = ("scarce channels", "mixed", "scarce modules")


def planted(rng, kind, samples=None, sizes=(16, 41)):
    """Samples of a random system of a kind, in random order of coordinates, and its modules.

    What is not shared has a standard deviation of 0.001 to 1.
    """
    noise, size = 10 ** rng.uniform(-3, 0), int(rng.integers(*sizes))
    few, samples = max(1, size // 8), samples or int(rng.integers(15 * size, 40 * size))
    order, labels = rng.permutation(size), np.arange(size)
    if kind == "scarce modules":
        sources = int(rng.integers(size // 2, size + 1))
        x = rng.normal(size=(samples, sources)) @ rng.normal(size=(sources, size)) / sources**0.5
        x = x + (0.5 * noise if sources == size else 0.5) * rng.normal(size=x.shape)
        return x[:, order], labels
    channels = int(rng.integers(kind == "scarce channels", few + 1))
    loadings = rng.uniform(0.5, 1.2) * rng.normal(size=(channels, size)) / max(channels, 1) ** 0.5
    x = rng.normal(size=(samples, channels)) @ loadings
    if kind == "scarce channels":
        x = x + noise * rng.normal(size=x.shape) * rng.uniform(0.5, 1.5, size=size)
        return x[:, order], labels
    labels = np.arange(size) % int(rng.integers(2, 5))
    for module in np.unique(labels):
        inside = labels == module
        count = inside.sum()
        mixing = rng.normal(size=(count, count)) / count**0.5
        x[:, inside] += noise * rng.normal(size=(samples, count)) @ mixing
    return (x + 0.3 * noise * rng.normal(size=x.shape))[:, order], labels[order]


def counted(rng, cases, samples=None, sizes=(16, 41)):
    found = Counter()
    for number in range(cases):
        kind = KINDS[number % 3]
        verdict = ch.classify_regime(planted(rng, kind, samples, sizes)[0]).verdict
        found[verdict if verdict == "undecided" else verdict == kind] += 1
    return found


def test_planted_regimes_are_found():
    found = counted(np.random.default_rng(0), 3, sizes=(16, 18))
    assert found[True] == 3


@pytest.mark.slow
def test_at_least_95_of_100_planted_regimes_are_found():
    found = counted(np.random.default_rng(1), 100)
    assert found[True] >= 95


@pytest.mark.slow
def test_few_samples_leave_it_undecided_rather_than_wrong():
    found = counted(np.random.default_rng(2), 60, 24)
    assert found[False] <= 3


def test_what_was_planted_is_told():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(900, 2)) @ rng.normal(size=(2, 16)) + rng.normal(size=(900, 16))
    found = ch.classify_regime(x)
    assert (found.verdict, found.channels, found.modules) == ("scarce channels", 2, 16)
    assert "Regime: scarce channels (16 coordinates, 900 samples)" in repr(found)
    assert np.asarray(found.gains.value).max() == 0.0
    x, labels = planted(rng, "mixed", 900, (16, 17))
    found = ch.classify_regime(x)
    same = (found.labels[:, None] == found.labels) == (labels[:, None] == labels)
    assert found.verdict == "mixed" and np.mean(same) > 0.9


def test_the_verdict_does_not_depend_on_units_or_order():
    rng = np.random.default_rng(4)
    x, _ = planted(rng, "scarce channels", 300, (12, 13))
    one = ch.classify_regime(x)
    two = ch.classify_regime(x * rng.uniform(0.1, 10.0, size=12) + 5.0)
    assert (one.verdict, one.channels) == (two.verdict, two.channels)
    assert np.allclose(one.gains.value, two.gains.value, atol=1e-4)
    two = ch.classify_regime(x[:, rng.permutation(12)])
    assert (one.verdict, one.channels) == (two.verdict, two.channels)


def test_factors_and_blocks_of_a_known_covariance_are_recovered():
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(4), 5)
    loadings = rng.normal(size=(20, 1))
    blocks = np.zeros((20, 20))
    for module in range(4):
        inside = np.ix_(labels == module, labels == module)
        root = rng.normal(size=(5, 5))
        blocks[inside] = root @ root.T + np.eye(5)
    exact = loadings @ loadings.T + blocks
    model = fitted(exact, 1, labels, 400)
    assert np.allclose(model.covariance, exact, atol=1e-3)
    assert np.all(model.residual[labels[:, None] != labels] == 0)
    x = rng.normal(size=(3, 20))
    logs = -0.5 * np.sum(x @ np.linalg.inv(exact) * x, axis=1) - 0.5 * np.linalg.slogdet(exact)[1]
    assert np.allclose(log_likelihoods(model, x), logs, rtol=1e-3)


@pytest.mark.parametrize("noise", [1e-3, 0.03])
def test_one_clean_channel_is_one_channel(noise):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(300, 1)) @ rng.normal(size=(1, 12)) + noise * rng.normal(size=(300, 12))
    found = ch.classify_regime(x)
    assert (found.verdict, found.channels, found.modules) == ("scarce channels", 1, 12)
    with pytest.raises(DeclarationError, match="a quarter"):
        ch.classify_regime(x, few=4)


@pytest.mark.parametrize("shape", [(10, 8), (100, 3)])
def test_too_small_data_are_refused(shape):
    with pytest.raises(DeclarationError):
        ch.classify_regime(np.random.default_rng(6).normal(size=shape))


@pytest.mark.parametrize("seed", [1003, 1007])
def test_signals_as_strong_as_the_modules_they_join_do_not_hide_them(seed):
    """From most starts the search ends at other modules, which do not predict new samples."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(600, 2)) @ rng.normal(size=(2, 16))
    blocks = [rng.normal(size=(600, 8)) @ rng.normal(size=(8, 8)) / 8**0.5 for _ in range(2)]
    noise = 0.3 * rng.normal(size=(600, 16))
    found = ch.classify_regime(0.7 * shared + np.hstack(blocks) + noise)
    assert found.verdict == "mixed"


def test_affinity_is_the_mean_square_correlation_with_the_others_of_a_module():
    """Of what is left without factors: that of the sample itself; 0 with a module of none else."""
    rng = np.random.default_rng(4)
    sample = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))
    labels = np.array([0, 0, 1, 1, 1, 2])
    squares = np.corrcoef(sample.T) ** 2
    wanted = np.zeros((6, 3))
    for i in range(6):
        for module in range(3):
            others = [j for j in range(6) if labels[j] == module and j != i]
            wanted[i, module] = np.mean(squares[i, others]) if others else 0.0
    found = _affinity(np.cov(sample.T), 0, labels)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
