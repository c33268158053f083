"""Graded quadrature in one to three dimensions, and the tanh network with one and two units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boltzax.theory import (
    exact_free_energy,
    linear_unit_exact,
    normal_crossing_exact,
    psd_factorization,
    quadratic_exact,
    tanh_network,
    tanh_zero_exact,
)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def log_normal(w):
    return -0.5 * jnp.sum(w**2) - 0.5 * w.size * jnp.log(2 * jnp.pi)


@pytest.mark.usefixtures("float64")
def test_one_dimension_gaussian():
    log_n = np.linspace(-5, 60, 4)
    found = exact_free_energy(
        lambda w, beta: 0.5 * beta * w[0] ** 2, log_normal, [(-12, 12)], np.exp(log_n)
    )
    exact = quadratic_exact([1.0], log_n)
    np.testing.assert_allclose(found.log_partition, exact.log_partition, atol=1e-9)
    np.testing.assert_allclose(found.learning_coefficient, exact.learning_coefficient, atol=1e-9)
    assert np.all(found.error <= 1e-8)


@pytest.mark.usefixtures("float64")
def test_two_dimensions_singular_at_huge_n():
    log_n = np.array([10.0, 40.0])
    found = exact_free_energy(
        lambda w, beta: 0.5 * beta * jnp.prod(w) ** 2,
        log_normal,
        [(-12, 12)] * 2,
        np.exp(log_n),
    )
    exact = linear_unit_exact(log_n)
    np.testing.assert_allclose(found.log_partition, exact.log_partition, atol=1e-9)
    np.testing.assert_allclose(found.learning_coefficient, exact.learning_coefficient, atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_three_dimensions():
    found = exact_free_energy(
        lambda w, beta: beta * w[0] ** 2 * w[1] ** 2 * w[2] ** 4,
        lambda w: 0.0,
        [(0, 1)] * 3,
        np.exp([2.0, 6.0]),
        tolerance=1e-5,
    )
    exact = normal_crossing_exact((1, 1, 2), [2.0, 6.0])
    np.testing.assert_allclose(found.log_partition, exact.log_partition, atol=1e-6)
    np.testing.assert_allclose(found.learning_coefficient, exact.learning_coefficient, atol=1e-6)


@pytest.mark.usefixtures("float64")
def test_centres_and_psd_factorisation():
    """|uuᵀ - e eᵀ|² in the plane: two regular minima, value 1; and |uuᵀ|²: value ½."""

    def gap(truth):
        def potential(w, beta):
            return beta * jnp.sum((jnp.outer(w, w) - truth) ** 2)

        return potential

    box, prior, beta = [(-2, 2)] * 2, lambda w: -jnp.log(16.0), np.exp([16.0])
    one = exact_free_energy(
        gap(jnp.diag(jnp.array([1.0, 0.0]))), prior, box, beta, centres=[(-1.0, 0.0, 1.0), (0.0,)]
    )
    none = exact_free_energy(gap(jnp.zeros((2, 2))), prior, box, beta)
    assert one.learning_coefficient[0] == pytest.approx(float(psd_factorization(2, 1, 1)), abs=1e-4)
    assert none.learning_coefficient[0] == pytest.approx(
        float(psd_factorization(2, 1, 0)), abs=1e-6
    )


@pytest.mark.usefixtures("float64")
def test_a_potential_that_is_not_linear_in_beta():
    """One tanh unit, its readout integrated out: β enters as ½ log(1 + βΦ)."""
    x, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()

    def potential(w, beta):
        return 0.5 * jnp.log1p(beta * jnp.sum(weight * jnp.tanh(w[0] * x) ** 2))

    log_n = np.array([0.0, 10.0, 40.0])
    found = exact_free_energy(potential, lambda w: -jnp.log(2.0), [(-1, 1)], np.exp(log_n))
    exact = tanh_zero_exact(1, log_n)
    np.testing.assert_allclose(found.log_partition, exact.log_partition, atol=1e-7)
    np.testing.assert_allclose(found.learning_coefficient, exact.learning_coefficient, atol=1e-7)


@pytest.mark.usefixtures("float64")
def test_two_units_against_the_general_quadrature():
    """The determinant as a sum of squared minors (Cauchy-Binet), in u = b_1, v = b_2/b_1."""
    x, weight = np.polynomial.hermite_e.hermegauss(40)
    x, weight = x[20:], 2 * weight[20:] / weight.sum()
    i, j = np.triu_indices(20, 1)

    def potential(w, beta):
        first, second = jnp.tanh(w[0] * x), jnp.tanh(w[0] * w[1] * x)
        trace = jnp.sum(weight * (first**2 + second**2))
        minors = first[i] * second[j] - first[j] * second[i]
        det = jnp.sum(weight[i] * weight[j] * minors**2)
        return 0.5 * jnp.log1p(beta * trace + beta**2 * det)

    log_n = np.array([2.0, 10.0])
    found = exact_free_energy(
        potential,
        lambda w: jnp.log(2 * w[0]),
        [(0, 1)] * 2,
        np.exp(log_n),
        centres=[(0.0,), (0.0, 1.0)],
        tolerance=1e-5,
    )
    exact = tanh_zero_exact(2, log_n)
    np.testing.assert_allclose(found.log_partition, exact.log_partition, atol=1e-6)
    np.testing.assert_allclose(found.learning_coefficient, exact.learning_coefficient, atol=1e-6)


@pytest.mark.slow
def test_two_tanh_units_tabulated():
    found = tanh_zero_exact(2, [2.0, 10.0, 20.0, 30.0, 60.0])
    tabulated = [0.319272, 0.664882, 0.681287, 0.668280, 0.666667]
    np.testing.assert_allclose(found.learning_coefficient, tabulated, atol=6e-7)
    assert found.error.max() < 1e-6


@pytest.mark.slow
def test_tanh_zero_tends_to_its_limit():
    one = tanh_zero_exact(1, [150.0, 300.0], "normal").learning_coefficient
    np.testing.assert_allclose(one, tanh_network(1).at([150.0, 300.0]), atol=3e-4)
    two = tanh_zero_exact(2, 25.0, "normal").learning_coefficient
    assert two == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.parametrize("embedding", ["uniform", "normal"])
@pytest.mark.parametrize("width", [1, 2])
def test_tanh_zero_slope_and_sampling(width, embedding):
    log_n, step = 3.0, 1e-3
    found = tanh_zero_exact(width, [log_n - step, log_n, log_n + step], embedding)
    slope = (found.free_energy[2] - found.free_energy[0]) / (2 * step)
    assert slope == pytest.approx(found.learning_coefficient[1], abs=1e-6)
    generator = np.random.default_rng(0)
    shape = 20_000, width
    b = generator.normal(size=shape) if embedding == "normal" else generator.uniform(-1, 1, shape)
    x, weight = np.polynomial.hermite_e.hermegauss(80)
    units = np.tanh(b[:, :, None] * x) * np.sqrt(weight / weight.sum())
    gram = np.eye(width) + np.exp(log_n) * units @ units.swapaxes(1, 2)
    values = np.linalg.det(gram) ** -0.5
    mean, error = values.mean(), values.std() / np.sqrt(values.size)
    assert abs(np.exp(found.log_partition[1]) - mean) < 4 * error


@pytest.mark.usefixtures("float64")
def test_failure_is_said():
    with pytest.raises(RuntimeError, match="not converged"):
        exact_free_energy(
            lambda w, beta: beta * (w[0] - w[1]) ** 2,
            lambda w: 0.0,
            [(0, 1)] * 2,
            [1e8],
            max_points=2**17,
        )
    with pytest.raises(RuntimeError, match="not finite"):
        exact_free_energy(lambda w, beta: beta * jnp.log(w[0]), lambda w: 0.0, [(-1, 1)], [1.0])


def test_sixty_four_bits_are_required():
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        exact_free_energy(lambda w, beta: beta * w[0] ** 2, lambda w: 0.0, [(0, 1)], [1.0])
