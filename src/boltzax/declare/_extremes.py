"""Minimum and maximum with derivatives that do not depend on rounding.

The derivative of `jnp.min` compares the entries with the result. Under `jit` the compiler may
recompute the entries with other rounding. Then no entry is equal, and the gradient is silently
zero. The functions here use `argmin`.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def least(x: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """The minimum along an axis; its derivative is that of the first smallest entry."""
    return jnp.min(x, axis=axis)


@least.defjvp
def _(axis, primals, tangents):
    place = jnp.argmin(primals[0], axis=axis, keepdims=True)
    parts = [jnp.take_along_axis(a, place, axis) for a in (*primals, *tangents)]
    return tuple(jnp.squeeze(part, axis) for part in parts)


def greatest(x: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """The maximum along an axis; its derivative is that of the first largest entry."""
    return -least(-x, axis)


def lesser(a: Array, b: Array) -> Array:
    """The entrywise minimum; the second argument for equal entries, NaN if one of them is."""
    return jnp.where((a < b) | jnp.isnan(a), a, b)


def depth(
    y: Float[Array, "... dim"],
    lower: Float[Array, "... box dim"],
    upper: Float[Array, "... box dim"],
) -> Float[Array, "..."]:
    """Signed L∞ distance of `y` to the boundary of a union of maximal boxes: positive inside.

    `max_j min_i min(y_i - lower_ji, upper_ji - y_i)`; -inf without a box, NaN if `y` is.
    """
    return greatest(least(lesser(y - lower, upper - y)))
