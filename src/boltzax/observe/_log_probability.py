"""Probabilities of rare events under the prior, `log P[level(w) >= t]`."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..compile import Gibbs
from ..core import (
    MEMORY,
    Count,
    DeclarationError,
    Key,
    check_on_host,
    function_errors,
    model_errors,
    typed,
    whole,
)
from ..sample import AbstractCheckpoints, Level, Placement, levels_of_draws, rise
from ._log_probability_result import LogProbability, of_hits, of_rise, raised, read_at
from ._log_probability_tempered import tempered

By = Literal["auto", "direct", "levels", "tempered"]

Particles: TypeAlias = Annotated[int, whole(8)]
"""Particles of a replicate of rising levels."""
Replicates: TypeAlias = Annotated[int, whole(2)]
"""Independent populations; a spread takes two."""
MaxLevels: TypeAlias = Annotated[int, whole(2)]
"""Most levels of a replicate."""

ENOUGH = 100
"""Hits from which on direct drawing is left as it is: a relative error of 10%."""


@typed
@model_errors("in bx.log_probability")
def log_probability(
    gibbs: Gibbs,
    level: Callable,
    at: float | Sequence[float] | Float[Array, "*level"] = 0.0,
    *,
    key: Key,
    by: By = "auto",
    samples: Count = 20_000,
    particles: Particles = 512,
    moves: Count = 16,
    replicates: Replicates = 16,
    max_levels: MaxLevels = 200,
    keep: bool = False,
    memory: Count = MEMORY,
    throw: bool = True,
    progress: bool = False,
    checkpoints: AbstractCheckpoints | None = None,
    placement: Placement | None = None,
) -> LogProbability:
    """`log P[level(model) >= t]` in nats, for weights drawn from the prior of a Gibbs measure.

    - `"direct"`: the fraction of `samples` independent draws, with Wilson's interval (Wilson 1927),
      of fewer than 10 hits or misses at least the exact one (Clopper & Pearson 1934).
      With the default 20,000 samples, for probabilities above 5e-4: fewer than 10 hits are the
      status `few_hits`.
    - `"levels"`: rising levels (multilevel splitting): `replicates` independent populations of
      `particles` draws follow a rising sequence of levels, of which each halves the probability.
      One run gives the whole curve over `at`. Probabilities (not their logarithms) are averaged
      over the replicates; the error is from their spread, the interval Student's t, on the scale of
      log P. Levels that more than half of the prior reaches are counts of draws: their error and
      interval are at least Wilson's.
    - `"tempered"`: `log Z(T) + log P_T[E = 0]` with `E(w) = max(0, t - level)`, from replica
      exchange along a ladder of temperatures that ends where about half of the draws reach the
      level. Where half of the prior does, these are `samples` independent draws. One level only.
    - `"auto"`: direct, and rising levels if fewer than 100 draws reach the highest level.

    Sources: Kahn & Harris 1951 (splitting); Au & Beck 2001, Prob. Eng. Mech. 16:263 (subset
    simulation); Cérou & Guyader 2007, Stoch. Anal. Appl. 25:417 (adaptive levels).

    Args:
        gibbs: A measure, of which only the prior counts: `bx.prior(model, prior)`, or what
            `bx.compile(..., marginalise=False)` gives.
        level: A function of the model that gives a number; one that is not a number counts as -inf.
        at: The levels `t`: a number, or a vector for a curve.
        key: Key of all randomness.
        by: The method.
        samples: Draws of the prior (direct), or draws at each temperature, of all ladders together
            (tempered): each ladder gives `samples // replicates`, at least 200, five steps apart,
            after half as many steps of warm-up.
        particles: Of each replicate.
        moves: Moves of every particle at a level.
        replicates: Independent populations, or ladders.
        max_levels: Most levels of a replicate. Each halves the probability: 200 are 138 nats.
        keep: Keep the weights above the highest level, for `LogProbability.draw`; by rising levels.
        memory: Bytes of intermediate values at once; as many draws, particles and replicates are
            looked at together as that allows.
        throw: Raise `RunError` if something speaks against the result; else look at its `status`.
        progress: Show a bar, of rising levels.
        checkpoints: Where rising levels are saved, and resumed from (`bx.Checkpoints`).
        placement: Devices for the replicates of rising levels (`bx.Placement`).

    Returns:
        A `LogProbability` of the shape of `at`.

    Raises:
        DeclarationError: Wrong arguments; a measure of which weights were integrated out, or one
            that is localised; by rising levels, a prior with neither quantiles nor a distribution
            function, which is no image of normals.
        RunError: A `status` that is not `successful`.
    """
    check_on_host("log_probability", {"gibbs": gibbs, "key": key, "at": at})
    levels = _levels(at)
    _check(gibbs, by, keep, levels)
    function = Level(gibbs, level)
    _check_function(function)
    reading, drawn = None, 0
    if by in ("auto", "direct") and not keep:
        key, key_direct = jax.random.split(key)
        drawn = samples
        values = np.asarray(levels_of_draws(function, key_direct, samples, memory))
        hits = [int(np.sum(values >= values.dtype.type(t))) for t in levels.ravel()]
        if by == "direct" or min(hits) >= ENOUGH:
            reading = [of_hits(count, samples) for count in hits], "direct", samples, {}
    elif by == "tempered":
        one, evaluations = tempered(function, float(levels), key, samples, replicates, memory)
        reading = [one], "tempered", evaluations, {}
    if reading is None:
        run = rise(
            function, float(levels.max()), key=key, particles=particles, moves=moves,
            replicates=replicates, max_levels=max_levels, keep=keep, memory=memory,
            progress=progress, checkpoints=checkpoints, placement=placement,
        )  # fmt: skip
        logs = np.stack([run.log_probability(t) for t in levels.ravel()], axis=-1)
        more = {"replicates": jnp.asarray(logs.reshape(len(logs), *levels.shape), float)}
        if run.u is not None:
            chance = np.where(run.reached, logs[:, int(np.argmax(levels))], -np.inf)
            more |= {"above": (function, run.u, jnp.asarray(chance, float))}
        evaluations = drawn + run.evaluations
        reading = [of_rise(run, t) for t in levels.ravel()], "levels", evaluations, more
    return raised(read_at(levels, *reading), throw)


def _levels(at: object) -> np.ndarray:
    levels = np.asarray(at, float)
    if levels.ndim > 1 or levels.size == 0 or not np.all(np.isfinite(levels)):
        raise DeclarationError(
            "at",
            got=f"{at!r:.80}",
            expected="a finite number, or a vector of them",
            mend="pass e.g. at=0.0, or at=jnp.linspace(-1.0, 0.0, 11)",
        )
    return levels


def _check(gibbs: Gibbs, by: By, keep: bool, levels: np.ndarray) -> None:
    """What a measure and a method must be."""
    if gibbs.parameters != gibbs.dim or gibbs.coordinates.localisations:
        lost = (
            "localised"
            if gibbs.coordinates.localisations
            else "of which weights were integrated out"
        )
        raise DeclarationError(
            "gibbs",
            got=f"a measure {lost}",
            expected="one of all weights, with the prior that was declared",
            mend="pass bx.prior(model, prior), or compile with marginalise=False",
        )
    if keep and by in ("direct", "tempered"):
        raise DeclarationError(
            "keep",
            got=f"True with by={by!r}",
            expected="weights that rising levels leave",
            mend='take by="levels"',
        )
    if by == "tempered" and levels.ndim:
        raise DeclarationError(
            "at",
            got=f"{levels.size} levels for one temperature",
            expected="one number",
            mend='pass them one by one, or take by="levels"',
        )


def _check_function(level: Level) -> None:
    """A level function must give one real number."""
    with function_errors("level"):
        out = eqx.filter_eval_shape(level.function, level.gibbs.declared)
    good = isinstance(out, jax.ShapeDtypeStruct) and out.shape == ()
    if not good or not jnp.issubdtype(out.dtype, jnp.floating):
        raise DeclarationError(
            "level",
            got=f"a function that gives {out}",
            expected="a function of the model that gives one real number",
            mend="write e.g. lambda model: -jnp.max(jnp.abs(model(x) - y))",
        )
