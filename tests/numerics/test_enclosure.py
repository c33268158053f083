"""Enclosures against values in a longer format, exact fractions, and planted mistakes."""

from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from scipy import special

import boltzax as bx
from boltzax.numerics import _enclosure, _interval_arithmetic, _interval_walk
from boltzax.numerics._enclosure import bounds, enclose
from boltzax.numerics._interval_arithmetic import Interval, lift

HIDDEN = 5
LOW, HIGH = jnp.zeros(1), jnp.ones(1)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def tanh_gelu(x):
    # the constants are floats of the model's own format: both are checked in float64
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(inner))


def erf_gelu(x):
    return x * special.erfc(-np.asarray(x, float) * np.sqrt(0.5)) / 2


ACTIVATIONS = {
    "tanh": (jnp.tanh, np.tanh),
    "sigmoid": (jax.nn.sigmoid, logistic),
    "relu": (jax.nn.relu, lambda x: np.maximum(x, 0)),
    "hard_tanh": (jax.nn.hard_tanh, lambda x: np.clip(x, -1, 1)),
    "clip": (lambda x: jnp.clip(x, -0.5, 1), lambda x: np.clip(x, -0.5, 1)),
    "softplus": (jax.nn.softplus, lambda x: np.logaddexp(x, 0)),
    "gelu": (jax.nn.gelu, tanh_gelu),
    "erf_gelu": (lambda x: jax.nn.gelu(x, approximate=False), erf_gelu),
    "leaky": (jax.nn.leaky_relu, lambda x: np.where(x >= 0, x, 0.01 * x)),
    "step": (lambda x: jnp.where(x > 0.25, 1.0, -0.5), lambda x: np.where(x > 0.25, 1, -0.5)),
    "abs": (lambda x: jnp.abs(x) - 1, lambda x: np.abs(x) - 1),
    "cube": (lambda x: x**3, lambda x: x**3),
    "damped": (
        lambda x: jnp.square(x) * jnp.exp(-jnp.square(x)),
        lambda x: x**2 * np.exp(-(x**2)),
    ),
    "log1p": (lambda x: jnp.log1p(x * x), lambda x: np.log1p(x * x)),
    "ratio": (lambda x: x / (1 + jnp.abs(x)), lambda x: x / (1 + np.abs(x))),
}
QUICK = ("tanh", "leaky")
"""Those of the fast tests (each compiles for seconds); the slow test has all."""


def net(weights, x, act):
    inner, bias, outer = weights
    return outer @ act(inner @ x + bias)


def compiled(activation, forms=(False, True)):
    """Bounds of many nets, each over its own box, without and with the mean-value form."""
    act = ACTIVATIONS[activation][0]

    def one(weights, low, high):
        def fn(x):
            return net(weights, x, act)

        return [bounds(fn, low, high, form)[:2] for form in forms]

    return jax.jit(jax.vmap(one))


CACHE = {}


def cases(seed, count, dim, dtype, wide):
    """Random nets, boxes (one in four a single point), and points in them with the corners."""
    rng = np.random.default_rng(seed)
    shapes = [(count, HIDDEN, dim), (count, HIDDEN), (count, 2, HIDDEN)]
    weights = [(2 * rng.normal(size=shape)).astype(dtype) for shape in shapes]
    low = rng.normal(size=(count, dim)).astype(dtype)
    width = wide * rng.uniform(size=(count, dim)) * (rng.uniform(size=(count, 1)) > 0.25)
    high = (low + width).astype(dtype)
    unit = np.concatenate([rng.uniform(size=(40, count, dim)), rng.integers(0, 2, (8, count, dim))])
    points = np.clip((low + unit * (high - low)).astype(dtype), low, high)
    return weights, low, high, points


def escapes(run, activation, seed, dim=2, dtype=np.float64, wide=1.0, count=200):
    """How many values, in a longer format, lie outside the enclosures."""
    weights, low, high, points = cases(seed, count, dim, dtype, wide)
    longer = np.longdouble if dtype is np.float64 else np.float64
    inner, bias, outer = [w.astype(longer) for w in weights]
    drive = np.einsum("nhd,pnd->pnh", inner, points.astype(longer)) + bias
    values = np.einsum("noh,pnh->pno", outer, ACTIVATIONS[activation][1](drive))
    found = run([jnp.asarray(w) for w in weights], jnp.asarray(low), jnp.asarray(high))
    out = 0
    for below, above in found:
        assert below.dtype == dtype
        below, above = np.asarray(below).astype(longer), np.asarray(above).astype(longer)
        out += int(np.sum(~((values >= below) & (values <= above))))
    return out


