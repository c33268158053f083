"""What every dynamics must pass that `bx.run` runs."""

import contextlib
import dataclasses
import functools
import signal
import tempfile
import threading
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from boltzax import report
from boltzax.core import Count, Key, Status, Whole, to_host, typed
from boltzax.sample import (
    AbstractCheckpoints,
    AbstractDynamics,
    AbstractSaver,
    Checkpoints,
    Plan,
    Run,
    kinds,
    run,
    started,
    stepped,
)

from ._dynamics_state import check_kinds, check_unmoved, is_key

COMPILED = "/jax/core/compile/backend_compile_duration"
"""The event of jax that a program was compiled, or fetched from a cache of them."""

KEYS = 4
"""Keys whose paths are compared."""

LEAST_STEPS = 8
"""Steps of these paths at least: a fair coin has equal ones with a probability of `2^-24`."""


class Cut(Exception):
    """The run is cut."""


@dataclasses.dataclass(frozen=True)
class Cutting(AbstractCheckpoints):
    """Checkpoints of a run that is cut after each save."""

    inner: Checkpoints

    def part(self, name: str) -> "Cutting":
        return Cutting(self.inner.part(name))

    @contextlib.contextmanager
    def open(self, plan: Plan, state: PyTree):
        with self.inner.open(plan, state) as saver:
            yield CuttingSaver(saver)


class CuttingSaver(AbstractSaver):
    """Saves, and cuts the run."""

    def __init__(self, inner: AbstractSaver):
        self.inner, self.plan, self.resumed = inner, inner.plan, inner.resumed

    def save(self, rows: int, state: PyTree, record: PyTree | None) -> None:
        self.inner.save(rows, state, record)
        raise Cut


@typed
def check_dynamics(
    dynamics: AbstractDynamics,
    start: PyTree,
    *,
    key: Key,
    warmup: Whole = 3,
    draws: Count = 6,
    thin: Count = 3,
    deterministic: bool = False,
) -> None:
    """Raise `AssertionError` unless a dynamics does what it must.

    - The structure, shapes and dtypes of the state never change; `init`, `step` and `record` raise
      no error.
    - The records have the shapes that `record` declares, with a leading axis over draws. Neither
      they nor the last state hold a NaN.
    - `record` does not move the place. It may update sums that steps leave alone, and set anew what
      steps count between records; nothing else may change, or go on otherwise than without it.
    - A second run of the same arguments gives the same, to the last bit, and compiles nothing; nor
      does one with another key and other numbers in `start`.
    - A run that is cut after every chunk and resumed from its checkpoints equals the uncut run, to
      the last bit.
    - Other keys, of the steps and in the state, give other numbers, also after the warm-up: a step
      does not ignore them.
    - Ctrl-C ends it with `Status.interrupted` and the records so far.
    - A `ZarrSink` stores what else would be in memory. Each name in `streamed` is a record, or
      `optional`.

    Not checked: the law that the dynamics samples; compare with a closed form for that.

    All comparisons are exact, so that a breach is found with certainty if it shows in the steps of
    the run, and a right dynamics passes at every key. The exception is a dynamics that seldom moves
    (a walk that rejects most proposals): the paths of four keys are compared, and in few steps all
    may be the same; more `draws` help. For one fair coin a step that has a probability below 1e-7.

    Args:
        dynamics: The dynamics.
        start: The argument of its `init`. Floats of Python and arrays of weak type are taken as
            arrays of their dtype, so that other numbers need no other program.
        key: The key of its runs.
        warmup: Steps of warm-up of each run.
        draws: Records of each run; chunks are of two, so that four records or more are of use.
        thin: Steps a record.
        deterministic: Whether steps draw nothing. Then other keys must give the same numbers.
    """
    options = {"warmup": warmup, "draws": draws, "thin": thin, "rows": 2, "throw": False}
    options |= {"key": key}
    start = jax.tree.map(_strong, start)
    record = check_kinds(dynamics, start, key, warmup)
    whole = run(dynamics, start, **options)
    _check_records(whole, record)
    check_unmoved(dynamics, start, key, warmup, draws)
    before = len(_compiled())
    assert _same(run(dynamics, start, **options), whole), "a second run is not the same"
    assert len(_compiled()) == before, "a second run of the same arguments compiles"
    other, moved = jax.random.fold_in(key, 1), jax.tree.map(_copied, start)
    before = len(_compiled())
    run(dynamics, moved, **(options | {"key": other}))
    assert len(_compiled()) == before, "another key, or start, compiles"
    _check_keys(dynamics, start, key, warmup, draws * thin, deterministic)
    with tempfile.TemporaryDirectory() as folder:
        _check_cut(dynamics, start, whole, options, Path(folder) / "cut")
        _check_sink(dynamics, start, whole, options, Path(folder) / "sink")
    _check_interrupted(dynamics, start, whole, options)


def _check_records(whole: Run, record: PyTree) -> None:
    length = {len(leaf) for leaf in jax.tree.leaves(whole.records)}
    assert length <= {whole.draws}, "records have not the leading axis of draws"
    one = jax.tree.map(lambda leaf: leaf[0], whole.records)
    assert kinds(one) == kinds(record), "records have not the shapes of `record`"
    assert whole.status != Status.non_finite, "the last state or the records hold a NaN"


