"""Draws of the prior, given that the contracts hold."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..compile import compile
from ..core import MEMORY, RunError, check_memory, map_within, typed
from ..declare import Circuit, Contract, Violation
from ._entropy import Entropy, Outcome, from_splitting
from ._splitting import Level, split


class Conditioned(eqx.Module):
    """Systems that keep their contracts.

    Args:
        models: The declared model (of a circuit: the tuple of its models) with a leading axis over
            draws.
        margin: Of each draw, `[draw]`, in units of the output, none of them negative.
        entropy: Of the whole, from the same run.
    """

    models: PyTree
    margin: Float[Array, " draw"]
    entropy: Entropy


@typed
def condition(
    contract: Contract | Circuit,
    *,
    key: PRNGKeyArray,
    draws: int = 1000,
    particles: int = 512,
    moves: int = 32,
    replicates: int = 16,
    max_levels: int = 200,
    memory: int = MEMORY,
) -> Conditioned:
    """Draws of `π(w | all contracts hold)`, the posterior at zero temperature, by splitting.

    Replicates are chosen in proportion to their probabilities, and particles within them evenly.
    Particles of one replicate have ancestors in common: to see how far the draws can be trusted,
    look at `entropy.outcome`, or run again with another key. `memory` is that of
    `boltzax.interfaces.entropy`.

    Raises:
        RunError: If no replicate came to the target.
    """
    memory = check_memory(memory)
    gibbs = compile(Violation(contract), contract.prior, marginalise=False)
    level, zero = Level(gibbs, contract.margin), jnp.zeros(())
    key_run, key_pick = jax.random.split(key)
    sizes = {"particles": particles, "moves": moves, "replicates": replicates, "memory": memory}
    run = split(level, zero, key_run, max_levels=max_levels, keep=True, **sizes)
    found = from_splitting(run, zero)
    chance = jnp.where(run.reached, run.probability(zero), 0.0)
    if not bool(jnp.any(chance > 0)):
        raise RunError(f"no draw keeps the contract: {Outcome[found.outcome]}")
    models, margin = _picked(level, run.u, jnp.log(chance), key_pick, draws, memory)
    return Conditioned(models, margin, found)


@eqx.filter_jit
def _picked(level: Level, u, log_chance, key, draws: int, memory: int):
    key_replicate, key_particle = jax.random.split(key)
    replicate = jax.random.categorical(key_replicate, log_chance, shape=(draws,))
    count = jax.tree.leaves(u)[0].shape[1]
    particle = jax.random.randint(key_particle, (draws,), 0, count)
    chosen = jax.tree.map(lambda leaf: leaf[replicate, particle], u)
    return eqx.filter_vmap(level.model)(chosen), map_within(level, chosen, memory)
