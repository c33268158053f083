"""Draws along a ladder of temperatures."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ..compile import Gibbs, UnitPotential, check_betas, lower_units
from ..core import DeclarationError, Status
from ._kernel import AbstractKernel
from ._ladder import check_ladder, first_ladder, refine, round_trips
from ._loop import loop
from ._nuts import NUTS
from ._replica import ReplicaExchange
from ._sample import check_run, starts
from ._trace import Bridges, Trace, judge, raise_for
from ._unit_moves import UnitMoves


def anneal(
    gibbs: Gibbs,
    betas: Array | np.ndarray | list[float] | tuple[float, ...],
    kernel: AbstractKernel | None = None,
    *,
    key: PRNGKeyArray,
    chains: int = 4,
    warmup: int = 100,
    draws: int = 100,
    thin: int = 1,
    spacing: float | None = None,
    least_swap: float = 0.15,
    keep: bool = False,
    throw: bool = True,
    progress: bool = False,
) -> Trace:
    """Replica exchange over a ladder from the prior (beta = 0) through all `betas`.

    The ladder is chosen automatically: the requested betas, `beta = 0`, fillers at most `spacing`
    apart in log beta, and more wherever neighbours swap less often than `least_swap`. Where the
    readout of exchangeable units is integrated out, the units move one at a time by rank-two
    updates in a graded basis; else the kernel is `NUTS`.

    **Returns** a `Trace` with axes `[beta, chain, draw]` for the requested betas in the order
    given; the whole ladder is in `trace.bridges` and serves the free energy.

    **Raises** `DeclarationError` for wrong arguments; `RunError` if the ladder lags (no replica
    made a round trip from the coldest level to the prior and back, or chains that started cold
    disagree with those that started hot) or a chain failed, unless `throw=False`.
    """
    requested = check_ladder(betas)
    check_run(gibbs, kernel or NUTS(), chains, warmup, draws, thin)
    check_betas("betas", jnp.asarray(requested), gibbs.masses)
    _check_spacing(spacing, least_swap)
    gibbs = lower_units(gibbs, float(requested.max()))
    if kernel is None:
        kernel = UnitMoves() if isinstance(gibbs.potential, UnitPotential) else NUTS()
    if spacing is None:
        smooth = isinstance(gibbs.potential, UnitPotential)
        spacing = 4.0 if smooth else 4 / float(np.sqrt(1 + gibbs.dim / 4))
    key_ladder, key_start, key_run = jax.random.split(key, 3)
    ladder = first_ladder(gibbs, requested, spacing, key_ladder)
    for attempt in range(4):
        levels = gibbs.at(ladder)
        start = starts(levels, None, jax.random.fold_in(key_start, attempt), chains)
        dynamics = ReplicaExchange(levels, kernel, keep)
        run_key = jax.random.fold_in(key_run, attempt)
        _, records = loop(
            dynamics, start, run_key, warmup=warmup, draws=draws, thin=thin, progress=progress
        )
        swap_rate = np.asarray(jnp.mean(records["swap"], axis=(0, 2)))
        finer = refine(ladder, swap_rate, least_swap)
        if len(finer) == len(ladder):
            break
        ladder = finer
    return _trace(levels, requested, records, swap_rate, throw)


def _trace(levels: Gibbs, requested, records, swap_rate, throw: bool) -> Trace:
    ladder = np.asarray(levels.beta)
    trips = round_trips(records.pop("who"))
    records = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 2), records)
    index = tuple(int(np.argmin(np.abs(ladder - beta))) for beta in requested)
    status = judge(
        records["energy"], jnp.isfinite(records["energy"]), records["divergent"]
    )
    if status == Status.successful and len(ladder) > 2 and not bool(jnp.all(trips >= 1)):
        status = Status.lagging
    if status == Status.not_mixed:
        status = Status.lagging
    bridges = Bridges(
        levels.beta,
        records["energy"],
        records["energy_variance"],
        records["up"],
        records["down"],
        jnp.asarray(swap_rate),
        trips,
        index,
    )
    raise_for(status, throw)
    rows = jnp.asarray(index)
    picked = {name: jax.tree.map(lambda leaf: leaf[rows], records[name]) for name in _KEPT}
    w = jax.tree.map(lambda leaf: leaf[rows], records["w"]) if "w" in records else None
    at = eqx.tree_at(lambda g: g.beta, levels, levels.beta[rows])
    return Trace(at, *(picked[name] for name in _KEPT), w, status, bridges)


_KEPT = ("energy", "energy_variance", "acceptance", "divergent")


def _check_spacing(spacing: object, least_swap: object) -> None:
    if spacing is not None and not (isinstance(spacing, int | float) and spacing > 0):
        raise DeclarationError(
            "spacing",
            got=repr(spacing),
            expected="a positive number (in log beta), or None",
            mend="leave it out to have the ladder chosen",
        )
    if not (isinstance(least_swap, int | float) and 0 <= least_swap < 1):
        raise DeclarationError(
            "least_swap", got=repr(least_swap), expected="a number in [0, 1)", mend="pass e.g. 0.15"
        )