def _check_keys(dynamics, start, key, warmup: int, steps: int, deterministic: bool) -> None:
    """Compare the paths of some keys: of all steps, or of those after a warm-up with one key."""

    @eqx.filter_jit
    def begin(dynamics, start, key):
        return started(dynamics, start, key, warmup)

    @eqx.filter_jit
    def other(state, change: Array):
        return jax.tree.map(lambda leaf: _folded(leaf, change), state)

    @eqx.filter_jit
    def step(dynamics, state, key, time: Array):
        key_step = jax.random.fold_in(key, time)
        return stepped(dynamics, state, key_step, jnp.zeros(()), time, warmup)

    def path(state, key, times: range):
        """The states on the way."""
        for time in times:
            state = step(dynamics, state, key, jnp.asarray(time))
            yield state

    first = 0 if deterministic else warmup
    *_, state = begin(dynamics, start, key), *path(begin(dynamics, start, key), key, range(first))
    times = range(first, warmup + max(steps, LEAST_STEPS))

    def numbers(change: int) -> list:
        """What the steps leave but for its keys, which differ by the change."""
        changed, key_path = other((state, key), jnp.asarray(change))
        leaves = jax.tree.leaves(list(path(changed, key_path, times)))
        return [leaf for leaf in leaves if not is_key(leaf)]

    found = numbers(2)
    same = [_same(numbers(change), found) for change in range(3, 2 + KEYS)]
    assert deterministic or not all(same), (
        "other keys give the same numbers: steps ignore them, or do after the warm-up. Draw with "
        "the key of the step, or pass deterministic=True"
    )
    assert all(same) or not deterministic, (
        "other keys give other numbers: steps are not deterministic"
    )


def _folded(leaf, change: Array):
    """Another key for each, if it holds keys."""
    if not is_key(leaf):
        return leaf
    fold = jnp.vectorize(jax.random.fold_in, excluded={1}, signature="()->()")
    return fold(leaf, change)


def _check_cut(dynamics, start, whole: Run, options: dict, folder: Path) -> None:
    chunks = -(-whole.draws // 2)
    for _ in range(chunks + -(-options["warmup"] // options["thin"]) + 2):
        with contextlib.suppress(Cut):
            found = run(
                dynamics, start, checkpoints=Cutting(Checkpoints(folder, every=1)), **options
            )
            break
    else:
        raise AssertionError("a run that is cut and resumed does not end")
    assert _same(found, whole), "a run that was cut and resumed is not the uncut one"


def _check_sink(dynamics, start, whole: Run, options: dict, folder: Path) -> None:
    streamed = run(dynamics, start, sink=report.ZarrSink(folder), **options)
    for name, record in streamed.records.items():
        assert _same(record, whole.records[name]), f"{name} in memory differs under a sink"
    named = dynamics.streamed
    gone = set(whole.records if named is None else named)
    assert not gone & set(streamed.records), "what is streamed stays in memory"
    stored = [_record_order(each) for each in report.open_zarr(folder).data_vars.values()]
    there = {(each.shape, each.tobytes()) for each in stored}
    for leaf in jax.tree.leaves(whole.records):
        assert (leaf.shape, leaf.tobytes()) in there, "the store lacks a record"


def _record_order(variable) -> np.ndarray:
    """A variable of a store with the axes of a record."""
    first = [name for name in variable.dims if name.startswith("beta") or name == "pair"]
    chain = [name for name in variable.dims if name == "chain"]
    return np.ascontiguousarray(variable.transpose("draw", *first, *chain, ...).values)


def _check_interrupted(dynamics, start, whole: Run, options: dict) -> None:
    if threading.current_thread() is not threading.main_thread():
        return

    def press(chunks):
        signal.raise_signal(signal.SIGINT)
        return False

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        part = run(dynamics, start, stop=press, **options)
    finally:
        signal.signal(signal.SIGINT, before)
    assert part.status == Status.interrupted, "a run that Ctrl-C ended does not say so"
    begun = jax.tree.map(lambda leaf: leaf[: part.draws], whole.records)
    assert 0 < part.draws < whole.draws and _same(part.records, begun), "records before Ctrl-C"


@functools.cache
def _compiled() -> list[float]:
    """Grows with each program that is compiled from now on."""
    seconds: list[float] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **kwargs: seconds.append(duration) if event == COMPILED else None
    )
    return seconds


def _strong(leaf):
    """A float of Python, or an array of weak type, as an array of its dtype."""
    if is_key(leaf):
        return leaf
    weak = isinstance(leaf, float) or (isinstance(leaf, jax.Array) and leaf.weak_type)
    return jax.device_put(np.asarray(leaf)) if weak else leaf


def _copied(leaf):
    """Another array of the same kind; other numbers, if they are floating-point ones."""
    if is_key(leaf) or not isinstance(leaf, np.ndarray | jax.Array):
        return leaf
    numbers = np.array(leaf)
    scale = 1.01 if numbers.dtype.kind == "f" else 1
    return jax.device_put((numbers * scale).astype(numbers.dtype))


def _same(a: PyTree, b: PyTree) -> bool:
    """To the last bit, in the same structure."""
    if isinstance(a, Run) and isinstance(b, Run):
        return bool(a.status == b.status) and _same((a.state, a.records), (b.state, b.records))
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = zip(jax.tree.leaves(_bits(a)), jax.tree.leaves(_bits(b)), strict=True)
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in pairs)


def _bits(tree: PyTree) -> PyTree:
    """Arrays of the host, random keys as their bits."""
    bits = jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)
    return to_host(bits)
