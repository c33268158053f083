"""Interval arithmetic with outward rounding: one rule for each operation of a jaxpr.

An interval holds every real value that an expression takes over a box. Additions, products and sums
are moved outward by their rounding error, elementary functions by `ULPS`, every result by a little
more than underflow can take away. `0 * inf` is 0 (a bound that is infinite stands for finite
numbers without end), `inf - inf` the whole line.

Both bounds are NaN where the expression may be undefined for some value in the box (a root or a
logarithm of a number that may be negative, a quotient by a number that may be zero). NaN bounds go
through every rule: nothing is known of what is made from such a value.

Source: Moore, Kearfott & Cloud (2009), Introduction to Interval Analysis; rounding of sums: Higham
(2002), Accuracy and Stability of Numerical Algorithms, section 4.2.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ..core import DeclarationError

ULPS = {
    "tanh": 16,
    "logistic": 16,
    "exp": 16,
    "exp2": 1024,
    "expm1": 16,
    "log": 16,
    "log1p": 512,
    "erf": 16,
    "erfc": 1024,
    "sqrt": 4,
    "rsqrt": 8,
}
"""By how many units (machine epsilon times the value) an elementary function is moved outward.

At least four times the worst error of XLA (jax 0.10, CPU) against 140-bit values over some 80,000
arguments each, dense where it is large; float32 and float64:

    tanh 2.3, 3.5    logistic 1.0, 1.2    exp 0.7, 1.0     exp2 18, 201    expm1 2.8, 2.5
    log 1.0, 0.5     log1p 1.8, 121       erf 2.3, 0.8     erfc 32, 256    sqrt 0.5, 0.5
    rsqrt 1.2, 0.6

(exp2 and erfc are worst far out, log1p in float64 just above 1 - √2.)
"""


class Interval(eqx.Module):
    """Bounds of an array; of truth values, what is certain (lower) and possible (upper)."""

    lower: Array
    upper: Array


Value = Array | Interval
"""A known array (weights, indices), or bounds."""


def down(x: Array, ulps: float = 1) -> Array:
    """A lower bound of what `x`, right to so many units of epsilon, was computed for."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    info = jnp.finfo(x.dtype)
    tiny = 2 * float(info.tiny)
    moved = x - (jnp.abs(x) * (ulps * float(info.eps)) + tiny)
    return jnp.where(x == jnp.inf, info.max, moved)  # of a number too large for the format


def up(x: Array, ulps: float = 1) -> Array:
    """An upper bound, as `down`."""
    return -down(-x, ulps) if jnp.issubdtype(x.dtype, jnp.floating) else x


def lift(x: Value) -> Interval:
    """A known array as bounds."""
    return x if isinstance(x, Interval) else Interval(jnp.asarray(x), jnp.asarray(x))


def undefined(like: Interval, where: Array) -> Interval:
    """NaN bounds where a result may be undefined."""
    return Interval(jnp.where(where, jnp.nan, like.lower), jnp.where(where, jnp.nan, like.upper))


def unknown(a: Value) -> Array:
    """Where a value may be undefined."""
    a = lift(a)
    return jnp.isnan(a.lower) | jnp.isnan(a.upper)


def unbounded(a: Interval, nan: Array) -> Interval:
    """The whole line where bounds cancel, `inf - inf`; NaN only where an argument is."""
    low = jnp.where(jnp.isnan(a.lower) & ~nan, -jnp.inf, a.lower)
    return Interval(low, jnp.where(jnp.isnan(a.upper) & ~nan, jnp.inf, a.upper))


def neg(a: Value) -> Interval:
    a = lift(a)
    return Interval(-a.upper, -a.lower)


def add(a: Value, b: Value) -> Interval:
    """Exact where one of the two is zero."""
    a, b = lift(a), lift(b)

    def one(x: Array, y: Array, outward: Callable) -> Array:
        return jnp.where(x == 0, y, jnp.where(y == 0, x, outward(x + y)))

    found = Interval(one(a.lower, b.lower, down), one(a.upper, b.upper, up))
    return unbounded(found, unknown(a) | unknown(b))


