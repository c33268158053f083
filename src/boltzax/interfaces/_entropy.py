"""Entropy of parameters under interfaces, `H(Θ | API) = log P_prior[all contracts hold]`."""

import math
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.special import stdtrit

from ..compile import compile
from ..core import (
    MEMORY,
    DeclarationError,
    Estimate,
    Status,
    check_memory,
    map_within,
    normal_quantile,
    typed,
)
from ..declare import Circuit, Contract, Violation
from ..observe import free_energy
from ..sample import RandomWalk, anneal
from ._splitting import Level, Splitting, split

Method = Literal["auto", "direct", "splitting", "tempered"]

ENOUGH = 100
"""Hits from which on direct drawing is left as it is: a relative error of 10%."""


class Outcome(eqx.Enumeration):
    """What became of an estimate of an entropy."""

    successful = "Nothing speaks against the estimate."
    no_hits = (
        "No draw of the prior keeps the contract. The value is -inf with a one-sided interval: "
        'draw more, or use method="splitting".'
    )
    extinct = (
        "In every replicate of splitting all particles came to one and the same margin, below "
        "zero, and could not go on: the margin has a plateau (a saturated or discontinuous model). "
        "More particles or moves, or a prior that does not saturate, may help."
    )
    capped = (
        "No replicate of splitting came to the target before its levels were used up. The contract "
        "may be impossible to keep; else raise `max_levels`, `particles` and `moves`."
    )
    uneven = (
        "The replicates differ by more than twice what independent particles would, or some never "
        "came to the target: they follow a decoy, whose weights keep the contract almost. The "
        "error bar is from the spread, but may still be too small: raise `replicates`, "
        "`particles` and `moves`."
    )
    not_mixed = (
        "The tempered run did not mix (see the status of its trace). Raise `draws`, or use "
        'method="splitting".'
    )


class Entropy(eqx.Module):
    """`H = log P[margin >= 0]` under the prior, in nats (never positive), with its error.

    - `value`, `standard_error`; `lower`, `upper`: the 95% interval (Wilson's for direct drawing;
      Student's t over replicates for splitting, on the scale of log P; normal else).
    - `method`: how it was estimated. `outcome`: what speaks against it.
    - `naive_error`: what the error would be if particles were independent (splitting).
    - `evaluations`: of the margin. `parts`: of a circuit, the entropy of each contract.

    The margin is that over the points that the contract looks at, so that the value is an upper
    bound up to its error; `boltzax.interfaces.certify` bounds it from below.
    """

    value: Float[Array, ""]
    standard_error: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    naive_error: Float[Array, ""]
    evaluations: int = eqx.field(static=True)
    method: str = eqx.field(static=True)
    outcome: Outcome
    parts: tuple["Entropy", ...] = ()

    @property
    def bits(self) -> Float[Array, ""]:
        """`-log₂ P`: bits of optimisation that keeping the contract takes."""
        return -self.value / math.log(2)

    @property
    def successful(self) -> bool:
        """Whether nothing speaks against the estimate (or any of its parts)."""
        return bool(self.outcome == Outcome.successful) and all(p.successful for p in self.parts)

    def z_score(self, truth: float | Array) -> Float[Array, ""]:
        """`(value - truth)/standard_error`."""
        return (self.value - jnp.asarray(truth)) / self.standard_error

    def __repr__(self) -> str:
        text = (
            f"{float(self.value):.5g} ± {float(self.standard_error):.2g} nats "
            f"(95%: {float(self.lower):.5g} to {float(self.upper):.5g}; {self.method})"
        )
        if not bool(self.outcome == Outcome.successful):
            text += f"\n  {Outcome[self.outcome]}"
        return "\n".join([text, *(f"  part {i}: {p!r}" for i, p in enumerate(self.parts))])


