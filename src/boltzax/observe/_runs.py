"""Runs whose length is found by the run itself, at one step size or at several."""

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
from ._cost import LEAST, WARM, Cost

ENERGIES = 20_011
"""Folded into the key of a run for the batches of its energies; small numbers are those of `split`
(in jax `split(key)[i]` may be `fold_in(key, i)`)."""


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
    """The power of the step with which the law is off."""
    if isinstance(kernel, AbstractUnadjusted) and not subsamplings(energy):
        return kernel.order
    return 1


def halved(
    gibbs: Gibbs,
    kernel: AbstractUnadjusted,
    reference: Array,
    key: PRNGKeyArray,
    budget: Budget,
    order: int,
) -> list[LocalRun]:
    """Runs at ever shorter steps, until the last two agree well enough to extrapolate.

    Or until what is left of the cap allows no further run.
    """
    part = dataclasses.replace(
        budget,
        # the extrapolated value is noisier than each of the two
        tolerance=budget.tolerance / (2.3 if order == 1 else 1.4),
    )
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
            own = budget.checkpoints.part(f"step_{scale:g}")
            part = dataclasses.replace(part, checkpoints=own)
        own = jax.random.fold_in(key, level)
        run = run_once(gibbs, scaled, reference, own, part, allowed, start)
        runs.append(dataclasses.replace(run, scale=scale))
        left -= run.gradients
        if run.trace.status == Status.interrupted:
            break
        finite = [each for each in runs if np.isfinite(float(each.estimate.value))]
        if len(finite) >= 2 and not extrapolated(runs, order)[1]:
            break
        if finite and finite[-1] is runs[-1]:
            # the next run goes on from here, at a step that is a part of the same
            start = jax.vmap(kernel.position)(run.states)
            kernel = kernel.at_step(run.states)
    return runs


def extrapolated(runs: list[LocalRun], order: int) -> tuple[Estimate, bool]:
    """Value at step zero from the last two runs; whether that is too far to go.

    `λ_0 = λ_2 + (λ_2 - λ_1)/(2^p - 1)` (Richardson). Too far is a correction that is seen (3
    standard errors) and above a twentieth of the value: such sequences can go on falling.
    """
    if len(runs) == 1:
        return runs[0].estimate, False
    # a step that ended in numbers that are not finite was too long: the evidence shows it
    finite = [run for run in runs if np.isfinite(float(run.estimate.value))]
    if len(finite) < 2:
        return runs[-1].estimate, False
    coarse, fine = (run.estimate for run in finite[-2:])
    share, apart = 1 / (2**order - 1), fine - coarse
    correction = share * abs(float(apart))
    # half of what was extrapolated stands for the higher orders that were not
    found = ((1 + share) * fine - share * coarse).widened(0.5 * correction)
    seen = abs(float(apart)) > 3 * float(apart.standard_error)
    return found, seen and correction > 0.05 * abs(float(found))


