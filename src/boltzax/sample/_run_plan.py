"""The plan of a run, and the interfaces of its sinks and checkpoints."""

import abc
import contextlib
import dataclasses
import math
from collections.abc import Callable

from jaxtyping import PRNGKeyArray, PyTree

from ..core import described
from ._dynamics import AbstractDynamics


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan of a run: everything that its draws depend on, and the number of draws.

    `rows` is the number of records of a chunk; the draws do not depend on it.
    """

    dynamics: AbstractDynamics
    start: PyTree
    key: PRNGKeyArray
    warmup: int
    thin: int
    rows: int
    draws: int
    sink: "AbstractSink | None" = None

    @property
    def warm_rows(self) -> int:
        """Rows of the warm-up, in whole chunks, so that one program serves for both.

        Its steps are exactly `warmup`: the first rows are empty, or begin inside a row.
        """
        return self.rows * math.ceil(math.ceil(self.warmup / self.thin) / self.rows)


@described("a sink", "pass bx.ZarrSink(path)")
class AbstractSink(abc.ABC):
    """A store to which records are written during the run, instead of memory."""

    memory: int
    """Bytes of records that a chunk may have, at most."""

    @abc.abstractmethod
    def begin(self, plan: Plan, done: int) -> Callable[[int, PyTree], PyTree]:
        """A function `write(first, records)` for a run of which `done` draws are there already.

        It takes the records of draws `first, first + 1, ...` and gives back those to keep. Leaves
        have the axes `[draw, ...]` (`[draw, *beta, chain, ...]` for chains of a Gibbs measure);
        chunks are whole, so the last can go past `plan.draws`. After a resumed run the same draws
        can come again: they are the same to the last bit. Every process calls it, with the records
        of all.
        """

    @abc.abstractmethod
    def part(self, name: str) -> "AbstractSink":
        """The sink or checkpoints of one of several runs, in a place of its own."""


class AbstractSaver(abc.ABC):
    """A run in progress: the state that it resumes from, and how it is saved."""

    plan: Plan
    """The plan, with the `rows` of the run that is resumed."""
    resumed: tuple[int, PyTree, list[PyTree]] | None
    """Rows done, state, and kept records (a list of chunks) of the last good checkpoint."""

    @abc.abstractmethod
    def save(self, rows: int, state: PyTree, record: PyTree | None) -> None:
        """Save the state after `rows` rows, and the records kept since the last call."""


@described("checkpoints", "pass bx.Checkpoints(folder)")
class AbstractCheckpoints(abc.ABC):
    """Where a run is saved, and resumed from."""

    @abc.abstractmethod
    def open(self, plan: Plan, state: PyTree) -> contextlib.AbstractContextManager[AbstractSaver]:
        """The saver of a run; `state` is the one it starts with."""

    @abc.abstractmethod
    def part(self, name: str) -> "AbstractCheckpoints":
        """The sink or checkpoints of one of several runs, in a place of its own."""
