"""Exact numbers beside estimates, and indices into them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike

from ._series import check_real
from ._tracing import known


def held(number: ArrayLike) -> "Array | np.ndarray":
    return np.asarray(number) if known(number) else jnp.asarray(number)


def alike(number: ArrayLike, value):
    """A number to compute with: of Python ones in the kind of the value, else in the wider."""
    number, python = held(number), isinstance(number, bool | int | float)
    kind = value.dtype if python else jnp.promote_types(value.dtype, number.dtype)
    return number.astype(kind)


def is_number(other: object) -> bool:
    if not isinstance(other, int | float | np.ndarray | np.generic | jax.Array):
        return False
    check_real(other, "number")
    return True


def on_host(index):
    """An index as NumPy takes it; places that are being traced cannot be out of known bounds."""
    parts = index if isinstance(index, tuple) else (index,)
    plain = tuple(0 if isinstance(part, Tracer) else part for part in parts)
    return tuple(np.asarray(part) if isinstance(part, jax.Array) else part for part in plain)
