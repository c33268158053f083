"""Predicted error rates against held-out ones, and coupling of remainder and amplitude."""

import tracemalloc

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.core import Influence, Outcome, numpy_generator
from boltzax.degrade import coupling, error_rates
from boltzax.degrade._remainder_rate_test import bins_allowed, bins_of_inputs

KEY = jax.random.key(0)


def margins(rng, inputs, shape=None):
    """Margins of an interpretation, plus a remainder: Gaussian, or Gamma of some shape."""
    part = rng.normal(size=inputs) + 0.8
    if shape is None:
        return part + 0.7 * rng.normal(size=inputs), part
    return part + 0.7 * (rng.gamma(shape, size=inputs) - shape) / shape**0.5, part


def test_predicted_rates_are_those_of_the_law():
    rng = np.random.default_rng(0)
    fitted, held_out = margins(rng, 8000, 9.0), margins(rng, 1000, 9.0)
    found = error_rates(fitted, held_out)
    edge = (-held_out[1] / 0.7) * 3 + 9
    exact = scipy.stats.gamma(9.0).cdf(edge)
    worst = np.abs(np.asarray(found.predicted) - exact).max(axis=1)
    # max φ He_2 λ_3/6 is the size of what order 0 leaves out
    assert 0.03 < worst[0] < 0.06 and np.all(worst[1:] < [0.02, 0.02, 0.02])
    overall = np.mean(found.predicted, axis=1) - np.mean(found.observed)
    np.testing.assert_allclose(found.overall.value, overall, atol=1e-12)
    assert found.reliability.value.shape == (4, *found.bins.shape)


def test_outcomes_by_order():
    rng = np.random.default_rng(1)
    skew = error_rates(margins(rng, 2000, 2.0), margins(rng, 2000, 2.0))
    assert skew.outcome(0) == Outcome.disagree and skew.outcome(2) != Outcome.disagree
    plain = error_rates(margins(rng, 2000), margins(rng, 2000), tolerance=0.04)
    assert plain.outcome(0) == Outcome.agree and "nan" not in repr(plain)
    few = error_rates(margins(rng, 100), margins(rng, 100), level=0.001)
    assert few.outcome(0) == Outcome.too_few and "undecided" in repr(few)


def with_draws(rng, part, scale, draws, shape=None):
    """Draws share a shift, as weights do, and have noise of their own at each input."""
    size = (draws, len(part))
    noise = rng.normal(size=size) if shape is None else (rng.gamma(shape, size=size) - shape) / 2
    return part + scale * (0.8 * noise + 0.6 * rng.normal(size=(draws, 1))), part


def test_rates_of_each_input():
    rng = np.random.default_rng(2)
    part, scale = rng.normal(size=100) + 0.5, rng.uniform(0.5, 1.0, 100)
    both = [with_draws(rng, part, scale, 1000) for _ in range(2)]
    found = error_rates(*both, per="input")
    assert found.outcome(0) == Outcome.agree and "mean square misfit" in repr(found)
    assert abs(float(found.misfit.value[0])) < 4 * float(found.misfit.standard_error[0]) + 1e-4
    exact = scipy.stats.norm.cdf(-part / scale)
    assert np.abs(np.asarray(found.predicted[0]) - exact).max() < 0.06
    both = [with_draws(rng, part, scale, 1000, 4.0) for _ in range(2)]
    found = error_rates(*both, per="input")
    assert found.outcome(0) == Outcome.disagree and found.outcome(2) != Outcome.disagree


def test_chains_count_as_few_units():
    """Autocorrelated draws: the shift that is detected is larger than for independent ones."""
    rng, part = np.random.default_rng(3), np.linspace(-1, 2, 40)
    noise, shift = rng.normal(size=(2, 4, 400)), np.zeros((2, 4, 400))
    for t in range(1, 400):
        shift[..., t] = 0.95 * shift[..., t - 1] + 0.3 * noise[..., t]
    fresh = rng.normal(size=(2, 4, 400, 40))
    fitted, held_out = ((part + x[..., None] + y, part) for x, y in zip(shift, fresh, strict=True))
    chains = error_rates(fitted, held_out, per="input", bins=3)
    flat = [(x.reshape(1600, 40), part) for x, _ in (fitted, held_out)]
    independent = error_rates(*flat, per="input", bins=3)
    assert float(chains.detectable[0]) > 2 * float(independent.detectable[0])


