"""Run rising levels, and read probabilities off the populations that they leave."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray, PyTree

from ..compile import Weights
from ..core import MEMORY, Status, full_products, working_bytes
from ._level_function import Level
from ._levels import Levels
from ._loop import Run, loop
from ._placement import Placement
from ._run_plan import AbstractCheckpoints

CELLS = 4_000_000
"""Numbers that the particles of all replicates that run at a time may hold together."""
ROWS = 4
"""Levels of a chunk of the loop."""


class Rise(NamedTuple):
    """What rising levels leave behind, on the host, but for the weights.

    - `levels` `[level, replicate]`: the thresholds; the first is -inf, unused ones NaN.
    - `log_survival` `[level, replicate]`: log probability to lie above each of them.
    - `values` `[level, replicate, particle]`: levels of the particles that are distributed as the
      prior above that threshold.
    - `reached`, `extinct`, `stopped` `[replicate]`: whether half of a population came to the
      target; whether no particle could go on; whether either (False if the levels ran out).
    - `u` `[replicate, particle, ...]`: whitened weights distributed as the prior at or above the
      target, if they were asked for (meaningful where `reached`).
    - `evaluations` of the level function, of all replicates.
    - `interrupted`: whether the run was ended by Ctrl-C.
    """

    levels: Float[np.ndarray, "level replicate"]
    log_survival: Float[np.ndarray, "level replicate"]
    values: Float[np.ndarray, "level replicate particle"]
    reached: Bool[np.ndarray, " replicate"]
    extinct: Bool[np.ndarray, " replicate"]
    stopped: Bool[np.ndarray, " replicate"]
    u: Weights | None
    evaluations: int
    interrupted: bool = False

    def log_probability(self, target: float) -> Float[np.ndarray, " replicate"]:
        """`log P[level >= target]` of each replicate, whose P has a bias of O(1/N)."""
        last, log_survival, _ = self._at(target)
        with np.errstate(divide="ignore"):
            return log_survival + np.log(last)

    def hits(self, target: float) -> int | None:
        """How many draws of the prior reach a target, if it lies below every level that was raised:
        then they are counts of independent draws. None otherwise."""
        bound = self.values.dtype.type(target)
        below = np.any(self.levels[1:] < bound)
        return None if below else int(np.sum(self.values[0] >= bound))

    def naive_error(self, target: float) -> Float[np.ndarray, " replicate"]:
        """Relative error of each replicate if its particles were independent:
        `√(Σ_k (1 - p_k)/(N p_k))` over the survival fractions `p_k`."""
        last, _, place = self._at(target)
        count = self.values.shape[-1]
        fractions = np.exp(np.diff(self.log_survival, axis=0))
        used = np.where(np.arange(len(fractions))[:, None] < place, fractions, 1.0)
        parts = np.sum((1 - used) / used, axis=0)
        return np.sqrt((parts + (1 - last) / np.maximum(last, 1 / count)) / count)

    def _at(self, target: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At the last level below the target: the share of the particles that reach it, the log
        probability of the level, and its place."""
        bound = self.values.dtype.type(target)
        place = np.sum(self.levels < bound, axis=0) - 1
        at = place, np.arange(len(place))
        return np.mean(self.values[at] >= bound, axis=-1), self.log_survival[at], place


@full_products()
def rise(
    level: Level,
    target: float,
    *,
    key: PRNGKeyArray,
    particles: int,
    moves: int,
    replicates: int,
    max_levels: int,
    keep: bool = False,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoints: AbstractCheckpoints | None = None,
    placement: Placement | None = None,
) -> Rise:
    """Raise `replicates` populations of the prior up to `level >= target`, by `Levels`.

    Replicates run one after the other where all together would hold more than `memory` bytes at
    work; the result does not depend on it by more than rounding.

    Raises:
        KeyboardInterrupt: By Ctrl-C before the first record; later the `Rise` says so.
    """
    together = _together(level, particles, replicates, memory)
    bound = jnp.asarray(target, float)
    dynamics = Levels(level, bound, particles, moves, keep, memory)
    keys = jax.random.split(key, 2 * replicates)  # of the replicates, then of their runs
    parts: list[Rise] = []
    for first in range(0, replicates, together):
        start = {"key": keys[first : first + together]}
        if placement is not None:
            dynamics, start = placement.lay(dynamics, start)
        saved = None if checkpoints is None else checkpoints.part(f"replicates{first}")
        run = loop(
            dynamics, start, keys[replicates + first], warmup=0, draws=max_levels + keep, thin=1,
            rows=ROWS, progress=progress, stop=_done, checkpoints=saved,
        )  # fmt: skip
        cut = run.status == Status.interrupted
        parts.append(_read(run, keep and not cut, moves))
        if cut:
            break
    return _joined(parts)


def _together(level: Level, particles: int, replicates: int, memory: int) -> int:
    """How many replicates run at a time: a divisor of their number."""
    template = level.template()
    size = particles * sum(leaf.size for leaf in jax.tree.leaves(template))
    at_work = particles * working_bytes(level, template)[0]
    most = max(1, min(replicates, CELLS // max(size, 1), memory // max(at_work, 1)))
    return next(n for n in range(most, 0, -1) if replicates % n == 0)


def _done(parts: list[PyTree]) -> bool:
    return bool(np.all(parts[-1]["stopped"]))


def _read(run: Run, keep: bool, moves: int) -> Rise:
    """What one run of the loop recorded."""
    records = run.records
    count, value = records["count"], records["value"]
    unused = count < np.arange(len(count))[:, None]
    levels, log_survival = (
        np.where(unused, np.nan, records[name]).astype(kind)
        for name, kind in (("level", value.dtype), ("log_survival", np.float64))
    )
    flags = (records[name][-1] for name in ("reached", "extinct", "stopped"))
    evaluations = int(np.sum(value.shape[-1] * (1 + moves * count[-1])))
    u = run.state.u if keep else None
    cut = bool(run.status == Status.interrupted)
    return Rise(levels, log_survival, value, *flags, u, evaluations, cut)


def _joined(parts: list[Rise]) -> Rise:
    """The replicates of several runs, of as many levels as the longest has."""
    levels, log_survival, values, reached, extinct, stopped, u, evaluations, interrupted = zip(
        *parts, strict=True
    )
    longest = max(map(len, levels))

    def joined(arrays: tuple[np.ndarray, ...], fill: float) -> np.ndarray:
        widths = [[(0, longest - len(x))] + [(0, 0)] * (x.ndim - 1) for x in arrays]
        pairs = zip(arrays, widths, strict=True)
        padded = [np.pad(x, width, constant_values=x.dtype.type(fill)) for x, width in pairs]
        return np.concatenate(padded, axis=1)

    kept = None not in u
    return Rise(
        joined(levels, np.nan), joined(log_survival, np.nan), joined(values, -np.inf),
        *map(np.concatenate, (reached, extinct, stopped)),
        jax.tree.map(lambda *x: jnp.concatenate(x), *u) if kept else None,
        sum(evaluations), any(interrupted),
    )  # fmt: skip
