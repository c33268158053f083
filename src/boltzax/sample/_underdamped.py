"""Underdamped Langevin dynamics, and the same with a thermostat."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..compile import Gibbs, Weights
from ..core import Positive, typed
from ._baoab import baoa, decayed, kick
from ._kernel import Move, choose, noise_like
from ._precondition import AbstractPreconditioner, Identity, Reach, Variance, recent
from ._unadjusted import (
    FAR,
    AbstractUnadjusted,
    StepSize,
    batch_gradient,
    noisy,
    size,
    total,
)


class UnderdampedState(NamedTuple):
    """Place, momentum in units of its thermal spread; log-density and gradient; thermostat; tuning.

    `thermostat` is the friction of the moment and `friction` its mean over the warm-up (SGNHT);
    else it is None and `friction` is fixed after warm-up, from the `noise` of minibatches: the
    variance of a scaled coordinate of the gradient.
    """

    w: Weights
    u: Weights
    value: Float[Array, ""]
    gradient: Weights
    thermostat: Float[Array, ""] | None
    friction: Float[Array, ""]
    noise: Float[Array, ""]
    step: StepSize
    metric: PyTree
    reach: Reach


@typed
class Underdamped(AbstractUnadjusted):
    """Underdamped Langevin dynamics by the BAOAB splitting.

    `dw = s u dt`, `du = s ∇log p dt - γ u dt + √(2γ) dW` with the preconditioner's scales `s`
    (Leimkuhler & Matthews 2013, Applied Mathematics Research eXpress 2013:34). Without minibatches
    the law is off by `O(h²)`, and not at all for Gaussians; with them by `O(h)`. One gradient a
    step.

    Args:
        step_size: `h`. Chosen in warm-up if None, so that the energy error of a step has variance
            `error` a coordinate; then `scale * h` is used.
        friction: Least `γ`, in units of one over the time in which the momentum crosses the typical
            spread of the draws. The noise of minibatches heats by an amount inverse to the
            friction: in warm-up it is measured (by one more gradient a step), and the friction
            raised so that the kinetic temperature is at most `1 + heating`.
    """

    step_size: Positive | None = None
    friction: Positive = 1.0
    preconditioner: AbstractPreconditioner = Variance()
    scale: Positive = 1.0
    error: Positive = 1e-5
    heating: Positive = 0.02

    order: ClassVar[int] = 2

    def init(self, gibbs, w, key, warmup):
        return _init(self, gibbs, w, key, thermostat=False)

    def step(self, gibbs, state: UnderdampedState, key, gain, warmup):
        new, noise, move = _step(self, gibbs, state, key, gain)
        # u² -> keep² (u² + h² noise) + 1 - keep² in a step, which is to be 1 + heating
        h, unit = _times(new, 1.0)
        least = unit / (2 * h) * jnp.log1p(h**2 * noise / self.heating)
        friction = jnp.where(gain > 0, jnp.maximum(least, self.friction), state.friction)
        return new._replace(noise=noise, friction=friction), move

    def position(self, state: UnderdampedState):
        return state.w

    def step_of(self, states: UnderdampedState):
        return states.step.mean()

    def moved(self, gibbs, state: UnderdampedState, w, key):
        return _moved(gibbs, state, w, key)


@typed
class SGNHT(AbstractUnadjusted):
    """The stochastic gradient Nosé-Hoover thermostat: a friction that measures the noise.

    As `Underdamped`, with `dξ = (|u|²/d - 1) dt` in place of a fixed friction, `ξ` starting at
    `friction` (Ding et al. 2014, NeurIPS, eq. 5; the symmetric splitting BADODAB of Leimkuhler &
    Shang 2016, SIAM J. Sci. Comput. 38:A712). Noise of minibatches that is the same everywhere and
    in all directions is absorbed by `ξ`.

    Args:
        friction: That of the start.
        scale: A factor on the step after warm-up.
        error: Variance of the energy error of a step, a coordinate, to which it is tuned.
    """

    step_size: Positive | None = None
    friction: Positive = 1.0
    preconditioner: AbstractPreconditioner = Identity()
    scale: Positive = 1.0
    error: Positive = 1e-5

    order: ClassVar[int] = 2

    def init(self, gibbs, w, key, warmup):
        return _init(self, gibbs, w, key, thermostat=True)

    def step(self, gibbs, state: UnderdampedState, key, gain, warmup):
        new, _, move = _step(self, gibbs, state, key, gain)
        rate = recent(new.reach.count, gain)
        assert new.thermostat is not None
        friction = new.friction + rate * (new.thermostat - new.friction)
        return new._replace(friction=friction), move

    def position(self, state: UnderdampedState):
        return state.w

    def step_of(self, states: UnderdampedState):
        return states.step.mean()

    def moved(self, gibbs, state: UnderdampedState, w, key):
        return _moved(gibbs, state, w, key)


def _init(
    kernel, gibbs: Gibbs, w: Weights, key: PRNGKeyArray, *, thermostat: bool
) -> UnderdampedState:
    key_u, key_batch = jax.random.split(key)
    guess = 1e-3 if kernel.step_size is None else kernel.step_size
    step = StepSize(jnp.log(jnp.asarray(guess, float)))
    value, gradient = batch_gradient(gibbs, w, key_batch)
    metric = kernel.preconditioner.init(w)
    friction = jnp.asarray(kernel.friction, float)
    return UnderdampedState(
        w,
        noise_like(w, key_u),
        value,
        gradient,
        friction if thermostat else None,
        friction,
        jnp.zeros(()),
        step,
        metric,
        Reach.start(w),
    )


def _moved(gibbs: Gibbs, state: UnderdampedState, w: Weights, key: PRNGKeyArray):
    key_u, key_batch, key_thermostat = jax.random.split(key, 3)
    value, gradient = batch_gradient(gibbs, w, key_batch)
    if state.thermostat is not None:
        # its stationary law is normal with variance 1/d
        spread = jax.random.normal(key_thermostat) / size(w) ** 0.5
        state = state._replace(thermostat=state.friction + spread)
    return state._replace(w=w, u=noise_like(w, key_u), value=value, gradient=gradient)


def _times(state: UnderdampedState, scale: Array | float) -> tuple[Array, Array]:
    """Step, and the time in which a thermal momentum crosses the spread of the draws."""
    h = jnp.exp(state.step.log_step) * jnp.asarray(scale)
    return h, state.reach.root(least=10 * h)


def _step(kernel, gibbs: Gibbs, state: UnderdampedState, key, gain):
    """B A O A B, with D around O for the thermostat. Wild warm-up steps are undone."""
    key_batch, key_noise = jax.random.split(key)
    scales = kernel.preconditioner.scales(state.metric, state.w)
    # time is counted in units in which a thermal momentum crosses the spread of the draws
    h, unit = _times(state, jnp.where(gain > 0, 1.0, jnp.asarray(kernel.scale)))
    sigma = jax.tree.map(lambda s: (h * s).astype(s.dtype), scales)
    w, mixed, thermostat = baoa(
        state.w, state.u, state.gradient, sigma,
        lambda u: _ornstein_uhlenbeck(kernel, state, u, key_noise, h / unit),
    )  # fmt: skip
    value, gradient = batch_gradient(gibbs, w, key_batch)

    minibatches = noisy(gibbs, w, key_batch)

    def judged():
        # the error in the energy of the leapfrog step that goes the same way, on this batch; the
        # gradient that the step began with was of another batch, from which this one's differs
        # by the noise
        before, begun = state.value, state.gradient
        if minibatches:
            before, begun = batch_gradient(gibbs, state.w, key_batch)

        def work(new, old, s, g, b):
            return jnp.sum(0.5 * (new - old) * (g + b) + 0.125 * s**2 * (g**2 - b**2))

        done = jax.tree.map(work, w, state.w, sigma, gradient, begun)
        error = (value - before - sum(jax.tree.leaves(done))) ** 2 / size(w)
        apart = jax.tree.map(lambda s, a, b: (s * (a - b)) ** 2, scales, state.gradient, begun)
        noise = 0.5 * total(apart) / size(w)
        noise = state.noise + recent(state.reach.count, gain) * (noise - state.noise)
        return error, noise

    unjudged = jnp.zeros_like(value), state.noise
    error, noise = jax.lax.cond(gain > 0, judged, lambda: unjudged)
    near = (jnp.isfinite(error) & (error < FAR * kernel.error)) | (gain == 0)
    if kernel.step_size is not None:
        near = jnp.array(True)
    turned = jax.tree.map(jnp.negative, mixed)
    u = choose(near, kick(mixed, sigma, gradient), turned)
    metric = kernel.preconditioner.learn(state.metric, state.w, state.gradient, gain)
    new = state._replace(
        w=choose(near, w, state.w),
        u=u,
        value=jnp.where(near, value, state.value),
        gradient=choose(near, gradient, state.gradient),
        metric=metric,
        reach=state.reach.learned(state.w, scales, gain),
    )
    if thermostat is not None:
        new = new._replace(thermostat=jnp.where(near, thermostat, state.thermostat))
    if kernel.step_size is None:
        new = new._replace(step=state.step.tuned(error, kernel.error, gain))
    measured = minibatches and (kernel.step_size is None or thermostat is None)
    return (
        new,
        noise,
        Move(jnp.ones(()), jnp.array(False), 1.0 + jnp.where(gain > 0, float(measured), 0.0)),
    )


def _ornstein_uhlenbeck(kernel, state, u: Weights, key, time):
    """Exact decay and noise over `time`; with half steps of the thermostat on both sides."""
    noise = noise_like(u, key)
    if state.thermostat is None:
        return decayed(u, noise, jnp.exp(-state.friction * time)), None
    half = 0.5 * time
    friction = state.thermostat + half * (_heat(u) - 1)
    keep = jnp.exp(-friction * time)
    small = jnp.abs(friction * time) < 1e-6
    safe = jnp.where(small, 1.0, friction)
    variance = jnp.where(small, 2 * time, -jnp.expm1(-2 * safe * time) / safe) * kernel.friction
    mixed = decayed(u, noise, keep, jnp.sqrt(variance))
    return mixed, friction + half * (_heat(mixed) - 1)


def _heat(u: Weights) -> Array:
    return total(jax.tree.map(jnp.square, u)) / size(u)
