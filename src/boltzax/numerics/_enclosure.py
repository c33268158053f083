"""Rigorous bounds of a function over a box, including rounding errors."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import Array, Float

from ..core import DeclarationError, errors_named, subprograms, typed
from ._interval_arithmetic import Interval, add, lift, mul, sub, total, undefined, unknown
from ._interval_walk import walk
from ._slopes import smooth


@typed
def enclose(
    fn: Callable[..., Any],
    lower: Float[Array, "..."],
    upper: Float[Array, "..."],
    *,
    mean_value: bool = True,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Bounds of every entry of `fn(x)` over all `x` with `lower <= x <= upper`.

    `fn` takes one array of the shape of `lower` and gives one floating array; what it closes over
    (weights) are known numbers, which may be traced: `enclose` can be jitted and vmapped over boxes
    and weights. A module is compiled once for all its weights, a new lambda each time. Infinite
    bounds stand for rays. The bounds hold for the function of real numbers that `fn` writes down,
    its constants taken as the floats they are; each operation is rounded outward, also by the error
    of the elementary functions of XLA.

    Two enclosures are intersected: that of interval arithmetic, `f(X)`, and the mean-value form ::

        f(c) + J(X) (X - c),   J(X) ⊇ {∂f(x) : x in X},

    with the centres `c` that make each bound best (an end, wherever J has one sign: bounds of a
    function that is seen to be monotone are exact up to rounding). The second is left out where the
    function may jump in the box, or with `mean_value=False`.

    A bound that cannot be found is infinite. Both are NaN where the function may be undefined for
    some `x` in the box: a root or a logarithm of what may be negative, a quotient by what may be
    zero, a weight that is not finite. Integers are those of the machine, which wrap around. Weights
    below the least normal float prove nothing, for the machine may take them for zero.

    Source: Moore, Kearfott & Cloud (2009), Introduction to Interval Analysis; centres: Baumann
    (1988), BIT 28:80.

    Raises:
        DeclarationError: Naming it, for an operation without a rule, for a half-precision format,
            and for a box that is none.
    """
    _check(lower, upper)
    return _enclose(fn, lower, upper, mean_value)


@eqx.filter_jit
def _enclose(
    fn: Callable[..., Any], lower: Array, upper: Array, mean_value: bool
) -> tuple[Array, Array]:
    return bounds(fn, lower, upper, mean_value)[:2]


def bounds(
    fn: Callable[..., Any], lower: Array, upper: Array, mean_value: bool
) -> tuple[Array, Array, Interval | None]:
    """`enclose`, and the bounds `[out, dim]` of the Jacobian that it used (if any)."""
    dtype = jnp.result_type(lower, upper)
    lower, upper = lower.astype(dtype), upper.astype(dtype)
    x = jax.ShapeDtypeStruct(lower.shape, dtype)
    expected = f"a function of one array of shape {lower.shape}, that gives one floating array"
    with errors_named(
        "fn", expected=expected, mend="write it with jax.numpy, e.g. enclose(jnp.tanh, ...)"
    ):
        closed, shape = jax.make_jaxpr(fn, return_shape=True)(x)
    if not isinstance(shape, jax.ShapeDtypeStruct) or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise DeclarationError(
            "fn",
            got=f"a function that gives {shape}",
            expected="one floating array",
            mend="return a single array of floats",
        )
    box = _without_subnormals(lower, upper)
    (value,), jump = walk(closed, box)
    value = lift(value)
    slopes = _slopes(closed, box) if mean_value and lower.size and shape.size else None
    if slopes is not None:
        centred = _centred(closed, box, slopes, shape)
        # a derivative that is undefined says nothing
        no_low, no_high = jump | jnp.isnan(centred.lower), jump | jnp.isnan(centred.upper)
        low = jnp.where(no_low, value.lower, jnp.maximum(value.lower, centred.lower))
        high = jnp.where(no_high, value.upper, jnp.minimum(value.upper, centred.upper))
        value = Interval(low, high)
    bad = ~_good(closed) | unknown(value)
    if _has_infinities(closed.jaxpr):  # which the function may reach
        bad = bad | jnp.isinf(value.lower) | jnp.isinf(value.upper)
    value = undefined(value, bad)
    return value.lower, value.upper, slopes


