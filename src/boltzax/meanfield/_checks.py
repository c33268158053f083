"""Checks of numbers that more than one file makes."""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..core import DeclarationError


def is_whole(value: object) -> bool:
    """Whether a value is a whole number (a truth value is none)."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_whole(argument: str, value: object, least: int) -> None:
    """A whole number not below `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or int(value) < least:
        raise DeclarationError(
            argument,
            got=repr(value),
            expected=f"a whole number, at least {least}",
            mend=f"pass e.g. {argument}={max(least, 100)}",
        )


def positive(argument: str, value: object, *, zero: bool = False) -> Float[Array, ""]:
    """One finite number above 0 (or at least 0) as an array; one that is traced is believed."""
    try:
        array = jnp.asarray(value, float)
        good = array.shape == () and not isinstance(value, bool | str)
        good = good and (isinstance(array, Tracer) or _above(float(array), zero))
    except (TypeError, ValueError):
        array, good = jnp.zeros(()), False
    if not good:
        raise DeclarationError(
            argument,
            got=f"{value!r:.60}",
            expected="one finite number " + ("at least 0" if zero else "above 0"),
            mend=f"pass e.g. {argument}=0.1",
        )
    return array


def _above(number: float, zero: bool) -> bool:
    return 0 < number < float("inf") or (zero and number == 0)
