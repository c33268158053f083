"""Laws of the solvers: roots are roots, minima are minima, whatever the numbers."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boltzax.numerics import adam, bisect, golden, lbfgs, newton, root, root_beyond, sign_descent

places = st.floats(-50.0, 50.0)
slopes = st.floats(0.01, 100.0)


@given(places, slopes, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_a_bracketed_root(place, slope, below, above):
    fn = lambda x: math.tanh(slope * (x - place))  # noqa: E731
    assert root(fn, place - below, place + above) == pytest.approx(place, abs=1e-13, rel=1e-14)


@given(places, st.floats(0.0, 1e6), slopes, st.sampled_from([-1.0, 1.0]))
def test_the_root_beyond_a_place(start, far, slope, sign):
    place = start + far
    found = root_beyond(lambda x: sign * slope * (x - place), start, 1e-3)
    assert found == pytest.approx(place, abs=1e-12, rel=1e-14)


def test_roots_at_the_ends_and_ends_that_are_none():
    assert root(lambda x: x, 0.0, 1.0) == 0.0
    assert root_beyond(lambda x: x - 2.0, 2.0, 1.0) == 2.0
    assert math.isnan(root(lambda x: x, -math.inf, 1.0))
    with pytest.raises(ValueError, match="different signs"):
        root(lambda x: x * x + 1, -1.0, 1.0)


@eqx.filter_jit
def halved(target):
    """Cube roots, with the number of halvings carried along."""
    ends = jnp.full_like(target, -8.0), jnp.full_like(target, 8.0)
    return bisect(lambda x, n: (x**3 < target, n + 1), *ends, 60, jnp.zeros(()))


@given(st.lists(st.floats(-500.0, 500.0), min_size=3, max_size=3))
def test_bisection_of_arrays(targets):
    low, high, count = halved(jnp.array(targets))
    assert count == 60
    np.testing.assert_allclose(low, np.cbrt(targets), rtol=1e-13, atol=1e-13)
    assert np.all(high - low <= 2e-14) and np.all(low <= high)


@eqx.filter_jit
def stepped(start, target):
    return newton(lambda z: jnp.arctan(z - target) + 0.02 * jnp.roll(z - target, 1), start, 60)


@given(st.lists(st.floats(-9.0, 9.0), min_size=4, max_size=4))
def test_newton_arrives_from_where_full_steps_diverge(numbers):
    start, target = jnp.array(numbers[:2]), jnp.array(numbers[2:])
    residual = jnp.arctan(start - target) + 0.02 * jnp.roll(start - target, 1)
    end = stepped(start, target)
    after = jnp.arctan(end - target) + 0.02 * jnp.roll(end - target, 1)
    assert jnp.max(jnp.abs(after)) <= jnp.max(jnp.abs(residual))
    np.testing.assert_allclose(stepped(target + 3.0, target), target, atol=1e-9)


@eqx.filter_jit
def descents(centre, start):
    """A curved valley in two leaves, by both methods; a quadratic with a wall for the second."""

    def loss(w):
        bent = w["b"] - centre[1] - (w["a"] - centre[0]) ** 2
        return (w["a"] - centre[0]) ** 2 + 10 * bent**2

    w = {"a": start[0], "b": start[1]}
    low = lbfgs(loss, w, jnp.asarray(500), 20)
    slope = lambda w, i: jax.grad(lambda w: jnp.sum((w - centre) ** 2))(w)  # noqa: E731
    rate = lambda i: 0.1 * (1 - i / 400)  # noqa: E731
    walled = adam(slope, start, 400, rate, lambda w: jnp.minimum(w, 0.5))
    return low, walled


@given(st.lists(st.floats(-2.0, 2.0), min_size=4, max_size=4))
def test_descents_arrive(numbers):
    centre, start = jnp.array(numbers[:2]), jnp.array(numbers[2:]) + 0.01
    (lowest, gained, taken), walled = descents(centre, start)
    assert gained and 1 < taken <= 520
    np.testing.assert_allclose([lowest["a"], lowest["b"]], centre, atol=2e-3)
    np.testing.assert_allclose(walled, np.minimum(centre, 0.5), atol=2e-3)


def test_a_descent_without_a_gradient_tells_of_no_minimum():
    assert not lbfgs(lambda w: jnp.sqrt(w).sum(), -jnp.ones(2), jnp.asarray(50), 5)[1]


@eqx.filter_jit
def least(centre):
    return golden(lambda x: jnp.where(x > 2.9, jnp.nan, jnp.cosh(x - centre)), -1.0, 3.0, 40)


@given(st.floats(-1.0, 3.0))
def test_golden_section(centre):
    x, value = least(jnp.array(centre))
    assert value >= 1 - 1e-15 and abs(x - min(centre, 2.9)) < 1e-6


@eqx.filter_jit
def along_signs(c):
    def fn(x):
        return jnp.sum(jnp.abs(x[1:] - c)) + 0 * jnp.sqrt(x[0] - x[0])

    lengths = 0.5 * 0.9 ** jnp.arange(120.0)[:, None]
    return sign_descent(fn, jnp.zeros(4), lengths, lambda x: jnp.clip(x, -1.0, 1.0))


@given(st.tuples(*[st.floats(-2.0, 2.0)] * 3))
def test_steps_along_signs_end_at_the_nearest_allowed_place(target):
    """Of `Σ|x - c|` in a box; an entry whose slope is not a number stays where it was."""
    best, value = along_signs(jnp.asarray(target))
    assert best[0] == 0 and value <= np.sum(np.abs(target))
    np.testing.assert_allclose(best[1:], np.clip(target, -1, 1), atol=1e-4)
    np.testing.assert_allclose(value, np.sum(np.abs(best[1:] - np.asarray(target))), atol=1e-12)