def law(activation, seed, dim, dtype, wide):
    key = (activation, dim, dtype)
    if key not in CACHE:
        CACHE[key] = compiled(activation)
    assert escapes(CACHE[key], activation, seed, dim, dtype, wide) == 0


def formats(activation):
    # the constants of these are other numbers in float32 than in the longer format
    return [np.float64] if activation in ("gelu", "erf_gelu", "leaky") else [np.float64, np.float32]


@pytest.mark.slow
@pytest.mark.parametrize("activation", QUICK)
@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-12, 1e-6, 1e-2, 0.3, 2.0, 50.0]))
def test_an_enclosure_contains_every_value(activation, seed, wide):
    law(activation, seed, 2, np.float64, wide)


@pytest.mark.slow
@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-5, 1e-2, 0.3, 2.0, 50.0]))
def test_an_enclosure_contains_every_value_in_float32(seed, wide):
    law("tanh", seed, 2, np.float32, wide)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dim", [1, 3])
@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-12, 1e-6, 1e-2, 0.3, 2.0, 50.0]), st.data())
def test_an_enclosure_contains_every_value_of_every_activation(activation, dim, seed, wide, data):
    law(activation, seed, dim, data.draw(st.sampled_from(formats(activation))), wide)


ELEMENTARY = {
    "tanh": (jnp.tanh, np.tanh, (-25, 25)),
    "logistic": (lax.logistic, logistic, (-40, 40)),
    "exp": (jnp.exp, np.exp, (-40, 40)),
    "exp2": (jnp.exp2, np.exp2, (-60, 60)),
    "expm1": (jnp.expm1, np.expm1, (-5, 5)),
    "log": (jnp.log, np.log, (1e-3, 3)),
    "log1p": (jnp.log1p, np.log1p, (-0.9, 2)),
    "sqrt": (jnp.sqrt, np.sqrt, (0, 9)),
    "rsqrt": (lax.rsqrt, lambda x: 1 / np.sqrt(x), (1e-3, 9)),
    "square": (jnp.square, np.square, (-3, 3)),
    "cube": (lambda x: x**3, lambda x: x**3, (-3, 3)),
    "inverse": (lambda x: x**-3, lambda x: x ** np.longdouble(-3), (0.1, 3)),
    "divide": (lambda x: 1 / x, lambda x: 1 / x, (0.1, 3)),
}


def elementary_escapes(name, dtype, run=None):
    """Points at which the exact value of one function leaves its enclosure over the point."""
    fn, oracle, (start, end) = ELEMENTARY[name]
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(start, end, 20_000), rng.uniform(-1, 1, 2000) * 1e-3])
    x = np.concatenate([x, 1 - np.sqrt(2) + 1e-9 * rng.uniform(-1, 1, 2000)])
    x = x[(x > start) & (x < end)].astype(dtype)
    run = run or jax.jit(lambda x: bounds(fn, x, x, False)[:2])
    low, high = (np.asarray(b, np.longdouble) for b in run(jnp.asarray(x)))
    exact = oracle(x.astype(np.longdouble))
    wide = np.max((high - low) / np.maximum(np.abs(exact), np.finfo(dtype).tiny))
    return int(np.sum(~((exact >= low) & (exact <= high)))), float(wide / np.finfo(dtype).eps)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary_functions_are_enclosed_at_points(name, dtype):
    out, wide = elementary_escapes(name, dtype)
    assert out == 0
    most = 2 * _interval_arithmetic.ULPS.get(name, 8) + 4
    assert wide <= most  # and not by much more than the error that is allowed for


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-10, 1.0]), st.booleans())
def test_the_bounds_of_an_affine_map_are_exact_to_a_few_ulps(seed, wide, cancel):
    rng = np.random.default_rng(seed)
    matrix, bias, low = rng.normal(size=(3, 6)), rng.normal(size=3), rng.normal(size=6)
    if cancel:  # the terms are 1e9 times their sum
        matrix[:, 3:] = -matrix[:, :3]
        low[3:] = low[:3] * (1 + 1e-9 * rng.normal(size=3))
    high = low + wide * rng.uniform(size=6)
    found = AFFINE(jnp.asarray(matrix), jnp.asarray(bias), jnp.asarray(low), jnp.asarray(high))
    for row in range(3):
        exact = [Fraction(bias[row])] * 2
        size = abs(bias[row])
        for a, x, y in zip(matrix[row], low, high, strict=True):
            ends = sorted([Fraction(a) * Fraction(x), Fraction(a) * Fraction(y)])
            exact = [exact[0] + ends[0], exact[1] + ends[1]]
            size += abs(a) * max(abs(x), abs(y))
        for below, above in zip(found[0::2], found[1::2], strict=True):
            below, above = Fraction(float(below[row])), Fraction(float(above[row]))
            assert below <= exact[0] and exact[1] <= above
            few = Fraction(16 * np.finfo(float).eps * size)
            assert exact[0] - below <= few and above - exact[1] <= few


