"""Certificates of programs with integers, conversions, jumps and undefined values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import boltzax as bx
from boltzax.interfaces import certify, enclose
from boltzax.interfaces._certify import certified
from boltzax.numerics import bounds

INTEGERS = (jnp.int8, jnp.uint8, jnp.int16, jnp.int32, jnp.uint32)


def as_float(v):
    return v.astype(float)


def through(dtype, op):
    """An operation on the values as numbers of another format."""
    # wrapped by NumPy: what jax makes of -3.0 as an unsigned number depends on where it is made
    return lambda v, x, c: as_float(op(v.astype(dtype), jnp.asarray(np.int64(c).astype(dtype))))


FLOATS = {
    "sqrt": lambda v, x, c: jnp.sqrt(v),
    "log": lambda v, x, c: jnp.log(v),
    "log1p": lambda v, x, c: jnp.log1p(v),
    "inverse": lambda v, x, c: c / v,
    "zero over zero": lambda v, x, c: (v - c) / (v - c),
    "tanh": lambda v, x, c: jnp.tanh(v),
    "exp": lambda v, x, c: jnp.exp(v),
    "floor": lambda v, x, c: jnp.floor(v),
    "round": lambda v, x, c: jnp.round(v),
    "sign": lambda v, x, c: jnp.sign(v - c),
    "square": lambda v, x, c: v * v,
    "cube": lambda v, x, c: v**3,
    "large": lambda v, x, c: 100 * v,
    "affine": lambda v, x, c: v - c * x,
    "reversed": lambda v, x, c: v[::-1] * x,
    "float mod": lambda v, x, c: v % (c + 4.5),
    "fmod": lambda v, x, c: jnp.fmod(v, c + 4.5),
    "float floor-div": lambda v, x, c: v // (c + 4.5),
    "chosen": lambda v, x, c: jnp.where(v > c, v, x),
    "guarded": lambda v, x, c: jnp.where(v > 0, jnp.log(v), c),
    "equal": lambda v, x, c: jnp.where(v == c, 7.0, v),
    "nan_to_num": lambda v, x, c: jnp.nan_to_num(v),
    "is nan": lambda v, x, c: jnp.isnan(v) + x,
    "truth": lambda v, x, c: as_float(v.astype(bool)),
    "clip": lambda v, x, c: jnp.clip(v, c, c + 2),
    "sort": lambda v, x, c: jnp.sort(v),
    "largest": lambda v, x, c: jnp.max(v) - x,
    "cumsum": lambda v, x, c: jnp.cumsum(v),
    "single": lambda v, x, c: v.astype(jnp.float32).astype(float),
    "half": lambda v, x, c: v.astype(jnp.bfloat16).astype(float),
}
WHOLE = {
    "cast": lambda v, c: v,
    "plus": lambda v, c: v + c,
    "times": lambda v, c: v * c,
    "square": lambda v, c: v * v,
    "minus": lambda v, c: c - v,
    "negative": lambda v, c: -v,
    "abs": lambda v, c: jnp.abs(v),
    "sum": lambda v, c: jnp.sum(v, dtype=v.dtype) + 0 * v,
    "cut": lambda v, c: lax.div(v, c + 0 * v),
    "floor-div": lambda v, c: v // c,
    "mod": lambda v, c: v % c,
    "rem": lambda v, c: lax.rem(v, c + 0 * v),
    "divides": lambda v, c: lax.div(c + 0 * v, v),
    "shift": lambda v, c: v >> jnp.asarray(1, v.dtype),
    "and": lambda v, c: v & jnp.asarray(3, v.dtype),
    "shorter": lambda v, c: v.astype(jnp.int8),
    "unsigned": lambda v, c: v.astype(jnp.uint8),
    "dot": lambda v, c: v * 0 + jnp.dot(v, v),
}
STEP = st.one_of(
    st.sampled_from(sorted(FLOATS)).map(lambda name: (name, None)),
    st.tuples(st.sampled_from(sorted(WHOLE)), st.sampled_from(INTEGERS)),
)
CONSTANT = st.sampled_from([-3.0, -1.0, 0.0, 1.0, 2.0, 3.0])


def program(steps):
    def fn(x):
        v = x
        for (name, dtype), c in steps:
            v = FLOATS[name](v, x, c) if dtype is None else through(dtype, WHOLE[name])(v, x, c)
        return v

    return fn


def escapes(fn, low, high, mean_value, seed=0):
    """Sampled values that the enclosure does not contain (None: refused)."""
    try:
        below, above = (np.asarray(b) for b in bounds(fn, low, high, mean_value)[:2])
    except bx.DeclarationError:
        return None
    rng = np.random.default_rng(seed)
    unit = np.concatenate([rng.uniform(size=(20, 2)), [[0, 0], [1, 1], [0, 1], [1, 0], [0.5, 0.5]]])
    points = np.asarray(low) + unit * np.asarray(high - low)
    points = np.concatenate([points, np.clip(np.round(points), low, high)])
    values = np.asarray(jax.vmap(fn)(jnp.asarray(points)))
    slack = 1e-9 * (1 + np.abs(np.where(np.isfinite(values), values, 0)))
    inside = (values >= below - slack) & (values <= above + slack)
    return values[~(np.isnan(below) | np.isnan(above) | inside)]


@pytest.mark.slow
@settings(max_examples=30)
@given(
    st.lists(st.tuples(STEP, CONSTANT), min_size=1, max_size=4),
    st.tuples(st.integers(-6, 6), st.integers(-6, 6)),
    st.sampled_from([0.0, 0.25, 1.0, 3.0, 40.0]),
)
def test_an_enclosure_contains_every_value_or_none_is_given(steps, low, width):
    low = jnp.asarray(low, float)
    found = escapes(program(steps), low, low + width, False)
    assert found is None or found.size == 0


@pytest.mark.slow
@settings(max_examples=60)
@given(
    st.lists(st.tuples(STEP, CONSTANT), min_size=1, max_size=3),
    st.tuples(st.integers(-6, 6), st.integers(-6, 6)),
    st.sampled_from([0.25, 1.0, 3.0]),
)
def test_the_mean_value_form_contains_every_value_as_well(steps, low, width):
    low = jnp.asarray(low, float)
    found = escapes(program(steps), low, low + width, True)
    assert found is None or found.size == 0


CASES = {  # what was certified wrongly, and its neighbours: function, inputs, a wrong promise
    "integer division": (
        lambda x: lax.div(x.astype(jnp.int32), jnp.int32([2])),
        (7, 7),
        (3.4, 3.6),
    ),
    "floor division": (lambda x: x.astype(jnp.int32) // 2, (7, 7), (3.4, 3.6)),
    "narrowing": (lambda x: x.astype(jnp.int32).astype(jnp.int8), (100, 200), (-1, 250)),
    "unsigned": (lambda x: -x.astype(jnp.uint8), (1, 3), (-4, 0)),
    "product": (lambda x: x.astype(jnp.int32) * 100_000, (21_474, 21_476), (2e9, 3e9)),
    "sum": (lambda x: jnp.sum(jnp.tile(x, 3).astype(jnp.int8), dtype=jnp.int8), (50, 60), (0, 200)),
    "truth": (lambda x: x.astype(bool), (-1, 1), (0.5, 1.5)),
    "logarithm": (lambda x: jnp.log(x), (-2, -1), (None, None)),
    "root": (lambda x: jnp.sqrt(x), (-2, 3), (None, None)),
    "quotient": (lambda x: x / x, (-1, 1), (0.5, 1.5)),
    "remainder": (lambda x: x % 0.0, (1, 2), (None, None)),
    "overflow": (lambda x: jnp.log(jnp.exp(x)), (1000, 1001), (5, None)),
    "infinity": (lambda x: jnp.where(x == 0.123, jnp.inf, x + 6), (0, 1), (5, None)),
    "not a number": (lambda x: jnp.where(x > 0.9, jnp.nan, x), (0, 1), (-1, 2)),
    "subnormal": (lambda x: x * 1e308 * 1e4, (1e-310, 1e-310), (-1, 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_nothing_false_is_certified(name):
    fn, inputs, promise = CASES[name]
    model = bx.models.Function(lambda w, x: as_float(fn(x).reshape(-1)), jnp.zeros(()))
    contract = bx.Contract(
        bx.Component(model, bx.Normal()),
        bx.Interface.boxes({0: [tuple(map(float, inputs))]}),
        bx.Interface.boxes({0: [promise]}),
    )
    found = certify(contract, splits=8, batch=4, mean_value=False)
    assert not found.holds and found.lower < 0
    # what is compiled as a whole may be simplified: log(exp(x)) is x to it, as to the enclosure
    assert name == "overflow" or not bool(certified(contract, None, 1, mean_value=False))


@pytest.mark.parametrize("batch", [1, 3, 128])
def test_the_lower_bound_covers_boxes_that_are_not_settled(batch):
    """A violation ends the search: what was not looked at counts all the same."""
    model = bx.models.Function(lambda w, x: jnp.where(x > 7, -100.0, -0.1), jnp.zeros(()))
    before = bx.Interface.boxes({0: [(float(i), i + 0.5) for i in range(9)], 1: [(20.0, 21.0)]})
    after = bx.Interface.boxes({0: [(0.0, 1.0)], 1: [(0.0, 1.0)]})
    found = certify(bx.Contract(bx.Component(model, bx.Normal()), before, after), batch=batch)
    assert found.status == "violated" and found.lower <= -100 and -100.1 < found.upper < 0


def test_integers_are_enclosed_tightly():
    seven = jnp.array([7.0])
    for fn, exact in (
        (lambda x: lax.div(x.astype(jnp.int32), jnp.int32(2)), 3),
        (lambda x: x.astype(jnp.int32) % 4, 3),
        (lambda x: (20 * x.astype(jnp.int32)).astype(jnp.int8), 140 - 256),
    ):
        below, above = enclose(lambda x, fn=fn: as_float(fn(x)), seven, seven)
        assert below == above == exact
