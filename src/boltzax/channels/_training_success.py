"""What training pays for a channel."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..core import (
    MEMORY,
    Count,
    Curve,
    DeclarationError,
    Estimate,
    Key,
    Number,
    map_within,
    typed,
    weights_of,
    with_weights,
)
from ..declare import AbstractEnergy
from ..observe import with_model
from ..sample import Ensemble, Optimiser, Steps, trained
from ._channel import Channel, check_strength


@typed
def training_success(
    channel: Channel,
    optimiser: Optimiser,
    steps: Steps,
    *,
    at: Number = 0.0,
    starts: Count = 100,
    key: Key,
) -> Curve:
    """The share of trainings from the prior whose channel transmits, against the steps taken.

    It stands beside `bits_of_optimisation`, which at step 0 are minus its base-2 logarithm. An
    optimiser is not a search of the prior: what it pays is steps, not bits. Where it fails, the
    gradients have vanished along the channel; the prior's volume says nothing of that.

    Args:
        channel: With an energy, whose model has the weights of the prior.
        optimiser: Of optax.
        steps: After how many steps the strength is looked at, such as `[0, 100, 1000]`.
        at: The strength at which a channel transmits.
        starts: Independent draws of the prior to start from.
        key: Of the starts, and of minibatches.

    Returns:
        Shares with Wilson's intervals, over the step. All steps are of the same trainings.

    Raises:
        DeclarationError: For a channel without an energy, or with weights that its prior lacks.
    """
    energy = channel.energy
    if energy is None:
        raise DeclarationError(
            "channel",
            got="a channel without an energy",
            expected="one that says what a training minimises",
            mend="pass channels.Channel(prior, strength, energy)",
        )
    check_strength("channel", channel.strength, channel.prior.declared, steps=True)
    key_starts, key_data = jax.random.split(key)
    models = Ensemble.prior(channel.prior, starts, key=key_starts).models()
    keys = jax.random.split(key_data, starts)
    reached = _reached(
        channel, energy, weights_of(models), keys, optimiser, tuple(steps), jnp.asarray(at, float)
    )
    hits = np.sum(np.asarray(reached), axis=0)
    return Curve(np.asarray(steps, float), Estimate.of_hits(hits, starts), axis="step")


@eqx.filter_jit
def _reached(
    channel: Channel,
    energy: AbstractEnergy,
    starts: PyTree,
    keys: Array,
    optimiser: Any,
    steps: tuple[int, ...],
    at: Array,
) -> Array:
    """Whether the channel transmits, `[start, step]`."""

    def one(start: PyTree) -> Array:
        weights, key = start
        model = with_weights(channel.prior.declared, weights)
        models = trained(with_model(energy, model), optimiser, steps, key=key)
        return jnp.stack([channel.strength(model) for model in models]) >= at

    return map_within(one, (starts, keys), MEMORY)
