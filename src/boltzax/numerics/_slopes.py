"""A function rewritten so that its derivative is the true one, in a form that bounds well.

Derivative rules that a user has put in place of the derivative (`custom_jvp`, `custom_vjp`,
`stop_gradient`) are taken out. Some of jax's own are put in a form in which no variable is met
twice: `1 - tanh²` for `(1 + tanh)(1 - tanh)`, `x > y` in the derivative of the maximum.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array

from ._interpreter import bind, interpret, is_one_of, looked_into
from ._interval import unsupported


@jax.custom_jvp
def tanh(x: Array) -> Array:
    """Hyperbolic tangent; slope `1 - tanh²`, not below zero by rounding."""
    return lax.tanh(x)


@tanh.defjvp
def _tanh_slope(primals: tuple, tangents: tuple) -> tuple:
    value = lax.tanh(primals[0])
    return value, tangents[0] * jnp.maximum(1 - jnp.square(value), 0)


@jax.custom_jvp
def logistic(x: Array) -> Array:
    """Logistic function s; slope `1/4 - (s - 1/2)²`."""
    return lax.logistic(x)


@logistic.defjvp
def _logistic_slope(primals: tuple, tangents: tuple) -> tuple:
    value = lax.logistic(primals[0])
    return value, tangents[0] * jnp.maximum(0.25 - jnp.square(value - 0.5), 0)


@jax.custom_jvp
def logaddexp(x: Array, y: Array) -> Array:
    """`log(exp x + exp y)`; slopes logistic(x - y) and logistic(y - x)."""
    return jnp.logaddexp(x, y)


@logaddexp.defjvp
def _logaddexp_slope(primals: tuple, tangents: tuple) -> tuple:
    (x, y), (dx, dy) = primals, tangents
    slope = lax.logistic(x - y) * dx + lax.logistic(y - x) * dy
    return jnp.logaddexp(x, y), slope


@jax.custom_jvp
def maximum(x: Array, y: Array) -> Array:
    """The larger; slope that of the larger."""
    return jnp.maximum(x, y)


@maximum.defjvp
def _maximum_slope(primals: tuple, tangents: tuple) -> tuple:
    (x, y), (dx, dy) = primals, tangents
    return jnp.maximum(x, y), jnp.where(x > y, dx, dy)


@jax.custom_jvp
def minimum(x: Array, y: Array) -> Array:
    """The smaller; slope that of the smaller."""
    return jnp.minimum(x, y)


@minimum.defjvp
def _minimum_slope(primals: tuple, tangents: tuple) -> tuple:
    (x, y), (dx, dy) = primals, tangents
    return jnp.minimum(x, y), jnp.where(x < y, dx, dy)


FORMS: dict[str, Callable[..., Array]] = {
    "tanh": lambda x, **_: tanh(x),
    "logistic": lambda x, **_: logistic(x),
    "max": maximum,
    "min": minimum,
    "clamp": lambda low, x, high: minimum(maximum(x, low), high),
    "stop_gradient": lambda x: x,
}
"""Primitives that are rewritten."""


def smooth(closed: ClosedJaxpr) -> Callable[..., Any]:
    """The function of a jaxpr, to be differentiated by jax and then walked."""

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
