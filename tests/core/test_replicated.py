"""Means over replicates: numbers, arrays, estimates and curves."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

law = hypothesis.settings(derandomize=True, deadline=None, max_examples=12)
starts = st.lists(st.floats(-3, 3), min_size=3, max_size=6, unique=True)


def falling(start: float) -> bx.Curve:
    """A line that is 0 at `start`, with a claimed error that plays no part."""
    x = np.arange(-4.0, 5.0)
    value = bx.Estimate.exact(start - x).widened(np.full(9, 7.0))
    return bx.Curve(x, value, axis="place", unit="m")


def test_numbers_have_the_error_of_their_spread():
    found = bx.replicated(lambda r: {"a": r, "b": (jnp.array([r, 1.0]),)}, [1.0, 2.0, 6.0])
    assert float(found["a"].value) == 3.0
    assert float(found["a"].standard_error) == pytest.approx((7.0 / 3) ** 0.5)
    # Student's t with 2 degrees of freedom
    assert float(found["a"].upper) == pytest.approx(3 + 4.302653 * (7.0 / 3) ** 0.5)
    np.testing.assert_allclose(found["b"][0].value, [3.0, 1.0])


@law
@hypothesis.given(starts)
def test_a_crossing_of_lines_is_the_mean_of_their_crossings(starts):
    """Of parallel lines the crossing is linear in the replicates: its error is that of the mean."""
    hypothesis.assume(np.ptp(starts) > 0.1)
    curve = bx.replicated(falling, starts)
    assert curve.axis == "place" and curve.unit == "m"
    expected = bx.Estimate.of_samples(np.array(starts))
    crossing = curve.at([0.0])[0]
    np.testing.assert_allclose(crossing.value, expected.value, atol=1e-5)
    np.testing.assert_allclose(crossing.standard_error, expected.standard_error, rtol=1e-4)


@law
@hypothesis.given(starts)
def test_curves_of_one_replicate_are_not_independent(starts):
    """The gap of two lines that a replicate moves is as certain as its half."""
    hypothesis.assume(np.ptp(starts) > 0.1)
    first, second = bx.replicated(lambda a: (falling(a), falling(a / 2)), starts)
    gap, half = first - second, bx.Estimate.of_samples(np.array(starts) / 2)
    np.testing.assert_allclose(gap.value, half.value, atol=1e-5)
    np.testing.assert_allclose(gap.standard_error, half.standard_error, rtol=1e-4)


@law
@hypothesis.given(starts, st.randoms())
def test_the_order_of_replicates_is_nothing(starts, random):
    moved = random.sample(starts, len(starts))
    found, again = (bx.replicated(falling, each) for each in (starts, moved))
    np.testing.assert_allclose(found.value, again.value, atol=1e-5)
    np.testing.assert_allclose(found.standard_error, again.standard_error, atol=1e-5)


def test_one_replicate_has_no_error():
    found = bx.replicated(abs, [2])
    assert float(found.value) == 2.0 and np.isnan(found.standard_error)


@pytest.mark.parametrize(
    "measure, replicates, words",
    [
        (abs, [], "none"),
        (np.zeros, [1, 2], "shapes"),
        (lambda r: {r: 0.0}, ["a", "b"], "other names"),
        (lambda r: falling(0.0) if r else np.zeros(9), [0, 1], "a curve in one"),
        (lambda r: falling(0.0).over(np.arange(9.0) + r, "x"), [0, 1], "different places"),
        (lambda r: "text", [0, 1], "returns"),
    ],
)
def test_what_differs_is_told(measure, replicates, words):
    with pytest.raises(bx.DeclarationError, match=words):
        bx.replicated(measure, replicates)