@pytest.mark.slow
def test_false_alarms_of_error_rates():
    """120 pairs of one law at a level of 5%: 6 ± 2.4 for each order."""
    rng = np.random.default_rng(4)
    p_values = [error_rates(margins(rng, 1000), margins(rng, 1000)).p_value for _ in range(120)]
    alarms = np.sum(np.asarray(p_values) <= 0.05, axis=0)
    assert np.all(alarms <= 15)


def shifted(rng, inputs, shift):
    part = rng.normal(size=inputs) + shift
    return part + 0.5 * rng.normal(size=inputs), part


def autoregressions(rng, memory, chains, draws, inputs=20):
    """Stationary draws with one factor that all inputs share, and unit variance."""
    mix = np.linalg.cholesky(0.5 * np.eye(inputs) + 0.5).T
    x = np.zeros((chains, draws, inputs))
    x[:, 0] = rng.normal(size=(chains, inputs)) @ mix
    for t in range(1, draws):
        fresh = rng.normal(size=(chains, inputs)) @ mix
        x[:, t] = memory * x[:, t - 1] + np.sqrt(1 - memory**2) * fresh
    return x


def alarms_of(pair, runs=100, **options):
    """Tests that refuse each order at 5%, and intervals of the overall difference that hold 0."""
    alarms, covered = np.zeros(4), 0
    for _ in range(runs):
        found = error_rates(*pair(), **options)
        alarms += np.asarray(found.p_value) <= 0.05
        low, high = found.overall[0].interval()
        covered += float(low) <= 0 <= float(high)
    return alarms, covered


@pytest.mark.slow
@pytest.mark.parametrize(
    "fitted, held_out, shift",
    [(200, 200, 0.0), (1500, 1500, 2.5), (1500, 1500, 4.0), (2000, 100, 1.0), (100, 2000, 1.0)],
)
def test_false_alarms_of_rare_errors(fitted, held_out, shift):
    """100 pairs at 5%: at most 5 + 4 · 2.2 = 13 alarms; 95 - 4 · 2.2 = 86 intervals cover."""
    rng = np.random.default_rng(4)
    alarms, covered = alarms_of(
        lambda: (shifted(rng, fitted, shift), shifted(rng, held_out, shift))
    )
    assert np.all(alarms <= 13) and covered >= 86


@pytest.mark.slow
@pytest.mark.parametrize("memory, draws", [(0.8, 100), (0.95, 100), (0.95, 500)])
def test_false_alarms_of_chains(memory, draws):
    """100 pairs of four chains at a level of 5%: at most 5 + 4 · 2.2 = 13 alarms."""
    rng = np.random.default_rng(4)
    part = 0.7 * rng.normal(size=20) + 0.5

    def pair():
        return [(part + autoregressions(rng, memory, 4, draws), part) for _ in range(2)]

    assert np.all(alarms_of(pair, per="input")[0] <= 13)


def test_few_expected_errors_in_draws_are_undecided_with_the_reason():
    rng, part = np.random.default_rng(5), np.full(20, 3.0)
    found = error_rates(*[(part + rng.normal(size=(50, 20)), part) for _ in range(2)], per="input")
    assert found.outcome(0) == Outcome.too_few and "errors expected" in repr(found)
    chains = error_rates(
        *[(part + rng.normal(size=(2, 9, 20)) - 3, part) for _ in range(2)], per="input"
    )
    assert chains.outcome(0) == Outcome.too_few and chains.reason in repr(chains)


def test_rare_errors_that_are_many_are_seen():
    """0.3 errors are predicted, and 12 are there."""
    rng = np.random.default_rng(6)
    fitted, (model, part) = shifted(rng, 1500, 4.0), shifted(rng, 1500, 4.0)
    model[:12] = -1.0
    assert error_rates(fitted, (model, part)).outcome(0) == Outcome.disagree


@settings(max_examples=5)
@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-3, 3))
def test_units_of_margins_do_not_matter(seed, scale, shift):
    rng = np.random.default_rng(seed)
    data = [margins(rng, 60) for _ in range(2)]
    first = error_rates(*data)
    moved = [(scale * x + shift, scale * y + shift) for x, y in data]
    second = error_rates(*moved, below=shift)
    np.testing.assert_allclose(first.predicted, second.predicted, atol=1e-7)
    np.testing.assert_allclose(first.p_value, second.p_value, rtol=1e-5)