@jax.jit
def AFFINE(matrix, bias, low, high):
    def fn(x):
        return matrix @ x + bias

    return *bounds(fn, low, high, False)[:2], *bounds(fn, low, high, True)[:2]


def test_a_monotone_function_is_enclosed_to_rounding():
    weights = jnp.array([1.0, 2.0, 0.5])

    def fn(x):
        return jnp.sum(weights * jnp.tanh(weights * x[0] + 0.3))

    low, high = jnp.array([-1.0]), jnp.array([2.0])
    below, above = enclose(fn, low, high)
    np.testing.assert_allclose([below, above], [fn(low), fn(high)], rtol=1e-13)


@pytest.mark.slow
def test_the_mean_value_form_converges_with_the_square_of_the_width():
    def act(x):
        return jnp.tanh(2 * x[0]) - jnp.tanh(1.9 * x[0] + 0.1 * x[1])

    excess = []
    for width in (0.02, 0.01):
        low = jnp.array([0.3, -0.2])
        high = low + width
        below, above = enclose(act, low, high)
        grid = jnp.stack(jnp.meshgrid(*[jnp.linspace(0, width, 101)] * 2), -1).reshape(-1, 2)
        seen = jax.vmap(act)(low + grid)
        excess.append(float(above - below - (seen.max() - seen.min())))
    assert 0 < excess[1] < 0.3 * excess[0]


def contains(fn, low, high, points=2000):
    low, high = jnp.asarray(low, float), jnp.asarray(high, float)
    below, above = enclose(fn, low, high)
    unit = jax.random.uniform(jax.random.key(0), (points, *low.shape))
    values = jax.vmap(fn)(low + unit * (high - low))
    assert below.shape == values.shape[1:]
    # sampled values are rounded too
    slack = 1e-13 * (1 + jnp.max(jnp.abs(values)))
    assert bool(jnp.all(values >= below - slack) & jnp.all(values <= above + slack))
    assert bool(jnp.all(jnp.isfinite(below)) & jnp.all(jnp.isfinite(above)))


STRUCTURE = {
    "concatenate": lambda x: jnp.concatenate([x, 2 * x[::-1]])[1:4],
    "gather": lambda x: x[jnp.array([2, 0, 0])] * x,
    "scatter": lambda x: x.at[1].set(x[0] ** 2),
    "pad": lambda x: jnp.pad(x, 2, constant_values=0.5),
    "split": lambda x: jnp.split(x, 3)[1] - x[0],
    "stack": lambda x: jnp.stack([x, -x]).T.reshape(-1),
    "cumsum": lambda x: jnp.cumsum(x),
    "sort": lambda x: jnp.sort(x),
    "norm": lambda x: jnp.linalg.norm(x),
    "softmax": lambda x: jax.nn.softmax(x),
    "mean": lambda x: jnp.mean(x) - jnp.max(x) + jnp.min(x),
    "minimum": lambda x: jnp.minimum(x, x[::-1]),
    "chosen": lambda x: jnp.where((x > 0.3) & ~(x[0] >= 1), x, x**2),
    "floor": lambda x: jnp.floor(3 * x) + jnp.sign(x) + jnp.round(x),
    "truth": lambda x: jnp.sum((x > 0.4).astype(float)),
    "whole": lambda x: (3 * x).astype(int).astype(float),
    "slice": lambda x: lax.dynamic_slice(x, (jnp.array(1),), (2,)),
    "cond": lambda x: lax.cond(x[0] > 0.2, lambda x: x - 5, lambda x: 5 - x, x),
    "switch": lambda x: lax.switch(1, [lambda x: -x, jnp.tanh], x),
    "remat": jax.checkpoint(lambda x: jnp.tanh(x) * x),
    "shorter": lambda x: x.astype(jnp.float32).astype(float) * 3,
    "einsum": lambda x: jnp.einsum("i,j->ij", x, x),
    "elu": jax.nn.elu,
}


