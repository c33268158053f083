"""The local learning coefficient of a trained model, without tuning parameters."""

from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..compile import Gibbs
from ..core import (
    DeclarationError,
    Estimate,
    Key,
    Model,
    NonNegative,
    Positive,
    Said,
    Status,
    check_on_host,
    model_errors,
    shapes_of,
    typed,
    weights_of,
    whole,
)
from ..declare import (
    AbstractChart,
    AbstractEnergy,
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
)
from ._adaptive_runs import Budget, extrapolated, halved, run_once, step_order
from ._affordable import FEWEST, MOST, affordable, in_batches
from ._evidence import Trained, gather, settled
from ._local_cost import LEAST, WARMUP, cost_of
from ._local_posterior import localised
from ._local_verdict import Evidence, Verdict, judge_local
from ._reference_losses import data_mass

LARGE = 100_000
"""Number of coordinates above which the default sampler has no Metropolis test, because the test
would shrink its step."""


@typed
class LocalLearningCoefficient(AbstractDrawn):
    """`λ̂ = β (⟨E⟩ - E(w*))` with its verdict, its evidence, and its draws.

    Args:
        estimate: Value, standard error (over chains and autocorrelation, and of the extrapolation
            in the step where there is one), ess, r_hat.
        verdict: A `Verdict`; `usable` is whether it is `Verdict.usable`, `reason` its text.
        evidence: The numbers on which the verdict is based.
        trace: The draws (for a sampler without a Metropolis test those at the shortest step), for
            `coefficient_curve`, susceptibilities and all other observables.
        minimum: The model at the localised minimum next to w*.
    """

    estimate: Estimate
    verdict: Verdict
    evidence: Evidence
    trace: Trace
    minimum: Model

    @property
    def reference(self) -> Array:
        """`E(w*)`."""
        return self.trace.gibbs.energy_of(self.trace.gibbs.declared)

    @property
    def usable(self) -> bool:
        """Whether the estimate passed every check."""
        return bool(self.verdict == Verdict.usable)

    @property
    def reason(self) -> str:
        """The verdict in words, and how many gradients would suffice where draws are too few."""
        text = Verdict[self.verdict]
        few = self.verdict == Verdict.not_mixed or self.verdict == Verdict.imprecise
        if few and self.evidence.needed is not None:
            text += f" About max_gradients={self.evidence.needed:_} would do, by the draws so far."
        return text

    def __repr__(self) -> str:
        value, error = float(self.estimate.value), float(self.estimate.standard_error)
        name = "usable" if self.usable else f"NOT USABLE: {self.reason}"
        return f"{value:.5g} ± {error:.2g}, {name}\n  {self.evidence!r}"


