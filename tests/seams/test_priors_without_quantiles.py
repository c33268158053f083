"""Priors without quantiles in closed form: what can be drawn from them is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpyro import distributions

import boltzax as bx
from boltzax.declare import from_normal

KEY = jax.random.key(0)
PRIORS = {
    "student": (bx.StudentT(3.0, 0.5, 2.0), scipy.stats.t(3.0, 0.5, 2.0)),
    "gamma": (bx.Gamma(2.5, 4.0), scipy.stats.gamma(2.5, scale=0.25)),
    "beta": (distributions.Beta(2.0, 3.0), scipy.stats.beta(2.0, 3.0)),
    "inverse gamma": (distributions.InverseGamma(3.0, 2.0), scipy.stats.invgamma(3.0, scale=2.0)),
}


def contract(prior, most):
    """`y = w` for `w <= most`, so that H = log F(most)."""
    model = bx.models.Function(lambda w, x: w * x, jnp.zeros(()))
    before = bx.Interface.intervals({0: [(1.0, 1.0)]})
    after = bx.Interface.boxes({0: [(None, most)]})
    return bx.Contract(bx.Component(model, prior), before, after, points=2)


@pytest.mark.parametrize(
    ("name", "by", "share"),
    [
        ("student", "direct", 0.3),
        pytest.param("student", "levels", 1e-5, marks=pytest.mark.slow),
        ("gamma", "direct", 0.3),
        ("inverse gamma", "direct", 0.3),
        pytest.param("beta", "levels", 1e-4, marks=pytest.mark.slow),
        pytest.param("gamma", "levels", 1e-4, marks=pytest.mark.slow),
    ],
)
def test_the_entropy_is_that_of_the_distribution_function(name, by, share):
    prior, exact = PRIORS[name]
    found = bx.interfaces.entropy(
        contract(prior, float(exact.ppf(share))), key=KEY, by=by, samples=4000, particles=128
    )
    assert abs(found.z_score(np.log(share))) < 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["student", "gamma"])
def test_quantiles_by_bisection_have_derivatives(name):
    """numpyro's `cdf` of Student's t is right to some 1e-8 about its centre."""
    prior, exact = PRIORS[name]
    u = jnp.linspace(-6.0, 6.0, 25)
    x = from_normal("w", prior, u)
    np.testing.assert_allclose(x, exact.ppf(scipy.stats.norm.cdf(u)), rtol=1e-6)
    slope = jax.vmap(jax.grad(lambda u: from_normal("w", prior, u)))(u)
    np.testing.assert_allclose(slope, scipy.stats.norm.pdf(u) / exact.pdf(x), rtol=1e-5)


def test_a_prior_that_can_only_be_drawn_from_is_drawn_from_directly():
    """A von Mises angle: neither quantiles nor a distribution function."""
    prior = distributions.VonMises(0.0, 1.0)
    exact = float(np.log(scipy.stats.vonmises(1.0).cdf(0.5)))
    found = bx.interfaces.entropy(contract(prior, 0.5), key=KEY, by="direct", samples=4000)
    assert abs(found.z_score(exact)) < 4
