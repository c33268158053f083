"""A system in which a channel can form."""

from collections.abc import Callable

import equinox as eqx

from ..compile import Gibbs
from ..core import typed
from ..declare import AbstractEnergy


@typed
class Channel(eqx.Module):
    """A system with random weights, and how strong a channel in it is.

    Args:
        prior: The law of the weights, e.g. `bx.prior(model, bx.Normal())`.
        strength: A function of the model that gives one number. The channel transmits where it is
            at least a threshold.
        energy: What a training that makes the channel minimises; its model has the structure of
            that of the prior. None if it is not trained.
    """

    prior: Gibbs
    strength: Callable
    energy: AbstractEnergy | None = None
