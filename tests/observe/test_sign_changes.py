"""Entries that change sign between checkpoints, and how many do so by chance."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import boltzax as bx

law = hypothesis.settings(derandomize=True, deadline=None, max_examples=20)


def measured(z) -> bx.Estimate:
    """An estimate with these z-scores."""
    return bx.Estimate.exact(np.asarray(z, float)).widened(np.ones(np.shape(z)))


def test_a_change_needs_both_signs():
    found = bx.sign_changes([measured([3.0, 3.0, -1.0, 5.0]), measured([-3.0, 2.5, -4.0, -1.9])])
    np.testing.assert_array_equal(found.changed, [True, False, False, False])
    assert (found.count, found.clear) == (1, 4)
    # 4 (1 - Φ(2))
    assert found.chance == pytest.approx(4 * 0.02275013)
    assert "1 of 4 change sign, at most 0.1" in repr(found)


def test_entries_without_an_error_are_not_significant():
    blank = measured([3.0, 3.0]).unknown([True, False])
    found = bx.sign_changes([blank, measured([-3.0, -3.0])])
    np.testing.assert_array_equal(found.changed, [False, True])


def test_nothing_changes_at_one_checkpoint():
    found = bx.sign_changes([measured([3.0, -3.0])])
    assert (found.count, found.clear, found.chance) == (0, 2, 0.0)


@pytest.mark.parametrize("signal", [0.0, 1.0, 3.0, 6.0])
@pytest.mark.parametrize("checkpoints", [2, 4])
def test_fewer_change_by_chance_than_is_said(signal, checkpoints):
    """Entries of one sign at one checkpoint, 0 at the others: four standard errors."""
    z = np.random.default_rng(0).normal(size=(checkpoints, 40_000))
    z[0] += signal
    found = bx.sign_changes([measured(row) for row in z])
    assert found.count < found.chance + 4 * max(found.chance, 1.0) ** 0.5


@law
@hypothesis.given(st.integers(0, 10**6), st.integers(2, 4))
def test_the_order_and_the_sign_are_nothing(seed, checkpoints):
    z = np.random.default_rng(seed).normal(scale=3, size=(checkpoints, 12))
    found = bx.sign_changes([measured(row) for row in z])
    for other in (z[::-1], -z):
        again = bx.sign_changes([measured(row) for row in other])
        np.testing.assert_array_equal(again.changed, found.changed)
        assert (again.clear, again.chance) == (found.clear, found.chance)


@pytest.mark.parametrize("given", [[], [measured([1.0]), measured([1.0, 2.0])]])
def test_estimates_of_one_shape_are_needed(given):
    with pytest.raises(bx.DeclarationError, match="one shape"):
        bx.sign_changes(given)


def test_an_entry_at_the_level_is_not_beyond_it():
    found = bx.sign_changes([measured([2.0, -2.0, 2.5])])
    assert found.clear == 1
