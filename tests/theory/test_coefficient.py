"""The value class and the rules of combination."""

from fractions import Fraction
from itertools import permutations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from boltzax.theory import (
    LearningCoefficient,
    direct_sum,
    homogeneous,
    normal_crossing,
    product,
    regular,
)

law = settings(derandomize=True, deadline=None, max_examples=100)
fractions = st.fractions(0, 4, max_denominator=6)
coefficients = st.builds(LearningCoefficient, fractions, st.integers(1, 4))
powers = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@law
@given(coefficients, coefficients, coefficients)
def test_sum_and_product_are_commutative_monoids(a, b, c):
    for rule in (direct_sum, product):
        assert rule(a, b) == rule(b, a)
        assert rule(rule(a, b), c) == rule(a, rule(b, c)) == rule(a, b, c)
        assert rule(a) == a
    assert direct_sum(a, direct_sum()) == a


@law
@given(coefficients, coefficients)
def test_product_is_least_and_sum_is_greatest(a, b):
    assert product(a, b).value <= min(a.value, b.value) <= direct_sum(a, b).value
    assert direct_sum(a, b).multiplicity == a.multiplicity + b.multiplicity - 1


@law
@given(powers)
def test_normal_crossing_is_the_product_of_its_coordinates(k):
    whole = normal_crossing(k)
    assert whole == product(*(normal_crossing((power,)) for power in k))
    assert all(whole == normal_crossing(order) for order in permutations(k))
    assert whole.value <= Fraction(len(k), 2)


@law
@given(powers, st.data())
def test_prior_powers_never_lower_the_value(k, data):
    h = data.draw(st.lists(st.integers(0, 5), min_size=len(k), max_size=len(k)))
    assert normal_crossing(k, h).value >= normal_crossing(k).value


def test_normal_crossing_by_hand():
    assert normal_crossing((1, 2)) == LearningCoefficient(Fraction(1, 4), 1)
    assert normal_crossing((1, 1, 0)) == LearningCoefficient(Fraction(1, 2), 2)
    assert normal_crossing((1, 2), (0, 1)) == LearningCoefficient(Fraction(1, 2), 2)
    assert normal_crossing((1,), (-0.5,)) == LearningCoefficient(Fraction(1, 4), 1)


@law
@given(st.integers(1, 9))
def test_homogeneous_of_degree_two_is_regular(dim):
    assert homogeneous(dim, 2) == regular(dim) == direct_sum(*[regular(1)] * dim)
    assert homogeneous(dim, 4).value == Fraction(dim, 4)


@law
@given(coefficients, st.floats(2, 100))
def test_at_is_the_slope_of_the_free_energy(c, log_n):
    step = 1e-4 * log_n
    rise = c.free_energy(log_n + step) - c.free_energy(log_n - step)
    assert rise / (2 * step) == pytest.approx(c.at(log_n), abs=1e-6)


def test_value_class():
    c = LearningCoefficient(Fraction(130, 23), 1, "a paper")
    assert float(c) == 130 / 23
    assert "130/23" in repr(c) and "a paper" in repr(c)
    assert c == LearningCoefficient(Fraction(130, 23), 1, "another")
    assert c.at([1.0, 0.0]).shape == (2,)
    two = LearningCoefficient(Fraction(1, 2), 2)
    np.testing.assert_allclose(two.at([10.0, 20.0]), [0.4, 0.45])
    np.testing.assert_allclose(two.free_energy(10.0), 5 - np.log(10))
    with pytest.raises(ValueError, match="log_n"):
        two.at(0.0)
