"""Points of boxes, at which a margin is looked at."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

HORIZON = 1e3
"""How far out an unbounded interval is looked at by sampling (in its own units)."""


@functools.partial(jax.jit, static_argnums=2)
def spread(
    lower: Float[Array, "value box dim"], upper: Float[Array, "value box dim"], count: int
) -> Float[Array, "value point dim"]:
    """`count` points of each box (or more, see `_unit_points`); rays are covered to `HORIZON`.

    On a ray the distance from its end is `t/(1-t)`-spaced. An empty box repeats the first of its
    value.
    """
    unit = jnp.asarray(_unit_points(lower.shape[-1], count), lower.dtype)[None, None]
    empty = lower[:, :, :1] > upper[:, :, :1]
    first, rows = jnp.argmin(empty[:, :, 0], axis=1), jnp.arange(len(lower))
    low = jnp.where(empty, lower[rows, first][:, None], lower)[:, :, None]
    high = jnp.where(empty, upper[rows, first][:, None], upper)[:, :, None]
    no_low, no_high = jnp.isinf(low), jnp.isinf(high)
    start, end = jnp.where(no_low, 0.0, low), jnp.where(no_high, 0.0, high)
    out = (1 + 1 / HORIZON) / (1 + 1 / HORIZON - unit) - 1
    back = (1 + 1 / HORIZON) / (unit + 1 / HORIZON) - 1
    line = HORIZON * (2 * unit - 1) ** 3
    ray = jnp.where(no_low, end - back, start + out)
    inner = start + unit * (end - start)
    points = jnp.where(no_low & no_high, line, jnp.where(no_low | no_high, ray, inner))
    # the ends themselves, not what rounding makes of them
    points = jnp.where((unit == 0) & ~no_low, low, points)
    points = jnp.where((unit == 1) & ~no_high, high, points)
    return points.reshape(len(lower), -1, lower.shape[-1])


@functools.cache
def _unit_points(dim: int, count: int) -> np.ndarray:
    """Points of the unit cube `[count, dim]`: corners first, then at least one point inside."""
    from scipy.stats import qmc  # costs half of what jax does to import

    if dim == 1:
        return np.linspace(0, 1, max(count, 2))[:, None]
    axes = min(dim, 6)
    corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * axes, indexing="ij"), axis=-1).reshape(-1, axes)
    corners = np.concatenate([corners, np.full((len(corners), dim - axes), 0.5)], axis=1)
    rest = qmc.Halton(dim, scramble=False).random(max(count - len(corners), 1) + 1)[1:]
    return np.concatenate([corners, rest])