def test_the_misfit_is_less_the_noise_of_both_sides():
    """By the delta method for the Gaussian; a rate that no draw moves has no noise of its own."""
    rng, draws, inputs = np.random.default_rng(11), 400, 30
    part = np.append(rng.normal(size=inputs - 1), 60.0)
    fitted, held_out = (part + rng.normal(size=(draws, inputs)) for _ in range(2))
    found = error_rates((fitted, part), (held_out, part), per="input")
    left, hits = fitted - part, held_out < 0
    mean, var = left.mean(axis=0), left.var(axis=0, ddof=1)
    z = (-part - mean) / np.sqrt(var)
    rate = scipy.stats.norm.cdf(z)
    moves = (left - mean) / np.sqrt(var) + 0.5 * z * ((left - mean) ** 2 - var) / var
    error = scipy.stats.norm.pdf(z) ** 2 * np.mean(moves**2, axis=0) / draws
    noise = hits.var(axis=0, ddof=1) / draws
    each = (rate - hits.mean(axis=0)) ** 2 - noise - error
    np.testing.assert_allclose(found.predicted[0], rate, atol=1e-7)
    value = float(found.misfit.value[0])
    # 1/n and 1/(n - 1) in the errors are not told apart
    assert abs(value - each.mean()) < 0.01 * min(noise.mean(), error.mean())
    spread = each.std(ddof=1) / inputs**0.5
    assert float(found.misfit.standard_error[0]) == pytest.approx(spread, rel=0.01)
    assert np.all(np.isfinite(np.asarray(found.misfit.value)))
    one_law = error_rates((left[0] + part, part), (held_out[0], part))
    assert np.all(np.isnan(np.asarray(one_law.misfit.value)))


def test_wrong_margins_are_refused():
    x = np.zeros(30)
    with pytest.raises(bx.DeclarationError, match="fitted"):
        error_rates((x, x[:5]), (x, x))
    with pytest.raises(bx.DeclarationError, match="held_out"):
        error_rates((x, x), (x, x), per="input")
    with pytest.raises(bx.DeclarationError, match="held_out"):
        error_rates((x, x), (x, np.where(np.arange(30) == 3, np.nan, x)))


# --- coupling -------------------------------------------------------------------------------------


def test_couplings_of_mean_and_of_variance_are_found():
    rng = np.random.default_rng(5)
    a, r = rng.normal(size=2000), rng.normal(size=(2000, 2))
    free = coupling(a, r, key=KEY)
    assert free.outcome == Outcome.agree
    shifted = coupling(a, r + 0.2 * a[:, None], key=KEY)
    assert shifted.outcome == Outcome.disagree
    truth = np.array([0.2, 0.2])
    assert np.all(np.abs(np.asarray(shifted.covariance.z_score(truth))) < 4)
    wider = coupling(a, r * np.exp(0.2 * a)[:, None], key=KEY)
    assert wider.outcome == Outcome.disagree
    # mean: r_0, r_1; products: r_0 r_0, r_0 r_1, r_1 r_1
    assert np.array_equal(np.asarray(wider.p_values)[0] <= 0.05, [False, False, True, False, True])
    bent = coupling(a, r + 0.2 * (a**2)[:, None], key=KEY)
    assert np.all(np.asarray(bent.p_values)[1, :2] <= 0.05)


def test_few_rows_are_undecided():
    rng = np.random.default_rng(8)
    found = coupling(rng.normal(size=20), rng.normal(size=20), key=KEY)
    assert found.outcome == Outcome.too_few and "undecided" in repr(found)


@pytest.mark.slow
def test_false_alarms_and_power_of_coupling():
    """200 tests at 5%: 10 ± 3.1 alarms; a correlation of the detectable size is seen in 95%."""
    rng, alarms, seen = np.random.default_rng(7), 0, 0
    for seed in range(200):
        a, r = rng.exponential(size=200), rng.standard_t(4, size=(200, 2))
        found = coupling(a, r, key=jax.random.key(seed), permutations=199)
        alarms += float(found.p_value) <= 0.05
        z = rng.normal(size=(200, 2))
        rho = float(coupling(z[:, 0], z[:, 1], key=KEY, permutations=199).detectable)
        z[:, 1] = rho * z[:, 0] + np.sqrt(1 - rho**2) * z[:, 1]
        seen += float(coupling(z[:, 0], z[:, 1], key=KEY, permutations=199).p_value) <= 0.05
    assert alarms <= 22 and seen >= 180


@settings(max_examples=15)
@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-3, 3))
def test_units_do_not_matter(seed, scale, shift):
    rng = np.random.default_rng(seed)
    a, r = rng.normal(size=(2, 30))
    first = coupling(a, r, key=KEY, permutations=19)
    second = coupling(scale * a + shift, r / scale + shift, key=KEY, permutations=19)
    np.testing.assert_allclose(first.correlation, second.correlation, atol=1e-9)
    np.testing.assert_allclose(first.covariance.value, second.covariance.value, atol=1e-9)


