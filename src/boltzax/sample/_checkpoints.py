"""Checkpoints of a run on orbax, from which it is resumed bit by bit.

    folder/lock                        who is running
           records/FROM-TO-SHA256.npz  records of rows FROM to TO, each written once, kept for ever
           states/ROWS/state           the ensemble after ROWS rows (orbax)
                      /declaration.json
                      /manifest.json   rows, sha256 of all files, and of the records up to here

A checkpoint is there when its folder has its name: everything is written aside, synced and renamed.
The only importer of orbax. Its quirks: it refuses arrays of size 0, and knows typed random keys in
some versions only, so the state goes to it as a flat dictionary of arrays, keys as their bits.
"""

import contextlib
import dataclasses
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree

from ..core import Count, DeclarationError, RunError, installed, typed
from ._checkpoint_folder import Archive, linked, seal
from ._fingerprint import Fingerprint, differences, fingerprint
from ._run_plan import AbstractCheckpoints, AbstractSaver, Plan
from ._safe_files import (
    aside,
    disk_full,
    locked,
    publish,
    read_tree,
    remove,
    sha256,
    sweep,
    write_tree,
)

SHARE = 0.1
"""Most of a run's time that checkpoints take, where their number is not given."""


@typed
@dataclasses.dataclass(frozen=True)
class Checkpoints(AbstractCheckpoints):
    """Save a run in a folder, and resume it from there.

    If a run was killed, running the same line again resumes it from its last checkpoint. It gives
    the draws of an uninterrupted run, to the last bit. With more `draws` it is extended.

    Args:
        folder: One folder for each run. Several processes of one run share it.
        every: Chunks (twentieths of a run) from one checkpoint to the next. If None, the first, the
            last, and each at which saving has taken at most a tenth of the time so far.
        keep: States that are kept. Records are written once and all kept.
        fallback: If the last checkpoint is damaged, resume from the last intact one.

    Raises:
        DeclarationError: If the folder holds a run of another declaration (it names the
            differences), or is in use.
        RunError: If files are damaged or cannot be written. A change of versions or devices gives
            a warning: the draws are then the same up to rounding.
    """

    folder: str | Path
    every: Count | None = None
    keep: Count = 2
    fallback: bool = False

    def part(self, name: str) -> "Checkpoints":
        """Checkpoints in a folder of this folder, for one run of several."""
        return dataclasses.replace(self, folder=Path(self.folder) / name)

    @contextlib.contextmanager
    def open(self, plan: Plan, state: PyTree) -> Iterator["Saver"]:
        """The saver of a run; the folder is locked until it is done."""
        _orbax()
        folder = Path(self.folder).absolute()
        with contextlib.ExitStack() as stack:

            def begin():
                _made(folder)
                stack.enter_context(locked(folder))
                for name in ("records", "states"):
                    sweep(folder / name)

            _on_first(begin)
            saver = _saver(self, folder, plan, state)
            yield saver
            saver.finish()


def _made(folder: Path) -> None:
    """Make the folders of a run; check that they can be written and hold no other files."""
    try:
        for name in ("records", "states"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder / name):
                pass
    except OSError as error:
        raise DeclarationError(
            "checkpoints",
            got=f"{folder}: {error.strerror or error}",
            expected="a folder that can be made and written",
            mend="give another folder",
        ) from error
    if foreign := Archive(folder).foreign():
        raise DeclarationError(
            "checkpoints",
            got=f"{folder}, with files of something else: {', '.join(foreign[:5])}",
            expected="a folder of its own",
            mend="give another folder, or take them away",
        )


