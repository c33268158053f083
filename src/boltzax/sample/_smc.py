"""Tempered sequential Monte Carlo, forward from the prior or in reverse."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..compile import Gibbs
from ._dynamics import AbstractDynamics, displaced, read, set_beta
from ._kernel import AbstractKernel, Move
from ._kernel_errors import kernel_init, kernel_step
from ._population import resampled

TUNING = 2
"""Steps a level whose only use is to tune the kernel; their places are thrown away."""


class TemperedSMC(AbstractDynamics):
    """Populations carried along a ladder: reweight, resample, move (Del Moral et al. 2006).

    Axes `[chain, particle]`: each chain is an independent run. At every level the particles are
    resampled systematically by `exp(-ΔU)`, the kernel is tuned by the whole population on trial
    steps, and `moves` steps with that fixed tuning follow, so that each leaves the level invariant.
    Resampling keeps siblings next to each other, so that the autocorrelation along the particle
    axis sees the genealogy, and with it the error bar. `gibbs.beta` is the ladder in the order in
    which it is travelled.
    """

    gibbs: Gibbs
    kernel: AbstractKernel
    moves: int = eqx.field(static=True)
    keep: bool = eqx.field(static=True)

    def init(self, start, key, warmup):
        def one(w, key):
            return kernel_init(
                self.kernel, set_beta(self.gibbs, self.gibbs.beta[0]), w, key, warmup
            )

        shape = jax.tree.leaves(start)[0].shape[:2]
        states = jax.vmap(jax.vmap(one))(start, jax.random.split(key, shape))
        zero = jnp.zeros(shape)
        moved = jnp.zeros((*shape, len(start)), bool)
        return states, Move(zero, zero.astype(bool), zero), jnp.zeros((), int), moved

    def step(self, state, key, gain, time, warmup):
        states, before_move, *_ = state
        last = self.gibbs.beta.shape[0] - 1
        level = jnp.minimum(time, last)
        gibbs = set_beta(self.gibbs, self.gibbs.beta[level])
        before = self.gibbs.beta[jnp.maximum(level - 1, 0)]
        key_resample, key_tune, key_move = jax.random.split(key, 3)
        w = jax.vmap(jax.vmap(self.kernel.position))(states)
        work = self._difference(w, before, gibbs.beta)
        chains = work.shape[0]
        w = jax.vmap(resampled)(jax.random.split(key_resample, chains), w, -work)
        states = self._place(gibbs, states, w, jax.random.fold_in(key_move, 1))
        states = self._tuned(gibbs, states, w, key_tune, warmup)
        states, move, moved = self._walk(gibbs, states, key_move, warmup)
        undefined = move.divergent | jnp.isnan(work)
        gradients = before_move.gradients + move.gradients
        return states, Move(move.acceptance, undefined, gradients), level, moved

    def record(self, state, draw):
        states, move, level, moved = state
        betas = self.gibbs.beta
        w = jax.vmap(jax.vmap(self.kernel.position))(states)
        gibbs = set_beta(self.gibbs, betas[level])
        kept = jax.vmap(jax.vmap(lambda w: read(gibbs, w, self.keep)))(w)
        after = betas[jnp.minimum(level + 1, betas.shape[0] - 1)]
        before = betas[jnp.maximum(level - 1, 0)]
        work = {
            "to_next": self._difference(w, betas[level], after),
            "to_last": self._difference(w, betas[level], before),
        }
        return state, kept | move._asdict() | work | {"moved": moved}

    def _difference(self, w, here, there) -> Float[Array, "chain particle"]:
        """`U(w, there) - U(w, here)`."""

        def one(w):
            return self.gibbs.potential_at(w, there) - self.gibbs.potential_at(w, here)

        return jax.vmap(jax.vmap(one))(w)

    def _place(self, gibbs, states, w, key):
        keys = jax.random.split(key, jax.tree.leaves(w)[0].shape[:2])
        put = jax.vmap(jax.vmap(lambda s, w, k: self.kernel.moved(gibbs, s, w, k)))
        return put(states, w, keys)

    def _tuned(self, gibbs, states, w, key, warmup):
        """Tune on trial steps from `w`, pool the tuning over the population, return to `w`."""

        def trial(states, i):
            keys = jax.random.split(jax.random.fold_in(key, i), states_shape)
            gain = 0.5 / (1.0 + i.astype(float))
            moved, _ = jax.vmap(
                jax.vmap(lambda s, k: kernel_step(self.kernel, gibbs, s, k, gain, warmup))
            )(states, keys)
            pooled = jax.tree.map(_pooled, moved)
            return self._place(gibbs, pooled, w, jax.random.fold_in(key, TUNING + i)), None

        states_shape = jax.tree.leaves(w)[0].shape[:2]
        return jax.lax.scan(trial, states, jnp.arange(TUNING))[0]

    def _walk(self, gibbs, states, key, warmup):
        shape = jax.tree.leaves(states)[0].shape[:2]

        def one(states, i):
            keys = jax.random.split(jax.random.fold_in(key, i), shape)

            def advance(state, key):
                new, move = kernel_step(self.kernel, gibbs, state, key, jnp.zeros(()), warmup)
                return new, (
                    move,
                    displaced(self.kernel.position(state), self.kernel.position(new)),
                )

            return jax.vmap(jax.vmap(advance))(states, keys)

        states, (moves, moved) = jax.lax.scan(one, states, jnp.arange(self.moves))
        gradients = jnp.sum(moves.gradients, 0)
        move = Move(jnp.mean(moves.acceptance, 0), jnp.any(moves.divergent, 0), gradients)
        return states, move, jnp.any(moved, 0)


def _pooled(leaf: Array) -> Array:
    """The mean over the population. Flags, counts and keys stay with their particles."""
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf
    return jnp.broadcast_to(jnp.mean(leaf, axis=1, keepdims=True), leaf.shape)
