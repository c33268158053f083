"""Several dynamics of one kind in one compiled loop."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..core import MEMORY, map_within
from ._dynamics import AbstractDynamics


class Several(AbstractDynamics):
    """Dynamics that differ in some arrays; states and records have a leading axis over them.

    As many are stepped at once as `memory` allows, the others after them.

    Attributes:
        each: The arrays that differ, with the leading axis, in the structure of one dynamics.
        shared: The rest of the dynamics.
        memory: Bytes of intermediate values at once.
    """

    each: PyTree
    shared: PyTree
    memory: int = eqx.field(static=True)

    def init(self, start, key, warmup):
        return self._over(lambda one, start, key: one.init(start, key, warmup), start, key)

    def step(self, state, key, gain, time, warmup):
        return self._over(lambda one, s, key: one.step(s, key, gain, time, warmup), state, key)

    def record(self, state, draw):
        return self._over(lambda one, state, _: one.record(state, draw), state, None)

    def _over(self, fn, tree: PyTree, key) -> Any:
        """`fn(dynamics, tree, key)` of each, with a key of its own."""
        count = jax.tree.leaves(tree)[0].shape[0]
        keys = jnp.zeros(count) if key is None else jax.random.split(key, count)

        def one(parts):
            each, tree, key = parts
            return fn(eqx.combine(each, self.shared), tree, key)

        parts = (self.each, tree, keys)
        if count == 1:
            # an axis of one more makes the steps of a large net a fifth slower
            alone = one(jax.tree.map(lambda leaf: leaf[0], parts))
            return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], alone)
        return map_within(one, parts, self.memory)


def several(dynamics: Sequence[AbstractDynamics], memory: int = MEMORY) -> Several:
    """Dynamics of one structure side by side; arrays that are the same object are held once."""
    trees = [eqx.partition(one, eqx.is_array) for one in dynamics]
    columns = zip(*(jax.tree.leaves(arrays) for arrays, _ in trees), strict=True)
    stacked = [
        None if all(leaf is leaves[0] for leaf in leaves) else jnp.stack(leaves)
        for leaves in columns
    ]
    first, rest = trees[0]
    structure = jax.tree.structure(first)
    each = jax.tree.unflatten(structure, stacked)
    same = [
        leaf if other is None else None
        for leaf, other in zip(jax.tree.leaves(first), stacked, strict=True)
    ]
    return Several(each, eqx.combine(jax.tree.unflatten(structure, same), rest), memory)
