"""Costs of the local learning coefficient in gradients: closed forms."""

import dataclasses
import re
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import boltzax as bx
from boltzax.observe import _adaptive_runs
from boltzax.observe._adaptive_runs import (
    Budget,
    LocalRun,
    _block,
    _looks,
    careful_estimate,
    halved,
)
from boltzax.observe._along_training import _number
from boltzax.observe._local_cost import (
    DERIVATIVE_PLACES,
    LEAST,
    WARM,
    Cost,
    _steps,
    cost_of,
    growth,
    rounded_up,
)
from boltzax.observe._local_learning_coefficient import LARGE, _default_kernel
from boltzax.observe._local_posterior import localised
from boltzax.observe._minimum import BLOCKS, _blocks


@pytest.mark.parametrize("number, expected", [
    (0.2, 1), (7.3, 8), (99.0, 99), (1201.0, 1300), (54_321.0, 55_000),
])  # fmt: skip
def test_two_digits_upwards(number, expected):
    assert rounded_up(number) == expected


def test_the_warm_up_that_finds_a_step_costs_more():
    assert _steps(bx.SGLD()) == (1, 3, 3) and _steps(bx.SGLD(0.1)) == (1, 2, 2)


@pytest.mark.parametrize("step", [0.5, 3.0])
def test_the_most_draws_are_those_of_the_cheapest_steps(step):
    """A draw of a chain takes `thin` steps, of a gradient at the most, and its energy."""
    cost = Cost(4, 1.0, 1.0, False, False, step, step, step, 100_000)
    assert (cost.thin, cost.energy) == (8, 0.5)
    left = 60_000.0
    layout = cost.layout(cost.begin + left, False)
    assert layout.most == int(left / (4 * (8 * min(step, 1) + 0.5)))
    assert layout.warmup == min(int(WARM * left / (4 * step)), 1000)


def test_a_run_begins_with_its_chains_the_derivative_and_the_rounding():
    """Two gradients a chain, two a place of the derivative, and 8 energies of w* and a chain."""
    metropolis, step = (Cost(4, 1.0, 2.0, False, exact, 1, 1, 1, 10_000) for exact in (True, False))
    assert metropolis.begin == 2 * 4 + 4 * (1 + 4)
    assert step.begin - metropolis.begin == DERIVATIVE_PLACES * 2
    # a tenth of the cap for the check, and one for the descent, of 400 gradients at the most
    assert step.fixed == 2 + 6 + 16
    assert step.runs == 10_000 - 24 - 800 - 1000


def test_a_run_checks_its_error_each_quarter_more():
    assert _looks(LEAST - 1) == 0
    assert [_looks(int(np.ceil(LEAST * 1.25**k))) for k in range(6)] == [1, 2, 3, 4, 5, 6]


def test_blocks_are_as_long_as_noise_hides_the_rest():
    """Of ±1 with noise of variance 3/4 the rest has 1/4: three draws; at most a 50th of a chain."""
    series = np.tile([1.0, -1.0], (2, 200))
    assert [_block(series, noise) for noise in (0.0, 0.75, 0.96875, 2.0)] == [1, 3, 8, 8]
    assert _block(series * np.nan, 0.75) == 1


