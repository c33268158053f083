"""Roots of one variable: Brent's method on the host, bisection of arrays inside programs."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

TIGHT = 2.0**-50
"""Relative tolerance to which a root is found: four units of rounding."""


def root(
    fn: Callable[[float], Any], low: float, high: float, xtol: float = 1e-300, rtol: float = TIGHT
) -> float:
    """A root of a continuous function of one number, by Brent's method (scipy).

    Args:
        fn: The function. Its values at the ends have opposite signs, or one is zero.
        low, high: The ends.
        xtol, rtol: Tolerances, absolute and relative to the root; the wider one counts.

    Returns:
        The root; NaN if an end is not finite.
    """
    from scipy.optimize import brentq  # slow to import

    if not (math.isfinite(low) and math.isfinite(high)):
        return math.nan
    return float(brentq(lambda x: float(fn(x)), low, high, xtol=xtol, rtol=rtol))  # pyright: ignore


def root_beyond(
    fn: Callable[[float], Any], start: float, step: float, xtol: float = 1e-300, rtol: float = TIGHT
) -> float:
    """The `root` above `start`, after steps that double until the sign changes."""
    low, high, sign = start, start + step, float(fn(start))
    while float(fn(high)) * sign > 0:
        step *= 2
        low, high = high, high + step
    return root(fn, low, high, xtol, rtol)


def bisect(
    below: Callable[[Array, PyTree], tuple[Array, PyTree]],
    low: Array,
    high: Array,
    steps: int,
    state: PyTree = None,
) -> tuple[Array, Array, PyTree]:
    """Bisection of arrays, entry by entry, inside a compiled program.

    (The bisection of optimistix takes scalars only, and is slow to import.)

    Args:
        below: `(middle, state) -> (whether the root lies above the middle, state)`.
        low, high: The ends, in either order.
        steps: The number of halvings.
        state: A state that `below` passes from one middle to the next.

    Returns:
        The ends of the last interval, and the last state.
    """

    def halve(_: Any, carry: tuple) -> tuple:
        low, high, state = carry
        middle = low + 0.5 * (high - low)
        rises, state = below(middle, state)
        return jnp.where(rises, middle, low), jnp.where(rises, high, middle), state

    return jax.lax.fori_loop(0, steps, halve, (low, high, state))
