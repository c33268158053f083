"""The verdict on a local learning coefficient, from its evidence."""

import math

from ..core import Estimate
from ._verdict import Evidence, Verdict

MELTED = 0.5
"""Share of the excess loss of ignorant predictions from which a posterior has melted."""


def judge_local(
    estimate: Estimate,
    evidence: Evidence,
    *,
    biased: bool,
    stuck: bool,
    given: bool,
    part: float,
    chains: int,
) -> Verdict:
    """The first of the verdicts that holds.

    Every comparison is written so that a number that is missing (NaN) counts against the estimate.

    Args:
        estimate: λ̂.
        evidence: What it is judged by.
        biased: Whether the step size is too long to extrapolate from.
        stuck: Whether a chain never moved.
        given: Whether w* was trained on other data; if not, λ̂ < 0 speaks against w*.
        part: Mass of the data over the mass of those that w* was trained on.
        chains: Number of chains.
    """
    value, error = float(estimate.value), float(estimate.standard_error)
    if stuck:
        return Verdict.stuck
    if not math.isfinite(value):
        return Verdict.non_finite
    if not evidence.divergent <= 0.01:
        return Verdict.divergent
    if not (evidence.r_hat <= 1.05 and evidence.ess >= 30 * chains):
        return Verdict.not_mixed
    if biased:
        return Verdict.step_bias
    if _incomplete(evidence):
        return Verdict.undecided
    if out_of_equilibrium(evidence, error):
        return Verdict.not_in_equilibrium
    matters = part * evidence.gap > max(0.05 * abs(value), 2 * error)
    by_noise = evidence.gap_chance is not None and evidence.gap_chance > 0.01
    if (matters and not by_noise) or (not given and value < -3 * error):
        return Verdict.not_a_minimum
    if evidence.sensitivity > 0.5 + evidence.sensitivity_error:
        return Verdict.localisation_dominates
    if melted(evidence):
        return Verdict.melted
    if not error <= 0.2 * abs(value):
        return Verdict.imprecise
    return Verdict.usable


def _incomplete(evidence: Evidence) -> bool:
    """Whether a number that was looked for is not one."""
    wanted = (
        evidence.gap,
        evidence.gap_chance,
        evidence.sensitivity,
        evidence.sensitivity_error,
        evidence.virial,
        evidence.virial_error,
        evidence.heat_capacity,
        evidence.loss,
        evidence.loss_of_draws,
    )
    missing = math.isnan(evidence.loss_of_prior)  # it may be infinite
    return missing or not all(math.isfinite(each) for each in wanted if each is not None)


def out_of_equilibrium(evidence: Evidence, error: float) -> bool:
    """Whether the virial is seen to differ from 0, by so much that it moves λ̂ beyond its error.

    Where the loss is of degree k about w*, `virial = k δλ̂ + 2 δ⟨γ/2 |w - w*|²⟩`, with k at least 2:
    an error δλ̂ shows as twice as much or more.
    """
    if evidence.virial is None or evidence.virial_error is None:
        return False
    size = abs(evidence.virial)
    return size > 4 * evidence.virial_error and size > 2 * error


def melted(evidence: Evidence) -> bool:
    """Whether the draws have lost most of what w* knows, by either measure of ignorance.

    The localising Gaussian alone, or the best constant where it is known. λ̂ of a regular model is
    right however weak its signal, so a constant as good as the draws counts only where λ̂ still
    changes with β as the loss itself would: `C < λ̂/2`.
    """
    excess = evidence.loss_of_draws - evidence.loss
    of_prior = evidence.loss_of_prior - evidence.loss
    return excess > MELTED * of_prior