def test_coupling_is_that_of_permutations_by_hand():
    """The largest correlation of `a` and `a²` with outputs and products, for the same orders."""
    rng, count = np.random.default_rng(12), 99
    a, r = rng.gamma(2.0, size=40), rng.normal(size=(40, 2))
    r[:, 1] += 0.3 * (a - 2)
    found = coupling(a, r, key=KEY, permutations=count, level=0.1)
    c, s = a - a.mean(), r - r.mean(axis=0)
    moments = np.stack([s[:, 0], s[:, 1], s[:, 0] ** 2, s[:, 0] * s[:, 1], s[:, 1] ** 2])

    def correlations(order):
        return np.corrcoef(np.stack([c[order], c[order] ** 2]), moments)[:2, 2:]

    truth = correlations(np.arange(40))
    np.testing.assert_allclose(found.correlation, truth, atol=1e-12)
    rows = np.tile(np.arange(40), (count, 1))
    orders = numpy_generator(KEY).permuted(rows, axis=1)
    null = np.array([np.max(np.abs(correlations(order))) for order in orders])
    p_values = (1 + np.sum(null[:, None, None] >= np.abs(truth), axis=0)) / (1 + count)
    assert len(np.unique(p_values)) > 4
    np.testing.assert_allclose(found.p_values, p_values)
    assert float(found.p_value) == p_values.min()
    # 10 of 100 may reach it, the statistic itself being one
    critical = np.sort(null)[-10]
    detectable = critical + scipy.stats.norm.ppf(0.95) / 40**0.5
    assert float(found.detectable) == pytest.approx(detectable)
    np.testing.assert_allclose(found.covariance.value, c @ s / 39)


@given(st.integers(1, 9), st.integers(1, 40_000), st.integers(0, 100))
def test_memory_does_not_matter(outputs, memory, seed):
    rng = np.random.default_rng(seed)
    a, r = rng.normal(size=30), rng.normal(size=(30, outputs))
    first = coupling(a, r, key=KEY, permutations=39)
    second = coupling(a, r, key=KEY, permutations=39, memory=memory)
    np.testing.assert_allclose(first.correlation, second.correlation, atol=1e-12)
    np.testing.assert_array_equal(first.p_values, second.p_values)
    np.testing.assert_allclose(first.detectable, second.detectable, rtol=1e-12)


def test_memory_is_bounded():
    """All products together would take 1000 · 5050 · 8 bytes = 40 MB."""
    rng = np.random.default_rng(9)
    a, r = rng.normal(size=1000), rng.normal(size=(1000, 100))
    tracemalloc.start()
    coupling(a, r, key=KEY, permutations=19, memory=2**23)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23 + 8 * r.size * 4


def test_a_constant_amplitude_is_refused():
    with pytest.raises(bx.DeclarationError, match="amplitude"):
        coupling(np.ones(10), np.arange(10.0), key=KEY)
    with pytest.raises(bx.DeclarationError, match="remainder"):
        coupling(np.arange(10.0), np.zeros((10, 0)), key=KEY)


@pytest.mark.parametrize("scale", [1e150, 1e-150])
def test_coupling_of_numbers_of_any_size(scale):
    a = np.random.default_rng(0).normal(size=64)
    found = coupling(scale * a, scale * a[:, None], key=KEY)
    assert float(found.p_value) == float(coupling(a, a[:, None], key=KEY).p_value) < 0.01
    assert float(found.correlation[0, 0]) == pytest.approx(1)


def test_bins_have_like_shares_of_the_variance():
    weights = bins_of_inputs(np.full(12, 0.5), 4)
    np.testing.assert_allclose(weights[:4], np.kron(np.eye(4), np.full(3, 1 / 3)))
    np.testing.assert_allclose(weights[4], 1 / 12)


@pytest.mark.parametrize("units, bins", [(200, 5), (400, 10), (4000, 20)])
def test_bins_are_as_many_as_errors_in_independent_draws_allow(units, bins):
    """Of `units` draws with rate ½ the variance of hits is `units / 4`, ten for a bin at least."""
    rows = np.random.default_rng(0).normal(size=(20, units, 1))
    apart = Influence(np.zeros(20), {"draws": rows})
    assert bins_allowed(apart, np.full(7, 0.5), "draws", False, 20) == (bins, "")
