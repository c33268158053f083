"""Laws of random matrices against quadrature, tables, enumeration and simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from boltzax import theory as th
from boltzax.core import DeclarationError

law = settings(derandomize=True, deadline=None, max_examples=20)
ratios = st.floats(0.02, 3.0)
sides = st.tuples(st.floats(0.02, 0.48), st.floats(0.02, 0.48))


def test_tracy_widom_has_the_quantiles_mean_and_variance_of_tables():
    # Johnstone (2001), table 1; Bornemann (2010), table 6
    quantiles = [-3.8954, -3.1804, -1.2686, 0.4501, 0.9793, 2.0234]
    assert np.allclose(th.tracy_widom(quantiles), [0.01, 0.05, 0.5, 0.9, 0.95, 0.99], atol=2e-5)
    s = np.linspace(-10, 12, 441)
    above = 1 - th.tracy_widom(s)
    mean = -10 + integrate.simpson(above, x=s)
    square = 100 + integrate.simpson(2 * s * above, x=s)
    assert mean == pytest.approx(-1.2065335745, abs=1e-5)
    assert square - mean**2 == pytest.approx(1.6077810345, abs=1e-5)
    assert np.all(np.diff(th.tracy_widom([-50.0, -12.0, 0.0, 12.0, 50.0])) >= 0)


@law
@given(ratios)
def test_marchenko_pastur_integrates_to_its_mass_and_mean(ratio):
    ends = th.marchenko_pastur_edges(ratio)

    def moment(order):
        return integrate.quad(
            lambda t: t**order * th.marchenko_pastur_density(t, ratio), *ends, limit=200
        )[0]

    assert moment(0) == pytest.approx(min(1.0, 1 / ratio), rel=1e-5)
    assert moment(1) == pytest.approx(1.0, rel=1e-5)
    assert moment(2) == pytest.approx(1 + ratio, rel=1e-5)


@law
@given(sides)
def test_wachter_integrates_to_one_with_the_mean_of_independence(pair):
    a, b = pair
    ends = th.wachter_edges(a, b)

    def moment(order):
        return integrate.quad(lambda t: t**order * th.wachter_density(t, a, b), *ends, limit=200)[0]

    assert moment(0) == pytest.approx(1.0, rel=1e-4)
    # E tr(P_x P_y) = dx dy/ν for random projections
    assert moment(1) == pytest.approx(max(a, b), rel=1e-4)


@law
@given(ratios, st.floats(1e-3, 1e3))
def test_outliers_of_spikes_are_inverted(ratio, excess):
    strength = 1 + ratio**0.5 + excess
    outlier = th.outlier_of_spike(strength, ratio)
    assert outlier > th.marchenko_pastur_edges(ratio)[1] * (1 - 1e-9)
    assert th.spike_of_outlier(outlier, ratio) == pytest.approx(strength, rel=1e-5)
    assert th.outlier_of_spike(1.0, ratio) == pytest.approx(th.marchenko_pastur_edges(ratio)[1])


@law
@given(sides, st.floats(0.05, 0.95))
def test_outliers_of_correlations_are_inverted(pair, share):
    a, b = pair
    least = th.detectable_correlation(a, b)
    true = least + share * (1 - least)
    outlier = th.outlier_of_correlation(true, a, b)
    assert th.wachter_edges(a, b)[1] * (1 - 1e-9) <= outlier <= 1
    assert th.correlation_of_outlier(outlier, a, b) == pytest.approx(true, rel=1e-5)
    assert th.outlier_of_correlation(1.0, a, b) == pytest.approx(1.0)
    assert th.outlier_of_correlation(0.0, a, b) == pytest.approx(th.wachter_edges(a, b)[1])


def test_outliers_of_samples_are_where_the_formulas_say():
    rng = np.random.default_rng(0)
    samples, wide = 1200, 300
    x = rng.normal(size=(samples, wide))
    x[:, 0] *= 2.0
    values = np.linalg.svd(x, compute_uv=False) ** 2 / samples
    assert values[0] == pytest.approx(float(th.outlier_of_spike(4.0, wide / samples)), rel=0.1)
    assert values[1] == pytest.approx(th.marchenko_pastur_edges(wide / samples)[1], rel=0.05)
    y = rng.normal(size=(samples, 200))
    y[:, 0] = 0.8 * x[:, 0] / 2 + 0.6 * y[:, 0]
    bases = [np.linalg.qr(side)[0] for side in (x, y)]
    squares = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False) ** 2
    a, b = wide / samples, 200 / samples
    assert squares[0] == pytest.approx(float(th.outlier_of_correlation(0.8, a, b)), rel=0.05)
    assert squares[1] == pytest.approx(th.wachter_edges(a, b)[1], rel=0.03)


SHAPES = [(20, 6, 4000), (40, 40, 1500), (20, 80, 1500)]


@pytest.mark.parametrize("freedom, dimensions, draws", SHAPES)
def test_white_noise_gives_false_alarms_at_the_level(freedom, dimensions, draws):
    rng = np.random.default_rng(freedom)
    x = rng.normal(size=(draws, freedom, dimensions))
    product = x.mT @ x if dimensions < freedom else x @ x.mT
    values = np.linalg.eigvalsh(product)
    share = values[:, -1] * dimensions / values.sum(axis=1)

    def p_value(largest):
        return float(th.largest_eigenvalue_p_value(largest, dimensions, freedom))

    for level in (0.05, 0.2):
        alarm = optimize.brentq(
            lambda t, level=level: p_value(t) - level,
            1.0,
            dimensions,
        )
        rate = np.mean(share > alarm)
        assert abs(rate - level) < 0.012 + 3 * np.sqrt(level * (1 - level) / draws)


def test_the_largest_eigenvalue_has_the_scale_of_its_law():
    size = 40
    values = np.linalg.svd(np.random.default_rng(1).normal(size=(1500, size, size)))[1] ** 2
    share = values[:, 0] * size / values.sum(axis=1)

    def quantile(level):
        return optimize.brentq(
            lambda t: float(th.largest_eigenvalue_p_value(t, size, size)) - level, 1.0, size
        )

    width = np.quantile(share, 0.95) - np.quantile(share, 0.5)
    assert quantile(0.05) - quantile(0.5) == pytest.approx(width, rel=0.1)


def test_p_values_of_independent_sides_are_uniform():
    rng = np.random.default_rng(2)
    shapes = {"many": (20, 12, 60), "one": (1, 4, 12)}
    for dx, dy, freedom in shapes.values():
        bases = [np.linalg.qr(rng.normal(size=(300, freedom, size)))[0] for size in (dx, dy)]
        squares = np.linalg.svd(bases[0].mT @ bases[1], compute_uv=False)[:, 0] ** 2
        p_values = th.largest_correlation_p_value(squares, dx, dy, freedom)
        assert stats.kstest(p_values, "uniform").pvalue > 0.01


@pytest.mark.parametrize("dx, dy, freedom", [(1, 4, 12), (3, 1, 9), (1, 1, 30)])
def test_the_p_value_of_one_variable_is_that_of_an_f_test(dx, dy, freedom):
    squares, many = np.array([0.05, 0.3, 0.8]), max(dx, dy)
    ratio = squares / (1 - squares) * (freedom - many) / many
    found = th.largest_correlation_p_value(squares, dx, dy, freedom)
    assert np.allclose(found, stats.f.sf(ratio, many, freedom - many), rtol=1e-9)


def test_squared_traces_have_no_bias_for_any_law():
    """All samples of four draws from three points, with their probabilities."""
    points = np.array([[0.0, 1.0], [2.0, -1.0], [5.0, 3.0]])
    weights = np.array([0.5, 0.3, 0.2])
    mean = weights @ points
    covariance = (points - mean).T @ (weights[:, None] * (points - mean))
    total = np.zeros(2)
    for places in itertools.product(range(3), repeat=4):
        rows = points[list(places)] - points[list(places)].mean(axis=0)
        sample = rows.T @ rows / 3
        fourth = np.sum(np.sum(rows**2, axis=1) ** 2) / 3
        found = th.squared_traces(np.trace(sample), np.trace(sample @ sample), fourth, 4)
        total += np.prod(weights[list(places)]) * np.array(found)
    truth = np.trace(covariance) ** 2, np.trace(covariance @ covariance)
    assert np.allclose(total, truth, rtol=1e-12)


def test_lyapunov_exponents_are_those_of_a_product():
    rng = np.random.default_rng(3)
    width, layers = 4, 4000
    basis, growth = np.eye(width), np.zeros(width)
    for _ in range(layers):
        basis, triangle = np.linalg.qr(rng.normal(size=(width, width)) * 1.5 / 2 @ basis)
        growth += np.log(np.abs(np.diag(triangle)))
    assert np.allclose(growth / layers, th.lyapunov_spectrum(width, gain=1.5), atol=0.05)


@pytest.mark.parametrize(
    "call",
    [
        lambda: th.wachter_edges(0.6, 0.5),
        lambda: th.detectable_correlation(0.6, 0.5),
        lambda: th.spike_of_outlier(1.0, 0.5),
        lambda: th.correlation_of_outlier(1.5, 0.1, 0.1),
        lambda: th.largest_correlation_p_value(0.5, 3, 3, 5),
        lambda: th.marchenko_pastur_edges(0.0),
    ],
)
def test_what_no_law_has_is_refused(call):
    with pytest.raises(DeclarationError):
        call()


def test_a_side_without_noise_adds_none():
    low, high = th.wachter_edges(0.0, 0.3)
    assert low == pytest.approx(0.3) and high == pytest.approx(0.3)
    square = 0.5 * (1 - 0.3) + 0.3  # of a multiple correlation, r (1 - b) + b
    assert th.correlation_of_outlier(square, 0.0, 0.3) == pytest.approx(0.5**0.5)
    assert th.correlation_of_outlier(0.5, 0.0, 0.0) == pytest.approx(0.5**0.5)
