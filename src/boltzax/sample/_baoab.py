"""One step of underdamped Langevin dynamics, by the BAOAB splitting.

`dw = s u dt`, `du = s ∇log p dt - γ u dt + √(2γ) dW`: half a kick by the gradient (B), half a drift
(A), exact decay and noise (O), half a drift, and half a kick by the gradient there (Leimkuhler &
Matthews 2013, Applied Mathematics Research eXpress 2013:34). One gradient a step, which is carried
over; the law is off by `O(h²)`, and not at all for the place of a Gaussian.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

Friction = TypeVar("Friction")


def baoa(
    w: PyTree,
    u: PyTree,
    gradient: PyTree,
    sigma: PyTree,
    mixing: Callable[[PyTree], tuple[PyTree, Friction]],
) -> tuple[PyTree, PyTree, Friction]:
    """All of a step but its last half kick, which needs the gradient at the new place.

    Args:
        w: Place.
        u: Momentum, in units of its thermal spread.
        gradient: `∇log p` at `w`.
        sigma: `h s` of every coordinate.
        mixing: The decay and noise of the momentum (O), and what it moves besides.

    Returns:
        The new place, the momentum there (before the kick), and what `mixing` gave besides.
    """
    half = kick(u, sigma, gradient)
    w = jax.tree.map(lambda w, s, u: w + 0.5 * s * u, w, sigma, half)
    mixed, besides = mixing(half)
    w = jax.tree.map(lambda w, s, u: w + 0.5 * s * u, w, sigma, mixed)
    return w, mixed, besides


def kick(u: PyTree, sigma: PyTree, gradient: PyTree) -> PyTree:
    """Half a step of the momentum along the gradient (B)."""
    return jax.tree.map(lambda u, s, g: u + 0.5 * s * g, u, sigma, gradient)


def decayed(u: PyTree, noise: PyTree, keep: Array, spread: Array | None = None) -> PyTree:
    """The momentum after decay by a factor `keep`, with fresh noise of the size `spread` (O).

    The size is `√(1 - keep²)` if it is not given: the law `N(0, 1)` stays.
    """
    spread = jnp.sqrt(1 - keep**2) if spread is None else spread
    return jax.tree.map(
        lambda u, e: keep.astype(u.dtype) * u + spread.astype(u.dtype) * e, u, noise
    )
