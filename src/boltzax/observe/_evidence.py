"""The evidence for a local learning coefficient, gathered from its runs."""

import dataclasses
import math

import jax
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from ..compile import Gibbs
from ..core import Estimate
from ..declare import AbstractEnergy
from ..numerics import ITERATIONS
from ._cost import Cost, growth, rounded_up
from ._equilibrium import MOST_DRAWS, virial
from ._learning_coefficient import heat_capacity
from ._losses import data_mass, losses
from ._minimum import descend, gradient_test
from ._runs import LocalRun, extrapolated
from ._verdict import Evidence

CHECK = 20_021
"""Folded into the key for the minibatches of the check of equilibrium."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """What w* was trained on: the energy and its localised posterior over the same weights.

    Args:
        energy: The energy.
        gibbs: Its localised posterior.
        given: Whether it is other than the energy that the coefficient is of.
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
) -> tuple[Evidence, PyTree]:
    """The evidence, and the model at the localised minimum next to w*.

    Args:
        energy: As declared.
        gibbs: Its localised posterior.
        trained: What w* was trained on.
        runs: The runs, of ever shorter steps.
        estimate: λ̂.
        order: Power of the step with which the law is off.
        cost: What everything costs, and what the cap leaves.
        key: For the blocks of data, draws of the localising Gaussian, and minibatches.
    """
    key_blocks, key_prior = jax.random.split(key)
    key_check = jax.random.fold_in(key, CHECK) if cost.batches else None
    value, last = float(estimate.value), runs[-1]
    counted = settled(runs)
    minimum, gap, descended = _gap(trained.gibbs, int(cost.descent / cost.trained))
    test = gradient_test(trained.energy, trained.gibbs, key_blocks)
    spent = cost.fixed + cost.trained * descended + sum(run.gradients for run in runs)
    sensitivity, sensitivity_error = _sensitivity(gibbs, last, value)
    heat = heat_capacity(last.trace)
    most = int(min((cost.cap - spent) / cost.check / len(counted), MOST_DRAWS))
    balance = _balance(gibbs, counted, order, most, key_check)
    if balance is not None:
        spent += cost.check * sum(min(run.trace.energy.size, most) for run in counted)
    of = losses(energy, gibbs, key_prior, cost.batches)
    grown = growth(
        value,
        float(estimate.standard_error),
        min(float(run.estimate.ess) for run in counted),
        max(float(run.estimate.r_hat) for run in counted),
        cost.chains,
    )
    others = spent - sum(run.gradients for run in runs)
    several = runs if len(runs) > 1 else []
    evidence = Evidence(
        acceptance=last.acceptance if cost.exact else float("nan"),
        divergent=last.divergent,
        r_hat=max(float(run.estimate.r_hat) for run in counted),
        ess=min(float(run.estimate.ess) for run in counted),
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
    )
    return evidence, minimum


def settled(runs: list[LocalRun]) -> list[LocalRun]:
    """The runs that count: the last two that are finite, or all if there are no two."""
    finite = [run for run in runs if math.isfinite(float(run.estimate.value))]
    return finite[-2:] if len(finite) >= 2 else runs


def _gap(gibbs: Gibbs, gradients: int) -> tuple[PyTree, float, int]:
    """The model at the localised minimum next to w*, `β (E(w*) - E_min)`, gradients it took."""
    lowest, least, taken = descend(gibbs, gibbs.position(), min(gradients, 10 * ITERATIONS))
    reference = gibbs.energy_of(gibbs.declared)
    return gibbs.model(lowest), float(gibbs.beta) * (float(reference) - float(least)), taken


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
    found = [virial(gibbs, run.trace, most, each) for run, each in zip(runs, keys, strict=True)]
    known = [
        dataclasses.replace(run, estimate=each)
        for run, each in zip(runs, found, strict=True)
        if each is not None
    ]
    return extrapolated(known, order)[0] if known and len(known) == len(runs) else None


def _scope(gibbs: Gibbs, trained: Trained) -> str:
    """Which data, which weights, and the beta."""
    weights = sum(leaf.size for leaf in gibbs.coordinates.base.values())
    moving = (
        f"all {weights} weights" if gibbs.dim == weights else f"{gibbs.dim} of {weights} weights"
    )
    mass = _number(data_mass(gibbs))
    if not trained.given:
        return f"{moving}, data of mass {mass}"
    whole = _number(data_mass(trained.gibbs))
    return f"{moving}, data of mass {mass}, of a model trained on a mass of {whole}"


def _number(mass: float) -> str:
    return f"{mass:.6g}"