def sub(a: Value, b: Value) -> Interval:
    return add(a, neg(b))


def _corners(a: Value, b: Value) -> list[tuple[Array, Array]]:
    left = [a.lower, a.upper] if isinstance(a, Interval) else [a]
    right = [b.lower, b.upper] if isinstance(b, Interval) else [b]
    return [(jnp.asarray(x), jnp.asarray(y)) for x in left for y in right]


def mul(a: Value, b: Value) -> Interval:
    """The least and largest product of the ends; a factor that is zero gives exactly zero."""
    lows, highs = [], []
    for x, y in _corners(a, b):
        number = ~jnp.isnan(x) & ~jnp.isnan(y)
        zero, product = ((x == 0) | (y == 0)) & number, x * y
        lows.append(jnp.where(zero, 0, down(product)))
        highs.append(jnp.where(zero, 0, up(product)))
    return Interval(_least(lows), _largest(highs))


def div(a: Value, b: Value) -> Interval:
    """Undefined where the denominator may be zero."""
    lows, highs = [], []
    nan = unknown(a) | unknown(b)
    for x, y in _corners(a, b):
        ends = unbounded(Interval(down(x / y, 3), up(x / y, 3)), nan)  # inf / inf
        lows.append(jnp.where(x == 0, 0, ends.lower))
        highs.append(jnp.where(x == 0, 0, ends.upper))
    below = lift(b)
    bad = nan | ((below.lower <= 0) & (below.upper >= 0))
    return undefined(Interval(_least(lows), _largest(highs)), bad)


def rem(a: Value, b: Value) -> tuple[Interval, Array]:
    """The remainder of a quotient cut towards zero, `x - y trunc(x / y)`, and where it may jump.

    It has the sign of `x` and is smaller than `|y|` and than `|x|`; where all quotients are cut to
    one number, it is the difference.
    """
    a, b = lift(a), lift(b)
    ratio = div(a, b)
    low, high = jnp.trunc(ratio.lower), jnp.trunc(ratio.upper)
    certain = (low == high) & jnp.isfinite(low)
    close = sub(a, mul(Interval(jnp.where(certain, low, 0), jnp.where(certain, low, 0)), b))
    size = jnp.minimum(magnitude(b).upper, magnitude(a).upper)
    least = jnp.where(a.lower >= 0, jnp.zeros_like(size), -size)
    most = jnp.where(a.upper <= 0, jnp.zeros_like(size), size)
    found = Interval(
        jnp.where(certain, jnp.maximum(close.lower, least), least),
        jnp.where(certain, jnp.minimum(close.upper, most), most),
    )
    return undefined(found, unknown(ratio)), ~certain


def _least(arrays: list[Array]) -> Array:
    return jnp.min(jnp.stack(arrays), axis=0)


def _largest(arrays: list[Array]) -> Array:
    return jnp.max(jnp.stack(arrays), axis=0)


def magnitude(a: Value) -> Interval:
    """The absolute value."""
    a = lift(a)
    inner = jnp.maximum(jnp.maximum(a.lower, -a.upper), 0)
    return Interval(inner, jnp.maximum(-a.lower, a.upper))


def power(a: Value, exponent: int) -> Interval:
    """A whole power; an even one through the absolute value, so that squares are not negative."""
    if exponent < 0:
        return div(jnp.ones((), lift(a).lower.dtype), power(a, -exponent))
    if exponent == 0:
        return lift(jnp.ones_like(lift(a).lower))
    if exponent == 1:
        return lift(a)
    base = magnitude(a) if exponent % 2 == 0 else lift(a)
    low, high = base.lower**exponent, base.upper**exponent
    low = jnp.where(base.lower == 0, 0, down(low, exponent + 1))
    high = jnp.where(base.upper == 0, 0, up(high, exponent + 1))
    return Interval(jnp.maximum(low, 0) if exponent % 2 == 0 else low, high)


