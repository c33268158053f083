"""Least and greatest entries, with derivatives that do not depend on rounding.

The derivative of `jnp.min` asks which entries equal the result. Under `jit` the compiler may
compute the entries anew, with other rounding, and then none does: the gradient is silently zero.
Here the place is found by comparison.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def least(x: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """`min` along an axis; its derivative is that of the first least entry."""
    return jnp.min(x, axis=axis)


@least.defjvp
def _(axis, primals, tangents):
    place = jnp.argmin(primals[0], axis=axis, keepdims=True)
    parts = [jnp.take_along_axis(a, place, axis) for a in (*primals, *tangents)]
    return tuple(jnp.squeeze(part, axis) for part in parts)


def greatest(x: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """`max` along an axis; its derivative is that of the first greatest entry."""
    return -least(-x, axis)


def lesser(a: Array, b: Array) -> Array:
    """The lesser of two, entry by entry; of equals the second."""
    return jnp.where(a < b, a, b)
