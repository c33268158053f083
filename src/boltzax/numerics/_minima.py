"""Minima: L-BFGS and Adam by optax, steps along signs, Newton's method, golden section."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

ARMIJO, HALVINGS = 1e-4, 60
"""Part of the promised decrease that makes a step of Newton good, and how often it is halved."""
GOLDEN = (math.sqrt(5) - 1) / 2

ITERATIONS = 200
"""Iterations of L-BFGS, at most."""

STILL, STILL_FOR = 1e-6, 10
"""L-BFGS ends after 10 iterations that lower the loss by less than so much each."""


def lbfgs(
    loss: Callable[[PyTree], Array], start: PyTree, most: Array, search: int
) -> tuple[PyTree, Array, Array]:
    """A minimum next to `start`, by L-BFGS with a zoom line search; runs under `jit`.

    Args:
        loss: What is lowered.
        start: Where to begin, a tree of arrays.
        most: No iteration is begun once so many gradients were taken.
        search: The most gradients of one line search.

    Returns:
        The lowest place; whether it tells of a minimum (not if the gradient at `start` is not
        finite, or if the gradients ended before anything was gained); and the gradients taken.
    """
    import optax  # slow to import

    line_search = optax.scale_by_zoom_linesearch(search, initial_guess_strategy="one")
    optimiser = optax.lbfgs(memory_size=10, linesearch=line_search)
    both = optax.value_and_grad_from_state(loss)

    def step(carry):
        w, state, best, where, defined, count, taken, still = carry
        value, gradient = both(w, state=state)
        updates, state = optimiser.update(
            gradient, state, w, value=value, grad=gradient, value_fn=loss
        )
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)]
        defined &= (count > 0) | jnp.all(jnp.stack(finite))
        better = value < best
        where = jax.tree.map(lambda a, b: jnp.where(better, a, b), w, where)
        w = optax.apply_updates(w, updates)
        still = jnp.where(value < best - STILL, 0, still + 1)
        line: Any = state
        taken += line[-1].info.num_linesearch_steps
        return w, state, jnp.minimum(value, best), where, defined, count + 1, taken, still

    def go_on(carry):
        *_, count, taken, still = carry
        return (count < ITERATIONS) & (taken <= most) & (still < STILL_FOR)

    tree = start, optimiser.init(start), jnp.asarray(jnp.inf), start
    final = jax.lax.while_loop(go_on, step, (*tree, jnp.array(True), 0, jnp.asarray(1), 0))
    # the last step has not been looked at
    lowest, defined, count, taken, still = final[3:]
    moved = jax.tree.map(lambda a, b: jnp.any(a != b), lowest, start)
    starved = (count < ITERATIONS) & (still < STILL_FOR)
    starved &= ~jnp.any(jnp.stack(jax.tree.leaves(moved)))
    return lowest, defined & ~starved, taken


def adam(
    slope: Callable[[PyTree, Array], PyTree],
    start: PyTree,
    steps: int,
    rate: Callable[[Array], Array],
    allowed: Callable[[PyTree], PyTree],
) -> PyTree:
    """Where Adam comes to in a given number of steps (Kingma and Ba 2015, decays 0.9 and 0.99).

    Args:
        slope: The gradient of what is lowered, `(place, step)`.
        start: Where to begin, a tree of arrays.
        steps: How many steps.
        rate: The length of a step.
        allowed: Puts a place back to where it may be, after each step.
    """
    import optax  # slow to import

    rule = optax.scale_by_adam(b1=0.9, b2=0.99)

    def step(carry, i):
        at, moments = carry
        moves, moments = rule.update(slope(at, i), moments)
        at = jax.tree.map(lambda x, move: x - rate(i) * move, at, moves)
        return (allowed(at), moments), None

    return jax.lax.scan(step, (start, rule.init(start)), jnp.arange(steps))[0][0]


def sign_descent(
    fn: Callable[[Array], Array], start: Array, lengths: Array, allowed: Callable[[Array], Array]
) -> tuple[Array, Array]:
    """The least value that steps against the signs of the gradient meet, and where.

    Source: Madry et al. 2018, arXiv:1706.06083 (projected steps along signs).

    Args:
        fn: What is lowered, of one array.
        start: Where to begin.
        lengths: Of each step, `[step, ...]`; an entry whose slope is not a number stays.
        allowed: Puts a place back to where it may be, after each step.
    """

    def step(carry, length):
        x, best_x, best = carry
        value, slope = jax.value_and_grad(fn)(x)
        better = value < best
        met = jnp.where(better, x, best_x), jnp.where(better, value, best)
        return (allowed(x - length * jnp.sign(jnp.where(jnp.isnan(slope), 0, slope))), *met), None

    (x, best_x, best), _ = jax.lax.scan(step, (start, start, fn(start)), lengths)
    last = fn(x)
    return jnp.where(last < best, x, best_x), jnp.minimum(last, best)


def minimum(fn: Callable[[float], Any], low: float, high: float, xtol: float = 1e-9) -> float:
    """Where a function of one number is least between two ends, by Brent's method (scipy).

    Of several minima it finds one. Runs on the host.

    Args:
        fn: The function.
        low, high: The ends.
        xtol: Tolerance, relative to their distance.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    found: Any = minimize_scalar(
        lambda x: float(fn(x)),
        bounds=(low, high),
        method="bounded",
        options={"xatol": xtol * (high - low), "maxiter": 60},
    )
    return float(found.x)


