"""A function rewritten so that its derivative is exact and has tight bounds.

Derivative rules of a user (`custom_jvp`, `custom_vjp`, `stop_gradient`) are removed. Some rules of
jax are replaced by forms in which each variable occurs once, so that intervals stay narrow:
`1 - tanh²` for `(1 + tanh)(1 - tanh)`, `x > y` in the derivative of the maximum.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array

from ._interpreter import bind, interpret, is_one_of, looked_into
from ._interval_arithmetic import unsupported


def _with_slope(fn: Callable[..., Array], slope: Callable[..., Array]) -> Callable[..., Array]:
    """`fn` with the derivative `slope(value, *arguments, *tangents)`."""
    wrapped = jax.custom_jvp(lambda *arguments: fn(*arguments))

    @wrapped.defjvp
    def _(arguments: tuple, tangents: tuple) -> tuple:
        value = fn(*arguments)
        return value, slope(value, *arguments, *tangents)

    return wrapped


tanh = _with_slope(
    lax.tanh, lambda value, x, dx: dx * jnp.maximum(1 - jnp.square(value), 0)
)  # not below zero by rounding
logistic = _with_slope(
    lax.logistic, lambda value, x, dx: dx * jnp.maximum(0.25 - jnp.square(value - 0.5), 0)
)
logaddexp = _with_slope(
    jnp.logaddexp,
    lambda value, x, y, dx, dy: lax.logistic(x - y) * dx + lax.logistic(y - x) * dy,
)
maximum = _with_slope(jnp.maximum, lambda value, x, y, dx, dy: jnp.where(x > y, dx, dy))
minimum = _with_slope(jnp.minimum, lambda value, x, y, dx, dy: jnp.where(x < y, dx, dy))

FORMS: dict[str, Callable[..., Array]] = {
    "tanh": lambda x, **_: tanh(x),
    "logistic": lambda x, **_: logistic(x),
    "max": maximum,
    "min": minimum,
    "clamp": lambda low, x, high: minimum(maximum(x, low), high),
    "stop_gradient": lambda x: x,
}
"""Primitives that are rewritten, and their replacements."""


def smooth(closed: ClosedJaxpr) -> Callable[..., Any]:
    """The function of a jaxpr, ready to be differentiated by jax and then enclosed."""

    def run(*arguments: Array) -> list[Array]:
        return interpret(closed, arguments, _equation)

    return run


def _equation(eqn: Any, values: list[Array]) -> list[Array] | None:
    name = eqn.primitive.name
    if name == "cond":
        raise unsupported("cond (in a derivative)")
    if is_one_of(eqn, jnp.logaddexp):
        return [logaddexp(*values)]
    if is_one_of(eqn, jax.nn.hard_tanh):
        return [minimum(maximum(values[0], jnp.asarray(-1.0)), jnp.asarray(1.0))]
    if looked_into(eqn):
        return None
    return [FORMS[name](*values, **eqn.params)] if name in FORMS else bind(eqn, values)
