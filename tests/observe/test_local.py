"""The local learning coefficient: exact values, verdicts that are deserved, the curve over beta."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx
from boltzax.observe._adaptive_runs import _settled, careful_estimate, extrapolated
from boltzax.observe._minimum import descend, gradient_test
from boltzax.sample import Trace

KEY = jax.random.key(3)
N = 2000
BETA = 1 / math.log(N)


def linear(w, x):
    return jnp.dot(w, x)


def regression(shift: float = 0.0, noise: float = 1.0, dim: int = 4, seed: int = 0):
    """Linear regression with the truth (1, ..., 1), declared at the truth plus `shift`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, dim))
    y = x @ np.ones(dim) + noise * rng.normal(size=N)
    model = bx.models.Function(linear, jnp.ones(dim) + shift)
    return bx.SquaredError(model, bx.Empirical((x, y))), x, y


def exact(x, y, w, gamma=1.0, beta=BETA):
    """`β ⟨E - E(w*)⟩` of the Gaussian posterior about w*."""
    precision = beta * x.T @ x + gamma * np.eye(len(w))
    covariance = np.linalg.inv(precision)
    mean = covariance @ (beta * x.T @ y + gamma * w)

    def half(w):
        return 0.5 * np.sum((x @ w - y) ** 2)

    spread = 0.5 * np.trace(x.T @ x @ covariance)
    return beta * (half(mean) + spread - half(w))


@pytest.fixture(scope="module")
def at_the_truth():
    energy, x, y = regression()
    return bx.local_learning_coefficient(energy, key=KEY), exact(x, y, np.ones(4))


@pytest.mark.slow
def test_regression_at_the_truth_is_exact_and_usable(at_the_truth):
    """Within 4 standard errors (false-alarm rate 6e-5); the gap of w* is that of the noise."""
    result, truth = at_the_truth
    assert result.usable, result
    assert abs(float(result.estimate.z_score(truth))) < 4
    assert result.evidence.gap > 0
    assert float(result.estimate.standard_error) < 0.05 * truth


@pytest.mark.slow
def test_the_minimum_is_found(at_the_truth):
    result, _ = at_the_truth
    _, x, y = regression()
    precision = BETA * x.T @ x + np.eye(4)
    mean = np.linalg.solve(precision, BETA * x.T @ y + np.ones(4))
    np.testing.assert_allclose(result.minimum.params, mean, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [bx.SGLD(), bx.Underdamped(), bx.NUTS()], ids=str)
def test_other_samplers_agree(kernel):
    """Over all data; 4.5 standard errors, false-alarm rate 7e-6 each."""
    energy, x, y = regression()
    result = bx.local_learning_coefficient(
        energy, key=KEY, kernel=kernel, tolerance=0.04, max_gradients=100_000
    )
    assert abs(float(result.estimate.z_score(exact(x, y, np.ones(4))))) < 4.5, result
    steps = () if isinstance(kernel, bx.NUTS) else (1.0, 0.5)
    assert result.evidence.steps[:2] == steps


@pytest.mark.slow
def test_minibatches_agree():
    """SGLD is the choice for a `Subsampled` measure; 4.5 standard errors."""
    energy, x, y = regression()
    batches = eqx.tree_at(lambda e: e.measure, energy, bx.Subsampled(energy.measure, 200))
    result = bx.local_learning_coefficient(batches, key=KEY, tolerance=0.04, max_gradients=200_000)
    assert abs(float(result.estimate.z_score(exact(x, y, np.ones(4))))) < 4.5, result
    assert len(result.evidence.steps) >= 2


@pytest.mark.slow
def test_a_singular_model():
    """`½ w₁² w₂²` at the origin: quadrature; 4 standard errors."""
    energy = bx.SquaredError(
        bx.models.Polynomial((1, 1)), N * bx.Empirical(np.zeros((1, 1))), bx.zero
    )
    result = bx.local_learning_coefficient(energy, key=KEY, tolerance=0.04)
    grid = np.linspace(-7, 7, 4001)
    loss = 0.5 * N * BETA * np.outer(grid**2, grid**2)
    log_p = -loss - 0.5 * (grid[:, None] ** 2 + grid[None, :] ** 2)
    weight = np.exp(log_p)
    truth = np.sum(weight * loss) / np.sum(weight)
    assert result.usable, result
    assert abs(float(result.estimate.z_score(truth))) < 4


