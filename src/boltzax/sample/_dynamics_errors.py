"""The three methods of a dynamics, with their errors named."""

import contextlib

from jaxtyping import Array, PRNGKeyArray, PyTree

from ..core import errors_named
from ._dynamics import AbstractDynamics


def started(dynamics: AbstractDynamics, start: PyTree, key: PRNGKeyArray, warmup: int) -> PyTree:
    """`dynamics.init(...)`.

    Raises:
        DeclarationError: In place of an error that it raises.
    """
    with _named(dynamics, "init(start, key, warmup)"):
        return dynamics.init(start, key, warmup)


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
        DeclarationError: In place of an error that it raises.
    """
    with _named(dynamics, "step(state, key, gain, time, warmup)"):
        return dynamics.step(state, key, gain, time, warmup)


def recorded(dynamics: AbstractDynamics, state: PyTree, draw: Array) -> tuple[PyTree, dict]:
    """`dynamics.record(...)`.

    Raises:
        DeclarationError: In place of an error that it raises.
    """
    with _named(dynamics, "record(state, draw)"):
        return dynamics.record(state, draw)


def _named(dynamics: AbstractDynamics, call: str) -> contextlib.AbstractContextManager[None]:
    method, _ = call.split("(")
    return errors_named(
        f"dynamics.{method}",
        expected=f"a method `{call}` of {type(dynamics).__name__} that jax can compile",
        mend="call it under jax.jit on a start, or on the state from `init`, first; its arguments "
        "are traced arrays",
    )
