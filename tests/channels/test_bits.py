"""Bits of optimisation and costs of channels, against exact chains."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax import cases, channels, theory
from boltzax.channels._channel_cost import _line

KEY = jax.random.key(3)
FEW = {"particles": 128, "moves": 6, "replicates": 8}
ANY = {"key": KEY, "by": "levels", "throw": False, **FEW}


def first(model):
    return model.params[0]


def least(model):
    return jnp.min(model.params)


PRIOR = bx.prior(bx.models.Function(lambda p: p, jnp.zeros(2)), bx.Normal())


def tail(t):
    return 0.5 * math.erfc(t / math.sqrt(2))


@pytest.mark.parametrize("length", [2, 16])
def test_a_linear_chain(length):
    chain = cases.linear_channel(length)
    found = channels.bits_of_optimisation(chain.prior, chain.strength, 0.0, **ANY)
    exact = theory.gaussian_chain_bits(length)
    assert found.successful and abs(found.z_score(exact)) < 4
    assert 0 < found.standard_error < 0.06 * exact
    assert found.estimate.lower < found.value < found.estimate.upper
    assert repr(found).startswith("OptimisationBits[\n  strength >= 0: ")


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 2, 4, 8, 16, 32, 64])
def test_linear_chains_within_three_percent(length):
    chain = cases.linear_channel(length)
    found = channels.bits_of_optimisation(
        chain.prior, chain.strength, 0.0, key=KEY, by="levels", particles=1024, moves=16
    )
    exact = theory.gaussian_chain_bits(length)
    assert abs(found.value / exact - 1) < 0.03 and abs(found.z_score(exact)) < 4


@pytest.mark.slow
def test_wide_linear_chains_in_both_precisions():
    for width, gain in ((4, 0.8), (3, 1.5)):
        exact = theory.gaussian_chain_bits(5, width, gain=gain, threshold=math.e)
        for double in (False, True):
            with jax.enable_x64(double):
                chain = cases.linear_channel(5, width, gain=gain)
                found = channels.bits_of_optimisation(chain.prior, chain.strength, 1.0, **ANY)
            assert abs(found.z_score(exact)) < 4


def test_bits_are_monotone_in_the_threshold_and_those_of_log_probability():
    at = np.array([0.0, 1.0, 2.5])
    found = channels.bits_of_optimisation(PRIOR, first, at, **ANY)
    plain = bx.log_probability(PRIOR, first, at, **ANY)
    np.testing.assert_array_equal(found.value, plain.bits)
    np.testing.assert_allclose(found.standard_error, plain.standard_error / math.log(2))
    assert np.all(np.diff(found.value) > 0)
    assert np.all(np.abs(found.z_score(np.array([-math.log2(tail(t)) for t in at]))) < 4)
    assert found.curve.axis == "threshold" and len(found.curve) == 3
    # of one run: the step knows what both share
    step = found.map(lambda bits: bits[2] - bits[1])
    apart = found.estimate[2] - found.estimate[1]
    assert float(step.standard_error) < float(apart.standard_error)
    np.testing.assert_allclose(step.value, apart.value)


@settings(max_examples=4)
@given(st.floats(0.5, 2.0))
def test_bits_of_independent_channels_add(t):
    """Both weights at least t: twice the bits of one."""
    both = channels.bits_of_optimisation(PRIOR, least, t, **ANY)
    one = channels.bits_of_optimisation(PRIOR, first, t, **ANY | {"key": jax.random.key(8)})
    assert abs((both.estimate - one.estimate.scaled(2.0)).z_score(0.0)) < 4


def test_a_status_is_passed_on():
    few = {"key": KEY, "by": "direct", "samples": 50}
    with pytest.raises(bx.RunError, match="No draw of the prior") as told:
        channels.bits_of_optimisation(PRIOR, first, 9.0, **few)
    found = told.value.result
    assert isinstance(found, channels.OptimisationBits) and not found.successful
    assert np.isinf(found.value) and 3 < found.estimate.lower < np.inf
    mixed = channels.bits_of_optimisation(PRIOR, first, [0.0, 9.0], **few, throw=False)
    assert mixed.worst == bx.Status.no_hits and "No draw" in repr(mixed)


def linear(length, width):
    return cases.linear_channel(length, width, gain=0.5)


ROW = channels.bits_of_optimisation(PRIOR, first, 0.0, key=KEY, samples=1000)


def priced(slopes, errors, scatter=0.0):
    """The cost of channels with these bits a piece, at lengths 1 to 4."""
    x, sign = np.arange(1.0, 5.0), np.array([1, -1, -1, 1.0])
    y = np.outer(x, slopes) + scatter * sign[:, None]
    values = bx.Estimate.exact(y).widened(np.broadcast_to(errors, y.shape))
    slope, start, share = _line(x, values)
    width = np.arange(1.0, 1 + len(slopes))
    cost = channels.ChannelCost(
        bx.Curve(x, values, axis="length"), bx.Curve(width, slope, axis="width"), start,
        jnp.asarray(share), ((ROW,),),
    )  # fmt: skip
    return cost


def test_the_line_and_its_errors():
    cost = priced([1.0, 2.0], 0.1)
    np.testing.assert_allclose(cost.per_piece.value, [1.0, 2.0])
    np.testing.assert_allclose(cost.per_piece.standard_error, 0.1 / math.sqrt(5))
    np.testing.assert_allclose(cost.start.value, 0.0, atol=1e-12)
    np.testing.assert_allclose(cost.r_squared, 1.0)
    bent = priced([1.0], 0.0, scatter=0.3)
    # residuals of ±0.3, of which two degrees of freedom are left
    np.testing.assert_allclose(bent.per_piece.standard_error, math.sqrt(4 * 0.09 / 2 / 5))
    half = float(bent.per_piece.values.upper[0] - bent.per_piece.value[0])
    np.testing.assert_allclose(half, 4.3027 * float(bent.per_piece.standard_error[0]), rtol=1e-4)
    np.testing.assert_allclose(bent.r_squared, 1 - 0.36 / (5 + 0.36))


def test_regimes():
    kind = channels.ChannelRegime
    assert priced([1.0, 2.0, 3.0], 0.1).regime == kind.scarce_channels
    assert priced([3.0, 2.0, 0.5], 0.1).regime == kind.scarce_modules
    assert priced([1.0, 1.05], 0.1).regime == kind.undecided
    assert priced([1.0, 4.0, 2.0], 0.1).regime == kind.undecided  # grows, and falls
    assert priced([1.0, 1.95, 2.0, 1.95], 0.1).regime == kind.scarce_channels
    assert priced([1.0], 0.1).regime == kind.undecided
    assert "Scarce channels" in repr(priced([1.0, 2.0, 3.0], 0.1))


def test_small_steps_count_as_large_ones_do():
    """Of two widths too; a trend is the step from the first width to the last."""
    kind = channels.ChannelRegime
    assert priced([1.0, 1.5], 0.1).regime == kind.scarce_channels
    assert priced([1.5, 1.0], 0.1).regime == kind.scarce_modules
    assert priced([2.0, 1.7, 1.4], 0.1).regime == kind.scarce_modules
    np.testing.assert_allclose(priced([1.0, 2.0, 2.5, 4.0], 0.1).trend.value, 3.0)
    failed = channels.bits_of_optimisation(
        PRIOR, first, 9.0, key=KEY, by="direct", samples=50, throw=False
    )
    cost = dataclasses.replace(priced([1.0, 1.5], 0.1), each=((ROW, failed), (ROW, ROW)))
    assert cost.status == bx.Status.no_hits and cost.regime == kind.undecided
    assert "No draw" in repr(cost) and "Undecided" in repr(cost)


@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_a_step_against_the_trend_counts_at_5_percent_over_all_steps(turned):
    """By Bonferroni: at 2.39 errors of the step for three steps, of 0.1 √(2/5) each."""
    most = -scipy.stats.norm.ppf(0.025 / 3) * 0.1 * math.sqrt(2 / 5)
    for share, decided in ((0.99, True), (1.01, False)):
        cost = priced([2.0 + turned * x for x in (0.0, 1.0, 1.0 - share * most, 1.5)], 0.1)
        assert (cost.regime != channels.ChannelRegime.undecided) == decided


def test_the_line_through_bits_of_unlike_errors():
    """By matrices: the error of the bits, or that of the residuals where it is larger."""
    rng, x = np.random.default_rng(6), np.array([2.0, 3.0, 5.0, 8.0, 9.0])
    error = rng.uniform(0.05, 0.2, (5, 3))
    y = 1.3 * x[:, None] + 0.7 + rng.normal(size=(5, 3)) * np.array([0.01, 0.3, 1.0])
    design = np.stack([x, np.ones(5)], axis=1)
    solve = np.linalg.pinv(design)
    left = y - design @ solve @ y
    known = solve**2 @ error**2
    seen = np.outer(np.diag(solve @ solve.T), np.sum(left**2, axis=0) / 3)
    more = np.maximum(seen - known, 0.0)
    assert np.any(more == 0) and np.any(more > 0)
    half = np.sqrt(1.959964**2 * known + scipy.stats.t(3).ppf(0.975) ** 2 * more)
    slope, start, share = _line(x, bx.Estimate.exact(y).widened(error))
    for found, row in ((slope, 0), (start, 1)):
        np.testing.assert_allclose(found.value, (solve @ y)[row], rtol=1e-9)
        np.testing.assert_allclose(found.standard_error, np.sqrt(known + more)[row], rtol=1e-9)
        np.testing.assert_allclose(found.upper - found.value, half[row], rtol=1e-6)
        np.testing.assert_allclose(found.value - found.lower, half[row], rtol=1e-6)
    np.testing.assert_allclose(share, 1 - np.sum(left**2, axis=0) / (5 * np.var(y, axis=0)))


def test_every_length_and_width_has_its_own_random_numbers():
    alike = channels.Channel(PRIOR, first)
    cost = channels.channel_cost(
        lambda n, w: alike, [2, 3, 5], (1, 2, 4), at=0.5, key=KEY, by="direct", samples=50_000
    )
    values = np.asarray(cost.bits.value)
    assert values.shape == (3, 3) and len(np.unique(values)) == 9
    assert np.all(np.abs(cost.bits.z_score(-math.log2(tail(0.5)))) < 4)
    np.testing.assert_array_equal(cost.bits.x, [2, 3, 5])
    np.testing.assert_array_equal(cost.per_piece.x, [1, 2, 4])
    each = [[float(bits.value) for bits in row] for row in cost.each]
    np.testing.assert_allclose(each, values)
    slope, start, share = _line(np.array([2.0, 3.0, 5.0]), cost.bits.values)
    np.testing.assert_allclose(cost.per_piece.value, slope.value)
    np.testing.assert_allclose(cost.start.value, start.value)
    np.testing.assert_allclose(cost.r_squared, share)


def test_trends_of_noise_are_rarely_claimed():
    rng = np.random.default_rng(0)
    few = [priced(1 + 0.1 / math.sqrt(5) * rng.normal(size=4), 0.1).regime for _ in range(60)]
    claimed = sum(bool(regime != channels.ChannelRegime.undecided) for regime in few)
    assert claimed < 10  # 3 are expected at most


def exact_costs(lengths, threshold):
    return np.array(
        [
            [theory.gaussian_chain_bits(n, w, gain=0.5, threshold=threshold) for w in (1, 4)]
            for n in lengths
        ]
    )


def test_the_cost_of_linear_chains():
    few = {"key": KEY, "by": "direct", "samples": 6000, "throw": False}
    cost = channels.channel_cost(linear, [1, 2, 3], [1, 4], at=math.log(0.4), **few)
    assert np.all(np.abs(cost.bits.z_score(exact_costs((1, 2, 3), 0.4))) < 4)
    # the line bends, and with one degree of freedom that leaves the trend open
    assert cost.trend.value > 0 and cost.regime == channels.ChannelRegime.undecided
    assert cost.each[2][1].successful and bool(cost.status == bx.Status.successful)


@pytest.mark.slow
def test_channels_are_scarce_at_low_gain():
    cost = channels.channel_cost(linear, [4, 6, 8, 10], [1, 4], at=math.log(0.4), **ANY)
    assert np.all(np.abs(cost.bits.z_score(exact_costs((4, 6, 8, 10), 0.4))) < 4)
    assert cost.regime == channels.ChannelRegime.scarce_channels


def test_a_noisy_chain():
    chain = cases.noisy_channel(1, 1, noise_sd=0.5, key=KEY)
    found = channels.bits_of_optimisation(chain.prior, chain.strength, 0.5, key=KEY, throw=False)
    # |P(right) - P(wrong)| = erf(tanh|w|/(0.5 √2)): no noise but the last
    exact = np.arctanh(0.5 * 0.67448975)
    assert abs(found.z_score(-math.log2(2 * tail(exact)))) < 4
    dead = cases.noisy_channel(6, 2, gain=1e-3, key=KEY)
    weights = dead.prior.sample_prior(KEY)
    assert 0 <= dead.strength(dead.prior.model(weights)) < 1e-12  # pairs of opposite noise cancel


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.sampled_from([1, 2, 4]), st.sampled_from([0.1, 0.2, 0.5]))
def test_integrated_noise_is_the_mean_over_noise(seed, length, sd):
    keys = jax.random.split(jax.random.key(seed))
    chain = cases.scalar_channel(length, gain=1.5, noise_sd=sd)
    model = chain.prior.model(chain.prior.sample_prior(keys[0]))
    noise = sd * jax.random.normal(keys[1], (40_000, length, 1))
    sent = jax.vmap(model)(noise)[:, 0]  # of one sign of the noise: the mean is signed
    each = np.asarray(jax.lax.erf(sent / (sd * math.sqrt(2))))
    error = np.std(each) / np.sqrt(len(each)) + 5e-4
    assert abs(float(chain.strength(model)) - abs(each.mean())) < 5 * error
    if length == 1:
        exact = math.erf(math.tanh(abs(float(model.weight[0, 0, 0]))) / (sd * math.sqrt(2)))
        assert float(chain.strength(model)) == pytest.approx(exact, abs=5e-4)


def test_noise_that_the_integral_does_not_resolve_is_refused():
    """With less the strength of two good pieces, which is 1, came out as 1.3, or as 0."""
    good = cases.scalar_channel(2, noise_sd=0.05)
    model = type(good.prior.declared)(jnp.full((2, 1, 1), 2.0))
    assert float(good.strength(model)) == pytest.approx(1.0, abs=2e-3)
    with pytest.raises(bx.DeclarationError) as caught:
        cases.scalar_channel(2, noise_sd=0.01)
    assert caught.value.argument == "noise_sd"


@pytest.mark.slow
def test_a_noisy_chain_is_linear_in_its_length():
    cost = channels.channel_cost(
        lambda n, w: cases.noisy_channel(n, w, samples=64, key=KEY), [3, 5, 7, 9, 11],
        at=0.9, key=KEY, particles=256, moves=8,
    )  # fmt: skip
    assert cost.r_squared[0] > 0.99
    assert 1.5 < cost.per_piece.value[0] < 1.75


def test_training_from_the_prior():
    chain = cases.noisy_channel(2, 1, samples=16, key=KEY)
    few = {"at": 0.9, "starts": 60, "key": KEY}
    found = channels.training_success(chain, optax.adam(0.05), [0, 5, 200], **few)
    bits = channels.bits_of_optimisation(chain.prior, chain.strength, 0.9, key=KEY)
    # untrained, either sign counts
    assert abs((found.values[0] - bits.log_probability.estimate.map(jnp.exp)).z_score(0.0)) < 4
    assert found.value[2] > 0.8 > found.value[0] and found.axis == "step"
    with pytest.raises(bx.DeclarationError, match="energy"):
        channels.training_success(cases.linear_channel(2), optax.sgd(0.1), [0], **few)


def test_shares_of_trainings_are_counted_at_every_step():
    """Of `½ (w - 1)²` with step 0.1 the weight is `1 + 0.9^t (w_0 - 1)`; at 0 it counts as well."""
    model = bx.models.Function(lambda w, x: w * x, jnp.zeros(()))
    energy = bx.SquaredError(model, bx.Empirical((np.ones(4), np.ones(4))))
    chain = channels.Channel(bx.prior(model, bx.Normal()), lambda m: m.params, energy)
    start = bx.Ensemble.prior(chain.prior, 50, key=jax.random.split(KEY)[0])
    first = np.asarray(start.map(lambda m: m.params))
    steps = [0, 3, 12]
    for at, more in ((0.0, {}), (0.7, {"at": 0.7})):
        found = channels.training_success(chain, optax.sgd(0.1), steps, starts=50, key=KEY, **more)
        hits = [np.sum(1 + 0.9**t * (first - 1) >= at) for t in steps]
        assert len(set(hits)) == 3
        exact = bx.Estimate.of_hits(np.array(hits), 50)
        np.testing.assert_allclose(found.value, exact.value)
        np.testing.assert_allclose(found.values.lower, exact.lower)
        np.testing.assert_array_equal(found.x, steps)
    level = channels.Channel(chain.prior, lambda m: 0 * m.params, energy)
    found = channels.training_success(level, optax.sgd(0.1), [0], starts=5, key=KEY)
    np.testing.assert_array_equal(found.value, 1.0)


def test_bad_declarations():
    chain = cases.linear_channel(2)
    for lengths in ([1, 2], [3, 2, 1], [1, 1, 2], [0, 1, 2], 3):
        with pytest.raises(bx.DeclarationError, match="lengths"):
            channels.channel_cost(linear, lengths, key=KEY)
    with pytest.raises(bx.DeclarationError, match="build"):
        channels.channel_cost(lambda n, w: chain.prior, [1, 2, 3], key=KEY)
    with pytest.raises(bx.DeclarationError, match="lengths"):
        channels.channel_cost(linear, [1, 2, True], key=KEY)


@pytest.mark.parametrize(
    ("strength", "words"),
    [
        (lambda model: jnp.ones(2), r"shape \(2,\)"),
        (lambda model: model.nothing, "AttributeError"),
        (lambda model: None, "gives None"),
        (lambda model: jnp.asarray(True), "bool.*\n.*nearly good"),
    ],
)
def test_what_is_no_strength_is_named(strength, words):
    chain, few = cases.noisy_channel(2, 1, samples=4, key=KEY), {"key": KEY, "throw": False}
    other = channels.Channel(chain.prior, strength, chain.energy)
    runs = {
        "strength": lambda: channels.bits_of_optimisation(chain.prior, strength, **few),
        "build": lambda: channels.channel_cost(lambda n, w: other, [1, 2, 3], **few),
        "channel": lambda: channels.training_success(other, optax.sgd(0.1), [0], starts=2, key=KEY),
    }
    for name, run in runs.items():
        if name == "channel" and "bool" in words:  # to be counted, it need not rise
            run()
            continue
        with pytest.raises(bx.DeclarationError, match=words) as caught:
            run()
        assert caught.value.argument == name
