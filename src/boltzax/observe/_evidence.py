"""The evidence for a local learning coefficient, gathered from its runs."""

import dataclasses
import math

import jax
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from ..compile import Gibbs, Weights
from ..core import Estimate
from ..declare import AbstractEnergy
from ..numerics import ITERATIONS
from ..sample import AbstractKernel, AbstractUnadjusted, Trace, radial, thinned
from ._adaptive_runs import LocalRun, extrapolated, finite
from ._learning_coefficient import heat_capacity
from ._local_cost import Cost, growth, rounded_up
from ._local_verdict import Evidence
from ._minimum import descend, gradient_test
from ._reference_losses import data_mass, losses

CHECK = 20_021
"""Folded into the key for the minibatches of the check of equilibrium."""
MOST_DRAWS = 20_000
"""Draws of all chains at which equilibrium is checked, evenly spread over the run."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """What w* was trained on: the energy and its localised posterior over the same weights.

    `given` is whether it differs from the energy of the coefficient.
    """

    energy: AbstractEnergy
    gibbs: Gibbs
    given: bool


def gather(
    energy: AbstractEnergy,
    gibbs: Gibbs,
    trained: Trained,
    runs: list[LocalRun],
    estimate: Estimate,
    order: int,
    cost: Cost,
    key: PRNGKeyArray,
    localisation: float,
    kernel: AbstractKernel,
) -> tuple[Evidence, PyTree]:
    """The evidence, and the model at the localised minimum next to w*.

    Args:
        energy: As declared.
        gibbs: Its localised posterior.
        trained: What w* was trained on.
        runs: The runs, at decreasing steps.
        estimate: λ̂.
        order: Power of the step in the error of the sampled law.
        cost: What each operation costs, and what remains of the cap.
        key: For the blocks of data, draws of the localising Gaussian, and minibatches.
        localisation: γ.
        kernel: The sampler of the runs.
    """
    key_blocks, key_prior = jax.random.split(key)
    key_check = jax.random.fold_in(key, CHECK) if cost.batches else None
    value, last, counted = float(estimate.value), runs[-1], settled(runs)
    gradients = min(int(cost.descent / cost.trained), 10 * ITERATIONS)
    lowest, least, descended = descend(trained.gibbs, trained.gibbs.position(), gradients)
    reference = trained.gibbs.energy_of(trained.gibbs.declared)
    gap = float(trained.gibbs.beta) * (float(reference) - float(least))
    test = gradient_test(trained.energy, trained.gibbs, key_blocks)
    spent = cost.fixed + cost.trained * descended + sum(run.gradients for run in runs)
    sensitivity, sensitivity_error = _sensitivity(gibbs, last, value)
    heat = heat_capacity(last.trace)
    most = int(min((cost.cap - spent) / cost.check / len(counted), MOST_DRAWS))
    balance = _balance(gibbs, counted, order, most, key_check)
    if balance is not None:
        looked_at = [_spread({"": run.trace.energy}, run.trace, most)[""] for run in counted]
        spent += cost.check * sum(draws.size for draws in looked_at)
    of = losses(energy, gibbs, key_prior, cost.batches)
    ess = min(float(run.estimate.ess) for run in counted)
    r_hat = max(float(run.estimate.r_hat) for run in counted)
    grown = growth(value, float(estimate.standard_error), ess, r_hat, cost.chains)
    others = spent - sum(run.gradients for run in runs)
    several = runs if len(runs) > 1 else []
    evidence = Evidence(
        acceptance=last.acceptance if cost.exact else float("nan"),
        divergent=last.divergent,
        r_hat=r_hat,
        ess=ess,
        burn_in=last.burn_in,
        steps=tuple(run.scale for run in several),
        by_step=tuple(float(run.estimate.value) for run in several),
        by_step_error=tuple(float(run.estimate.standard_error) for run in several),
        gap=gap,
        gap_chance=None if test is None else test.chance,
        # where the energy is quadratic, a gradient t times as large has a gap t² times as large
        gap_seen=None if test is None else (test.seen**2 * gap if gap > 0 else 0.0),
        sensitivity=sensitivity,
        sensitivity_error=sensitivity_error,
        virial=None if balance is None else float(balance.value),
        virial_error=None if balance is None else float(balance.standard_error),
        heat_capacity=float(heat.value),
        heat_capacity_error=float(heat.standard_error),
        loss=of.at_minimum,
        loss_of_draws=of.at_minimum + value / float(gibbs.beta) / data_mass(gibbs),
        loss_of_prior=of.of_prior,
        loss_of_constant=of.of_constant,
        residual_variance=of.residual_variance,
        beta=float(gibbs.beta),
        gradients=math.ceil(spent),
        needed=rounded_up(max(1.2 * grown * cost.runs + others, spent)) if grown > 1 else None,
        batches=cost.batches,
        scope=_scope(gibbs, trained),
        rounding=max(run.rounding for run in runs),
        localisation=localisation,
        step_size=_step(kernel, last),
    )
    return evidence, trained.gibbs.model(lowest)


def settled(runs: list[LocalRun]) -> list[LocalRun]:
    """The runs that count: the last two with finite values, or all if there are fewer than two."""
    good = [run for run in runs if finite(run.estimate)]
    return good[-2:] if len(good) >= 2 else runs


def virial(
    gibbs: Gibbs, trace: Trace, most: int = MOST_DRAWS, key: PRNGKeyArray | None = None
) -> Estimate | None:
    """`⟨(w - w*)·∇(-log p)⟩ - d`, which is 0 at equilibrium (the virial theorem).

    With the localising Gaussian it reads `β ⟨(w - w*)·∇E⟩ + γ ⟨|w - w*|²⟩ = d`, by one integration
    by parts over all weights. It is violated by draws that have not reached the ends of a long arm
    of the posterior, and by a step that is too long for a sampler without a Metropolis test. It
    does not detect a separate mode.

    Args:
        gibbs: The localised posterior.
        trace: Its draws.
        most: Draws of all chains at which it is evaluated, evenly spread.
        key: For gradients from minibatches, one at each draw; over all data if None.

    Returns:
        The estimate, or None if the draws were not kept, or there are fewer than 4 a chain.
    """
    if trace.w is None:
        return None
    kept = _spread(trace.w, trace, most)
    if jax.tree.leaves(kept)[0].shape[1] < 4:
        return None
    return Estimate.of_series(radial(gibbs, gibbs.position(), kept, key) - gibbs.dim)


def _spread(w: Weights, trace: Trace, most: int) -> Weights:
    """At most so many draws of all chains (but one of each), evenly spread."""
    return thinned(w, most // trace.energy.shape[0])


def _sensitivity(gibbs: Gibbs, run: LocalRun, value: float) -> tuple[float, float]:
    """`-∂ log λ̂ / ∂ log γ = β Cov(E, γ/2 |w - w*|²) / λ̂`, and its standard error."""
    energy, log_prior = (np.asarray(x, float) for x in (run.trace.energy, run.log_prior))
    products = (energy - energy.mean()) * (log_prior.mean() - log_prior)
    covariance = Estimate.of_series(float(gibbs.beta) * products)
    scale = value if value else float("nan")
    return float(covariance.value) / scale, float(covariance.standard_error) / abs(scale)


def _balance(
    gibbs: Gibbs, runs: list[LocalRun], order: int, most: int, key: PRNGKeyArray | None
) -> Estimate | None:
    """The virial, extrapolated to step zero as the coefficient is."""
    keys = [None if key is None else jax.random.fold_in(key, i) for i in range(len(runs))]
    each_run = zip(runs, keys, strict=True)
    virials = [virial(gibbs, run.trace, most, run_key) for run, run_key in each_run]
    known = [estimate for estimate in virials if estimate is not None]
    return extrapolated(known, order)[0] if len(known) == len(runs) else None


def _step(kernel: AbstractKernel, run: LocalRun) -> float | None:
    step = kernel.step_of(run.states) if isinstance(kernel, AbstractUnadjusted) else None
    return None if step is None else run.scale * float(step)


def _scope(gibbs: Gibbs, trained: Trained) -> str:
    """Which data and which weights, in words."""
    weights = sum(leaf.size for leaf in gibbs.coordinates.base.values())
    count = f"all {weights}" if gibbs.dim == weights else f"{gibbs.dim} of {weights}"
    text = f"{count} weights, data of mass {data_mass(gibbs):.6g}"
    if not trained.given:
        return text
    return f"{text}, of a model trained on a mass of {data_mass(trained.gibbs):.6g}"