FAST = ("gather", "chosen", "truth", "cond")
SLOW = [pytest.param(n, marks=pytest.mark.slow) for n in STRUCTURE if n not in FAST]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_operations(name):
    contains(STRUCTURE[name], [-0.4, 0.1, 0.3], [0.5, 0.35, 0.9])


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        eqx.nn.MLP(3, 2, 6, 2, activation=jnp.tanh, key=jax.random.key(1)),
        pytest.param(
            bx.models.MLP((3, 5, 1), jax.nn.sigmoid, key=jax.random.key(2)),
            marks=pytest.mark.slow,
        ),
        bx.models.TwoLayer(5, jax.nn.relu, 3, bias=True, scaling="ntk", key=jax.random.key(3)),
    ],
)
def test_models(model):
    contains(model, [-0.4, 0.1, 0.3], [0.5, 0.35, 0.9])


def LAYER(w, x):
    return jnp.tanh(w @ x)


@pytest.mark.slow
def test_it_can_be_jitted_and_vmapped_over_boxes_and_weights():
    w = jax.random.normal(jax.random.key(0), (4, 2, 3))
    low = jax.random.normal(jax.random.key(1), (4, 3))

    def model(w):
        return bx.models.Function(LAYER, w)

    def one(w, low):
        return enclose(model(w), low, low + 0.5)

    together = jax.jit(jax.vmap(one))(w, low)
    for i in range(4):  # compiled once: the weights are no constants
        for each, alone in zip(together, one(w[i], low[i]), strict=True):
            np.testing.assert_allclose(each[i], alone, rtol=1e-12)


def test_rays_are_enclosed_without_nan():
    low, high = jnp.array([0.5]), jnp.array([jnp.inf])
    below, above = enclose(lambda x: jnp.tanh(x[0]) - 2, low, high)
    assert float(below) == pytest.approx(np.tanh(0.5) - 2) and float(above) == pytest.approx(-1)


@pytest.mark.slow
def test_rays_of_functions_that_rise():
    low, high = jnp.array([0.5]), jnp.array([jnp.inf])
    # a zero weight takes nothing from a ray; a rising net keeps its finite end
    below, above = enclose(lambda x: jnp.array([0.0, 2.0]) * x[0] + 1, low, high)
    np.testing.assert_allclose(below, [1, 2])
    assert above[0] == 1 and above[1] == jnp.inf
    below, above = enclose(lambda x: jax.nn.relu(3 * x[0]) - jax.nn.relu(x[0] - 0.1), low, high)
    assert float(below) == pytest.approx(1.1) and above == jnp.inf
    below, above = enclose(lambda x: x[0] - jnp.tanh(x[0]) * x[0], -high, high)
    assert below == -jnp.inf and above == jnp.inf


def test_where_a_function_may_jump_the_derivative_is_not_believed():
    def step(x):
        return jnp.where(x[0] > 0.3, 1.0, 0.0)

    for fn in (step, lambda x: jnp.floor(x[0] + 0.7), lambda x: (x[0] > 0.3).astype(float)):
        below, above = enclose(fn, jnp.array([0.0]), jnp.array([1.0]))
        assert below <= 0 and above >= 1
        below, above = enclose(fn, jnp.array([0.4]), jnp.array([1.0]))
        np.testing.assert_allclose([below, above], 1, atol=1e-12)


def test_derivatives_that_are_not_true_are_not_used():
    @jax.custom_jvp
    def straight(x):
        return x**2

    straight.defjvp(lambda primals, tangents: (straight(*primals), 0 * tangents[0]))

    @jax.custom_vjp
    def also(x):
        return x**2

    also.defvjp(lambda x: (x**2, x), lambda x, g: (0 * g,))
    for fn in (straight, also, lambda x: x * lax.stop_gradient(x)):
        below, above = enclose(lambda x, fn=fn: fn(x[0]), jnp.array([1.0]), jnp.array([2.0]))
        np.testing.assert_allclose([below, above], [1, 4], rtol=1e-12)


