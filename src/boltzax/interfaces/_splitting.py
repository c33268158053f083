"""Multilevel splitting: probabilities too small to be hit by drawing."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..compile import Weights
from ..core import MEMORY, at_once, map_within, working_bytes
from ..observe import LogProbability, of_rise, read_at
from ..sample import Level as Level
from ..sample import Rise

CELLS = 4_000_000
"""Numbers that the particles of all replicates that run at a time may hold together."""


class Splitting(NamedTuple):
    """What a run of splitting leaves behind; each entry has a leading axis over replicates.

    - `levels` `[replicate, level]`: the thresholds; the first is -inf, unused ones NaN.
    - `log_survival` `[replicate, level]`: log probability to lie above each of them.
    - `populations` `[replicate, level, particle]`: level functions of the particles that are
      distributed as the prior above that threshold.
    - `u` `[replicate, particle, ...]`: whitened weights distributed as the prior at or above the
      target, if they were asked for (meaningful where `reached`).
    - `count`: levels used. `reached`: whether half of a population came up to the target.
      `extinct`: whether no particle could go on. `evaluations`: of the level function.
    """

    levels: Float[Array, "replicate level"]
    log_survival: Float[Array, "replicate level"]
    populations: Float[Array, "replicate level particle"]
    count: Int[Array, " replicate"]
    reached: Bool[Array, " replicate"]
    extinct: Bool[Array, " replicate"]
    evaluations: Int[Array, " replicate"]
    u: Weights | None

    @at_once
    def probability(self, target: Float[Array, ""]) -> Float[Array, " replicate"]:
        """Each replicate's unbiased-to-O(1/N) estimate of `P[level >= target]`."""
        return jax.vmap(_probability, in_axes=(0, 0, 0, None))(
            self.levels, self.log_survival, self.populations, jnp.asarray(target)
        )

    @at_once
    def naive_error(self, target: Float[Array, ""]) -> Float[Array, " replicate"]:
        """Relative error of each replicate if its particles were independent:
        `√(Σ_k (1 - p_k)/(N p_k))` over the survival fractions `p_k`."""
        return jax.vmap(_naive_error, in_axes=(0, 0, 0, None))(
            self.levels, self.log_survival, self.populations, jnp.asarray(target)
        )


