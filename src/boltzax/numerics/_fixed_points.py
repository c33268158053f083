"""Fixed points `m = update(m)`: the loop itself, Newton's steps, several starts."""

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


def newton(residual: Update, start: Float[Array, " dim"], steps: int) -> Float[Array, " dim"]:
    """Newton's steps to `residual(z) = 0`; one is kept if the largest entry falls, else halved.

    optimistix's Newton has no such test, and diverges from a place that is not near.
    """

    def step(carry, _):
        z, r, size = carry
        new = z - size * jnp.linalg.solve(jax.jacfwd(residual)(z), r)
        after = residual(new)
        better = jnp.all(jnp.isfinite(new)) & (jnp.max(jnp.abs(after)) < jnp.max(jnp.abs(r)))
        kept = jnp.where(better, new, z), jnp.where(better, after, r)
        return (*kept, jnp.where(better, 1.0, 0.5 * size).astype(z.dtype)), None

    begin = start, residual(start), jnp.ones((), start.dtype)
    return jax.lax.scan(step, begin, length=steps)[0][0]


def polish(update: Update, start: Float[Array, " dim"], reach: Array) -> Float[Array, " dim"]:
    """Newton's steps from nearly a fixed point, kept if they stay within `reach`."""
    end = newton(lambda m: m - update(m), start, 30)
    return jnp.where(jnp.max(jnp.abs(end - start)) <= reach, end, start)


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
