"""Energies that are large against the differences that matter: many data, large units, float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

KEY = jax.random.key(0)


def least_squares(sd: float, n: int = 2000):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    y = sd * (x @ np.array([1.0, -1.0, 2.0]) + rng.normal(size=n))
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    model = bx.models.Function(lambda p, x: jnp.dot(p, x), jnp.asarray(best, float))
    return model, bx.Empirical((x, y))


def squared(model, z):
    return 0.5 * (model(z[0]) - z[1]) ** 2


MODEL, DATA = least_squares(1.0, 40)
MLP = bx.models.MLP((3, 2, 1), key=KEY)
LABELS = bx.Empirical((DATA.data[0], (DATA.data[1] > 0).astype(int)))
CASES = {
    "moments": (bx.SquaredError(MODEL, DATA), "auto"),
    "nodes": (bx.SquaredError(MODEL, DATA), "nodes"),
    "basis": (bx.SquaredError(MLP, bx.GaussianMeasure(3, order=4), bx.zero), "basis"),
    "declared": (bx.SquaredError(MODEL, 3.0 * DATA), "declared"),
    "own loss": (bx.PerDatum(MODEL, DATA, squared), "auto"),
    "batches": (bx.SquaredError(MODEL, 0.5 * bx.Subsampled(DATA, 7)), "auto"),
    "classes": (bx.CrossEntropy(MODEL, LABELS), "auto"),
    "a sum": (2.0 * bx.SquaredError(MODEL, DATA) + bx.PerDatum(MODEL, DATA, squared), "auto"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_relative_energies_are_differences(name):
    energy, integral = CASES[name]
    gibbs = bx.compile(energy, bx.Normal(), beta=0.3, marginalise=False, integral=integral)
    w, there = (gibbs.sample_prior(jax.random.key(i)) for i in (1, 2))
    reference = gibbs.model(there)
    relative = gibbs.relative_to(reference)
    scale = float(gibbs.energy(there)) + float(gibbs.energy(w))
    near = {"atol": 1e-12 * scale, "rtol": 0.0}
    np.testing.assert_allclose(relative.energy(w), gibbs.energy(w) - gibbs.energy(there), **near)
    np.testing.assert_allclose(relative.energy_of(reference), 0.0, **near)
    np.testing.assert_allclose(relative.reference_energy, gibbs.energy(there), **near)
    gradients = (jax.grad(g.log_prob)(w) for g in (gibbs, relative))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), *gradients)
    paired = gibbs.energy_estimate(w, KEY) - gibbs.energy_estimate(there, KEY)
    np.testing.assert_allclose(relative.energy_estimate(w, KEY), paired, **near)
    again = relative.relative_to(gibbs.model(w))
    np.testing.assert_allclose(again.energy_of(reference), -relative.energy(w), **near)


@pytest.mark.slow
def test_observables_do_not_depend_on_the_reference():
    gibbs = bx.compile(
        bx.SquaredError(MODEL, DATA), bx.Normal(), beta=bx.temperature.watanabe(40),
        marginalise=False,
    )  # fmt: skip
    other = bx.models.Function(MODEL.fn, jnp.ones(3))

    def numbers(gibbs):
        run = bx.sample(gibbs, bx.RandomWalk(), key=KEY, warmup=50, draws=50, throw=False)
        found = [
            bx.learning_coefficient(run, MODEL), bx.learning_coefficient(run, 3.0),
            bx.wbic(run, 40), bx.heat_capacity(run), bx.effective_dimension(run, MODEL),
            bx.coefficient_curve(run, [0.2], 1.0),
        ]  # fmt: skip
        return [each.value for each in found]

    plain, relative = numbers(gibbs), numbers(gibbs.relative_to(other))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), plain, relative)


@pytest.mark.slow
def test_free_energies_do_not_depend_on_the_reference():
    gibbs = bx.compile(bx.SquaredError(MODEL, DATA), bx.Normal(), marginalise=False).relative_to()
    ladder = bx.anneal(gibbs, [0.1, 0.3], bx.RandomWalk(), key=KEY, by="smc", draws=50, throw=False)
    x, y = DATA.data
    for beta, *found in zip(
        (0.1, 0.3),
        bx.free_energy(ladder),
        bx.free_energy(ladder, "integration"),
        bx.phases([bx.Phase(ladder)]).free_energy,
        strict=True,
    ):
        covariance = np.eye(40) + beta * x @ x.T
        exact = 0.5 * np.linalg.slogdet(covariance)[1]
        exact += 0.5 * beta * y @ np.linalg.solve(covariance, y)
        assert all(abs(float(each.z_score(exact))) < 4 for each in found)


@pytest.mark.parametrize("sd", [1.0, 3000.0])
def test_float32_keeps_differences_of_moments(sd):
    with jax.enable_x64(False):
        model, data = least_squares(sd)
        gibbs = bx.compile(
            bx.SquaredError(model, data), bx.Normal(0, 10 * sd), marginalise=False
        ).relative_to()
        w = {path: leaf + 0.1 for path, leaf in gibbs.position().items()}
        found, step = float(gibbs.energy(w)), np.asarray(w["params"]) - np.asarray(model.params)
        x, y = (np.asarray(leaf, float) for leaf in data.data)
        residual = x @ np.asarray(model.params, float) - y
        moved = x @ step.astype(float)
        assert abs(found - np.sum(moved * (residual + 0.5 * moved))) < 0.05 * (1 + 1e-3 * sd)
        assert gibbs.reference_energy == pytest.approx(0.5 * np.sum(residual**2), rel=1e-6)


@pytest.mark.slow
def test_a_coefficient_in_natural_units_is_right_in_float32():
    with jax.enable_x64(False):
        model, data = least_squares(3000.0)
        result = bx.local_learning_coefficient(
            bx.SquaredError(model, data), key=KEY, kernel=bx.RandomWalk(), localisation=1e-8,
            max_gradients=4000,
        )  # fmt: skip
        assert abs(result.estimate.z_score(1.5)) < 4
        assert result.evidence.rounding < 0.1
        assert result.verdict != bx.Verdict.rounding


@pytest.mark.slow
def test_a_coefficient_of_rounding_errors_is_refused():
    with jax.enable_x64(False):
        model, data = least_squares(3000.0)
        result = bx.local_learning_coefficient(
            bx.PerDatum(model, data, squared), key=KEY, kernel=bx.RandomWalk(), localisation=1e-8,
            max_gradients=4000,
        )  # fmt: skip
        assert result.verdict == bx.Verdict.rounding
        assert result.evidence.rounding > 1.0


def shifted(model, z):
    return squared(model, z) + 1e6


@pytest.mark.parametrize("relative", [False, True])
def test_a_run_says_when_rounding_decides(relative):
    """A constant of each datum: what a jump of the last bit of the weights cannot show."""
    with jax.enable_x64(False):
        model, data = least_squares(1.0)
        gibbs = bx.compile(bx.PerDatum(model, data, shifted), bx.Normal(), marginalise=False)
        gibbs = gibbs.relative_to() if relative else gibbs
        trace = bx.sample(
            gibbs, bx.RandomWalk(), key=KEY, start=gibbs.position(model), warmup=20, draws=20,
            throw=False,
        )  # fmt: skip
        assert trace.status == bx.Status.rounding


@pytest.mark.slow
def test_a_ladder_says_when_rounding_decides():
    with jax.enable_x64(False):
        model, data = least_squares(3000.0)
        gibbs = bx.compile(bx.SquaredError(model, data), bx.Normal(0, 1e4), marginalise=False)
        ladder = bx.anneal(
            gibbs, [1e-9, 0.1], bx.RandomWalk(), key=KEY, by="smc", draws=20, throw=False,
            spacing=20.0,
        )  # fmt: skip
        assert ladder.status == bx.Status.rounding


def test_float64_has_nothing_to_say_about_small_energies():
    gibbs = bx.compile(bx.SquaredError(MODEL, DATA), bx.Normal(), marginalise=False)
    trace = bx.sample(gibbs, bx.RandomWalk(), key=KEY, warmup=200, draws=200, thin=5)
    assert trace.status == bx.Status.successful


def test_integrated_weights_have_no_reference():
    gibbs = bx.compile(
        bx.SquaredError(bx.models.TwoLayer(4, dim=3, key=KEY), bx.GaussianMeasure(3), bx.zero),
        bx.Normal(), marginalise=True,
    )  # fmt: skip
    with pytest.raises(bx.DeclarationError, match="marginalise=False"):
        gibbs.relative_to()


@pytest.mark.parametrize("declared", [False, True])
def test_the_reference_energy_of_float32_data_has_more_digits_than_float32(declared):
    """Losses that float32 holds exactly, and a sum that it does not: `½ Σ r²` of even numbers r."""
    rng = np.random.default_rng(3)
    x, y = rng.integers(-9, 10, size=(51, 2)), 2 * rng.integers(1800, 2048, size=51)
    exact = 0.5 * np.sum((2.0 * x[:, 0] - 4.0 * x[:, 1] - y) ** 2)
    assert exact != np.float32(exact)
    with jax.enable_x64(False):
        model = bx.models.Function(lambda w, z: w @ z, jnp.array([2.0, -4.0]))
        data = bx.Empirical((x.astype(np.float32), y.astype(np.float32)))
        term = bx.SquaredError(model, data)
        if declared:
            term = bx.PerDatum(model, data, lambda m, z: 0.5 * (m(z[0]) - z[1]) ** 2)
        kind = "declared" if declared else "nodes"
        gibbs = bx.compile(term, bx.Normal(), marginalise=False, integral=kind).relative_to()
        assert gibbs.reference_energy == exact
