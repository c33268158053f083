"""Ctrl-C during a run: the current chunk is finished, and the draws so far are kept."""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..core import RunError, Status


class Interrupted(KeyboardInterrupt):
    """A run that Ctrl-C ended, with its draws so far.

    It is a `KeyboardInterrupt`, so that a script stops as usual.

    Args:
        message: A description.
        result: The result so far: a `Trace` of the draws, with `Status.interrupted`.
    """

    def __init__(self, message: str, result: Any):
        super().__init__(message)
        self.result = result


Result = TypeVar("Result")


def raise_for_run(result: Result, status: Status, throw: bool, said: Callable[[], str]) -> Result:
    """The result of a run, if it is successful or `throw` is false.

    Args:
        result: The result, of any kind.
        status: The status of the run.
        throw: Whether to raise for a failed run.
        said: Gives the evidence for the failure, in words.

    Raises:
        RunError: A failed run, with the result.
        Interrupted: One that was interrupted, with the result.
    """
    if throw and status == Status.interrupted:
        raise Interrupted(f"{Status[status]} What was made is in `result`.", result)
    if throw and status != Status.successful:
        more = "(`throw=False` returns the result as it is, the error's `result`.)"
        raise RunError(f"{Status[status]}\n{said()} {more}", result)
    return result


@dataclasses.dataclass
class Listener:
    """Whether Ctrl-C was pressed."""

    asked: bool = False


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    """Note the first Ctrl-C instead of raising; a second one raises `KeyboardInterrupt` at once.

    Only in the main thread, and only where Python's own handler is in place: another one, of the
    caller, stays.
    """
    listener = Listener()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield listener
        return

    def note(number: int, frame: Any) -> None:
        if listener.asked:
            raise KeyboardInterrupt
        listener.asked = True

    signal.signal(signal.SIGINT, note)
    try:
        yield listener
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
