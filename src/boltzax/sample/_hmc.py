"""Hamiltonian Monte Carlo with jittered trajectories."""

from typing import Annotated, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..compile import Weights
from ..core import Count, Fraction, Positive, scalar, typed
from ._kernel import AbstractCosted, Move, StepCost, choose, metropolis, noise_like
from ._precondition import AbstractPreconditioner, Reach, Variance
from ._unadjusted import StepSize, total


class HMCState(NamedTuple):
    """Place, log-density and gradient there, tuning."""

    w: Weights
    log_prob: Float[Array, ""]
    gradient: Weights
    step: StepSize
    metric: PyTree
    reach: Reach


@typed
class HMC(AbstractCosted):
    """Leapfrog trajectories over all data, accepted by Metropolis (Duane et al. 1987; Neal 2011).

    Each trajectory lasts `trajectory` times a uniform number in (0.4, 1.6), in units of the typical
    spread of the draws (a quarter of a period is π/2), and takes at most `max_steps` gradients. The
    step is tuned to `target_acceptance` (0.65 to 0.8 is efficient: Beskos et al. 2013).

    With `jitter` j > 0 each trajectory has its own step, shorter by a factor `10^(-j U)`, U uniform
    in (0, 1): where the curvature of the posterior varies by decades, as it does along the branches
    of a normal crossing, one step size is too long in some places and too short in others.
    """

    target_acceptance: Fraction = 0.8
    trajectory: Positive = 1.6
    jitter: Annotated[float, scalar(0, open_high=True)] = 0.0
    max_steps: Count = eqx.field(default=512, static=True)
    preconditioner: AbstractPreconditioner = Variance()

    def init(self, gibbs, w, key, warmup):
        log_prob, gradient = jax.value_and_grad(gibbs.log_prob)(w)
        step = StepSize(jnp.log(jnp.asarray(1e-3)))
        metric = self.preconditioner.init(w)
        return HMCState(w, log_prob, gradient, step, metric, Reach.start(w))

    def step(self, gibbs, state: HMCState, key, gain, warmup):
        key_u, key_length, key_accept, key_jitter = jax.random.split(key, 4)
        scales = self.preconditioner.scales(state.metric, state.w)
        longest = jnp.exp(state.step.log_step)
        h = longest * 10 ** (-self.jitter * jax.random.uniform(key_jitter))
        sigma = jax.tree.map(lambda s: (h * s).astype(s.dtype), scales)
        u = noise_like(state.w, key_u)
        time = self.trajectory * state.reach.root(least=longest)
        time = time * jax.random.uniform(key_length, minval=0.4, maxval=1.6)
        count = jnp.clip(jnp.ceil(time / jnp.sqrt(longest * h)), 1, self.max_steps)

        def leapfrog(_, carry):
            w, u, _, gradient = carry
            u = jax.tree.map(lambda u, s, g: u + 0.5 * s * g, u, sigma, gradient)
            w = jax.tree.map(lambda w, s, u: w + s * u, w, sigma, u)
            log_prob, gradient = jax.value_and_grad(gibbs.log_prob)(w)
            u = jax.tree.map(lambda u, s, g: u + 0.5 * s * g, u, sigma, gradient)
            return w, u, log_prob, gradient

        begin = (state.w, u, state.log_prob, state.gradient)
        w, v, log_prob, gradient = jax.lax.fori_loop(0, count.astype(int), leapfrog, begin)
        heat = 0.5 * total(jax.tree.map(lambda a, b: b**2 - a**2, u, v))
        log_ratio = log_prob - state.log_prob - heat
        probability, accept = metropolis(log_ratio, key_accept)
        new = state._replace(w=w, log_prob=log_prob, gradient=gradient)
        new = choose(accept, new, state)
        # up by `gain` where everything is accepted: the first step may be far too short
        surplus = (probability - self.target_acceptance) / (1 - self.target_acceptance)
        log_step = state.step.log_step + gain * surplus
        metric = self.preconditioner.learn(state.metric, new.w, new.gradient, gain)
        reach = state.reach.learned(new.w, scales, gain)
        new = new._replace(step=StepSize(log_step), metric=metric, reach=reach)
        # a trajectory of one of the longer steps may diverge: a shorter one is tried soon
        shortest = h < longest * 10 ** (-0.75 * self.jitter) if self.jitter > 0 else True
        return new, Move(probability, shortest & ~(log_ratio > -1000.0), count)

    def position(self, state: HMCState):
        return state.w

    def cost(self):
        most = float(self.max_steps)
        return StepCost(most, most, min(8.0, most))

    def moved(self, gibbs, state: HMCState, w, key):
        log_prob, gradient = jax.value_and_grad(gibbs.log_prob)(w)
        return state._replace(w=w, log_prob=log_prob, gradient=gradient)
