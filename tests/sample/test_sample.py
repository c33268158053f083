"""Runs: reproducible, compiled once, and honest about failure."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

KEY = jax.random.key(3)


def regression(x, y, beta=1.0) -> bx.Gibbs:
    model = bx.models.Function(lambda w, x: jnp.sum(w * x), jnp.zeros(2))
    energy = bx.SquaredError(model, bx.Empirical((x, y)))
    return bx.compile(energy, bx.Normal(), beta=beta, marginalise=False)


def data(key, n=50):
    x = jax.random.normal(key, (n, 2))
    return x, x @ jnp.array([1.0, -0.5]) + jax.random.normal(key, (n,))


def exact(x, y, beta=1.0):
    precision = jnp.eye(2) + beta * x.T @ x
    covariance = jnp.linalg.inv(precision)
    return covariance @ (beta * x.T @ y), covariance


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [bx.RandomWalk(), bx.MALA()], ids=["walk", "mala"])
def test_posterior_mean_of_a_conjugate_regression(kernel):
    x, y = data(jax.random.key(0))
    trace = bx.sample(regression(x, y), kernel, key=KEY, draws=600, thin=6)
    mean, covariance = exact(x, y)
    draws = jnp.moveaxis(trace.weights["params"], -1, 0)
    estimate = bx.mean_estimate(draws, axes=(-2, -1))
    assert np.all(np.abs(estimate.z_score(mean)) < 4)
    spread = bx.mean_estimate((draws - mean[:, None, None]) ** 2, axes=(-2, -1))
    assert np.all(np.abs(spread.z_score(jnp.diagonal(covariance))) < 4)


@pytest.mark.slow
def test_weights_that_were_integrated_out_are_drawn():
    """Given the data, `a x tanh(1)` with b frozen at 1: the readout's law is a Gaussian's."""
    x, y = data(jax.random.key(0))
    net = bx.models.TwoLayer(1, lambda t: t, dim=2)
    energy = sum([0.5 * bx.SquaredError(net, bx.Empirical((x, y))) for _ in range(2)])
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Normal(1.0, 1e-4))
    trace = bx.sample(bx.compile(energy, prior), bx.RandomWalk(), key=KEY, draws=300, thin=4)
    feature = jnp.sum(x, axis=1)
    variance = 1 / (1 + feature @ feature)
    a = trace.weights["readout"][..., 0]
    # 2 of |z| < 4: false-alarm rate 1.3e-4
    assert abs(float(bx.mean_estimate(a).z_score(variance * feature @ y))) < 4
    spread = bx.mean_estimate((a - variance * feature @ y) ** 2)
    assert abs(float(spread.z_score(variance))) < 4


def test_many_betas_run_at_once_and_agree_with_one_at_a_time():
    x, y = data(jax.random.key(0))
    gibbs = regression(x, y)
    betas = jnp.array([0.1, 1.0, 10.0])
    trace = bx.sample(gibbs.at(betas), bx.RandomWalk(), key=KEY, draws=400, thin=6)
    assert trace.energy.shape == (3, 4, 400)
    for k, beta in enumerate(betas):
        mean, covariance = exact(x, y, beta)
        energy = 0.5 * jnp.sum((x @ mean - y) ** 2) + 0.5 * jnp.trace(x @ covariance @ x.T)
        assert abs(float(trace.mean_of(trace.energy)[k].z_score(energy))) < 4


def test_a_run_repeats_and_does_not_depend_on_the_progress_bar():
    x, y = data(jax.random.key(0))
    one = bx.sample(regression(x, y), bx.RandomWalk(), key=KEY, draws=50, warmup=50)
    two = bx.sample(regression(x, y), bx.RandomWalk(), key=KEY, draws=50, warmup=50, progress=True)
    np.testing.assert_array_equal(one.energy, two.energy)


def test_new_data_do_not_retrace():
    traced = []

    def fn(w, x):
        traced.append(1)
        return jnp.sum(w * x)

    def run(key):
        x, y = data(key)
        model = bx.models.Function(fn, jnp.zeros(2))
        energy = bx.SquaredError(model, bx.Empirical((x, y)))
        gibbs = bx.compile(energy, bx.Normal(), integral="declared")
        before = len(traced)
        trace = bx.sample(gibbs, bx.RandomWalk(), key=KEY, draws=20, warmup=20, throw=False)
        return len(traced) - before, trace

    first, one = run(jax.random.key(0))
    second, two = run(jax.random.key(1))
    assert first > 0 and second == 0
    assert not np.allclose(one.energy, two.energy)


def test_a_chain_that_is_not_finite_is_said_so_and_never_dropped():
    """Steps a million times too long, without a Metropolis test."""
    gibbs, kernel = regression(*data(jax.random.key(0))), bx.SGLD(step_size=1e6)
    trace = bx.sample(gibbs, kernel, key=KEY, draws=60, warmup=0, throw=False)
    assert trace.status == bx.Status.non_finite
    assert not np.isfinite(float(bx.learning_coefficient(trace).value))
    with pytest.raises(bx.RunError, match="non-finite") as caught:
        bx.sample(gibbs, kernel, key=KEY, draws=60, warmup=0)
    np.testing.assert_array_equal(caught.value.result.energy, trace.energy)
    assert str(pickle.loads(pickle.dumps(bx.RunError("a", 1)))) == "a"
    assert pickle.loads(pickle.dumps(bx.RunError("a", 1))).result == 1


def test_a_chain_that_has_not_mixed_is_said_so():
    x, y = data(jax.random.key(0))
    slow = bx.RandomWalk(step_size=1e-4)
    trace = bx.sample(regression(x, y), slow, key=KEY, draws=20, warmup=0, throw=False)
    assert trace.status == bx.Status.not_mixed


@pytest.mark.slow
def test_float32_runs_too():
    with jax.enable_x64(False):
        x, y = data(jax.random.key(0))
        trace = bx.sample(regression(x, y), bx.RandomWalk(), key=KEY, draws=100, thin=6)
        assert trace.energy.dtype == jnp.float32
        assert np.isfinite(float(bx.learning_coefficient(trace).value))