def _slopes(closed: ClosedJaxpr, box: Interval) -> Interval | None:
    def jacobian(x: Array) -> Array:
        return jax.jacfwd(lambda x: smooth(closed)(x)[0])(x).reshape(-1, x.size)

    like = jax.ShapeDtypeStruct(box.lower.shape, box.lower.dtype)
    try:
        (found,), _ = walk(jax.make_jaxpr(jacobian)(like), box)
    except DeclarationError:
        return None
    return lift(found)


def _centred(closed: ClosedJaxpr, box: Interval, slope: Interval, shape: Any) -> Interval:
    """The mean-value form, each bound of each output from its own centre."""
    low, high = box.lower.reshape(-1), box.upper.reshape(-1)
    below = _centre(slope.lower, slope.upper, low, high)
    above = _centre(-slope.upper, -slope.lower, low, high)

    def bounds(row: Array, centre: Array, steep: Interval) -> Interval:
        point = centre.reshape(box.lower.shape)
        (value,), _ = walk(closed, Interval(point, point))
        value = lift(value)
        value = Interval(value.lower.reshape(-1)[row], value.upper.reshape(-1)[row])
        moved = mul(steep, sub(Interval(low, high), centre))
        return add(value, total(moved, jnp.sum, low.size))

    rows = jnp.arange(slope.lower.shape[0])
    lower = jax.vmap(bounds)(rows, below, slope).lower
    upper = jax.vmap(bounds)(rows, above, slope).upper
    return Interval(lower.reshape(shape.shape), upper.reshape(shape.shape))


def _centre(low_slope: Array, high_slope: Array, low: Array, high: Array) -> Array:
    """The centre that gives the best lower bound, for slopes between two numbers; it is finite."""
    low, high = (jnp.broadcast_to(end, low_slope.shape) for end in (low, high))
    mixed = (high_slope * low - low_slope * high) / (high_slope - low_slope)
    chosen = jnp.where(low_slope >= 0, low, jnp.where(high_slope <= 0, high, mixed))
    middle = jnp.where(jnp.isfinite(low), low, jnp.where(jnp.isfinite(high), high, 0.0))
    chosen = jnp.where(jnp.isfinite(chosen), chosen, middle)
    return jnp.clip(chosen, low, high)


def _subnormal(x: Array) -> Array:
    """Where a float is subnormal, by its bits."""
    bits = {2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint64}[x.dtype.itemsize]
    kept = 2 ** jnp.finfo(x.dtype).nmant - 1
    word = lax.bitcast_convert_type(x, bits)
    exponent = word & jnp.asarray(2 ** (8 * x.dtype.itemsize - 1) - 1 - kept, bits)
    return (exponent == 0) & ((word & jnp.asarray(kept, bits)) != 0)


def _without_subnormals(lower: Array, upper: Array) -> Interval:
    """The box, extended so that each bound that is subnormal becomes zero or a normal float."""
    tiny = jnp.asarray(jnp.finfo(lower.dtype).tiny, lower.dtype)
    low = jnp.where(_subnormal(lower), jnp.where(jnp.signbit(lower), -tiny, 0), lower)
    high = jnp.where(_subnormal(upper), jnp.where(jnp.signbit(upper), 0, tiny), upper)
    return Interval(low, high)


def _good(closed: ClosedJaxpr) -> Array:
    """Whether all weights are finite, and none is subnormal."""
    good = jnp.ones((), bool)
    for const in map(jnp.asarray, closed.consts):
        if jnp.issubdtype(const.dtype, jnp.floating):
            good = good & jnp.all(jnp.isfinite(const) & ~_subnormal(const))
    return good


def _has_infinities(jaxpr: Jaxpr) -> bool:
    """Whether infinity is a literal of a program or of its nested programs."""
    literals = (v.val for eqn in jaxpr.eqns for v in eqn.invars if isinstance(v, Literal))
    inner = (program for eqn in jaxpr.eqns for program in subprograms(eqn))
    return any(map(_infinite, literals)) or any(map(_has_infinities, inner))


def _infinite(value: Any) -> bool:
    value = np.asarray(value)
    return bool(np.issubdtype(value.dtype, np.floating) and np.any(np.isinf(value)))


def _check(lower: Array, upper: Array) -> None:
    known = not isinstance(lower, Tracer) and not isinstance(upper, Tracer)
    if lower.shape != upper.shape or (known and not bool(jnp.all(lower <= upper))):
        raise DeclarationError(
            "lower, upper",
            got=f"shapes {lower.shape} and {upper.shape}"
            if lower.shape != upper.shape
            else "a lower bound above the upper one, or NaN",
            expected="two arrays of one shape, lower <= upper",
            mend="give the corners of a box",
        )
