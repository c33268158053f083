"""Exact finite-n values of normal crossings and of Gaussian weights."""

from fractions import Fraction
from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.integrate import quad

from boltzax.theory import (
    linear_unit_exact,
    normal_crossing,
    normal_crossing_exact,
    quadratic_exact,
)
from boltzax.theory._result import distance

law = settings(derandomize=True, deadline=None, max_examples=20)
powers = st.lists(st.integers(1, 3), min_size=1, max_size=3)


def test_one_coordinate_is_an_incomplete_gamma_function():
    for log_n in (-3.0, 1.0, 7.0, 20.0):
        n = np.exp(log_n)
        edges = [0, *np.logspace(-6, 0, 13)]

        def integrand(w, n=n):
            return 3 * w**2 * np.exp(-n * w**4)

        z = sum(quad(integrand, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in pairwise(edges))
        found = normal_crossing_exact((2,), log_n, prior_powers=(2,))
        assert found.log_partition == pytest.approx(np.log(z), abs=1e-10)


def test_two_coordinates_by_nested_quadrature():
    n = np.exp(6.0)

    def inner(w, moment):
        c = n * w**2
        g = quad(lambda v: (c * v**4) ** moment * np.exp(-c * v**4), 0, 1, epsrel=1e-11)
        return g[0]

    z = quad(lambda w: inner(w, 0), 0, 1, points=[0.01, 0.1], epsrel=1e-10)[0]
    m = quad(lambda w: inner(w, 1), 0, 1, points=[0.01, 0.1], epsrel=1e-10)[0]
    found = normal_crossing_exact((1, 2), 6.0)
    assert found.log_partition == pytest.approx(np.log(z), abs=1e-9)
    assert found.learning_coefficient == pytest.approx(m / z, abs=1e-9)


@law
@given(powers, st.sampled_from(["uniform", "normal"]), st.floats(-5, 60))
def test_slope_is_the_derivative(k, prior, log_n):
    step = 1e-3
    found = normal_crossing_exact(k, [log_n - step, log_n, log_n + step], prior=prior)
    slope = (found.free_energy[2] - found.free_energy[0]) / (2 * step)
    assert slope == pytest.approx(found.learning_coefficient[1], abs=1e-6)
    assert found.error.max() < 1e-11


@law
@given(powers, st.sampled_from(["uniform", "normal"]))
def test_limit_and_multiplicity(k, prior):
    """λ̂ approaches λ - (m-1)/log n with an error of order (log n)^-2."""
    limit = normal_crossing(k)
    log_n = np.array([300.0, 600.0])
    gap = normal_crossing_exact(k, log_n, prior=prior).learning_coefficient - limit.at(log_n)
    assert np.all(np.abs(gap) < 30 / log_n**2)


@law
@given(powers, powers, st.floats(0, 50))
def test_order_of_coordinates_is_free_and_an_unused_one_is_ignored(k, more, log_n):
    one = normal_crossing_exact([*k, *more], log_n).log_partition
    other = normal_crossing_exact([*more, 0, *k], log_n).log_partition
    assert one == pytest.approx(other, abs=1e-12)


def test_fractional_powers():
    half = normal_crossing_exact((Fraction(1, 2),), 3.0)
    n = np.exp(3.0)
    assert half.log_partition == pytest.approx(np.log(-np.expm1(-n) / n), abs=1e-12)


def test_linear_unit_against_tabulated_values_and_the_zeta_function():
    tabulated = [0.14231113139686, 0.41307165588281, 0.48374042588306]
    found = linear_unit_exact([0.0, 10.0, 60.0])
    np.testing.assert_allclose(found.learning_coefficient, tabulated, atol=1e-14)
    log_n = np.array([-6.0, 0.0, 10.0, 60.0, 300.0])
    direct = linear_unit_exact(log_n)
    zeta = normal_crossing_exact((1, 1), log_n - np.log(2), prior="normal")
    np.testing.assert_allclose(direct.log_partition, zeta.log_partition, atol=1e-12)
    np.testing.assert_allclose(direct.learning_coefficient, zeta.learning_coefficient, atol=1e-13)


@law
@given(st.lists(st.floats(0, 5), min_size=1, max_size=4), st.floats(-5, 5))
def test_quadratic(mu, log_n):
    n = np.exp(log_n)
    found = quadratic_exact(mu, log_n)
    matrix = np.eye(len(mu)) + n * np.diag(mu)
    assert found.log_partition == pytest.approx(-0.5 * np.linalg.slogdet(matrix)[1], abs=1e-12)
    expected = 0.5 * np.trace(np.linalg.solve(matrix, n * np.diag(mu)))
    assert found.learning_coefficient == pytest.approx(expected, abs=1e-12)
    one = normal_crossing_exact((1,), log_n - np.log(2), prior="normal").log_partition
    assert quadratic_exact([1.0], log_n).log_partition == pytest.approx(one, abs=1e-12)


def test_errors_are_absolute_below_one_and_relative_above():
    coarse, fine = np.array([0.1, -0.5, 3.0, -8.0]), np.array([0.3, 0.5, 4.0, -10.0])
    assert np.allclose(distance(coarse, fine), [0.2, 1.0, 0.25, 0.2])