def total(a: Value, reduce: Callable[[Array], Array], count: int) -> Interval:
    """A sum of `count` terms in any order, `s ∓ (count + 2) ε Σ|terms|` (twice γ_n and more).

    A sum of terms that are not negative is not negative.
    """
    a = lift(a)
    if count <= 1:
        return Interval(reduce(a.lower), reduce(a.upper))
    info = jnp.finfo(a.lower.dtype)
    rate, least = (count + 2) * float(info.eps), 2 * count * float(info.tiny)

    def one(x: Array, sign: int) -> Array:
        size = reduce(jnp.abs(x))
        slack = jnp.where(size == 0, 0, rate * size + least)
        return reduce(x) + sign * slack

    low, high = one(a.lower, -1), one(a.upper, 1)
    low = jnp.where(reduce(jnp.minimum(a.lower, 0)) == 0, jnp.maximum(low, 0), low)
    nan = reduce(unknown(a).astype(a.lower.dtype)) > 0
    return unbounded(undefined(Interval(low, high), nan), nan)


def dot_general(
    a: Value,
    b: Value,
    dimension_numbers: Any,
    times: Callable[[Value, Value], Interval] | None = None,
    add_up: Callable[..., Interval] | None = None,
) -> Interval:
    """Products of all pairs, then their sum: nothing is rounded to a shorter format on the way."""
    times, add_up = times or mul, add_up or total
    (left, right), (batch_left, batch_right) = dimension_numbers
    a, count_a = _arranged(a, batch_left, left)
    b, count_b = _arranged(b, batch_right, right)
    batch, summed = len(batch_left), len(left)
    # [batch, free of a, 1..., contracted] * [batch, 1..., free of b, contracted]
    a = _mapped(a, lambda x: _gap(x, batch + count_a, count_b))
    b = _mapped(b, lambda x: _gap(x, batch, count_a))
    product = times(a, b)
    axes = tuple(range(product.lower.ndim - summed, product.lower.ndim))
    count = math.prod(product.lower.shape[axis] for axis in axes)
    return add_up(product, lambda x: jnp.sum(x, axis=axes, dtype=x.dtype), count)


def _mapped(a: Value, fn: Callable[[Array], Array]) -> Value:
    return Interval(fn(a.lower), fn(a.upper)) if isinstance(a, Interval) else fn(a)


def _arranged(a: Value, batch: Sequence[int], summed: Sequence[int]) -> tuple[Value, int]:
    """Batch axes first, summed axes last; and the number of those between."""
    ndim = lift(a).lower.ndim
    free = [axis for axis in range(ndim) if axis not in batch and axis not in summed]
    return _mapped(a, lambda x: jnp.transpose(x, (*batch, *free, *summed))), len(free)


def _gap(x: Array, at: int, count: int) -> Array:
    return x.reshape(*x.shape[:at], *[1] * count, *x.shape[at:])


def _rising(name: str, fn: Callable[[Array], Array], low: float, high: float) -> Callable:
    """An increasing function with values in `[low, high]`."""

    def rule(a: Value) -> Interval:
        a, ulps = lift(a), ULPS[name]
        lower = jnp.maximum(down(fn(a.lower), ulps), low)
        return Interval(lower, jnp.minimum(up(fn(a.upper), ulps), high))

    return rule


def erfc(a: Value) -> Interval:
    a = lift(a)
    lower, upper = lax.erfc(a.upper), lax.erfc(a.lower)
    ulps = ULPS["erfc"]
    return Interval(jnp.maximum(down(lower, ulps), 0), jnp.minimum(up(upper, ulps), 2))


def _from_zero(name: str, fn: Callable[[Array], Array], start: float) -> Callable:
    """An increasing function that exists above `start` (the root also there); undefined below."""

    def rule(a: Value) -> Interval:
        a, ulps = lift(a), ULPS[name]
        inside = Interval(down(fn(a.lower), ulps), up(fn(a.upper), ulps))
        if name == "sqrt":
            inside = Interval(jnp.maximum(inside.lower, 0), inside.upper)
            return undefined(inside, ~(a.lower >= start))
        return undefined(inside, ~(a.lower > start))

    return rule


