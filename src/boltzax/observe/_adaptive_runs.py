"""Runs that determine their own length, at one step size or at several."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..compile import Gibbs, Weights
from ..core import Estimate, Status, to_host
from ..declare import AbstractEnergy, subsamplings
from ..sample import (
    MOST_ROUNDING,
    TRACE_RECORDS,
    AbstractCheckpoints,
    AbstractKernel,
    AbstractUnadjusted,
    Chains,
    Placement,
    Trace,
    check_start,
    copies,
    draws_at,
    judge,
    loop,
    rounding,
)
from ._local_cost import LEAST, WARM, Cost

ENERGIES = 20_011
"""Folded into the key of a run for the batches of its energies. It must not be small: in jax
`split(key)[i]` may be `fold_in(key, i)`."""
KEPT = 40_000
"""Most coordinates, over all chains, of which draws are kept."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long to run, and how."""

    chains: int
    tolerance: float
    cost: Cost
    progress: bool
    checkpoints: AbstractCheckpoints | None
    placement: Placement | None


@dataclasses.dataclass(frozen=True)
class LocalRun:
    """One run at one step size."""

    scale: float
    estimate: Estimate
    trace: Trace
    log_prior: Array
    burn_in: int
    acceptance: float
    divergent: float
    gradients: float
    states: PyTree
    rounding: float = 0.0


def step_order(energy: AbstractEnergy, kernel: AbstractKernel) -> int:
    """The power of the step in the error of the sampled law."""
    if isinstance(kernel, AbstractUnadjusted) and not subsamplings(energy):
        return kernel.order
    return 1


def halved(
    gibbs: Gibbs, kernel: AbstractUnadjusted, key: PRNGKeyArray, budget: Budget, order: int
) -> list[LocalRun]:
    """Runs at steps that are halved until the last two agree well enough to extrapolate.

    It stops earlier if the rest of the cap allows no further run.
    """
    # the extrapolated value is noisier than each of the two
    part = dataclasses.replace(budget, tolerance=budget.tolerance / (2.3 if order == 1 else 1.4))
    runs: list[LocalRun] = []
    start = None
    left = budget.cost.runs
    for level, allowed in enumerate(budget.cost.parts()):
        scale = 0.5**level
        allowed = min(allowed, left)
        if level > 1 and allowed < budget.cost.least:
            break
        scaled = eqx.tree_at(lambda k: k.scale, kernel, jnp.asarray(scale))
        if budget.checkpoints is not None:
            checkpoints = budget.checkpoints.part(f"step_{scale:g}")
            part = dataclasses.replace(part, checkpoints=checkpoints)
        run = run_once(gibbs, scaled, jax.random.fold_in(key, level), part, allowed, start)
        runs.append(dataclasses.replace(run, scale=scale))
        left -= run.gradients
        if run.trace.status == Status.interrupted:
            break
        estimates = [each.estimate for each in runs]
        several = sum(map(finite, estimates)) >= 2
        if several and not extrapolated(estimates, order)[1]:
            break
        if finite(run.estimate):
            # the next run goes on from here, at a step that is a part of the same
            start = jax.vmap(kernel.position)(run.states)
            kernel = kernel.at_step(run.states)
    return runs


def finite(estimate: Estimate) -> bool:
    """Whether the value of a single estimate is finite."""
    return bool(np.isfinite(float(estimate.value)))


def extrapolated(estimates: list[Estimate], order: int) -> tuple[Estimate, bool]:
    """The value at step zero from those at decreasing steps; whether that is too far to go.

    `λ_0 = λ_2 + (λ_2 - λ_1)/(2^p - 1)` from the last two (Richardson). The correction is too large
    if it is significant (3 standard errors) and above a twentieth of the value: such a sequence can
    decrease further. A value that is not finite (a step that was too long) is left out.
    """
    good = [estimate for estimate in estimates if finite(estimate)]
    if len(estimates) == 1 or len(good) < 2:
        return estimates[-1], False
    coarse, fine = good[-2:]
    share, apart = 1 / (2**order - 1), fine - coarse
    correction = share * abs(float(apart))
    # half of the correction stands for the higher orders
    limit = ((1 + share) * fine - share * coarse).widened(0.5 * correction)
    seen = abs(float(apart)) > 3 * float(apart.standard_error)
    return limit, seen and correction > 0.05 * abs(float(limit))


