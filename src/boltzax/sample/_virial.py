"""The virial theorem: an identity that holds for draws at equilibrium."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..compile import Gibbs, Weights
from ..core import Estimate, Status
from ._dynamics import set_beta

LOOKED_AT = 64
"""Draws a chain at which the identity is looked at after a run, evenly spread."""


@eqx.filter_jit
def radial(
    gibbs: Gibbs, centre: Weights, w: Weights, key: PRNGKeyArray | None = None
) -> Float[Array, "chain draw"]:
    """`(w - c)·∇(-log p)` at every draw, one gradient each.

    Its mean is the number of coordinates, for any centre `c` (the virial theorem). With a key it is
    estimated from the log-density of another minibatch at each draw, without bias.
    """

    def one(pair):
        w, key = pair
        away = jax.tree.map(lambda a, b: a - b, w, centre)

        def log_density(w):
            return gibbs.log_prob(w) if key is None else gibbs.log_prob_estimate(w, key)

        slope = jax.grad(log_density)(w)  # a model may have a derivative in reverse mode alone
        return -sum(jnp.vdot(slope[path], away[path]) for path in w)

    shape = jax.tree.leaves(w)[0].shape[:2]
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), w)
    keys = None if key is None else jax.random.split(key, shape[0] * shape[1])
    return jax.lax.map(one, (flat, keys), batch_size=16).reshape(shape)


def thinned(w: Weights, most: int) -> Weights:
    """At most so many draws a chain, evenly spread: the last of each stretch.

    Args:
        w: Draws, axes `[chain, draw]`.
        most: The most draws of a chain that are kept, at least 1.
    """
    every = max(1, -(-next(iter(w.values())).shape[1] // max(most, 1)))
    return {path: leaf[:, every - 1 :: every] for path, leaf in w.items()}


def equilibrium_status(gibbs: Gibbs, w: Weights, status: Status) -> Status:
    """The status of a run without a Metropolis test, after a check of its equilibrium.

    `⟨(w - c)·∇(-log p)⟩`, with `c` the mean of the draws, is far from the number of coordinates `d`
    if it differs by four standard errors and by `d/2`: such a run still cools or heats, or its step
    is far too long. The bias of a step that is a little too long is smaller, and not looked for.

    Args:
        gibbs: The measure.
        w: Its draws, axes `[*beta, chain, draw]`.
        status: What else is known of the run.

    Returns:
        `Status.not_in_equilibrium`, or `status` as it is.
    """
    if status != Status.successful or not w:
        return status
    levels = gibbs.beta.reshape(-1)
    lead = gibbs.beta.ndim
    for number, beta in enumerate(levels):
        own = {path: leaf[number] if lead else leaf for path, leaf in w.items()}
        some = thinned(own, LOOKED_AT)
        centre = {path: jnp.mean(leaf, axis=(0, 1)) for path, leaf in some.items()}
        excess = Estimate.of_series(radial(set_beta(gibbs, beta), centre, some) - gibbs.dim)
        size, error = abs(float(excess.value)), float(excess.standard_error)
        # a value that is no number speaks against the run; too few draws have no error
        far = not size <= gibbs.dim / 2
        if far and not (np.isfinite(size) and not size > 4 * error):
            return Status.not_in_equilibrium
    return status
