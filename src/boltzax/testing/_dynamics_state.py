"""What a dynamics may do to its state."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from boltzax.core import DeclarationError
from boltzax.sample import AbstractDynamics, check_streamed, recorded, started, stepped

STEPS = 6
"""Steps after which the states with and without a record are compared."""


def check_kinds(dynamics: AbstractDynamics, start: PyTree, key: Array, warmup: int) -> PyTree:
    """The kinds of a record; raises unless all methods keep the kinds of the state."""
    zero, gain = jnp.zeros((), int), jnp.zeros(())

    def record(dynamics, start, key):
        begun = started(dynamics, start, key, warmup)
        state = jax.tree.map(_strong, begun)
        stepped(dynamics, state, key, gain, zero, warmup)
        return recorded(dynamics, state, zero)[1]

    try:
        records = eqx.filter_eval_shape(record, dynamics, start, key)
        check_streamed(dynamics, records)
    except DeclarationError as error:
        raise AssertionError(str(error)) from error
    return records


def check_unmoved(
    dynamics: AbstractDynamics, start: PyTree, key: Array, warmup: int, draws: int
) -> None:
    """Raise unless `record` leaves to the steps what is theirs, at each of the draws."""

    @eqx.filter_jit
    def begin(dynamics, start, key):
        return started(dynamics, start, key, warmup)

    @eqx.filter_jit
    def step(dynamics, state, key, time: Array):
        key_step = jax.random.fold_in(key, time)
        return stepped(dynamics, state, key_step, jnp.zeros(()), time, warmup)

    @eqx.filter_jit
    def record(dynamics, state, draw: Array):
        return recorded(dynamics, state, draw)[0]

    def walked(state, first: int):
        for time in range(first, first + STEPS):
            state = step(dynamics, state, key, jnp.asarray(time))
        return state

    before = walked(begin(dynamics, start, key), 0)
    ahead = walked(before, STEPS)
    changed = jax.tree.map(_another, before)
    for draw in map(jnp.asarray, range(draws)):
        after = record(dynamics, before, draw)
        pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
        if all(is_key(old) or _equal(old, new) for old, new in pairs):
            continue
        again = record(dynamics, changed, draw)
        held = jax.tree.map(lambda old, new: old if is_key(old) else new, before, after)
        _check_moves(before, after, ahead, again, walked(held, STEPS))


def _check_moves(
    before: PyTree, after: PyTree, ahead: PyTree, again: PyTree, other: PyTree
) -> None:
    """Raise for what a record moves though steps move it, or what steps move otherwise after it.

    Args:
        before: The state.
        after: The state after a record.
        ahead: The state after steps.
        again: Another state, after a record.
        other: The state after a record and steps.
    """
    leaves, structure = jax.tree.flatten_with_path(before)
    rest = map(structure.flatten_up_to, (after, ahead, again, other))
    for (path, old), new, later, reset, beside in zip(leaves, *rest, strict=True):
        if is_key(old):
            continue
        name = jax.tree_util.keystr(path) or "the state"
        if _equal(old, new):
            assert _equal(later, beside), f"steps after a `record` move {name} otherwise"
        else:
            counted = _equal(old, later) or _equal(new, reset)
            assert counted, f"`record` moves {name}, which the steps move"


def _strong(leaf):
    """Not of weak type, as the states of a run are."""
    return leaf if is_key(leaf) else jax.lax.convert_element_type(leaf, jnp.result_type(leaf))


def _another(leaf: Array) -> Array:
    """Another value of the same kind."""
    if is_key(leaf):
        return leaf
    if leaf.dtype == bool:
        return ~leaf
    return leaf + jnp.ones((), leaf.dtype)


def _equal(a: Array, b: Array) -> bool:
    return bool(jnp.array_equal(a, b))


def is_key(leaf) -> bool:
    """Whether it is an array of random keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
