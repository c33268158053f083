"""Costs of the local learning coefficient in gradients: closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.observe._adaptive_runs import _block, _looks, careful_estimate
from boltzax.observe._along_training import _number
from boltzax.observe._local_cost import DERIVATIVE_PLACES, LEAST, WARM, Cost, _steps, rounded_up
from boltzax.observe._local_learning_coefficient import LARGE, _default_kernel
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
