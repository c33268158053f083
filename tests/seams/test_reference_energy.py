"""Absolute and excess: free energies of data with noise say which they are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx


@functools.cache
def noisy(count: int, scale: float) -> tuple[bx.Trace, bx.models.Function, float, np.ndarray]:
    """A linear model with noise: run, least-squares fit, its energy, the exact excess `F`."""
    rng = np.random.default_rng(count)
    x = rng.normal(size=(count, 2))
    y = x @ np.array([0.5, -1.0]) + scale * rng.normal(size=count)
    model = bx.models.Function(lambda w, z: w @ z, jnp.zeros(2))
    gibbs = bx.compile(bx.SquaredError(model, bx.Empirical((x, y))), bx.Normal(), marginalise=False)
    betas = np.array([0.1, 1.0])
    options = {"draws": 200, "thin": 4, "bound": False}
    trace = bx.anneal(gibbs, betas, bx.RandomWalk(), key=jax.random.key(1), **options)
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    energy = 0.5 * float(((y - x @ best) ** 2).sum())
    free = []
    for beta in betas:
        a = np.eye(2) + beta * x.T @ x
        mean = np.linalg.solve(a, beta * x.T @ y)
        free.append(0.5 * beta * y @ y - 0.5 * mean @ a @ mean + 0.5 * np.linalg.slogdet(a)[1])
    fit = bx.models.Function(model.fn, jnp.asarray(best))
    return trace, fit, energy, np.array(free)


CASES = [(300, 1.0), (100, 0.3), (40, 3.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "scale"), CASES)
def test_excess_is_measured_from_the_reference(count, scale):
    trace, fit, energy, free = noisy(count, scale)
    excess = (free - np.asarray(trace.betas) * energy) / np.log(count * np.asarray(trace.betas))
    for reference in (fit, energy, np.float64(energy), jnp.asarray(energy)):
        found = bx.effective_parameters(trace, reference)
        assert np.all(np.abs(found.z_score(excess)) < 4), (found, excess)
    above = bx.free_energy(trace, reference=fit)
    assert np.all(np.abs(bx.free_energy(trace).z_score(free)) < 4)
    np.testing.assert_allclose(
        above.value, bx.free_energy(trace).value - trace.betas * energy, rtol=1e-9, atol=1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize(("count", "scale"), CASES)
@pytest.mark.parametrize("observable", [bx.effective_parameters, bx.effective_dimension])
def test_noise_is_not_counted_as_parameters(observable, count, scale):
    with pytest.raises(bx.DeclarationError, match="reference") as error:
        observable(noisy(count, scale)[0])
    assert error.value.argument == "reference"
    assert np.all(np.isfinite(observable(noisy(count, scale)[0], 0.0).value))


@pytest.mark.slow
def test_observables_agree_on_what_is_absolute():
    trace, fit, *_ = noisy(*CASES[0])
    part = bx.Phase(trace)
    whole, above = bx.phases([part]), bx.phases([part], reference=fit)
    np.testing.assert_allclose(whole.free_energy.value, bx.free_energy(trace).value)
    np.testing.assert_allclose(above.free_energy.value, bx.free_energy(trace, reference=fit).value)
    np.testing.assert_allclose(
        above.learning_coefficient.value, bx.learning_coefficient(trace, fit).value
    )
    np.testing.assert_allclose(above.probability.value, whole.probability.value)
    # S = β⟨E⟩ - F = β⟨E - E_ref⟩ - (F - β E_ref): the reference cancels
    excess = bx.learning_coefficient(trace, fit).value - bx.free_energy(trace, reference=fit).value
    np.testing.assert_allclose(bx.entropy(trace).value, excess, rtol=1e-8)


@pytest.mark.slow
def test_a_population_loss_that_reaches_zero_needs_no_reference():
    model = bx.models.Function(lambda w, x: w * x, jnp.zeros(3))
    measure = bx.compile(
        bx.SquaredError(model, bx.Empirical(np.ones((1, 1))), bx.zero), bx.Normal(),
        marginalise=False,
    )  # fmt: skip
    trace = bx.anneal(measure, [2.0, 300.0], bx.RandomWalk(), key=jax.random.key(2), thin=4)
    exact = 1.5 * np.log1p(np.array([2.0, 300.0]))
    found = bx.effective_parameters(trace)
    assert np.all(np.abs(found.z_score(exact / np.log([2.0, 300.0]))) < 4)
    assert np.all(np.isfinite(bx.effective_dimension(trace).value))


def test_the_default_reference_of_a_relative_measure_is_the_declared_zero():
    model = bx.models.Function(lambda w, x: w * x, jnp.zeros(3))
    gibbs = bx.compile(
        bx.SquaredError(model, bx.Empirical(np.ones((1, 1))), bx.zero), bx.Normal(), beta=300.0,
        marginalise=False,
    )  # fmt: skip
    away = bx.models.Function(model.fn, jnp.ones(3))
    options = {"key": jax.random.key(3), "draws": 200, "throw": False}
    run = bx.sample(gibbs.relative_to(away), bx.RandomWalk(), **options)
    assert float(run.gibbs.reference_energy) == 1.5
    with pytest.warns(RuntimeWarning, match="relative to a model of energy 1.5"):
        twice = bx.learning_coefficient(run).value * 2
    np.testing.assert_allclose(bx.effective_dimension(run).value, twice, rtol=1e-12)

    x = np.linspace(-1, 1, 30)
    noise = bx.Empirical((x[:, None], 1 + x**2))
    line = bx.models.Function(lambda w, x: w[0] * x[0], jnp.zeros(1))
    gibbs = bx.compile(bx.SquaredError(line, noise), bx.Normal(), beta=30.0, marginalise=False)
    run = bx.sample(gibbs.relative_to(line), bx.RandomWalk(), **options)
    with pytest.raises(bx.DeclarationError, match="reference"):
        bx.effective_dimension(run)


@pytest.mark.parametrize("reference", [np.nan, "w", jnp.zeros(3), True, [1.0]])
def test_a_reference_is_a_number_or_a_model(reference):
    with pytest.raises(bx.DeclarationError) as error:
        bx.free_energy(noisy(*CASES[0])[0], reference=reference)
    assert error.value.argument == "reference"
