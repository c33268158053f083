"""Samplers without a Metropolis test conform, and the check refuses planted mistakes."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jax.flatten_util import ravel_pytree

import boltzax as bx
from boltzax.sample import AbstractUnadjusted, Move
from boltzax.testing import check_fresh_batches, check_kernel, check_stochastic_kernel

KEY = jax.random.key(7)

KERNELS = {
    "sgld": (bx.SGLD(), {}),
    "rmsprop": (bx.RMSpropSGLD(), {}),
    # its step is a tenth as long
    "adam": (bx.AdamSGLD(), {"thin": 24, "draws": 1000}),
    # a warm-up that is short leaves some chains with a poor variance, and slow
    "sgld, variance": (bx.SGLD(preconditioner=bx.Variance()), {"warmup": 2000}),
    "underdamped": (bx.Underdamped(), {}),
    "underdamped, identity": (bx.Underdamped(preconditioner=bx.Identity()), {}),
    "sgnht": (bx.SGNHT(), {}),
    "minibatch mala": (bx.MinibatchMALA(), {"chains": 24, "warmup": 2000, "draws": 6000}),
}
FAST = ("sgld",)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in KERNELS],
)
def test_kernel_conforms(name):
    kernel, options = KERNELS[name]
    check_stochastic_kernel(kernel, key=KEY, **options)


@pytest.mark.slow
@pytest.mark.parametrize("jitter", [0.0, 1.5])
def test_hmc_conforms(jitter):
    check_kernel(bx.HMC(jitter=jitter), key=KEY, draws=1000)


class State(NamedTuple):
    """Place, momentum (0 for overdamped), number of steps, scales being learned."""

    w: dict
    u: dict
    count: jax.Array
    scale: jax.Array
    seed: jax.Array


class Langevin(AbstractUnadjusted):
    """Langevin of fixed step, with `friction` underdamped; right unless a mistake is named."""

    mistake: str | None = eqx.field(static=True, default=None)
    friction: float | None = eqx.field(static=True, default=None)
    step_size: float = eqx.field(static=True, default=0.03)
    scale: float | jax.Array = 1.0

    order: ClassVar[int] = 1

    def step_of(self, states):
        return None

    def init(self, gibbs, w, key, warmup):
        u = jax.tree.map(jnp.zeros_like, w)
        seed = jax.random.key_data(key)
        return State(w, u, jnp.zeros((), int), jnp.ones(()), seed)

    def step(self, gibbs, state, key, gain, warmup):
        key_batch, key_noise = jax.random.split(key)
        count = state.count
        key_chain = jax.random.wrap_key_data(state.seed)
        match self.mistake:
            case "one batch for ever":
                key_batch = key_chain
            case "first epoch for ever":
                key_batch = jax.random.fold_in(key_chain, count % 8)
            case "one batch for all chains":
                key_batch = jax.random.fold_in(jax.random.key(0), count)
            case "two steps a batch":
                key_batch = jax.random.fold_in(key_chain, count // 2)
            case "temperature ignored":
                gibbs = eqx.tree_at(lambda g: g.beta, gibbs, jnp.ones_like(gibbs.beta))
        w, tree = ravel_pytree(state.w)

        def slope(fn, *more):
            return ravel_pytree(jax.grad(fn)(state.w, *more))[0]

        g = slope(gibbs.log_prob_estimate, key_batch)
        if self.mistake == "batch not rescaled":
            prior = slope(gibbs.log_prior)
            full = slope(gibbs.log_prob)
            # over all data the factor is 1
            part = jnp.where(jnp.allclose(full, g, rtol=1e-9), 1.0, 1 / 8)
            g = prior + part * (g - prior)
        if self.mistake == "same data for ever":
            g = slope(gibbs.log_prob)
        e = jax.random.normal(key_noise, w.shape)
        if self.mistake == "one key for all paths":
            e, _ = ravel_pytree(
                jax.tree.map(lambda x: jax.random.normal(key_noise, x.shape), state.w)
            )
        size = self.step_size * (1.0 if self.mistake == "scale ignored" else self.scale)
        size = jnp.where(gain > 0, self.step_size, size) * state.scale
        u, _ = ravel_pytree(state.u)
        if self.friction is not None:
            # semi-implicit Euler with exact friction
            h = 2 * size
            keep = jnp.exp(-self.friction * h)
            new_u = keep * (u + h * g) + jnp.sqrt(1 - keep**2) * e
            w = w + h * new_u
            u = u if self.mistake == "momentum never applied" else new_u
        else:
            loud = {"noise √2 too loud": 2**0.5, "noise √2 too quiet": 0.5**0.5}
            root = size if self.mistake == "noise of size ε" else size**0.5
            drift = 1.0 if self.mistake == "drift without the half" else 0.5
            w = w + drift * size * g + loud.get(self.mistake, 1.0) * root * e
        scale = state.scale
        if self.mistake == "learns for ever":
            scale = scale * jnp.exp(0.01 * (1 - jnp.mean(e**2)))
        return (
            State(tree(w), tree(u), count + 1, scale, state.seed),
            Move(jnp.ones(()), jnp.array(False), 1.0),
        )

    def position(self, state):
        return state.w

    def moved(self, gibbs, state, w, key):
        if self.mistake == "keeps its momentum":
            return state._replace(w=w)
        return state._replace(w=w, u=jax.tree.map(jnp.zeros_like, w))


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel",
    # the noise of minibatches heats it by .3 at a step of .03, by more than it may
    [Langevin(), Langevin(friction=3.0, step_size=0.015)],
    ids=["overdamped", "underdamped"],
)
def test_the_kernels_of_the_planted_mistakes_are_right(kernel):
    check_stochastic_kernel(kernel, key=KEY)


MISTAKES = {
    "noise √2 too loud": "variance over all data",
    "noise √2 too quiet": "variance over all data",
    "noise of size ε": "variance over all data|standard errors",
    "drift without the half": "variance over all data",
    "temperature ignored": "mean over all data",
    "batch not rescaled": "mean over minibatches|variance over minibatches",
    "one key for all paths": "product over all data",
    "scale ignored": "half the scale",
    "learns for ever": "gain 0",
}
MOMENTUM = {
    "momentum never applied": "variance over all data",
    "one key for all paths": "product over all data",
    "keeps its momentum": "gain 0",
    "temperature ignored": "mean over all data",
}
BATCHES = {
    "one batch for ever": "batches repeat",
    "first epoch for ever": "batches repeat",
    "two steps a batch": "batches repeat",
    "one batch for all chains": "chains share",
    "same data for ever": "batches of .48. data",
}


def some(mistakes, *fast):
    """All of them, those not named as slow tests."""
    return [m if m in fast else pytest.param(m, marks=pytest.mark.slow) for m in mistakes]


@pytest.mark.slow
@pytest.mark.parametrize("mistake", some(MISTAKES, "noise √2 too loud", "learns for ever"))
def test_a_planted_mistake_is_found(mistake):
    with pytest.raises(AssertionError, match=MISTAKES[mistake]):
        check_stochastic_kernel(Langevin(mistake), key=KEY)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", some(MOMENTUM, "momentum never applied", "keeps its momentum"))
def test_a_planted_mistake_of_a_momentum_is_found(mistake):
    with pytest.raises(AssertionError, match=MOMENTUM[mistake]):
        check_stochastic_kernel(Langevin(mistake, 3.0), key=KEY)


@pytest.mark.slow
@pytest.mark.parametrize("friction", [None, pytest.param(3.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "mistake", some(BATCHES, "first epoch for ever", "one batch for all chains")
)
def test_stale_batches_are_found(mistake, friction):
    with pytest.raises(AssertionError, match=BATCHES[mistake]):
        check_fresh_batches(Langevin(mistake, friction, step_size=0.001), key=KEY)


def test_a_kernel_without_a_scale_is_refused():
    with pytest.raises(AssertionError, match="AbstractUnadjusted"):
        check_stochastic_kernel(bx.MALA(), key=KEY)
