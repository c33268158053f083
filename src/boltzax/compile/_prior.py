"""A prior alone, as a Gibbs measure."""

import jax.numpy as jnp

from ..core import Model, typed
from ..declare import AbstractChart, AbstractTerm, Distribution, Independent
from ._compile import compile
from ._gibbs import Gibbs


class Nothing(AbstractTerm):
    """The energy that is zero at all weights of a model."""

    model: Model

    def value(self, model):
        return jnp.zeros(())

    def estimate(self, model, key):
        return jnp.zeros(())


@typed
def prior(
    model: Model, prior: Independent | Distribution, *, chart: AbstractChart | None = None
) -> Gibbs:
    """The prior over the weights of a model: a Gibbs measure whose energy is zero.

    Args:
        model: A pytree that holds the weights.
        prior: `Independent(...)` by path, or one distribution for all weights.
        chart: Which weights are free; the others stay as the model has them. All, if not given.

    Returns:
        A measure to draw from, and to ask for `log_probability`.

    Raises:
        DeclarationError: As `compile`.
    """
    return compile(Nothing(model), prior, chart=chart, marginalise=False)
