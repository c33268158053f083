"""From models, places and data to matrices."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.channels import gaussian_information, leading_components, read_taps
from boltzax.core import DeclarationError

KEY = jax.random.key(0)


class Net(eqx.Module):
    first: bx.models.MLP
    last: bx.models.MLP

    def __init__(self):
        self.first, self.last = (bx.models.MLP((3, 3), key=jax.random.key(i)) for i in (1, 2))

    def __call__(self, x):
        return self.last(jnp.tanh(self.first(x)))


def test_values_are_those_of_each_datum():
    net, x = Net(), np.random.default_rng(0).normal(size=(20, 3))
    found = read_taps(net, x, "first", "last")
    np.testing.assert_allclose(found["first"], jax.vmap(net.first)(x), rtol=1e-12)
    np.testing.assert_allclose(found["last"], jax.vmap(net)(x), rtol=1e-12)
    small = read_taps(net, x, "first", "last", memory=1)
    np.testing.assert_allclose(small["last"], found["last"], rtol=1e-12)


def test_an_ensemble_gives_one_row_a_model():
    x = np.random.default_rng(0).normal(size=(20, 3))
    energy = bx.SquaredError(Net(), bx.Empirical((x, x)))
    draws = bx.Ensemble.prior(bx.compile(energy, bx.Normal(), marginalise=False), 5, key=KEY)
    found = read_taps(draws, x, "first")["first"]
    assert found.shape == (5, 20, 3)
    each = draws.map(lambda net: jax.vmap(net.first)(jnp.asarray(x)))
    np.testing.assert_allclose(found, each, rtol=1e-12)


def test_refused_data():
    with pytest.raises(DeclarationError, match="as many data"):
        read_taps(Net(), (np.ones((3, 3)), np.ones(2)), "first")


def test_components_keep_the_information():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 3)), rng.normal(size=(100, 2))
    y[:, 0] += x[:, 0]
    full = np.c_[x, x @ rng.normal(size=(3, 4)), np.ones(100)]  # 8 coordinates of rank 3
    parts = leading_components(full)
    assert parts.shape == (100, 3)
    plain, other = gaussian_information(x, y), gaussian_information(parts, y)
    np.testing.assert_allclose(other.estimate.value, plain.estimate.value, rtol=1e-9)
    assert leading_components(full, 2).shape == (100, 2)
    with pytest.raises(DeclarationError, match="at most 3"):
        leading_components(full, 4)
    with pytest.raises(DeclarationError, match="finite"):
        leading_components(np.ones((5, 2)))
    with pytest.raises(DeclarationError, match="no samples"):
        leading_components(np.zeros((0, 3)))


def test_components_of_independent_sides_keep_the_null_law():
    """Chosen from the same samples, but without the other side."""
    rng, p = np.random.default_rng(0), []
    scales = np.geomspace(1, 0.1, 12)
    for _ in range(100):
        x, y = (leading_components(rng.normal(size=(30, 12)) * scales, 4) for _ in range(2))
        p.append(float(gaussian_information(x, y).p_value))
    assert abs(np.mean(np.array(p) < 0.5) - 0.5) < 4 * 0.5 / 10
