"""Usable information: truths, bounds, the plug-in as its in-sample limit, bijective nets."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from boltzax.channels import gaussian_information, usable_information
from boltzax.channels._usable_information import _labels
from boltzax.core import DeclarationError

KEY = jax.random.key(0)


def entropy(p):
    return -p * np.log(p) - (1 - p) * np.log1p(-p)


def test_bits_by_logistic_regression():
    """`y ~ Bernoulli(σ(2 x))`: the entropy of y less its mean given x; and a bit of noise alone."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 2))
    p = 1 / (1 + np.exp(-2 * x[:, 0]))
    y = np.stack([rng.random(1000) < p, rng.random(1000) < 0.3], axis=1).astype(int)
    found = usable_information(x, y, family="bernoulli", key=KEY)
    z, w = np.polynomial.hermite_e.hermegauss(60)
    truth = np.log(2) - w @ entropy(1 / (1 + np.exp(-2 * z))) / w.sum()
    assert abs(float(found.estimate.z_score(np.array([truth, 0.0]))[0])) < 4
    assert abs(float(found.estimate.value[1])) < 4 * float(found.estimate.standard_error[1]) + 1e-3
    np.testing.assert_allclose(found.baseline, [np.log(2), entropy(0.3)], atol=0.04)
    np.testing.assert_allclose(found.total.value, found.estimate.value.sum(), rtol=1e-9)
    assert "bernoulli, 1000 samples, 5 folds" in repr(found)


def test_two_labels_are_bits():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1000, 2))
    y = x + rng.normal(size=(1000, 2)) > 0
    one, two = (usable_information(x, y, family=f, key=KEY) for f in ("bernoulli", "categorical"))
    np.testing.assert_allclose(one.estimate.value, two.estimate.value, atol=1e-6)


def test_three_labels():
    """Well-separated clusters: all of `log 3`, but for what the penalty leaves."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, (300, 1))
    x = 8 * np.eye(3)[y[:, 0]] + rng.normal(size=(300, 3))
    found = usable_information(x, y, family="categorical", penalty=1e-3, key=KEY)
    assert 0.99 * np.log(3) < float(found.total.value) < 1.02 * np.log(3)


@pytest.mark.parametrize("family", ["gaussian", "bernoulli"])
def test_what_is_learnt_by_heart_is_no_information(family):
    """Forty coordinates of noise and 100 samples: in the sample much would be gained."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(100, 40)), rng.integers(0, 2, (100, 1))
    found = usable_information(x, y, family=family, penalty=0.1, key=KEY)
    assert float(found.total.upper) < 0


def test_labels_by_another_optimiser():
    """The fit of one fold, by scipy: softmax of two labels is logistic with half the penalty."""
    rng, penalty = np.random.default_rng(7), 3.0
    x, fold = rng.normal(size=(60, 2)), np.arange(60) % 2
    labels = (x[:, :1] + rng.normal(size=(60, 1)) > 0).astype(int)
    gain, base = _labels(x, labels, fold, 2, penalty)
    train, y = fold == 0, 2 * labels[:, 0] - 1
    counts = np.bincount(labels[train, 0]) + 0.5
    offset, rows = np.log(counts[1] / counts[0]), np.c_[x, np.ones(60)]

    def loss(w):
        losses = np.logaddexp(0, -y * (offset + rows @ w))
        return losses[train].sum() + 0.25 * penalty * w @ w

    w = optimize.minimize(loss, np.zeros(3), tol=1e-10).x
    exact = -np.logaddexp(0, -y * (offset + rows @ w))
    np.testing.assert_allclose((gain + base)[fold == 1, 0], exact[fold == 1], atol=2e-3)


def test_gaussian_outputs():
    """`½ log(1 + s²)`, less the loss of a fit of d weights, about `d/(2n)`."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4000, 3))
    y = np.stack([x[:, 0] + 0.5 * rng.normal(size=4000), rng.normal(size=4000)], axis=1)
    found = usable_information(x, y, key=KEY)
    assert np.all(np.abs(found.estimate.z_score(np.array([0.5 * np.log(5), 0.0]))) < 4)
    plug_in = gaussian_information(x, y).plug_in
    assert abs(float(found.total.value) - float(plug_in)) < 0.01


def test_the_interval_covers():
    """Of the usable information of fits to so many samples, from many other data."""
    rng, values = np.random.default_rng(4), []
    for _ in range(100):
        x = rng.normal(size=(100, 2))
        found = usable_information(x, 0.7 * x[:, :1] + rng.normal(size=(100, 1)), key=KEY)
        values.append([float(found.total.value), *map(float, found.total.interval())])
    mean, low, high = np.array(values).T
    inside = np.mean((low < mean.mean()) & (mean.mean() < high))
    assert inside > 0.86


@given(st.integers(0, 2**32 - 1))
def test_processing_and_scaling(seed):
    """Coordinates that are left out can only lose, beyond the error; scales change nothing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(300, 3))
    y = x @ rng.normal(size=(3, 2)) + rng.normal(size=(300, 2))
    full, part = (usable_information(each, y, key=KEY).total for each in (x, x[:, :1]))
    assert float((part - full).lower) < 0.05
    scaled = usable_information(x * [1e-3, 1.0, 1e3] + 5, y, key=KEY).total
    np.testing.assert_allclose(scaled.value, full.value, rtol=1e-6)


def test_a_bijective_map_hides_what_it_keeps():
    """The parity of two bits is all there, and no affine predictor reads it."""
    bits = np.random.default_rng(5).integers(0, 2, (1000, 2))
    parity = np.stack([bits[:, 0] ^ bits[:, 1], bits[:, 1]], axis=1)  # from which both bits follow
    before = usable_information(bits, bits, family="bernoulli", penalty=0.01, key=KEY).estimate
    after = usable_information(parity, bits, family="bernoulli", penalty=0.01, key=KEY).estimate
    assert float(before.value[0]) > 0.95 * np.log(2)
    assert abs(float(after.value[0])) < 0.02


@pytest.mark.parametrize(
    "y, family, words",
    [(np.full((20, 1), 0.5), "bernoulli", "0 and 1"), (np.full((20, 1), 2), "bernoulli", "0 and 1"),
     (np.full((20, 1), -1), "categorical", "labels"), (np.full((20, 1), np.nan), "gaussian", "fin"),
     (np.full((20, 1), 3.0), "gaussian", "1 constant"),
     (np.zeros((19, 1)), "gaussian", "row by row")],
)  # fmt: skip
def test_refused(y, family, words):
    with pytest.raises(DeclarationError, match=words):
        usable_information(np.ones((20, 2)), y, family=family, key=KEY)


@pytest.mark.parametrize("kinds", [(0, 50, 100), (7, 150), (1, 1)])
def test_labels_that_do_not_depend_on_x_give_nothing(kinds):
    """Of 12 runs, 4 or more with an interval above 0 have a probability below 1e-3 (2.5% each)."""
    above = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(160, 2)), rng.choice(kinds, size=(160, 1))
        found = usable_information(x, y, family="categorical", key=jax.random.key(seed))
        above += float(found.total.interval()[0]) > 0
    assert above < 4
