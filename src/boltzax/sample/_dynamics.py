"""What the loop runs: an ensemble of chains that is stepped, and read."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..compile import Gibbs
from ._kernel import AbstractKernel


class AbstractDynamics(eqx.Module):
    """An ensemble: how to start it, step it once, and what to keep of it."""

    @abc.abstractmethod
    def init(self, start: PyTree, key: PRNGKeyArray, warmup: int) -> PyTree:
        """The state of the ensemble at the start."""

    @abc.abstractmethod
    def step(
        self, state: PyTree, key: PRNGKeyArray, gain: Float[Array, ""], time: Array, warmup: int
    ) -> PyTree:
        """One step of every chain."""

    @abc.abstractmethod
    def record(self, state: PyTree) -> dict[str, PyTree]:
        """What is kept of a state, by name."""


class Chains(AbstractDynamics):
    """Independent chains at one or many `beta`; leading axes `[*beta, chain]`."""

    gibbs: Gibbs
    kernel: AbstractKernel
    keep: bool = eqx.field(static=True)

    def init(self, start, key, warmup):
        def one(beta, w, key):
            return self.kernel.init(set_beta(self.gibbs, beta), w, key, warmup)

        states = self._over(one, start, key)
        flags = jnp.zeros(self._shape(start))
        return states, (flags, flags.astype(bool))

    def step(self, state, key, gain, time, warmup):
        def one(beta, state, key):
            return self.kernel.step(set_beta(self.gibbs, beta), state, key, gain, warmup)

        states, move = self._over(one, state[0], key)
        return states, (move.acceptance, move.divergent)

    def record(self, state):
        states, (acceptance, divergent) = state

        def one(beta, state, _):
            return read(set_beta(self.gibbs, beta), self.kernel.position(state), self.keep)

        kept = self._over(one, states, None)
        return kept | {"acceptance": acceptance, "divergent": divergent}

    def _shape(self, tree) -> tuple[int, ...]:
        return jax.tree.leaves(tree)[0].shape[: jnp.ndim(self.gibbs.beta) + 1]

    def _over(self, fn, tree, key):
        """`fn(beta, tree, key)` over the axes `[*beta, chain]`, each chain with its own key."""
        return over_chains(fn, self.gibbs.beta, tree, key)


def over_chains(fn, betas: Array, tree: PyTree, key: PRNGKeyArray | None) -> PyTree:
    """Map `fn(beta, tree, key)` over the leading axes `[*beta, chain]` of a tree."""
    shape = jax.tree.leaves(tree)[0].shape[: jnp.ndim(betas) + 1]
    dummy = jnp.zeros(shape)
    keys = dummy if key is None else jax.random.split(key, shape)
    inner = jax.vmap(fn, in_axes=(None, 0, 0))
    return jax.vmap(inner)(betas, tree, keys) if jnp.ndim(betas) else inner(betas, tree, keys)


def set_beta(gibbs: Gibbs, beta: Array) -> Gibbs:
    """The measure at a traced beta (no checks)."""
    return eqx.tree_at(lambda g: g.beta, gibbs, beta)


def read(gibbs: Gibbs, w: PyTree, keep: bool) -> dict[str, PyTree]:
    """Energy, its variance given `w`, log-density; and `w` itself if it is to be kept."""
    moments = gibbs.moments(w)
    kept = {"energy": moments.energy, "energy_variance": moments.energy_variance}
    return kept | {"w": w} if keep else kept