@pytest.mark.slow
def test_weights_can_be_restricted():
    """Of four weights one is free: the coefficient of a model of one weight."""
    energy, x, y = regression()
    chart = bx.Mask({"params": np.array([True, False, False, False])})
    result = bx.local_learning_coefficient(energy, key=KEY, chart=chart, tolerance=0.04)
    truth = exact(x[:, :1], y - x[:, 1:] @ np.ones(3), np.ones(1))
    assert abs(float(result.estimate.z_score(truth))) < 4


@pytest.mark.slow
def test_far_from_a_minimum_is_not_usable():
    energy, _, _ = regression(shift=0.3)
    result = bx.local_learning_coefficient(energy, key=KEY, tolerance=0.1, max_gradients=50_000)
    assert result.verdict == bx.Verdict.not_a_minimum
    assert "minimum" in result.reason and not result.usable


@pytest.mark.slow
def test_a_localisation_that_dominates_is_seen():
    energy, x, _ = regression(noise=0.0)
    result = bx.local_learning_coefficient(
        energy, key=KEY, localisation=10_000.0, tolerance=0.05, max_gradients=100_000
    )
    assert result.verdict == bx.Verdict.localisation_dominates, result
    # the posterior's precision is γ + k with k = β n: -∂ log λ̂/∂ log γ = γ/(γ + k) on average
    k = np.linalg.eigvalsh(BETA * x.T @ x)
    truth = np.sum(10_000 * k / (10_000 + k) ** 2) / np.sum(k / (10_000 + k))
    distance = (result.evidence.sensitivity - truth) / result.evidence.sensitivity_error
    assert abs(distance) < 4


@pytest.mark.slow
def test_a_dead_chain_is_not_dropped():
    """A loss that is not a number beyond w = 1.05: some chain gets there, and it shows."""

    def loss(model, x):
        w = model.params[0]
        return jnp.where(w < 1.05, 0.5 * (w - 1.0) ** 2, jnp.nan)

    model = bx.models.Function(linear, jnp.ones(1))
    energy = bx.PerDatum(model, bx.Empirical(np.zeros((N, 1))), loss)
    result = bx.local_learning_coefficient(
        energy, key=KEY, kernel=bx.SGLD(step_size=1e-3), max_gradients=20_000
    )
    assert result.verdict == bx.Verdict.non_finite
    assert not np.isfinite(float(result.estimate.value))


@pytest.mark.slow
def test_a_spent_budget_is_said():
    energy, _, _ = regression()
    result = bx.local_learning_coefficient(energy, key=KEY, max_gradients=1000)
    assert not result.usable or float(result.estimate.standard_error) < 0.2 * float(
        result.estimate.value
    )


@pytest.mark.slow
def test_chances_of_the_gradient_are_uniform_at_the_truth_and_small_off_it():
    """Kolmogorov-Smirnov over 40 data sets at level 1e-3; off the truth all are below 0.01."""
    from scipy import stats

    at, off = [], []
    for seed in range(40):
        for chances, shift in ((at, 0.0), (off, 0.2)):
            energy, _, _ = regression(shift, seed=seed)
            gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
            chances.append(gradient_test(energy, gibbs, jax.random.key(seed), trials=500).chance)
    assert stats.kstest(at, "uniform").pvalue > 1e-3, at
    assert max(off) < 0.01


def test_descent_never_goes_up():
    energy, x, y = regression(shift=-2.0)
    gibbs = bx.compile(energy, bx.Normal(0.0, 10.0), beta=BETA, marginalise=False)
    lowest, least, _ = descend(gibbs, gibbs.position())
    assert float(least) <= float(gibbs.energy(gibbs.position()))
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(lowest["params"], best, atol=1e-3)


def made(value: float, error: float) -> bx.Estimate:
    return bx.Estimate(*(jnp.asarray(a) for a in (value, error, 100.0, 1.0)))


@given(st.floats(1.0, 10.0), st.floats(-0.05, 0.05), st.sampled_from([1, 2]), st.floats(0.001, 0.1))
def test_extrapolation_removes_the_leading_power(truth, bias, order, error):
    """Law: for `λ(s) = λ_0 (1 + b s^p)` the extrapolated value is `λ_0`, whatever the error."""
    at_steps = [made(truth * (1 + bias * s**order), error) for s in (1.0, 0.5)]
    estimate, _ = extrapolated(at_steps, order)
    np.testing.assert_allclose(float(estimate.value), truth, rtol=1e-9)
    assert float(estimate.standard_error) >= error


