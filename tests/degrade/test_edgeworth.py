"""Edgeworth's expansion against sums of exponential numbers, whose law is known."""

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx
from boltzax.degrade import Edgeworth, negentropy

TERMS = np.array([32, 64, 128, 256, 512])
"""Numbers of exponential numbers in a sum."""
FACTORIALS = np.array([1.0, 1.0, 2.0, 6.0, 24.0])
"""Cumulants of Exp(1), `(r - 1)!`."""

shapes = st.floats(-0.4, 0.4)


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("kind", ["density", "distribution"])
def test_the_error_of_each_order_falls_at_its_rate(order, kind):
    z = np.linspace(-6, 6, 4001)
    errors = []
    for n in TERMS:
        series = Edgeworth(n * FACTORIALS, order)
        x = n + np.sqrt(n) * z
        law = scipy.stats.gamma(n)
        exact = law.pdf(x) * np.sqrt(n) if kind == "density" else law.cdf(x)
        scale = np.sqrt(n) if kind == "density" else 1.0
        errors.append(np.abs(scale * getattr(series, kind)(x) - exact).max())
    local = np.diff(np.log(errors)) / np.diff(np.log(TERMS))
    # corrections to the slope fall as n^-½: two of the last slopes give the limit to first order
    limit = local[-1] + (local[-1] - local[-2]) / (np.sqrt(2) - 1)
    assert abs(limit + (order + 1) / 2) < 0.02
    assert abs(local[-1] + (order + 1) / 2) < 0.08


def test_the_negentropy_of_a_sum_is_its_series_to_second_order():
    """The entropy of a Gamma law is known; what is left falls as 1/n³."""
    left = []
    for n in TERMS:
        exact = 0.5 * np.log(2 * np.pi * np.e * n) - scipy.stats.gamma(n).entropy()
        left.append(abs(exact - float(negentropy(n * FACTORIALS))))
    # below n = 512 the rest is above rounding
    slopes = np.diff(np.log(left[:3])) / np.diff(np.log(TERMS[:3]))
    assert np.all(np.abs(slopes + 3) < 0.1)


def test_the_density_is_the_slope_of_the_distribution():
    series = Edgeworth(np.array([0.3, 2.0, 0.5, 0.7, -0.4]))
    x = np.linspace(-3, 4, 15)
    slopes = jax.vmap(jax.grad(lambda x: series.distribution(x)))(x)
    np.testing.assert_allclose(series.density(x), slopes, rtol=1e-10, atol=1e-14)


@given(shapes, shapes, shapes, st.floats(-2, 2), st.floats(0.5, 2))
def test_the_moments_of_the_series_are_those_of_its_cumulants(third, fourth, fifth, mean, scale):
    """Mean, variance and third moment are exact at order 1, the fourth at order 2, ..."""
    kappa = np.array([mean, scale**2, third * scale**3, fourth * scale**4, fifth * scale**5])
    z, weights = np.polynomial.hermite_e.hermegauss(40)
    x = mean + scale * z
    density = np.asarray(Edgeworth(kappa).density(x))
    weights = weights * np.exp(0.5 * z**2) * scale * density
    moments = [float(weights @ (x - mean) ** r) for r in range(6)]
    exact = [1.0, 0.0, kappa[1], kappa[2], kappa[3] + 3 * kappa[1] ** 2]
    exact.append(kappa[4] + 10 * kappa[1] * kappa[2])
    np.testing.assert_allclose(moments, exact, rtol=1e-8, atol=1e-8 * scale**5)


@given(shapes, shapes, st.floats(0.5, 2), st.floats(-3, 3))
def test_a_change_of_units_moves_the_expansion_along(third, fourth, scale, shift):
    kappa = np.array([0.1, 1.0, third, fourth, 0.1])
    moved = kappa * scale ** np.arange(1, 6)
    moved[0] += shift
    x = np.linspace(-2, 2, 5)
    first, second = Edgeworth(kappa), Edgeworth(moved)
    np.testing.assert_allclose(second.distribution(scale * x + shift), first.distribution(x))
    np.testing.assert_allclose(scale * second.density(scale * x + shift), first.density(x))
    np.testing.assert_allclose(negentropy(moved), negentropy(kappa), rtol=1e-12, atol=1e-14)


def test_laws_of_many_inputs_at_once():
    kappa = np.array([[0.0, 1.0], [1.0, 4.0], [0.1, 0.2], [0.0, 0.3], [0.0, 0.0]])
    both = Edgeworth(kappa, 2).distribution(0.5)
    each = [float(Edgeworth(k, 2).distribution(0.5)) for k in kappa.T]
    np.testing.assert_allclose(both, each)


def test_too_few_cumulants_are_refused():
    with pytest.raises(bx.DeclarationError, match="cumulants"):
        Edgeworth(np.ones(4), 3)
    with pytest.raises(bx.DeclarationError, match="cumulants"):
        negentropy(np.ones(3))