@typed
def entropy(
    contract: Contract | Circuit,
    *,
    key: PRNGKeyArray,
    method: Method = "auto",
    joint: bool = False,
    draws: int = 20_000,
    particles: int = 512,
    moves: int = 16,
    replicates: int = 16,
    max_levels: int = 200,
    memory: int = MEMORY,
) -> Entropy:
    """`H(Θ | API) = log P_prior[all contracts hold]`, in nats.

    Given the interfaces, the components of a circuit are independent, so that its entropy is the
    sum of the entropies of its contracts, `Σ_i H(Θ_i | API_before, API_after)`; `joint=True`
    estimates the probability of all contracts at once instead, which must agree.

    - `"direct"`: the fraction of `draws` of the prior that keep the contract, with Wilson's
      interval (Wilson 1927). For probabilities above some 1e-4.
    - `"splitting"`: multilevel splitting in the margin, `replicates` times `particles` particles;
      the probabilities (not their logarithms) are averaged, the error is from their spread.
    - `"tempered"`: `log Z(T) + log P_T[E = 0]`, E the violation energy, from replica exchange
      along a ladder of temperatures that ends where about half of the draws keep the contract.
    - `"auto"`: direct, and splitting if fewer than 100 draws keep the contract.

    `memory`: bytes of intermediate values at once; as many draws, particles and replicates are
    looked at together as that allows (a gigabyte by default).

    Raises:
        DeclarationError: Wrong arguments, or, for splitting, a prior with neither quantiles nor a
            distribution function, which is no image of normals. What goes wrong in a run is said
            in `outcome`.
    """
    _check_counts(draws, particles, moves, replicates, max_levels)
    memory = check_memory(memory)
    if isinstance(contract, Circuit) and not joint:
        keys = jax.random.split(key, len(contract.components))
        parts = tuple(
            entropy(
                part,
                key=k,
                method=method,
                draws=draws,
                particles=particles,
                moves=moves,
                replicates=replicates,
                max_levels=max_levels,
                memory=memory,
            )
            for part, k in zip(contract.contracts, keys, strict=True)
        )
        return _summed(parts)
    level = Level(compile(Violation(contract), contract.prior, marginalise=False), contract.margin)
    if method == "tempered":
        return _tempered(level, key, draws, replicates, memory)
    if method in ("auto", "direct"):
        key, key_direct = jax.random.split(key)
        found, hits = _direct(level, key_direct, draws, memory)
        if method == "direct" or hits >= ENOUGH:
            return found
    zero = jnp.zeros(())
    run = split(
        level,
        zero,
        key,
        particles=particles,
        moves=moves,
        replicates=replicates,
        max_levels=max_levels,
        memory=memory,
    )
    return from_splitting(run, zero)


def from_splitting(run: Splitting, target: Float[Array, ""]) -> Entropy:
    """`log P[level >= target]` from a run of splitting that went as far, or further."""
    target = jnp.asarray(target)
    p = np.asarray(run.probability(target), float)
    naive = np.asarray(run.naive_error(target), float)
    count = len(p)
    mean = p.mean()
    reached = p > 0
    evaluations = int(np.sum(run.evaluations))
    if not reached.any():
        outcome = Outcome.extinct if bool(np.all(run.extinct)) else Outcome.capped
        return _nothing(1.0, evaluations, "splitting", outcome)
    relative = float(p.std(ddof=1) / mean)
    # some replicates that never come to the target are the plainest sign of a decoy
    uneven = relative > 2 * float(np.sqrt(np.mean(naive[reached] ** 2))) or not reached.all()
    outcome = Outcome.uneven if uneven else Outcome.successful
    error = relative / math.sqrt(count)
    half = float(stdtrit(count - 1, 0.975)) * error
    value = math.log(mean)
    return _entropy(
        value,
        error,
        (value - half, min(value + half, 0.0)),
        float(np.sqrt(np.mean(naive[reached] ** 2))) / math.sqrt(count),
        evaluations,
        "splitting",
        outcome,
    )


def wilson(hits: Array, draws: int, level: float = 0.95) -> tuple[Array, Array]:
    """Wilson's score interval of a probability from `hits` of `draws` (Wilson 1927, J. Am. Stat.
    Assoc. 22:209): `[0, z²/(n+z²)]` for no hit."""
    z = normal_quantile(level)
    p = jnp.asarray(hits, float) / draws
    centre = (p + z**2 / (2 * draws)) / (1 + z**2 / draws)
    half = z / (1 + z**2 / draws) * jnp.sqrt(p * (1 - p) / draws + z**2 / (4 * draws**2))
    return jnp.maximum(centre - half, 0.0), jnp.minimum(centre + half, 1.0)