def run_once(
    gibbs: Gibbs,
    kernel: AbstractKernel,
    key: PRNGKeyArray,
    budget: Budget,
    allowed: float,
    start: Weights | None = None,
) -> LocalRun:
    """Draw until the error is small or the budget is spent; then leave out the burn-in.

    Args:
        gibbs: The localised posterior, its energies counted from that of w*.
        kernel: The sampler.
        key: Key of all randomness.
        budget: How long to run, and how.
        allowed: The most gradients of this run; see `Cost` for what counts.
        start: Where the chains begin; w* if None.
    """
    cost = budget.cost
    plan = cost.layout(allowed, start is not None)
    ahead = plan.rows * cost.chains * (plan.thin * cost.step + cost.energy)
    if start is None:
        place = gibbs.position()
        check_start(gibbs, place, key, kernel)
        start = copies(place, (budget.chains,))
    placed = gibbs
    if budget.placement is not None:
        placed, start = budget.placement.place(gibbs, start)
    energy_key = jax.random.fold_in(key, ENERGIES) if cost.batches else None
    keep = gibbs.dim * budget.chains <= KEPT
    dynamics = Chains(placed, kernel, keep, energy_key=energy_key)

    def series(energy: Array | np.ndarray) -> np.ndarray:
        """`β (E - E(w*))`, axes `[chain, draw]`."""
        return float(gibbs.beta) * np.asarray(energy, float).T

    def spent(gradients: Array | np.ndarray, drawn: int) -> float:
        return cost.spent(float(np.sum(gradients)), plan.warmup + drawn * plan.thin, drawn)

    def warm(state: PyTree) -> bool:
        return float(np.sum(to_host(state.move.gradients))) > WARM * allowed

    def noise_of(*parts: Array | np.ndarray) -> float:
        """Variance of the noise in that series; 0 of energies over all data."""
        means = [np.mean(np.asarray(part, float)) for part in parts]
        return float(gibbs.beta) ** 2 * float(np.mean(means)) if means else 0.0

    def stop(parts: list[PyTree]) -> bool:
        drawn = sum(len(part["energy"]) for part in parts)
        if not np.all(np.isfinite(parts[-1]["energy"])):
            return True
        now, before = (spent(part["gradients"][-1], drawn) for part in (parts[-1], parts[-2:][0]))
        # after a resumption a part holds several chunks
        lately = (now - before) * plan.rows / len(parts[-1]["energy"])
        if now + max(ahead, lately) > allowed and drawn >= 4:
            return True
        if _looks(drawn) == _looks(drawn - plan.rows):
            return False
        energy = np.concatenate([part["energy"] for part in parts])
        begin, kept = _settled(series(energy))
        slow = np.concatenate([part["log_prior"] for part in parts]).T[:, begin:]
        noise = noise_of(*(part["energy_noise"] for part in parts if cost.batches))
        estimate = careful_estimate(kept, np.asarray(slow, float), noise)
        mixed = float(estimate.r_hat) < 1.01 and float(estimate.ess) > 100 * budget.chains
        wanted = budget.tolerance * abs(float(estimate.value))
        return mixed and float(estimate.standard_error) < wanted

    made = loop(
        dynamics, start, key, warmup=plan.warmup, draws=plan.most, thin=plan.thin,
        rows=plan.rows, stop=stop, warm=warm, progress=budget.progress,
        checkpoints=budget.checkpoints,
    )  # fmt: skip
    state, records = made.state, made.records
    gradients = spent(records["gradients"][-1], len(records["energy"]))
    burn_in, kept = _settled(series(records["energy"]))
    acceptance, divergent = (
        float(np.mean(records[name][burn_in:], dtype=float)) for name in ("acceptance", "divergent")
    )
    records = draws_at(1, jax.tree.map(lambda leaf: leaf[burn_in:], records))
    status = judge(records, 1.1) if made.status == Status.successful else made.status
    last = None if state is None else jax.vmap(kernel.position)(state.kernel)
    # at w* and at the last draws, if there are any
    places = _beside(gibbs.position(), last)
    blur = rounding(gibbs, places, abs(float(gibbs.reference_energy)), key)
    if blur > MOST_ROUNDING and status not in (Status.non_finite, Status.interrupted):
        status = Status.rounding
    kept_records = {name: records[name] for name in (*TRACE_RECORDS, "gradients", "moved")}
    w, energy_noise = records.get("w"), records.get("energy_noise")
    trace = Trace(gibbs, w=w, status=status, noise=energy_noise, **kept_records)
    noise = noise_of(*(() if trace.noise is None else (trace.noise,)))
    estimate = careful_estimate(kept, np.asarray(records["log_prior"], float), noise)
    states = None if state is None else state.kernel
    return LocalRun(
        1.0, trace.vouched(estimate), trace, records["log_prior"], burn_in, acceptance, divergent,
        gradients, states, blur,
    )  # fmt: skip


