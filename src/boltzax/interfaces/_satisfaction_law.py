"""Does an ensemble of systems find the interfaces of maximal entropy? A test against the prior."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import rankdata
from jaxtyping import Array, Bool, Float

from ..core import (
    POWER,
    DeclarationError,
    Estimate,
    Key,
    Model,
    NonNegative,
    Outcome,
    estimate_of_parts,
    map_within,
    outcome_of,
    text_of_values,
    typed,
    weights_of,
    with_weights,
)
from ..numerics import bisect
from ._components_in_series import Series
from ._expected_satisfaction import REPLICATES, ExpectedSatisfaction, Judge

LEAST = 100
"""Fewest prior draws that must satisfy each contract of a candidate (H errs by .15 at most)."""
FEWEST = 8
"""Systems are filled up to this power of two at the least."""
LEVEL = 0.01
"""An ensemble that obeys the law is called otherwise with this probability, by its distance."""
FAR = 4.0
"""Standard errors by which slope and level may be off 1 (false alarms 1.3e-4 together)."""
STEEPEST = 25.0
"""Slopes are looked for up to this one, of either sign."""
MATTERS = 0.5
"""The relative deviation from the law that must be seen before an ensemble agrees with it."""


class Agreement(eqx.Enumeration):
    """How an ensemble compares with the satisfaction law."""

    agrees = (
        "Distance, slope and level are those of an exact ensemble of the same size, and a "
        "satisfaction that is off by half would have been seen."
    )
    order_only = (
        "Interfaces of more entropy are satisfied more often, but not by the law: the distance is "
        "beyond that of 99% of exact ensembles of the same size, or slope or level is 4 standard "
        "errors off."
    )
    differs = "The ensemble is far from the law, in order as well."
    too_few = (
        "Too few to tell: fewer than three candidates can be expected to be satisfied often "
        "enough, none was, or a satisfaction that is off by half would not have been seen. "
        "Train more systems, draw more of the prior, or pass wider interfaces."
    )


@typed
class SatisfactionLaw(eqx.Module):
    """An ensemble held against `P[B satisfied | spec] = e^{H(B)}/Z`.

    - `fraction`: share of the systems that satisfy both contracts of each candidate; `expected`:
      `e^H/Z`; `entropy`: H, nats; `used`: which candidates count below;
    - `slope` of log P on H (1 by the law), `level`: satisfactions found over satisfactions
      expected, all candidates together (1 by the law), `order`: Spearman's correlation of P and H;
    - `best`: found over expected for the candidate of largest H; `shortfall`: nats of H by which
      the most satisfied candidate stays below the largest H;
    - `distance`: `sqrt(Σ (P - e^H/Z)²/(e^H/Z) / Σ e^H/Z)`, the relative deviation; `floor`: its
      median in exact ensembles of the same size; `p_value`: how often those are as far;
    - `detectable`: the distance of a law that would have been seen, by the distance alone, with
      probability .95: all shares too large, or too small, by this factor of themselves;
    - `systems`: given, `solved`: how many of them satisfy the end-to-end spec (the others are left
      out); `agreement`: the verdict.
    """

    fraction: Float[Array, " candidate"]
    expected: Float[Array, " candidate"]
    entropy: Float[Array, " candidate"]
    used: Bool[Array, " candidate"]
    slope: Estimate
    level: Estimate
    order: Estimate
    best: Estimate
    shortfall: float
    distance: float
    floor: float
    p_value: float
    detectable: float
    systems: int
    solved: int
    agreement: Agreement

    @property
    def outcome(self) -> Outcome:
        """`agree`, `disagree` (in order as well or not), or `too_few`."""
        few = bool(self.agreement == Agreement.too_few)
        return outcome_of(not few and not bool(self.agreement == Agreement.agrees), not few)

    @text_of_values
    def __repr__(self) -> str:
        pairs = (("slope", self.slope), ("level", self.level), ("order", self.order))
        said = ", ".join(f"{n} {float(e.value):.3f} ± {float(e.standard_error):.2g}"
                         for n, e in (*pairs, ("best", self.best)))  # fmt: skip
        return (
            f"SatisfactionLaw of {self.solved} of {self.systems} systems, "
            f"{int(jnp.sum(self.used))} candidates\n  {said}\n  distance {self.distance:.3g}, "
            f"floor {self.floor:.3g}, p = {self.p_value:.3g}, seen from {self.detectable:.3g}\n  "
            f"{Agreement[self.agreement]}"
        )


@typed
def satisfaction_law(
    ensemble: Model,
    expected: ExpectedSatisfaction,
    *,
    key: Key,
    initial: Model | None = None,
    allow_satisfied: bool = False,
    least: NonNegative = 10.0,
) -> SatisfactionLaw:
    """Whether an ensemble of systems satisfies interfaces as often as their entropy says.

    Under the prior conditioned on the end-to-end spec, `P[B satisfied | spec] = e^{H(B)}/Z`
    exactly, `H(B) = H₁(first, B) + H₂(B, last)`: log P is linear in H, with slope 1 and level
    `-log Z`. The events overlap (a system satisfies many B), so this is no partition.

    The slope is that of a Poisson log-linear fit, `Σ (n_B - μ_B)(1, H_B) = 0`, which needs no
    logarithm of a count. Standard errors are those of a Bayesian bootstrap over systems and prior
    draws together. The noise floor is the distance of stretches of the pool (prior draws that
    satisfy the spec) as long as the ensemble. The verdict is `agrees` if `p_value` is at least .01
    and slope and level are within 4 standard errors of 1: an exact ensemble fails with
    probability .01. The last two also see a wrong `expected`, which the floor would share. It is
    `too_few` instead where a deviation of half the expected shares would not have been seen.

    Args:
        ensemble: A pair of component models whose arrays have a leading axis of systems, trained or
            sampled however. Systems that do not satisfy the spec are left out and counted.
        expected: From `expected_satisfaction`.
        key: Of the bootstrap.
        initial: The models at which each system started, in the same form. A system that satisfied
            the spec before any training brings the prior's own law with it, so ensembles with such
            starts are refused; drop these systems.
        allow_satisfied: Take the ensemble whatever it started from: draws without a start
            (rejection), or chains that have forgotten it.
        least: A candidate counts if so many of the solved systems are expected to satisfy it, and
            at least 100 draws of the prior do; how many did satisfy it plays no part.

    Raises:
        DeclarationError: An ensemble of other models, starts that satisfy the spec or are not
            given, and more solved systems than a quarter of the pool.
    """
    weights = _stacked("ensemble", ensemble, expected.judge)
    satisfied, solved = _judged(expected.judge, weights)
    count, number, pool = _count(weights), int(jnp.sum(solved)), np.asarray(expected.pool)
    if not allow_satisfied:
        _check_starts(initial, expected.judge, count)
    windows = _windows(pool, number)
    entropy, rate = expected.entropy, jnp.exp(expected.entropy - expected.log_evidence)
    used = (number * rate >= least) & (expected.counts >= LEAST)
    hits = satisfied & solved[:, None]
    fraction = jnp.sum(hits, axis=0) / max(number, 1)
    keys = jax.random.split(key, REPLICATES)
    # the length of the pool would be one of the shapes
    shared = eqx.tree_at(lambda each: each.pool, expected, pool[:0])
    point, spread = _statistics(shared, hits, solved, used, keys)
    slope, level, order, best = (
        estimate_of_parts(v, e, number) for v, e in zip(point, spread, strict=True)
    )
    law, counted = np.asarray(rate), np.asarray(used)
    distance = float(_distance(np.asarray(fraction), law, counted))
    floor = _distance(windows, law, counted)
    p_value = (1 + float(np.sum(floor >= distance))) / (1 + len(floor))
    detectable = _detectable(windows, floor, law, counted)
    enough = bool(jnp.sum(used) >= 3) and bool(jnp.any(hits & used))
    known = jnp.where(expected.counts >= LEAST, entropy, -jnp.inf)
    shortfall = float(jnp.max(known) - entropy[jnp.argmax(jnp.where(used, fraction, -1.0))])
    return SatisfactionLaw(
        fraction, rate, entropy, used, slope, level, order, best, shortfall, distance,
        float(np.median(floor)), p_value, detectable, count, number,
        _agreement(enough, p_value, detectable, slope, level, order),
    )  # fmt: skip


def _agreement(
    enough: bool, p_value: float, detectable: float, slope: Estimate, level: Estimate,
    order: Estimate,
) -> Agreement:  # fmt: skip
    if not enough:
        return Agreement.too_few
    if p_value >= LEVEL and all(abs(float(e.z_score(1.0))) < FAR for e in (slope, level)):
        return Agreement.agrees if detectable <= MATTERS else Agreement.too_few
    ordered = float(order.value) > 2 * float(order.standard_error)
    return Agreement.order_only if ordered else Agreement.differs


def _count(weights: dict[str, Array]) -> int:
    return len(next(iter(weights.values())))


def _judged(judge: Judge, weights: dict[str, Array]) -> tuple[Array, Array]:
    """Which candidates, and whether the spec, each system satisfies.

    The systems are filled up to a power of two, so that ensembles of about the same size
    share a compile; those that fill up do not satisfy the spec.
    """
    count = _count(weights)
    rows = np.arange(2 ** max(FEWEST, math.ceil(math.log2(count))))
    filled = {path: jnp.asarray(leaf)[rows % count] for path, leaf in weights.items()}
    before, after, solved = _judge_systems(judge, filled)
    return before & after, solved & (rows < count)


@eqx.filter_jit
def _judge_systems(judge: Judge, weights: dict[str, Array]) -> tuple[Array, Array, Array]:
    template = judge.spec.model.parts
    return map_within(lambda w: judge(Series(with_weights(template, w))), weights)


@eqx.filter_jit
def _statistics(
    expected: ExpectedSatisfaction, hits: Array, solved: Array, used: Array, keys: Array
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Slope, level, order and best of the ensemble, and their standard deviations."""

    def of(weights, entropy, evidence):
        weights = weights * solved
        fraction = weights @ hits / jnp.maximum(jnp.sum(weights), 1e-30)
        return _summary(fraction, entropy, evidence, used)

    def again(each):
        key, entropy, evidence = each
        return of(jax.random.exponential(key, solved.shape), entropy, evidence)

    point = of(jnp.ones(solved.shape), expected.entropy, expected.log_evidence)
    stored = (keys, expected.entropy_replicates, expected.log_evidence_replicates)
    return point, tuple(jnp.std(each) for each in jax.lax.map(again, stored))


