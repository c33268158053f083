"""Models linear in all weights: integrated out whole, however the Gaussian prior is spelled."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import boltzax as bx

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = X @ np.array([1.0, -0.5, 0.2]) + 0.5 * RNG.normal(size=30)
LINE = bx.models.Function(lambda w, x: jnp.dot(w, x), jnp.zeros(3))
LOC = RNG.normal(size=3)
ROOT = np.tril(RNG.normal(size=(3, 3))) + 2 * np.eye(3)
AFFINE = dist.transforms.AffineTransform(LOC, -3.0)


def evidence(x, y, loc, covariance, noise):
    """`log N(y; X loc, X C Xᵀ + noise I)` without `-(n/2) log(2π noise)`, in nats."""
    kernel = x @ covariance @ x.T + noise * jnp.eye(len(y))
    off = y - x @ loc
    quadratic = off @ jnp.linalg.solve(kernel, off)
    return -0.5 * quadratic - 0.5 * jnp.linalg.slogdet(kernel / noise)[1]


SPELLINGS = {
    "a number": (dist.Normal(0.5, 2.0), np.full(3, 0.5), 4 * np.eye(3)),
    "expand": (dist.Normal(0, 2).expand([3]), np.zeros(3), 4 * np.eye(3)),
    "to_event": (dist.Normal(LOC, 2).to_event(1), LOC, 4 * np.eye(3)),
    "expand, to_event": (
        dist.Normal(0, 1.5).expand([3]).to_event(1),
        np.zeros(3),
        2.25 * np.eye(3),
    ),
    "Independent": (dist.Independent(dist.Normal(LOC, 1), 1), LOC, np.eye(3)),
    "joint": (dist.MultivariateNormal(LOC, scale_tril=ROOT), LOC, ROOT @ ROOT.T),
    "joint, precision": (
        dist.MultivariateNormal(LOC, precision_matrix=np.linalg.inv(ROOT @ ROOT.T)),
        LOC,
        ROOT @ ROOT.T,
    ),
    "factors": (
        dist.LowRankMultivariateNormal(LOC, ROOT[:, :1], jnp.ones(3)),
        LOC,
        ROOT[:, :1] @ ROOT[:, :1].T + np.eye(3),
    ),
    "affine": (
        dist.TransformedDistribution(dist.Normal(0, 1).expand([3]), AFFINE),
        LOC,
        9 * np.eye(3),
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("integral", ["nodes", "auto"])
def test_the_evidence_is_exact_in_every_spelling(spelling, integral):
    prior, loc, covariance = SPELLINGS[spelling]
    energy = bx.SquaredError(LINE, bx.Empirical((X, Y))) * 4.0
    gibbs = bx.compile(energy, prior, integral=integral)
    assert gibbs.dim == 0 and gibbs.parameters == 3 and not gibbs.reason
    np.testing.assert_allclose(
        gibbs.log_prob({}), evidence(X, Y, loc, covariance, 0.25), rtol=1e-10
    )


@pytest.mark.slow
def test_a_matrix_of_weights_with_a_joint_prior():
    """Two outputs; `a = loc + A u Bᵀ`, so the covariance of the rows laid out is `A Aᵀ ⊗ B Bᵀ`."""
    model = bx.models.Function(lambda w, x: w @ x, jnp.zeros((2, 3)))
    y = np.stack([Y, np.cos(Y)], axis=1)
    rows, columns = ROOT[:2, :2], ROOT
    prior = dist.MatrixNormal(jnp.ones((2, 3)), rows, columns)
    gibbs = bx.compile(bx.SquaredError(model, bx.Empirical((X, y))), prior)
    design = np.concatenate([np.kron(np.eye(2)[i], X) for i in range(2)])
    covariance = np.kron(rows @ rows.T, columns @ columns.T)
    expected = evidence(design, y.T.reshape(-1), np.ones(6), covariance, 1.0)
    np.testing.assert_allclose(gibbs.log_prob({}), expected, rtol=1e-10)


@hypothesis.given(scale=st.floats(0.05, 20), noise=st.floats(0.01, 50), seed=st.integers(0, 1000))
def test_the_slopes_of_the_evidence_are_exact(scale, noise, seed):
    y = jnp.asarray(np.random.default_rng(seed).normal(size=30))
    got = SLOPES(scale, noise, y)
    expected = EXACT_SLOPES(scale, noise, y)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def _evidence(scale, noise, y):
    energy = bx.SquaredError(LINE, bx.Empirical((X, y))) * (1 / noise)
    return bx.compile(energy, bx.Normal(0, scale)).log_prob({})


SLOPES = jax.jit(jax.grad(_evidence, (0, 1, 2)))
EXACT_SLOPES = jax.jit(
    jax.grad(lambda s, n, y: evidence(X, y, jnp.zeros(3), s**2 * jnp.eye(3), n), (0, 1, 2))
)


@pytest.fixture(scope="module")
def posterior():
    energy = bx.SquaredError(LINE, bx.Empirical((X, Y))) * 4.0
    return bx.compile(energy, dist.MultivariateNormal(LOC, scale_tril=ROOT))


@pytest.mark.slow
def test_a_run_without_coordinates_draws_the_posterior(posterior):
    trace = bx.sample(posterior, key=KEY, draws=500)
    assert trace.status == bx.Status.successful and trace.w == {}
    precision = np.linalg.inv(ROOT @ ROOT.T)
    covariance = np.linalg.inv(4 * X.T @ X + precision)
    mean = covariance @ (4 * X.T @ Y + precision @ LOC)
    draws = np.asarray(trace.weights["params"]).reshape(-1, 3)
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), (draws - mean).T)
    count = len(draws)
    assert np.all(np.abs(whitened.mean(1)) < 4 / np.sqrt(count))
    assert np.all(np.abs(np.cov(whitened) - np.eye(3)) < 4 * np.sqrt(2 / count))
    exact = bx.learning_coefficient(trace)
    assert exact.standard_error == 0
    assert abs(bx.learning_coefficient(trace, plain=True).z_score(exact.value)) < 4
    assert set(bx.to_xarray(trace)["posterior"].data_vars) == {"params"}
    with pytest.raises(bx.DeclarationError, match="trace.evaluate"):
        bx.sample(posterior, key=KEY, reduce={"m": bx.Mean(lambda m: m.params, length=4)})


@pytest.mark.slow
def test_a_ladder_without_coordinates_has_the_exact_free_energy(posterior):
    betas = np.array([3.0, 0.5])
    trace = bx.anneal(posterior, betas, key=KEY, draws=8)
    expected = [-float(posterior.at(beta).log_prob({})) for beta in betas]
    np.testing.assert_allclose(bx.free_energy(trace).value, expected, rtol=1e-8)
    curve = bx.coefficient_curve(bx.sample(posterior, key=KEY, draws=100), [0.5])
    np.testing.assert_allclose(curve.value[0], bx.learning_coefficient(trace).value[1], rtol=1e-8)


@pytest.mark.slow
def test_the_local_coefficient_still_samples_linear_models():
    weight = jnp.asarray(np.linalg.lstsq(X, Y, rcond=None)[0])
    fitted = bx.models.Function(LINE.fn, weight)
    result = bx.local_learning_coefficient(
        bx.SquaredError(fitted, bx.Empirical((X, Y))), key=KEY, kernel=bx.MALA(), max_gradients=4000
    )
    assert result.trace.gibbs.dim == 3
