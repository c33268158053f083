"""Roots of `m - update(m)`: loops, bisection, Newton, several starts. The only importer of
optimistix."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Update = Callable[[Array], Array]


def settle(
    update: Update, start: Float[Array, " dim"], tolerance: Array, steps: int, damping: Array
) -> tuple[Float[Array, " dim"], Array]:
    """`m <- m + damping (update(m) - m)` until a step of the loop is below the tolerance.

    Returns `m` and the steps taken (`steps` if it did not settle).
    """

    def go_on(carry):
        _, change, count = carry
        return (change > tolerance) & (count < steps)

    def step(carry):
        m, _, count = carry
        move = update(m) - m
        return m + damping * move, jnp.max(jnp.abs(move)), count + 1

    begin = (start, jnp.asarray(jnp.inf, start.dtype), jnp.asarray(0))
    m, _, count = jax.lax.while_loop(go_on, step, begin)
    return m, count


def polish(
    update: Update, start: Float[Array, " dim"], reach: Array, steps: int = 30
) -> Float[Array, " dim"]:
    """Newton's steps from a place that is nearly a root; each is kept if the residual falls, and
    the whole if it stays within `reach`."""

    def residual(m):
        return m - update(m)

    def step(m, _):
        r = residual(m)
        move = jnp.linalg.solve(jax.jacfwd(residual)(m), r)
        new = m - move
        after = residual(new)
        better = jnp.all(jnp.isfinite(new)) & (jnp.max(jnp.abs(after)) < jnp.max(jnp.abs(r)))
        return jnp.where(better, new, m), None

    end, _ = jax.lax.scan(step, start, length=steps)
    return jnp.where(jnp.max(jnp.abs(end - start)) <= reach, end, start)


def bisect(
    update: Update, lower: Float[Array, " 1"], upper: Float[Array, " 1"]
) -> Float[Array, " 1"]:
    """Where `m - update(m)`, which rises, is 0: halved until floats have nothing in between."""

    def step(_, ends):
        low, high = ends
        middle = low + 0.5 * (high - low)
        below = middle - update(middle) <= 0
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, 80, step, (lower, upper))
    ends = jnp.stack([low, high])
    sizes = jax.vmap(lambda m: jnp.max(jnp.abs(m - update(m))))(ends)
    return ends[jnp.argmin(sizes)]


@eqx.filter_jit
def search(update: Update, starts: Float[Array, "start dim"]) -> Float[Array, "start dim"]:
    """From each start a root by Levenberg and Marquardt's steps (optimistix), then Newton's; its
    residual says whether it arrived.

    optimistix gets no tolerance below 1e-9: near 1e-12 it stagnates.
    """
    return jax.vmap(lambda m: _one(update, m))(starts)


def _one(update: Update, start: Array) -> Array:
    import optimistix as optx  # half of what jax costs to import

    def residual(m, _):
        return m - update(m)

    coarse = 1e-9 if start.dtype == jnp.float64 else 1e-5
    solver = optx.LevenbergMarquardt(rtol=coarse, atol=coarse)
    found = optx.root_find(residual, solver, start, max_steps=256, throw=False)
    return polish(update, found.value, jnp.asarray(jnp.inf, start.dtype))
