"""Runs whose length is found by the run itself, at one step size or at several."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..compile import Gibbs, Weights
from ..core import Estimate, Status
from ..declare import AbstractEnergy, subsamplings
from ..sample import (
    MOST_ROUNDING,
    AbstractCheckpoints,
    AbstractKernel,
    AbstractUnadjusted,
    Chains,
    Interrupted,
    Placement,
    Trace,
    check_start,
    judge,
    loop,
    rounding,
)

WARMUP, LEAST = 500, 400
"""Trajectories of warm-up, and draws at the least, of samplers with a Metropolis test."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long to run, and how."""

    chains: int
    tolerance: float
    max_gradients: int
    progress: bool
    checkpoints: AbstractCheckpoints | None
    placement: Placement | None


@dataclasses.dataclass(frozen=True)
class Run:
    """One run at one step size."""

    scale: float
    estimate: Estimate
    trace: Trace
    log_prior: Array
    burn_in: int
    acceptance: float
    divergent: float
    gradients: int
    states: PyTree
    rounding: float = 0.0


def step_order(energy: AbstractEnergy, kernel: AbstractKernel) -> int:
    """The power of the step with which the law is off."""
    if isinstance(kernel, AbstractUnadjusted) and not subsamplings(energy):
        return kernel.order
    return 1


SHARES = (0.4, 0.3, 0.15, 0.15)
"""Parts of the budget for each step size: the first starts at w*, the third is seldom needed."""


def halved(
    gibbs: Gibbs,
    kernel: AbstractUnadjusted,
    reference: Array,
    key: PRNGKeyArray,
    budget: Budget,
    order: int,
    thin: int,
) -> list[Run]:
    """Runs at ever shorter steps, until the last two agree well enough to extrapolate."""
    part = dataclasses.replace(
        budget,
        # the extrapolated value is noisier than each of the two
        tolerance=budget.tolerance / (2.3 if order == 1 else 1.4),
    )
    runs: list[Run] = []
    start = None
    for level, share in enumerate(SHARES):
        scale = 0.5**level
        part = dataclasses.replace(part, max_gradients=int(share * budget.max_gradients))
        scaled = eqx.tree_at(lambda k: k.scale, kernel, jnp.asarray(scale))
        if budget.checkpoints is not None:
            own = budget.checkpoints.part(f"step_{scale:g}")
            part = dataclasses.replace(part, checkpoints=own)
        own = jax.random.fold_in(key, level)
        run = run_once(gibbs, scaled, reference, own, part, thin, start)
        runs.append(dataclasses.replace(run, scale=scale))
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


def extrapolated(runs: list[Run], order: int) -> tuple[Estimate, bool]:
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
    share = 1 / (2**order - 1)
    correction = share * (fine.value - coarse.value)
    value = fine.value + correction
    noise = jnp.hypot((1 + share) * fine.standard_error, share * coarse.standard_error)
    # half of what was extrapolated stands for the higher orders that were not
    error = jnp.hypot(noise, 0.5 * correction)
    apart = jnp.abs(fine.value - coarse.value)
    seen = apart > 3 * jnp.hypot(fine.standard_error, coarse.standard_error)
    far = bool(seen & (jnp.abs(correction) > 0.05 * jnp.abs(value)))
    ess = jnp.minimum(fine.ess, coarse.ess)
    return Estimate(value, error, ess, jnp.maximum(fine.r_hat, coarse.r_hat)), far


