"""The one loop: warm up, draw, record. Every sampler runs in it."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree
from tqdm import tqdm

from ._dynamics import AbstractDynamics

CHUNKS = 20


@eqx.filter_jit
def _start(dynamics: AbstractDynamics, start: PyTree, key: PRNGKeyArray, warmup: int) -> PyTree:
    state = dynamics.init(start, key, warmup)
    # the loop's own results are never weakly typed: an initial state that is would compile it twice
    return jax.tree.map(_strong, state)


def _strong(leaf):
    plain = eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.lax.convert_element_type(leaf, leaf.dtype) if plain else leaf


@eqx.filter_jit
def _advance(dynamics, state, key, begin, rows: int, thin: int, warmup: int):
    """`rows` records, `thin` steps apart, from step `begin` on: one compile for a whole run."""

    def step(state, time):
        progress = time.astype(float) / max(warmup, 1)
        rate = (1 + time.astype(float)) ** -0.6
        gain = jnp.where(progress < 0.9, rate, 0.0) if warmup else jnp.zeros(())
        return dynamics.step(state, jax.random.fold_in(key, time), gain, time, warmup), None

    def row(state, first):
        state, _ = jax.lax.scan(step, state, first + jnp.arange(thin))
        return state, dynamics.record(state)

    return jax.lax.scan(row, state, begin + thin * jnp.arange(rows))


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
) -> tuple[PyTree, PyTree]:
    """Run `warmup` steps, then `draws` records `thin` steps apart.

    Gives the last state and the records, stacked along a leading draw axis. The records of the
    warm-up are thrown away: burn-in is never averaged in. Steps are numbered from the beginning
    and keyed by their number, so a run does not depend on how it is cut into chunks.
    """
    key_start, key_run = jax.random.split(key)
    state = _start(dynamics, start, key_start, warmup)
    warm_rows = -(-warmup // thin)
    rows = max(1, -(-draws // CHUNKS))
    records, begin = [], 0
    bar = tqdm(total=warm_rows + draws, disable=not progress, unit="draw", leave=False)
    with bar:
        while begin < warm_rows:
            # warm-up runs in pieces of the same length as the draws, so that one program serves
            first = jnp.asarray(begin * thin)
            state, record = _advance(dynamics, state, key_run, first, rows, thin, warmup)
            begin += rows
            bar.update(rows)
        done = 0
        while done < draws:
            first = jnp.asarray(begin * thin)
            state, record = _advance(dynamics, state, key_run, first, rows, thin, warmup)
            records.append(record)
            begin += rows
            done += rows
            bar.update(rows)
            if progress:
                bar.set_postfix_str(note(record))
    stacked = jax.tree.map(lambda *parts: jnp.concatenate(parts)[:draws], *records)
    return state, stacked