def _summary(fraction: Array, entropy: Array, evidence: Array, used: Array) -> tuple[Array, ...]:
    h = jnp.where(used, entropy, -jnp.inf)
    p = jnp.where(used, fraction, 0.0)
    finite, total = jnp.where(used, entropy, 0.0), jnp.sum(p)
    steepest = jnp.full_like(total, STEEPEST)
    wanted = jnp.sum(p * finite) / total

    def below(slope, _):
        return jnp.sum(jax.nn.softmax(slope * finite, where=used) * finite) < wanted, None

    slope, _, _ = bisect(below, -steepest, steepest, 60)
    slope = jnp.where(jnp.isnan(wanted), jnp.nan, slope)
    level = total / jnp.exp(jax.scipy.special.logsumexp(h) - evidence)
    top = jnp.argmax(h)
    best = p[top] / jnp.exp(h[top] - evidence)
    return slope, level, _spearman(p, finite, used), best


def _spearman(a: Array, b: Array, used: Array) -> Array:
    """Rank correlation of the entries in use, ties at their mean rank."""
    ranks = [rankdata(jnp.where(used, each, jnp.inf)) for each in (a, b)]
    x, y = (jnp.where(used, r - jnp.mean(r, where=used), 0.0) for r in ranks)
    return jnp.sum(x * y) / jnp.sqrt(jnp.sum(x**2) * jnp.sum(y**2))


