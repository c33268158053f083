"""Information with the weights unknown, in closed form for one random gain."""

import jax
import numpy as np
import pytest

import boltzax as bx
from boltzax.channels import ensemble_information
from boltzax.core import DeclarationError

KEY = jax.random.key(0)


def gain(w, x):
    return w * x


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


def test_a_known_gain_is_the_same_either_way():
    """Of a prior that is nearly a point, in closed form."""
    ensemble, x = drawn(bx.Normal(1.0, 1e-6), 400)
    found = ensemble_information(ensemble, read_x, read_y, x, floor=0.5, models=8, key=KEY)
    rho = 1 / 1.25  # each side has noise of a quarter of its variance
    truth = -np.log1p(-(rho**2))
    assert abs(float(found.marginal.estimate.z_score(truth))) < 4
    assert abs(float(found.given.value) - truth) < 4 * float(found.each.standard_error[0])


def test_refused():
    ensemble, x = drawn(bx.Normal(0.0, 1.0), 4)
    with pytest.raises(DeclarationError, match="4 samples of 2"):
        ensemble_information(ensemble, read_x, read_y, x, floor=0.5, key=KEY)
    others = bx.Ensemble.of(ensemble.gibbs, ensemble.w, axes=("checkpoint",))
    with pytest.raises(DeclarationError, match='axis "sample"'):
        ensemble_information(others, read_x, read_y, x, key=KEY)
