"""One composite program on every kind of value agrees with jax's own evaluation of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from boltzax.numerics import Split, arb, enclose, extended, interpret, precision
from boltzax.numerics._interpreter import bind, looked_into

numbers = st.floats(-2.0, 2.0).map(lambda x: round(x, 6))


@jax.custom_jvp
def bent(x):
    return jnp.tanh(x) + 0.5


bent.defjvp(lambda primals, tangents: (bent(*primals), tangents[0]))


def scalar(a, x):
    """Calls in calls, a derivative rule, a checkpoint, constants and a reshaped number."""
    inner = jax.jit(lambda y: jnp.exp(-jnp.square(y)) * a)
    outer = jax.checkpoint(lambda y: bent(inner(y) - 0.25) / 3.0)
    return jnp.reshape(outer(x), (1,))[0] + x


def composite(x):
    """The same, with a scan, a fixed loop and a choice."""
    last, rows = lax.scan(lambda c, y: (c + scalar(0.7, y), c * y), x[0], x, reverse=True)
    turned = lax.fori_loop(0, 3, lambda i, y: jnp.tanh(y + i), last)
    return rows.sum() + lax.cond(x[1] > 0, lambda y: y, lambda y: 2 * y, turned)


def plain(eqn, values):
    return None if looked_into(eqn) else bind(eqn, values)


PROGRAM = jax.make_jaxpr(composite)(jnp.zeros(3))
INTERPRETED = jax.jit(lambda x: interpret(PROGRAM, [x], plain)[0])
DIRECT = jax.jit(composite)
ENCLOSED = jax.jit(lambda low, high: enclose(composite, low, high))
EXTENDED = extended(scalar, 2)


@given(st.tuples(numbers, numbers, numbers))
def test_arrays(x):
    x = jnp.array(x)
    np.testing.assert_allclose(INTERPRETED(x), DIRECT(x), rtol=1e-14, atol=1e-14)


@given(st.tuples(numbers, numbers, numbers), st.floats(0, 0.5), st.floats(0, 1))
def test_bounds_hold_and_are_tight_at_a_point(x, width, part):
    x = jnp.array(x)
    low, high = ENCLOSED(x, x + width)
    slack = 1e-14 * (1 + jnp.abs(DIRECT(x + part * width)))  # of the value, which is rounded too
    assert low - slack <= DIRECT(x + part * width) <= high + slack
    low, high = ENCLOSED(x, x)
    assert high - low <= 1e-11


@given(numbers, numbers)
def test_balls(a, x):
    with precision(200):
        found = float(EXTENDED(arb(a), arb(x)))
    np.testing.assert_allclose(found, scalar(jnp.array(a), jnp.array(x)), rtol=1e-13, atol=1e-13)


def weighed(base, w, z):
    """Affine in features of the datum, through calls; the same feature twice."""
    features = jax.jit(jnp.sin)(z * base)
    return jax.jit(lambda u, y: u @ y + jnp.exp(u[0]))(w, features) + jnp.sum(w**2 * features)


SPLIT = Split(weighed, jnp.ones(()), jnp.zeros(3), jnp.zeros(3))


@given(numbers, st.tuples(numbers, numbers, numbers), st.tuples(numbers, numbers, numbers))
def test_splits(base, w, z):
    base, w, z = jnp.array(base), jnp.array(w), jnp.array(z)
    assert SPLIT.is_affine and SPLIT.size == 3
    found = SPLIT.apply(base, w, SPLIT.features(base, z))
    np.testing.assert_allclose(found, weighed(base, w, z), rtol=1e-13, atol=1e-13)


def test_what_needs_a_rule_is_not_guessed():
    program = jax.make_jaxpr(lambda x: lax.while_loop(lambda y: y < 3, lambda y: y + 1, x))(0.0)
    with pytest.raises(AssertionError, match="while needs a rule"):
        interpret(program, [0.0], lambda eqn, values: None)