def test_too_far_an_extrapolation_is_said():
    assert extrapolated([made(2.0, 0.01), made(1.5, 0.01)], 1)[1]
    assert not extrapolated([made(1.02, 0.01), made(1.01, 0.01)], 1)[1]


def test_burn_in_is_left_out():
    rng = np.random.default_rng(0)
    still = rng.normal(size=(4, 1000))
    assert _settled(still)[0] <= 100
    drift = still - 20 * np.exp(-np.arange(1000) / 50)
    begin, kept = _settled(drift)
    assert begin >= 100
    assert abs(kept.mean()) < 0.2 < abs(drift.mean())


def test_the_larger_error_counts():
    rng = np.random.default_rng(1)
    apart = rng.normal(size=(4, 500)) + np.array([-1.0, 0.0, 0.5, 1.0])[:, None]
    assert float(careful_estimate(apart).standard_error) > 0.3


def gaussian_draws(beta: float, draws: int, key) -> Trace:
    """Exact draws of `E = ½ Σ w²` in 3 dimensions, prior N(0, 1)."""
    model = bx.models.Function(linear, jnp.zeros(3))
    energy = bx.SquaredError(model, bx.Empirical((np.eye(3), np.zeros(3))))
    gibbs = bx.compile(energy, bx.Normal(), beta=beta, marginalise=False)
    w = jax.random.normal(key, (4, draws, 3)) / math.sqrt(1 + beta)
    e = 0.5 * jnp.sum(w**2, axis=-1)
    zero = jnp.zeros_like(e)
    status = bx.Status.successful
    return Trace(gibbs, e, zero, zero, zero.astype(bool), {"params": w}, status)


def test_the_curve_from_one_run_is_exact_and_its_errors_honest():
    """`λ̂(β) = (3/2) β/(1+β)`; z-scores over 40 runs (levels as for the mean: 1e-3 each)."""
    betas = np.array([6.0, 8.0, 10.0, 13.0, 17.0])
    truth = 1.5 * betas / (1 + betas)
    scores = []
    for seed in range(40):
        trace = gaussian_draws(10.0, 500, jax.random.key(seed))
        scores.append(np.asarray(bx.coefficient_curve(trace, betas).z_score(truth)))
    assert np.all(np.abs(np.mean(scores, axis=0)) < 3.3 / np.sqrt(40))
    spread = np.std(scores, axis=0)
    assert np.all((spread > 0.65) & (spread < 1.38)), spread


def test_the_curve_at_its_own_beta_is_the_estimate_and_far_away_is_refused():
    trace = gaussian_draws(10.0, 400, KEY)
    curve = bx.coefficient_curve(trace, [10.0, 1e5])
    own = bx.learning_coefficient(trace)
    np.testing.assert_allclose(float(curve.value[0]), float(own.value), rtol=1e-12)
    assert np.isnan(float(curve.value[1]))


@pytest.mark.parametrize(
    "arguments",
    [
        {"localisation": 0.0},
        {"tolerance": -1.0},
        {"max_gradients": 10},
        {"chains": 1},
        {"kernel": bx.SGLD},
        {"temperature": jnp.ones(3)},
    ],
    ids=lambda a: next(iter(a)),
)
def test_wrong_arguments(arguments):
    energy, _, _ = regression()
    with pytest.raises(bx.DeclarationError):
        bx.local_learning_coefficient(energy, key=KEY, **arguments)


def test_a_measure_without_a_number_of_data_needs_a_temperature():
    model = bx.models.TwoLayer(2)
    energy = bx.SquaredError(model, bx.GaussianMeasure(1), bx.zero)
    with pytest.raises(bx.DeclarationError, match="temperature"):
        bx.local_learning_coefficient(energy, key=KEY)
    with pytest.raises(bx.DeclarationError, match="energy"):
        bx.local_learning_coefficient(model, key=KEY)


def test_wrong_arguments_of_the_curve():
    trace = gaussian_draws(2.0, 50, KEY)
    with pytest.raises(bx.DeclarationError, match="betas"):
        bx.coefficient_curve(trace, [-1.0])
    several = dataclasses.replace(trace, gibbs=trace.gibbs.at(jnp.ones(2)))
    with pytest.raises(bx.DeclarationError, match="one beta"):
        bx.coefficient_curve(several, [1.0])
