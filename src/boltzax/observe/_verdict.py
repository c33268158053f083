"""Whether a local learning coefficient can be used, and the evidence for it."""

import equinox as eqx


class Verdict(eqx.Enumeration):
    """What is wrong with an estimate, if anything; the first that holds, in this order."""

    usable = "Nothing speaks against the estimate."
    non_finite = (
        "A chain reached a non-finite energy. It is not dropped: the estimate is not a number. "
        "Try float64, a smaller step, or a stronger localisation."
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
    step_bias = (
        "The value moves with the step size by more than its error and by too much to extrapolate "
        "to zero. Raise max_gradients (for shorter steps), or the batch size."
    )
    not_a_minimum = (
        "w* is not a minimum of the loss: descending from it lowers the energy by more than the "
        "error of the estimate and more than the noise of the data explains, or the chains found "
        "lower energies than at w*. Train on, or pass the weights the descent ended at."
    )
    localisation_dominates = (
        "The coefficient is that of the localising Gaussian more than of the loss: it moves with "
        "the strength γ as fast as γ itself, or nearly. Lower `localisation`."
    )
    undecided = (
        "Whether w* is a minimum, or whether the localisation decides, cannot be told: the descent "
        "from w* or the sensitivity to γ is not a number. Look for a gradient of the loss that is "
        "not finite."
    )
    imprecise = (
        "The standard error is more than a fifth of the value when the budget was spent. Raise "
        "max_gradients."
    )


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
        gap_chance: Probability of as large a mean gradient at w* if its expectation over the data
            were zero (NaN where the measure is no sample).
        sensitivity: `-∂ log λ̂ / ∂ log γ`: 0 where the loss alone decides, 1 and above where the
            localisation does.
        sensitivity_error: Its standard error.
        gradients: Gradient evaluations of all chains, warm-up included.
    """

    acceptance: float
    divergent: float
    r_hat: float
    ess: float
    burn_in: int
    steps: tuple[float, ...]
    by_step: tuple[float, ...]
    by_step_error: tuple[float, ...]
    gap: float
    gap_chance: float
    sensitivity: float
    sensitivity_error: float
    gradients: int

    def __repr__(self) -> str:
        lines = [
            f"r_hat {self.r_hat:.3f}, ess {self.ess:.0f}, burn-in {self.burn_in} draws a chain, "
            f"{self.gradients} gradients",
            f"acceptance {self.acceptance:.2f}, divergent {100 * self.divergent:.1f}%",
            f"gap of w* {self.gap:.3g} nats (chance {self.gap_chance:.2g}), "
            f"sensitivity {self.sensitivity:.2f} ± {self.sensitivity_error:.2f}",
        ]
        rows = zip(self.steps, self.by_step, self.by_step_error, strict=True)
        lines += [f"step x {s:g}: {value:.4g} ± {error:.2g}" for s, value, error in rows]
        return "\n  ".join(lines)
