"""Stochastic gradient Langevin dynamics."""

from typing import Annotated, ClassVar, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..compile import Weights
from ..core import Fraction, Positive, scalar, typed
from ._kernel import Move, choose, noise_like
from ._precondition import AbstractPreconditioner, Identity, RMSprop
from ._unadjusted import (
    FAR,
    AbstractUnadjusted,
    StepSize,
    batch_gradient,
    noisy,
    size,
    total,
)

HEATING = 0.02
"""Variance that minibatches may add to a step, a coordinate, in units of the injected noise."""


Momentum: TypeAlias = Annotated[float, scalar(0, 1, open_high=True)]
"""Memory of a moving average of gradients, from 0 to below 1."""


class SGLDState(NamedTuple):
    """Place, moving average of the gradient (None without momentum), tuning."""

    w: Weights
    average: Weights | None
    count: Float[Array, ""]
    step: StepSize
    metric: PyTree


@typed
class SGLD(AbstractUnadjusted):
    """`w + ½ ε G ĝ + √(ε G) N(0, I)`, `ĝ` the gradient of log p from a fresh minibatch.

    Welling & Teh 2011 (ICML, eq. 4) at constant step, without a Metropolis test: the law is off by
    `O(ε)`. `G = scale²` is the preconditioner's.

    Minibatches belong to the measure: `Subsampled(Empirical(data), batch_size)`. Every step of
    every chain draws its own; over all data the gradient is exact (the unadjusted Langevin
    algorithm).

    Args:
        step_size: `ε`. Chosen in warm-up if None, so that the discretisation error of the energy
            has variance `error` a coordinate, and minibatches add at most 2% to the variance of a
            step; then `scale * ε` is used, so that two runs that differ in `scale` alone tell what
            it does.
        preconditioner: `Identity()`, `RMSprop()`, `Variance()`.
        momentum: The drift is a moving average of gradients with this memory (0: the gradient
            itself), as in Adam (Kingma & Ba 2015, with their correction of the start); the noise is
            not averaged. `ε` is shortened by `1 - momentum`, for the average lags so many steps
            behind.
    """

    step_size: Positive | None = None
    preconditioner: AbstractPreconditioner = Identity()
    momentum: Momentum = 0.0
    scale: Positive = 1.0
    error: Positive = 5e-4

    order: ClassVar[int] = 1

    def init(self, gibbs, w, key, warmup):
        guess = 1e-6 if self.step_size is None else self.step_size
        step = StepSize(jnp.log(jnp.asarray(guess, float)))
        average = None if self.momentum == 0.0 else jax.tree.map(jnp.zeros_like, w)
        return SGLDState(w, average, jnp.zeros(()), step, self.preconditioner.init(w))

    def step(self, gibbs, state: SGLDState, key, gain, warmup):
        key_batch, key_noise, key_other = jax.random.split(key, 3)
        value, gradient = batch_gradient(gibbs, state.w, key_batch)
        scales = self.preconditioner.scales(state.metric, state.w)
        tuning = self.step_size is None
        # the gradient's average lags 1/(1 - momentum) steps behind, and must not lag in time
        root = jnp.exp(0.5 * state.step.log_step) * (1 - self.momentum) ** 0.5
        root = root * jnp.where(gain > 0, 1.0, jnp.sqrt(jnp.asarray(self.scale)))
        sigma = jax.tree.map(lambda s: (root * s).astype(s.dtype), scales)
        average, count, drift = self._drift(state, gradient)
        noise = noise_like(state.w, key_noise)
        w = jax.tree.map(lambda w, s, g, e: w + s * (0.5 * s * g + e), state.w, sigma, drift, noise)
        metric = self.preconditioner.learn(state.metric, state.w, gradient, gain)
        new = SGLDState(w, average, count, state.step, metric)
        if not tuning:
            return new, Move(jnp.ones(()), jnp.array(False), 1.0)

        # judged is a step shorter than the one that the average's lag counts for; the error goes
        # with the third power
        allowed = self.error * (1 - self.momentum) ** 3

        minibatches = noisy(gibbs, w, key_batch)

        def trial():
            there, back = batch_gradient(gibbs, w, key_batch)
            log_ratio = there - value + _asymmetry(state.w, w, gradient, back, sigma)
            if not minibatches:
                return log_ratio**2 / size(w)
            _, other = batch_gradient(gibbs, state.w, key_other)
            # variance that the noise of the batch adds to a step, in units of what is meant
            added = jax.tree.map(lambda s, a, b: (s * (a - b)) ** 2 / 8, sigma, gradient, other)
            heating = total(added) / size(w)
            return jnp.maximum(log_ratio**2 / size(w), allowed * heating / HEATING)

        error = jax.lax.cond(gain > 0, trial, lambda: jnp.zeros_like(value))
        step = state.step.tuned(error, allowed, gain)
        near = jnp.isfinite(error) & (error < FAR * allowed)
        new = new._replace(w=choose(near | (gain == 0), w, state.w), step=step)
        return new, Move(
            jnp.ones(()), jnp.array(False), 1.0 + jnp.where(gain > 0, 1.0 + minibatches, 0.0)
        )

    def position(self, state: SGLDState):
        return state.w

    def step_of(self, states: SGLDState):
        return states.step.mean()

    def moved(self, gibbs, state: SGLDState, w, key):
        average = jax.tree.map(jnp.zeros_like, state.average)
        return state._replace(w=w, average=average, count=jnp.zeros(()))

    def _drift(self, state, gradient):
        if state.average is None:
            return None, state.count, gradient
        b = self.momentum
        average = jax.tree.map(lambda m, g: b * m + (1 - b) * g, state.average, gradient)
        count = state.count + 1
        correction = 1 - b**count
        return average, count, jax.tree.map(lambda m: m / correction, average)


def _asymmetry(old: Weights, new: Weights, at_old: Weights, at_new: Weights, sigma: Weights):
    """Log-density of the reverse proposal minus that of the proposal, without momentum."""

    def one(a, b, ga, gb, s):
        back = ((a - b) / s - 0.5 * s * gb) ** 2
        forth = ((b - a) / s - 0.5 * s * ga) ** 2
        return -0.5 * (back - forth)

    return total(jax.tree.map(one, old, new, at_old, at_new, sigma))


@typed
def AdamSGLD(
    step_size: Positive | None = None,
    *,
    momentum: Momentum = 0.9,
    decay: Fraction = 0.999,
    scale: Positive = 1.0,
) -> SGLD:
    """SGLD with Adam's preconditioner: `SGLD(preconditioner=RMSprop(decay), momentum=...)`.

    Moving averages of gradients and of their squares as in Adam (Kingma & Ba 2015); see Kim, Song &
    Liang 2022 (Statistical Papers, arXiv:2009.09535, Algorithm 2) for adaptive drifts in SGLD.

    Args:
        momentum: Memory of the moving average of gradients.
        decay: Memory of that of their squares.
        scale: A factor on the step after warm-up.
    """
    return SGLD(step_size, RMSprop(decay), momentum, scale)


@typed
def RMSpropSGLD(
    step_size: Positive | None = None, *, decay: Fraction = 0.99, scale: Positive = 1.0
) -> SGLD:
    """SGLD with the preconditioner of RMSprop: `SGLD(preconditioner=RMSprop(decay))`.

    Args:
        decay: Memory of the moving average, below 1.
        scale: A factor on the step after warm-up.
    """
    return SGLD(step_size, RMSprop(decay), 0.0, scale)
