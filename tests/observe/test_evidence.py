"""Evidence for a local coefficient, from draws made by hand: least squares, against NumPy."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.observe._adaptive_runs import LocalRun
from boltzax.observe._evidence import Trained, _scope, gather, settled, virial
from boltzax.observe._local_cost import Cost
from boltzax.observe._local_posterior import localised
from boltzax.observe._minimum import _blocks, _flipped, _seen, descend, gradient_test
from boltzax.observe._reference_losses import losses
from boltzax.sample import Trace
from boltzax.sample._sgld import SGLDState
from boltzax.sample._unadjusted import StepSize

KEY = jax.random.key(4)
BETA, GAMMA, N = 0.3, 2.0, 67
rng = np.random.default_rng(6)
X = rng.normal(size=(N, 2)) * np.array([1.0, 0.4])
Y = X @ np.array([0.5, -1.0]) + rng.normal(size=N) + 0.3
STAR = np.array([0.7, -0.6])


def line(count=N, factor=1.0):
    model = bx.models.Function(lambda w, x: w @ x, jnp.asarray(STAR))
    energy = bx.SquaredError(model, bx.Empirical((X[:count], Y[:count])))
    return energy if factor == 1.0 else factor * energy


def half_square(w, count=N):
    return 0.5 * np.sum((np.asarray(w) @ X[:count].T - Y[:count]) ** 2, axis=-1)


ENERGY = line()
GIBBS = localised(ENERGY, BETA, GAMMA, None)


def run_of(seed, scale, draws=40, value=1.0, gibbs=GIBBS, count=N) -> LocalRun:
    """Draws about w* from no law in particular."""
    own = np.random.default_rng(seed)
    w = STAR + own.normal(size=(4, draws, 2)) * 0.3 * (1 + scale) + 0.1
    energy = half_square(w, count) - half_square(STAR, count)
    prior = 7.0 - 0.5 * GAMMA * np.sum((w - STAR) ** 2, axis=-1)
    zero = jnp.zeros(energy.shape)
    trace = Trace(
        gibbs, jnp.asarray(energy), zero, zero, zero > 1, {"params": jnp.asarray(w)},
        bx.Status.successful,
    )  # fmt: skip
    step = StepSize(jnp.log(jnp.array([0.1, 0.4]) * (1 + seed)))
    states = SGLDState({}, None, jnp.zeros(()), step, None)
    estimate = bx.Estimate(*(jnp.asarray(x) for x in (value, 0.1 * scale, 500 * scale, 1 + scale)))
    return LocalRun(
        scale, estimate, trace, jnp.asarray(prior), 3 + seed, 0.5 + 0.1 * seed, 0.01 * seed,
        100.25 * (1 + seed), states, 0.02 * scale,
    )  # fmt: skip


def cost_of(cap, exact=False):
    return Cost(4, 1.5, 2.5, False, exact, 1.0, 1.0, 1.0, cap)


def radial(run, keep=slice(None)):
    """`(w - w*)·∇(-log p)` less the number of weights."""
    away = np.asarray(run.trace.w["params"])[:, keep] - STAR
    slope = BETA * (away @ X.T + X @ STAR - Y) @ X + GAMMA * away
    return np.sum(away * slope, axis=-1) - 2


def error(series):
    return float(bx.Estimate.of_series(series).standard_error)


def gathered(runs, cost, value=0.8, trained=None, kernel=None, gibbs=GIBBS, energy=ENERGY):
    estimate = bx.Estimate(*(jnp.asarray(x) for x in (value, 0.4, 90.0, 1.0)))
    return gather(
        energy, gibbs, trained or Trained(energy, gibbs, False), runs, estimate, 1, cost, KEY,
        GAMMA, kernel or bx.SGLD(0.1),
    )  # fmt: skip


# the second cap leaves the check 40 to 55 draws of a run: every fourth of a chain
@pytest.mark.parametrize(("cap", "keep"), [(10_000, slice(None)), (520, slice(3, None, 4))])
@pytest.mark.parametrize("value", [0.8, -0.8])
def test_the_evidence_of_two_runs(cap, keep, value):
    runs, cost = [run_of(1, 1.0, value=1.7), run_of(0, 0.5, value=1.2)], cost_of(cap)
    found, minimum = gathered(runs, cost, value)
    hessian = BETA * X.T @ X + GAMMA * np.eye(2)
    lowest = np.linalg.solve(hessian, BETA * X.T @ Y + GAMMA * STAR)
    np.testing.assert_allclose(minimum.params, lowest, atol=1e-4)
    gap = BETA * (half_square(STAR) - half_square(lowest))
    assert found.gap == pytest.approx(gap, rel=1e-4) and gap > 0.1
    test = gradient_test(ENERGY, GIBBS, jax.random.split(KEY)[0])
    assert (found.gap_chance, found.gap_seen) == (test.chance, test.seen**2 * found.gap)

    last = runs[-1]
    energy = np.asarray(last.trace.energy)
    distance = 0.5 * GAMMA * np.sum((np.asarray(last.trace.w["params"]) - STAR) ** 2, axis=-1)
    together = (energy - energy.mean()) * (distance - distance.mean())
    assert found.sensitivity == pytest.approx(BETA * together.mean() / value, rel=1e-9)
    assert found.sensitivity * value > 0
    assert found.sensitivity_error == pytest.approx(BETA * error(together) / 0.8, rel=1e-6)

    coarse, fine = (radial(run, keep) for run in runs)
    apart = fine.mean() - coarse.mean()
    assert found.virial == pytest.approx(fine.mean() + apart, rel=1e-6)
    errors = 2 * error(fine), error(coarse), 0.5 * apart
    assert found.virial_error == pytest.approx(math.hypot(*errors), rel=1e-6)

    assert found.heat_capacity == pytest.approx(BETA**2 * np.var(energy, ddof=1), rel=1e-9)
    squares = (energy - energy.mean()) ** 2 * 160 / 159
    assert found.heat_capacity_error == pytest.approx(BETA**2 * error(squares), rel=1e-6)
    loss = half_square(STAR) / N
    assert found.loss == pytest.approx(loss, rel=1e-9)
    assert found.loss_of_draws == pytest.approx(loss + value / BETA / N, rel=1e-9)
    assert found.loss_of_constant == pytest.approx(0.5 * np.var(Y), rel=1e-9)
    assert found.residual_variance == pytest.approx(2 * loss, rel=1e-9)
    of = losses(ENERGY, GIBBS, jax.random.split(KEY)[1])
    assert found.loss_of_prior == of.of_prior

    _, _, descended = descend(GIBBS, GIBBS.position(), min(int(cost.descent / 2.5), 2000))
    others = 2 * 1.5 + 3 * 2.5 + 16 * 1.5 + 2.5 * descended
    others += 2 * 1.5 * radial(last, keep).size
    assert found.gradients == math.ceil(others + 300.75)
    # r_hat of the last two runs is above 1.05, and their error half of the value
    grown = (0.4 / (0.2 * 0.8)) ** 2
    needed = max(1.2 * grown * cost.runs + others, others + 300.75)
    assert needed <= found.needed <= 1.1 * needed
    assert (found.r_hat, found.ess) == (2.0, 250.0)
    assert math.isnan(found.acceptance) and (found.divergent, found.burn_in) == (0.0, 3)
    assert found.steps == (1.0, 0.5) and found.by_step == (1.7, 1.2)
    assert found.by_step_error == pytest.approx((0.1, 0.05))
    assert (found.beta, found.localisation, found.rounding) == (BETA, GAMMA, 0.02)
    assert found.step_size == pytest.approx(0.5 * 0.2)
    assert found.scope == "all 2 weights, data of mass 67" and not found.batches


def test_the_evidence_of_one_run_on_a_part_of_the_data():
    """The gap is that of the data that w* was trained on; all others of the part."""
    part = line(40)
    gibbs = localised(part, BETA, GAMMA, None)
    good = bx.Estimate(*(jnp.asarray(x) for x in (3.0, 0.1, 500.0, 1.0)))
    run = dataclasses.replace(run_of(2, 0.04, gibbs=gibbs, count=40), scale=1.0, estimate=good)
    found, _ = gathered(
        [run], cost_of(10_000, exact=True), 3.0, Trained(ENERGY, GIBBS, True), bx.HMC(), gibbs,
        part,
    )  # fmt: skip
    whole, _ = gathered([run_of(1, 1.0)], cost_of(10_000))
    assert (found.gap, found.gap_chance) == (whole.gap, whole.gap_chance)
    assert found.loss == pytest.approx(half_square(STAR, 40) / 40, rel=1e-9)
    assert found.acceptance == pytest.approx(0.7) and found.divergent == 0.02
    assert found.steps == found.by_step == found.by_step_error == ()
    assert found.step_size is None and found.needed is None
    assert found.scope == "all 2 weights, data of mass 40, of a model trained on a mass of 67"
    few = localised(ENERGY, BETA, GAMMA, bx.Mask({"params": np.arange(2) > 0}))
    assert _scope(few, Trained(ENERGY, few, False)) == "1 of 2 weights, data of mass 67"


def test_runs_that_are_not_finite_do_not_count():
    first, second, third = (run_of(i, 1.0) for i in range(3))
    lost = run_of(3, 0.5, value=math.nan)

    def kept(*runs):
        return [run.burn_in for run in settled([*runs])]

    assert kept(first) == [3] and kept(first, lost) == [3, 6]
    assert kept(first, second, third) == [4, 5] and kept(first, lost, third) == [3, 5]


def test_the_virial_takes_draws_that_are_spread_over_the_run():
    run = run_of(1, 1.0)
    for most, keep in ((160, slice(None)), (80, slice(1, None, 2)), (16, slice(9, None, 10))):
        found = virial(GIBBS, run.trace, most)
        assert float(found.value) == pytest.approx(radial(run, keep).mean(), rel=1e-9)
    assert virial(GIBBS, run.trace, 15) is None
    assert virial(GIBBS, dataclasses.replace(run.trace, w=None)) is None
    few, _ = gathered([run], cost_of(120), value=0.0)
    assert few.virial is None and few.virial_error is None
    assert math.isnan(few.sensitivity) and math.isnan(few.sensitivity_error)


# ---- whether w* is a minimum


@pytest.mark.parametrize("most", [5, 6, 12, 60])
def test_a_descent_keeps_to_its_gradients(most):
    """On a valley that turns, which takes some hundred of them."""

    def valley(model, x):
        a, b = model.params
        return (1 - a) ** 2 + 100 * (b - a**2) ** 2

    model = bx.models.Function(lambda w, x: w[0], jnp.array([-1.2, 1.0]))
    energy = bx.PerDatum(model, bx.Empirical(np.zeros((1, 1))), valley)
    gibbs = bx.compile(energy, bx.Normal(0.0, 1e3), marginalise=False)
    lowest, least, taken = descend(gibbs, gibbs.position(), most)
    assert taken <= most
    if np.isfinite(float(least)):
        assert float(least) == pytest.approx(float(gibbs.energy(lowest))) and float(least) < 24.2
    _, least, taken = descend(gibbs, gibbs.position())
    assert 60 < taken < 500 and float(least) < 1e-4


def gradients_of(pieces):
    (x, y), weights = pieces[1], pieces[2]
    residual = np.asarray(x) @ STAR - np.asarray(y)
    return np.einsum("bs,bs,bsi->bi", np.asarray(weights), residual, np.asarray(x))


def test_the_chance_is_that_of_gradients_with_random_signs():
    pieces = _blocks(ENERGY, KEY)
    assert pieces[2].shape == (32, 2) and np.all(np.asarray(pieces[2]) == 1)
    chosen = {tuple(row) for row in np.asarray(pieces[1][0]).reshape(-1, 2)}
    assert len(chosen) == 64 and chosen < {tuple(row) for row in X}
    found = gradient_test(ENERGY, GIBBS, KEY, trials=400)
    g = gradients_of(pieces)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(400, 32))
    null = np.sum((signs @ g) ** 2, axis=1)
    assert found.chance == pytest.approx((1 + np.sum(null >= np.sum(g.sum(axis=0) ** 2))) / 401)
    assert found.seen == _seen(g @ g.T, signs)
    np.testing.assert_allclose(_flipped(g @ g.T, signs), null - np.sum(g**2), rtol=1e-9)


def test_gradients_are_those_of_one_term_over_data():
    both = ENERGY + bx.SquaredError(ENERGY.model, bx.Empirical((X, Y)))
    law = bx.SquaredError(ENERGY.model, bx.GaussianMeasure(2, order=8), bx.zero)
    assert gradient_test(both, GIBBS, KEY) is None and gradient_test(law, GIBBS, KEY) is None


def detected(g, signs, t):
    """The 5% quantile of statistics of `t m + s_a (g_a - m)` minus their mean 1% critical value."""
    mean = g.mean(axis=0)
    data = t * mean + signs[:, :, None] * (g - mean)

    def statistic(data):
        return np.sum(data.sum(axis=-2) ** 2, axis=-1) - np.sum(data**2, axis=(-2, -1))

    flips = [statistic(signs[:, :, None] * each) for each in data[:16]]
    critical = np.mean([np.quantile(each, 0.99) for each in flips])
    return np.quantile(statistic(data), 0.05) - critical


@pytest.mark.parametrize("shift", [0.02, 0.3, 3.0])
def test_the_size_that_is_detected_by_explicit_gradients(shift):
    own = np.random.default_rng(1)
    g = own.normal(size=(32, 3)) * np.array([1.0, 2.0, 0.3]) + shift
    signs = own.choice([-1.0, 1.0], size=(300, 32))
    t = _seen(g @ g.T, signs)
    assert detected(g, signs, 0.999 * t - 2e-3) < 0 < detected(g, signs, 1.001 * t + 2e-3)
    assert detected(g, signs, t / 2) < 0 < t
    # the unit of the loss does not matter
    assert _seen(1e-6 * g @ g.T, signs) == pytest.approx(t, abs=2e-3)


def test_gradients_without_noise_or_without_a_mean():
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(100, 32))
    assert _seen(np.full((32, 32), 2.0), signs) == 0
    assert _seen(np.zeros((32, 32)), signs) == 0
    across = np.tile([1.0, -1.0], 16)
    assert _seen(np.outer(across, across), signs) == math.inf
    assert _seen(1e-6 * np.outer(across, across), signs) == math.inf
    # a model that is right on all data
    exact = bx.SquaredError(ENERGY.model, bx.Empirical((0 * X, 0 * Y)))
    assert gradient_test(exact, GIBBS, KEY) == (1.0, 0.0)
    none = bx.Empirical(np.zeros((32, 1)))
    lost = bx.PerDatum(ENERGY.model, none, lambda model, x: jnp.sqrt(model.params[0] - 1))
    assert all(map(math.isnan, gradient_test(lost, GIBBS, KEY)))


# ---- what a loss is compared with


def test_the_loss_of_the_localising_gaussian_is_the_median_of_its_draws():
    draws = np.asarray(jax.vmap(GIBBS.sample_prior)(jax.random.split(KEY, 32))["params"])
    assert losses(ENERGY, GIBBS, KEY).of_prior == pytest.approx(
        np.median(half_square(draws)) / N, rel=1e-9
    )
    # each minibatch holds all data
    energy = bx.SquaredError(ENERGY.model, bx.Subsampled(ENERGY.measure, N))
    gibbs = localised(energy, BETA, GAMMA, None)
    keys = jax.vmap(lambda key: jax.random.split(key)[0])(jax.random.split(KEY, 32))
    draws = np.asarray(jax.vmap(gibbs.sample_prior)(keys)["params"])
    found = losses(energy, gibbs, KEY, batches=True)
    assert found.of_prior == pytest.approx(np.median(half_square(draws)) / N, rel=1e-9)


def test_draws_without_a_number_are_the_worst():
    def edge(model, x):
        return jnp.where(model.params[0] < STAR[0] + 0.05, x[0] + model.params[1], jnp.nan)

    energy = bx.PerDatum(ENERGY.model, bx.Empirical(X), edge)
    gibbs = localised(energy, BETA, GAMMA, None)
    draws = np.asarray(jax.vmap(gibbs.sample_prior)(jax.random.split(KEY, 32))["params"])
    each = X[:, 0].mean() + draws[:, 1]
    each = np.where(draws[:, 0] < STAR[0] + 0.05, each, np.inf)
    found = losses(energy, gibbs, KEY)
    assert np.sum(np.isinf(each)) > 1 and found.of_prior == pytest.approx(np.median(each), rel=1e-9)
    assert found.at_minimum == pytest.approx(X[:, 0].mean() + STAR[1], rel=1e-9)
    assert found.of_constant is None and found.residual_variance is None


def test_the_best_constants_of_weighted_labels():
    """A class that is not seen has no part in it; all positions of a sequence share one."""
    own = np.random.default_rng(2)
    x, weights = own.normal(size=(30, 2)), own.uniform(0.5, 2.0, 30)
    labels = own.choice(3, size=(30, 2), p=[0.6, 0.3, 0.1])
    model = bx.models.Function(lambda w, x: jnp.tile(w * x[0], (2, 1)), jnp.ones(4))
    energy = 3.0 * bx.CrossEntropy(model, bx.Empirical((x, labels), weights=weights), count="data")
    gibbs = localised(energy, BETA, GAMMA, None)
    counts = np.array([np.sum(weights[:, None] * (labels == k)) for k in range(3)])
    entropy = np.sum(counts * np.log(counts.sum() / counts))
    found = losses(energy, gibbs, KEY)
    assert found.of_constant == pytest.approx(3 * entropy / weights.sum(), rel=1e-9)
    assert found.residual_variance is None

    y = own.normal(5.0, 2.0, size=(30, 2))
    line = bx.models.Function(lambda w, x: w * x[0], jnp.array([0.5, 2.0]))
    energy = 3.0 * bx.SquaredError(line, bx.Empirical((x, y), weights=weights))
    found = losses(energy, localised(energy, BETA, GAMMA, None), KEY)
    share = weights / weights.sum()
    spread = share @ (y - share @ y) ** 2
    assert found.of_constant == pytest.approx(1.5 * spread.sum(), rel=1e-9)
    residual = share @ (x[:, :1] * np.array([0.5, 2.0]) - y) ** 2
    assert found.residual_variance == pytest.approx(3 * residual.mean(), rel=1e-9)
    assert found.at_minimum == pytest.approx(1.5 * residual.sum(), rel=1e-9)
    both = energy + bx.SquaredError(line, bx.Empirical((x, y)))
    found = losses(both, localised(both, BETA, GAMMA, None), KEY)
    assert found.of_constant is None and found.residual_variance is None
    assert found.at_minimum == pytest.approx(
        (1.5 * residual.sum() * weights.sum() + 0.5 * np.sum((x[:, :1] * [0.5, 2.0] - y) ** 2))
        / (weights.sum() + 30),
        rel=1e-9,
    )
