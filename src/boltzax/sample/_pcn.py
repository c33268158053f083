"""The kernel of whitened weights under a hard bound: preconditioned Crank-Nicolson."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..compile import Weights
from ..core import map_within
from ._kernel import choose
from ._level_function import Level

ACCEPTED = 0.3
"""The share of proposals that the scale is tuned to."""

Walkers = tuple[Weights, Float[Array, " particle"], Float[Array, ""]]
"""Whitened weights of a population, their levels, and the logarithm of the scale of a move."""


def pcn(
    level: Level,
    threshold: Float[Array, ""],
    walkers: Walkers,
    keys: PRNGKeyArray,
    moves: Int[Array, ""],
    memory: int,
) -> Walkers:
    """Move a population `moves` times so that the prior above the threshold stays invariant.

    `u' = √(1-s²) u + s ξ` leaves a standard normal `u` invariant at any scale `s`; it is accepted
    where its level is above the threshold, and always from where the level is not. Each move takes
    one of the `keys`, which are as many or more. The scale is tuned by the whole population. As
    many particles are looked at together as `memory` bytes allow.

    Source: Cotter et al. 2013, Stat. Sci. 28:424.
    """

    def move(number: Array, walkers: Walkers) -> Walkers:
        u, value, log_scale = walkers
        scale = jnp.exp(log_scale)
        keep = jnp.sqrt(1 - scale**2)

        def proposed(particle):
            u, value, noise = particle
            new = jax.tree.map(lambda a, b: keep * a + scale * b, u, noise)
            new_value = level(new)
            accept = (new_value > threshold) | (value <= threshold)
            return choose(accept, (new, new_value), (u, value)), accept

        # a move has a key of its own: `jax.debug_key_reuse` takes the vector of them for one
        key = jax.random.clone(keys)[number]
        drawn = level.draws(key, value.shape[0])
        (u, value), accept = map_within(proposed, (u, value, drawn), memory)
        rate = jnp.mean(accept.astype(value.dtype))
        return u, value, jnp.clip(log_scale + 0.5 * (rate - ACCEPTED), -10.0, 0.0)

    return jax.lax.fori_loop(0, moves, move, walkers)
