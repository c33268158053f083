"""The public loop: any dynamics, with all that a long run needs."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import (
    Count,
    Key,
    Status,
    Whole,
    check_on_host,
    model_errors,
    to_host,
    typed,
)
from ._dynamics import AbstractDynamics
from ._interrupt import raise_for_run
from ._loop import Run, loop
from ._placement import Placement
from ._run_plan import AbstractCheckpoints, AbstractSink


@typed
@model_errors("in bx.run")
def run(
    dynamics: AbstractDynamics,
    start: PyTree,
    *,
    key: Key,
    warmup: Whole = 0,
    draws: Count,
    thin: Count = 1,
    rows: Count | None = None,
    stop: Callable | None = None,
    sink: AbstractSink | None = None,
    checkpoints: AbstractCheckpoints | None = None,
    placement: Placement | None = None,
    progress: bool = False,
    throw: bool = True,
) -> Run:
    """Run a dynamics: `warmup` steps, then `draws` records, `thin` steps apart.

    Steps are numbered from the beginning and keyed by their number. The records do not depend on
    the chunks that a run is made in, and a run that was cut and resumed is the same to the last
    bit.

    Args:
        dynamics: `Chains`, `meanfield.Neurons`, or your own `AbstractDynamics`.
        start: The argument of its `init`.
        key: The key of the run.
        warmup: Steps that are discarded.
        draws: Records to make.
        thin: Steps between records.
        rows: Records of a chunk. After a chunk the records are moved to the host, the run is
            saved, `stop` is called, and Ctrl-C takes effect. About a twentieth of `draws` if not
            given. The last chunk is whole: if `rows` does not divide `draws`, the last state is a
            little later than the last record.
        stop: `stop(chunks)` of the records so far, a list with one entry a chunk; the run ends when
            it is true.
        sink: A store for the records instead of memory (`bx.ZarrSink`).
        checkpoints: A folder to save the run in and to resume it from (`bx.Checkpoints`).
        placement: Devices: arrays of `start` are split over its axis `chains` by their first axis.
        progress: Show a bar.
        throw: Raise if the run failed or was interrupted; else look at `status`.

    Returns:
        A `Run`: the last state, the records with a leading axis over draws, and a status.

    Raises:
        DeclarationError: Wrong arguments; an error that `init`, `step` or `record` raises, with
            the name of the method; or one that the dynamics raises at some state.
        RunError: If the last state or the records hold a NaN (`Status.non_finite`).
        Interrupted: By Ctrl-C, with the `Run` so far in `result`. Before the first record it is a
            plain `KeyboardInterrupt`.
    """
    check_on_host("run", {"dynamics": dynamics, "start": start, "key": key})
    if placement is not None:
        dynamics, start = placement.lay(dynamics, start)
    made = loop(
        dynamics, start, key, warmup=warmup, draws=draws, thin=thin, rows=rows, stop=stop,
        sink=sink, checkpoints=checkpoints, progress=progress,
    )  # fmt: skip
    if made.status == Status.successful and _has_nan((made.state, made.records)):
        made = dataclasses.replace(made, status=Status.non_finite)
    return raise_for_run(made, made.status, throw, made.__repr__)


def _has_nan(tree: PyTree) -> bool:
    """Whether a floating-point number of a tree is NaN."""
    leaves = jax.tree.leaves(tree)
    numbers = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return any(np.isnan(leaf).any() for leaf in to_host(numbers))
