"""The three methods of a dynamics, with their errors and wrong results named."""

import contextlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..core import DeclarationError, errors_named
from ._dynamics import AbstractDynamics


def started(dynamics: AbstractDynamics, start: PyTree, key: PRNGKeyArray, warmup: int) -> PyTree:
    """`dynamics.init(...)`.

    Raises:
        DeclarationError: In place of an error that it raises, and for a state that does not hold
            arrays only.
    """
    with _named(dynamics, "init(start, key, warmup)"):
        state = dynamics.init(start, key, warmup)
    _check_arrays("init", state, "a state: arrays in any pytree")
    return state


def stepped(
    dynamics: AbstractDynamics,
    state: PyTree,
    key: PRNGKeyArray,
    gain: Array,
    time: Array,
    warmup: int,
) -> PyTree:
    """`dynamics.step(...)`.

    Raises:
        DeclarationError: In place of an error that it raises, and for a state of another kind.
    """
    with _named(dynamics, "step(state, key, gain, time, warmup)"):
        after = dynamics.step(state, key, gain, time, warmup)
    _check_kinds("step", state, after)
    return after


def recorded(dynamics: AbstractDynamics, state: PyTree, draw: Array) -> tuple[PyTree, dict]:
    """`dynamics.record(...)`.

    Raises:
        DeclarationError: In place of an error that it raises, and for anything but a state of the
            same kind and a dictionary of arrays.
    """
    with _named(dynamics, "record(state, draw)"):
        pair = dynamics.record(state, draw)
    expected = "a pair: the state, and a dictionary of records, whose names are text"
    if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[1], dict):
        raise _wrong("record", _words(pair), expected, 'return state, {"place": state}')
    if others := [name for name in pair[1] if not isinstance(name, str)]:
        raise _wrong("record", f"records with the name {others[0]!r}", expected, "rename it")
    _check_kinds("record", state, pair[0])
    _check_arrays("record", pair[1], "records that are arrays, or pytrees of arrays")
    return pair


def check_streamed(dynamics: AbstractDynamics, records: dict[str, PyTree]) -> None:
    """Raise unless all names that the dynamics streams are records.

    Raises:
        DeclarationError: For a name of `streamed` that is neither a record nor `optional`.
    """
    unknown = set(dynamics.streamed or ()) - set(records) - set(dynamics.optional)
    if unknown:
        raise DeclarationError(
            "dynamics.streamed",
            got=f"{sorted(unknown)}, which `record` does not give",
            expected=f"names among {sorted(records)}",
            mend="correct the names, leave `streamed` out to stream all records, or list those "
            "that only some runs make in `optional` too",
        )


def kinds(tree: PyTree) -> tuple:
    """Structure, shapes and dtypes."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def _check_kinds(method: str, before: PyTree, after: PyTree) -> None:
    """Raise unless a method keeps structure, shapes and dtypes of the state."""
    expected = "the structure, shapes and dtypes of the state that it is given"
    if jax.tree.structure(before) != jax.tree.structure(after):
        mend = f"return a state like {_words(before)}"
        raise _wrong(method, _words(after), expected, mend)
    _check_arrays(method, after, expected)
    leaves = jax.tree_util.tree_leaves_with_path(before)
    for (path, old), new in zip(leaves, jax.tree.leaves(after), strict=True):
        # jax gives a weakly typed number of the start the dtype that the steps give it
        weak = not isinstance(old, jax.Array) or old.weak_type
        same = jnp.result_type(old) == jnp.result_type(new) or weak
        if jnp.shape(old) != jnp.shape(new) or not same:
            place = f"state{jax.tree_util.keystr(path)}"
            raise _wrong(
                method,
                f"{_words(new)} as {place}, which was {_words(old)}",
                expected,
                "begin with a state of the shapes and dtypes that steps give (floats, not "
                "integers: jnp.zeros(3)), or cast with `.astype`",
            )


def _check_arrays(method: str, tree: PyTree, expected: str) -> None:
    """Raise unless all leaves are arrays or numbers."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not eqx.is_array_like(leaf):
            at = jax.tree_util.keystr(path)
            got = f"{_words(leaf)} at {at}" if at else _words(leaf)
            mend = "put what is no array in a static field of the dynamics"
            raise _wrong(method, got, expected, mend)


def _wrong(method: str, got: str, expected: str, mend: str) -> DeclarationError:
    return DeclarationError(
        f"dynamics.{method}", got=f"one that returns {got}", expected=expected, mend=mend
    )


def _words(tree: Any) -> str:
    """A pytree in words, dtypes and shapes in place of numbers."""
    said = " ".join(eqx.tree_pformat(tree).split())
    return said if len(said) <= 200 else f"{said[:200]}..."


def _named(dynamics: AbstractDynamics, call: str) -> contextlib.AbstractContextManager[None]:
    method, _ = call.split("(")
    return errors_named(
        f"dynamics.{method}",
        expected=f"a method `{call}` of {type(dynamics).__name__} that jax can compile",
        mend="call it under jax.jit on a start, or on the state from `init`, first; its arguments "
        "are traced arrays",
    )
