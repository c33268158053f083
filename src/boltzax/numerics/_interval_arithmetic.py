"""Interval arithmetic with outward rounding: one rule for each operation of a jaxpr.

An interval contains every real value that an expression takes over a box. Bounds of sums and
products are moved outward by their rounding error, bounds of elementary functions by `ULPS`, and
every bound by more than the error of underflow. `0 * inf` is 0, because an infinite bound stands
for arbitrarily large finite numbers; `inf - inf` is the whole line.

Both bounds are NaN if the expression may be undefined for some value in the box: a root or a
logarithm of a number that may be negative, a quotient by a number that may be zero. Every rule
passes NaN bounds on.

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
"""Outward rounding of elementary functions, in units of machine epsilon times the value.

At least four times the worst error of XLA (jax 0.10, CPU) against 140-bit values over some 80,000
arguments each, dense where it is large; float32 and float64:

    tanh 2.3, 3.5    logistic 1.0, 1.2    exp 0.7, 1.0     exp2 18, 201    expm1 2.8, 2.5
    log 1.0, 0.5     log1p 1.8, 121       erf 2.3, 0.8     erfc 32, 256    sqrt 0.5, 0.5
    rsqrt 1.2, 0.6

(The errors of exp2 and erfc are largest at large arguments, that of log1p just above 1 - √2.)
"""


class Interval(eqx.Module):
    """Bounds of an array. For truth values: certainly true (lower), possibly true (upper)."""

    lower: Array
    upper: Array


Value = Array | Interval
"""A known array (weights, indices), or bounds."""


def down(x: Array, ulps: float = 1) -> Array:
    """A lower bound of the exact value, if the error of `x` is at most `ulps` epsilons."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    info = jnp.finfo(x.dtype)
    tiny = 2 * float(info.tiny)
    moved = x - (jnp.abs(x) * (ulps * float(info.eps)) + tiny)
    return jnp.where(x == jnp.inf, info.max, moved)  # the exact value may be finite


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
    """The whole line where bounds cancel, `inf - inf`; NaN only if an argument is NaN."""
    low = jnp.where(jnp.isnan(a.lower) & ~nan, -jnp.inf, a.lower)
    return Interval(low, jnp.where(jnp.isnan(a.upper) & ~nan, jnp.inf, a.upper))


def neg(a: Value) -> Interval:
    a = lift(a)
    return Interval(-a.upper, -a.lower)


def add(a: Value, b: Value) -> Interval:
    """Exact where one of the two is zero."""
    a, b = lift(a), lift(b)

    def bound(x: Array, y: Array, outward: Callable) -> Array:
        return jnp.where(x == 0, y, jnp.where(y == 0, x, outward(x + y)))

    summed = Interval(bound(a.lower, b.lower, down), bound(a.upper, b.upper, up))
    return unbounded(summed, unknown(a) | unknown(b))


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
    """The remainder `x - y trunc(x / y)`, and where it may jump.

    It has the sign of `x` and is at most `|x|` and `|y|`. If `trunc(x / y)` has one value in the
    box, the formula itself is bounded.
    """
    a, b = lift(a), lift(b)
    ratio = div(a, b)
    low, high = jnp.trunc(ratio.lower), jnp.trunc(ratio.upper)
    certain = (low == high) & jnp.isfinite(low)
    close = sub(a, mul(Interval(jnp.where(certain, low, 0), jnp.where(certain, low, 0)), b))
    size = jnp.minimum(magnitude(b).upper, magnitude(a).upper)
    least = jnp.where(a.lower >= 0, jnp.zeros_like(size), -size)
    most = jnp.where(a.upper <= 0, jnp.zeros_like(size), size)
    remainder = Interval(
        jnp.where(certain, jnp.maximum(close.lower, least), least),
        jnp.where(certain, jnp.minimum(close.upper, most), most),
    )
    return undefined(remainder, unknown(ratio)), ~certain


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
    """A sum of `count` terms in any order, with bounds `s ∓ (count + 2) ε Σ|terms|`.

    The slack is more than twice Higham's γ_n. A sum of terms that are not negative is not negative.
    """
    a = lift(a)
    if count <= 1:
        return Interval(reduce(a.lower), reduce(a.upper))
    info = jnp.finfo(a.lower.dtype)
    rate, least = (count + 2) * float(info.eps), 2 * count * float(info.tiny)

    def bound(x: Array, sign: int) -> Array:
        size = reduce(jnp.abs(x))
        slack = jnp.where(size == 0, 0, rate * size + least)
        return reduce(x) + sign * slack

    low, high = bound(a.lower, -1), bound(a.upper, 1)
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


def _monotone(
    name: str,
    fn: Callable[[Array], Array],
    low: float = -math.inf,
    high: float = math.inf,
    *,
    falls: bool = False,
    above: float = -math.inf,
    closed: bool = True,
) -> Callable[[Value], Interval]:
    """The rule of a monotone function with values in `[low, high]`.

    Args:
        name: The primitive.
        fn: The function.
        low: Its least value.
        high: Its largest value.
        falls: Whether it decreases.
        above: The function is undefined below this argument.
        closed: Whether it is defined at `above`.
    """

    def rule(a: Value) -> Interval:
        a, ulps = lift(a), ULPS[name]
        first, last = (a.upper, a.lower) if falls else (a.lower, a.upper)
        lower = jnp.maximum(down(fn(first), ulps), low)
        values = Interval(lower, jnp.minimum(up(fn(last), ulps), high))
        if math.isinf(above):
            return values
        return undefined(values, ~(a.lower >= above) if closed else ~(a.lower > above))

    return rule


def select(which: Interval, zero: Value, one: Value) -> Interval:
    """The selected case if the choice is certain, else the hull of both."""
    zero, one = lift(zero), lift(one)
    low = jnp.minimum(zero.lower, one.lower)
    high = jnp.maximum(zero.upper, one.upper)
    return Interval(
        jnp.where(which.lower, one.lower, jnp.where(which.upper, low, zero.lower)),
        jnp.where(which.lower, one.upper, jnp.where(which.upper, high, zero.upper)),
    )


def less(a: Value, b: Value) -> Interval:
    """`a < b`. A comparison with an undefined value is possible and not certain."""
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
    """The error for an operation without a rule."""
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
    "tanh": _monotone("tanh", jnp.tanh, -1, 1),
    "logistic": _monotone("logistic", lax.logistic, 0, 1),
    "exp": _monotone("exp", jnp.exp, 0),
    "exp2": _monotone("exp2", jnp.exp2, 0),
    "expm1": _monotone("expm1", jnp.expm1, -1),
    "erf": _monotone("erf", lax.erf, -1, 1),
    "erfc": _monotone("erfc", lax.erfc, 0, 2, falls=True),
    "log": _monotone("log", jnp.log, above=0, closed=False),
    "log1p": _monotone("log1p", jnp.log1p, above=-1, closed=False),
    "sqrt": _monotone("sqrt", jnp.sqrt, 0, above=0),
    "rsqrt": _monotone("rsqrt", lax.rsqrt, 0, falls=True, above=0, closed=False),
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
