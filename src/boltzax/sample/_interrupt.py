"""Ctrl-C during a run: the chunk under way is finished, and what was drawn is kept."""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A run that Ctrl-C ended, with what it had drawn.

    It is a `KeyboardInterrupt`, so that a script stops as it does without us.

    Args:
        message: What happened, in words.
        result: What the run had made: the `Trace` of its draws, with `Status.interrupted`.
    """

    def __init__(self, message: str, result: Any):
        super().__init__(message)
        self.result = result


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
