"""Replica exchange: one chain a level of the ladder, with swaps of neighbours."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..compile import Gibbs
from ._dynamics import AbstractGibbsDynamics, displaced, over_chains, read, set_beta
from ._kernel import AbstractKernel, Move, choose
from ._kernel_errors import kernel_init, kernel_step


class ReplicaStates(NamedTuple):
    """What is kept of every replica: states of the kernel, its last move, swaps and places."""

    kernel: PyTree
    move: Move
    flow: dict[str, Array]


class ReplicaExchange(AbstractGibbsDynamics):
    """Chains at the levels `gibbs.beta` (rising), axes `[level, chain]`; neighbours swap places.

    A swap of levels k and k+1 is accepted with probability `min(1, exp(-ΔU_up - ΔU_down))`
    (Swendsen & Wang 1986; Hukushima & Nemoto 1996), even and odd pairs in turn. In the first tenth
    of the warm-up every second chain runs at the coldest level everywhere: half of the chains then
    start cold and half hot, so that a ladder that has not equilibrated shows as a disagreement of
    chains.
    """

    pairs: ClassVar[tuple[str, ...]] = ("swap", "up", "down")

    gibbs: Gibbs
    kernel: AbstractKernel
    keep: bool = eqx.field(static=True)

    def init(self, start, key, warmup):
        levels, chains = jax.tree.leaves(start)[0].shape[:2]

        def one(beta, w, key):
            return kernel_init(self.kernel, set_beta(self.gibbs, beta), w, key, warmup)

        betas = self._betas(jnp.asarray(0), warmup, chains)
        states = jax.vmap(jax.vmap(one))(betas, start, jax.random.split(key, (levels, chains)))
        who = jnp.broadcast_to(jnp.arange(levels)[:, None], (levels, chains))
        zero = jnp.zeros((levels, chains))
        flow = {
            "who": who,
            "swap": jnp.zeros((levels - 1, chains)),
            "up": jnp.zeros((levels - 1, chains)),
            "down": jnp.zeros((levels - 1, chains)),
            "moved": jnp.zeros((levels, chains, len(start)), bool),
        }
        return ReplicaStates(states, Move(zero, zero.astype(bool), zero), flow)

    def step(self, state, key, gain, time, warmup):
        states, last, flow = state
        key_move, key_swap = jax.random.split(key)
        levels, chains = flow["who"].shape
        betas = self._betas(time, warmup, chains)
        # kernels keep the density at the place, which is another one when the quench ends
        states = jax.lax.cond(
            (time > 0) & (time == warmup // 10),
            lambda: self._moved(betas, states, self._places(states), jax.random.fold_in(key, 1)),
            lambda: states,
        )

        def one(beta, state, key):
            gibbs = set_beta(self.gibbs, beta)
            new, move = kernel_step(self.kernel, gibbs, state, key, gain, warmup)
            return new, move, displaced(self.kernel.position(state), self.kernel.position(new))

        keys = jax.random.split(key_move, (levels, chains))
        states, move, moved = jax.vmap(jax.vmap(one))(betas, states, keys)
        move = move._replace(gradients=last.gradients + move.gradients)
        # a swap brings no new place: only the kernel's own moves count
        moved |= flow["moved"] & (time != warmup)
        states, flow = self._swap(betas, states, flow, key_swap, time)
        return ReplicaStates(states, move, flow | {"moved": moved})

    def record(self, state, draw):
        states, move, flow = state

        def one(beta, state, _):
            gibbs, w = set_beta(self.gibbs, beta), self.kernel.position(state)
            return read(gibbs, w, self.keep) | {"log_prior": gibbs.log_prior(w)}

        kept = over_chains(one, self.gibbs.beta, states, None)
        again = flow | {"moved": jnp.zeros_like(flow["moved"])}
        return ReplicaStates(states, move, again), kept | move._asdict() | flow

    def _betas(self, time, warmup, chains) -> Float[Array, "level chain"]:
        """The beta of every chain at a step: in the quench, of every second chain the coldest."""
        quench = (time < warmup // 10) & (jnp.arange(chains) % 2 == 1)
        return jnp.where(quench[None, :], self.gibbs.beta[-1], self.gibbs.beta[:, None])

    def _places(self, states):
        return jax.vmap(jax.vmap(self.kernel.position))(states)

    def _swap(self, now, states, flow, key, time):
        """Neighbours change places by the law of their levels; `now` are the betas of the step."""
        betas = self.gibbs.beta
        w = self._places(states)
        # one program for the three potentials: here, one level colder, one level hotter
        places = jax.tree.map(lambda x: jnp.concatenate([x, x[:-1], x[1:]]), w)
        value = self._potential(places, jnp.concatenate([betas, betas[1:], betas[:-1]]))
        levels = betas.shape[0]
        own, colder, hotter = jnp.split(value, [levels, 2 * levels - 1])
        up, down = colder - own[:-1], own[1:] - hotter
        log_ratio = down - up
        probability = jnp.where(jnp.isnan(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))
        pairs, chains = log_ratio.shape
        turn = (jnp.arange(pairs) % 2 == time % 2)[:, None]
        drawn = jax.random.uniform(key, log_ratio.shape)
        accept = turn & (drawn < probability)
        index = jnp.broadcast_to(jnp.arange(pairs + 1)[:, None], (pairs + 1, chains))
        swaps = accept.astype(index.dtype)
        source = index.at[:-1].add(swaps).at[1:].add(-swaps)
        exchanged = jax.tree.map(
            lambda leaf: jnp.take_along_axis(leaf, _expand(source, leaf), axis=0), w
        )
        moved = self._moved(now, states, exchanged, jax.random.fold_in(key, 1))
        swapped = source != index
        states = jax.vmap(jax.vmap(choose))(swapped, moved, states)
        who = jnp.take_along_axis(flow["who"], source, axis=0)
        return states, {"who": who, "swap": probability, "up": up, "down": down}

    def _potential(self, w, betas) -> Float[Array, "level chain"]:
        def one(beta, w, _):
            return self.gibbs.potential_at(w, beta)

        return over_chains(one, betas, w, None)

    def _moved(self, betas, states, w, key):
        def one(beta, state, w, key):
            return self.kernel.moved(set_beta(self.gibbs, beta), state, w, key)

        return jax.vmap(jax.vmap(one))(betas, states, w, jax.random.split(key, betas.shape))


def _expand(index: Array, leaf: Array) -> Array:
    return index.reshape(index.shape + (1,) * (leaf.ndim - 2))
