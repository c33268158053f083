"""The law of the plug-in information against its density, exact tails and the chain rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from boltzax.core import DeclarationError
from boltzax.theory import information_law

sizes = st.integers(1, 12)


@pytest.mark.parametrize("samples", [4, 10, 100])
def test_the_moments_of_one_correlation_are_those_of_its_density(samples):
    """`r²` of independent data is `Beta(½, (n - 2)/2)`."""
    squares = stats.beta(0.5, (samples - 2) / 2)

    def moment(power):
        def of(u):  # r² = sin² u: without the pole of the density
            r2 = np.sin(u) ** 2
            density = squares.pdf(r2) * 2 * np.sin(u) * np.cos(u)
            return (-0.5 * np.log1p(-r2)) ** power * density

        return integrate.quad(of, 1e-12, np.pi / 2 - 1e-12, epsabs=1e-12, limit=200)[0]

    law = information_law(samples, 1, 1)
    np.testing.assert_allclose(law.bias, moment(1), rtol=1e-6)
    np.testing.assert_allclose(law.variance, moment(2) - moment(1) ** 2, rtol=1e-6)


@given(sizes, sizes, sizes, st.integers(0, 50))
def test_the_bias_obeys_the_chain_rule(a, b, c, more):
    """`I(AB; C) = I(A; C) + I(B; C | A)`: to condition on `a` coordinates takes as many samples."""
    samples = a + b + c + 1 + more
    parts = information_law(samples, a, c).bias + information_law(samples - a, b, c).bias
    np.testing.assert_allclose(information_law(samples, a + b, c).bias, parts, rtol=1e-9)


@given(sizes, sizes, st.integers(0, 200))
def test_both_sides_are_alike(a, b, more):
    one, two = information_law(a + b + 1 + more, a, b), information_law(a + b + 1 + more, b, a)
    assert (one.bias, one.variance) == (two.bias, two.variance)


@given(sizes, sizes, st.integers(0, 200), st.floats(1e-4, 0.99))
def test_quantiles_are_exceeded_by_their_probability(a, b, more, p):
    law = information_law(a + b + 1 + more, a, b)
    np.testing.assert_allclose(law.exceeded(law.quantile(p)), p, rtol=1e-6)


@pytest.mark.parametrize("samples, size", [(6, 2), (10, 5), (100, 2), (60, 30)])
def test_the_tail_of_two_coordinates(samples, size):
    """`(Π (1 - r²))^½` is `Beta(n - 2 - p, p)` (Anderson 2003, section 8.4)."""
    law, exact = information_law(samples, size, 2), stats.beta(samples - 2 - size, size)
    for p in (0.99, 0.5, 0.05, 1e-3, 1e-6):
        assert abs(law.exceeded(-np.log(exact.ppf(p))) / p - 1) < 0.03


def test_the_tail_of_one_coordinate_is_exact():
    """`F` of a regression."""
    law, ratio = information_law(30, 5, 1), stats.f(5, 24)
    for f in (0.1, 1.0, 3.0, 30.0):
        plug_in = 0.5 * np.log1p(f * 5 / 24)
        np.testing.assert_allclose(law.exceeded(plug_in), ratio.sf(f), rtol=1e-10)
    assert law.exceeded(0.0) == 1.0


def test_the_variance_at_correlations():
    """Independent data, and all correlations 1, where `|S_y|` and `|S_y.x|` are independent."""
    from scipy.special import polygamma

    law = information_law(400, 3, 3)
    assert law.variance_at(0.0, 0.0) == law.variance
    i = np.arange(3)
    exact = 0.25 * np.sum(polygamma(1, (399 - i) / 2) + polygamma(1, (396 - i) / 2))
    np.testing.assert_allclose(law.variance_at(3.0, 3.0), exact, rtol=1e-5)


def test_too_few_samples():
    with pytest.raises(DeclarationError, match="at least 8"):
        information_law(7, 4, 3)