def test_noise_leaves_the_share_of_effective_blocks():
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.normal(size=(4, 25)), 40, axis=1)
    series = slow + 3 * rng.normal(size=slow.shape)
    length = _block(series, 9.0)
    assert length > 5
    blocks = series[:, : 1000 // length * length].reshape(4, -1, length).mean(axis=2)
    alone, of_blocks = bx.Estimate.of_series(series), bx.Estimate.of_series(blocks)
    share = float(of_blocks.ess) / blocks.size
    assert share < 0.8
    found = careful_estimate(series, None, 9.0)
    assert float(found.ess) == pytest.approx(float(alone.ess) * share, rel=1e-6)


def test_a_step_of_32_bits_is_its_own_number():
    assert [_number(step) for step in (0, 7, 2**32 - 1)] == [0, 7, 2**32 - 1]
    others = [_number(step) for step in (-1, 2**32, 0.5)]
    assert len({*others, 0}) == 4 and all(0 <= each < 2**32 for each in others)


def line(weights, data):
    model = bx.models.Function(lambda w, x: w @ x, jnp.zeros(weights))
    return bx.SquaredError(model, bx.Empirical((np.ones((data, weights)), np.zeros(data))))


@pytest.mark.parametrize("weights, kernel", [(3, bx.HMC), (LARGE + 1, bx.Underdamped)])
def test_large_models_are_not_sampled_by_trajectories(weights, kernel):
    energy = line(weights, 1)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    assert isinstance(_default_kernel(energy, gibbs, 4, 10_000), kernel)


def test_fewer_data_than_blocks_are_no_test_of_the_gradient():
    assert _blocks(line(2, BLOCKS - 1), jax.random.key(0)) is None
    blocks = _blocks(line(2, 2 * BLOCKS + 1), jax.random.key(0))
    assert blocks is not None and blocks[2].shape == (BLOCKS, 2)


def test_how_much_longer_a_run_should_be():
    """30 effective draws a chain, an error of a fifth of the value, twice as long for r_hat."""
    assert growth(1.0, 0.1, 500.0, 1.0, 4) == 1
    assert growth(1.0, 0.1, 40.0, 1.0, 4) == 3
    assert growth(-2.0, 1.2, 500.0, 1.0, 4) == pytest.approx(9)
    assert growth(1.0, 0.1, 500.0, 1.05, 4) == 1 and growth(1.0, 0.1, 500.0, 1.06, 4) == 2
    assert growth(1.0, 0.1, 500.0, np.nan, 4) == 2
    assert growth(1.0, 0.1, np.nan, 1.0, 4) == growth(1.0, 0.1, 0.3, 1.0, 4) == 120
    assert growth(0.0, 0.1, 500.0, 1.0, 4) == growth(1.0, np.inf, 500.0, 1.0, 4) == 1


def test_energies_of_draws_take_a_fifth_of_a_run():
    """A pass over `n / batch_size` minibatches: 8 to 1,000 steps, or 4 with two minibatches."""

    def thin(whole, batches=False, exact=False):
        return Cost(4, whole, whole, batches, exact, 1, 1, 1, 10_000).thin

    assert [thin(whole) for whole in (1.0, 4.0, 6.0, 40.0, 500.0, 900.0)] == [
        8, 8, 12, 80, 1000, 1000
    ]  # fmt: skip
    assert thin(40.0, batches=True) == 4 and thin(1.0, exact=True) == 1
    whole, batches = (Cost(4, 40.0, 80.0, each, False, 1, 2, 3, 10_000) for each in (False, True))
    assert (whole.energy, batches.energy) == (20, 1) and (whole.check, batches.check) == (40, 1)
    assert whole.fixed == 80 + 240 + 32 * 20 and batches.fixed == 80 + 240 + 16
    assert whole.descent == 1000 and whole.runs == 10_000 - 960 - 1000 - 1000
    few, many = (Cost(4, 1.0, 80.0, False, False, 1, 1, 1, cap) for cap in (2000, 1_000_000))
    assert few.descent == 400 and many.descent == 32_000
    assert many.runs == 1_000_000 - 258 - 32_000 - 40_000
    twice = Cost(4, 4.0, 4.0, False, False, 1.5, 2, 3, 1_000_000)
    assert twice.runs == 1_000_000 - 84 - 1600 - 100_000
    assert twice.least == twice.begin + 4 * 4 * (2 + 8 * 1.5 + 2)
    assert whole.least == whole.begin + 4 * 4 * (2 + whole.thin + 20)
    np.testing.assert_allclose(whole.parts(), np.array([0.4, 0.3, 0.15, 0.15]) * whole.runs)
    assert Cost(4, 1.0, 1.0, False, True, 1, 1, 1, 10_000).parts() == [10_000 - 21 - 400 - 1000]


def test_the_layout_of_a_run():
    cost = Cost(4, 1.0, 1.0, False, False, 2.0, 3.0, 5.0, 100_000)
    left = 50_000.0
    row = 4 * (8 * 2 + 0.5)
    for left, tuned in ((50_000.0, False), (50_000.0, True), (2980.0, False), (40.0, False)):
        plan = cost.layout(cost.begin + left, tuned)
        assert plan.thin == 8
        assert plan.rows == max(1, min(25, int(left / (24 * row))))
        warm = int(0.3 * left / (4 * (2 if tuned else 5)))
        assert plan.warmup == max(4, min(warm, 1000))
        assert plan.most == max(4, int(left / (4 * 8.5)))
    exact = Cost(4, 1.0, 1.0, False, True, 2.0, 3.0, 5.0, 100_000)
    assert exact.layout(exact.begin + 50_000, True).warmup == 500
    assert exact.layout(exact.begin + 50_000, True).thin == 1
    # a step that reports no gradient is half of one
    assert cost.spent(900.0, 100, 20) == cost.begin + 900 + 4 * 20 * 0.5
    assert cost.spent(100.0, 100, 20) == cost.begin + 200 + 40


def in_batches(energy, size):
    return eqx.tree_at(lambda each: each.measure, energy, bx.Subsampled(energy.measure, size))


def test_the_cost_of_minibatches_is_that_of_the_data_they_fill():
    whole, part = line(2, 600), line(2, 100)
    gibbs = bx.compile(part, bx.Normal(), marginalise=False)

    def cost(energy, trained, kernel, cap=100_000):
        return cost_of(energy, gibbs, trained, kernel, 4, cap)

    one = cost(part, part, bx.SGLD(0.1))
    assert (one.whole, one.trained, one.batches, one.exact) == (1, 1, False, False)
    assert (one.step, one.warm, one.typical, one.chains, one.cap) == (1, 2, 2, 4, 100_000)
    less = cost(part, whole, bx.SGLD(0.1))
    assert (less.whole, less.trained) == (1, 6)
    assert cost(whole, part, bx.SGLD(0.1)).trained == 1
    batches = cost(in_batches(part, 20), whole, bx.SGLD(0.1))
    assert (batches.whole, batches.trained) == (5, 30)
    halves = [cost(each, part, bx.SGLD(0.1), 20_000) for each in (part, in_batches(part, 50))]
    assert [(each.whole, each.batches) for each in halves] == [(1, False), (2, True)]
    exact = cost(in_batches(part, 20), whole, bx.RandomWalk())
    assert (exact.whole, exact.trained, exact.exact, exact.step) == (1, 6, True, 0.5)


def test_energies_are_those_of_minibatches_where_the_second_run_would_be_short():
    """`LEAST` draws a chain, of ten steps and an energy, in three tenths after the warm-up."""
    energy = in_batches(line(2, 100), 20)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)

    def cost(cap):
        return cost_of(energy, gibbs, energy, bx.SGLD(0.1), 4, cap)

    draws = LEAST * 4 * (10 + 2.5)
    border = next(cap for cap in range(100_000, 130_000, 20) if not cost(cap).batches)
    runs = dataclasses.replace(cost(border), batches=False).runs
    assert 0 <= 0.7 * 0.3 * runs - draws < 10
    assert cost(border - 20).batches and not cost(10 * border).batches


