"""Spinodals: ends of branches of fixed points, by bisection and then Newton's method."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..core import Count, text_of_values, typed
from ..numerics import bisect, newton
from ._order_parameters import landed

STEP = 0.02
"""Part of the box that a place must move by, from one value to the next, to be looked at."""
HALVINGS = 14


@typed
class Jumps(eqx.Module):
    """Ends of the branches that a sweep followed, in order.

    - `values` `[jump]`: the spinodals; `exact` `[jump]`: whether Newton's method found the point
      where the loop's slope is 1 (else the middle of the last bracket stands here).
    - `before`, `after` `[jump, dim]`: the place at the end of the branch, and where the loop went.
    """

    values: Float[Array, " jump"]
    before: Float[Array, "jump dim"]
    after: Float[Array, "jump dim"]
    exact: Bool[Array, " jump"]

    @staticmethod
    def none(dim: Count) -> "Jumps":
        """No jumps."""
        return Jumps(jnp.zeros(0), jnp.zeros((0, dim)), jnp.zeros((0, dim)), jnp.zeros(0, bool))

    @text_of_values
    def __repr__(self) -> str:
        return ", ".join(f"{x:.8g}" for x in np.asarray(self.values)) or "no value"


def find_jumps(
    make: Callable, values: Array, places: Array, settled: Array, side: float, how: tuple
) -> Jumps:
    """Look at each long step of a sweep from a settled place; keep those that stay long when the
    step of the value is halved over and over."""
    moves = np.max(np.abs(np.diff(np.asarray(places), axis=0)), axis=1)
    found = []
    for i in np.flatnonzero((moves > STEP * side) & np.asarray(settled)[:-1]):
        low, high, m, after = _bracket(make, values[i], values[i + 1], places[i], *how)
        # a branch that goes on steeply moves less and less, a jump does not
        if float(jnp.max(jnp.abs(after - m))) > 0.5 * moves[i]:
            value, turn, size = _turning(make, 0.5 * (low + high), m)
            width = abs(float(high - low))
            width += jnp.finfo(m.dtype).eps ** 0.5 * abs(float(values[-1] - values[0]))
            near = abs(float(value - 0.5 * (low + high))) <= 2 * width
            exact = near and float(size) <= 1e3 * jnp.finfo(m.dtype).eps * max(1.0, side)
            place = turn if exact else m
            found.append((value if exact else 0.5 * (low + high), place, after, exact))
    if not found:
        return Jumps.none(places.shape[1])
    columns = list(zip(*found, strict=True))
    return Jumps(*(jnp.stack([jnp.asarray(x) for x in column]) for column in columns))


@eqx.filter_jit
def _bracket(make, low, high, start, goal, steps, damping):
    """Halve the interval in which the loop leaves the branch of `start`."""

    def end(value, m):
        return landed(make(value).update, m, goal, steps, damping, jnp.asarray(1e-6))[0]

    def stays(middle, places):
        m, after = places
        here = end(middle, m)
        on = jnp.max(jnp.abs(here - m)) < jnp.max(jnp.abs(here - after))
        return on, (jnp.where(on, here, m), jnp.where(on, after, here))

    low, high, places = bisect(stays, low, high, HALVINGS, (start, end(high, start)))
    return low, high, *places


@eqx.filter_jit
def _turning(make, value, m):
    """`m = update(m)` where `1 - ∂update` is singular: Newton in the value, `m` and the null
    vector `v` (Seydel 2010, Practical Bifurcation and Stability Analysis, section 5.4.1)."""

    def slope(m, value):
        return jnp.eye(m.size, dtype=m.dtype) - jax.jacfwd(make(value).update)(m)

    guess = jnp.linalg.svd(slope(m, value))[2][-1]

    def residual(z):
        m, v, value = z[:m_size], z[m_size:-1], z[-1]
        off = m - make(value).update(m)
        return jnp.concatenate([off, slope(m, value) @ v, (guess @ v - 1)[None]])

    m_size = m.size

    z = newton(residual, jnp.concatenate([m, guess, jnp.asarray(value, m.dtype)[None]]), 12)
    return z[-1], z[:m_size], jnp.max(jnp.abs(residual(z)))
