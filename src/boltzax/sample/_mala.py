"""Metropolis-adjusted Langevin."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..compile import Weights
from ..core import Fraction, Positive, typed
from ._kernel import AbstractKernel, Move, Tuning, choose, metropolis, noise_like


class MALAState(NamedTuple):
    """Place, log-density and gradient there, tuning."""

    w: Weights
    log_prob: Float[Array, ""]
    gradient: Weights
    tuning: Tuning


@typed
class MALA(AbstractKernel):
    """Metropolis-adjusted Langevin: `w + ½ s² ∇log p(w) + s N(0, I)`, accepted by Metropolis.

    `s` is a step times the scale of each coordinate; the step is tuned to `target_acceptance`
    (0.574 is optimal in many dimensions: Roberts & Rosenthal 1998).
    """

    target_acceptance: Fraction = 0.574
    step_size: Positive = 0.1

    def init(self, gibbs, w, key, warmup):
        return self._state(gibbs, w, Tuning.start(w, self.step_size))

    def step(self, gibbs, state: MALAState, key, gain, warmup):
        key_noise, key_accept = jax.random.split(key)
        scales = state.tuning.scales()
        noise = noise_like(state.w, key_noise)
        proposal = jax.tree.map(
            lambda w, s, g, e: w + 0.5 * s**2 * g + s * e, state.w, scales, state.gradient, noise
        )
        new = self._state(gibbs, proposal, state.tuning)
        back = _log_density(state.w, proposal, scales, new.gradient)
        forth = _log_density(proposal, state.w, scales, state.gradient)
        log_ratio = new.log_prob - state.log_prob + back - forth
        probability, accept = metropolis(log_ratio, key_accept)
        state = choose(accept, new, state)
        tuning = state.tuning.update(state.w, probability, self.target_acceptance, gain)
        # a proposal of density zero is a rejection like any other; one that is not a number is not
        undefined = jnp.isnan(log_ratio) & (new.log_prob != -jnp.inf)
        return state._replace(tuning=tuning), Move(probability, undefined, jnp.ones(()))

    def position(self, state: MALAState):
        return state.w

    def moved(self, gibbs, state: MALAState, w, key):
        return self._state(gibbs, w, state.tuning)

    def _state(self, gibbs, w, tuning) -> MALAState:
        log_prob, gradient = jax.value_and_grad(gibbs.log_prob)(w)
        return MALAState(w, log_prob, gradient, tuning)


def _log_density(to: Weights, start: Weights, scales: Weights, gradient: Weights) -> Array:
    """Log-density of the proposal `start -> to`, without constants."""
    terms = jax.tree.map(
        lambda t, w, s, g: -0.5 * jnp.sum(((t - w - 0.5 * s**2 * g) / s) ** 2),
        to,
        start,
        scales,
        gradient,
    )
    return sum(jax.tree.leaves(terms), jnp.zeros(()))