def _saver(given: Checkpoints, folder: Path, plan: Plan, state: PyTree) -> "Saver":
    found = fingerprint(plan)
    archive = Archive(folder)
    _on_first(lambda: archive.mend(given.fallback))
    steps = archive.steps()
    if not steps:
        return Saver(given, archive, plan, found, None)
    rows = steps[-1]
    saved = json.loads((archive.state(rows) / "declaration.json").read_text())
    # a chunk's length follows from `draws`; a run that is extended keeps that of its beginning
    plan = dataclasses.replace(plan, rows=saved["rows"])
    found = found | {"rows": saved["rows"]}
    _compare(folder, saved, found)
    reached = rows - plan.warm_rows
    if reached - plan.rows >= plan.draws:
        raise DeclarationError(
            "draws",
            got=f"{plan.draws}, of a run that has reached {reached}",
            expected="at least as many draws as were made",
            mend=f"pass draws={reached} or more, and slice the trace",
        )
    return Saver(given, archive, plan, found, (rows, _read_state(archive, rows, state), _read(
        archive, rows)))  # fmt: skip


def _compare(folder: Path, saved: Fingerprint, found: Fingerprint) -> None:
    lines, soft = differences(saved, found)
    if lines:
        more = [f"and {len(lines) - 8} more"] if len(lines) > 8 else []
        versions = [f"(also: {'; '.join(soft)})"] if soft else []
        shown = "\n    ".join(lines[:8] + more + versions)
        raise DeclarationError(
            "checkpoints",
            got=f"{folder}, a run of another declaration:\n    {shown}",
            expected="the declaration and the settings that the run was begun with",
            mend="declare it as it was, or give a folder of its own",
        )
    if soft:
        warnings.warn(
            f"The run in {folder} was begun under other versions or devices ({'; '.join(soft)}): "
            "its further draws are the same up to rounding only.",
            stacklevel=2,
        )


