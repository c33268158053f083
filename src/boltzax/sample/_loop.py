"""The one loop: warm up, draw, record. Every sampler runs in it."""

import abc
import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PRNGKeyArray, PyTree
from tqdm import tqdm

from ..core import described, model_errors, to_host
from ._dynamics import AbstractDynamics
from ._interrupt import Interrupted, listening

CHUNKS = 20


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run is to do: all that its draws depend on, and how many of them are wanted.

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
    """Where records go as they are made, instead of memory."""

    memory: int
    """Bytes of records that a chunk may have, at most."""

    @abc.abstractmethod
    def begin(self, plan: Plan, done: int) -> Callable[[int, PyTree], PyTree]:
        """A function `write(first, records)` for a run of which `done` draws are there already.

        It takes the records of draws `first, first + 1, ...` and gives back those to keep. Leaves
        have the axes `[draw, *beta, chain, ...]`; chunks are whole, so the last can go past
        `plan.draws`. After a resumed run the same draws can come again: they are the same to the
        last bit. Every process calls it, with the records of all.
        """

    @abc.abstractmethod
    def part(self, name: str) -> "AbstractSink":
        """The same for one run of several, in a place of its own."""


class AbstractSaver(abc.ABC):
    """One run under way: what it goes on from, and how it is saved."""

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
        """The same for one run of several, in a place of its own."""


@eqx.filter_jit
def _start(dynamics: AbstractDynamics, start: PyTree, key: PRNGKeyArray, warmup: int, split):
    state = _laid(dynamics.init(start, key, warmup), split)
    # the loop's own results are never weakly typed: an initial state that is would compile it twice
    return jax.tree.map(_strong, state)


def _strong(leaf):
    plain = eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.lax.convert_element_type(leaf, leaf.dtype) if plain else leaf


def _split(start: PyTree) -> tuple[tuple[int, ...], NamedSharding] | None:
    """The first axes of all arrays of the start, if they are split over devices all alike."""
    leaves = jax.tree.leaves(start)
    shardings = [leaf.sharding if isinstance(leaf, jax.Array) else None for leaf in leaves]
    named = [sharding for sharding in shardings if isinstance(sharding, NamedSharding)]
    if len(named) < len(leaves):
        return None
    axes = zip(
        *[zip(leaf.shape, leaf.sharding.spec, strict=False) for leaf in leaves], strict=False
    )
    same = [each[0] for each in itertools.takewhile(lambda each: len(set(each)) == 1, axes)]
    while same and same[-1][1] is None:
        same.pop()
    shape, spec = tuple(size for size, _ in same), PartitionSpec(*(axis for _, axis in same))
    return (shape, NamedSharding(named[0].mesh, spec)) if same else None


def _laid(state: PyTree, split: tuple[tuple[int, ...], NamedSharding] | None) -> PyTree:
    """The state split as the start is: laid out otherwise it would compile the loop twice."""
    if split is None:
        return state
    shape, sharding = split

    def one(leaf):
        mine = eqx.is_array(leaf) and leaf.shape[: len(shape)] == shape
        return jax.lax.with_sharding_constraint(leaf, sharding) if mine else leaf

    return jax.tree.map(one, state)


@eqx.filter_jit(donate="all-except-first")
def _advance(fixed, state, rows: int, thin: int, warmup: int, warm_rows: int, split=None):
    """`rows` records, `thin` steps apart, from row `begin` on: one compile for a whole run."""
    dynamics, key, begin = fixed

    def step(state, time):
        progress = time.astype(float) / max(warmup, 1)
        rate = (1 + time.astype(float)) ** -0.6
        gain = jnp.where(progress < 0.9, rate, 0.0) if warmup else jnp.zeros(())
        return dynamics.step(state, jax.random.fold_in(key, time), gain, time, warmup)

    def unread(state, draw):
        shapes = jax.eval_shape(lambda *args: dynamics.record(*args), state, draw)[1]
        return state, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def row(state, number):
        # rows of the warm-up count from -warm_rows; steps before step 0 are left out
        draw = number - warm_rows
        first = warmup + draw * thin
        least = jnp.clip(-first, 0, thin)
        state = jax.lax.fori_loop(least, thin, lambda i, state: step(state, first + i), state)
        # a record may cost as much as many steps (an energy over all data): none in warm-up
        return jax.lax.cond(draw < 0, unread, lambda *args: dynamics.record(*args), state, draw)

    state, records = jax.lax.scan(row, state, begin + jnp.arange(rows))
    return _laid(state, split), records


