"""The verdict on a local learning coefficient, from its evidence."""

import math

from ..core import Estimate
from ..sample import MOST_ROUNDING
from ._minimum import LEAST_GAP, SIGNIFICANCE
from ._verdict import Evidence, Verdict

MELTED, SOFT = 0.5, 0.1
"""Share of the excess loss of ignorant draws from which a posterior has melted: by that alone, and
where the heat capacity says so too (`C < LOW λ̂`)."""

LOW, LOW_IF_WORSE = 0.5, 0.7
"""Part of λ̂ below which the heat capacity speaks of melting; and where the draws are worse than the
best constant. `benchmarks/melting.py`: guessing draws of a transformer have `C` of 0.46 to 0.55 λ̂
there, a regular model of a weak signal more than 0.7 λ̂. At 0.03/log n both have more: not seen."""

MOST_GAP = 0.5
"""Part of λ̂ above which a gap needs a test that can tell it from noise."""


def judge_local(
    estimate: Estimate,
    evidence: Evidence,
    *,
    biased: bool,
    stuck: bool,
    interrupted: bool = False,
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
        interrupted: Whether the run was cut by Ctrl-C.
        given: Whether w* was trained on other data; if not, λ̂ < 0 speaks against w*.
        part: Mass of the data over the mass of those that w* was trained on.
        chains: Number of chains.
    """
    value, error = float(estimate.value), float(estimate.standard_error)
    if not math.isfinite(value):
        return Verdict.non_finite
    if not evidence.rounding <= MOST_ROUNDING:
        return Verdict.rounding
    if stuck:
        return Verdict.stuck
    if interrupted:
        return Verdict.interrupted
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
    matters = part * evidence.gap > max(LEAST_GAP * abs(value), 2 * error)
    by_noise = evidence.gap_chance is not None and evidence.gap_chance > SIGNIFICANCE
    if (matters and not by_noise) or (not given and value < -3 * error):
        return Verdict.not_a_minimum
    if matters and powerless(evidence, value, part):
        return Verdict.few_data
    if evidence.sensitivity > 0.5 + evidence.sensitivity_error:
        return Verdict.localisation_dominates
    if melted(evidence, value):
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


def powerless(evidence: Evidence, value: float, part: float) -> bool:
    """Whether w* may be half trained for all that the test of its gradient can tell.

    The gap is what λ̂ would gain at the minimum. Below half of λ̂ it is left to the reader; above, it
    is put down to noise only if the test would have seen as large a gap that is none.
    """
    if evidence.gap_seen is None:
        return False
    large = MOST_GAP * abs(value)
    return part * evidence.gap > large and not part * evidence.gap_seen <= large


def out_of_equilibrium(evidence: Evidence, error: float) -> bool:
    """Whether the virial is seen to differ from 0, by so much that it moves λ̂ beyond its error.

    Where the loss is of degree k about w*, `virial = k δλ̂ + 2 δ⟨γ/2 |w - w*|²⟩`, with k at least 2:
    an error δλ̂ shows as twice as much or more.
    """
    if evidence.virial is None or evidence.virial_error is None:
        return False
    size = abs(evidence.virial)
    return size > 4 * evidence.virial_error and size > 2 * error


def melted(evidence: Evidence, value: float) -> bool:
    """Whether the draws have lost most of what w* knows.

    Where the mean loss of the draws hardly depends on β, λ̂ grows like β and `C = λ̂ - ∂λ̂/∂log β` is
    small. A regular model has `C = λ̂` however weak its signal, so that draws which are no better
    than a constant speak against λ̂ only where C is small too.
    """
    excess = evidence.loss_of_draws - evidence.loss
    of_prior = evidence.loss_of_prior - evidence.loss
    if excess > MELTED * of_prior > 0:
        return True
    heat = evidence.heat_capacity + 2 * evidence.heat_capacity_error
    lost, limit = excess > SOFT * of_prior > 0, LOW
    if evidence.loss_of_constant is not None:
        of_constant = evidence.loss_of_constant - evidence.loss
        lost |= excess > MELTED * of_constant
        limit = LOW_IF_WORSE if excess > of_constant else LOW
    return lost and heat < limit * value