@eqx.filter_jit
def _hits(level: Level, key: PRNGKeyArray, draws: int, memory: int) -> Array:
    """How many draws of the prior have a level of at least zero."""

    def one(key):
        return level.at_draw(key) >= 0

    return jnp.sum(map_within(one, jax.random.split(key, draws), memory // 16))


def _direct(level: Level, key: PRNGKeyArray, draws: int, memory: int) -> tuple[Entropy, int]:
    hits = int(_hits(level, key, draws, memory))
    if hits == 0:
        top = float(wilson(jnp.zeros(()), draws)[1])
        return _nothing(top, draws, "direct", Outcome.no_hits), 0
    p = hits / draws
    low, high = (float(end) for end in wilson(jnp.asarray(hits), draws))
    error = math.sqrt((1 - p) / hits)
    interval = (math.log(low), math.log(high))
    # every draw a hit: the error of a Wilson interval, not zero
    error = error if hits < draws else (interval[1] - interval[0]) / (2 * 1.96)
    found = _entropy(math.log(p), error, interval, error, draws, "direct", Outcome.successful)
    return found, hits


def _tempered(level: Level, key: PRNGKeyArray, draws: int, chains: int, memory: int) -> Entropy:
    """`log Z(T) + log P_T[E = 0]` at a T where about half of the draws keep the contract."""
    gibbs = level.gibbs
    key_scale, key_run = jax.random.split(key)
    keys = jax.random.split(key_scale, 256)
    violations = map_within(lambda k: gibbs.energy(gibbs.sample_prior(k)), keys, memory)
    scale = float(jnp.median(jnp.where(jnp.isfinite(violations), violations, 0.0)))
    betas = (1 / scale if scale > 0 else 1.0) * np.geomspace(1.0, 256.0, 9)
    steps = max(200, draws // chains)
    trace = anneal(
        gibbs,
        betas,
        RandomWalk(),
        key=key_run,
        chains=chains,
        warmup=steps // 2,
        draws=steps,
        thin=5,
        throw=False,
    )
    inside = (np.asarray(trace.energy) == 0).astype(float)  # [beta, chain, draw]
    fraction = inside.mean(axis=(1, 2))
    place = int(np.argmax(fraction >= 0.5)) if np.any(fraction >= 0.5) else len(betas) - 1
    bridges = trace.bridges
    assert bridges is not None
    levels = int(np.prod(np.asarray(bridges.energy).shape)) * 5
    if fraction[place] == 0:
        return _nothing(1.0, levels, "tempered", Outcome.not_mixed)
    free = free_energy(trace)[place]

    hit = Estimate.of_series(jnp.asarray(inside[place]), exact=True)
    value = -float(free.value) + math.log(fraction[place])
    error = math.hypot(float(free.standard_error), float(hit.standard_error) / fraction[place])
    good = trace.status == Status.successful
    return _entropy(
        value,
        error,
        (value - 1.96 * error, min(value + 1.96 * error, 0.0)),
        error,
        levels,
        "tempered",
        Outcome.successful if good else Outcome.not_mixed,
    )


def _summed(parts: tuple[Entropy, ...]) -> Entropy:
    """The entropy of independent parts: values add, squares of errors add."""
    value = sum(float(p.value) for p in parts)
    error = math.sqrt(sum(float(p.standard_error) ** 2 for p in parts))
    naive = math.sqrt(sum(float(p.naive_error) ** 2 for p in parts))
    below = math.sqrt(sum((float(p.value) - float(p.lower)) ** 2 for p in parts))
    above = math.sqrt(sum((float(p.upper) - float(p.value)) ** 2 for p in parts))
    evaluations = sum(p.evaluations for p in parts)
    outcome = next(
        (p.outcome for p in parts if not bool(p.outcome == Outcome.successful)), Outcome.successful
    )
    interval = (value - below, min(value + above, 0.0))
    return _entropy(value, error, interval, naive, evaluations, "sum of parts", outcome, parts)


def _nothing(top: float, evaluations: int, method: str, outcome: Outcome) -> Entropy:
    """No hit: -inf, below `log top` with 95% confidence."""
    interval = (-math.inf, math.log(top))
    return _entropy(-math.inf, math.inf, interval, math.inf, evaluations, method, outcome)


def _entropy(value, error, interval, naive, evaluations, method, outcome, parts=()) -> Entropy:
    low, high = interval
    numbers = [jnp.asarray(float(x)) for x in (value, error, low, high, naive)]
    return Entropy(*numbers, evaluations, method, outcome, parts)


def _check_counts(*counts: int) -> None:
    names = ("draws", "particles", "moves", "replicates", "max_levels")
    least = (1, 16, 1, 2, 2)
    for name, count, low in zip(names, counts, least, strict=True):
        if count < low:
            raise DeclarationError(
                name, got=str(count), expected=f"at least {low}", mend="leave out for the default"
            )