def run_once(
    gibbs: Gibbs,
    kernel: AbstractKernel,
    reference: Array,
    key: PRNGKeyArray,
    budget: Budget,
    allowed: float,
    start: Weights | None = None,
) -> LocalRun:
    """Draw until the error is small or the budget is spent; then leave out what still moved.

    Args:
        gibbs: The localised posterior.
        kernel: The sampler.
        reference: What is taken off the energies.
        key: For all of it.
        budget: How long to run, and how.
        allowed: The most gradients of this run; see `Cost` for what counts.
        start: Where the chains begin, if not at w*.
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
        return float(gibbs.beta) * (np.asarray(energy, float).T - float(reference))

    def spent(gradients: Array | np.ndarray, drawn: int) -> float:
        return cost.spent(float(np.sum(gradients)), plan.warmup + drawn * plan.thin, drawn)

    def warm(state: PyTree) -> bool:
        return float(np.sum(to_host(state[1].gradients))) > WARM * allowed

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
        found = careful_estimate(kept, np.asarray(slow, float), noise)
        settled = float(found.r_hat) < 1.01 and float(found.ess) > 100 * budget.chains
        wanted = budget.tolerance * abs(float(found.value))
        return settled and float(found.standard_error) < wanted

    def noise_of(*parts: Array | np.ndarray) -> float:
        """Variance of the noise in that series; 0 of energies over all data."""
        found = [np.mean(np.asarray(part, float)) for part in parts]
        return float(gibbs.beta) ** 2 * float(np.mean(found)) if found else 0.0

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
    slow = np.asarray(records["log_prior"], float)
    names = ("energy", "energy_variance", "acceptance", "divergent")
    status = judge(records, 1.1) if made.status == Status.successful else made.status
    last = None if state is None else jax.vmap(kernel.position)(state[0])
    blur = _rounding(gibbs, last, key)
    if blur > MOST_ROUNDING and status not in (Status.non_finite, Status.interrupted):
        status = Status.rounding
    kept_records = [records[name] for name in names]
    trace = Trace(
        gibbs, *kept_records, records.get("w"), status, None, records["gradients"],
        moved=records["moved"], noise=records.get("energy_noise"),
    )  # fmt: skip
    noise = noise_of(*(() if trace.noise is None else (trace.noise,)))
    return LocalRun(
        1.0,
        trace.vouched(careful_estimate(kept, slow, noise)),
        trace,
        records["log_prior"],
        burn_in,
        acceptance,
        divergent,
        gradients,
        None if state is None else state[0],
        blur,
    )


@eqx.filter_jit
def _beside(place: Weights, others: Weights | None) -> Weights:
    """A place, and others after it."""
    places = {path: leaf[None] for path, leaf in place.items()}
    if others is None:
        return places
    return {path: jnp.concatenate([leaf, others[path]]) for path, leaf in places.items()}


def _rounding(gibbs: Gibbs, last: Weights | None, key: PRNGKeyArray) -> float:
    """Nats of rounding in `β (E - E(w*))`, at w* and at the last draws, if there are."""
    return rounding(gibbs, _beside(gibbs.position(), last), abs(float(gibbs.reference_energy)), key)


KEPT = 40_000
"""Draws are kept up to so many coordinates over all chains."""


def careful_estimate(
    series: np.ndarray, slow: np.ndarray | None = None, noise: float = 0.0
) -> Estimate:
    """The mean with the largest of the errors that can be seen.

    Each sees something the others can miss: that of the autocorrelated series; between chains, for
    chains in places of their own; and that which comes from a slower series. With the regression
    `series = b slow + rest` it is `b² var(mean slow) + var(mean rest)`: where the distance from w*
    is known badly, so is all that depends on it, however fast the rest moves.

    Independent noise in the numbers hides how slowly the rest moves. Then means over blocks of
    draws, so long that the noise of a block is no larger than the rest, must agree too: the error
    and r_hat are the larger of those of draws and of blocks, and ess is less by as much as blocks
    are fewer than independent ones.

    Args:
        series: The numbers to average, axes `[chain, draw]`.
        slow: The log-density of the localising Gaussian at the same draws.
        noise: Variance of independent noise in the numbers.
    """
    found = Estimate.of_series(series)
    length = _block(series, noise)
    if length > 1:
        whole = series[:, : series.shape[1] // length * length]
        blocks = whole.reshape(len(series), -1, length).mean(axis=2)
        other = Estimate.of_series(blocks)
        found = dataclasses.replace(
            found,
            standard_error=jnp.maximum(found.standard_error, other.standard_error),
            ess=found.ess * jnp.minimum(1.0, other.ess / blocks.size),
            r_hat=jnp.maximum(found.r_hat, other.r_hat),
        )
    between = Estimate.of_replicates(series.mean(axis=1)).standard_error
    own = float(found.standard_error)
    errors = [own, float(between)]
    if slow is not None and np.all(np.isfinite(series)) and np.ptp(slow) > 0:
        centred = slow - slow.mean()
        factor = float(np.mean(centred * (series - series.mean())) / np.mean(centred**2))
        parts = (factor * centred, series - factor * centred)
        slow_part, rest = map(Estimate.of_series, parts)
        errors.append(float((slow_part + rest).standard_error))
    error = max(each for each in errors if each == each) if math.isfinite(own) else math.nan
    return dataclasses.replace(found, standard_error=jnp.asarray(error, found.standard_error.dtype))


def _looks(drawn: int) -> int:
    """How often a run has looked at its error by so many draws a chain: each 1.25 times as many.

    A function of the draws alone, so that a resumed run looks where the uncut one does.
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
    """Draws a chain to leave out, and the rest: the first part must agree with the last half.

    The first tenth, fifth, ... is left out as long as its mean is 3 standard errors from that of
    the last half (after Geweke 1992).
    """
    length = series.shape[1]
    if not np.all(np.isfinite(series)):
        return 0, series
    late = Estimate.of_series(series[:, length // 2 :])
    for cut in (0, 1, 2, 3, 4, 5):
        begin = cut * length // 10
        if cut == 5:
            break
        early = Estimate.of_series(series[:, begin : begin + max(length // 5, 4)])
        apart = early - late
        if abs(float(apart)) <= 3 * float(apart.standard_error):
            break
    return begin, series[:, begin:]