class Saver(AbstractSaver):
    """A run under way in a folder."""

    def __init__(
        self, given: Checkpoints, archive: Archive, plan: Plan, found: Fingerprint, resumed: Any
    ):
        self.given, self.archive, self.plan = given, archive, plan
        self.resumed = resumed
        self.found = found
        self.last = 0 if resumed is None else resumed[0]
        chunks = archive.chunks()
        self.first = chunks[0][0] if chunks else None
        self.reached = chunks[-1][1] if chunks else None
        self.link = archive.chain(self.last)
        self.pending: list[PyTree] = []
        self.latest: tuple[int, PyTree] | None = None
        self.opened, self.spent = monotonic(), 0.0

    def save(self, rows: int, state: PyTree, record: PyTree | None) -> None:
        if record is not None:
            self.pending.append(record)
        self.latest = rows, state
        if self._due(rows):
            self.finish()

    def _due(self, rows: int) -> bool:
        if self.given.every is not None:
            return (rows // self.plan.rows) % self.given.every == 0
        due = self.spent <= SHARE * (monotonic() - self.opened)
        # all processes save, or none
        together = jax.process_count() > 1
        return bool(multihost_utils.broadcast_one_to_all(np.asarray(due))) if together else due

    def finish(self) -> None:
        """Write the records and the state that are still in memory."""
        if self.latest is None:
            return
        rows, state = self.latest
        if any(leaf.is_deleted() for leaf in _arrays(state)):
            # cut in the middle of a chunk, to which the state was given away
            return
        problem, begun = None, monotonic()
        try:
            _on_first(lambda: self._records(rows))
            self._state(rows, state)
        except Exception as error:
            problem = error
        except KeyboardInterrupt:
            # what is there in part is not written again by this run; the next one sweeps it
            self.latest = None
            raise
        if problem is not None:
            raise self._failed(rows, problem) from problem
        self.last, self.pending, self.latest = rows, [], None
        self.spent += monotonic() - begun

    def _records(self, rows: int) -> None:
        if not self.pending:
            return
        begin = rows - self.plan.rows * len(self.pending)
        record = jax.tree.map(lambda *leaves: np.concatenate(leaves), *self.pending)
        part = aside(self.archive.records / f"{begin:09d}-{rows:09d}.npz")
        write_tree(part, record)
        path = self.archive.records / f"{begin:09d}-{rows:09d}-{sha256(part)}.npz"
        part.rename(aside(path))
        publish(path)
        self.first = begin if self.first is None else self.first
        self.reached, self.link = rows, linked(self.link, path)

    def _state(self, rows: int, state: PyTree) -> None:
        place = self.archive.state(rows)
        _on_first(lambda: aside(place).mkdir())
        orbax, leaves = _orbax(), _leaves(state)
        with orbax.Checkpointer(orbax.StandardCheckpointHandler()) as writer:
            writer.save(aside(place) / "state", args=orbax.args.StandardSave(leaves))
        _on_first(lambda: self._seal(rows, place))

    def _seal(self, rows: int, place: Path) -> None:
        folder = aside(place)
        (folder / "declaration.json").write_text(json.dumps(self.found, indent=1))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        body = {
            "rows": rows,
            "files": {str(path.relative_to(folder)): sha256(path) for path in files},
            "first": self.first,
            "reached": self.reached,
            "chain": self.link,
        }
        (folder / "manifest.json").write_text(seal(body))
        publish(place)
        for old in self.archive.steps()[: -self.given.keep]:
            remove(self.archive.state(old))

    def _failed(self, rows: int, error: Exception) -> RunError:
        why = "the disk is full, or a limit on files is reached" if disk_full(error) else str(error)
        kept = (
            f"The checkpoint of row {self.last} is good" if self.last else "None was saved before"
        )
        return RunError(
            f"The checkpoint of row {rows} in {self.archive.folder} could not be written: {why} "
            f"({type(error).__name__}).\n{kept}: make room and run the same line again. The later "
            "draws are made again, the same to the last bit."
        )


def _read(archive: Archive, rows: int) -> list[PyTree]:
    return [read_tree(path) for _, end, path in archive.chunks() if end <= rows]


def _read_state(archive: Archive, rows: int, state: PyTree) -> PyTree:
    """The saved state in the structure, and on the devices, of a given one."""
    orbax, leaves = _orbax(), _leaves(state)
    want = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), leaves
    )
    try:
        with orbax.Checkpointer(orbax.StandardCheckpointHandler()) as reader:
            got = reader.restore(
                archive.state(rows) / "state", args=orbax.args.StandardRestore(want)
            )
    except Exception as error:
        raise RunError(
            f"The state of row {rows} in {archive.folder} is whole, but does not fit this run: "
            f"{error}\nLikely cause: it was written by another version of a library."
        ) from error
    arrays, rest = eqx.partition(state, eqx.is_array)
    names = iter(range(len(jax.tree.leaves(arrays))))

    def one(leaf):
        bits = got.get(str(next(names)), leaf)  # arrays of size 0 are not written
        return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(leaf)) if (
            _is_key(leaf) and leaf.size) else bits  # fmt: skip

    return eqx.combine(jax.tree.map(one, arrays), rest)


def _arrays(state: PyTree) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)]


def _leaves(state: PyTree) -> dict[str, jax.Array]:
    """The arrays of a state that are not empty, by number; keys as their bits."""
    leaves = enumerate(jax.tree.leaves(eqx.filter(state, eqx.is_array)))
    bits = ((i, jax.random.key_data(x) if _is_key(x) else x) for i, x in leaves)
    return {str(i): x for i, x in bits if x.size}


def _is_key(leaf: jax.Array) -> bool:
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _on_first(act: Callable[[], None]) -> None:
    """Run a function on the first process; the others wait, and fail if it fails."""
    if jax.process_count() == 1:
        act()
        return
    problem = None
    if jax.process_index() == 0:
        try:
            act()
        except Exception as error:
            problem = error
    failed = multihost_utils.broadcast_one_to_all(np.asarray(problem is not None))
    if problem is not None:
        raise problem
    if failed:
        raise RunError("The first process could not read or write its checkpoints: see its error.")


def _orbax() -> Any:
    with installed("orbax-checkpoint", "checkpoints", "storage"):
        import orbax.checkpoint
    return orbax.checkpoint
