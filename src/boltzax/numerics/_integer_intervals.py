"""Interval arithmetic of integers: exact, and the whole format where a result may wrap around."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ._interval_arithmetic import Interval, Value, dot_general, down, lift, unsupported, up

EXACT = 2**20
"""Numbers up to this size are exact in every format in which sizes are estimated."""


def _real(x: Array) -> Array:
    """Integers as floats of the longest format, to see what does not fit."""
    return jnp.asarray(x).astype(jnp.result_type(float))


def fitting(bounds: Interval, low: Array, high: Array) -> Interval:
    """Bounds where estimates `low` and `high` of them fit the format, else the whole format.

    Integers wrap around: a result too large can be any integer of the format, unless both bounds
    are known to wrap equally often.
    """
    info = jnp.iinfo(bounds.lower.dtype)

    def grown(x: Array) -> Array:  # estimates are rounded
        return jnp.where(jnp.abs(x) < EXACT, x, 1.01 * x)

    def turns(x: Array) -> Array:
        return jnp.floor((x - float(info.min)) / 2.0**info.bits)

    sure = (jnp.abs(low) < EXACT) & (jnp.abs(high) < EXACT) & (turns(low) == turns(high))
    fits = sure | ((grown(low) >= float(info.min)) & (grown(high) <= float(info.max)))
    return Interval(
        jnp.where(fits, bounds.lower, info.min), jnp.where(fits, bounds.upper, info.max)
    )


def _cornered(op: Callable[[Any, Any], Any]) -> Callable[[Value, Value], Interval]:
    """A rule for an operation whose extremes lie at the corners."""

    def rule(a: Value, b: Value) -> Interval:
        a, b = lift(a), lift(b)
        pairs = [(x, y) for x in (a.lower, a.upper) for y in (b.lower, b.upper)]
        exact = jnp.stack(jnp.broadcast_arrays(*[op(x, y) for x, y in pairs]))
        real = jnp.stack(jnp.broadcast_arrays(*[op(_real(x), _real(y)) for x, y in pairs]))
        bounds = Interval(jnp.min(exact, axis=0), jnp.max(exact, axis=0))
        return fitting(bounds, jnp.min(real, axis=0), jnp.max(real, axis=0))

    return rule


add = _cornered(lambda x, y: x + y)
sub = _cornered(lambda x, y: x - y)
mul = _cornered(lambda x, y: x * y)


def neg(a: Value) -> Interval:
    return sub(jnp.zeros((), lift(a).lower.dtype), a)


def magnitude(a: Value) -> Interval:
    """The absolute value; that of the least number of a signed format is itself."""
    a = lift(a)
    if jnp.issubdtype(a.lower.dtype, jnp.unsignedinteger):
        return a
    across = (a.lower < 0) & (a.upper > 0)
    low, high = jnp.abs(a.lower), jnp.abs(a.upper)
    least = jnp.where(across, 0, jnp.minimum(low, high))
    bounds = Interval(least.astype(a.lower.dtype), jnp.maximum(low, high))
    most = jnp.maximum(jnp.abs(_real(a.lower)), jnp.abs(_real(a.upper)))
    return fitting(bounds, jnp.zeros_like(most), most)


def power(a: Value, y: int) -> Interval:
    """A whole power, not negative; an even one through the absolute value."""
    base = magnitude(a) if y % 2 == 0 else lift(a)
    bounds = Interval(base.lower**y, base.upper**y)
    return fitting(bounds, _real(base.lower) ** y, _real(base.upper) ** y)


def div(a: Value, b: Value) -> Interval:
    """The quotient cut towards zero; any number where the divisor may be zero."""
    a, b = lift(a), lift(b)
    zero = (b.lower <= 0) & (b.upper >= 0)
    b = Interval(jnp.where(zero, 1, b.lower), jnp.where(zero, 1, b.upper))

    def cut(x: Array, y: Array) -> Array:
        if jnp.issubdtype(x.dtype, jnp.floating):
            return x / y
        return jnp.sign(x) * jnp.sign(y) * (jnp.abs(x) // jnp.abs(y))

    bounds, info = _cornered(cut)(a, b), jnp.iinfo(a.lower.dtype)
    least = (a.lower == info.min) if info.min < 0 else jnp.zeros((), bool)
    bad = zero | least  # the least number has no absolute value
    return Interval(jnp.where(bad, info.min, bounds.lower), jnp.where(bad, info.max, bounds.upper))


def rem(a: Value, b: Value) -> Interval:
    """The remainder, of the sign of the dividend; any number where the divisor may be zero."""
    a, b = lift(a), lift(b)
    info = jnp.iinfo(a.lower.dtype)
    least = ((a.lower == info.min) | (b.lower == info.min)) if info.min < 0 else False
    bad = ((b.lower <= 0) & (b.upper >= 0)) | least
    size, top = magnitude(a), magnitude(b)
    most = jnp.minimum(size.upper, top.upper - 1)
    low = jnp.where(a.lower >= 0, 0, 0 - most)
    high = jnp.where(a.upper <= 0, 0, most)
    small = size.upper < top.lower  # the remainder is the dividend
    low, high = jnp.where(small, a.lower, low), jnp.where(small, a.upper, high)
    known = (a.lower == a.upper) & (b.lower == b.upper)
    remainder = jnp.where(known, jnp.sign(a.lower) * (size.lower % jnp.maximum(top.lower, 1)), 0)
    low, high = jnp.where(known, remainder, low), jnp.where(known, remainder, high)
    low, high = jnp.where(bad, info.min, low), jnp.where(bad, info.max, high)
    return Interval(low.astype(a.lower.dtype), high.astype(a.lower.dtype))


def total(a: Value, reduce: Callable[[Array], Array], count: int) -> Interval:
    """A sum of `count` terms."""
    a = lift(a)
    most = reduce(jnp.maximum(jnp.abs(_real(a.lower)), jnp.abs(_real(a.upper))))
    signed = not jnp.issubdtype(a.lower.dtype, jnp.unsignedinteger)
    return fitting(Interval(reduce(a.lower), reduce(a.upper)), -most if signed else 0 * most, most)


def product(a: Value, b: Value, dimension_numbers: Any, dtype: Any) -> Interval:
    """`dot_general`, in the format of the result."""
    a, b = converted(lift(a), dtype), converted(lift(b), dtype)
    return dot_general(a, b, dimension_numbers, mul, total)


def converted(a: Interval, dtype: Any) -> Interval:
    """Numbers or truth values in another format, true values of the real numbers that they are.

    To truth values: not zero. To integers: cut towards zero, the whole format where the number may
    not fit (integers wrap around, what becomes of floats depends on the machine).
    """
    before = a.lower.dtype
    if before == dtype:
        return a
    if dtype == jnp.bool_:
        certain, possible = (a.lower > 0) | (a.upper < 0), ~((a.lower == 0) & (a.upper == 0))
        return Interval(certain, possible)
    low, high = a.lower.astype(dtype), a.upper.astype(dtype)
    if jnp.issubdtype(dtype, jnp.integer):
        if before == jnp.bool_:
            return Interval(low, high)
        if jnp.issubdtype(before, jnp.integer):
            known, new = jnp.iinfo(before), jnp.iinfo(dtype)
            if known.min >= new.min and known.max <= new.max:
                return Interval(low, high)
            return fitting(Interval(low, high), _real(a.lower), _real(a.upper))
        bounds = fitting(Interval(low, high), jnp.trunc(a.lower), jnp.trunc(a.upper))
        info, nan = jnp.iinfo(dtype), jnp.isnan(a.lower) | jnp.isnan(a.upper)
        return Interval(
            jnp.where(nan, info.min, bounds.lower), jnp.where(nan, info.max, bounds.upper)
        )
    if not loses(before, dtype):
        return Interval(low, high)
    if jnp.issubdtype(before, jnp.integer):  # whole numbers up to 2^24 fit every format
        least = float(max(jnp.iinfo(before).min, -(2**24)))
        small = (_real(a.lower) >= least) & (_real(a.upper) <= 2.0**24)
        return Interval(jnp.where(small, low, down(low)), jnp.where(small, high, up(high)))
    return Interval(down(low), up(high))


def loses(before: Any, after: Any) -> bool:
    """Whether a conversion to a floating format may round."""
    if not jnp.issubdtype(after, jnp.floating) or before == jnp.bool_:
        return False
    if jnp.issubdtype(before, jnp.integer):
        return jnp.iinfo(before).bits > 32 or after == jnp.float32
    return jnp.finfo(before).bits > jnp.finfo(after).bits


RULES: dict[str, Callable[..., Interval]] = {
    "neg": neg,
    "add": add,
    "add_any": add,
    "sub": sub,
    "mul": mul,
    "div": div,
    "rem": rem,
    "abs": magnitude,
    "square": lambda a: power(a, 2),
    "integer_pow": power,
}
"""Rules by the name of the primitive, for integers."""


def integer_rule(name: str) -> Callable[..., Interval]:
    """The rule of a primitive."""
    if name not in RULES:
        raise unsupported(f"{name} (of integers)")
    return RULES[name]