def loop(
    dynamics: AbstractDynamics,
    start: PyTree,
    key: PRNGKeyArray,
    *,
    warmup: int,
    draws: int,
    thin: int,
    progress: bool,
    note: Callable[[PyTree], str] = lambda record: "",
    rows: int | None = None,
    stop: Callable[[list[PyTree]], bool] | None = None,
    warm: Callable[[PyTree], bool] | None = None,
    sink: AbstractSink | None = None,
    checkpoints: AbstractCheckpoints | None = None,
) -> tuple[PyTree, PyTree]:
    """Run `warmup` steps, then at most `draws` records `thin` steps apart.

    Gives the last state and the records, stacked along a leading draw axis. The records of the
    warm-up are thrown away: burn-in is never averaged in. Steps are numbered from the beginning
    and keyed by their number, so a run that was cut and resumed is the same to the last bit.

    The run proceeds in chunks of `rows` records; after each, `stop(chunks so far)` can end it, and
    it is saved if `checkpoints` are given. In the warm-up `warm(state)` is asked instead, and can
    end the warm-up before its time: the steps go on as the first after `warmup`.

    Raises:
        Interrupted: by Ctrl-C, once the chunk under way is done and saved; its `result` are the
            state (None if a second Ctrl-C cut a chunk) and the records so far. During the warm-up
            there are none, and it is a plain `KeyboardInterrupt`.
    """
    key_start, key_run = jax.random.split(key)
    rows = max(1, -(-draws // CHUNKS)) if rows is None else rows
    split = _split(start)
    state = _start(dynamics, start, key_start, warmup, split)
    if sink is not None:
        rows = max(1, min(rows, sink.memory // _row_bytes(dynamics, state)))
    plan = Plan(dynamics, start, key, warmup, thin, rows, draws, sink)
    parts, begin = [], 0
    with contextlib.ExitStack() as stack:
        saver = None
        if checkpoints is not None:
            saver = stack.enter_context(checkpoints.open(plan, state))
            plan = saver.plan
            begin, state, parts = saver.resumed or (begin, state, parts)
        rows, warm_rows = plan.rows, plan.warm_rows
        total = warm_rows + draws
        write = None if sink is None else sink.begin(plan, max(0, begin - warm_rows))
        bar = tqdm(total=total, initial=begin, disable=not progress, unit="draw", leave=False)
        stack.enter_context(bar)
        listener = stack.enter_context(listening())

        def done() -> bool:
            return begin >= total or bool(parts and stop is not None and stop(parts))

        finished = done()
        while not (finished or listener.asked):
            fixed = (dynamics, key_run, jnp.asarray(begin))
            try:
                with model_errors(_when(begin, rows, plan)):
                    state, record = _advance(fixed, state, rows, thin, warmup, warm_rows, split)
                kept = None
                if begin >= warm_rows:
                    record = to_host(record)
                    kept = record if write is None else write(begin - warm_rows, record)
                    parts.append(kept)
                    if progress:
                        bar.set_postfix_str(note(record))
                begin += rows
                if begin < warm_rows and warm is not None and warm(state):
                    begin = warm_rows
                if saver is not None:
                    saver.save(begin, state, kept)
                bar.update(rows)
                finished = done()
            except KeyboardInterrupt as cut:
                # in the middle of a chunk: its state is lost, the last checkpoint is good
                raise _interrupted(None, parts, draws) from cut
    if not finished:
        raise _interrupted(state, parts, draws)
    return state, _stack(parts, draws)


def _when(begin: int, rows: int, plan: Plan) -> str:
    first = begin - plan.warm_rows
    last = min(first + rows, plan.draws)
    return "during the warm-up" if last <= 0 else f"between draws {max(first, 0)} and {last}"


def _interrupted(state: PyTree, parts: list[PyTree], draws: int) -> KeyboardInterrupt:
    if not parts:
        return KeyboardInterrupt("The run was interrupted before its first draws.")
    records = _stack(parts, draws)
    return Interrupted("The run was interrupted; its draws are in `result`.", (state, records))


def _row_bytes(dynamics: AbstractDynamics, state: PyTree) -> int:
    record = eqx.filter_eval_shape(lambda d, s: d.record(s, jnp.zeros((), int))[1], dynamics, state)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(record))


def draws_at(axis: int, records: PyTree) -> PyTree:
    """Records of a loop, their axis of draws moved from the front to another place."""
    moved = jax.tree.map(lambda leaf: np.moveaxis(np.asarray(leaf), 0, axis), records)
    return jax.device_put(moved)


def _stack(parts: list[PyTree], draws: int) -> PyTree:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:draws], *parts)
