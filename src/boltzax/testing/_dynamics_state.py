"""What a dynamics may do to its state."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from boltzax.core import DeclarationError
from boltzax.sample import AbstractDynamics, recorded, started, stepped

STEPS = 6
"""Steps after which the states with and without a record are compared."""


def check_kinds(dynamics: AbstractDynamics, start: PyTree, key: Array, warmup: int) -> PyTree:
    """The kinds of a record; raises unless all methods keep the kinds of the state."""
    zero, gain = jnp.zeros((), int), jnp.zeros(())
    try:
        first = eqx.filter_eval_shape(
            lambda d, s, k: started(d, s, k, warmup), dynamics, start, key
        )
        after = eqx.filter_eval_shape(
            lambda d, s, k: stepped(d, s, k, gain, zero, warmup), dynamics, first, key
        )
        pair = eqx.filter_eval_shape(lambda d, s: recorded(d, s, zero), dynamics, first)
    except DeclarationError as error:
        raise AssertionError(str(error)) from error
    right = isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], dict)
    assert right, f"`record` gives {pair}, not the state and a dictionary of records"
    for name, other in (("step", after), ("record", pair[0])):
        assert kinds(other) == kinds(first), (
            f"`{name}` changes the structure, a shape or a dtype of the state: {other} instead of "
            f"{first}"
        )
    return pair[1]


def check_unmoved(dynamics: AbstractDynamics, start: PyTree, key: Array, warmup: int) -> None:
    """Raise unless `record` leaves to the steps what is theirs."""

    @eqx.filter_jit
    def begin(dynamics, start, key):
        return started(dynamics, start, key, warmup)

    @eqx.filter_jit
    def step(dynamics, state, key, time: Array):
        key_step = jax.random.fold_in(key, time)
        return stepped(dynamics, state, key_step, jnp.zeros(()), time, warmup)

    @eqx.filter_jit
    def record(dynamics, state):
        return recorded(dynamics, state, jnp.zeros((), int))[0]

    def walked(state, first: int):
        for time in range(first, first + STEPS):
            state = step(dynamics, state, key, jnp.asarray(time))
        return state

    before = walked(begin(dynamics, start, key), 0)
    after = record(dynamics, before)
    ahead = walked(before, STEPS)
    again = record(dynamics, jax.tree.map(_another, before))
    held = jax.tree.map(lambda old, new: old if is_key(old) else new, before, after)
    other = walked(held, STEPS)
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


def kinds(tree: PyTree) -> tuple:
    """Structure, shapes and dtypes."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]
