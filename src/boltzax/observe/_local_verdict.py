"""Whether a local learning coefficient can be used: its evidence, and the verdict from it."""

import math

import equinox as eqx

from ..core import Estimate, Whole, typed
from ..sample import MOST_ROUNDING
from ._minimum import LEAST_GAP, SIGNIFICANCE

MELTED, SOFT = 0.5, 0.1
"""Ratio of the excess loss of the draws to that of draws of the prior at which a posterior has
melted: by that alone, and where the heat capacity agrees (`C < LOW λ̂`)."""

LOW, LOW_IF_WORSE = 0.5, 0.7
"""Fraction of λ̂ below which the heat capacity is a sign of melting; and where the draws are worse
than the best constant. Measured by `benchmarks/melting.py`: draws of a transformer that guess have
`C` of 0.46 to 0.55 λ̂ there, a regular model of a weak signal more than 0.7 λ̂. At a temperature of
0.03/log n both have more: melting is not seen."""

MOST_GAP = 0.5
"""Fraction of λ̂ above which a gap needs a test that can tell it from noise."""


class Verdict(eqx.Enumeration):
    """What is wrong with an estimate: the first of these that holds, in this order."""

    usable = "Nothing speaks against the estimate."
    non_finite = (
        "A chain reached a non-finite energy. It is not dropped: the estimate is not a number. "
        "Try float64, a smaller step, or a stronger localisation."
    )
    rounding = (
        "Rounding moves the energy by more than 0.1 nats between neighbouring weights: the "
        "coefficient is determined by rounding errors. Use float64, targets in units of their "
        "noise, or products in full (`jax.default_matmul_precision`, if it was set)."
    )
    stuck = (
        "A chain, or one of the weights, never moved: the draws do not sample the posterior. "
        "Likely causes: a gradient that is not a number away from w*, or a step that is zero or "
        "far too long. Leave out `kernel`, or raise max_gradients (for a longer warm-up)."
    )
    interrupted = (
        "The run was interrupted: the estimate is that of the draws made until then. With "
        "`checkpoints` the same line goes on from there."
    )
    divergent = (
        "More than 1% of the trajectories diverged: parts of the posterior were not reached. "
        "Raise the kernel's target_acceptance, or the localisation."
    )
    not_mixed = (
        "The chains disagree, drift, or hold too few effective draws: the error bar is "
        "unreliable. Raise max_gradients."
    )
    not_in_equilibrium = (
        "The draws break an identity that holds at equilibrium (the virial theorem): they have "
        "not reached all of the posterior, such as the ends of long thin arms along which the loss "
        "is flat, or the step is too long. Raise `localisation` or max_gradients."
    )
    step_bias = (
        "The value moves with the step size by more than its error and by too much to extrapolate "
        "to zero. Raise max_gradients (for shorter steps), or the batch size."
    )
    not_a_minimum = (
        "w* is not a minimum of the loss: descending from it lowers the energy by more than the "
        "error of the estimate and more than the noise of the data explains, or the chains found "
        "lower energies than at w*. Train on, or pass the weights the descent ended at. For other "
        "data than w* was trained on, pass `trained_on`."
    )
    few_data = (
        "w* lies above the minimum by a large part of the estimate, and the test of its gradient "
        "cannot tell whether the noise of the data or incomplete training explains it: the data "
        "are too few, or a few of them weigh too much. Train w* to the minimum of these data, or "
        "use more data."
    )
    undecided = (
        "A part of the evidence is not a number, so that it is unknown whether w* is a minimum, or "
        "whether the localisation determines the value. Look for a gradient of the loss that is "
        "not finite, or raise max_gradients, if the descent from w* gained nothing with its part."
    )
    melted = (
        "The draws are hardly better than those of the localising Gaussian alone, or than a "
        "constant prediction. The value measures the size of the loss, not the minimum. Where the "
        "loss of the draws is near that of a constant prediction, the posterior has lost the data: "
        "raise beta (`temperature`) or `localisation`. Where it is near that of w*, the Gaussian "
        "is too narrow for the loss to matter: lower `localisation`."
    )
    localisation_dominates = (
        "The localising Gaussian determines the coefficient more than the loss does: it changes "
        "with the strength γ nearly as fast as γ itself. Lower `localisation`."
    )
    imprecise = (
        "The standard error is more than a fifth of the value when the budget was spent. Raise "
        "max_gradients."
    )


NOISE = 1.2
"""Residuals whose variance is within this factor of the declared noise are as declared."""


