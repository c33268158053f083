"""Interactions between data: against a Gaussian process on a lattice, whose decay is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax import channels as ch
from boltzax.cases import exponential_process
from boltzax.channels._data_interactions import _decay, _groups, _of_pieces
from boltzax.theory import screening_exponent

KEY = jax.random.key(0)
GAP, NOISE = 0.25, 0.5


def prediction(model, datum):
    return model(datum[0])


def distance(a, b):
    return jnp.abs(a[0][0] - b[0][0])


@pytest.fixture(scope="module")
def lattice():
    x = GAP * np.arange(24)
    return exponential_process(x, np.sin(2 * x), length=1.0, noise_variance=NOISE)


@pytest.fixture(scope="module")
def trace(lattice):
    return bx.sample(lattice.gibbs(np.zeros(0))[0], key=KEY, chains=4, draws=1000)


def test_predictions_of_a_gaussian_process(lattice, trace):
    energy = lattice.gibbs(np.zeros(0))[1]
    found = ch.data_interactions(trace, energy, value=prediction, distance=distance)
    exact = lattice.response(lattice.x)
    assert np.max(np.abs(np.asarray(found.matrix.z_score(exact)))) < 5
    np.testing.assert_allclose(found.distances, np.abs(lattice.x[:, None] - lattice.x), atol=1e-12)
    # modes: of the matrix, and with their own variances
    strengths = np.einsum("ki,ij,kj->k", found.modes, np.asarray(found.matrix.value), found.modes)
    np.testing.assert_allclose(found.spectrum.value, strengths, rtol=1e-8)
    here = np.einsum("ki,ij,kj->k", found.modes, exact, found.modes)
    assert np.max(np.abs((strengths - here) / np.asarray(found.spectrum.standard_error))) < 6
    assert np.all(found.participation >= 1) and np.all(found.participation <= 24)
    assert 1 < found.effective_modes < 24
    # the decay, against that of the exact matrix in the same bins, and of an endless lattice
    true = _decay(np.stack([exact, exact]), found.distances, 8)
    assert np.max(np.abs(np.asarray((found.decay - true).value))[:4] / true.value[:4]) < 0.3
    rate = screening_exponent(1 / GAP, 1.0, NOISE, "lattice")
    assert abs(float(found.rate.value) - rate) < 4 * float(found.rate.standard_error) < 0.4 * rate
    assert float(found.range.value) == pytest.approx(1 / float(found.rate.value))
    assert "modes" in repr(found)


@pytest.mark.slow
def test_losses_are_the_influence(lattice, trace):
    energy = lattice.gibbs(np.zeros(0))[1]
    found = ch.data_interactions(trace, energy, distance=distance)
    influence = bx.influence(trace, energy)
    np.testing.assert_allclose(found.matrix.value, -influence.value, rtol=1e-9, atol=1e-12)
    # of Gaussian variables, (f_i - y_i)²/(2 s²) and (f_j - y_j)²/(2 s²)
    c, apart = lattice.response(lattice.x), (lattice.mean(lattice.x) - lattice.y)
    exact = 0.5 * c**2 + np.outer(apart, apart) * c / NOISE
    assert np.max(np.abs(np.asarray(found.matrix.z_score(exact)))) < 6


def test_decay_of_known_correlations():
    x = np.linspace(0, 3, 30)
    apart = np.abs(x[:, None] - x)
    matrix = np.outer(1 + x, 1 + x) * np.exp(-2 * apart)
    curve = _decay(np.stack([matrix, matrix]), apart, 10)
    near = np.argmin(np.abs(np.log(curve.value) + 4 * curve.x))
    assert abs(np.log(curve.value[near]) + 4 * curve.x[near]) < 0.1
    held = bx.Estimate.exact(matrix)
    found = ch.DataInteractions(held, apart, np.eye(30), held[0], curve)
    assert float(found.rate.value) == pytest.approx(2, rel=1e-6)


def test_near_bins_have_fewer_pairs():
    """As the squares of their places, and three at least; every pair is in one."""
    apart = np.random.default_rng(1).permutation(160).astype(float)
    groups = _groups(apart, 4)
    assert [len(group) for group in groups] == [10, 30, 50, 70]
    np.testing.assert_array_equal(apart[np.concatenate(groups)], np.arange(160))
    assert [len(group) for group in _groups(apart[:14], 4)] == [3, 3, 3, 5]


def test_noise_adds_nothing_to_squares_and_rates_are_covered():
    x, rng = np.linspace(0, 3, 20), np.random.default_rng(0)
    apart = np.abs(x[:, None] - x)
    root = np.linalg.cholesky(np.exp(-2 * apart))
    exact = np.asarray(_decay(np.stack(2 * [root @ root.T]), apart, 8).value)
    values, inside = [], []
    for _ in range(40):
        curve = _decay(_of_pieces(rng.normal(size=(4, 200, 20)) @ root.T), apart, 8)
        values.append(np.asarray(curve.value))
        held = bx.Estimate.exact(np.eye(20))
        low, high = ch.DataInteractions(held, apart, np.eye(20), held[0], curve).rate.interval()
        inside.append(float(low) < 2 < float(high))
    mean = bx.Estimate.of_samples(np.array(values))
    # correlations are divided by variances of the same draws: 4 of 1,000 draws
    assert np.all(np.abs(mean.value - exact) < 4 * mean.standard_error + 4e-3 * exact)
    assert exact[-1] < 1 / 800 and np.mean(inside) > 0.8  # the square of the noise of a pair


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"bins": 100}, "bins"),
        ({"bins": 2}, "bins"),
        ({"value": lambda model, datum: datum[0]}, "value"),
    ],
)
def test_wrong_arguments(lattice, trace, changes, argument):
    with pytest.raises(bx.DeclarationError) as caught:
        ch.data_interactions(trace, lattice.gibbs(np.zeros(0))[1], **changes)
    assert caught.value.argument == argument
