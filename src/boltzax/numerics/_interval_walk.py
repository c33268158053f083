"""Evaluation of a jaxpr with bounds instead of numbers."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array

from ._integer_intervals import converted, integer_rule, loses, product
from ._integer_intervals import total as whole_total
from ._interpreter import bind, called, interpret, is_one_of, looked_into
from ._interval_arithmetic import (
    RULES,
    Interval,
    Value,
    lift,
    rem,
    select,
    total,
    undefined,
    unknown,
    unsupported,
)

MOVES = """reshape transpose broadcast_in_dim squeeze expand_dims slice rev concatenate pad stack
    unstack tile gather dynamic_slice dynamic_update_slice scatter split copy copy_p
    stop_gradient device_put name max min clamp reduce_max reduce_min cummax cummin
    and or reduce_and reduce_or""".split()
"""Operations that are exact and increase in every argument: they are applied to each bound."""

TRUTHS = "and or reduce_and reduce_or".split()
"""Operations of truth values; applied to integers they act on bits, and are not supported."""

STEPS = "floor ceil round sign".split()
"""Operations that increase in every argument, and are discontinuous."""

INDEXED = {"gather": (0,), "dynamic_slice": (0,), "dynamic_update_slice": (0, 1), "scatter": (0, 2)}
"""Positions of the arguments that may be bounds; the others are indices."""


def walk(closed: ClosedJaxpr, *arguments: Value) -> tuple[list[Value], Array]:
    """Bounds of the outputs, and whether the function may be discontinuous inside the box.

    It may be if a step, a choice, or a truth value converted to a number is undecided. The
    mean-value form does not hold then.
    """
    jumps: list[Array] = []
    outputs = interpret(closed, arguments, functools.partial(_equation, jumps))
    jump = jnp.zeros((), bool)
    for undecided in jumps:
        jump = jump | jnp.any(undecided)
    return outputs, jump


def _equation(jumps: list[Array], eqn: Any, values: list[Value]) -> list[Value] | None:
    name = eqn.primitive.name
    if called(eqn) is not None:
        return _call(eqn, values)
    if looked_into(eqn):
        return None
    if name == "cond":
        return _branches(eqn, values, jumps)
    whole = any(jnp.issubdtype(v.aval.dtype, jnp.integer) for v in eqn.outvars)
    for variable in eqn.outvars:
        dtype = variable.aval.dtype
        if jnp.issubdtype(dtype, jnp.inexact) and dtype not in (jnp.float32, jnp.float64):
            raise unsupported(f"{name} in {dtype}")
    if not any(isinstance(value, Interval) for value in values) and _is_exact(eqn):
        return bind(eqn, values)
    if name in INDEXED and any(
        isinstance(v, Interval) for i, v in enumerate(values) if i not in INDEXED[name]
    ):
        raise unsupported(f"{name} at an index that depends on x")
    if name in TRUTHS and lift(values[0]).lower.dtype != jnp.bool_:
        raise unsupported(f"{name} (of integers)")
    if name == "sort" and len(values) == 1:
        return [_sorted(eqn, values)]
    if name in MOVES:
        bounds = _both(eqn, values)
        if name == "clamp" and jnp.issubdtype(bounds[0].lower.dtype, jnp.floating):
            nan = functools.reduce(jnp.logical_or, map(unknown, values))
            bounds = [undefined(bounds[0], nan)]
        return [*bounds]
    if name in STEPS:
        (bounds,) = _both(eqn, values)
        jumps.append(bounds.lower != bounds.upper)
        return [bounds]
    if name == "convert_element_type":
        return [_convert(eqn, lift(values[0]), jumps)]
    if name == "rem" and not whole:
        bounds, jump = rem(*values)
        jumps.append(jump)
        return [bounds]
    if name == "select_n":
        return [_choice(values, jumps)]
    if name in ("reduce_sum", "cumsum"):
        return [_summed(eqn, values[0], whole_total if whole else total)]
    if whole and name == "dot_general":
        return [product(*values, eqn.params["dimension_numbers"], eqn.outvars[0].aval.dtype)]
    if name == "dot_general":
        values = [converted(lift(value), eqn.outvars[0].aval.dtype) for value in values]
    if not whole and name not in RULES:
        raise unsupported(name)
    rules = integer_rule if whole else RULES.__getitem__
    if len(values) == 2 and eqn.invars[0] is eqn.invars[1]:
        # both factors are the same number
        if name == "mul":
            return [rules("square")(values[0])]
        if name in ("eq", "ne"):
            return [_itself(name, lift(values[0]))]
    parameters = {"integer_pow": ("y",), "dot_general": ("dimension_numbers",)}.get(name, ())
    return [rules(name)(*values, **{key: eqn.params[key] for key in parameters})]


def _itself(name: str, a: Interval) -> Interval:
    """A number compared with itself: equal, unless it may be undefined."""
    nan = unknown(a) if jnp.issubdtype(a.lower.dtype, jnp.inexact) else jnp.zeros((), bool)
    nan = jnp.broadcast_to(nan, a.lower.shape)
    return Interval(~nan, ~nan | nan) if name == "eq" else Interval(nan & ~nan, nan)


def _summed(eqn: Any, value: Value, add_up: Callable[..., Interval]) -> Interval:
    shape = eqn.invars[0].aval.shape
    if eqn.primitive.name == "cumsum":
        axis, reverse = eqn.params["axis"], eqn.params["reverse"]
        return add_up(value, lambda x: lax.cumsum(x, axis, reverse=reverse), shape[axis])
    axes = eqn.params["axes"]
    count = math.prod(shape[axis] for axis in axes)
    return add_up(value, lambda x: jnp.sum(x, axis=axes, dtype=x.dtype), count)


def _sorted(eqn: Any, values: list[Value]) -> Interval:
    """Sorted bounds; undefined if one of the numbers may be undefined."""
    (bounds,) = _both(eqn, values)
    if not jnp.issubdtype(bounds.lower.dtype, jnp.floating):
        return bounds
    nan = jnp.any(unknown(values[0]), axis=eqn.params["dimension"], keepdims=True)
    return undefined(bounds, nan)


def _is_exact(eqn: Any) -> bool:
    """Whether an equation of known arrays is computed without rounding."""
    name = eqn.primitive.name
    floating = any(jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in eqn.outvars)
    exact = (*MOVES, *STEPS, "neg", "abs", "select_n", "iota", "sort")
    if name == "convert_element_type":
        before, after = eqn.invars[0].aval.dtype, eqn.outvars[0].aval.dtype
        if jnp.issubdtype(before, jnp.floating) and jnp.issubdtype(after, jnp.integer):
            return False  # what does not fit becomes another number when compiled
        return not loses(before, after)
    return not floating or name in exact


def _both(eqn: Any, values: list[Value]) -> list[Interval]:
    """The operation on the lower bounds and on the upper bounds."""
    low, high = (
        bind(eqn, [getattr(v, side) if isinstance(v, Interval) else v for v in values])
        for side in ("lower", "upper")
    )
    return [Interval(a, b) for a, b in zip(low, high, strict=True)]


def _convert(eqn: Any, a: Interval, jumps: list[Array]) -> Interval:
    before, after = eqn.invars[0].aval.dtype, eqn.outvars[0].aval.dtype
    bounds = converted(a, after)
    if not jnp.issubdtype(before, jnp.floating) or jnp.issubdtype(after, jnp.floating):
        # rounding is a step as well
        rounds = before == jnp.bool_ or loses(before, after)
        jumps.append((a.lower != a.upper) if rounds else jnp.zeros((), bool))
    else:
        jumps.append(bounds.lower != bounds.upper)
    return bounds


def _choice(values: list[Value], jumps: list[Array]) -> Interval:
    which, *cases = values
    if not isinstance(which, Interval):
        low = lax.select_n(which, *[lift(case).lower for case in cases])
        return Interval(low, lax.select_n(which, *[lift(case).upper for case in cases]))
    if which.lower.dtype != jnp.bool_ or len(cases) != 2:
        raise unsupported("select_n by a number that depends on x")
    jumps.append(which.lower != which.upper)
    return select(which, *cases)


def _branches(eqn: Any, values: list[Value], jumps: list[Array]) -> list[Value]:
    """The hull of all branches that are possible."""
    which, *arguments = values
    branches = eqn.params["branches"]
    which = lift(which)
    last = len(branches) - 1
    low, high = jnp.clip(which.lower, 0, last), jnp.clip(which.upper, 0, last)
    jumps.append(low != high)
    rule = functools.partial(_equation, jumps)
    bounds = [interpret(branch, arguments, rule) for branch in branches]
    hulls: list[Value] = []
    for outputs in zip(*bounds, strict=True):
        lower, upper = lift(outputs[0]).lower, lift(outputs[0]).upper
        for place, output in enumerate(map(lift, outputs)):
            first, possible = low == place, (low <= place) & (place <= high)
            lower = jnp.where(
                first, output.lower, jnp.where(possible, jnp.minimum(lower, output.lower), lower)
            )
            upper = jnp.where(
                first, output.upper, jnp.where(possible, jnp.maximum(upper, output.upper), upper)
            )
        hulls.append(Interval(lower, upper))
    return hulls


def _call(eqn: Any, values: list[Value]) -> list[Value] | None:
    """Two functions of jax with tighter bounds than their bodies."""
    if is_one_of(eqn, jnp.logaddexp):  # increases in both arguments, as softplus does
        inner, ends = called(eqn), [lift(value) for value in values]
        assert inner is not None
        (low,), _ = walk(inner, *[Interval(v.lower, v.lower) for v in ends])
        (high,), _ = walk(inner, *[Interval(v.upper, v.upper) for v in ends])
        return [Interval(lift(low).lower, lift(high).upper)]
    if is_one_of(eqn, jax.nn.hard_tanh):  # is continuous
        a = lift(values[0])
        return [Interval(jnp.clip(a.lower, -1, 1), jnp.clip(a.upper, -1, 1))]
    return None