def run_once(
    gibbs: Gibbs,
    kernel: AbstractKernel,
    reference: Array,
    key: PRNGKeyArray,
    budget: Budget,
    thin: int,
    start: Weights | None = None,
) -> Run:
    """Draw until the error is small or the budget is spent; then leave out what still moved."""
    rows = 25
    warmup = WARMUP
    if isinstance(kernel, AbstractUnadjusted):
        warmup = min(1000, max(200, budget.max_gradients // (4 * budget.chains)))
    most = max(LEAST, budget.max_gradients // (budget.chains * thin))
    if start is None:
        place = gibbs.position()
        check_start(gibbs, place, key, kernel)
        start = {
            path: jnp.broadcast_to(leaf, (budget.chains, *leaf.shape))
            for path, leaf in place.items()
        }
    placed = gibbs
    if budget.placement is not None:
        placed, start = budget.placement.place(gibbs, start)
    dynamics = Chains(placed, kernel, gibbs.dim * budget.chains <= KEPT)
    looked = 0

    def series(energy: Array | np.ndarray) -> np.ndarray:
        """`β (E - E(w*))`, axes `[chain, draw]`."""
        return float(gibbs.beta) * (np.asarray(energy, float).T - float(reference))

    def stop(parts: list[PyTree]) -> bool:
        nonlocal looked
        drawn = rows * len(parts)
        energy = np.concatenate([part["energy"] for part in parts])
        spent = float(np.sum(parts[-1]["gradients"][-1]))
        if not np.all(np.isfinite(energy)):
            return True
        if spent >= budget.max_gradients and drawn >= LEAST // 2:
            return True
        if drawn < max(LEAST, 1.25 * looked):
            return False
        looked = drawn
        begin, kept = _settled(series(energy))
        slow = np.concatenate([part["log_prior"] for part in parts]).T[:, begin:]
        found = careful_estimate(kept, np.asarray(slow, float))
        settled = float(found.r_hat) < 1.01 and float(found.ess) > 100 * budget.chains
        wanted = budget.tolerance * abs(float(found.value))
        return settled and float(found.standard_error) < wanted

    status = None
    try:
        state, records = loop(
            dynamics, start, key, warmup=warmup, draws=most, thin=thin, rows=rows, stop=stop,
            progress=budget.progress, checkpoints=budget.checkpoints,
        )  # fmt: skip
    except Interrupted as cut:
        (state, records), status = cut.result, Status.interrupted
    burn_in, kept = _settled(series(records["energy"]))
    records = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1)[:, burn_in:], records)
    slow = np.asarray(records["log_prior"], float)
    names = ("energy", "energy_variance", "acceptance", "divergent")
    status = judge(records, 1.1) if status is None else status
    last = None if state is None else jax.vmap(kernel.position)(state[0])
    blur = _rounding(gibbs, last, key)
    if blur > MOST_ROUNDING and status not in (Status.non_finite, Status.interrupted):
        status = Status.rounding
    kept_records = [records[name] for name in names]
    trace = Trace(
        gibbs, *kept_records, records.get("w"), status, None, records["gradients"],
        moved=records["moved"],
    )  # fmt: skip
    return Run(
        1.0,
        trace.vouched(careful_estimate(kept, slow)),
        trace,
        records["log_prior"],
        burn_in,
        float(jnp.mean(records["acceptance"])),
        float(jnp.mean(records["divergent"])),
        int(jnp.sum(records["gradients"][:, -1])),
        None if state is None else state[0],
        blur,
    )


def _rounding(gibbs: Gibbs, last: Weights | None, key: PRNGKeyArray) -> float:
    """Nats of rounding in `β (E - E(w*))`, at w* and at the last draws, if there are."""
    places = {path: leaf[None] for path, leaf in gibbs.position().items()}
    if last is not None:
        places = {path: jnp.concatenate([leaf, last[path]]) for path, leaf in places.items()}
    return rounding(gibbs, places, abs(float(gibbs.reference_energy)), key)


KEPT = 40_000
"""Draws are kept up to so many coordinates over all chains."""


def careful_estimate(series: np.ndarray, slow: np.ndarray | None = None) -> Estimate:
    """The mean with the largest of the errors that can be seen.

    Each sees something the others can miss: that of the autocorrelated series; between chains, for
    chains in places of their own; and that which comes from a slower series. With the regression
    `series = b slow + rest` it is `b² var(mean slow) + var(mean rest)`: where the distance from w*
    is known badly, so is all that depends on it, however fast the rest moves.

    Args:
        series: The numbers to average, axes `[chain, draw]`.
        slow: The log-density of the localising Gaussian at the same draws.
    """
    found = Estimate.of_series(jnp.asarray(series))
    between = np.std(series.mean(axis=1), ddof=1) / math.sqrt(len(series))
    errors = [found.standard_error, jnp.asarray(between)]
    if slow is not None and np.all(np.isfinite(series)) and np.ptp(slow) > 0:
        centred = slow - slow.mean()
        factor = float(np.mean(centred * (series - series.mean())) / np.mean(centred**2))
        parts = (factor * centred, series - factor * centred)
        errors.append(
            jnp.hypot(*(Estimate.of_series(jnp.asarray(p)).standard_error for p in parts))
        )
    error = jnp.nanmax(jnp.stack(errors))
    error = jnp.where(jnp.isfinite(found.standard_error), error, jnp.nan)
    return dataclasses.replace(found, standard_error=error)


def _settled(series: np.ndarray) -> tuple[int, np.ndarray]:
    """Draws a chain to leave out, and the rest: the first part must agree with the last half.

    The first tenth, fifth, ... is left out as long as its mean is 3 standard errors from that of
    the last half (after Geweke 1992).
    """
    length = series.shape[1]
    if not np.all(np.isfinite(series)):
        return 0, series
    late = Estimate.of_series(jnp.asarray(series[:, length // 2 :]))
    for cut in (0, 1, 2, 3, 4, 5):
        begin = cut * length // 10
        if cut == 5:
            break
        early = Estimate.of_series(jnp.asarray(series[:, begin : begin + max(length // 5, 4)]))
        error = math.hypot(float(early.standard_error), float(late.standard_error))
        if abs(float(early.value) - float(late.value)) <= 3 * error:
            break
    return begin, series[:, begin:]


def thinning(energy: AbstractEnergy, kernel: AbstractKernel) -> int:
    """Steps a draw: where steps are cheap, the full energy of a draw takes a sixth of the time."""
    if not isinstance(kernel, AbstractUnadjusted):
        return 1
    ratios = [x.empirical.size / x.batch_size for x in subsamplings(energy)]
    return int(min(max(2 * max(ratios, default=1.0), 8), 1000))
