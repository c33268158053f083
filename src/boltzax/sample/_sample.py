"""Draws of a Gibbs measure at one or many fixed temperatures."""

import dataclasses
from typing import Annotated

import jax

from ..compile import Gibbs
from ..core import (
    Count,
    DeclarationError,
    Estimate,
    Key,
    Status,
    Whole,
    check_on_host,
    model_errors,
    to_host,
    typed,
    whole,
)
from ._chain_starts import Start, starts
from ._dynamics import Chains, over_chains
from ._exact_runs import exact_draws, is_exact, refuse_exact
from ._integrated_keys import integrated_key
from ._kernel import AbstractKernel
from ._loop import draws_at, loop
from ._nuts import NUTS
from ._placement import Placement
from ._reductions import AbstractReduction, Mean
from ._rounding import rounding_status
from ._run_plan import AbstractCheckpoints, AbstractSink
from ._run_status import judge, raise_for_trace
from ._temperature_ladder_checks import draws_fit
from ._trace import Trace
from ._unadjusted import AbstractUnadjusted
from ._virial import equilibrium_status

TRACE_RECORDS = ("energy", "energy_variance", "acceptance", "divergent")
"""The records that a `Trace` always holds, under the same names."""


@typed
@model_errors("in bx.sample")
def sample(
    gibbs: Gibbs,
    kernel: AbstractKernel | None = None,
    *,
    key: Key,
    chains: Count = 4,
    warmup: Whole = 500,
    draws: Annotated[int, whole(4)] = 1000,
    thin: Count = 1,
    start: Start | None = None,
    keep: bool = True,
    throw: bool = True,
    progress: bool = False,
    reduce: dict[str, AbstractReduction] | None = None,
    sink: AbstractSink | None = None,
    checkpoints: AbstractCheckpoints | None = None,
    placement: Placement | None = None,
) -> Trace:
    """Draw from `p(w) ∝ π(w) exp(-U(w, β))` with `chains` independent chains.

    Args:
        gibbs: From `compile`; with a vector of betas (`gibbs.at(betas)`) all run at once.
        kernel: `NUTS()` if not given; `MALA()`, `RandomWalk()`.
        warmup: Steps of warm-up, which tune the kernel and are discarded.
        draws: Draws to keep of each chain.
        thin: Steps between draws.
        start: Coordinates to start all chains at (`gibbs.position(model)`); each chain starts at
            its own draw of the prior if not given.
        keep: Whether to keep the draws, or only their energies. Without draws, the equilibrium of
            samplers without a Metropolis test is not checked if there are more than 64 coordinates
            or 64 MB of draws, or a `sink`.
        throw: Raise `RunError` if the run failed; else look at `trace.status`.
        reduce: Statistics that are summed inside the loop, `{"name": bx.Mean(fn, length)}`. The
            results are `trace.reduced["name"]`. A run is made in whole chunks, each about a
            twentieth: if they do not divide `draws`, what the last makes beyond is summed too.
        sink: A store for the draws instead of memory (`bx.ZarrSink`).
        checkpoints: A folder to save the run in and to resume it from (`bx.Checkpoints`).
        placement: Devices for chains, data and weights (`bx.Placement`).

    Returns:
        A `Trace` with axes `[*beta, chain, draw]`.

    Raises:
        DeclarationError: Wrong arguments; or an error that the model raises at some weights.
        RunError: A failed run: one whose `Status` is not `successful`.
    """
    check_on_host("sample", {"gibbs": gibbs, "key": key, "start": start})
    kernel = NUTS() if kernel is None else kernel
    reduce = _filled(reduce or {}, draws)
    refuse_exact(gibbs, {"reduce": reduce, "sink": sink})
    if is_exact(gibbs):
        return exact_draws(gibbs, key, chains, draws, keep)
    key_start, key_run = jax.random.split(key)
    begin = starts(gibbs, start, key_start, chains, kernel)
    placed = gibbs
    if placement is not None:
        placed, begin = placement.place(gibbs, begin)
    # whether a sampler without a Metropolis test is in equilibrium is told from its draws
    looked_at = isinstance(kernel, AbstractUnadjusted) and sink is None
    held = keep or (looked_at and draws_fit(gibbs, gibbs.beta.size * chains * draws))
    dynamics = Chains(placed, kernel, held, reduce)
    made = loop(
        dynamics, begin, key_run, warmup=warmup, draws=draws, thin=thin, progress=progress,
        sink=sink, checkpoints=checkpoints,
    )  # fmt: skip
    state, records = made.state, draws_at(gibbs.beta.ndim + 1, made.records)
    status = judge(records, 1.1) if made.status == Status.successful else made.status
    last = None
    if state is not None:
        last = over_chains(lambda b, each, _: kernel.position(each), gibbs.beta, state.kernel, None)
    status = rounding_status(placed, last, records["energy"], status)
    if isinstance(kernel, AbstractUnadjusted):
        status = equilibrium_status(placed, records.get("w", {}), status)
    kept = {name: records[name] for name in (*TRACE_RECORDS, "gradients", "moved")}
    w = records.get("w") if keep else None
    trace = Trace(gibbs, w=w, status=status, key=integrated_key(key_run), **kept)
    sums = {} if state is None else to_host(state.sums)
    found = {name: reduce[name].result(each) for name, each in sums.items()}
    trace = dataclasses.replace(trace, reduced=jax.tree.map(
        lambda leaf: trace.vouched(leaf) if isinstance(leaf, Estimate) else leaf,
        found, is_leaf=lambda leaf: isinstance(leaf, Estimate),
    ))  # fmt: skip
    raise_for_trace(trace, throw)
    return trace


def _filled(reduce: dict[str, AbstractReduction], draws: int) -> dict[str, AbstractReduction]:
    """Reductions, each of which so many draws can fill."""
    for name, each in reduce.items():
        if isinstance(each, Mean) and draws < 2 * each.length:
            raise DeclarationError(
                f"reduce[{name!r}]",
                got=f"length={each.length} for {draws} draws",
                expected="at least two batches, from whose spread the error is taken",
                mend=f"pass length={max(draws // 32, 1)}, or draw more",
            )
    return reduce
