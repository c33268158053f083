"""What results have in common: a text that needs their numbers, and a status that is raised."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
from jaxtyping import Array

from ._status import RunError, Status
from ._tracing import known

Result = TypeVar("Result")


def text_of_values(text: Callable[[Any], str]) -> Callable[[Any], str]:
    """Decorator of a `__repr__` that reads numbers.

    A result without numbers (traced, or with other leaves in the place of its arrays) is written
    by the name of its class alone.
    """

    @functools.wraps(text)
    def written(self: Any) -> str:
        arrays = any(eqx.is_array(leaf) for leaf in jax.tree.leaves(self))
        return text(self) if arrays and known(self) else f"{type(self).__name__}(...)"

    return written


def checked(result: Result, status: Array | Status, throw: bool, mend: str = "") -> Result:
    """The result of a run that was successful, or that the caller wants to look at anyway.

    Args:
        result: What the run gives.
        status: Its `Status`; one that is traced is not looked at.
        throw: Whether to raise.
        mend: The likely cure.

    Raises:
        RunError: With `throw`, where the status is another one.
    """
    if throw and known(status) and not bool(status == Status.successful):
        told = f"`throw=False` returns this result{mend and '; '}{mend}"
        raise RunError(f"{Status[status]}\n{result!r}\n({told}.)")
    return result
