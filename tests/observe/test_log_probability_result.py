"""From counts, populations and ladders to log-probabilities: against formulas in NumPy."""

import dataclasses
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import boltzax as bx
from boltzax.observe import _log_probability_tempered as by_temperature
from boltzax.observe._log_probability_result import (
    Reading,
    drawn_above,
    of_hits,
    of_independent,
    of_rise,
    raised,
    read_at,
)
from boltzax.observe._log_probability_tempered import Shortfall, _log_fraction, tempered
from boltzax.sample import Bridges, Level, Rise, Trace, levels_of_draws

KEY = jax.random.key(2)
PRIOR = bx.prior(bx.models.Function(lambda p: p[0], jnp.zeros(2)), bx.Normal())


def first(model):
    return model.params[0]


LEVEL = Level(PRIOR, first)


@pytest.mark.parametrize(
    ("hits", "status", "exact", "by_interval"),
    [
        (0, "no_hits", True, False),
        (1, "few_hits", True, False),
        (9, "few_hits", True, False),
        (10, "successful", False, False),
        (100, "successful", False, False),
        (190, "successful", False, False),
        (191, "successful", True, True),
        (200, "successful", True, True),
    ],
)
def test_counts_below_ten_have_the_wider_interval(hits, status, exact, by_interval):
    """Of fewer than 10 hits or misses the interval is also the exact one; of fewer than 10 misses
    the error is that of the interval."""
    estimate, naive, found = of_hits(hits, 200)
    assert bool(found == getattr(bx.Status, status))
    low, high = bx.core.wilson(hits, 200)
    if exact:
        own = [scipy.stats.binomtest(hits, 200).proportion_ci(method="exact")]
        low, high = min(low, own[0].low), max(high, own[0].high)
    with np.errstate(divide="ignore"):
        low, high = np.log(low), np.log(high)
    np.testing.assert_allclose(estimate.interval(), (low, high), rtol=1e-9, atol=1e-12)
    error = (high - low) / (2 * scipy.stats.norm.ppf(0.975))
    if not by_interval:
        error = math.sqrt((200 - hits) / (200 * hits)) if hits else math.inf
    np.testing.assert_allclose([estimate.standard_error, naive], error, rtol=1e-9)


def test_few_samples_that_all_hit_are_not_few_hits():
    assert bool(of_hits(5, 5).status == bx.Status.successful)
    assert bool(of_hits(4, 5).status == bx.Status.few_hits)


def populations(p, particles=50, **changes) -> Rise:
    """Of one raised level at 0, of these probabilities, which all particles at it reach."""
    shape, all_of_them = (2, len(p)), np.ones(len(p), bool)
    with np.errstate(divide="ignore"):
        run = Rise(
            levels=np.stack([np.full(len(p), -np.inf), np.zeros(len(p))]),
            log_survival=np.stack([np.zeros(len(p)), np.log(p)]),
            values=np.ones((*shape, particles)),
            reached=all_of_them, extinct=~all_of_them, stopped=all_of_them, u=None,
            evaluations=1000,
        )  # fmt: skip
    return run._replace(**changes)


P = np.array([0.2, 0.3, 0.25, 0.22, 0.31])


def test_probabilities_of_populations_are_averaged():
    reading = of_rise(populations(P), 0.5)
    relative = np.std(P / P.mean(), ddof=1)
    assert float(reading.estimate) == pytest.approx(math.log(P.mean()), rel=1e-12)
    error = relative / math.sqrt(5)
    assert float(reading.estimate.standard_error) == pytest.approx(error, rel=1e-9)
    half = scipy.stats.t.ppf(0.975, 4) * error
    ends = math.log(P.mean()) + np.array([-half, half])
    np.testing.assert_allclose(reading.estimate.interval(), ends, rtol=1e-9)
    naive = math.sqrt(np.mean((1 - P) / (50 * P)) / 5)
    assert reading.naive_error == pytest.approx(naive, rel=1e-9)
    assert bool(reading.status == bx.Status.successful)
    # near probability one the interval ends at 0
    near = of_rise(populations(np.array([0.99, 0.9, 0.99])), 0.5).estimate
    assert float(near.upper) == 0 > float(near.lower)


