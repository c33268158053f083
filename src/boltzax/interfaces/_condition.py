"""Draws of the prior, given that the contracts hold."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ..core import MEMORY, Count, Key, Model, typed
from ..declare import Specified
from ..observe import LogProbability, MaxLevels, Particles, Replicates, drawn_above, raised
from ._entropy import margin_probability


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
    throw: bool = True,
) -> Conditioned:
    """Draws of `π(w | all contracts hold)`, the posterior at zero temperature, by rising levels.

    Replicates are chosen in proportion to their probabilities, and particles within them evenly.
    Particles of one replicate have ancestors in common: to see how far the draws can be trusted,
    look at `entropy.status`, or run again with another key.

    Args:
        contract: A contract, or a circuit of several.
        key: Key of all randomness.
        draws: Systems to draw.
        particles: Of each replicate.
        moves: Moves of every particle at a level.
        replicates: Independent populations.
        max_levels: Most levels of a replicate.
        memory: Bytes of intermediate values at once.
        throw: Raise `RunError` if something speaks against the result; else look at
            `entropy.status`.

    Raises:
        RunError: A `status` that is not `successful`; always if no replicate came to the target.
    """
    key_run, key_pick = jax.random.split(key)
    entropy = margin_probability(
        contract, key=key_run, by="levels", keep=True, particles=particles, moves=moves,
        replicates=replicates, max_levels=max_levels, memory=memory,
    )  # fmt: skip
    models, margin = drawn_above(raised(entropy, throw), draws, key_pick, memory)
    return Conditioned(models, margin, entropy)