def rsqrt(a: Value) -> Interval:
    a, ulps = lift(a), ULPS["rsqrt"]
    inside = Interval(down(lax.rsqrt(a.upper), ulps), up(lax.rsqrt(a.lower), ulps))
    inside = Interval(jnp.maximum(inside.lower, 0), inside.upper)
    return undefined(inside, ~(a.lower > 0))


def select(which: Interval, zero: Value, one: Value) -> Interval:
    """The chosen case where it is certain, both where it is not."""
    zero, one = lift(zero), lift(one)
    low = jnp.minimum(zero.lower, one.lower)
    high = jnp.maximum(zero.upper, one.upper)
    return Interval(
        jnp.where(which.lower, one.lower, jnp.where(which.upper, low, zero.lower)),
        jnp.where(which.lower, one.upper, jnp.where(which.upper, high, zero.upper)),
    )


def less(a: Value, b: Value) -> Interval:
    """What is undefined is possible, and not certain; so for the others."""
    a, b = lift(a), lift(b)
    return Interval(a.upper < b.lower, ~(a.lower >= b.upper))


def less_equal(a: Value, b: Value) -> Interval:
    a, b = lift(a), lift(b)
    return Interval(a.upper <= b.lower, ~(a.lower > b.upper))


def equal(a: Value, b: Value) -> Interval:
    a, b = lift(a), lift(b)
    certain = (a.lower == a.upper) & (b.lower == b.upper) & (a.lower == b.lower)
    return Interval(certain, ~((a.lower > b.upper) | (b.lower > a.upper)))


def negate(a: Value) -> Interval:
    """`not` of truth values."""
    a = lift(a)
    if a.lower.dtype != jnp.bool_:
        raise unsupported("not (of integers)")
    return Interval(~a.upper, ~a.lower)


def finite(a: Value) -> Interval:
    a = lift(a)
    known = jnp.isfinite(a.lower) & jnp.isfinite(a.upper)
    return Interval(known, jnp.ones_like(known))


def unsupported(name: str) -> DeclarationError:
    """What is raised for an operation without a rule."""
    return DeclarationError(
        "fn",
        got=f"the operation `{name}`, for which there is no interval rule",
        expected="operations of docs/certificates.md: sums, products, tanh, exp, where, ...",
        mend="write the model in those; `margin` and `counterexample` take any model",
    )


RULES: dict[str, Callable[..., Interval]] = {
    "neg": neg,
    "add": add,
    "add_any": add,
    "sub": sub,
    "mul": mul,
    "div": div,
    "abs": magnitude,
    "square": lambda a: power(a, 2),
    "integer_pow": lambda a, y: power(a, y),
    "dot_general": dot_general,
    "tanh": _rising("tanh", jnp.tanh, -1, 1),
    "logistic": _rising("logistic", lax.logistic, 0, 1),
    "exp": _rising("exp", jnp.exp, 0, math.inf),
    "exp2": _rising("exp2", jnp.exp2, 0, math.inf),
    "expm1": _rising("expm1", jnp.expm1, -1, math.inf),
    "erf": _rising("erf", lax.erf, -1, 1),
    "erfc": erfc,
    "log": _from_zero("log", jnp.log, 0),
    "log1p": _from_zero("log1p", jnp.log1p, -1),
    "sqrt": _from_zero("sqrt", jnp.sqrt, 0),
    "rsqrt": rsqrt,
    "lt": less,
    "le": less_equal,
    "gt": lambda a, b: less(b, a),
    "ge": lambda a, b: less_equal(b, a),
    "eq": equal,
    "ne": lambda a, b: negate(equal(a, b)),
    "not": negate,
    "is_finite": finite,
}
"""Rules by the name of the primitive."""
