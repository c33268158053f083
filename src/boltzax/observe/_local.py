"""The local learning coefficient of a trained model, without tuning knobs."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..compile import Gibbs, compile
from ..core import DeclarationError, Estimate, Status, mean_estimate, weights_of
from ..declare import (
    AbstractChart,
    AbstractEnergy,
    Independent,
    Normal,
    Temperature,
    subsamplings,
)
from ..sample import (
    HMC,
    SGLD,
    AbstractCheckpoints,
    AbstractDrawn,
    AbstractKernel,
    AbstractUnadjusted,
    Identity,
    Placement,
    Trace,
    Underdamped,
    check_positive,
)
from ._minimum import descend, gradient_chance
from ._runs import (
    LEAST,
    WARMUP,
    Budget,
    Run,
    extrapolated,
    halved,
    run_once,
    step_order,
    thinning,
)
from ._verdict import Evidence, Verdict

LARGE = 100_000
"""Number of coordinates above which the default has no Metropolis test, whose step would shrink."""


class LocalLearningCoefficient(AbstractDrawn):
    """`λ̂ = β (⟨E⟩ - E(w*))` with its verdict, its evidence, and the draws behind it.

    Args:
        estimate: Value, standard error (over chains and autocorrelation; with the error of the
            extrapolation in the step where there is one), ess, r_hat.
        verdict: A `Verdict`; `usable` is whether it is `Verdict.usable`, `reason` its text.
        evidence: What the verdict is judged by.
        trace: The draws (for a sampler without a Metropolis test those at the shortest step), for
            `coefficient_curve`, susceptibilities and every other observable.
        minimum: The model at the localised minimum next to w*.
    """

    estimate: Estimate
    verdict: Verdict
    evidence: Evidence
    trace: Trace
    minimum: PyTree

    @property
    def reference(self) -> Array:
        """`E(w*)`."""
        return self.trace.gibbs.energy_of(self.trace.gibbs.declared)

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against the estimate."""
        return bool(self.verdict == Verdict.usable)

    @property
    def reason(self) -> str:
        """The verdict in words."""
        return Verdict[self.verdict]

    def __repr__(self) -> str:
        name = "usable" if self.usable else f"NOT USABLE: {self.reason}"
        return f"{self.estimate!r}\n  {name}\n  {self.evidence!r}"


def local_learning_coefficient(
    energy: AbstractEnergy,
    *,
    key: PRNGKeyArray,
    temperature: Temperature | float | None = None,
    localisation: float = 1.0,
    chart: AbstractChart | None = None,
    kernel: AbstractKernel | None = None,
    chains: int = 4,
    tolerance: float = 0.02,
    max_gradients: int = 1_000_000,
    progress: bool = False,
    checkpoints: AbstractCheckpoints | None = None,
    placement: Placement | None = None,
) -> LocalLearningCoefficient:
    """Estimate the local learning coefficient at the weights of the energy's own model.

    The posterior is `p(w) ∝ exp(-β E(w) - γ/2 |w - w*|²)`, `w*` the weights of the declared model,
    and `λ̂ = β (⟨E⟩ - E(w*))`, dimensionless, with `E` the full energy at `w*` too (Lau et al. 2023,
    arXiv:2308.12108, eq. 10; λ̂ at finite n, see the conventions).

    Sampling without a Metropolis test (`SGLD`, `Underdamped`, `SGNHT`) is made at a step and at
    half of it, and extrapolated to zero; as long as the two disagree by too much the step is halved
    again.

    Args:
        energy: e.g. `bx.SquaredError(model, bx.Empirical((x, y)))`, `model` trained. Over other
            data it is the data-refined coefficient; with `chart` (`Select`, `Freeze`, `Mask`) the
            weight-refined one (Wang et al. 2024, arXiv:2410.02984).
        temperature: `watanabe(n)`, n the mass of the measure, if None: `β = 1/log n` on the summed
            loss. A number is `beta` itself.
        localisation: γ.
        kernel: If None, HMC over all data with steps of all lengths; above 100,000 coordinates
            underdamped Langevin; for a `Subsampled` measure SGLD. Step sizes, metrics, trajectory
            lengths, burn-in and the number of draws are found by the run itself.
        chains: Independent chains, each from `w*`.
        tolerance: The run ends when the standard error is below this part of the value.
        max_gradients: It also ends when so many gradients were taken, over all chains.

    Returns:
        A `LocalLearningCoefficient`; ask `.usable` before using `.estimate`.

    Raises:
        DeclarationError: Wrong arguments.
    """
    _check(energy, localisation, tolerance, max_gradients, chains, kernel)
    gibbs = _localised(energy, temperature, localisation, chart)
    if gibbs.beta.ndim:
        raise DeclarationError(
            "temperature",
            got=f"{gibbs.beta.shape[0]} values of beta",
            expected="one temperature",
            mend="use bx.coefficient_curve for a curve over beta",
        )
    budget = Budget(chains, tolerance, max_gradients, progress, checkpoints, placement)
    if kernel is None:
        kernel = _default_kernel(energy, gibbs, budget)
    key_run, key_blocks = jax.random.split(key)
    reference = gibbs.energy_of(gibbs.declared)
    order, thin = step_order(energy, kernel), thinning(energy, kernel)
    if isinstance(kernel, AbstractUnadjusted):
        runs = halved(gibbs, kernel, reference, key_run, budget, order, thin)
    else:
        runs = [run_once(gibbs, kernel, reference, key_run, budget, thin)]
    estimate, biased = extrapolated(runs, order)
    last = runs[-1]
    finite = [run for run in runs if math.isfinite(float(run.estimate.value))]
    counted = finite[-2:] if len(finite) >= 2 else runs
    minimum, gap = _gap(gibbs, reference)
    matters = gap > max(0.05 * abs(float(estimate.value)), 2 * float(estimate.standard_error))
    chance = gradient_chance(energy, gibbs, key_blocks)
    sensitivity, sensitivity_error = _sensitivity(gibbs, last, float(estimate.value))
    evidence = Evidence(
        acceptance=float("nan") if isinstance(kernel, AbstractUnadjusted) else last.acceptance,
        divergent=last.divergent,
        r_hat=max(float(run.estimate.r_hat) for run in counted),
        ess=min(float(run.estimate.ess) for run in counted),
        burn_in=last.burn_in,
        steps=tuple(run.scale for run in runs) if len(runs) > 1 else (),
        by_step=tuple(float(run.estimate.value) for run in runs) if len(runs) > 1 else (),
        by_step_error=tuple(float(run.estimate.standard_error) for run in runs)
        if len(runs) > 1
        else (),
        gap=gap,
        gap_chance=chance,
        sensitivity=sensitivity,
        sensitivity_error=sensitivity_error,
        gradients=sum(run.gradients for run in runs),
    )
    stuck = any(bool(jnp.any(run.trace.stuck)) for run in counted)
    cut = runs[-1].trace.status == Status.interrupted
    verdict = _judge(estimate, evidence, biased, matters, chains, stuck, bool(cut))
    return LocalLearningCoefficient(estimate, verdict, evidence, last.trace, minimum)


