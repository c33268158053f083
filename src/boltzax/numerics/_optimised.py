"""Places on the way of an optimiser of optax."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree


def optimised(
    loss: Callable[[PyTree, Array], Array],
    start: PyTree,
    optimiser: Any,
    stops: Int[Array, " stop"],
) -> PyTree:
    """Places at some steps of an optimiser of optax, in one loop.

    Args:
        loss: What is lowered, `(place, step)`.
        start: Where to begin, a tree of arrays.
        optimiser: An optimiser of optax. One with a line search is given the value, the gradient
            and the function of the step.
        stops: Numbers of steps, in rising order.

    Returns:
        The places after that many steps, `[stop, ...]` in each array.
    """
    import optax  # slow to import

    rule = optax.with_extra_args_support(optimiser)

    def step(i, carry):
        place, state = carry

        def value_fn(place):
            return loss(place, i)

        value, slope = jax.value_and_grad(value_fn)(place)
        extra = {"value": value, "grad": slope, "value_fn": value_fn}
        moves, state = rule.update(slope, state, place, **extra)
        return optax.apply_updates(place, moves), state

    def until(carry, span):
        carry = jax.lax.fori_loop(*span, step, carry)
        return carry, carry[0]

    spans = (jnp.concatenate([jnp.zeros_like(stops[:1]), stops[:-1]]), stops)
    return jax.lax.scan(until, (start, rule.init(start)), spans)[1]
