"""Closed forms that the samplers must reproduce, step by step."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.flatten_util import ravel_pytree

import boltzax as bx
from boltzax.sample import Chains
from boltzax.sample._minibatch_mala import penalty
from boltzax.testing._conformance import flat, gaussian_target

KEY = jax.random.key(11)
# of standard errors; two coordinates a test: a false alarm in 10^5 keys or less
LIMIT = 4.5


def only(tree):
    (leaf,) = tree.values()
    return leaf


def draws(gibbs, kernel, *, chains=64, warmup=300, draws=1000, thin=4, **options):
    trace = bx.sample(
        gibbs, kernel, key=KEY, chains=chains, warmup=warmup, draws=draws, thin=thin, throw=False,
        **options,
    )  # fmt: skip
    return flat(trace.w), trace


def z_scores(values, truth):
    means = bx.Estimate.of_series(jnp.asarray(values))
    return np.asarray(means.z_score(np.asarray(truth)))


@pytest.mark.slow
@pytest.mark.parametrize("step", [0.02, 0.15])
def test_variance_of_sgld_at_a_finite_step(step):
    """`w - m -> (1 - ½εk)(w - m) + √ε e` has variance `ε/(1 - (1 - ½εk)²) = 1/(k (1 - εk/4))`.

    `k` is the precision of the posterior, 1 from the prior and β times the stiffness.
    """
    gibbs, mean, covariance = gaussian_target()
    k = 1 / np.diag(covariance)
    w, _ = draws(gibbs, bx.SGLD(step))
    assert np.all(np.abs(z_scores(w, mean)) < LIMIT)
    variance = 1 / (k * (1 - step * k / 4))
    assert np.all(np.abs(z_scores((w - mean[:, None, None]) ** 2, variance)) < LIMIT)
    if step == 0.15:  # enough draws to tell it from the law at step zero
        assert np.all(np.abs(z_scores((w - mean[:, None, None]) ** 2, 1 / k)) > 2 * LIMIT)


@pytest.mark.slow
@pytest.mark.parametrize("step", [0.1, 0.5])
def test_baoab_is_exact_on_a_gaussian_at_any_step(step):
    """The place at the end of a step has variance 1/k; in the middle of it `(1 - h²k/4)/k`.

    With `⟨w²⟩ = 1/k`, `⟨wu⟩ = 0`, `⟨u²⟩ = 1 - h²k/4` at the end of a step, the kick `u - ½hkw` has
    variance 1 and covariance `-½h` with `w`, so `w + ½h(u - ½hkw)` has variance
    `1/k - ½h² + ¼h²` and no covariance with the kicked momentum: O leaves this law as it is, and
    the second half of the step, the mirror image of the first, leads back.
    """
    gibbs, mean, covariance = gaussian_target()
    k = 1 / np.diag(covariance)[:, None]
    kernel = bx.Underdamped(step, preconditioner=bx.Identity())
    chains = Chains(gibbs, kernel, keep=False)

    @jax.jit
    def run(key):
        start = jax.vmap(gibbs.sample_prior)(jax.random.split(key, 2000))
        state = chains.init(start, key, 0)

        def step(state, time):
            key_step = jax.random.fold_in(key, time)
            state = chains.step(state, key_step, jnp.zeros(()), time, 0)
            return state, None

        return jax.lax.scan(step, state, jnp.arange(300))[0][0]

    state = run(KEY)
    w, u, g = (
        flat(jax.tree.map(lambda leaf: leaf[:, None], x))[..., 0]
        for x in (state.w, state.u, state.gradient)
    )
    w = w - mean[:, None]
    np.testing.assert_allclose(g, -k * w, atol=1e-9)
    middle = w + 0.5 * step * (u + 0.5 * step * g)
    near = LIMIT * np.sqrt(2 / 2000)
    assert np.all(np.abs(np.mean(k * w**2, -1) - 1) < near)
    quarter = step**2 * k[:, 0] / 4
    assert np.all(np.abs(np.mean(u**2, -1) / (1 - quarter) - 1) < near)
    assert np.all(np.abs(np.mean(k * middle**2, -1) / (1 - quarter) - 1) < near)


@pytest.mark.slow
def test_sgld_with_minibatch_noise_of_known_covariance():
    """`w' = A w + noise`, `A = 1 - ½εH`: the covariance solves `S = A S Aᵀ + ε + ¼ε² V`.

    All data have one Hessian K, so the noise of a batch does not depend on w. Its covariance is
    `V = β² K C K (1 - b/n)/b · n/(n-1)`, with C that of the centres over the data: distinct data.
    """
    n, batch, beta, step = 40, 5, 4.0, 0.05
    rng = np.random.default_rng(1)
    stiff = np.array([[1.0, 0.4], [0.4, 1.5]])
    centres = rng.normal(size=(n, 2)) @ np.array([[2.0, 0.0], [1.0, 1.0]])

    def loss(model, centre):
        away = model(1.0) - centre
        return 0.5 * away @ stiff @ away

    data = bx.Empirical(centres, weights=np.full(n, 1 / n))
    model = bx.models.Function(lambda w, x: w * x, jnp.zeros(2))
    energy = bx.PerDatum(model, bx.Subsampled(data, batch), loss)
    gibbs = bx.compile(energy, bx.Normal(), beta=beta, marginalise=False)
    w, _ = draws(gibbs, bx.SGLD(step))
    hessian = np.eye(2) + beta * stiff
    mean = np.linalg.solve(hessian, beta * stiff @ centres.mean(0))
    spread = beta**2 * stiff @ np.cov(centres.T) @ stiff * (1 - batch / n) / batch
    a = np.eye(2) - 0.5 * step * hessian
    exact = scipy.linalg.solve_discrete_lyapunov(a, step * np.eye(2) + 0.25 * step**2 * spread)
    assert np.all(np.abs(z_scores(w, mean)) < LIMIT)
    away = w - mean[:, None, None]
    products = np.stack([away[0] ** 2, away[0] * away[1], away[1] ** 2])
    assert np.all(np.abs(z_scores(products, exact[[0, 0, 1], [0, 1, 1]])) < LIMIT)
    quiet = scipy.linalg.solve_discrete_lyapunov(a, step * np.eye(2))
    assert np.all(np.abs(z_scores(products[[0, 2]], np.diagonal(quiet))) > 2 * LIMIT)


STOCHASTIC = [
    bx.SGLD(),
    bx.RMSpropSGLD(),
    bx.AdamSGLD(),
    bx.Underdamped(),
    bx.SGNHT(),
    bx.MinibatchMALA(),
    bx.HMC(max_steps=16),
]


@pytest.mark.slow
@pytest.mark.parametrize("kernel", STOCHASTIC, ids=lambda k: type(k).__name__)
def test_float32_runs_too(kernel):
    with jax.enable_x64(False):
        x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
        data = bx.Subsampled(bx.Empirical((x, np.sin(x[:, 0]))), 5)
        net = bx.models.Function(lambda w, x: w[0] * jnp.tanh(w[1] * x[0]), jnp.ones(2))
        gibbs = bx.compile(bx.SquaredError(net, data), bx.Normal(), beta=2.0, marginalise=False)
        w, trace = draws(gibbs, kernel, chains=4, warmup=100, draws=100, thin=1)
        assert trace.energy.dtype == w.dtype == jnp.float32
        assert np.all(np.isfinite(w))


ONE = bx.models.Function(lambda w, x: w[0] * jnp.tanh(w[1] * x[0]), jnp.ones(2))


@pytest.mark.slow
@hypothesis.settings(max_examples=3)
@hypothesis.given(slope=st.floats(0.3, 2), beta=st.floats(0.05, 0.5))
def test_short_steps_of_sgld_have_the_energy_of_mala(slope, beta):
    """Sixty-four chains, five standard errors: a false alarm in 10^6 examples."""
    x = np.linspace(-2, 2, 20)[:, None]
    data = bx.Empirical((x, np.tanh(slope * x[:, 0]) + 0.1 * np.cos(9 * x[:, 0])))
    gibbs = bx.compile(bx.SquaredError(ONE, data), bx.Normal(), beta=beta, marginalise=False)
    _, short = draws(gibbs, bx.SGLD(0.02), thin=16)
    _, exact = draws(gibbs, bx.MALA())
    one, two = (bx.mean_estimate(trace.energy) for trace in (short, exact))
    assert float(two.standard_error) < 0.05 * float(two.value)
    error = np.hypot(one.standard_error, two.standard_error)
    assert abs(float(one.value - two.value)) < 5 * error


@pytest.mark.slow
def test_a_mean_inside_the_loop_is_the_mean_of_the_draws():
    """The same value to rounding, and an error bar within a factor 1.5 of that of all draws."""
    gibbs, _, _ = gaussian_target()
    count = 1280

    def both(model):
        w, _ = ravel_pytree(model.params)
        return {"w": w, "square": jnp.sum(w**2)}

    reduce = {"both": bx.Mean(both, count // 32)}
    _, trace = draws(gibbs, bx.SGLD(0.1), chains=8, draws=count, thin=1, reduce=reduce)
    all_draws = trace.evaluate(both)
    kept = {
        "w": bx.mean_estimate(all_draws["w"], axes=(0, 1)),
        "square": bx.mean_estimate(all_draws["square"]),
    }
    for name, estimate in kept.items():
        summed = trace.reduced["both"][name]
        np.testing.assert_allclose(summed.value, estimate.value, rtol=1e-10)
        ratio = np.asarray(summed.standard_error / estimate.standard_error)
        assert np.all((ratio > 1 / 1.5) & (ratio < 1.5))


BAD = [
    (bx.SGLD, {"step_size": -1.0}),
    (bx.SGLD, {"step_size": "a"}),
    (bx.SGLD, {"step_size": True}),
    (bx.SGLD, {"step_size": np.inf}),
    (bx.SGLD, {"momentum": 2}),
    (bx.SGLD, {"momentum": -0.1}),
    (bx.SGLD, {"scale": 0.0}),
    (bx.SGLD, {"error": None}),
    (bx.AdamSGLD, {"decay": 1.0}),
    (bx.AdamSGLD, {"momentum": 1.0}),
    (bx.RMSpropSGLD, {"decay": "a"}),
    (bx.RMSpropSGLD, {"step_size": np.nan}),
    (bx.Underdamped, {"step_size": 0}),
    (bx.Underdamped, {"friction": -1}),
    (bx.Underdamped, {"heating": 0.0}),
    (bx.Underdamped, {"step_size": np.ones(2)}),
    (bx.SGNHT, {"friction": None}),
    (bx.SGNHT, {"scale": "a"}),
    (bx.MinibatchMALA, {"parts": 2}),
    (bx.MinibatchMALA, {"parts": 8.0}),
    (bx.MinibatchMALA, {"step_size": -1}),
    (bx.MinibatchMALA, {"target_acceptance": 1.2}),
    (bx.HMC, {"trajectory": -1.0}),
    (bx.HMC, {"jitter": -0.5}),
    (bx.HMC, {"max_steps": 0}),
    (bx.HMC, {"max_steps": 2.5}),
]


@pytest.mark.parametrize(
    "kernel, arguments", BAD, ids=lambda x: str(x) if isinstance(x, dict) else x.__name__
)
def test_bad_arguments_are_refused(kernel, arguments):
    with pytest.raises(bx.DeclarationError):
        kernel(**arguments)


def test_the_penalty_for_an_estimated_variance_is_unbiased():
    """`⟨exp(-p(v))⟩ = exp(-σ²/2)` for an estimated variance `v`; not so for `p = v/2` alone."""
    rng = np.random.default_rng(0)
    for count in (8, 16):
        for variance in (0.3, 1.0):
            v = variance * rng.chisquare(count - 1, size=10**6) / (count - 1)
            exact = np.exp(-variance / 2)
            bias = np.mean(np.exp(-penalty(v, count))) / exact - 1
            plain = np.mean(np.exp(-v / 2)) / exact - 1
            assert abs(bias) < 1e-3 + 0.1 * plain
            assert plain > 0.005 if variance == 1.0 else True


def regression(batch, noise):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(64, 1))
    y = x[:, 0] + noise * rng.normal(size=64)
    model = bx.models.Function(jnp.dot, jnp.zeros(1))
    data = bx.Empirical((x, y))
    if batch is not None:
        data = bx.Subsampled(data, batch)
    gibbs = bx.compile(bx.SquaredError(model, data), bx.Normal(), marginalise=False)
    precision = 1 + np.sum(x**2)
    return gibbs, np.sum(x[:, 0] * y) / precision, precision**-0.5


@pytest.mark.slow
def test_minibatch_mala_is_right_where_its_noise_is_small():
    gibbs, mean, deviation = regression(32, 0.5)
    kernel = bx.MinibatchMALA(deviation)
    w, trace = draws(gibbs, kernel, chains=16)
    assert 0.0001 < np.mean(trace.divergent) < 0.01
    assert trace.status == bx.Status.successful
    x = (w - mean) / deviation
    assert np.all(np.abs(z_scores(np.concatenate([x, x**2]), [0, 1])) < LIMIT)
    _, all_data = draws(regression(None, 0.5)[0], kernel, chains=16)
    # the acceptance of the test on minibatches is less than that over all data
    assert np.mean(trace.acceptance) < np.mean(all_data.acceptance) - 0.05


@pytest.mark.slow
def test_minibatch_mala_says_where_it_is_invalid():
    gibbs, _, deviation = regression(2, 6.0)
    _, trace = draws(gibbs, bx.MinibatchMALA(deviation), chains=8, draws=200)
    assert np.mean(trace.divergent) > 0.5
    assert trace.status == bx.Status.divergent
    # with its step to be chosen it takes shorter ones, and is valid
    _, short = draws(gibbs, bx.MinibatchMALA(), chains=8, draws=200, warmup=1000)
    assert np.mean(short.divergent) < 0.01
