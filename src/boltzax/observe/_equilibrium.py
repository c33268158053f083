"""Whether draws obey an identity that holds at equilibrium, and nowhere else in general."""

import jax
from jaxtyping import PRNGKeyArray

from ..compile import Gibbs
from ..core import Estimate
from ..sample import Trace, radial, thinned

MOST_DRAWS = 20_000
"""Draws of all chains at which the identity is looked at, evenly spread over the run."""


def virial(
    gibbs: Gibbs, trace: Trace, most: int = MOST_DRAWS, key: PRNGKeyArray | None = None
) -> Estimate | None:
    """`⟨(w - w*)·∇(-log p)⟩ - d`, which is 0 at equilibrium (the virial theorem).

    With the localising Gaussian it reads `β ⟨(w - w*)·∇E⟩ + γ ⟨|w - w*|²⟩ = d`, by one integration
    by parts over all weights. Draws that have not reached the ends of a long arm are cut off there,
    and break it; so does a step that is too long for a sampler without a Metropolis test. It does
    not see a mode that lies apart.

    Args:
        gibbs: The localised posterior.
        trace: Its draws.
        most: Draws of all chains at which it is looked at, evenly spread.
        key: For gradients from minibatches, one at each draw; over all data if None.

    Returns:
        The estimate, or None if the draws were not kept, or there are fewer than 4 a chain.
    """
    if trace.w is None:
        return None
    kept = thinned(trace.w, most // trace.energy.shape[0])
    if jax.tree.leaves(kept)[0].shape[1] < 4:
        return None
    return Estimate.of_series(radial(gibbs, gibbs.position(), kept, key) - gibbs.dim)
