"""Draws along a ladder of temperatures."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ..compile import Gibbs, UnitPotential, Weights, check_betas
from ..core import (
    POWER_QUANTILE,
    Count,
    DeclarationError,
    Estimate,
    Key,
    Model,
    Status,
    Whole,
    check_on_host,
    model_errors,
    scalar,
    typed,
    whole,
)
from ._bennett import free_energies
from ._chain_starts import starts
from ._dynamics import over_chains
from ._exact_runs import exact_ladder, is_exact, refuse_exact
from ._hidden_unit_moves import UnitMoves
from ._integrated_keys import integrated_key
from ._kernel import AbstractKernel
from ._loop import Run, draws_at, loop
from ._nuts import NUTS
from ._random_walk import RandomWalk
from ._replica_exchange import ReplicaExchange
from ._rounding import rounding_status
from ._run_plan import AbstractCheckpoints, AbstractSink
from ._run_status import judge, raise_for_trace
from ._sample import TRACE_RECORDS
from ._smc import TemperedSMC
from ._temperature_ladder import Betas, first_ladder, refine, round_trips
from ._temperature_ladder_checks import (
    above_bounds,
    contradiction,
    counted,
    draws_fit,
    ladder_bounds,
)
from ._trace import Bridges, Trace, picked

Route = Literal["replica_exchange", "smc"]

LAG = 2.0
"""Nats between the free energies of two passes that have to be seen."""


@typed
@model_errors("in bx.anneal")
def anneal(
    gibbs: Gibbs,
    betas: Betas,
    kernel: AbstractKernel | None = None,
    *,
    key: Key,
    by: Route = "replica_exchange",
    chains: Count = 4,
    warmup: Whole = 200,
    draws: Annotated[int, whole(4)] = 200,
    thin: Count = 1,
    spacing: Annotated[float, scalar(0, open_low=True)] | None = None,
    least_swap: Annotated[float, scalar(0, 1, open_high=True)] = 0.15,
    keep: bool = False,
    seeds: Sequence[Model] = (),
    bound: bool = True,
    throw: bool = True,
    progress: bool = False,
    sink: AbstractSink | None = None,
    checkpoints: AbstractCheckpoints | None = None,
) -> Trace:
    """Draw along a ladder from the prior (beta = 0) through all `betas`.

    The ladder is chosen automatically: the requested betas, `beta = 0`, fillers at most `spacing`
    apart in log beta, and more wherever neighbours overlap less than `least_swap`. Where the
    readout of exchangeable units is integrated out, the units move one at a time by rank-two
    updates in a graded basis; else the kernel is `NUTS` (`RandomWalk` for SMC).

    A ladder that never crosses a first-order transition has small errors and a wrong free energy.
    So the run is compared with upper bounds on `F`, from short runs that start at Gaussians: at
    minima that descent finds from the declared model, from `seeds`, and from the best draws of the
    prior and of the run; and at draws of the run, of the same and of a hotter level. The bounds are
    in `trace.bridges.bounds`. They take at most a quarter of the evaluations of the run, or about
    10,000 and a few descents if that is more. There are none for measures of more than 64 sampled
    coordinates, nor for units in a graded basis: such transitions are then not looked for.

    Args:
        by: `"replica_exchange"` runs all levels at once and lets neighbours swap; `chains` ladders,
            half of them started cold. `"smc"` carries `chains` populations of `draws` particles
            from the prior to the coldest level, with `thin` moves a level, then back again.
        warmup: As in `sample` (warm-up has no part in SMC).
        draws: As in `sample` (warm-up has no part in SMC).
        thin: As in `sample` (warm-up has no part in SMC).
        keep: Whether to keep the draws of the weights.
        seeds: Models of the declared structure (trained weights) from which the free energy is
            bounded too. A phase that no seed leads to is not seen.
        bound: Whether to hold the run against upper bounds on its free energy.
        throw: Raise if the run failed.
        sink: Where the draws of replica exchange go as they are made, instead of memory: a part
            `ladder_0`, `ladder_1`, ... for each ladder that was tried, the last one the result's.
        checkpoints: Where the run is saved, and resumed from, the search for the ladder included: a
            part for each ladder. If more draws refine the ladder at other places, draws along it
            are made anew.

    Returns:
        A `Trace` with axes `[beta, chain, draw]` for the requested betas in the order given; the
        whole ladder is in `trace.bridges` and serves the free energy.

    Raises:
        DeclarationError: Wrong arguments; or an error that the model raises at some weights.
        RunError: Unless `throw=False`, if a chain failed or the ladder lags: chains that started
            cold disagree with those that started hot (split r_hat of the energy above 1.05), no
            replica of any chain made a round trip from the coldest level to the prior and back, or
            for SMC the forward and the reverse pass disagree, or are too few to tell
            (`few_particles`); or if it is `metastable`: its free
            energy lies above one of the bounds by more than the errors of both. Divergent
            trajectories count as failures at the prior's level, or where a ladder made less than 10
            round trips, or where more than half of a level's diverge.
        Interrupted: By Ctrl-C, with the trace of the ladder under way in `result`
            (`throw=False` returns it). Before there are draws of every level, `KeyboardInterrupt`.
    """
    from ..compile import lower_units  # imports flint

    check_on_host("anneal", {"gibbs": gibbs, "betas": betas, "key": key})
    requested = np.asarray(betas)
    check_betas("betas", jnp.asarray(requested), gibbs.masses)
    _check_route(by, kernel, sink)
    refuse_exact(gibbs, {"sink": sink})
    given = [gibbs.position(seed) for seed in seeds]
    if is_exact(gibbs):
        return exact_ladder(gibbs, key, requested, chains, draws, keep)
    gibbs = lower_units(gibbs, float(requested.max()))
    _check_precision(gibbs, requested)
    if kernel is None:
        kernel = _default_kernel(gibbs, by)
    if spacing is None:
        smooth = isinstance(gibbs.potential, UnitPotential)
        spacing = 4.0 if smooth else 4 / float(np.sqrt(1 + gibbs.dim / 4))
    key_ladder, key_run = jax.random.split(key)
    ladder = first_ladder(gibbs, requested, spacing, key_ladder)
    run = _exchange if by == "replica_exchange" else _populations
    # with a sink the draws are on disk, and the bounds do without
    kept = keep or (bound and sink is None and draws_fit(gibbs, len(ladder) * chains * draws))
    added: tuple[tuple[int, ...], ...] = ()
    for attempt in range(4):
        levels = gibbs.at(ladder)
        keys = jax.random.split(jax.random.fold_in(key_run, attempt))
        name = f"ladder_{attempt}"
        settings = _Settings(
            kernel, chains, kept, warmup, draws, thin, progress,
            None if sink is None else sink.part(name),
            None if checkpoints is None else checkpoints.part(name + _refined(added)),
        )  # fmt: skip
        outcome, cost = run(levels, keys, settings)
        if outcome.status == Status.interrupted:
            break
        finer = refine(ladder, _swap_rate(outcome), least_swap)
        if len(finer) == len(ladder):
            break
        added = (*added, tuple(np.flatnonzero(~np.isin(finer, ladder)).tolist()))
        ladder = finer
    if bound and outcome.status != Status.interrupted:
        key_bound = jax.random.fold_in(key_run, attempt + 1)
        outcome = _bounded(outcome, requested, given, cost, key_bound)
    w = outcome.w if keep else None
    outcome = dataclasses.replace(outcome, w=w, key=integrated_key(key))
    raise_for_trace(outcome, throw, contradiction(outcome.bridges))
    return _requested(outcome, requested)


def _refined(added: tuple[tuple[int, ...], ...]) -> str:
    """The end of the name of a refined ladder, by the places of the levels that were added.

    More draws can ask for others: then the run goes on in a new part, and the old one is left.
    """
    return f"_{hashlib.sha256(repr(added).encode()).hexdigest()[:8]}" if added else ""


def _bounded(
    trace: Trace, requested: np.ndarray, seeds: list, cost: float, key: PRNGKeyArray
) -> Trace:
    """The run with upper bounds on its free energy, and `metastable` if it contradicts them."""
    bridges = trace.bridges
    assert bridges is not None
    one = trace.gibbs.at(trace.betas[-1])
    ladder = np.asarray(trace.betas)
    bounds = ladder_bounds(one, ladder, requested, trace.w, cost, seeds, key)
    bridges = dataclasses.replace(bridges, bounds=bounds)
    trace = dataclasses.replace(trace, bridges=bridges)
    # a run that has failed already says so: the bounds are then part of its evidence
    mild = trace.status in (Status.successful, Status.few_particles)
    if mild and bool(np.any(above_bounds(bridges) > 0)):
        return dataclasses.replace(trace, status=Status.metastable)
    return trace


def _default_kernel(gibbs: Gibbs, by: Route) -> AbstractKernel:
    if isinstance(gibbs.potential, UnitPotential):
        return UnitMoves(sweeps=4 if by == "replica_exchange" else 1)
    return NUTS() if by == "replica_exchange" else RandomWalk()


@dataclasses.dataclass(frozen=True)
class _Settings:
    """How to run one ladder."""

    kernel: AbstractKernel
    chains: int
    keep: bool
    warmup: int
    draws: int
    thin: int
    progress: bool
    sink: AbstractSink | None
    checkpoints: AbstractCheckpoints | None


def _exchange(levels: Gibbs, keys: PRNGKeyArray, settings: _Settings) -> tuple[Trace, float]:
    """The run, and how many evaluations of the log-density it took (a gradient counts as two)."""
    start = starts(levels, None, keys[0], settings.chains, settings.kernel)
    kernel = settings.kernel
    dynamics = ReplicaExchange(levels, kernel, settings.keep)
    made = loop(
        dynamics, start, keys[1], warmup=settings.warmup, draws=settings.draws,
        thin=settings.thin, progress=settings.progress, sink=settings.sink,
        checkpoints=settings.checkpoints,
    )  # fmt: skip
    state, records = made.state, made.records
    trips = round_trips(records.pop("who"))
    records = draws_at(2, records)
    counts = records | {"divergent": counted(records["divergent"], trips)}
    status = judge(counts, 1.05) if made.status == Status.successful else made.status
    if status == Status.successful and trips.sum() < 1:
        status = Status.lagging
    last = None
    if state is not None:
        last = over_chains(
            lambda b, each, _: kernel.position(each), levels.beta, state.kernel, None
        )
    status = rounding_status(levels, last, records["energy"], status)
    swap_rate = jnp.asarray(np.asarray(records["swap"], float).mean(axis=(1, 2)), float)
    steps = settings.warmup + settings.draws * settings.thin
    moves = levels.beta.size * settings.chains * steps
    cost = 2 * float(np.sum(np.asarray(records["gradients"])[..., -1])) + 4 * moves
    up, down, trips = records["up"], records["down"], jnp.asarray(trips, float)
    return _whole(levels, records, up, down, swap_rate, trips, status), cost


def _populations(levels: Gibbs, keys: PRNGKeyArray, settings: _Settings) -> tuple[Trace, float]:
    """A forward and a reverse pass, of which the forward one is kept; and the evaluations."""
    chains, count = settings.chains, settings.draws
    one = levels.at(levels.beta[0])
    start = starts(one, None, keys[0], chains * count, settings.kernel)
    start = jax.tree.map(lambda x: x.reshape(chains, count, *x.shape[1:]), start)
    key_forward, key_reverse = jax.random.split(keys[1])

    def carried(name: str, levels: Gibbs, start: Weights, key: PRNGKeyArray) -> Run:
        dynamics = TemperedSMC(levels, settings.kernel, settings.thin, True)
        saved = settings.checkpoints
        return loop(
            dynamics, start, key, warmup=0, draws=levels.beta.shape[0], thin=1,
            progress=settings.progress,
            checkpoints=None if saved is None else saved.part(name),
        )  # fmt: skip

    forth = carried("forward", levels, start, key_forward)
    if forth.status == Status.interrupted:
        raise KeyboardInterrupt("The populations had not reached every level.")
    records = jax.device_put(forth.records)
    cold = jax.tree.map(lambda leaf: leaf[-1], records["w"])
    back = None
    with contextlib.suppress(KeyboardInterrupt):
        back = carried("reverse", levels.at(levels.beta[::-1]), cold, key_reverse)
    whole = back is not None and back.status == Status.successful
    status = judge(records, 1.1) if whole else Status.interrupted
    few = jax.tree.map(lambda leaf: leaf[:, :, 0], records["w"])
    status = rounding_status(levels, few, records["energy"], status)
    if not settings.keep:
        records.pop("w")
    up, down = records.pop("to_next")[:-1], -records.pop("to_last")[1:]
    if back is not None and whole and status in (Status.successful, Status.lagging):
        # of the way back, the next level is the last, and the first record that of the coldest
        turned = {name: back.records[name][::-1] for name in ("energy", "to_next", "to_last")}
        reverse = {
            "energy": turned["energy"],
            "up": turned["to_last"][:-1],
            "down": -turned["to_next"][1:],
        }
        forward = {"energy": records["energy"], "up": up, "down": down}
        status = _agreement(forward, reverse)
    work = np.asarray(down, float) - np.asarray(up, float)
    overlap = jnp.asarray(np.exp(np.minimum(0.0, work)).mean(axis=(1, 2)), float)
    moves = levels.beta.size * chains * count * (settings.thin + 4)
    cost = 4 * float(np.sum(np.asarray(records["gradients"])[-1])) + 2 * moves
    return _whole(levels, records, up, down, overlap, jnp.zeros(chains), status), cost


def _agreement(forward: dict[str, Array], reverse: dict[str, Array]) -> Status:
    """Whether two passes agree, in mean energies and in free energies, within 4 standard errors.

    A pass that lags has dissipated work: its free energy is off by a part of it, and to opposite
    sides in the two passes. If a difference of `LAG` nats would have gone unseen in one of 20 runs
    or more, the passes are too few to tell.
    """
    passes = (forward, reverse)
    energies = [Estimate.of_series(each["energy"], exact=True) for each in passes]
    series = [free_energies(each["up"], each["down"]) for each in passes]
    work = [Estimate.of_series(each, exact=True) for each in series]
    for there, back in (energies, work):
        apart = there - back
        size = jnp.abs(there.value) + jnp.abs(back.value)
        if not bool(jnp.all(jnp.abs(apart.value) <= 4 * apart.standard_error + 1e-12 * size)):
            return Status.lagging
    powerful = (4 + POWER_QUANTILE) * float(jnp.max(apart.standard_error)) <= LAG
    return Status.successful if powerful else Status.few_particles


def _whole(levels, records, up, down, swap_rate, trips, status) -> Trace:
    bridges = Bridges(
        levels.beta,
        records["energy"],
        records["energy_variance"],
        up,
        down,
        swap_rate,
        trips,
        tuple(range(levels.beta.shape[0])),
    )
    if status == Status.not_mixed:
        status = Status.lagging
    kept = {name: records[name] for name in (*TRACE_RECORDS, "moved")}
    return Trace(levels, w=records.get("w"), status=status, bridges=bridges, **kept)


def _swap_rate(trace: Trace) -> np.ndarray:
    assert trace.bridges is not None
    return np.asarray(trace.bridges.swap_rate)


def _requested(trace: Trace, betas: np.ndarray) -> Trace:
    """The requested levels of a whole ladder."""
    ladder = np.asarray(trace.betas)
    return picked(trace, np.array([int(np.argmin(np.abs(ladder - beta))) for beta in betas], int))


FLOAT64_BETA = 1e28
"""Above this beta (times mass) features must be right to relative precision: a graded basis."""


def _check_precision(gibbs: Gibbs, betas: np.ndarray) -> None:
    largest = float(betas.max()) * max(float(mass) for mass in gibbs.masses)
    if largest > FLOAT64_BETA and not isinstance(gibbs.potential, UnitPotential):
        raise DeclarationError(
            "betas",
            got=f"beta times mass = {largest:.3g}",
            expected=f"at most {FLOAT64_BETA:.0e} for energies evaluated in float64",
            mend="lower beta; only exchangeable scalar units with an analytic "
            "activation, the target zero and a Gaussian readout reach further, in a graded basis",
        )


def _check_route(by: Route, kernel: AbstractKernel | None, sink: AbstractSink | None) -> None:
    if by == "smc" and sink is not None:
        raise DeclarationError(
            "sink",
            got="a sink for SMC",
            expected="draws that are made one after the other",
            mend="use by='replica_exchange', or keep=True",
        )
    if by == "smc" and isinstance(kernel, NUTS):
        raise DeclarationError(
            "kernel",
            got="NUTS for SMC",
            expected="a kernel that a population can tune",
            mend="use bx.RandomWalk() or bx.MALA(), or by='replica_exchange'",
        )
