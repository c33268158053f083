"""Observables against closed forms, from draws made by hand or of exact systems."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx
from boltzax.observe._free_energy import hermite, integration_series
from boltzax.observe._spectrum import Squares
from boltzax.sample import Bridges, Trace, bar_series

KEY = jax.random.key(5)
MU = 0.7


def gaussian(beta: float = 1.0) -> bx.Gibbs:
    """`E = ½ μ w²`, prior N(0, 1)."""
    model = bx.models.Function(lambda w, x: jnp.sqrt(MU) * w, jnp.zeros(()))
    energy = bx.SquaredError(model, bx.GaussianMeasure(1), target=bx.zero)
    return bx.compile(energy, bx.Normal(), beta=beta, marginalise=False)


def independent(betas, draws=2000, key=KEY) -> tuple[Trace, np.ndarray]:
    """A ladder of independent exact draws."""
    shape = (len(betas), 4, draws)
    w = jax.random.normal(key, shape) / jnp.sqrt(1 + MU * jnp.asarray(betas)[:, None, None])
    energy = 0.5 * MU * w**2
    steps = jnp.diff(jnp.asarray(betas))[:, None, None]
    zero = jnp.zeros(shape)
    bridges = Bridges(
        jnp.asarray(betas), energy, zero, steps * energy[:-1], steps * energy[1:],
        jnp.ones(len(betas) - 1), jnp.ones(4), tuple(range(len(betas))),
    )  # fmt: skip
    gibbs = gaussian().at(jnp.asarray(betas))
    status = bx.Status.successful
    trace = Trace(gibbs, energy, zero, zero, zero.astype(bool), {"params": w}, status, bridges)
    return trace, np.asarray(betas)


@pytest.mark.parametrize("method", ["bar", "integration"])
def test_free_energies_are_exact_and_their_errors_honest(method):
    """Over 40 repetitions the z-scores have mean 0 and standard deviation 1.

    False-alarm rate per level: 1e-3 for the mean (3.3 s.e.) and for the spread (chi-squared).
    """
    scores = []
    for seed in range(40):
        trace, betas = independent([0.0, 0.5, 2.0, 6.0, 20.0], 300, jax.random.key(seed))
        exact = 0.5 * np.log1p(MU * betas)
        scores.append(np.asarray(bx.free_energy(trace, method).z_score(exact))[1:])
    assert np.all(np.abs(np.mean(scores, axis=0)) < 3.3 / np.sqrt(40))
    assert np.all((np.std(scores, axis=0) > 0.65) & (np.std(scores, axis=0) < 1.38))


@given(st.lists(st.floats(0.1, 2.0), min_size=2, max_size=4))
def test_integration_is_exact_for_a_constant_energy(steps):
    """A law of the rule: `⟨E⟩ = c` gives `F = c β`, whatever the ladder."""
    betas = np.concatenate([[0.0], np.cumsum(steps)])
    energy = np.full((len(betas), 2, 8), 1.3)
    zero = np.zeros_like(energy)
    bridges = Bridges(
        jnp.asarray(betas), jnp.asarray(energy), jnp.asarray(zero), jnp.asarray(zero[:-1]),
        jnp.asarray(zero[:-1]), jnp.ones(len(steps)), jnp.ones(2), tuple(range(len(betas))),
    )  # fmt: skip
    series, rule = integration_series(bridges)
    np.testing.assert_allclose(np.asarray(series).mean(axis=(1, 2)), 1.3 * betas, rtol=1e-12)
    assert np.all(rule < 1e-12)


def test_free_energy_slope_is_the_mean_energy():
    """`∂F/∂log β = λ̂`, by differences of an exact ladder."""
    betas = np.exp(np.array([1.0, 1.05]))
    trace, _ = independent([0.0, 0.8, *betas], draws=4000)
    rise = np.diff(np.asarray(bar_series(trace.bridges)), axis=0)[-1]
    middle = bx.learning_coefficient(trace).value[2:].mean()
    estimate = bx.mean_estimate(jnp.asarray(rise) / 0.05)
    assert abs(float(estimate.z_score(middle))) < 4


def test_wbic_reads_the_energy_at_its_temperature():
    n = 1000
    trace = bx.sample(
        gaussian(bx.temperature.watanabe(n).beta(1.0)), bx.RandomWalk(), key=KEY, draws=400, thin=5
    )
    load = n / np.log(n) * MU
    exact = n * 0.5 * MU / (1 + load)
    assert abs(float(bx.wbic(trace, n).z_score(exact))) < 4


def test_local_coefficient_subtracts_the_energy_at_the_reference():
    trace, _ = independent([0.0, 4.0])
    shifted = bx.models.Function(trace.gibbs.declared.fn, jnp.asarray(0.3))
    local = bx.learning_coefficient(trace, shifted)
    world = bx.learning_coefficient(trace)
    expected = world.value - jnp.array([0.0, 4.0]) * 0.5 * MU * 0.3**2
    np.testing.assert_allclose(local.value, expected, rtol=1e-10)


def test_a_relative_measure_without_a_reference_is_told():
    """The value is absolute, `β E(w*)` included, though the measure has a `w*`."""
    x = np.linspace(-1, 1, 20)[:, None]
    line = bx.models.Function(lambda w, x: w * x[0], jnp.asarray(0.3))
    data = bx.Empirical((x, 0.3 * x[:, 0] + 2.0))
    plain = bx.compile(bx.SquaredError(line, data), bx.Normal(), beta=4.0, marginalise=False)
    run = {"key": KEY, "warmup": 20, "draws": 50, "throw": False}
    relative = bx.sample(plain.relative_to(), bx.RandomWalk(), **run)
    level = float(relative.gibbs.reference_energy)
    assert 4 * level > 100
    with pytest.warns(RuntimeWarning, match="reference=w_star") as told:
        absolute = bx.learning_coefficient(relative)
    assert told[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="no reference"):
        bx.coefficient_curve(relative, [4.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        local = bx.learning_coefficient(relative, reference=line)
        meant = bx.learning_coefficient(relative, reference=0.0)
    np.testing.assert_allclose(absolute.value - local.value, 4 * level, rtol=1e-9)
    np.testing.assert_allclose(absolute.value, meant.value)


def test_energies_that_stay_away_from_zero_are_told():
    x = np.linspace(-1, 1, 20)[:, None]
    line = bx.models.Function(lambda w, x: w * x[0], jnp.asarray(0.3))
    run = {"key": KEY, "warmup": 100, "draws": 100, "throw": False}
    traces = [
        bx.sample(
            bx.compile(
                bx.SquaredError(line, bx.Empirical((x, 0.3 * x[:, 0] + noise))),
                bx.Normal(),
                beta=4.0,
                marginalise=False,
            ),
            bx.RandomWalk(),
            **run,
        )
        for noise in (2.0, 0.0)
    ]
    with pytest.warns(RuntimeWarning, match="energies stay at") as told:
        absolute = bx.learning_coefficient(traces[0])
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        meant = bx.learning_coefficient(traces[0], reference=0.0)
        bx.learning_coefficient(traces[1])
    np.testing.assert_array_equal(absolute.value, meant.value)
    apart = 10.0 * jnp.arange(traces[0].energy.shape[0])[:, None]  # chains in several minima
    several = eqx.tree_at(lambda trace: trace.energy, traces[0], traces[0].energy + apart)
    with pytest.warns(RuntimeWarning, match="energies stay at"):
        bx.learning_coefficient(several)


def net(width=6) -> bx.Gibbs:
    energy = bx.SquaredError(bx.models.TwoLayer(width), bx.GaussianMeasure(1), target=bx.zero)
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-1, 1))
    return bx.compile(energy, prior, beta=np.exp(6.0))


@pytest.fixture(scope="module")
def marginal():
    return bx.sample(net(), bx.RandomWalk(), key=KEY, draws=400, thin=8)


@pytest.mark.slow
def test_plain_and_rao_blackwell_forms_agree_and_the_second_is_sharper(marginal):
    sharp = bx.learning_coefficient(marginal)
    plain = bx.learning_coefficient(marginal, plain=True, key=jax.random.key(1))
    apart = float(plain.value - sharp.value) / float(plain.standard_error)
    assert abs(apart) < 4
    assert float(sharp.standard_error) < float(plain.standard_error)


@pytest.mark.slow
def test_spectrum_sums_to_the_energy(marginal):
    """Parseval over draws: `½ Σ_k ⟨c_k²⟩ = ⟨E⟩`."""
    spectrum = bx.spectrum(marginal, bx.GaussianMeasure(1), 60, key=jax.random.key(1))
    plain = bx.learning_coefficient(marginal, plain=True, key=jax.random.key(1))
    beta = float(marginal.betas)
    np.testing.assert_allclose(0.5 * beta * spectrum.value.sum(), plain.value, rtol=1e-6)
    assert np.all(np.asarray(spectrum.value[::2]) < 1e-20)


@pytest.mark.slow
def test_heat_capacity_of_a_marginal_measure_counts_the_conditional_variance(marginal):
    plain = marginal.evaluate(marginal.gibbs.energy_of, jax.random.key(1))
    direct = float(marginal.betas) ** 2 * float(jnp.var(plain))
    estimate = bx.heat_capacity(marginal)
    spread = bx.mean_estimate(float(marginal.betas) ** 2 * (plain - plain.mean()) ** 2)
    error = np.hypot(float(estimate.standard_error), float(spread.standard_error))
    assert abs(float(estimate.value) - direct) < 4 * error


def test_a_curve_of_integrated_weights_at_its_own_beta_is_the_estimate():
    gibbs = net(2)
    w = {"embedding": jax.random.uniform(KEY, (2, 40, 2, 1), minval=-1.0)}
    assert jax.tree.map(jnp.shape, gibbs.position()) == {"embedding": (2, 1)}
    flat = {"embedding": w["embedding"].reshape(80, 2, 1)}
    moments = jax.vmap(gibbs.moments)(flat)
    energy, variance = (each.reshape(2, 40) for each in (moments.energy, moments.energy_variance))
    zero = jnp.zeros((2, 40))
    trace = Trace(gibbs, energy, variance, zero, zero.astype(bool), w, bx.Status.successful)
    curve = bx.coefficient_curve(trace, [float(gibbs.beta)])
    own = bx.learning_coefficient(trace)
    np.testing.assert_allclose(curve.value[0], own.value, rtol=1e-9)


def test_a_spectrum_of_logarithms():
    model = bx.models.Function(lambda w, x: w * x[0], jnp.asarray(0.3))
    basis = bx.GaussianMeasure(1).basis()
    plain, log = (Squares(basis, 2, None, kind)(model) for kind in (False, True))
    np.testing.assert_allclose(plain, [0.0, 0.09], atol=1e-12)
    np.testing.assert_allclose(log[1], np.log(0.09), rtol=1e-6)


def test_the_rule_of_the_free_energy_is_exact_for_quadratics_in_the_logarithm():
    """With `t = log(1 + β)` and `v(t) = (1 + β)(⟨E⟩ - E_0)` quadratic, `∫⟨E⟩ dβ = ∫ v dt + E_0 β`;
    the error is then that of the correction `h²/12 [v']` alone."""
    t, end, least = np.array([0.0, 0.4, 1.1, 2.0]), 2.0, 3.0
    value, slope = 5 * (1 - (t / end) ** 2), -10 * t / end**2
    betas = np.expm1(t)
    energy, variance = least + value * np.exp(-t), (value - slope) * np.exp(-2 * t)
    found, errors = hermite(betas, energy[:, None, None], variance[:, None, None])
    whole = 5 * (t - t**3 / (3 * end**2)) + least * betas
    np.testing.assert_allclose(found[:, 0, 0], np.diff(whole), rtol=1e-12)
    np.testing.assert_allclose(errors, np.diff(t) ** 2 / 12 * np.abs(np.diff(slope)), rtol=1e-9)


def test_the_error_of_the_rule_grows_with_the_third_derivative():
    """Of a cubic v its other part is `h/6 [v_0 - v_1] + h²/12 [v'_0 + v'_1] = h⁴/72 d³v/dt³`."""
    t, third = np.array([0.0, 0.5, 1.0]), -6.0
    value, slope = 1 - t**3, -3 * t**2
    energy, variance = value * np.exp(-t), (value - slope) * np.exp(-2 * t)
    _, errors = hermite(np.expm1(t), energy[:, None, None], variance[:, None, None])
    correction = np.diff(t) ** 2 / 12 * np.diff(slope)
    wanted = np.hypot(np.diff(t) ** 4 * third / 72, correction)
    np.testing.assert_allclose(errors, wanted, rtol=1e-9)