def test_the_least_cap_allows_the_shortest_runs():
    energy = line(2, 100)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)

    def cost(cap):
        return cost_of(energy, gibbs, energy, bx.SGLD(0.1), 4, cap)

    with pytest.raises(bx.DeclarationError, match="max_gradients") as caught:
        cost(200)
    least = int(re.search(r"at least (\d+)", str(caught.value))[1])
    assert 0.3 * cost(least).runs >= cost(least).least
    with pytest.raises(bx.DeclarationError, match="max_gradients"):
        cost(int(0.85 * least))


@pytest.mark.parametrize(("cap", "steps"), [(10_000, 8), (1_000_000, 138), (10_000_000, 256)])
def test_trajectories_leave_draws_enough(cap, steps):
    """Of a warm-up and the least draws, twice, at the longest."""
    energy = line(2, 5)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    kernel = _default_kernel(energy, gibbs, 4, cap)
    assert isinstance(kernel, bx.HMC) and kernel.max_steps == steps
    assert isinstance(_default_kernel(in_batches(energy, 2), gibbs, 4, cap), bx.SGLD)


def test_the_localised_posterior_is_a_gaussian_about_the_weights():
    """At `1/log n` by default, n the mass."""
    model = bx.models.Function(lambda w, x: w @ x, jnp.array([0.5, -2.0]))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    weights = np.linspace(0.5, 1.4, 20)
    energy = bx.SquaredError(model, bx.Empirical((x, y), weights=weights))
    gibbs, plain = (localised(energy, None, 5.0, None, relative) for relative in (True, False))
    log_mass = np.log(weights.sum())
    assert float(gibbs.beta) == pytest.approx(1 / log_mass, rel=1e-12)
    at = {"params": jnp.array([1.0, -1.0])}
    losses = [0.5 * weights @ (x @ w - y) ** 2 for w in ([1, -1], [0.5, -2])]
    assert float(gibbs.energy(at)) == pytest.approx(losses[0] - losses[1], rel=1e-9)
    assert float(plain.energy(at)) == pytest.approx(losses[0], rel=1e-9)
    prior = scipy.stats.norm.logpdf([1.0, -1.0], [0.5, -2.0], 5**-0.5).sum()
    rise = float(gibbs.log_prob(at)) - float(gibbs.log_prob(gibbs.position()))
    centre = scipy.stats.norm.logpdf([0.0, 0.0], 0, 5**-0.5).sum()
    expected = prior - centre - (losses[0] - losses[1]) / log_mass
    assert rise == pytest.approx(expected, rel=1e-9)
    few = bx.SquaredError(model, bx.Empirical((x[:2], y[:2])))
    with pytest.raises(bx.DeclarationError, match="temperature"):
        localised(few, None, 1.0, None)
    assert float(localised(few, 0.7, 1.0, None).beta) == pytest.approx(0.7)
    three = bx.SquaredError(model, bx.Empirical((x[:3], y[:3])))
    assert float(localised(three, None, 1.0, None).beta) == pytest.approx(1 / np.log(3))


@pytest.mark.parametrize("least, expected", [
    (5.0, [60.0, 30.0, 10.0]), (20.0, [60.0, 30.0]), (50.0, [60.0, 30.0]),
])  # fmt: skip
def test_a_third_run_is_made_only_where_the_cap_allows_its_least(monkeypatch, least, expected):
    """Two runs are made in any case, or nothing could be extrapolated."""
    unknown = bx.Estimate.of_samples(jnp.full(4, jnp.nan))  # runs that never agree
    asked = []

    def run(gibbs, kernel, key, budget, allowed, start):
        asked.append(allowed)
        trace = SimpleNamespace(status=bx.Status.successful)
        return LocalRun(1.0, unknown, trace, jnp.zeros(()), 0, 1.0, 0.0, allowed, None)

    monkeypatch.setattr(_adaptive_runs, "run_once", run)
    cost = SimpleNamespace(runs=100.0, parts=lambda: [60.0, 30.0, 20.0], least=least)
    budget = Budget(4, 0.1, cost, False, None, None)
    runs = halved(None, bx.SGLD(0.1), jax.random.key(0), budget, 1)
    assert asked == expected
    assert [each.scale for each in runs] == [0.5**level for level in range(len(expected))]