def _distance(fraction: np.ndarray, rate: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The relative deviation of shares `[*, candidate]` from the expected ones."""
    apart = (fraction - rate)[..., used] ** 2 / rate[used]
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.sum(apart, axis=-1) / np.sum(rate[used]))


def _detectable(
    windows: np.ndarray, floor: np.ndarray, rate: np.ndarray, used: np.ndarray
) -> float:
    """The relative deviation that the distance of an ensemble shows with probability `POWER`.

    An ensemble of a law whose shares are `1 ± δ` times the expected is at the distance D of
    `D² = D0² ± 2δm + δ²`, with D0 and m (mean relative deviation) of exact ensembles. It is called
    another where D is beyond all but a share `LEVEL` of the D0.
    """
    if not used.any():
        return math.inf
    critical = np.quantile(floor, 1 - LEVEL)
    mean = np.sum((windows - rate)[:, used], axis=1) / np.sum(rate[used])
    inside = np.maximum(mean**2 + critical**2 - floor**2, 0.0)
    needed = [np.where(floor > critical, 0.0, sign * mean + np.sqrt(inside)) for sign in (1, -1)]
    return float(max(np.quantile(each, POWER) for each in needed))


def _windows(pool: np.ndarray, length: int) -> np.ndarray:
    """Shares of stretches of the pool as long as the ensemble; its draws are independent."""
    if length > len(pool) // 4:
        raise DeclarationError(
            "ensemble",
            got=f"{length} systems that satisfy the spec, for a pool of {len(pool)}",
            expected="at most a quarter of the pool",
            mend="raise `draws` in expected_satisfaction, or pass fewer systems",
        )
    length = max(length, 1)
    ring = np.concatenate([pool, pool[:length]]).astype(float)
    sums = np.concatenate([np.zeros((1, pool.shape[1])), np.cumsum(ring, axis=0)])
    starts = (np.arange(REPLICATES) * len(pool)) // REPLICATES
    return (sums[starts + length] - sums[starts]) / length


def _stacked(argument: str, models: Model, judge: Judge) -> dict[str, Array]:
    """The weights of pairs of models by path, with a leading axis of systems."""
    parts = models.parts if isinstance(models, Series) else models
    found = weights_of(tuple(parts)) if isinstance(parts, tuple | list) else {}
    shapes = {path: jnp.shape(leaf) for path, leaf in found.items()}
    wanted = {path: jnp.shape(leaf) for path, leaf in weights_of(judge.spec.model.parts).items()}
    counts = {shape[:1] for shape in shapes.values()}
    fits = {path: shape[1:] for path, shape in shapes.items()} == wanted
    if not fits or len(counts) != 1 or counts <= {(), (0,)}:
        raise DeclarationError(
            argument,
            got=f"arrays of shapes {shapes}" if shapes else type(models).__name__,
            expected=f"a pair of models, one leading axis of systems before the shapes {wanted}",
            mend="stack the systems, e.g. eqx.filter_vmap(make)(keys)",
        )
    return found


def _check_starts(initial: Model | None, judge: Judge, count: int) -> None:
    if initial is None:
        raise DeclarationError(
            "initial",
            got="None",
            expected="the systems that the ensemble started from",
            mend="pass initial=..., or allow_satisfied=True for draws without a start",
        )
    starts = _stacked("initial", initial, judge)
    _, solved = _judged(judge, starts)
    if _count(starts) != count or bool(jnp.any(solved)):
        raise DeclarationError(
            "initial",
            got=f"{_count(starts)} starts, {int(jnp.sum(solved))} of which satisfy it already",
            expected=f"the starts of the {count} systems, none of which satisfies the spec",
            mend="drop the systems that started satisfied, or pass allow_satisfied=True",
        )