@eqx.filter_jit
def split(
    level: Level,
    target: Float[Array, ""],
    key: PRNGKeyArray,
    *,
    particles: int,
    moves: int,
    replicates: int,
    max_levels: int,
    keep: bool = False,
    memory: int = MEMORY,
) -> Splitting:
    """Populations of the prior above a rising sequence of levels, up to `P[level >= target]`.

    At each level the better half of the particles survives (those strictly above the median: a
    particle at the level itself would make a plateau look like progress), is copied to full
    number, and moved `moves` times by `u' = √(1-s²) u + s ξ`, which leaves the prior invariant,
    accepted while it stays above the level; `s` is tuned to 30% acceptance by the whole population.
    The probability is the product of the surviving fractions. Replicates are independent. As many
    of them, and of the particles of one, are looked at together as `memory` bytes allow.

    Sources: Kahn & Harris 1951; Cérou & Guyader 2007, Stoch. Anal. Appl. 25:417 (adaptive levels);
    Cotter et al. 2013, Stat. Sci. 28:424 (the proposal, pCN).
    """
    size = particles * sum(leaf.size for leaf in jax.tree.leaves(level.template()))
    at_work = particles * working_bytes(level, level.template())[0]
    most = min(CELLS // max(size, 1), memory // max(at_work, 1))
    together = max(1, min(replicates, most))
    together = next(n for n in range(together, 0, -1) if replicates % n == 0)
    sizes = {"particles": particles, "moves": moves, "max_levels": max_levels}
    sizes["memory"] = memory // together
    one = functools.partial(_replicate, level, target, keep=keep, **sizes)
    keys = jax.random.split(key, replicates)
    if together == replicates:
        return jax.vmap(one)(keys)
    return jax.lax.map(one, keys, batch_size=together)


class _State(NamedTuple):
    u: Weights
    value: Float[Array, " particle"]
    level: Float[Array, ""]
    log_survival: Float[Array, ""]
    log_scale: Float[Array, ""]
    key: PRNGKeyArray
    count: Int[Array, ""]
    stop: Bool[Array, ""]
    reached: Bool[Array, ""]
    extinct: Bool[Array, ""]
    levels: Float[Array, " level"]
    log_survivals: Float[Array, " level"]
    populations: Float[Array, "level particle"]


def _replicate(level: Level, target, key, *, particles, moves, max_levels, keep, memory):
    key_start, key_run = jax.random.split(key)
    u = level.draws(key_start, particles)
    value = map_within(level, u, memory)
    kind = value.dtype
    false = jnp.array(False)
    state = _State(
        u,
        value,
        jnp.asarray(-jnp.inf, kind),
        jnp.zeros((), kind),
        jnp.zeros((), kind),
        key_run,
        jnp.array(1),
        false,
        false,
        false,
        jnp.full(max_levels, jnp.nan, kind).at[0].set(-jnp.inf),
        jnp.full(max_levels, jnp.nan, kind).at[0].set(0.0),
        jnp.full((max_levels, particles), -jnp.inf, kind).at[0].set(value),
    )
    state = _judged(state, target)

    def step(state: _State) -> _State:
        return _judged(_raised(level, state, moves, memory), target)

    state = jax.lax.while_loop(lambda s: ~s.stop & (s.count < max_levels), step, state)
    evaluations = particles * (1 + moves * (state.count - 1 + int(keep)))
    below = jnp.nextafter(target, -jnp.inf)
    u = _moved_above(level, state, below, moves, memory)[0] if keep else None
    return Splitting(
        state.levels,
        state.log_survivals,
        state.populations,
        state.count,
        state.reached,
        state.extinct,
        evaluations,
        u,
    )


def _judged(state: _State, target: Array) -> _State:
    """Whether the population has come to the target, or cannot go on."""
    reached = 2 * jnp.sum(state.value >= target) >= state.value.shape[0]
    extinct = jnp.max(state.value) == jnp.min(state.value)
    return state._replace(stop=reached | extinct, reached=reached, extinct=extinct & ~reached)


def _raised(level: Level, state: _State, moves: int, memory: int) -> _State:
    """The next level: its survivors, copied and moved."""
    count = state.value.shape[0]
    top = jnp.max(state.value)
    middle = jnp.sort(state.value)[(count - 1) // 2]
    # a plateau at the top: the level is the best value below it
    below = jnp.max(jnp.where(state.value < top, state.value, -jnp.inf))
    threshold = jnp.where(middle < top, middle, below)
    u, value, log_scale, key = _moved_above(level, state, threshold, moves, memory)
    survivors = jnp.sum(state.value > threshold)
    log_survival = state.log_survival + jnp.log(survivors / count)
    place = state.count
    return state._replace(
        u=u,
        value=value,
        level=threshold,
        log_survival=log_survival,
        log_scale=log_scale,
        key=key,
        count=place + 1,
        levels=state.levels.at[place].set(threshold),
        log_survivals=state.log_survivals.at[place].set(log_survival),
        populations=state.populations.at[place].set(value),
    )


def _moved_above(level: Level, state: _State, threshold: Array, moves: int, memory: int):
    """The particles above the threshold, copied to full number and moved there."""
    count = state.value.shape[0]
    ranked = jnp.argsort(-state.value)
    survivors = jnp.maximum(jnp.sum(state.value > threshold), 1)
    key, key_shift, key_moves = jax.random.split(state.key, 3)
    shift = jax.random.randint(key_shift, (), 0, count)
    parents = ranked[(jnp.arange(count) + shift) % survivors]
    u = jax.tree.map(lambda leaf: leaf[parents], state.u)
    walk = functools.partial(_moved, level, threshold, memory)
    begin = (u, state.value[parents], state.log_scale)
    (u, value, log_scale), _ = jax.lax.scan(walk, begin, jax.random.split(key_moves, moves))
    return u, value, log_scale, key


def _moved(level: Level, threshold: Array, memory: int, state, key):
    """One pCN move of every particle, and the scale towards 30% acceptance."""
    u, value, log_scale = state
    scale = jnp.exp(log_scale)
    keep = jnp.sqrt(1 - scale**2)

    def one(particle):
        u, value, noise = particle
        new = jax.tree.map(lambda a, b: keep * a + scale * b, u, noise)
        new_value = level(new)
        accept = new_value > threshold
        kept = jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, u)
        return kept, jnp.where(accept, new_value, value), accept

    u, value, accept = map_within(one, (u, value, level.draws(key, value.shape[0])), memory)
    rate = jnp.mean(accept.astype(value.dtype))
    log_scale = jnp.clip(log_scale + 0.5 * (rate - 0.3), -10.0, 0.0)
    return (u, value, log_scale), None


def _place(levels: Array, target: Array) -> Array:
    """The last level below the target."""
    return jnp.sum(levels < target) - 1


def _probability(levels, log_survival, populations, target):
    place = _place(levels, target)
    above = jnp.mean((populations[place] >= target).astype(levels.dtype))
    return jnp.exp(log_survival[place]) * above


def _naive_error(levels, log_survival, populations, target):
    place = _place(levels, target)
    count = populations.shape[1]
    fractions = jnp.exp(jnp.diff(log_survival))
    last = jnp.mean((populations[place] >= target).astype(levels.dtype))
    used = jnp.arange(fractions.shape[0]) < place
    parts = jnp.where(used, (1 - fractions) / fractions, 0.0)
    return jnp.sqrt((jnp.sum(parts) + (1 - last) / jnp.maximum(last, 1 / count)) / count)


def from_splitting(run: Splitting, target: Float[Array, ""]) -> LogProbability:
    """`log P[level >= target]` from a run of splitting that went as far, or further."""
    levels, log_survival, values = (
        np.swapaxes(np.asarray(x), 0, 1) for x in (run.levels, run.log_survival, run.populations)
    )
    reached, extinct = np.asarray(run.reached), np.asarray(run.extinct)
    evaluations = int(np.sum(np.asarray(run.evaluations)))
    rise = Rise(
        levels, log_survival, values, reached, extinct, reached | extinct, run.u, evaluations
    )
    at = np.asarray(target, float)
    return read_at(at, [of_rise(rise, float(at))], "splitting", evaluations, {})
