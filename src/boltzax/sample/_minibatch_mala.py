"""Metropolis-adjusted Langevin on minibatches, by the penalty method."""

from typing import Annotated, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..compile import Gibbs, Weights
from ..core import Fraction, Positive, typed, whole
from ._kernel import AbstractCosted, Move, StepCost, Tuning, choose, metropolis, noise_like
from ._unadjusted import AbstractUnadjusted, batch_gradient, total

NOISE = 0.1
"""Variance of the estimated log-ratio that the step is tuned to stay below."""


class MinibatchMALAState(NamedTuple):
    """Place and tuning."""

    w: Weights
    tuning: Tuning


@typed
class MinibatchMALA(AbstractUnadjusted, AbstractCosted):
    """Langevin proposals from a minibatch, accepted on others with a penalty for their noise.

    The proposal is MALA's with the gradient of one batch, forth and back, and enters the ratio as
    it is. The log-ratio of the densities is estimated by the mean of `parts` independent batches,
    its variance `v` by their spread, and the move accepted with probability `min(1, exp(Δ - p))`,

    ::

        p = v/2 + v²/(4(m+1)) + v³/(3(m+1)(m+3)),   m = parts

    (Ceperley & Dewing 1999, J. Chem. Phys. 110:9812, their series for an estimated variance). That
    leaves the law right, at any step and with minibatches, if the noise of Δ is normal and `v` is
    about 1 or less: steps with `v > 1` are reported as `divergent`, and a run with more than 1% of
    them is flagged. A warm-up shortens the step until `v` is about 0.1; with `step_size` given it
    does not.

    The acceptance reported is that of this test, penalty included; the acceptance that the same
    step would have over all data is higher. A step costs two gradients and `2 parts` evaluations,
    counted as `2 + parts` gradients.
    """

    step_size: Positive | None = None
    target_acceptance: Fraction = 0.574
    parts: Annotated[int, whole(4)] = eqx.field(static=True, default=8)
    scale: Positive = 1.0

    order: ClassVar[int] = 2

    def init(self, gibbs, w, key, warmup):
        guess = 0.1 if self.step_size is None else self.step_size
        ones = jax.tree.map(jnp.ones_like, w)
        return MinibatchMALAState(w, Tuning(jnp.log(jnp.asarray(guess, float)), w, ones))

    def step(self, gibbs, state: MinibatchMALAState, key, gain, warmup):
        key_batch, key_noise, key_parts, key_accept = jax.random.split(key, 4)
        w, tuning = state
        factor = jnp.where(gain > 0, 1.0, jnp.asarray(self.scale))
        scales = jax.tree.map(lambda s: (factor * s).astype(s.dtype), tuning.scales())
        _, forth = batch_gradient(gibbs, w, key_batch)
        noise = noise_like(w, key_noise)
        new = jax.tree.map(lambda w, s, g, e: w + 0.5 * s**2 * g + s * e, w, scales, forth, noise)
        _, back = batch_gradient(gibbs, new, key_batch)
        mean, variance = self._difference(gibbs, new, w, key_parts)
        log_ratio = mean + _proposals(w, new, forth, back, scales) - penalty(variance, self.parts)
        probability, accept = metropolis(log_ratio, key_accept)
        w = choose(accept, new, w)
        noisy = ~(variance <= 1.0)
        if self.step_size is None:
            # whichever asks for the shorter step
            room = jnp.clip(1 - variance / NOISE, -4.0, 1.0)
            room = jnp.where(jnp.isnan(room), -4.0, room)
            surplus = jnp.minimum(probability - self.target_acceptance, room)
            tuning = tuning.update(
                w, self.target_acceptance + surplus, self.target_acceptance, gain
            )
        return MinibatchMALAState(w, tuning), Move(probability, noisy, 2.0 + self.parts)

    def position(self, state: MinibatchMALAState):
        return state.w

    def step_of(self, states: MinibatchMALAState):
        # scales belong to the step, and are learned anew: each warm-up finds the same step again
        return None

    def cost(self):
        return StepCost(*3 * (2.0 + self.parts,))

    def moved(self, gibbs, state: MinibatchMALAState, w, key):
        return state._replace(w=w)

    def _difference(self, gibbs: Gibbs, new: Weights, old: Weights, key) -> tuple[Array, Array]:
        """An estimate of `log p(new) - log p(old)`, and of its variance."""

        def one(key):
            return gibbs.log_prob_estimate(new, key) - gibbs.log_prob_estimate(old, key)

        each = jax.vmap(one)(jax.random.split(key, self.parts))
        return jnp.mean(each), jnp.var(each, ddof=1) / self.parts


def penalty(variance: Float[Array, ""], count: int) -> Float[Array, ""]:
    """What is to be taken off a log-ratio whose variance was estimated from `count` values."""
    third = variance**3 / (3 * (count + 1) * (count + 3))
    return variance / 2 + variance**2 / (4 * (count + 1)) + third


def _proposals(old: Weights, new: Weights, forth: Weights, back: Weights, sigma: Weights) -> Array:
    """Log-density of the proposal `new -> old` less that of `old -> new`, on one batch."""

    def one(a, b, forth, back, s):
        there = (b - a) / s - 0.5 * s * forth
        home = (a - b) / s - 0.5 * s * back
        return 0.5 * (there**2 - home**2)

    return total(jax.tree.map(one, old, new, forth, back, sigma))
