"""Screening: against the exact process, and the measures that replace far data."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax import channels as ch
from boltzax.cases import exponential_process
from boltzax.channels._backgrounds import Distance, nodes_of, with_background
from boltzax.channels._decay import _points, decay_rate
from boltzax.core import numpy_generator

KEY = jax.random.key(0)
CENTRE, RADII = 3.0, np.array([0.4, 0.8, 1.2, 1.8, 2.5])
FEW = {"chains": 4, "draws": 250}


def process_of(seed):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 6, 24))
    return exponential_process(
        x, np.sin(2 * x) + 0.3 * rng.normal(size=24), length=1.0, noise_variance=0.2
    )


def from_centre(datum):
    return jnp.abs(datum[0][0] - CENTRE)


def screened(process, background, **changes):
    _, energy, inputs = process.gibbs(np.array([CENTRE]))
    given = FEW | {"key": KEY, "background": background, "distance": from_centre} | changes
    return ch.screen(energy, bx.Normal(), np.asarray(inputs[0]), RADII, **given)


def test_dropped_data_of_a_gaussian_process():
    process = process_of(0)
    found, exact = screened(process, "drop"), process.screened(CENTRE, RADII, "drop")
    assert np.max(np.abs(np.asarray(found.change.z_score(exact)))) < 4
    # common random numbers: errors fall with the change
    error = np.asarray(found.change.standard_error)
    assert np.all(error < 0.3 * np.abs(exact) + 1e-9) and abs(exact[-1]) < 1e-4
    assert list(found.kept) == [int(np.sum(np.abs(process.x - CENTRE) <= r)) for r in RADII]
    variance = process.covariance(np.array([CENTRE]), np.array([CENTRE]))[0, 0]
    assert abs(float(found.spread.z_score(variance**0.5))) < 4
    assert abs(float(found.full.z_score(process.mean(np.array([CENTRE]))[0]))) < 4
    fit = -np.polyfit(RADII, np.log(np.abs(exact)), 1)[0]
    assert abs(float(found.rate.value) - fit) < 0.1 * fit
    assert float(found.rate.value - found.rate.standard_error) > 0
    assert "drop" in repr(found) and f"decay rate {found.rate!r}" in repr(found)
    few = dataclasses.replace(found, change=found.change[:2], kept=found.kept[:2])
    assert np.isnan(few.rate.value) and "decay rate not determined" in repr(few)


def test_averaged_labels_of_a_gaussian_process():
    """They move the mean alone, so that the change is known to rounding."""
    process = process_of(1)
    found = screened(process, "average")
    exact = process.screened(CENTRE, RADII, "average")
    np.testing.assert_allclose(found.change.value, exact, atol=1e-12)
    assert np.all(np.asarray(found.change.standard_error) < 1e-12)


def test_resampled_data_of_a_gaussian_process():
    process = process_of(2)
    found = screened(process, "resample")
    rng = numpy_generator(jax.random.split(KEY)[1])
    at, exact = np.array([CENTRE]), []
    for radius in RADII:
        far = np.abs(process.x - CENTRE) > radius
        chosen = np.arange(24)
        chosen[far] = rng.choice(24, far.sum(), p=far / far.sum())
        x, y = process.x[chosen], process.y[chosen]
        other = exponential_process(x, y, length=1.0, noise_variance=0.2)
        exact.append(other.mean(at)[0] - process.mean(at)[0])
    assert np.max(np.abs(np.asarray(found.change.z_score(np.array(exact))))) < 4


def test_float32():
    with jax.enable_x64(False):
        found = screened(process_of(0), "drop", draws=100)
        exact = process_of(0).screened(CENTRE, RADII, "drop")
        assert found.change.value.dtype == jnp.float32
        slack = 4 * np.asarray(found.change.standard_error) + 1e-5
        assert np.all(np.abs(np.asarray(found.change.value) - exact) < slack)


@pytest.mark.slow
def test_bayesian_net_against_independent_runs():
    x = np.linspace(-2, 2, 12)[:, None]
    net = bx.models.TwoLayer(4, jnp.tanh, bias=True)
    energy = bx.SquaredError(net, bx.Empirical((x, np.sin(2 * x[:, 0])))) / 0.3**2
    many = {"chains": 8, "warmup": 1000, "draws": 1000, "thin": 4}
    found = ch.screen(energy, bx.Normal(), np.zeros(1), np.array([0.6, 1.4]), key=KEY, **many)
    means = []
    for radius in (0.6, 1.4, 9.0):
        near = np.abs(x[:, 0]) <= radius
        part = bx.SquaredError(net, bx.Empirical((x[near], np.sin(2 * x[near, 0])))) / 0.3**2
        trace = bx.sample(bx.compile(part, bx.Normal()), key=jax.random.key(5), **many)
        means.append(trace.mean(lambda model: model(jnp.zeros(1))))
    for i in (0, 1):
        assert abs(float(found.change[i].z_score(means[i] - means[2]))) < 4


def of_classes(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(9, 2)), rng.integers(0, 3, 9)
    weights = rng.uniform(0.5, 2, 9)
    models = [bx.models.DeepLinear((2, 3), key=jax.random.key(i)) for i in (0, 1)]
    return x, y, weights, models


def paired(losses, weights, near):
    """Near data as they are, far inputs with all far labels; of losses `[input, label]`."""
    far = np.where(near, 0.0, weights)
    own = np.where(near, weights, 0.0) @ np.diag(losses)
    return own + (far @ losses @ far / np.sum(far) if np.any(far) else 0.0)


@given(st.integers(0, 50), st.floats(0.5, 2.0))
@settings(max_examples=6)
def test_an_average_is_the_product_of_the_far_marginals(seed, radius):
    x, y, weights, models = of_classes(seed)
    near = np.linalg.norm(x, axis=1) <= radius
    for labels, kind in ((y, bx.CrossEntropy), (np.eye(3)[y], bx.SquaredError)):
        energy = kind(models[0], bx.Empirical((x, labels), weights=weights))
        terms = nodes_of(2.0 * energy, Distance(jnp.zeros(2)))
        found = with_background(terms, radius, "average", np.random.default_rng(0))
        full = with_background(terms, np.inf, "average", np.random.default_rng(0))
        apart = []
        for model in models:
            f = np.asarray(x @ np.asarray(model.weight[0]).T)[:, None]
            squares = 0.5 * np.sum((f - labels) ** 2, axis=-1) if labels.ndim == 2 else None
            logs = np.log(np.sum(np.exp(f), axis=-1)) - f[:, 0, y]
            losses = logs if squares is None else squares
            apart.append(float(found.value(model)) - 2 * paired(losses, weights, near))
            assert float(full.value(model)) == pytest.approx(2 * weights @ np.diag(losses))
        assert abs(apart[0] - apart[1]) < 1e-8  # a constant for squared errors
        assert kind is bx.SquaredError or abs(apart[0]) < 1e-8


def test_a_measure_of_any_kind_is_its_nodes():
    measure = bx.GaussianMeasure(1, order=12)
    energy = bx.SquaredError(bx.models.DeepLinear((1, 1)), measure, lambda x: x**2)
    terms = nodes_of(energy, Distance(jnp.ones(1)))
    model = bx.models.DeepLinear((1, 1), key=KEY)
    near = with_background(terms, 1.5, "drop", np.random.default_rng(0))
    points, weights = measure.nodes()
    inside = np.abs(np.asarray(points)[:, 0] - 1) <= 1.5
    losses = jax.vmap(lambda x: energy.loss(model, x))(points)
    assert float(near.value(model)) == pytest.approx(float(np.sum((weights * losses)[inside])))
    whole = with_background(terms, np.inf, "drop", np.random.default_rng(0))
    assert float(whole.value(model)) == pytest.approx(float(energy.value(model)))


def test_decay_rates():
    x = np.linspace(0, 2, 6)
    falling = np.exp(-3 * x) * np.array([1, -1, 1, 1, 1, -1])
    exact = decay_rate(bx.Curve(x, bx.Estimate.exact(falling), axis="radius"))
    assert float(exact.value) == pytest.approx(3) and float(exact.standard_error) < 1e-10
    # shared noise moves all points alike, and not the rate
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.normal(size=(1, 2, 50))
    shared = bx.Influence.of(falling[:, None, None] * (1 + noise - noise.mean()))
    assert float(decay_rate(bx.Curve(x, shared, axis="radius")).standard_error) < 1e-10
    # independent noise: errors of the slope
    draws = falling[:, None, None] * (1 + 0.3 * rng.normal(size=(6, 2, 50)))
    apart = decay_rate(bx.Curve(x, bx.Influence.of(draws), axis="radius"))
    assert abs(float(apart.z_score(3.0))) < 4
    assert 0.3 / 10 / np.std(x) / 6**0.5 == pytest.approx(float(apart.standard_error), rel=0.7)
    # scatter beyond the noise
    rough = falling * np.exp([0, 1, -1, 1, -1, 0])
    wide = decay_rate(bx.Curve(x, bx.Estimate.exact(rough), axis="radius"))
    assert float(wide.standard_error) > 0.4
    few = bx.Estimate.of_samples(falling + rng.normal(size=(10, 6)))
    assert np.isnan(decay_rate(bx.Curve(x, few, axis="radius")).value)


def noisy(size, noise, rng, samples=60):
    """A curve whose values have normal noise, as means of samples."""
    values = size + noise * samples**0.5 * rng.normal(size=(samples, len(size)))
    return bx.Curve(np.arange(float(len(size))), bx.Estimate.of_samples(values), axis="radius")


@pytest.mark.parametrize(
    ("noise", "sites", "signed"),
    [
        (0.05, 12, False),
        (0.1, 6, True),
        pytest.param(0.05, 12, True, marks=pytest.mark.slow),
        pytest.param(0.1, 6, False, marks=pytest.mark.slow),
    ],
)
def test_rates_are_not_biased_by_points_in_the_noise(signed, noise, sites):
    """Points chosen for their size would be too large, and their rate too small."""
    rng, size = np.random.default_rng(0), np.exp(-0.5 * np.arange(sites))
    found = []
    for _ in range(50):
        signs = 1.0 if signed else rng.choice([-1.0, 1.0], sites)
        found.append(decay_rate(noisy(signs * size, noise, rng), signed=signed))
    rates = np.array([float(each.value) for each in found])
    known = np.isfinite(rates)
    assert np.mean(known) > 0.9
    assert abs(bx.Estimate.of_samples(rates[known]).z_score(0.5)) < 4
    inside = [float(each.lower) <= 0.5 <= float(each.upper) for each in found]
    assert np.mean(np.array(inside)[known]) >= 0.86


def test_scatter_about_the_line_is_in_the_interval():
    rng, inside = np.random.default_rng(2), []
    for _ in range(30):
        size = np.exp(-0.5 * np.arange(6) + 0.4 * rng.normal(size=6))
        found = decay_rate(noisy(size * rng.choice([-1.0, 1.0], 6), 1e-3, rng))
        inside.append(float(found.lower) <= 0.5 <= float(found.upper))
    assert np.mean(inside) >= 0.8


def test_a_size_that_rises_again_is_no_decay():
    """A clear point far above the line is not explained by noise: the interval tells."""
    size = np.append(np.exp(-np.arange(5.0)), 0.11)
    curve = bx.Curve(np.arange(6.0), bx.Estimate.exact(size).widened(0.01 * np.ones(6)), axis="x")
    found, steep = (decay_rate(each, signed=True) for each in (curve, curve[:5]))
    assert float(steep.standard_error) < 0.2
    assert np.isnan(float(found.value)) or float(found.upper - found.lower) > 0.5


@pytest.mark.parametrize("scatter", [0.0, 0.7])
def test_a_size_is_compared_with_its_mean_over_the_noise(scatter):
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    signal, error = np.array([1e-3, 0.3, 1.0, 2.5, 40.0]), np.array([1.0, 2.0, 0.1, 1.0, 5.0])

    def mean(log_size):
        y = np.exp(log_size) / error
        y = np.arcsinh(scatter * y) / scatter if scatter else y
        return np.abs(y[:, None] + nodes) @ weights / np.sum(weights)

    logs, step = np.log(signal * error), 1e-5
    points = _points(list(np.ones((5, 1))), signal * error, error, False)
    value, slope = points.means(logs, scatter)
    np.testing.assert_allclose(value, mean(logs), atol=0.02)  # |y| has an edge
    numeric = points.means(logs + step, scatter)[0] - points.means(logs - step, scatter)[0]
    np.testing.assert_allclose(slope, numeric / (2 * step), rtol=1e-6, atol=1e-9)
    assert np.all(points.residuals(None, 0.0) == signal - np.sqrt(2 / np.pi))


def test_noise_has_no_rate():
    rng = np.random.default_rng(1)
    found = [decay_rate(noisy(np.zeros(40), 1.0, rng), signed=bool(i % 2)) for i in range(40)]
    assert all(np.isnan(float(each.value)) for each in found)
    # a single point tells a size, and no rate
    alone = noisy(np.array([1.0, 0, 0, 0, 0, 0]), 0.1, rng)
    assert np.isnan(float(decay_rate(alone).value))


@given(st.floats(0.2, 5.0), st.floats(1e-8, 1e8), st.booleans(), st.integers(0, 9))
@settings(max_examples=8)
def test_rates_depend_on_neither_unit(scale, unit, signed, seed):
    size = np.exp(-0.5 * np.arange(6)) * (1.0 if signed else np.array([1, -1, 1, 1, -1, 1]))
    curve = noisy(size, 0.03, np.random.default_rng(seed))
    other = bx.Curve(scale * curve.x + 3, curve.values.scaled(unit), axis="radius")
    one, two = (decay_rate(each, signed=signed) for each in (curve, other))
    for first, second in zip((one.value, *one.interval()), (two.value, *two.interval())):
        assert float(second) * scale == pytest.approx(float(first), rel=1e-2, nan_ok=True)
    flipped = bx.Curve(curve.x, curve.values.scaled(-1.0), axis="radius")
    assert signed or float(decay_rate(flipped).value) == pytest.approx(float(one.value), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"radii": np.array([1.0, -0.5])}, "radii"),
        ({"radii": np.array([1e-3])}, "radii"),
        ({"distance": lambda datum: datum[0]}, "distance"),
        ({"distance": None, "centre": np.zeros(3)}, "distance"),
        ({"background": "forget"}, "background"),
        ({"prediction": lambda model: (model.params, 1.0)}, "prediction"),
    ],
)
def test_wrong_arguments(changes, argument):
    _, energy, inputs = process_of(0).gibbs(np.array([CENTRE]))
    given = FEW | {"key": KEY, "distance": from_centre, "radii": RADII}
    given = given | {"energy": energy, "prior": bx.Normal(), "centre": np.asarray(inputs[0])}
    with pytest.raises(bx.DeclarationError) as caught:
        ch.screen(**given | changes)
    assert caught.value.argument == argument


def test_an_average_needs_labels():
    energy = bx.PerDatum(bx.models.DeepLinear((2, 1)), bx.Empirical(np.ones((3, 2))), lambda m, z:
                         jnp.sum(m(z)))  # fmt: skip
    terms = nodes_of(energy, Distance(jnp.zeros(2)))
    with pytest.raises(bx.DeclarationError, match="without labels"):
        with_background(terms, 1.0, "average", np.random.default_rng(0))
