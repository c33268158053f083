"""The one loop: warm up, draw, record. Every dynamics runs in it."""

import contextlib
import functools
import itertools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PRNGKeyArray, PyTree
from tqdm import tqdm

from ..core import DeclarationError, Status, model_errors, to_host, typed
from ._dynamics import AbstractDynamics
from ._dynamics_errors import check_streamed, recorded, started, stepped
from ._interrupt import listening
from ._run_plan import AbstractCheckpoints, AbstractSink, Plan

CHUNKS = 20


@typed
class Run(eqx.Module):
    """The result of a run of any dynamics.

    Args:
        dynamics: The dynamics (on its devices, if it was placed).
        state: The state after the last chunk. It belongs to the last record if the chunks divide
            `draws`. None if a second Ctrl-C cut a chunk.
        records: The records by name; arrays on the host with the leading axis draw.
        draws: The number of records.
        status: Whether the run succeeded, or why it failed.
    """

    dynamics: AbstractDynamics
    state: PyTree
    records: dict[str, PyTree]
    draws: int
    status: Status

    def __repr__(self) -> str:
        names = ", ".join(self.records) or "nothing here: the records are empty, or in a sink"
        return (
            f"Run of {type(self.dynamics).__name__}, {self.draws} draws of {names}\n"
            f"  {Status[self.status]}"
        )


@eqx.filter_jit
def _start(dynamics: AbstractDynamics, start: PyTree, key: PRNGKeyArray, warmup: int, split):
    state = _laid(started(dynamics, start, key, warmup), split)
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
        return stepped(dynamics, state, jax.random.fold_in(key, time), gain, time, warmup)

    def unread(state, draw):
        shapes = jax.eval_shape(functools.partial(recorded, dynamics), state, draw)[1]
        return state, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def row(state, number):
        # rows of the warm-up count from -warm_rows; steps before step 0 are left out
        draw = number - warm_rows
        first = warmup + draw * thin
        least = jnp.clip(-first, 0, thin)
        state = jax.lax.fori_loop(least, thin, lambda i, state: step(state, first + i), state)
        if warm_rows == 0:
            return recorded(dynamics, state, draw)
        # a record may cost as much as many steps (an energy over all data): none in warm-up
        return jax.lax.cond(draw < 0, unread, functools.partial(recorded, dynamics), state, draw)

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
    rows: int | None = None,
    stop: Callable[[list[PyTree]], bool] | None = None,
    warm: Callable[[PyTree], bool] | None = None,
    sink: AbstractSink | None = None,
    checkpoints: AbstractCheckpoints | None = None,
) -> Run:
    """Run `warmup` steps, then at most `draws` records `thin` steps apart.

    The records of the warm-up are discarded. The key of a step depends on its number from the
    beginning only, so a run that was cut and resumed is the same to the last bit.

    The run proceeds in chunks of `rows` records; after each, `stop(chunks so far)` can end it, and
    it is saved if `checkpoints` are given. In the warm-up `warm(state)` is asked instead, and can
    end the warm-up before its time: the steps go on as the first after `warmup`.

    Ctrl-C ends it once the chunk under way is done and saved: the run so far has the status
    `interrupted`. Otherwise it is `successful`; the caller judges the records.

    Raises:
        KeyboardInterrupt: By Ctrl-C before the first draws.
    """
    key_start, key_run = jax.random.split(key)
    rows = chunk_of(draws) if rows is None else rows
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
            return begin >= total or bool(parts and stop is not None and _asked(stop, parts))

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
                begin += rows
                if begin < warm_rows and warm is not None and warm(state):
                    begin = warm_rows
                if saver is not None:
                    saver.save(begin, state, kept)
                bar.update(rows)
                finished = done()
            except KeyboardInterrupt as cut:
                # in the middle of a chunk: its state is lost, the last checkpoint is good
                if not parts:
                    raise _nothing() from cut
                state = None
                break
    if not finished and not parts:
        raise _nothing()
    status = Status.successful if finished else Status.interrupted
    return Run(dynamics, state, _stack(parts, draws), min(begin - warm_rows, draws), status)


def chunk_of(draws: int, least: int = 1) -> int:
    """Records of a chunk: a divisor of `draws` near a twentieth of them, else the twentieth.

    At least `least` if there are as many.
    """
    least = max(min(least, draws), -(-draws // CHUNKS))
    divisors = (rows for rows in range(least, 4 * least) if draws % rows == 0)
    return next(divisors, least)


def _asked(stop: Callable[[list[PyTree]], bool], parts: list[PyTree]) -> bool:
    answer = stop(parts)
    if isinstance(answer, np.ndarray | jax.Array) and answer.size != 1:
        raise DeclarationError(
            "stop",
            got=f"one that returns an array of shape {answer.shape}",
            expected="a function of the records so far that returns True or False",
            mend="reduce it: return bool(np.all(...)), or np.any",
        )
    return bool(answer)


def _when(begin: int, rows: int, plan: Plan) -> str:
    first = begin - plan.warm_rows
    last = min(first + rows, plan.draws)
    return "during the warm-up" if last <= 0 else f"between draws {max(first, 0)} and {last}"


def _nothing() -> KeyboardInterrupt:
    return KeyboardInterrupt("The run was interrupted before its first draws.")


def _row_bytes(dynamics: AbstractDynamics, state: PyTree) -> int:
    record = eqx.filter_eval_shape(
        lambda d, s: recorded(d, s, jnp.zeros((), int))[1], dynamics, state
    )
    check_streamed(dynamics, record)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(record))


def draws_at(axis: int, records: PyTree) -> PyTree:
    """Records of a loop, their axis of draws moved from the front to another place."""
    moved = jax.tree.map(lambda leaf: np.moveaxis(np.asarray(leaf), 0, axis), records)
    return jax.device_put(moved)


def _stack(parts: list[PyTree], draws: int) -> PyTree:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:draws], *parts)
