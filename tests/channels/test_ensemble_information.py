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
