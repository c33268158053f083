"""Dynamics: what the loop starts, steps and records."""

import abc
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from ..compile import Gibbs, Weights
from ..core import ModelFunction
from ._kernel import AbstractKernel, Move
from ._kernel_errors import kernel_init, kernel_step
from ._reductions import AbstractReduction, whole_model


class AbstractDynamics(eqx.Module):
    """A dynamics for `bx.run`: how to start, how to step once, and what to record.

    All three methods are compiled. Numbers and arrays are fields, so that new ones compile nothing;
    choices are static fields. A state is a pytree of arrays of fixed shapes.

    `streamed` names the records that a sink takes out of memory; all, if it is None. Those among
    them that only some runs make are in `optional` too.
    """

    streamed: ClassVar[tuple[str, ...] | None] = None
    optional: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def init(self, start: PyTree, key: PRNGKeyArray, warmup: int) -> PyTree:
        """The state at the start, of a run with `warmup` steps of warm-up."""

    @abc.abstractmethod
    def step(
        self, state: PyTree, key: PRNGKeyArray, gain: Float[Array, ""], time: Array, warmup: int
    ) -> PyTree:
        """One step.

        Args:
            state: The state from `init` or from the last step.
            key: The key of this step.
            gain: How much to tune: positive and falling in the first nine tenths of the warm-up,
                then 0.
            time: The number of the step, from 0 on; the first after the warm-up is `warmup`.
            warmup: Steps of warm-up.
        """

    @abc.abstractmethod
    def record(self, state: PyTree, draw: Array) -> tuple[PyTree, dict[str, PyTree]]:
        """The state with its running sums updated, and the record of it by name.

        `draw` numbers the records from 0 on. The warm-up makes no records.
        """


class AbstractGibbsDynamics(AbstractDynamics):
    """Chains of one Gibbs measure at the betas of `gibbs`, recorded with axes `[*beta, chain]`.

    `pairs` names the records that belong to pairs of neighbouring betas instead.
    """

    gibbs: eqx.AbstractVar[Gibbs]
    pairs: eqx.AbstractClassVar[tuple[str, ...]]
    streamed: ClassVar[tuple[str, ...] | None] = ("w",)
    optional: ClassVar[tuple[str, ...]] = ("w",)


class ChainStates(NamedTuple):
    """What `Chains` keeps of every chain; leading axes `[*beta, chain]`."""

    kernel: PyTree
    move: Move
    sums: dict[str, PyTree]
    moved: Bool[Array, "*beta chain leaf"]


class Chains(AbstractGibbsDynamics):
    """Independent chains at one or many `beta`; leading axes `[*beta, chain]`.

    With an `energy_key` the recorded energies are estimates (from minibatches, if the measure is
    `Subsampled`), each with a key of its own draw and chain; `energy_noise` is recorded with them.
    `values` is a function of the model that is recorded at each draw.
    """

    pairs: ClassVar[tuple[str, ...]] = ()

    gibbs: Gibbs
    kernel: AbstractKernel
    keep: bool = eqx.field(static=True)
    reduce: dict[str, AbstractReduction] = eqx.field(default_factory=dict)
    energy_key: PRNGKeyArray | None = None
    values: ModelFunction | None = None

    def init(self, start, key, warmup):
        def one(beta, w, key):
            gibbs = set_beta(self.gibbs, beta)
            state = kernel_init(self.kernel, gibbs, w, key, warmup)
            return state, {name: each.init(gibbs, w) for name, each in self.reduce.items()}

        states, sums = self._over(one, start, key)
        zeros = jnp.zeros(self._shape(start))
        moved = jnp.zeros((*zeros.shape, len(start)), bool)
        return ChainStates(states, Move(zeros, zeros.astype(bool), zeros), sums, moved)

    def step(self, state, key, gain, time, warmup):
        def one(beta, before, key):
            states, gradients, moved = before
            gibbs = set_beta(self.gibbs, beta)
            new, move = kernel_step(self.kernel, gibbs, states, key, gain, warmup)
            moved |= displaced(self.kernel.position(states), self.kernel.position(new))
            return new, move._replace(gradients=gradients + move.gradients), moved

        states, moves, sums, moved = state
        moved &= time != warmup  # what moved in the warm-up is no draw's
        states, moves, moved = self._over(one, (states, moves.gradients, moved), key)
        return ChainStates(states, moves, sums, moved)

    def record(self, state, draw):
        def one(beta, pair, key):
            state, sums = pair
            gibbs = set_beta(self.gibbs, beta)
            w = self.kernel.position(state)
            sums = {n: each.update(sums[n], gibbs, w, draw) for n, each in self.reduce.items()}
            if self.energy_key is None:
                kept = read(gibbs, w, self.keep)
            else:
                kept = read_estimate(gibbs, w, self.keep, key)
            if self.values is not None:
                kept = kept | {"values": self.values(whole_model(gibbs, w, draw))}
            return sums, kept | {"log_prior": gibbs.log_prior(w)}

        states, moves, sums, moved = state
        key = None if self.energy_key is None else jax.random.fold_in(self.energy_key, draw)
        sums, kept = self._over(one, (states, sums), key)
        kept = kept | moves._asdict() | {"moved": moved}
        return ChainStates(states, moves, sums, jnp.zeros_like(moved)), kept

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


def displaced(before: Weights, after: Weights) -> Bool[Array, " leaf"]:
    """Which leaves a step changed, in any entry; in the order of their sorted paths."""
    return jnp.stack([jnp.any(before[path] != after[path]) for path in sorted(before)])


def set_beta(gibbs: Gibbs, beta: Array) -> Gibbs:
    """The measure at a traced beta (no checks)."""
    return eqx.tree_at(lambda g: g.beta, gibbs, beta)


def read(gibbs: Gibbs, w: PyTree, keep: bool) -> dict[str, PyTree]:
    """Energy, its variance given `w`, log-density; and `w` itself if it is to be kept."""
    moments = gibbs.moments(w)
    kept = {"energy": moments.energy, "energy_variance": moments.energy_variance}
    return kept | {"w": w} if keep else kept


def read_estimate(gibbs: Gibbs, w: PyTree, keep: bool, key: PRNGKeyArray) -> dict[str, PyTree]:
    """The same for a plain energy, estimated: the mean of two independent estimates.

    `energy_noise`, a quarter of their squared difference, is an unbiased estimate of the variance
    of that mean given `w`.
    """
    first, second = (gibbs.energy_estimate(w, each) for each in jax.random.split(key))
    energy = 0.5 * (first + second)
    kept = {
        "energy": energy,
        "energy_variance": jnp.zeros_like(energy),
        "energy_noise": 0.25 * (first - second) ** 2,
    }
    return kept | {"w": w} if keep else kept