@eqx.filter_jit
def _beside(place: Weights, others: Weights | None) -> Weights:
    """A place, and others after it."""
    places = {path: leaf[None] for path, leaf in place.items()}
    if others is None:
        return places
    return {path: jnp.concatenate([leaf, others[path]]) for path, leaf in places.items()}


def careful_estimate(
    series: np.ndarray, slow: np.ndarray | None = None, noise: float = 0.0
) -> Estimate:
    """The mean with the largest of three errors.

    Each can detect what the others miss: the error of the autocorrelated series; the error between
    chains, for chains in different places; and the error from a slower series. With the regression
    `series = b slow + rest` the last is `b² var(mean slow) + var(mean rest)`: where the distance
    from w* is poorly known, so is all that depends on it, however fast the rest moves.

    Independent noise in the numbers hides how slowly the rest moves. Then means over blocks of
    draws, so long that the noise of a block is no larger than the rest, must agree too: the error
    and r_hat are the larger of those of draws and of blocks, and ess is reduced by the ratio of
    effective to actual blocks.

    Args:
        series: The numbers to average, axes `[chain, draw]`.
        slow: The log-density of the localising Gaussian at the same draws.
        noise: Variance of independent noise in the numbers.
    """
    estimate = Estimate.of_series(series)
    length = _block(series, noise)
    if length > 1:
        whole = series[:, : series.shape[1] // length * length]
        blocks = whole.reshape(len(series), -1, length).mean(axis=2)
        of_blocks = Estimate.of_series(blocks)
        estimate = dataclasses.replace(
            estimate,
            standard_error=jnp.maximum(estimate.standard_error, of_blocks.standard_error),
            ess=estimate.ess * jnp.minimum(1.0, of_blocks.ess / blocks.size),
            r_hat=jnp.maximum(estimate.r_hat, of_blocks.r_hat),
        )
    own = float(estimate.standard_error)
    errors = [own, float(Estimate.of_replicates(series.mean(axis=1)).standard_error)]
    if slow is not None and np.all(np.isfinite(series)) and np.ptp(slow) > 0:
        centred = slow - slow.mean()
        factor = float(np.mean(centred * (series - series.mean())) / np.mean(centred**2))
        parts = (factor * centred, series - factor * centred)
        slow_part, rest = map(Estimate.of_series, parts)
        errors.append(float((slow_part + rest).standard_error))
    error = max(e for e in errors if not math.isnan(e)) if math.isfinite(own) else math.nan
    kind = estimate.standard_error.dtype
    return dataclasses.replace(estimate, standard_error=jnp.asarray(error, kind))


def _looks(drawn: int) -> int:
    """How often a run has checked its error by so many draws a chain: each 1.25 times as many.

    A function of the draws alone, so that a resumed run checks where the unbroken one does.
    """
    return 0 if drawn < LEAST else 1 + int(math.log(drawn / LEAST) / math.log(1.25) + 1e-9)


def _block(series: np.ndarray, noise: float) -> int:
    """Draws of a block whose noise is no larger than the rest; 50 blocks a chain at the least."""
    if not noise > 0 or not np.all(np.isfinite(series)):
        return 1
    longest = max(series.shape[1] // 50, 1)
    rest = float(np.var(series)) - noise
    return max(1, min(longest, math.ceil(noise / rest))) if rest > 0 else longest


def _settled(series: np.ndarray) -> tuple[int, np.ndarray]:
    """The number of draws a chain to leave out, and the rest (after Geweke 1992).

    The first tenth, fifth, ... up to half is left out as long as the mean after it is 3 standard
    errors from that of the last half.
    """
    length = series.shape[1]
    if not np.all(np.isfinite(series)):
        return 0, series
    late = Estimate.of_series(series[:, length // 2 :])
    for tenths in range(5):
        begin = tenths * length // 10
        early = Estimate.of_series(series[:, begin : begin + max(length // 5, 4)])
        apart = early - late
        if abs(float(apart)) <= 3 * float(apart.standard_error):
            return begin, series[:, begin:]
    return length // 2, series[:, length // 2 :]
