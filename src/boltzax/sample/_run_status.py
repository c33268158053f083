"""The status of a run, judged from its draws, and the evidence for it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..compile import Gibbs, Weights
from ..core import Estimate, Status, at_hand, finite, refuted
from ._interrupt import raise_for_run
from ._trace import Trace


def judge(records: dict[str, PyTree], r_hat: float) -> Status:
    """The status of a run, from its draws.

    Args:
        records: what a run recorded, by name, with axes `[*beta, chain, draw]`: `energy`,
            `divergent`, and if they are there `moved` and `log_prior`.
        r_hat: chains have mixed if that of the energy is at most this. Where the energy is constant
            though the chains move, the log-density of the prior is judged instead.

    Returns:
        The first of `non_finite`, `stuck`, `divergent`, `not_mixed` that holds, or `successful`.
    """
    energy, moved = records["energy"], records.get("moved")
    if refuted(finite, energy):
        return Status.non_finite
    if moved is not None and refuted(lambda each: each.any(axis=-2), moved):
        return Status.stuck
    if float(at_hand(records["divergent"]).mean()) > 0.01:
        return Status.divergent
    estimate = Estimate.of_series(energy)
    found, ess = np.asarray(estimate.r_hat), np.asarray(estimate.ess)
    if moved is not None and "log_prior" in records:
        prior = Estimate.of_series(records["log_prior"])
        found = np.where(np.isnan(found), prior.r_hat, found)
        ess = np.where(np.isnan(ess), prior.ess, ess)
    good = (found <= r_hat) & (ess >= 4 * energy.shape[-2])
    return Status.successful if bool(np.all(good)) else Status.not_mixed


def raise_for_trace(trace: Trace, throw: bool, more: str = "") -> None:
    """Raise `RunError` for a failed run, with the evidence, unless the user takes it as it is.

    Raise `Interrupted` with the trace for a run that was interrupted.
    """
    raise_for_run(trace, trace.status, throw, lambda: f"Evidence: {evidence(trace)}{more}.")


def evidence(trace: Trace) -> str:
    """The numbers that a status is judged by, in words."""
    energy = trace.energy if trace.bridges is None else trace.bridges.energy
    estimate = Estimate.of_series(energy)
    worst, least = float(jnp.max(estimate.r_hat)), float(jnp.min(estimate.ess))
    said = f"largest r_hat of the energy {worst:.3f}, smallest ess {least:.0f}"
    divergent = float(jnp.mean(trace.divergent))
    said += f", divergent trajectories {100 * divergent:.1f}%"
    if trace.bridges is not None:
        trips, swaps = trace.bridges.round_trips, trace.bridges.swap_rate
        said += f", round trips {float(jnp.sum(trips)):.0f}, smallest swap rate "
        said += f"{float(jnp.min(swaps)):.2f}"
    return said + _stillness(trace)


def _stillness(trace: Trace) -> str:
    """The weights that never moved, in how many chains, and whether their gradient is finite."""
    if trace.moved is None:
        return ""
    still = ~np.any(np.asarray(trace.moved), axis=-2).reshape(-1, trace.moved.shape[-1])
    paths = sorted(trace.gibbs.coordinates.priors)
    counts = [f"{path} in {n} of {len(still)}" for path, n in zip(paths, still.sum(0)) if n]
    if not counts:
        return ""
    said = f", weights that never moved (chains): {'; '.join(counts[:5])}"
    said += f", mean acceptance {float(jnp.mean(trace.acceptance)):.2f}"
    if trace.w is not None:
        chain = int(np.flatnonzero(still.any(1))[0])
        undefined = _undefined_gradient(trace, chain)
        if undefined:
            said += f", the gradient there is not finite in {', '.join(undefined[:5])}"
    return said


def _undefined_gradient(trace: Trace, chain: int) -> list[str]:
    """Leaves in which the gradient at the last draw of a chain (of all betas) is not finite."""
    rows = trace.energy.shape[-2:]
    last = {
        path: leaf.reshape(-1, rows[1], *leaf.shape[trace.energy.ndim :])[chain, -1]
        for path, leaf in (trace.w or {}).items()
    }
    beta = jnp.repeat(trace.betas.reshape(-1), rows[0])[chain]
    gradient = _gradient(eqx.tree_at(lambda g: g.beta, trace.gibbs, beta), last)
    return [path for path, leaf in sorted(gradient.items()) if not np.all(np.isfinite(leaf))]


@eqx.filter_jit
def _gradient(gibbs: Gibbs, w: Weights) -> Weights:
    return jax.grad(gibbs.log_prob)(w)