def _localised(energy, temperature, localisation: float, chart) -> Gibbs:
    """The Gibbs measure of all weights, the localising Gaussian as its prior."""
    probe = compile(energy, Normal(), beta=Temperature(1.0), chart=chart, marginalise=False)
    mass = float(probe.masses[0])
    if temperature is None:
        if mass <= math.e:
            raise DeclarationError(
                "temperature",
                got=f"None for a measure of mass {mass:.4g}",
                expected="a measure whose mass is the number of data, or a temperature",
                mend="pass temperature=bx.temperature.watanabe(n), or use bx.Empirical(data)",
            )
        temperature = Temperature(mass / math.log(mass))
    centre = weights_of(probe.declared)
    width = localisation**-0.5
    prior = Independent({path: Normal(centre[path], width) for path in probe.coordinates.priors})
    return compile(energy, prior, beta=temperature, chart=chart, marginalise=False)


def _default_kernel(energy: AbstractEnergy, gibbs: Gibbs, budget: Budget) -> AbstractKernel:
    if subsamplings(energy):
        return SGLD()
    if gibbs.dim > LARGE:
        return Underdamped(preconditioner=Identity())
    longest = budget.max_gradients // (budget.chains * 2 * (WARMUP + LEAST))
    return HMC(jitter=1.5, max_steps=min(max(longest, 8), 256))


def _gap(gibbs: Gibbs, reference: Array) -> tuple[PyTree, float]:
    """The model at the localised minimum next to w*, and `β (E(w*) - E_min)`."""
    lowest, least = descend(gibbs, gibbs.position())
    return gibbs.model(lowest), float(gibbs.beta * (reference - least))


def _sensitivity(gibbs: Gibbs, run: Run, value: float) -> tuple[float, float]:
    """`-∂ log λ̂ / ∂ log γ = β Cov(E, γ/2 |w - w*|²) / λ̂`, and its standard error."""
    energy, spring = run.trace.energy, -run.log_prior
    products = (energy - jnp.mean(energy)) * (spring - jnp.mean(spring))
    covariance = mean_estimate(gibbs.beta * products)
    scale = value if value else float("nan")
    return float(covariance.value) / scale, float(covariance.standard_error) / abs(scale)


def _judge(
    estimate: Estimate,
    evidence: Evidence,
    biased: bool,
    matters: bool,
    chains: int,
    stuck: bool,
    cut: bool,
) -> Verdict:
    value, error = float(estimate.value), float(estimate.standard_error)
    if not math.isfinite(value):
        return Verdict.non_finite
    if stuck:
        return Verdict.stuck
    if cut:
        return Verdict.interrupted
    if evidence.divergent > 0.01:
        return Verdict.divergent
    # written so that a number that is missing counts against the estimate
    if not (evidence.r_hat <= 1.05 and evidence.ess >= 30 * chains):
        return Verdict.not_mixed
    if biased:
        return Verdict.step_bias
    by_noise = evidence.gap_chance > 0.01
    if (matters and not by_noise) or value < -3 * error:
        return Verdict.not_a_minimum
    if not math.isfinite(evidence.gap + evidence.sensitivity + evidence.sensitivity_error):
        return Verdict.undecided
    if evidence.sensitivity > 0.5 + evidence.sensitivity_error:
        return Verdict.localisation_dominates
    if not error <= 0.2 * abs(value):
        return Verdict.imprecise
    return Verdict.usable


def _check(energy, localisation, tolerance, max_gradients, chains, kernel) -> None:
    if not isinstance(energy, AbstractEnergy):
        raise DeclarationError(
            "energy",
            got=type(energy).__name__,
            expected="an energy of a trained model",
            mend="write bx.SquaredError(model, bx.Empirical((x, y)))",
        )
    for argument, value in (("localisation", localisation), ("tolerance", tolerance)):
        check_positive(argument, value)
    for argument, value, least in (("max_gradients", max_gradients, 1000), ("chains", chains, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise DeclarationError(
                argument,
                got=repr(value),
                expected=f"an integer of at least {least}",
                mend="leave it out",
            )
    if kernel is not None and not isinstance(kernel, AbstractKernel):
        raise DeclarationError(
            "kernel", got=repr(kernel), expected="a kernel", mend="pass e.g. bx.SGLD(), or None"
        )