@typed
class Evidence(eqx.Module):
    """The numbers on which a verdict is based.

    Args:
        acceptance: Mean acceptance of the Metropolis test on the full energy (NaN without one).
        divergent: Fraction of divergent trajectories.
        r_hat: Of the energy, over the draws that count.
        ess: Of the energy, over the draws that count.
        burn_in: Draws a chain that were left out after the warm-up, because the energy still moved.
        steps: Factors of the step size that were run (empty with a Metropolis test).
        by_step: The coefficient at each.
        by_step_error: Its standard error.
        gap: `β (E(w*) - E_min)` in nats, `E_min` the localised minimum next to w*, for the energy
            that w* was trained on. The descent ends when its part of max_gradients is spent.
        gap_chance: Probability of as large a mean gradient at w* if its expectation over the data
            were zero (None where the measure is not a sample).
        gap_seen: The gap, in nats, of a mean gradient in the same direction that the test of
            `gap_chance` detects with probability 0.95 (None where the measure is not a sample).
        sensitivity: `-∂ log λ̂ / ∂ log γ`: 0 where the loss alone determines λ̂, 1 and above where
            the localisation does.
        sensitivity_error: Its standard error.
        virial: `⟨(w - w*)·∇(-log p)⟩ - d`, 0 at equilibrium (None if the draws were not kept).
        virial_error: Its standard error.
        heat_capacity: `C = β² Var E = λ̂ - ∂λ̂/∂log β`, equal to λ̂ where λ̂ does not change with β.
        heat_capacity_error: Its standard error.
        loss: Mean loss at w*: the energy over the mass of the data.
        loss_of_draws: Mean loss of the draws.
        loss_of_prior: Median loss of draws of the localising Gaussian alone.
        loss_of_constant: Loss of the best prediction that does not depend on the input (None unless
            the energy is one squared error or cross-entropy).
        residual_variance: Mean square of the residuals at w*, of a squared error (else None), in
            units of the noise variance that it assumes: 1, or 1/c for c times a squared error.
        beta: Inverse temperature of the summed energy.
        gradients: Total cost in gradients of the sampler: steps of all chains, warm-up included,
            energies of the draws, descent from w*, passes over all data, check of equilibrium. An
            energy counts as half a gradient; a gradient over all data counts as the minibatches
            that the data would fill.
        scope: Which data and which weights the coefficient belongs to.
        rounding: Standard deviation of the rounding of `β (E - E(w*))`, in nats; the error bar
            includes it.
        needed: Approximate cost of enough effective draws and an error of a fifth of the value,
            extrapolated from the draws so far; None where there are enough.
        batches: Whether energies of draws are those of minibatches, w* on the same ones. Their
            noise is in the error bar, and is not in the heat capacity.
        localisation: γ of the localising Gaussian.
        step_size: The (shortest) step of a sampler without a Metropolis test; else None.
    """

    acceptance: float
    divergent: float
    r_hat: float
    ess: float
    burn_in: Whole
    steps: tuple[float, ...]
    by_step: tuple[float, ...]
    by_step_error: tuple[float, ...]
    gap: float
    gap_chance: float | None
    gap_seen: float | None
    sensitivity: float
    sensitivity_error: float
    virial: float | None
    virial_error: float | None
    heat_capacity: float
    heat_capacity_error: float
    loss: float
    loss_of_draws: float
    loss_of_prior: float
    loss_of_constant: float | None
    residual_variance: float | None
    beta: float
    gradients: Whole
    scope: str = eqx.field(static=True)
    rounding: float = 0.0
    needed: int | None = None
    batches: bool = False
    localisation: float = 1.0
    step_size: float | None = None

    @property
    def effective_beta(self) -> float | None:
        """`β s²`: the inverse temperature for the noise variance `s²` of the residuals.

        A squared error assumes noise of variance 1. With residuals of variance `s²` the likelihood
        is `exp(-E/s²)`, and `β E = (β s²) E/s²`. None where the residual variance is None.
        """
        return None if self.residual_variance is None else self.beta * self.residual_variance

    def melted(self, value: float) -> bool:
        """Whether the draws have lost most of the information of w*.

        Where the mean loss of the draws hardly depends on β, λ̂ grows like β and
        `C = λ̂ - ∂λ̂/∂log β` is small. A regular model has `C = λ̂` however weak its signal. Draws
        that are no better than a constant are evidence against λ̂ only where C is small too.
        """
        excess = self.loss_of_draws - self.loss
        of_prior = self.loss_of_prior - self.loss
        if excess > MELTED * of_prior > 0:
            return True
        heat = self.heat_capacity + 2 * self.heat_capacity_error
        lost, limit = excess > SOFT * of_prior > 0, LOW
        if self.loss_of_constant is not None:
            of_constant = self.loss_of_constant - self.loss
            lost |= excess > MELTED * of_constant
            limit = LOW_IF_WORSE if excess > of_constant else LOW
        return lost and heat < limit * value

    def __repr__(self) -> str:
        seen = "" if self.gap_seen is None else f", {self.gap_seen:.2g} would have been seen"
        chance = "" if self.gap_chance is None else f" (chance {self.gap_chance:.2g}{seen})"
        losses = [
            f"w* {self.loss:.4g}, draws {self.loss_of_draws:.4g}",
            f"localising Gaussian alone {self.loss_of_prior:.4g}",
        ]
        if self.loss_of_constant is not None:
            losses.append(f"best constant {self.loss_of_constant:.4g}")
        heat = f"heat capacity {self.heat_capacity:.4g} ± {self.heat_capacity_error:.2g}"
        if self.virial is not None and self.virial_error is not None:
            heat += f", virial {self.virial:.2g} ± {self.virial_error:.2g} (0 at equilibrium)"
        scale = f"beta {self.beta:.4g}, localisation {self.localisation:.4g}"
        if self.step_size is not None:
            scale += f", step {self.step_size:.3g}"
        ratio = self.residual_variance
        if ratio and self.effective_beta and not 1 / NOISE < ratio < NOISE:
            scale += (
                f", but the residuals of w* have {ratio:.3g} times the variance "
                f"that the loss assumes: as a posterior of their noise its beta is "
                f"{self.effective_beta:.3g}. For the beta of that noise multiply the energy by "
                f"{1 / ratio:.3g}"
            )
        lines = [
            self.scope,
            f"r_hat {self.r_hat:.3f}, ess {self.ess:.0f}, burn-in {self.burn_in} draws a chain, "
            f"{self.gradients} gradients"
            + (", energies of draws from minibatches" if self.batches else ""),
            f"acceptance {self.acceptance:.2f}, divergent {100 * self.divergent:.1f}%",
            f"gap of w* {self.gap:.3g} nats{chance}, "
            f"sensitivity {self.sensitivity:.2f} ± {self.sensitivity_error:.2f}, "
            f"rounding {self.rounding:.2g} nats",
            f"mean loss: {', '.join(losses)}",
            heat,
            scale,
        ]
        rows = zip(self.steps, self.by_step, self.by_step_error, strict=True)
        lines += [f"step x {s:g}: {value:.4g} ± {error:.2g}" for s, value, error in rows]
        return "\n  ".join(lines)


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
    """The first of the verdicts that holds; a missing number (NaN) counts against the estimate.

    Args:
        estimate: λ̂.
        evidence: What it is judged by.
        biased: Whether the step size is too long to extrapolate from.
        stuck: Whether a chain never moved.
        interrupted: Whether the run was cut by Ctrl-C.
        given: Whether w* was trained on other data; if not, λ̂ < 0 is evidence against w*.
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
    if evidence.melted(value):
        return Verdict.melted
    if not error <= 0.2 * abs(value):
        return Verdict.imprecise
    return Verdict.usable


def _incomplete(evidence: Evidence) -> bool:
    """Whether a number that was computed is not finite."""
    names = (
        "gap gap_chance sensitivity sensitivity_error virial virial_error heat_capacity loss "
        "loss_of_draws"
    )
    numbers = [vars(evidence)[name] for name in names.split()]
    missing = math.isnan(evidence.loss_of_prior)  # it may be infinite
    return missing or not all(math.isfinite(x) for x in numbers if x is not None)


def powerless(evidence: Evidence, value: float, part: float) -> bool:
    """Whether the test of the gradient at w* has too little power to exclude a half-trained w*.

    The gap is what λ̂ would gain at the minimum. A gap below half of λ̂ is left to the reader. A
    larger one is attributed to noise only if the test would have detected a real gap of that size.
    """
    if evidence.gap_seen is None:
        return False
    large = MOST_GAP * abs(value)
    return part * evidence.gap > large and not part * evidence.gap_seen <= large


def out_of_equilibrium(evidence: Evidence, error: float) -> bool:
    """Whether the virial differs significantly from 0, by enough to move λ̂ beyond its error.

    Where the loss is of degree k about w*, `virial = k δλ̂ + 2 δ⟨γ/2 |w - w*|²⟩`, with k at least 2:
    an error δλ̂ makes a virial of at least `2 δλ̂`.
    """
    if evidence.virial is None or evidence.virial_error is None:
        return False
    size = abs(evidence.virial)
    return size > 4 * evidence.virial_error and size > 2 * error