def test_populations_are_uneven_at_twice_the_spread_of_independent_particles():
    relative, each = np.std(P / P.mean(), ddof=1), np.mean((1 - P) / P)
    border = 4 * each / relative**2  # particles at which the two are equal
    for particles, status in (
        (math.floor(border), bx.Status.successful),
        (math.ceil(border), bx.Status.uneven),
    ):
        assert bool(of_rise(populations(P, particles), 0.5).status == status)
    two = of_rise(populations(np.array([0.2, 0.6])), 0.5)
    assert bool(two.status == bx.Status.uneven)


def test_populations_that_do_not_arrive():
    arrived = np.array([True, True, True, False, True])
    values = np.ones((2, 5, 50))
    values[1, 3] = 0.0
    less = P * arrived
    reading = of_rise(populations(P, values=values), 0.5)
    assert float(reading.estimate) == pytest.approx(math.log(less.mean()), rel=1e-12)
    assert bool(reading.status == bx.Status.uneven)
    spread = math.sqrt(np.mean((1 - P[arrived]) / (50 * P[arrived])) / 5)
    assert reading.naive_error == pytest.approx(spread, rel=1e-9)

    none, over, last = np.zeros((2, 5, 50)), np.ones(5, bool), ~arrived
    for changes, status in (
        ({"extinct": over}, "extinct"),
        ({"extinct": arrived}, "capped"),
        ({"extinct": over, "interrupted": True}, "extinct"),
        ({"stopped": arrived, "interrupted": True}, "interrupted"),
    ):
        lost = of_rise(populations(P, values=none, **changes), 0.5)
        assert bool(lost.status == getattr(bx.Status, status)), changes
        assert float(lost.estimate) == -math.inf and float(lost.estimate.upper) == 0
        assert lost.naive_error == math.inf
    # a run that was cut has a value once every population has stopped or arrived
    for stopped, known in ((last, True), (~over, False)):
        cut = of_rise(populations(P, values=values, stopped=stopped, interrupted=True), 0.5)
        assert bool(cut.status == bx.Status.interrupted)
        assert bool(np.isfinite(float(cut.estimate))) == known


def test_levels_below_every_raised_one_are_counts():
    """Populations that agree by chance have the error of the count; others their own."""
    values = np.ones((2, 3, 40))
    values[0, :, :10] = -2.0
    alike = of_rise(populations(P[:3], values=values), -1.0)
    counted = of_hits(90, 120)
    for name in ("value", "standard_error", "lower", "upper"):
        same = (getattr(each, name) for each in (alike.estimate, counted.estimate))
        np.testing.assert_allclose(*same, rtol=1e-9)
    assert alike.naive_error == pytest.approx(counted.naive_error, rel=1e-9)
    values[0, 0, :20], values[0, 1, :10] = -2.0, 1.0
    share = np.array([0.5, 1.0, 0.75])
    apart = of_rise(populations(P[:3], values=values), -1.0)
    error = np.std(share / 0.75, ddof=1) / math.sqrt(3)
    assert float(apart.estimate.standard_error) == pytest.approx(error, rel=1e-9)
    assert bool(apart.status == bx.Status.uneven)


def of_counts(*hits, samples=200):
    levels = np.arange(len(hits), dtype=float) if len(hits) > 1 else np.asarray(0.0)
    readings = [of_hits(each, samples) for each in hits]
    return read_at(levels, readings, "direct", samples, {})


def test_logarithms_of_independent_events_add():
    one, other = of_counts(50), of_counts(9)
    both = of_independent([one, other, one])
    assert float(both.value) == pytest.approx(2 * float(one.value) + float(other.value), rel=1e-9)
    squares = 2 * one.standard_error**2 + other.standard_error**2
    np.testing.assert_allclose(both.standard_error, np.sqrt(squares), rtol=1e-9)
    np.testing.assert_allclose(both.naive_error, np.sqrt(squares), rtol=1e-9)
    assert both.evaluations == 600 and not both.successful
    assert bool(both.status == bx.Status.few_hits)
    assert of_independent([one, one]).successful
    at_two = dataclasses.replace(one, at=jnp.asarray(2.0))
    for parts in ([at_two], [at_two, other]):
        found = of_independent(parts)
        assert float(found.at) == 2 and float(found.value) == pytest.approx(
            sum(float(part.value) for part in parts), rel=1e-9
        )
    sure = of_independent([of_counts(199), of_counts(199)])
    assert float(sure.upper) <= 0