def test_overflow_and_weights_that_are_no_numbers_prove_nothing():
    below, above = enclose(lambda x: jnp.exp(x), jnp.array([800.0]), jnp.array([900.0]))
    assert below[0] <= np.finfo(float).max and above[0] == jnp.inf
    for bad in (jnp.nan, jnp.inf):
        weight = jnp.array([1.0, bad])
        below, above = enclose(lambda x, w=weight: jnp.tanh(w * x[0]), jnp.zeros(1), jnp.ones(1))
        assert bool(jnp.all(jnp.isnan(below)) & jnp.all(jnp.isnan(above)))
    below, above = enclose(lambda x: 1 / x, -jnp.ones(1), jnp.ones(1))
    assert jnp.isnan(below[0]) and jnp.isnan(above[0])


@pytest.mark.parametrize(
    ("fn", "low", "high", "words"),
    [
        (jnp.sin, jnp.zeros(1), jnp.ones(1), "`sin`"),
        (lambda x: lax.while_loop(lambda y: y[0] < 3, lambda y: y + 1, x), LOW, HIGH, "`while`"),
        (lambda x: lax.fori_loop(0, 65, lambda i, y: y * x, x), LOW, HIGH, "`scan"),
        (lambda x: x[jnp.argmax(x)], jnp.zeros(2), jnp.ones(2), "argmax"),
        (lambda x: jnp.tanh(x.astype(jnp.bfloat16)), jnp.zeros(1), jnp.ones(1), "bfloat16"),
        (lambda x: (x, x), jnp.zeros(1), jnp.ones(1), "one floating array"),
        (lambda x: x > 0, jnp.zeros(1), jnp.ones(1), "one floating array"),
        (jnp.tanh, jnp.ones(1), jnp.zeros(1), "lower <= upper"),
        (jnp.tanh, jnp.ones(1), jnp.ones(2), "one shape"),
        (jnp.tanh, jnp.full(1, jnp.nan), jnp.ones(1), "lower <= upper"),
    ],
)
def test_what_is_refused(fn, low, high, words):
    with pytest.raises(bx.DeclarationError, match=words):
        enclose(fn, low, high)


def test_the_checks_see_a_tanh_that_is_not_widened(monkeypatch):
    def plain(a):
        return Interval(jnp.tanh(lift(a).lower), jnp.tanh(lift(a).upper))

    monkeypatch.setitem(_interval_arithmetic.RULES, "tanh", plain)
    assert elementary_escapes("tanh", np.float64)[0] > 0


def test_the_checks_see_products_of_like_ends_only(monkeypatch):
    def wrong(a, b):
        a, b = lift(a), lift(b)
        return Interval(a.lower * b.lower, a.upper * b.upper)

    monkeypatch.setattr(_interval_arithmetic, "mul", wrong)  # as dot_general sees it
    assert escapes(compiled("tanh", (False,)), "tanh", 0) > 0


def test_the_checks_see_a_choice_that_takes_one_case(monkeypatch):
    def wrong(which, zero, one):
        zero, one = lift(zero), lift(one)

        def pick(a, b):
            return jnp.where(which.lower, b, a)

        return Interval(pick(zero.lower, one.lower), pick(zero.upper, one.upper))

    monkeypatch.setattr(_interval_walk, "select", wrong)
    assert escapes(compiled("step", (False,)), "step", 0) > 0


def test_the_checks_see_sums_that_are_not_widened(monkeypatch):
    def wrong(a, reduce, count):
        a = lift(a)
        return Interval(reduce(a.lower), reduce(a.upper))

    monkeypatch.setattr(_interval_arithmetic, "total", wrong)
    # the slack of the products alone does not cover a sum of a thousand equal terms
    row = jnp.full(4096, 0.1)
    value = jax.jit(lambda x: bounds(lambda x: row @ x, x, x, False)[:2])
    x = jnp.concatenate([jnp.array([1e9]), jnp.full(4094, 1e-7), jnp.array([-1e9])])
    exact = sum((Fraction(0.1) * Fraction(float(each)) for each in x), Fraction(0))
    low, high = (Fraction(float(b)) for b in value(x))
    assert not low <= exact <= high


def test_the_checks_see_a_derivative_believed_at_a_jump(monkeypatch):
    honest = _enclosure.walk

    def deaf(*arguments):
        return (honest(*arguments)[0], jnp.zeros((), bool))

    monkeypatch.setattr(_enclosure, "walk", deaf)
    assert escapes(compiled("step", (True,)), "step", 0) > 0