@typed
@model_errors("in bx.local_learning_coefficient")
def local_learning_coefficient(
    energy: AbstractEnergy,
    *,
    key: Key,
    trained_on: AbstractEnergy | None = None,
    temperature: Annotated[
        Temperature | NonNegative | None,
        Said(mend="pass bx.temperature.watanabe(n); bx.coefficient_curve gives a curve over beta"),
    ] = None,
    localisation: Positive = 1.0,
    chart: AbstractChart | None = None,
    kernel: AbstractKernel | None = None,
    chains: Annotated[int, whole(2)] = 4,
    tolerance: Positive = 0.02,
    max_gradients: Annotated[int, whole(1000)] | None = None,
    progress: bool = False,
    checkpoints: AbstractCheckpoints | None = None,
    placement: Placement | None = None,
) -> LocalLearningCoefficient:
    """Estimate the local learning coefficient at the weights of the energy's own model.

    The posterior is `p(w) ∝ exp(-β E(w) - γ/2 |w - w*|²)`, `w*` the weights of the declared model,
    and `λ̂ = β (⟨E⟩ - E(w*))`, dimensionless, with `E` the full energy at `w*` too (Lau et al. 2023,
    arXiv:2308.12108, eq. 10; for λ̂ at finite n see the conventions).

    A sampler without a Metropolis test (`SGLD`, `Underdamped`, `SGNHT`) runs at a step and at half
    of it, and the value is extrapolated to step zero. While the two differ by too much, the step is
    halved again.

    Args:
        energy: e.g. `bx.SquaredError(model, bx.Empirical((x, y)))`, `model` trained. Over other
            data than the model was trained on, the result is the data-refined coefficient; pass the
            energy of the training data as `trained_on`. With `chart` (`Select`, `Freeze`, `Mask`)
            it is the weight-refined coefficient (Wang et al. 2024, arXiv:2410.02984).
        key: Key of all randomness.
        trained_on: The energy that w* was trained on, if `energy` is over a part of its data, or
            over other data. Then w* must be a minimum of this energy and not of `energy`, λ̂ may be
            negative, and β is that of this energy: `1/log n`, n the mass of all its data.
        temperature: A number is `beta` itself. If None, `watanabe(n)` with n the mass of the
            measure: `β = 1/log n` on the summed loss.
        localisation: γ.
        chart: Which weights move; all if None.
        kernel: If None: HMC over all data, with random trajectory lengths; above 100,000
            coordinates underdamped Langevin; for a `Subsampled` measure SGLD. Above 100,000
            coordinates minibatches of 16 data are taken where gradients over all data are too dear.
            The run itself determines step sizes, metrics, trajectory lengths, burn-in and the
            number of draws.
        chains: Number of independent chains, each from `w*`.
        tolerance: The run ends when the standard error is below this fraction of the value.
        max_gradients: The most gradients, over all chains, including warm-up, steps, energies of
            draws, the descent from w*, and passes over all data (`Evidence.gradients`). For a
            `Subsampled` measure the unit is the gradient of a minibatch. Where energies over all
            data would leave too few draws, they are estimated from minibatches, with w* on the same
            minibatch: the mean is the same, and the error bar includes the noise. Where there are
            too few draws, `reason` gives the number of gradients that would suffice. If None:
            1,000,000; above 100,000 coordinates as many as take 2e13 floating-point operations,
            some ten minutes of two cores.
        progress: Show a bar for each step size. The time that it says is left is that of the whole
            cap; the run ends before if `tolerance` is met. For a forecast run it with a small
            `max_gradients` first: `Evidence.needed` says how many gradients would do.
        checkpoints: Where the runs are saved, and resumed from (`bx.Checkpoints`).
        placement: Devices for the chains (`bx.Placement`).

    Returns:
        A `LocalLearningCoefficient`; check `.usable` before using `.estimate`.

    Raises:
        DeclarationError: For wrong arguments, a cap too small for the shortest runs, and an error
            that the model raises at some weights.
    """
    check_on_host("local_learning_coefficient", {"energy": energy, "key": key})
    if trained_on is None:
        gibbs = localised(energy, temperature, localisation, chart)
        trained = Trained(energy, gibbs, False)
    else:
        whole = localised(trained_on, temperature, localisation, chart)
        # the data of a part count as much as they do in the whole
        own = float(whole.beta) if temperature is None else temperature
        gibbs = localised(energy, own, localisation, chart)
        trained = Trained(trained_on, whole, True)
        _check_same(gibbs.declared, whole.declared)
    large = gibbs.dim > LARGE
    if large and kernel is None and max_gradients is None and affordable(energy) < FEWEST:
        energy = in_batches(energy)
        gibbs = localised(energy, float(gibbs.beta), localisation, chart)
    if max_gradients is None:
        max_gradients = max(affordable(energy), 1000) if large else MOST
    if kernel is None:
        kernel = _default_kernel(energy, gibbs, chains, max_gradients)
    cost = cost_of(energy, gibbs, trained.energy, kernel, chains, max_gradients)
    budget = Budget(chains, tolerance, cost, progress, checkpoints, placement)
    key_run, key_evidence = jax.random.split(key)
    order = step_order(energy, kernel)
    if cost.exact:
        runs = [run_once(gibbs, kernel, key_run, budget, cost.runs)]
    else:
        assert isinstance(kernel, AbstractUnadjusted)
        runs = halved(gibbs, kernel, key_run, budget, order)
    estimate, biased = extrapolated([run.estimate for run in runs], order)
    evidence, minimum = gather(
        energy, gibbs, trained, runs, estimate, order, cost, key_evidence, localisation, kernel
    )
    estimate = estimate.widened(evidence.rounding)
    part = data_mass(gibbs) / data_mass(trained.gibbs) if trained.given else 1.0
    verdict = judge_local(
        estimate,
        evidence,
        biased=biased,
        stuck=any(bool(jnp.any(run.trace.stuck)) for run in settled(runs)),
        interrupted=bool(runs[-1].trace.status == Status.interrupted),
        given=trained.given,
        part=part,
        chains=chains,
    )
    return LocalLearningCoefficient(estimate, verdict, evidence, runs[-1].trace, minimum)


def _check_same(part: PyTree, whole: PyTree) -> None:
    """The part and the whole must have models of the same weights."""
    first, second = weights_of(part), weights_of(whole)
    shapes = shapes_of(part) == shapes_of(whole)
    if not shapes or not all(bool(jnp.all(first[path] == second[path])) for path in first):
        raise DeclarationError(
            "trained_on",
            got="an energy of another model, or of other weights",
            expected="the energy of the same model on the data that it was trained on",
            mend="write trained_on=bx.SquaredError(model, all_data) with the model of `energy`",
        )


def _default_kernel(
    energy: AbstractEnergy, gibbs: Gibbs, chains: int, max_gradients: int
) -> AbstractKernel:
    if subsamplings(energy):
        return SGLD()
    if gibbs.dim > LARGE:
        return Underdamped(preconditioner=Identity())
    longest = max_gradients // (chains * 2 * (WARMUP + LEAST))
    return HMC(jitter=1.5, max_steps=min(max(longest, 8), 256))