def test_the_first_level_that_failed_is_told():
    with pytest.raises(bx.RunError, match=r"No draw"):
        raised(of_counts(50, 0, 3), True)
    found = of_counts(50, 3, 0)
    assert raised(found, False) is found and not found.successful
    assert [bool(level.successful) for level in found] == [True, False, False]
    assert [float(level.at) for level in found] == [0.0, 1.0, 2.0]


def test_weights_are_drawn_in_proportion_and_from_all_particles():
    """Chi-squared over 3 populations of 5 particles with two weights; rate of false alarm 1e-3."""
    place = np.stack(np.meshgrid(np.arange(3.0), np.arange(5.0), indexing="ij"), axis=-1)
    chance = np.array([0.1, 0.3, 0.6])
    above = (LEVEL, {"params": jnp.asarray(place)}, jnp.log(chance) - 7)
    result = dataclasses.replace(of_counts(50), above=above)
    models, levels = drawn_above(result, 3000, KEY, bx.core.MEMORY)
    population, particle = np.asarray(models.params).T.astype(int)
    np.testing.assert_array_equal(levels, population)
    counts = np.zeros((3, 5))
    np.add.at(counts, (population, particle), 1)
    expected = np.repeat(3000 * chance[:, None] / 5, 5, axis=1)
    assert scipy.stats.chisquare(counts.ravel(), expected.ravel()).pvalue > 1e-3


def test_automatic_counts_end_below_a_hundred_hits(monkeypatch):
    """At the value of the draw of rank 100 as many reach the level."""

    def rises(*_, **more):
        raise InterruptedError

    monkeypatch.setattr(sys.modules[bx.log_probability.__module__], "rise", rises)
    settings = {"key": KEY, "samples": 500}
    draws = np.asarray(levels_of_draws(LEVEL, jax.random.split(KEY)[1], 500, bx.core.MEMORY))
    ranked = np.sort(draws)[::-1]
    at = [ranked[300], ranked[99]]
    found = bx.log_probability(PRIOR, first, at, throw=False, **settings)
    assert found.method == "direct" and found.evaluations == 500
    np.testing.assert_allclose(np.exp(found.value), [301 / 500, 100 / 500], rtol=1e-12)
    at[1] = ranked[98]
    with pytest.raises(InterruptedError):
        bx.log_probability(PRIOR, first, at, throw=False, **settings)
    assert bx.log_probability(PRIOR, first, at, by="direct", **settings).method == "direct"


def test_the_shortfall_is_the_distance_to_the_level():
    term = Shortfall(PRIOR.declared, first, jnp.asarray(2.0), jnp.asarray(7.0))
    levels = [-jnp.inf, jnp.nan, -1.5, 2.0, 3.0]
    at = [term.value(bx.models.Function(lambda p: p, jnp.asarray([x, 0.0]))) for x in levels]
    np.testing.assert_array_equal(at, [7.0, 7.0, 3.5, 0.0, 0.0])


def test_the_fraction_at_the_last_temperature():
    """Its own error, or, where all draws reach the level, that of as many independent draws as the
    least of the hotter temperatures has."""
    rng = np.random.default_rng(0)
    some = (rng.random((4, 300)) < 0.6).astype(float)
    slow = np.repeat(rng.random((4, 30)) < 0.4, 10, axis=1).astype(float)
    every = np.ones((4, 300))
    part = _log_fraction(np.stack([every, some]))
    own = bx.Estimate.of_series(some)
    assert float(part) == pytest.approx(math.log(some.mean()), rel=1e-12)
    error = float(own.standard_error) / some.mean()
    assert float(part.standard_error) == pytest.approx(error, rel=1e-9) and error > 0
    least = float(bx.Estimate.of_series(slow).ess)
    assert least < 300 < float(own.ess)
    for hotter, draws in (([some, slow], int(least)), ([every, slow], int(least)), ([], 1200)):
        whole = _log_fraction(np.stack([*hotter, every]))
        expected = of_hits(draws, draws).estimate
        assert float(whole) == 0
        np.testing.assert_allclose(whole.interval(), expected.interval(), rtol=1e-12)


def partly(model):
    """No number for a sixth of the prior."""
    return jnp.where(model.params[1] > 1.0, jnp.nan, model.params[0])


