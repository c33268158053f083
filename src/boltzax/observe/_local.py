"""The local learning coefficient of a trained model, without tuning knobs."""

import math
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..compile import Gibbs, compile
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
    typed,
    weights_of,
    whole,
)
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
)
from ._cost import LEAST, WARMUP, cost_of
from ._evidence import Trained, gather, settled
from ._judge import judge_local
from ._losses import data_mass
from ._runs import Budget, extrapolated, halved, run_once, step_order
from ._verdict import Evidence, Verdict

LARGE = 100_000
"""Number of coordinates above which the default has no Metropolis test, whose step would shrink."""


@typed
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
    minimum: Model

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
        """The verdict in words, and how many gradients would do where the draws are too few."""
        said = Verdict[self.verdict]
        few = self.verdict == Verdict.not_mixed or self.verdict == Verdict.imprecise
        if few and self.evidence.needed is not None:
            said += f" About max_gradients={self.evidence.needed:_} would do, by the draws so far."
        return said

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
    max_gradients: Annotated[int, whole(1000)] = 1_000_000,
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
            data than the model was trained on it is the data-refined coefficient, and those go to
            `trained_on`; with `chart` (`Select`, `Freeze`, `Mask`) it is the weight-refined one
            (Wang et al. 2024, arXiv:2410.02984).
        trained_on: The energy that w* was trained on, if `energy` is over a part of its data, or
            over others. w* has to be a minimum of this one and not of `energy`, λ̂ may be
            negative, and β is that of this one, `1/log n` with n the mass of all its data.
        temperature: `watanabe(n)`, n the mass of the measure, if None: `β = 1/log n` on the summed
            loss. A number is `beta` itself.
        localisation: γ.
        kernel: If None, HMC over all data with steps of all lengths; above 100,000 coordinates
            underdamped Langevin; for a `Subsampled` measure SGLD. Step sizes, metrics, trajectory
            lengths, burn-in and the number of draws are found by the run itself.
        chains: Independent chains, each from `w*`.
        tolerance: The run ends when the standard error is below this part of the value.
        max_gradients: It takes no more gradients than this, over all chains and everything
            included: warm-up, steps, energies of draws, the descent from w*, the passes over all
            data (`Evidence.gradients`). For a `Subsampled` measure the unit is the gradient of a
            minibatch. Where energies over all data would leave too few draws they are estimated
            from minibatches, w* on the same one: the mean is the same, the noise is in the error
            bar. Where the draws are too few, `reason` says how many gradients would do.

    Returns:
        A `LocalLearningCoefficient`; ask `.usable` before using `.estimate`.

    Raises:
        DeclarationError: Wrong arguments; a cap too small for the shortest runs; or an error that
            the model raises at some weights.
    """
    check_on_host("local_learning_coefficient", {"energy": energy, "key": key})
    if trained_on is None:
        gibbs = _localised(energy, temperature, localisation, chart)
        trained = Trained(energy, gibbs, False)
    else:
        whole = _localised(trained_on, temperature, localisation, chart)
        # the data of a part count as much as they do in the whole
        own = float(whole.beta) if temperature is None else temperature
        gibbs = _localised(energy, own, localisation, chart)
        trained = Trained(trained_on, whole, True)
        _check_same(gibbs.declared, whole.declared)
    if kernel is None:
        kernel = _default_kernel(energy, gibbs, chains, max_gradients)
    cost = cost_of(energy, gibbs, trained.energy, kernel, chains, max_gradients)
    budget = Budget(chains, tolerance, cost, progress, checkpoints, placement)
    key_run, key_evidence = jax.random.split(key)
    reference = jnp.zeros(())  # energies are counted from that of w*
    order = step_order(energy, kernel)
    if cost.exact:
        runs = [run_once(gibbs, kernel, reference, key_run, budget, cost.runs)]
    else:
        assert isinstance(kernel, AbstractUnadjusted)
        runs = halved(gibbs, kernel, reference, key_run, budget, order)
    estimate, biased = extrapolated(runs, order)
    evidence, minimum = gather(energy, gibbs, trained, runs, estimate, order, cost, key_evidence)
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


def _check_same(first: PyTree, second: PyTree) -> None:
    """Whether the part and the whole have a model of the same weights."""
    if not _same(first, second):
        raise DeclarationError(
            "trained_on",
            got="an energy of another model, or of other weights",
            expected="the energy of the same model on the data that it was trained on",
            mend="write trained_on=bx.SquaredError(model, all_data) with the model of `energy`",
        )


def _same(first: PyTree, second: PyTree) -> bool:
    """Whether two models have the same weights."""
    one, other = weights_of(first), weights_of(second)
    shapes = {path: jnp.shape(leaf) for path, leaf in other.items()}
    if {path: jnp.shape(leaf) for path, leaf in one.items()} != shapes:
        return False
    return all(bool(jnp.all(one[path] == other[path])) for path in one)


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
    paths = probe.coordinates.priors
    prior = Independent({path: Normal(centre[path], width, validate_args=False) for path in paths})
    return compile(energy, prior, beta=temperature, chart=chart, marginalise=False).relative_to()


def _default_kernel(
    energy: AbstractEnergy, gibbs: Gibbs, chains: int, max_gradients: int
) -> AbstractKernel:
    if subsamplings(energy):
        return SGLD()
    if gibbs.dim > LARGE:
        return Underdamped(preconditioner=Identity())
    longest = max_gradients // (chains * 2 * (WARMUP + LEAST))
    return HMC(jitter=1.5, max_steps=min(max(longest, 8), 256))
