"""Random-walk Metropolis."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..compile import Weights
from ..core import Fraction, Positive, typed
from ._kernel import (
    AbstractGradientFree,
    Move,
    Tuning,
    choose,
    metropolis,
    noise_like,
)


class RandomWalkState(NamedTuple):
    """Place, log-density there, tuning."""

    w: Weights
    log_prob: Float[Array, ""]
    tuning: Tuning


@typed
class RandomWalk(AbstractGradientFree):
    """Metropolis with proposals `w + step * scale * N(0, I)` (Metropolis et al. 1953).

    The step is tuned to `target_acceptance` (0.234 is optimal in many dimensions: Roberts, Gelman,
    Gilks 1997), the scales to the spread of each coordinate.
    """

    target_acceptance: Fraction = 0.3
    step_size: Positive = 0.5

    def init(self, gibbs, w, key, warmup):
        return RandomWalkState(w, gibbs.log_prob(w), Tuning.start(w, self.step_size))

    def step(self, gibbs, state: RandomWalkState, key, gain, warmup):
        key_noise, key_accept = jax.random.split(key)
        noise = noise_like(state.w, key_noise)
        proposal = jax.tree.map(lambda w, s, e: w + s * e, state.w, state.tuning.scales(), noise)
        log_prob = gibbs.log_prob(proposal)
        probability, accept = metropolis(log_prob - state.log_prob, key_accept)
        undefined = jnp.isnan(log_prob)
        w, log_prob = choose(accept, (proposal, log_prob), (state.w, state.log_prob))
        tuning = state.tuning.update(w, probability, self.target_acceptance, gain)
        move = Move(probability, undefined)
        return RandomWalkState(w, log_prob, tuning), move

    def position(self, state: RandomWalkState):
        return state.w

    def moved(self, gibbs, state: RandomWalkState, w, key):
        return RandomWalkState(w, gibbs.log_prob(w), state.tuning)
