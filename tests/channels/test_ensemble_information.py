"""Information with the weights unknown, in closed form for one random gain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import boltzax as bx
from boltzax.channels import ensemble_information
from boltzax.core import DeclarationError

KEY = jax.random.key(0)


def gain(w, x):
    return w * x


def params(model):
    return model.params


def read_x(model, x):
    return x


def read_y(model, x):
    return model(x)


def drawn(prior, count):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    model = bx.models.Function(gain, np.ones(2))
    energy = bx.SquaredError(model, bx.Empirical((x, x)))
    gibbs = bx.compile(energy, prior, marginalise=False)
    return bx.Ensemble.prior(gibbs, count, key=KEY), x


def test_a_random_sign_hides_what_the_weights_would_tell():
    """`y = w x + s z`: of gain N(0, 1), x and y are uncorrelated; given w they are not."""
    ensemble, x = drawn(bx.Normal(0.0, 1.0), 400)
    found = ensemble_information(ensemble, read_x, read_y, x, floor=0.5, models=8, key=KEY)
    # a random sign: uncorrelated, but of heavy tails
    assert abs(float(found.marginal.estimate.value)) < 0.05
    assert float(found.given.lower) > 0.1
    assert "weights unknown" in repr(found)


@pytest.mark.parametrize("spread", [1e-6, 0.3])
def test_random_gains_in_closed_form(spread):
    """Gains `w ~ N(1, spread²)` of two coordinates: `Cov(x, y) = 1`, `Var y = 1 + spread²`."""
    ensemble, x = drawn(bx.Normal(1.0, spread), 400)
    found = ensemble_information(ensemble, read_x, read_y, x, floor=0.5, models=8, key=KEY)
    variance, noise = 1 + spread**2, 0.25
    rho = 1 / (variance * (1 + noise) ** 2)
    truth = -np.log1p(-rho)
    assert abs(float(found.marginal.estimate.z_score(truth))) < 4
    w = np.asarray(ensemble[:8].map(params)) ** 2
    each = -0.5 * np.log1p(-w / ((w + noise * variance) * (1 + noise))).sum(axis=1)
    assert np.all(np.abs(found.each.z_score(each)) < 4)
    assert abs(float(found.given.value) - each.mean()) < 3 * float(found.each.standard_error[0])
    # all nets read the same data, whose choice is in the error
    assert float(found.given.standard_error) > float(np.min(found.each.standard_error))


def test_refused():
    ensemble, x = drawn(bx.Normal(0.0, 1.0), 4)
    with pytest.raises(DeclarationError, match="4 samples of 2"):
        ensemble_information(ensemble, read_x, read_y, x, floor=0.5, key=KEY)
    others = bx.Ensemble.of(ensemble.gibbs, ensemble.w, axes=("checkpoint",))
    with pytest.raises(DeclarationError, match='axis "sample"'):
        ensemble_information(others, read_x, read_y, x, key=KEY)


def sums(weights, x):
    def layer(x, w):
        h = w @ x / x.size**0.5
        return jnp.where(h > 0, 1.0, -1.0), h[0]

    return jax.lax.scan(layer, x, weights)[1]


def reader(which, layer):
    return lambda model, z: model(z[which])[layer]


def exact_information(width, flipped, depth):
    """The overlap of two inputs of a net of signs is a Markov chain, at any width."""
    agree = np.arange(width + 1)
    overlap = 2 * agree / width - 1
    p = 0.5 + np.arcsin(overlap)[:, None] / np.pi
    step = special.binom(width, agree) * p**agree * (1 - p) ** (width - agree)
    law, found = np.eye(width + 1)[width - flipped], []
    for _ in range(depth):
        found.append(-0.5 * np.log1p(-((law @ overlap) ** 2)))
        law = law @ step
    return np.array(found)


def test_information_with_the_weights_unknown_falls_with_depth():
    rng, samples, width, flipped = np.random.default_rng(1), 4000, 12, 2
    x = rng.choice([-1.0, 1.0], (samples, width))
    twin = x * rng.permuted(np.where(np.arange(width) < flipped, -1.0, np.ones(x.shape)), axis=1)
    net = bx.models.Function(sums, np.ones((4, width, width)))
    ensemble = bx.Ensemble.prior(bx.prior(net, bx.Normal()), samples, key=KEY)
    exact = exact_information(width, flipped, 4)
    for layer in (0, 1, 3):
        readers = reader(0, layer), reader(1, layer)
        found = ensemble_information(ensemble, *readers, (x, twin), models=2, key=KEY)
        assert abs(float(found.marginal.estimate.z_score(exact[layer]))) < 4
    # in wide nets by the square of the slope of `c -> (2/π) arcsin c` at 0
    wide = exact_information(400, 100, 7)
    assert wide[-1] / wide[-2] == pytest.approx((2 / np.pi) ** 2, rel=0.02)
