"""Phases: regions of the weights, and their posterior probabilities."""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import DeclarationError, Estimate, Influence, Number, typed
from ..sample import Trace, bar_series
from ._free_energy import bridges_of
from ._reference import Reference, reference_energy


@typed
class Phase(eqx.Module):
    """A region of the weights, with a run along a ladder inside it.

    Args:
        trace: From `anneal`, with the prior restricted to the region and normalised there.
        log_mass: Logarithm of the region's mass under the prior of the whole.
        share: The fraction of each draw that counts, `[beta, chain, draw]`: 1 (the default) if the
            run's prior is the region, the indicator of a smaller region, or `1/k` where a
            restriction of one unit stands for `k` equivalent ones.

    Raises:
        DeclarationError: For a trace without a ladder, and for shares of another shape, negative
            shares, or a beta at which all are zero.
    """

    trace: Trace
    log_mass: Float[Array, ""]
    share: Float[Array, "beta chain draw"]

    def __init__(
        self,
        trace: Trace,
        log_mass: Number = 0.0,
        share: Float[Array, "beta chain draw"] | None = None,
    ):
        bridges_of(trace)
        share = jnp.ones_like(trace.energy) if share is None else share
        if share.shape != trace.energy.shape or not bool(jnp.all(share >= 0)):
            raise DeclarationError(
                "share",
                got=f"shape {share.shape}",
                expected=f"non-negative numbers, one a draw: shape {trace.energy.shape}",
                mend="compute it by trace.evaluate(fn) from the model at each draw",
            )
        if not bool(jnp.all(jnp.any(share > 0, axis=(-2, -1)))):
            raise DeclarationError(
                "share",
                got="a beta at which no draw counts",
                expected="draws in the region at every beta",
                mend="restrict the prior of the run to the region",
            )
        self.trace, self.share = trace, share
        self.log_mass = jnp.asarray(log_mass, float)

    def __getitem__(self, rows: slice) -> "Phase":
        """The region at some of its betas."""
        return Phase(self.trace[rows], self.log_mass, self.share[rows])


@typed
class Phases(eqx.Module):
    """What `phases` returns; axes `[phase, beta]` for the parts, `[beta]` for the whole.

    Args:
        probability: Posterior probability of each phase, `[phase, beta]`.
        free_energies: Free energy of each phase in nats, `[phase, beta]`.
        learning_coefficients: `λ̂` of each phase, `[phase, beta]`.
        free_energy: Free energy of the whole in nats, `[beta]`.
        learning_coefficient: `λ̂` of the whole, `[beta]`.
    """

    probability: Estimate
    free_energies: Estimate
    learning_coefficients: Estimate
    free_energy: Estimate
    learning_coefficient: Estimate


@typed
def phases(parts: Sequence[Phase], *, reference: Reference = 0.0) -> Phases:
    """Free energy and learning coefficient of a whole from those of disjoint regions `A_i`.

    `F_i = F_trace - log(mass) - log⟨share⟩`, `F = -log Σ_i exp(-F_i)`, the posterior probability
    of a phase is `p_i = exp(F - F_i)`, and `λ̂ = Σ_i p_i λ̂_i`, since `λ̂ = ∂F/∂log β` (on phase
    transitions of the posterior: Watanabe 2018, Mathematical Theory of Bayesian Statistics, ch. 9).
    Use it where no ladder crosses between two phases (a first-order transition): each phase is run
    separately, and the free energies give their weights.

    For any regions, disjoint or not, `F ≤ F_i`: a run of the whole with a free energy above that of
    a region has missed the region.

    Free energies and coefficients are absolute by default (for data with noise they include the
    energy of the best weights). With a `reference` they are excesses `F_i - β E_ref` and
    `β (⟨E⟩_i - E_ref)`, with one `E_ref` for all parts. Probabilities do not depend on it.

    Errors: runs are independent, and each run's `λ̂_i` and `F_i` are treated as one series, to
    first order in the shares. Where `ess` is below some tens, the error bars are unreliable.

    Args:
        parts: The regions, run along the same betas.
        reference: `E_ref`, a model `w*` or a number, as in `learning_coefficient`.

    Returns:
        `Phases`, with axes `[phase, beta]` for the parts and `[beta]` for the whole, in nats.

    Raises:
        DeclarationError: For no parts, and parts at different betas.
    """
    betas = [np.asarray(part.trace.betas) for part in parts]
    if not betas or any(b.shape != betas[0].shape or np.any(b != betas[0]) for b in betas):
        raise DeclarationError(
            "parts",
            got=f"{len(betas)} runs at betas {[b.shape for b in betas]}",
            expected="at least one run, all at the same betas",
            mend="run every region along the same betas",
        )
    offset = reference_energy(parts[0].trace, reference)
    series = list(zip(*(_series(part, offset) for part in parts), strict=True))
    energies, coefficients = (
        Estimate.stack([_mean_of_part(part, x) for part, x in zip(parts, runs, strict=True)])
        for runs in series
    )
    # runs are independent of each other: each is a source of its own, `[run, beta]`
    free, slope = (
        Influence.stack([Influence.of(x, source=f"run {i}") for i, x in enumerate(runs)])
        for runs in series
    )
    wholes = (
        free.map(lambda f: jax.nn.softmax(-f, axis=0)),
        free.map(lambda f: -jax.scipy.special.logsumexp(-f, axis=0)),
        free.map(lambda f, c: jnp.sum(jax.nn.softmax(-f, axis=0) * c, axis=0), slope),
    )
    probability, whole, mean = (influence.estimate(exact=True) for influence in wholes)
    return Phases(probability, energies, coefficients, whole, mean)


def _series(part: Phase, offset: Array) -> tuple[Array, Array]:
    """Series whose means are `F_i - β E_ref` and `λ̂_i` and whose spreads are their errors."""
    trace, bridges = part.trace, bridges_of(part.trace)
    mean = jnp.mean(part.share, axis=(-2, -1), keepdims=True)
    share = part.share / mean
    betas = trace.betas[:, None, None]
    free = bar_series(bridges)[jnp.asarray(bridges.requested)]
    free = free - part.log_mass - jnp.log(mean) - (share - 1) - betas * offset
    heat = betas * (trace.energy - offset)
    slope = jnp.mean(share * heat, axis=(-2, -1), keepdims=True)
    return free, slope + share * (heat - slope)


def _mean_of_part(part: Phase, series: Array) -> Estimate:
    """The mean of a series, with an ess of at most that of the shares (Kish 1965)."""
    estimate = part.trace.mean_of(series, exact=True)
    total, squares = (jnp.sum(part.share**power, axis=(-2, -1)) for power in (1, 2))
    ess = jnp.minimum(estimate.ess, total**2 / squares)
    return dataclasses.replace(estimate, ess=ess)
