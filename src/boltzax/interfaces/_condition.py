"""Draws of the prior, given that the contracts hold."""

import dataclasses

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ..core import MEMORY, Count, Key, Model, typed
from ..declare import Specified
from ..observe import LogProbability, MaxLevels, Particles, Replicates, drawn_above, log_probability
from ._entropy import looked_at, prior_of_contract


@typed
class Conditioned(eqx.Module):
    """Systems that keep their contracts.

    Args:
        models: The declared model (of a circuit: the tuple of its models) with a leading axis over
            draws.
        margin: Of each draw, `[draw]`, in units of the output, none of them negative.
        entropy: Of the whole, from the same run.
    """

    models: Model
    margin: Float[Array, " draw"]
    entropy: LogProbability


@typed
def condition(
    contract: Specified,
    *,
    key: Key,
    draws: Count = 1000,
    particles: Particles = 512,
    moves: Count = 32,
    replicates: Replicates = 16,
    max_levels: MaxLevels = 200,
    memory: Count = MEMORY,
) -> Conditioned:
    """Draws of `π(w | all contracts hold)`, the posterior at zero temperature, by splitting.

    Replicates are chosen in proportion to their probabilities, and particles within them evenly.
    Particles of one replicate have ancestors in common: to see how far the draws can be trusted,
    look at `entropy.outcome`, or run again with another key. `memory` is that of
    `boltzax.interfaces.entropy`.

    Raises:
        RunError: If no replicate came to the target.
    """
    key_run, key_pick = jax.random.split(key)
    found = log_probability(
        prior_of_contract(contract), contract.margin, key=key_run, by="levels", keep=True,
        particles=particles, moves=moves, replicates=replicates, max_levels=max_levels,
        memory=memory, throw=False,
    )  # fmt: skip
    models, margin = drawn_above(found, draws, key_pick, memory)
    return Conditioned(models, margin, dataclasses.replace(found, over=looked_at(contract)))
