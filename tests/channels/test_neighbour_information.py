"""Nearest neighbours: Gaussian and other truths, errors, refusals."""

import jax
import numpy as np
import pytest
from scipy.special import psi

from boltzax.channels import neighbour_information
from boltzax.channels._neighbour_information import _kraskov
from boltzax.core import DeclarationError

KEY = jax.random.key(0)


def test_the_formula_by_all_distances():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(40, 1)), rng.normal(size=(40, 2))
    apart = [np.abs(each[:, None] - each).max(axis=-1) for each in (x, y)]
    reach = np.sort(np.maximum(*apart), axis=1)[:, 3:4]  # the first is the sample itself
    nearer = [np.sum(each < reach, axis=1) - 1 for each in apart]
    exact = psi(3) + psi(40) - np.mean(sum(psi(each + 1) for each in nearer))
    np.testing.assert_allclose(_kraskov(x, y, 3), exact, rtol=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_gaussian_truths(rho):
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 2000, 1))
    found = neighbour_information(x, rho * x + (1 - rho**2) ** 0.5 * z, key=KEY)
    assert abs(float(found.estimate.z_score(-0.5 * np.log1p(-(rho**2))))) < 4


def test_a_circle_has_information_without_correlation():
    """`x = cos u + noise`, `y = sin u + noise`: uncorrelated, and dependent."""
    rng = np.random.default_rng(1)
    u = 2 * np.pi * rng.random((3000, 1))
    x, y = np.cos(u) + 0.1 * rng.normal(size=u.shape), np.sin(u) + 0.1 * rng.normal(size=u.shape)
    found = neighbour_information(x, y, key=KEY)
    assert float(found.estimate.lower) > 0.5
    assert "3000 samples, neighbour 3" in repr(found)


def test_monotone_maps_change_little():
    rng = np.random.default_rng(2)
    x, z = rng.normal(size=(2, 2000, 1))
    y = x + z
    one, two = (neighbour_information(x, f(y), key=KEY).estimate for f in (np.array, np.arcsinh))
    assert abs(float(one.value - two.value)) < 0.02


@pytest.mark.parametrize("setting", [(400, 0.6, 1, 30), (200, 0.9, 3, 15), (200, 0.95, 2, 30)])
def test_the_interval_covers(setting):
    """Also where neighbours are far apart, so that the bias is larger than the spread."""
    (samples, rho, size, repeats), rng, inside = setting, np.random.default_rng(3), 0
    for _ in range(repeats):
        x, z = rng.normal(size=(2, samples, size))
        y = rho * x + (1 - rho**2) ** 0.5 * z
        found = neighbour_information(x, y, key=KEY, blocks=5).estimate
        truth = -0.5 * size * np.log1p(-(rho**2))
        inside += float(found.lower) < truth < float(found.upper)
    assert inside >= repeats - 5  # of a binomial law of 5%, with probability 0.997


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(400, 3)), RNG.normal(size=(400, 3))


@pytest.mark.parametrize(
    "x, y, words",
    [(X, np.c_[Y, Y**2], "at most 6"), (X[:150], Y[:150], "in each"),
     (np.repeat(X[:40], 10, axis=0), np.repeat(Y[:40], 10, axis=0), "repeated"),
     (X, 2 * X, "linear functions of x")],
)  # fmt: skip
def test_refused(x, y, words):
    with pytest.raises(DeclarationError, match=words):
        neighbour_information(x, y, key=KEY)


def on_a_grid(step, samples=400, shift=0.0):
    x, z = np.random.default_rng(3).normal(size=(2, samples, 1))
    return [np.rint(side / step) * step + shift for side in (x, 0.8 * x + 0.6 * z)]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shift", [0.0, 7.0])
def test_numbers_on_a_coarse_grid_are_refused(kind, shift):
    """Ties do not count as nearer, which gave .74 of .51 nats."""
    with pytest.raises(DeclarationError, match="equal so often"):
        neighbour_information(*(each.astype(kind) for each in on_a_grid(0.1, 200, shift)), key=KEY)


def test_a_fine_grid_widens_the_error():
    exact, grid = (neighbour_information(*on_a_grid(s), key=KEY).estimate for s in (1e-9, 0.01))
    bias = float(grid.value - exact.value)
    assert 0 < bias < float(exact.standard_error) < float(grid.standard_error)
    noise = np.random.default_rng(6).uniform(-0.05, 0.05, (2, 400, 1))  # independent of the sides
    mended = neighbour_information(*np.add(on_a_grid(0.1), noise), key=KEY).estimate
    assert abs(float(mended.z_score(-0.5 * np.log(0.36)))) < 3
