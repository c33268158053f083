"""Whether a local learning coefficient can be used, and the evidence for it."""

import equinox as eqx

from ..core import Whole, typed


class Verdict(eqx.Enumeration):
    """What is wrong with an estimate, if anything; the first that holds, in this order."""

    usable = "Nothing speaks against the estimate."
    non_finite = (
        "A chain reached a non-finite energy. It is not dropped: the estimate is not a number. "
        "Try float64, a smaller step, or a stronger localisation."
    )
    rounding = (
        "Rounding moves the energy by more than 0.1 nats between neighbouring weights: the "
        "coefficient is one of rounding errors. Use float64, targets in units of their noise, or "
        "products in full (`jax.default_matmul_precision`, if it was set)."
    )
    stuck = (
        "A chain, or one of the weights, never moved: the draws say nothing. Likely causes: a "
        "gradient that is not a number away from w*, or a step that is zero or far too long. "
        "Leave out `kernel`, or raise max_gradients (for a longer warm-up)."
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
        "The chains disagree, drift, or hold too few effective draws, so that the error bar means "
        "little. Raise max_gradients."
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
        "w* lies above the minimum by much of the estimate, and the test of its gradient against "
        "the noise of the data cannot tell which of the two explains it: the data are too few, or "
        "a few of them weigh too much. Train w* to the minimum of these data, or use more data."
    )
    undecided = (
        "Whether w* is a minimum, or whether the localisation decides, cannot be told: a part of "
        "the evidence is not a number. Look for a gradient of the loss that is not finite, or "
        "raise max_gradients, if the descent from w* gained nothing with its part."
    )
    melted = (
        "The posterior at this temperature knows next to nothing of the data: its draws are no "
        "better than those of the localising Gaussian alone, or than a constant prediction. The "
        "number measures the size of the loss, not the minimum. Raise beta (`temperature`) or "
        "`localisation`."
    )
    localisation_dominates = (
        "The coefficient is that of the localising Gaussian more than of the loss: it moves with "
        "the strength γ as fast as γ itself, or nearly. Lower `localisation`."
    )
    imprecise = (
        "The standard error is more than a fifth of the value when the budget was spent. Raise "
        "max_gradients."
    )


@typed
class Evidence(eqx.Module):
    """What a verdict is judged by.

    Args:
        acceptance: Mean acceptance of the Metropolis test on the full energy (NaN without one).
        divergent: Share of divergent trajectories.
        r_hat: Of the energy, over the draws that count.
        ess: Of the energy, over the draws that count.
        burn_in: Draws a chain that were left out after the warm-up because the energy still moved.
        steps: Factors of the step size that were run (empty with a Metropolis test).
        by_step: The coefficient at each.
        by_step_error: Its standard error.
        gap: `β (E(w*) - E_min)` in nats, `E_min` the localised minimum next to w*.
            Of the energy that w* was trained on. The descent ends with its part of max_gradients.
        gap_chance: Probability of as large a mean gradient at w* if its expectation over the data
            were zero (None where the measure is no sample).
        gap_seen: The gap of a mean gradient in the same direction that the test of `gap_chance`
            would have seen with probability 0.95, in nats (None where the measure is no sample).
        sensitivity: `-∂ log λ̂ / ∂ log γ`: 0 where the loss alone decides, 1 and above where the
            localisation does.
        sensitivity_error: Its standard error.
        virial: `⟨(w - w*)·∇(-log p)⟩ - d`, 0 at equilibrium (None if the draws were not kept).
        virial_error: Its standard error.
        heat_capacity: `C = β² Var E`; equal to λ̂ where λ̂ does not change with β, for
            `C = λ̂ - ∂λ̂/∂log β`.
        heat_capacity_error: Its standard error.
        loss: Mean loss at w*, the energy over the mass of the data.
        loss_of_draws: That of the draws, on average.
        loss_of_prior: That of draws of the localising Gaussian alone (their median).
        loss_of_constant: That of the best prediction that does not look at the input (None unless
            the energy is one squared error or cross-entropy).
        residual_variance: Mean square of the residuals at w*, of a squared error (else None), in
            units of the noise variance that it assumes: 1, or 1/c for c times a squared error.
        beta: Inverse temperature of the summed energy.
        scope: What the coefficient is of: which data, which weights.
        gradients: What the estimate took, all of it, in gradients of the sampler: steps of all
            chains, warm-up included, the energies of the draws, the descent from w*, the passes
            over all data, the check of equilibrium. An energy counts as half a gradient; over all
            data each counts as the minibatches that these would fill.
        needed: About how many it would take for enough effective draws and an error of a fifth of
            the value, from those there are; None where there are enough.
        batches: Whether energies of draws are those of minibatches, w* on the same ones; their
            noise is in the error bar, and is not in the heat capacity.
        rounding: Standard deviation of the rounding of `β (E - E(w*))`, in nats; it is in the error
            bar.
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

    @property
    def effective_beta(self) -> float | None:
        """`β s²`, the inverse temperature in units of the noise that the data have.

        A squared error assumes noise of variance 1. With residuals of variance `s²` the likelihood
        is `exp(-E/s²)`, and `β E = (β s²) E/s²`. None where the residual variance is.
        """
        return None if self.residual_variance is None else self.beta * self.residual_variance

    def __repr__(self) -> str:
        chance = ""
        if self.gap_chance is not None:
            chance = f" (chance {self.gap_chance:.2g})"
        if self.gap_chance is not None and self.gap_seen is not None:
            chance = f" (chance {self.gap_chance:.2g}, {self.gap_seen:.2g} would have been seen)"
        losses = [
            f"w* {self.loss:.4g}, draws {self.loss_of_draws:.4g}",
            f"localising Gaussian alone {self.loss_of_prior:.4g}",
        ]
        if self.loss_of_constant is not None:
            losses.append(f"best constant {self.loss_of_constant:.4g}")
        heat = f"heat capacity {self.heat_capacity:.4g} ± {self.heat_capacity_error:.2g}"
        if self.virial is not None and self.virial_error is not None:
            heat += f", virial {self.virial:.2g} ± {self.virial_error:.2g} (0 at equilibrium)"
        scale = f"beta {self.beta:.4g}"
        if self.residual_variance and self.effective_beta:
            scale += (
                f" for the noise that the loss assumes; the residuals of w* have "
                f"{self.residual_variance:.3g} times its variance: beta {self.effective_beta:.3g} "
                "for their own"
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
