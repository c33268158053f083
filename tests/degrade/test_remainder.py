"""Cumulants of a remainder against exact laws."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import boltzax as bx
from boltzax.core import Outcome
from boltzax.degrade import negentropy, remainder
from boltzax.degrade._remainder_cumulants import cumulants, joint

RUNS = 150
"""Repetitions of an experiment, for coverage and false alarms."""


def test_k_statistics_are_unbiased():
    """The mean over every sample of 6 from a law of three values is the cumulant itself."""
    values, p = np.array([0.0, 1.0, 3.0]), np.array([0.5, 0.3, 0.2])
    places = np.array(list(itertools.product(range(3), repeat=6)))
    chance = np.prod(p[places], axis=1)
    samples = values[places].T  # [input, output]: an output a sample
    mean = p @ values
    m = [p @ (values - mean) ** r for r in range(6)]
    exact = [mean, m[2], m[3], m[4] - 3 * m[2] ** 2, m[5] - 10 * m[2] * m[3]]
    found = np.asarray(cumulants(samples, 0, "all").value) @ chance
    np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_joint_cumulants_are_unbiased():
    points, p = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0]]), np.array([0.5, 0.3, 0.2])
    every = itertools.product(range(3), repeat=5)
    counts = Counter(tuple(sorted(places)) for places in every)  # their order does not matter
    places = np.array(list(counts))
    chance = np.prod(p[places], axis=1) * np.array(list(counts.values()))
    z = points - p @ points
    exact = {k: np.einsum("n,ni,nj,nk->ijk", p, z, z, z) for k in (3,)}
    second = np.einsum("n,ni,nj->ij", p, z, z)
    pairs = [np.einsum(f"{a},{b}->ijkl", second, second) for a, b in PAIRINGS]
    exact |= {2: second, 4: np.einsum("n,ni,nj,nk,nl->ijkl", p, z, z, z, z) - sum(pairs)}
    for degree, truth in exact.items():
        samples = points[places]
        centred = samples - samples.mean(axis=1, keepdims=True)
        each = [np.asarray(joint(x, 0, degree, 5.0).value) for x in centred]
        np.testing.assert_allclose(np.tensordot(chance, each, axes=1), truth, atol=1e-10)


PAIRINGS = [("ij", "kl"), ("ik", "jl"), ("il", "jk")]


def test_errors_are_those_of_the_jackknife():
    """They differ by a fraction of about 24/n, the most for the fifth cumulant."""
    rng = np.random.default_rng(0)
    x = rng.gamma(3.0, size=(800, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    found = remainder(x, np.zeros_like(x))
    every = np.stack(
        [np.delete(x, i, axis=0) for i in range(len(x))], axis=1
    )  # [input, left out, output]
    without = np.asarray(cumulants(every.reshape(len(x) - 1, -1), 0, "x").value)
    without = without.reshape(-1, *x.shape).swapaxes(0, 1)
    jackknife = np.sqrt((len(x) - 1) * np.var(without, axis=0))
    np.testing.assert_allclose(found.cumulants.standard_error[:3], jackknife[:3], rtol=0.005)
    np.testing.assert_allclose(found.cumulants.standard_error[3:], jackknife[3:], rtol=0.04)


def test_joint_and_marginal_cumulants_agree():
    x = np.random.default_rng(1).gamma(3.0, size=(300, 3))
    found = remainder(x, np.zeros_like(x))
    for degree, tensor in ((2, found.covariance), (3, found.third), (4, found.fourth)):
        places = (np.arange(3),) * degree
        np.testing.assert_allclose(tensor.value[places], found.cumulants.value[degree - 1])
        errors = found.cumulants.standard_error[degree - 1]
        np.testing.assert_allclose(tensor.standard_error[places], errors, rtol=0.02)
        shuffled = np.transpose(tensor.value, np.random.default_rng(2).permutation(degree))
        np.testing.assert_allclose(shuffled, tensor.value)
    assert remainder(x, 0 * x, joint_outputs=2).third is None


def test_laws_are_those_of_the_output_that_is_named():
    x = np.random.default_rng(3).gamma(3.0, size=(60, 2)) * np.array([1.0, 5.0])
    found = remainder(x, np.zeros_like(x))
    for law, output in ((found.law(), 0), (found.law(output=1), 1)):
        np.testing.assert_allclose(law.cumulants, found.cumulants.value[:, output])
    below = [float(found.probability(3.0, **given).value) for given in ({}, {"output": 0})]
    assert below[0] == below[1] != float(found.probability(3.0, output=1).value)


@pytest.mark.slow
def test_errors_cover_and_false_alarms_are_as_told():
    """Third and fourth cumulants have skew sampling laws: their intervals cover a little less."""
    rng = np.random.default_rng(3)
    shape = 9.0
    exact = shape * np.array([1.0, 1.0, 2.0, 6.0, 24.0])[:4]
    scores, p_values, series = [], [], []
    for _ in range(RUNS):
        found = remainder(rng.gamma(shape, size=1000), np.zeros(1000))
        scores.append(np.asarray(found.cumulants.z_score(np.append(exact, 0.0)[:, None]))[:4, 0])
        series.append(float(found.negentropy.z_score(float(negentropy(exact)))[0]))
        p_values.append(float(remainder(rng.normal(size=60), np.zeros(60)).p_value))
    covered = np.mean(np.abs(scores) < 1.96, axis=0)
    assert np.all(covered > [0.9, 0.9, 0.86, 0.78]) and np.all(covered < 0.995)
    assert np.mean(np.abs(series) < 1.96) > 0.86
    # 150 runs at 5%: 7.5 ± 2.7
    assert np.sum(np.array(p_values) <= 0.05) <= 16


def test_the_negentropy_of_gaussian_numbers_is_zero_within_its_error():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(500, 100))
    found = remainder(x, np.zeros_like(x), joint_outputs=1).negentropy
    value, error = np.asarray(found.value), np.asarray(found.standard_error)
    assert abs(value.mean()) < 4 * value.std() / 10
    assert 0.7 < error.mean() / value.std() < 1.6
    plug_in = np.asarray(negentropy(np.asarray(cumulants(x, 0, "x").value)))
    assert plug_in.mean() > 5 * abs(value.mean())


def test_outcomes_of_the_gaussian_law():
    rng = np.random.default_rng(5)
    many, few, skew = rng.normal(size=6000), rng.normal(size=60), rng.exponential(size=600)
    outcomes = [remainder(x, np.zeros_like(x)).gaussian for x in (many, few, skew)]
    assert outcomes == [Outcome.agree, Outcome.too_few, Outcome.disagree]
    assert "undecided" in repr(remainder(few, np.zeros(60)))


def test_the_p_value_is_that_of_skewness_and_of_kurtosis():
    rng = np.random.default_rng(11)
    for x in (
        rng.gamma(2.0, size=20),
        np.tan(1.4 * np.linspace(-1, 1, 20)),
        rng.gamma(9.0, size=90),
    ):
        p_values = stats.skewtest(x).pvalue, stats.kurtosistest(x).pvalue
        found = float(remainder(x, np.zeros(len(x))).p_value)
        assert found == pytest.approx(min(1.0, 2 * min(p_values)), rel=1e-9)


def test_what_is_detectable_is_detected():
    """Skewness of the detectable size, in laws of Gamma."""
    rng, n = np.random.default_rng(6), 2000
    detectable = float(remainder(rng.normal(size=n), np.zeros(n)).detectable)
    skewness = 6 * detectable / 0.39894228
    p_values = [
        float(remainder(rng.gamma(4 / skewness**2, size=n), np.zeros(n)).p_value) for _ in range(30)
    ]
    assert np.mean(np.array(p_values) <= 0.05) > 0.8


def line(p, x):
    return p * x


def measure() -> bx.Gibbs:
    model = bx.models.Function(line, np.zeros(()))
    energy = bx.SquaredError(model, bx.Empirical((np.ones(3), np.ones(3))))
    return bx.compile(energy, bx.Normal(), marginalise=False)


def ensemble_of(weights: np.ndarray, axes: tuple[str, ...]) -> bx.Ensemble:
    gibbs = measure()
    (path,) = gibbs.sample_prior(jax.random.key(0))
    return bx.Ensemble.of(gibbs, {path: jnp.asarray(weights)}, axes)


def test_an_ensemble_has_errors_of_weights_and_of_inputs():
    scores = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        w, x = rng.normal(size=30), rng.normal(size=200)
        ensemble = ensemble_of(w, ("sample",))
        found = remainder(w[:, None] + x, np.zeros(200), ensemble=ensemble)
        scores.append(
            [float(found.mean.z_score(0.0)[0]), float(found.covariance.z_score(2.0)[0, 0])]
        )
    assert np.all((np.std(scores, axis=0) > 0.75) & (np.std(scores, axis=0) < 1.35))
    values = rng.normal(size=(30, 20, 2))
    explained = 1 + 0.5 * (values - values.mean(axis=(0, 1)))
    left = values - explained
    found = remainder(values, explained, ensemble=ensemble).unexplained
    share = np.mean(left**2) / np.mean((values - values.mean(axis=(0, 1))) ** 2)
    assert float(found.value) == pytest.approx(share, rel=1e-6)
    with pytest.raises(bx.DeclarationError, match="ensemble"):
        remainder(np.zeros((2, 9)), np.zeros(9), ensemble=ensemble_of(np.zeros(2), ("checkpoint",)))


@pytest.mark.slow
@pytest.mark.parametrize("draws, inputs", [(10, 200), (20, 100), (50, 50), (200, 8), (8, 1000)])
def test_false_alarms_with_draws(draws, inputs):
    """150 Gaussian remainders at a level of 5%: at most 7.5 + 4 · 2.7 = 18 alarms."""
    rng, alarms = np.random.default_rng(7), np.zeros(2)
    ensemble = ensemble_of(np.zeros(draws), ("sample",))
    for _ in range(RUNS):
        noise = rng.normal(size=(draws, inputs))
        sums = rng.normal(size=(draws, 1)) + rng.normal(size=(1, inputs))
        for i, values in enumerate((noise, sums)):
            found = remainder(values, np.zeros(inputs), ensemble=ensemble)
            alarms[i] += float(found.p_value) <= 0.05
    assert np.all(alarms <= 18)


def test_a_skew_law_over_draws_is_seen_and_few_draws_are_undecided():
    rng = np.random.default_rng(8)
    x = rng.normal(size=100)
    found = {}
    for draws in (10, 2000):
        w = rng.exponential(size=draws)
        values = 0.3 * x + w[:, None]
        ensemble = ensemble_of(w, ("sample",))
        found[draws] = remainder(values, np.zeros(100), ensemble=ensemble).gaussian
    assert found == {10: Outcome.too_few, 2000: Outcome.disagree}


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_a_constant_remainder_has_no_law_to_test(offset):
    x = np.random.default_rng(9).normal(size=30)
    found = remainder(x, x - offset)
    assert found.gaussian == Outcome.too_few and "constant" in repr(found)
    both = remainder(np.stack([x, x], axis=1), np.stack([x, 0 * x], axis=1))
    np.testing.assert_allclose(both.p_value, remainder(x, 0 * x).p_value)
    assert np.array_equal(np.isnan(np.asarray(both.negentropy.value)), [True, False])
    flat = remainder(np.full(30, 0.1), np.zeros(30))
    assert np.isnan(float(flat.unexplained.value)) and "itself is constant" in repr(flat)


def test_chains_keep_their_autocorrelation():
    rng = np.random.default_rng(0)
    noise, w = rng.normal(size=(2, 400)), np.zeros((2, 400))
    for t in range(1, 400):
        w[:, t] = 0.95 * w[:, t - 1] + noise[:, t]
    values = w[..., None] + 0.1 * rng.normal(size=(2, 400, 20))
    chains = remainder(values, np.zeros(20), ensemble=ensemble_of(w, ("chain", "draw")))
    flat = remainder(
        values.reshape(800, 20), np.zeros(20), ensemble=ensemble_of(w.ravel(), ("sample",))
    )
    assert float(chains.mean.standard_error[0]) > 3 * float(flat.mean.standard_error[0])


@settings(max_examples=15)
@given(st.floats(0.1, 10), st.floats(-5, 5), st.integers(0, 1000))
def test_units_and_offsets(scale, shift, seed):
    x = np.random.default_rng(seed).gamma(2.0, size=(40, 1))
    first, second = remainder(x, 0 * x), remainder(scale * x, 0 * x - shift)
    powers = scale ** np.arange(1.0, 6.0)[:, None]
    moved = np.asarray(first.cumulants.value) * powers + shift * np.eye(5)[:, :1]
    np.testing.assert_allclose(second.cumulants.value, moved, rtol=1e-6, atol=1e-8)
    errors = np.asarray(first.cumulants.standard_error) * powers
    np.testing.assert_allclose(second.cumulants.standard_error, errors, rtol=1e-6)
    np.testing.assert_allclose(second.p_value, first.p_value, rtol=1e-6)
    np.testing.assert_allclose(
        second.negentropy.value, first.negentropy.value, rtol=1e-5, atol=1e-9
    )


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_what_is_unexplained_is_all_or_nothing(seed):
    x = np.random.default_rng(seed).normal(size=(30, 2))
    constant = np.broadcast_to(x.mean(axis=0), x.shape)
    assert float(remainder(x, constant).unexplained.value) == pytest.approx(1.0)
    half = remainder(x, constant + 0.5 * (x - constant)).unexplained
    assert float(half.value) == pytest.approx(0.25) and float(half.standard_error) < 1e-12


@pytest.mark.parametrize("model, part", [(np.zeros(5), np.zeros(5)), (np.zeros(9), np.zeros(8))])
def test_wrong_shapes_are_refused(model, part):
    with pytest.raises(bx.DeclarationError, match="model"):
        remainder(model, part)
    with pytest.raises(bx.DeclarationError, match="finite"):
        remainder(np.full(9, np.inf), np.zeros(9))
    with pytest.raises(bx.DeclarationError, match="evaluate a model or function first"):
        remainder(line, np.zeros(9))


@pytest.mark.parametrize("unit", [1e-6, 1e5])
def test_a_remainder_does_not_depend_on_the_unit(unit):
    """In single precision, whose range fifth powers leave soon."""
    values = np.random.default_rng(0).exponential(size=(200, 2))
    with jax.enable_x64(False):
        plain, other = (remainder(values * u, np.zeros_like(values)) for u in (1.0, unit))
    for name in ("negentropy", "unexplained"):
        mine, theirs = getattr(plain, name), getattr(other, name)
        np.testing.assert_allclose(theirs.value, mine.value, rtol=1e-5)
        np.testing.assert_allclose(theirs.standard_error, mine.standard_error, rtol=1e-4)
    powers = unit ** np.arange(1.0, 6)[:, None]
    raw = np.asarray(other.cumulants.standard_error, np.float64) / powers
    np.testing.assert_allclose(raw, plain.cumulants.standard_error, rtol=1e-5)
    np.testing.assert_allclose(
        np.asarray(other.fourth.standard_error, float) / unit**4, plain.fourth.standard_error, 1e-5
    )
    assert float(other.detectable) == pytest.approx(float(plain.detectable))


def test_a_remainder_whose_powers_are_no_numbers_is_refused():
    values = 1e-9 * np.sign(np.arange(40) - 19.5)
    wrong = pytest.raises(bx.DeclarationError, match="standard deviation 1e-09")
    with jax.enable_x64(False), wrong:
        remainder(np.float32(values), np.zeros(40, np.float32))
