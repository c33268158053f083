"""The logarithm of a probability, with its error and status."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..compile import Weights
from ..core import (
    MEMORY,
    Count,
    DeclarationError,
    Estimate,
    Influence,
    Key,
    Memory,
    RunError,
    Status,
    clopper_pearson,
    map_within,
    normal_quantile,
    text_of_values,
    typed,
)
from ..sample import Ensemble, Level, Rise, raise_for_run

FEW = 10
"""Hits, or misses, below which a count is nearly all error."""


class Reading(NamedTuple):
    """The logarithm of one probability: its estimate, the error for independent particles, and
    its status."""

    estimate: Estimate
    naive_error: float
    status: Status


@typed
class LogProbability(eqx.Module):
    """`log P[level >= t]` in nats (never positive) with its error, for one level or several.

    Args:
        at: The levels `t`, `[*level]`.
        estimate: Of the logarithms. Its 95% interval is Wilson's for direct draws (of fewer than 10
            hits or misses at least the exact one) and Student's t over replicates for rising
            levels; without a hit the value is -inf with an upper bound. The errors of several
            levels of one run are correlated.
        naive_error: The error if particles were independent.
        status: The `Status` of each level.
        evaluations: Number of evaluations of the level function, with those of direct draws that
            `"auto"` took first.
        method: How it was estimated.
        replicates: The logarithm in each replicate, `[replicate, *level]`; None for other methods.
        above: Level function, whitened weights `[replicate, particle, ...]` above the highest
            level and the logarithm of the probability in each replicate, if they were kept.
        parts: For a probability of independent events, the probability of each.
        over: The domain of the level function, in words.
    """

    at: Float[Array, "*level"]
    estimate: Estimate
    naive_error: Float[Array, "*level"]
    status: Status
    evaluations: int = eqx.field(static=True)
    method: str = eqx.field(static=True)
    replicates: Float[Array, "replicate *level"] | None = None
    above: tuple[Level, Weights, Float[Array, " replicate"]] | None = None
    parts: tuple["LogProbability", ...] = ()
    over: str = eqx.field(static=True, default="")

    @property
    def value(self) -> Float[Array, "*level"]:
        """The logarithms, in nats."""
        return self.estimate.value

    @property
    def standard_error(self) -> Float[Array, "*level"]:
        """Their standard errors."""
        return self.estimate.standard_error

    @property
    def lower(self) -> Float[Array, "*level"]:
        """Lower end of the 95% interval."""
        return self.estimate.lower

    @property
    def upper(self) -> Float[Array, "*level"]:
        """Upper end of the 95% interval."""
        return self.estimate.upper

    @property
    def outcome(self) -> Status:
        """The `status`, by its older name."""
        return self.status

    @property
    def bits(self) -> Float[Array, "*level"]:
        """`-log₂ P`: the bits of optimisation that reaching the level takes."""
        return -self.value / math.log(2)

    @property
    def successful(self) -> bool:
        """Whether the status of every level, and of every part, is `successful`."""
        good = np.all(np.asarray(self.status == Status.successful))
        return bool(good) and all(part.successful for part in self.parts)

    def z_score(self, truth: Estimate | float | Float[Array, "..."]) -> Float[Array, "..."]:
        """`(value - truth)/standard_error`."""
        return self.estimate.z_score(truth)

    def map(self, fn: Callable) -> Estimate:
        """`fn(value)` by the delta method, for levels that share their replicates.

        Unlike `estimate.map` it accounts for the correlation between levels of one run. Its 95%
        interval is Student's t over replicates.

        Args:
            fn: A differentiable function of an array `[*level]`, written with `jax.numpy`.

        Raises:
            DeclarationError: For a result without replicates.
        """
        if self.replicates is None:
            raise DeclarationError(
                "log_probability",
                got=f"a result by {self.method!r}",
                expected="one that keeps the logarithm in each replicate",
                mend='run with by="levels"',
            )
        mapped = Influence.of_samples(_linearised(np.asarray(self.replicates))).map(fn)
        (rows,) = mapped.rows.values()
        rows = np.moveaxis(np.asarray(rows[..., 0]), -1, 0) + np.asarray(mapped.value)
        unseen = self._unseen()
        # a function that does not vary though the replicates do is known
        result = Estimate.of_replicates(rows, exact=True)
        return result.widened(unseen.map(fn).standard_error) if unseen is not None else result

    def _unseen(self) -> Estimate | None:
        """The part of the errors that the spread of the replicates does not show, if there is one:
        of levels that nearly all draws reach."""
        rows = _linearised(np.asarray(self.replicates))
        shown = np.std(rows, axis=0, ddof=1) / math.sqrt(len(rows))
        square = np.asarray(self.standard_error, float) ** 2 - shown**2
        more = ~(square <= 1e-12 * shown**2)
        if not np.any(more):
            return None
        return Estimate.exact(self.value).widened(np.sqrt(np.where(more, square, 0.0)))

    def draw(self, count: Count, *, key: Key, memory: Memory = MEMORY) -> Ensemble:
        """Weights from the prior at or above the highest level, on the axis `subset`.

        Replicates are chosen in proportion to their probabilities, and particles within them
        uniformly. Particles of one replicate have common ancestors, so that draws are not
        independent: check the `status`, or repeat the run with another key.

        Args:
            count: Number of draws.
            key: For the choice.
            memory: Bytes of intermediate values at once.

        Returns:
            An ensemble with the axis `subset`, `[count]`.

        Raises:
            DeclarationError: For a result whose weights were not kept.
            RunError: If no replicate came to the highest level.
        """
        models, _ = drawn_above(self, count, key, memory)
        assert self.above is not None
        return Ensemble.of_models(self.above[0].gibbs, models, axes=("subset",))

    def __len__(self) -> int:
        return len(self.estimate)

    def __iter__(self) -> "Iterator[LogProbability]":
        return (self[i] for i in range(len(self)))

    def __getitem__(self, place: int) -> "LogProbability":
        """At one of the levels."""
        numbers = {
            name: jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[place]), getattr(self, name))
            for name in ("at", "naive_error", "status")
        }
        runs = None if self.replicates is None else self.replicates[:, place]
        return dataclasses.replace(
            self, **numbers, estimate=self.estimate[place], replicates=runs, above=None
        )

    @text_of_values
    def __repr__(self) -> str:
        if self.at.ndim:
            rows = [f"  {float(level.at):9.4g}: {level._line()}" for level in self]
            return "LogProbability over the level[\n" + "\n".join(rows) + "\n]"
        parts = [f"  part {i}: {part!r}" for i, part in enumerate(self.parts)]
        return "\n".join([self._line(), *parts])

    def _line(self) -> str:
        over = f", over {self.over}" if self.over else ""
        text = (
            f"{float(self.value):.5g} ± {float(self.standard_error):.2g} nats "
            f"(95%: {float(self.lower):.5g} to {float(self.upper):.5g}; {self.method}{over})"
        )
        return text if bool(self.status == Status.successful) else f"{text}\n  {self._words()}"

    def _words(self) -> str:
        return Status[self._worst()]

    def _worst(self) -> Status:
        """The first status that is not successful, of any level or part."""
        if self.at.ndim:
            return self[int(np.argmax(_failed(self)))].status
        return next((part.status for part in self.parts if not part.successful), self.status)


def read_at(
    levels: np.ndarray, readings: Sequence[Reading], method: str, evaluations: int, more: dict
) -> LogProbability:
    """The readings at each level, one or a vector of them, as one result."""
    estimates, naive, status = zip(*readings, strict=True)
    if levels.ndim:
        estimate = Estimate.stack(estimates)
        status = jax.tree.map(lambda *each: jnp.asarray(np.stack(each)), *status)
    else:
        (estimate,), (status,) = estimates, status
    errors = jnp.asarray(np.reshape(naive, levels.shape), float)
    at = jnp.asarray(levels, float)
    return LogProbability(at, estimate, errors, status, evaluations, method, **more)


def of_independent(parts: Sequence[LogProbability]) -> LogProbability:
    """Of independent events together: logarithms add, and squares of errors."""
    estimate = sum((part.estimate for part in parts[1:]), parts[0].estimate)
    naive = jnp.asarray(math.hypot(*(float(part.naive_error) for part in parts)))
    status = next((part.status for part in parts if not part.successful), parts[0].status)
    evaluations = sum(part.evaluations for part in parts)
    return LogProbability(
        parts[0].at, never_positive(estimate), naive, status, evaluations, "sum of parts",
        parts=tuple(parts),
    )  # fmt: skip


def drawn_above(result: LogProbability, draws: int, key: Key, memory: int) -> tuple[PyTree, Array]:
    """Models from the prior at or above the highest level, and their levels `[draw]`."""
    if result.above is None:
        raise DeclarationError(
            "log_probability",
            got="a result without weights",
            expected="the weights above the highest level",
            mend='run with keep=True (and by="levels" or "auto")',
        )
    level, u, log_chance = result.above
    if not np.any(np.isfinite(np.asarray(log_chance))):
        raise RunError(f"no draw reaches the level: {result._words()}", result)
    return _drawn(level, u, log_chance, key, draws, memory)


def _failed(result: LogProbability) -> np.ndarray:
    return ~np.asarray(result.status == Status.successful)


def raised(result: LogProbability, throw: bool) -> LogProbability:
    """The result, if nothing speaks against it or it is taken as it is; else `RunError`."""
    return raise_for_run(result, result._worst(), throw, result.__repr__)


def of_hits(hits: int, samples: int) -> Reading:
    """`log(hits/samples)` of independent draws.

    Of few hits or misses the interval is also at least the exact one: Wilson's covers too rarely.
    """
    estimate = Estimate.of_hits(hits, samples, log=True)
    if min(hits, samples - hits) < FEW:
        low, high = map(_log, clopper_pearson(hits, samples))
        estimate = estimate.bounded(
            min(low, float(estimate.lower)), max(high, float(estimate.upper))
        )
    if samples - hits < FEW:  # few misses tell little of their own spread: Wilson's interval
        error = (estimate.upper - estimate.lower) / (2 * normal_quantile(0.95))
        estimate = dataclasses.replace(estimate, standard_error=error)
    status = Status.no_hits if hits == 0 else Status.successful
    status = Status.few_hits if 0 < hits < min(FEW, samples) else status
    return Reading(estimate, float(estimate.standard_error), status)


def _log(number: float) -> float:
    return math.log(number) if number > 0 else -math.inf


def of_rise(run: Rise, target: float) -> Reading:
    """`log P[level >= target]` from rising levels that went as far, or further."""
    logs, naive = run.log_probability(target), run.naive_error(target)
    found = np.isfinite(logs)
    under_way = run.interrupted and not np.all(run.stopped | found)
    if not found.any() or under_way:
        failed = Status.extinct if np.all(run.extinct) else Status.capped
        return nothing(run.evaluations, Status.interrupted if under_way else failed)
    rows = _linearised(logs)
    relative = float(np.std(rows, ddof=1)) if len(rows) > 1 else math.nan
    spread = float(np.sqrt(np.mean(naive[found] ** 2)))
    # some replicates that never come to the target are the plainest sign of a decoy
    uneven = relative > 2 * spread or not found.all()
    status = Status.uneven if uneven else Status.successful
    status = Status.interrupted if run.interrupted else status
    error, hits = spread / math.sqrt(len(rows)), run.hits(target)
    estimate = Estimate.of_replicates(rows, exact=hits is not None)
    if hits is not None:
        counted = of_hits(hits, run.values[0].size)
        estimate, error = _not_below(estimate, counted.estimate), max(error, counted.naive_error)
    return Reading(never_positive(estimate), error, status)


def _not_below(estimate: Estimate, counted: Estimate) -> Estimate:
    """An estimate whose error and interval are at least those of counts of the same draws.

    Near probability one replicates can agree by chance: their spread is then no error.
    """
    # on the host: few runs come here, and the first would compile
    error = np.maximum(estimate.standard_error, counted.standard_error)
    low = np.minimum(estimate.lower, counted.lower)
    high = np.maximum(estimate.upper, counted.upper)
    error, *bounds = jax.device_put((error, low, high))
    return dataclasses.replace(estimate, standard_error=error, bounds=tuple(bounds))


def _linearised(logs: np.ndarray) -> np.ndarray:
    """What to first order has the mean `log mean exp(logs)` along the first axis."""
    top = np.max(logs, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.exp(logs - top)
        mean = np.mean(p, axis=0)
        return top + np.log(mean) + p / mean - 1


def nothing(evaluations: int, status: Status) -> Reading:
    """No hit, and no bound but that a probability is at most 1."""
    estimate = Estimate.of_hits(0, max(evaluations, 1), log=True)
    low, high = (np.asarray(end) for end in estimate.interval())
    bounds = (jnp.asarray(low), jnp.asarray(np.zeros_like(high)))
    return Reading(dataclasses.replace(estimate, bounds=bounds), math.inf, status)


def never_positive(estimate: Estimate) -> Estimate:
    """An estimate of a logarithm of a probability: the upper bound is 0 at most."""
    low, high = (np.asarray(end) for end in estimate.interval())
    bounds = (jnp.asarray(low), jnp.asarray(np.minimum(high, 0)))
    return dataclasses.replace(estimate, bounds=bounds)


@eqx.filter_jit
def _drawn(level: Level, u: Weights, log_chance: Array, key: Key, draws: int, memory: int):
    key_replicate, key_particle = jax.random.split(key)
    replicate = jax.random.categorical(key_replicate, log_chance, shape=(draws,))
    count = jax.tree.leaves(u)[0].shape[1]
    particle = jax.random.randint(key_particle, (draws,), 0, count)
    chosen = jax.tree.map(lambda leaf: leaf[replicate, particle], u)
    return eqx.filter_vmap(level.model)(chosen), map_within(level, chosen, memory)
