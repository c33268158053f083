"""p-values against their level: exactly at it, one step above, in both precisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx
from boltzax.core import at_most_level, check_permutations, numpy_generator, permutation_test

DTYPES = st.sampled_from([np.float32, np.float64])


@given(st.integers(1, 10**6), st.data(), DTYPES)
def test_a_p_value_is_at_most_its_level_at_it_and_not_one_step_above(permutations, data, dtype):
    k = data.draw(st.integers(1, permutations))
    level, total = k / (1 + permutations), dtype(1 + permutations)
    assert at_most_level(dtype(k) / total, level)
    assert not at_most_level(dtype(k + 1) / total, level)
    # also a level that went through float32
    assert at_most_level(dtype(k) / total, float(np.float32(level)))
    assert not at_most_level(dtype(k + 1) / total, float(np.float32(level)))


@given(st.sampled_from([1, 2, 19, 60]), st.data(), st.sampled_from([np, jnp]), st.integers(0, 99))
def test_the_critical_value_is_where_a_p_value_comes_to_its_level(permutations, data, xp, seed):
    null = xp.asarray(np.random.default_rng(seed).normal(size=permutations))
    level = data.draw(st.integers(1, permutations)) / (1 + permutations)
    critical = permutation_test(0.0, null, level, 0.0)[1]
    p_values, _ = permutation_test(null, null, level, 0.0)
    seen = [at_most_level(each, level) for each in np.asarray(p_values)]
    assert seen == [bool(each > critical) for each in null]
    above = permutation_test(xp.nextafter(critical, xp.inf), null, level, 0.0)[0]
    assert at_most_level(above, level)
    assert not at_most_level(permutation_test(critical, null, level, 0.0)[0], level)


@given(st.integers(1, 10**6))
def test_the_least_number_of_permutations_reaches_the_level(permutations):
    level = 1 / (1 + permutations)
    check_permutations(level, permutations)
    if permutations > 1:
        with pytest.raises(bx.DeclarationError, match=rf"permutations={permutations}\b"):
            check_permutations(level, permutations - 1)
    critical = permutation_test(0.0, np.zeros(3), 0.2, 0.0)[1]
    assert critical == np.inf


def test_a_statistic_that_is_not_finite_has_no_p_value():
    p_values, critical = permutation_test([1.0, np.nan, np.inf], np.arange(19.0), 0.05, 0.0)
    np.testing.assert_allclose(p_values, [0.95, np.nan, np.nan])
    assert critical == 18.0
    assert not at_most_level(np.nan, 0.05) and at_most_level(np.nan, 0.05, nan=True)


def test_random_numbers_of_a_key_are_not_those_of_the_data():
    """`default_rng(0)` has the stream of the words of `key(0)`."""
    ours, again = (numpy_generator(jax.random.key(0)).normal(size=9) for _ in range(2))
    np.testing.assert_array_equal(ours, again)
    for seed in (0, [0, 0]):
        assert not np.any(np.isclose(ours, np.random.default_rng(seed).normal(size=9)))
    assert not np.any(np.isclose(ours, numpy_generator(jax.random.key(1)).normal(size=9)))