def exact_ladder(calls):
    """In place of `anneal`: independent draws of the shortfall of `partly`, of the inverse of its
    distribution on a grid."""

    def anneal(gibbs, betas, kernel, *, key, chains, warmup, draws, thin, throw):
        term = gibbs.potential.parts[0].term
        calls.append((betas, chains, warmup, draws, thin, throw, float(term.worst)))
        ladder, rng = np.concatenate([[0.0], betas]), np.random.default_rng(3)
        grid = np.linspace(-9, 9, 40_001)
        short = np.maximum(float(term.target) - grid, 0)
        energy = []
        for beta in ladder:
            chance = np.exp(-0.5 * grid**2 - beta * short)
            known = np.trapezoid(chance, grid) / math.sqrt(2 * math.pi) * scipy.stats.norm.cdf(1)
            lost = math.exp(-beta * float(term.worst)) * scipy.stats.norm.sf(1)
            below = np.cumsum(chance) / np.sum(chance)
            drawn = np.interp(rng.random((chains, draws)), below, short)
            other = rng.random((chains, draws)) < lost / (lost + known)
            energy.append(np.where(other, float(term.worst), drawn))
        energy = jnp.asarray(np.stack(energy))
        steps, zero = jnp.asarray(np.diff(ladder))[:, None, None], jnp.zeros(energy.shape)
        pairs = len(betas)
        bridges = Bridges(
            jnp.asarray(ladder), energy, zero, steps * energy[:-1], steps * energy[1:],
            jnp.ones(pairs), jnp.ones(chains), tuple(range(1, pairs + 1)),
        )  # fmt: skip
        rows = (energy[1:], zero[1:], zero[1:], zero[1:] > 1)
        at = gibbs.at(jnp.asarray(betas))
        return Trace(at, *rows, None, bx.Status.successful, bridges)

    return anneal


def test_a_ladder_of_shortfalls_gives_the_probability(monkeypatch):
    """In units of the median shortfall of 256 draws, of which one without a number has none."""
    calls = []
    monkeypatch.setattr(by_temperature, "anneal", exact_ladder(calls))
    reading, evaluations = tempered(Level(PRIOR, partly), 2.0, KEY, 6000, 4, bx.core.MEMORY)
    exact = scipy.stats.norm.logsf(2.0) + scipy.stats.norm.logcdf(1.0)
    assert abs(float(reading.estimate.z_score(exact))) < 4
    assert 0 < reading.naive_error == float(reading.estimate.standard_error) < 0.06
    assert float(reading.estimate.upper) <= 0 and bool(reading.status == bx.Status.successful)
    (betas, *lengths, worst), key_scale = calls[0], jax.random.split(KEY)[0]
    draws = jax.vmap(PRIOR.sample_prior)(jax.random.split(key_scale, 256))["params"]
    missing = np.maximum(2.0 - np.asarray(draws[:, 0]), 0)
    known = np.asarray(draws[:, 1]) <= 1
    np.testing.assert_allclose(betas, 2.0 ** np.arange(9) / np.median(missing * known), rtol=1e-12)
    assert worst == pytest.approx(missing[known].max(), rel=1e-12)
    assert lengths == [4, 750, 1500, 5, False]
    assert evaluations == 256 + 10 * 4 * (750 + 5 * 1500)


def test_short_ladders_have_200_draws_and_none_that_arrives_is_told(monkeypatch):
    calls = []
    monkeypatch.setattr(by_temperature, "anneal", exact_ladder(calls))
    reading, evaluations = tempered(LEVEL, 60.0, KEY, 400, 4, bx.core.MEMORY)
    assert calls[0][1:5] == (4, 100, 200, 5)
    assert bool(reading.status == bx.Status.not_mixed) and reading.naive_error == math.inf
    assert float(reading.estimate) == -math.inf and float(reading.estimate.upper) == 0
    assert evaluations == 256 + 10 * 4 * (100 + 5 * 200)


def test_levels_of_half_the_prior_are_counted():
    reading, evaluations = tempered(LEVEL, -1.0, KEY, 500, 4, bx.core.MEMORY)
    draws = np.asarray(levels_of_draws(LEVEL, jax.random.split(KEY)[1], 500, bx.core.MEMORY))
    expected = of_hits(int(np.sum(draws >= -1.0)), 500)
    assert isinstance(reading, Reading) and evaluations == 756
    np.testing.assert_allclose(reading.estimate.interval(), expected.estimate.interval())
    assert float(reading.estimate) == float(expected.estimate)