def golden(fn: Callable, low: Array, high: Array, steps: int) -> tuple[Array, Array]:
    """Where a convex function is least, and its value there; not a number counts as infinite.

    Golden section; equals go down. The first four of the evaluations are the inner points and the
    ends (in one loop: `fn` is compiled once).
    """
    low, high = jnp.asarray(low, float), jnp.asarray(high, float)
    first = jnp.stack([high - GOLDEN * (high - low), low + GOLDEN * (high - low), low, high])

    def step(i, state):
        low, high, x, f = state
        left = f[0] <= f[1]
        begun = i >= 4
        low, high = (
            jnp.where(begun & ~left, x[0], low), jnp.where(begun & left, x[1], high)
        )  # fmt: skip
        new = jnp.where(left, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        at = jnp.where(begun, new, first[i % 4])
        value = fn(at)
        value = jnp.where(jnp.isnan(value), jnp.inf, value)

        def moved(pair, at):
            inner = jnp.where(left, jnp.stack([at, pair[0]]), jnp.stack([pair[1], at]))
            return jnp.where(begun, pair.at[:2].set(inner), pair.at[i % 4].set(at))

        return low, high, moved(x, at), moved(f, value)

    state = low, high, first, jnp.full(4, jnp.inf)
    _, _, x, f = jax.lax.fori_loop(0, steps + 4, step, state)
    best = jnp.argmin(f)
    return x[best], f[best]


def convex_minimum(
    value: Callable[[Array], Array],
    slope: Callable[[Array], Array],
    curvature: Callable[[Array], Array],
    start: Array,
    goal: Array,
    steps: int,
    size: Callable[[Array, Array], Array],
) -> tuple[Array, Array, Array]:
    """The minimum of a strictly convex function by damped Newton; runs under `jit`.

    Each step is halved until the function falls by a part of what the slope promises (Armijo).
    Outside its domain the function may be infinite or not a number.

    Args:
        value, slope, curvature: The function, its gradient and its Hessian.
        start: Where to begin, a vector inside the domain.
        goal: Norm of the gradient at which it ends. It ends also where rounding leaves no gain.
        steps: Most steps.
        size: `(x, value)` to the size of the terms that the value is the sum of: changes below
            eight roundings of it are none.

    Returns:
        The place, the norm of the gradient there, and the steps taken.
    """
    eps = jnp.finfo(start.dtype).eps

    def go_on(carry):
        _, gradient, count, stuck = carry
        return (jnp.linalg.norm(gradient) > goal) & (count < steps) & ~stuck

    def step(carry):
        x, gradient, count, _ = carry
        move = -jax.scipy.linalg.solve(curvature(x), gradient, assume_a="pos")
        here, descent = value(x), gradient @ move
        noise = 8 * eps * size(x, here)

        def too_long(inner):
            part, halved = inner
            new = value(x + part * move)
            return ~(new <= here + ARMIJO * part * descent + noise) & (halved < HALVINGS)

        part, halved = jax.lax.while_loop(
            too_long, lambda inner: (0.5 * inner[0], inner[1] + 1), (jnp.ones_like(here), 0)
        )
        new = x + part * move
        after = slope(new)
        better = jnp.linalg.norm(after) < jnp.linalg.norm(gradient)
        keep = (better | (value(new) < here)) & (halved < HALVINGS)
        return jnp.where(keep, new, x), jnp.where(keep, after, gradient), count + 1, ~keep

    begin = (start, slope(start), jnp.asarray(0), jnp.asarray(False))
    x, gradient, count, _ = jax.lax.while_loop(go_on, step, begin)
    return x, jnp.linalg.norm(gradient), count


def absolute(curvature: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Absolute curvatures, at least `floor`, and their axes."""
    sizes, axes = np.linalg.eigh(curvature)
    return np.maximum(np.abs(sizes), floor), axes


def newton_minimum(
    look: Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]],
    x: np.ndarray,
    iterations: int,
    floor: float,
) -> tuple[np.ndarray, float, np.ndarray]:
    """A minimum next to `x`, by Newton's method with the absolute curvatures, on the host.

    For few dimensions, where the curvature is wanted at the end: for 16 of them its program is
    compiled in 1.2 s, that of `lbfgs` in 3.5 s, and would be needed besides.

    Args:
        look: Value, gradient and curvature at a place.
        x: Where to begin.
        iterations: Steps, at most; it ends where the next would gain less than 1e-3.
        floor: The least curvature.

    Returns:
        The place, and the value and the curvature there (1 if `x` cannot be descended from).
    """

    def smooth(value: float, gradient: np.ndarray, curvature: np.ndarray) -> bool:
        return all(map(np.all, map(np.isfinite, (value, gradient, curvature))))

    here = look(x)
    if not smooth(*here):
        return x, here[0], np.eye(len(x))
    shrink = 1.0
    for _ in range(iterations):
        size, axes = absolute(here[2], floor)
        step = -axes @ ((axes.T @ here[1]) / size)
        if np.abs(here[1] @ step) < 1e-3:
            break
        longest = 2.0 * np.sqrt(len(x))
        step = shrink * step * min(1.0, longest / np.linalg.norm(step))
        new = (x + step).astype(x.dtype)
        there = look(new)
        if smooth(*there) and there[0] < here[0]:
            x, here = new, there
            shrink = min(1.0, 3 * shrink)
        else:
            shrink /= 5
    return x, here[0], here[2]
