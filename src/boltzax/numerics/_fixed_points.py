"""Fixed points `m = update(m)`: by iteration, by Newton's method, from several starts."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Update = Callable[[Array], Array]


def settle(
    update: Update, start: Float[Array, " dim"], tolerance: Array, steps: int, damping: Array
) -> tuple[Float[Array, " dim"], Array]:
    """The iteration `m <- m + damping (update(m) - m)`, until `|update(m) - m| <= tolerance`.

    Returns:
        `m`, and the number of steps (`steps` if it did not converge).
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
    """Newton's method for `residual(z) = 0`, with step halving.

    A step is accepted if it lowers the largest entry of the residual; else the next one is half as
    long. (The Newton solver of optimistix has no such test, and diverges from a distant start.)
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
    """Newton's method from near a fixed point; the start if it ends further than `reach`."""
    end = newton(lambda m: m - update(m), start, 30)
    return jnp.where(jnp.max(jnp.abs(end - start)) <= reach, end, start)


@eqx.filter_jit
def search(update: Update, starts: Float[Array, "start dim"]) -> Float[Array, "start dim"]:
    """A root from each start: Levenberg-Marquardt (optimistix), then Newton's method.

    Check the residual for convergence. The tolerance of optimistix is 1e-9, as it stagnates near
    1e-12.
    """
    import optimistix as optx  # slow to import

    coarse = 1e-9 if starts.dtype == jnp.float64 else 1e-5
    solver = optx.LevenbergMarquardt(rtol=coarse, atol=coarse)

    def root_from(start: Array) -> Array:
        solution = optx.root_find(
            lambda m, _: m - update(m), solver, start, max_steps=256, throw=False
        )
        return polish(update, solution.value, jnp.asarray(jnp.inf, start.dtype))

    return jax.vmap(root_from)(starts)
