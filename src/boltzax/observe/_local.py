"""The local learning coefficient of a trained model, without tuning knobs."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..compile import Gibbs, compile
from ..core import DeclarationError, Estimate, mean_estimate, weights_of
from ..declare import (
    AbstractChart,
    AbstractEnergy,
    Independent,
    Normal,
    Subsampled,
    Temperature,
)
from ..sample import (
    HMC,
    SGLD,
    AbstractCheckpoints,
    AbstractKernel,
    Chains,
    Identity,
    Placement,
    Trace,
    Underdamped,
    check_positive,
    judge,
    loop,
)
from ._minimum import descend, gradient_chance
from ._verdict import Evidence, Verdict

LARGE = 100_000
"""Number of coordinates above which the default has no Metropolis test, whose step would shrink."""

WARMUP, LEAST = 400, 300
"""Trajectories of warm-up, and draws at the least, of samplers with a Metropolis test."""


class LocalLearningCoefficient(eqx.Module):
    """`λ̂ = β (⟨E⟩ - E(w*))` with its verdict, its evidence, and the draws behind it.

    - `estimate`: value, standard error (over chains and autocorrelation; with the error of the
      extrapolation in the step where there is one), ess, r_hat;
    - `verdict`: a `Verdict`; `usable` is whether it is `Verdict.usable`, `reason` its text;
    - `evidence`: what the verdict is judged by;
    - `trace`: the draws (for a sampler without a Metropolis test those at the shortest step), for
      `coefficient_curve`, susceptibilities and every other observable;
    - `minimum`: the model at the localised minimum next to w*.
    """

    estimate: Estimate
    verdict: Verdict
    evidence: Evidence
    trace: Trace
    minimum: PyTree

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

    **Arguments**

    - `energy`: e.g. `bx.SquaredError(model, bx.Empirical((x, y)))`, `model` trained. Over other
      data it is the data-refined coefficient; with `chart` (`Select`, `Freeze`, `Mask`) the
      weight-refined one (Wang et al. 2024, arXiv:2410.02984).
    - `temperature`: `watanabe(n)`, n the mass of the measure, if None: `β = 1/log n` on the summed
      loss. A number is `beta` itself.
    - `localisation`: γ.
    - `kernel`: if None, HMC over all data with steps of all lengths; above 100,000 coordinates
      underdamped Langevin; for a `Subsampled` measure SGLD. Step sizes, metrics, trajectory lengths, burn-in and the
      number of draws are found by the run itself.
    - `chains`: independent chains, each from `w*`.
    - `tolerance`: the run ends when the standard error is below this part of the value,
    - `max_gradients`: or when so many gradients were taken, over all chains.

    **Sampling without a Metropolis test** (`SGLD`, `Underdamped`, `SGNHT`) is made at a step and at
    half of it, and extrapolated to zero; as long as the two disagree by too much the step is halved
    again.

    **Returns** a `LocalLearningCoefficient`; ask `.usable` before using `.estimate`.

    **Raises** `DeclarationError` for wrong arguments.
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
    order, thin = _order(energy, kernel), _thin(energy, kernel)
    if hasattr(kernel, "scale"):
        runs = _halved(gibbs, kernel, reference, key_run, budget, order, thin)
    else:
        runs = [_run(gibbs, kernel, reference, key_run, budget, thin)]
    estimate, biased = _extrapolated(runs, order)
    last = runs[-1]
    minimum, gap = _gap(gibbs, reference)
    matters = gap > max(0.05 * abs(float(estimate.value)), 2 * float(estimate.standard_error))
    chance = float("nan")
    if matters:
        chance = gradient_chance(energy, gibbs, key_blocks)
    evidence = Evidence(
        acceptance=float("nan") if hasattr(kernel, "scale") else last.acceptance,
        divergent=last.divergent,
        r_hat=max(float(run.estimate.r_hat) for run in runs[-2:]),
        ess=min(float(run.estimate.ess) for run in runs[-2:]),
        burn_in=last.burn_in,
        steps=tuple(run.scale for run in runs) if len(runs) > 1 else (),
        by_step=tuple(float(run.estimate.value) for run in runs) if len(runs) > 1 else (),
        by_step_error=tuple(float(run.estimate.standard_error) for run in runs)
        if len(runs) > 1
        else (),
        gap=gap,
        gap_chance=chance,
        sensitivity=_sensitivity(gibbs, last, float(estimate.value)),
        gradients=sum(run.gradients for run in runs),
    )
    verdict = _judge(estimate, evidence, biased, matters, chains)
    return LocalLearningCoefficient(estimate, verdict, evidence, last.trace, minimum)


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long to run, and how."""

    chains: int
    tolerance: float
    max_gradients: int
    progress: bool
    checkpoints: AbstractCheckpoints | None
    placement: Placement | None


@dataclasses.dataclass(frozen=True)
class Run:
    """One run at one step size."""

    scale: float
    estimate: Estimate
    trace: Trace
    log_prior: Array
    burn_in: int
    acceptance: float
    divergent: float
    gradients: int


def _localised(energy, temperature, localisation: float, chart) -> Gibbs:
    """The Gibbs measure of all weights, the localising Gaussian as its prior."""
    probe = compile(energy, Normal(), chart=chart, marginalise=False)
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
    if _subsampled(energy):
        return SGLD()
    if gibbs.dim > LARGE:
        return Underdamped(preconditioner=Identity())
    longest = budget.max_gradients // (budget.chains * 2 * (WARMUP + LEAST))
    return HMC(jitter=1.5, max_steps=min(max(longest, 8), 256))


def _subsampled(energy: AbstractEnergy) -> bool:
    leaves = jax.tree.leaves(energy, is_leaf=lambda x: isinstance(x, Subsampled))
    return any(isinstance(leaf, Subsampled) for leaf in leaves)


def _order(energy: AbstractEnergy, kernel: AbstractKernel) -> int:
    """The power of the step with which the law is off."""
    return 1 if _subsampled(energy) else getattr(kernel, "order", 1)


def _halved(
    gibbs: Gibbs, kernel, reference: Array, key: PRNGKeyArray, budget: Budget, order: int, thin: int
) -> list[Run]:
    """Runs at ever shorter steps, until the last two agree well enough to extrapolate."""
    part = dataclasses.replace(
        budget,
        max_gradients=budget.max_gradients // 4,
        # the extrapolated value is noisier than each of the two
        tolerance=budget.tolerance / (2.3 if order == 1 else 1.4),
    )
    runs: list[Run] = []
    for level in range(4):
        scale = 0.5**level
        scaled = eqx.tree_at(lambda k: k.scale, kernel, jnp.asarray(scale))
        if budget.checkpoints is not None:
            own = budget.checkpoints.part(f"step_{scale:g}")
            part = dataclasses.replace(part, checkpoints=own)
        runs.append(_run(gibbs, scaled, reference, jax.random.fold_in(key, level), part, thin))
        runs[-1] = dataclasses.replace(runs[-1], scale=scale)
        if not np.isfinite(float(runs[-1].estimate.value)):
            break
        if level >= 1 and not _extrapolated(runs, order)[1]:
            break
    return runs


def _extrapolated(runs: list[Run], order: int) -> tuple[Estimate, bool]:
    """Value at step zero from the last two runs; whether that is too far to go.

    `λ_0 = λ_2 + (λ_2 - λ_1)/(2^p - 1)` (Richardson). Too far is a correction that is seen (3 standard
    errors) and above a twentieth of the value: such sequences have been found to go on falling.
    """
    if len(runs) == 1:
        return runs[0].estimate, False
    coarse, fine = (run.estimate for run in runs[-2:])
    share = 1 / (2**order - 1)
    correction = share * (fine.value - coarse.value)
    value = fine.value + correction
    noise = jnp.hypot((1 + share) * fine.standard_error, share * coarse.standard_error)
    # half of what was extrapolated stands for the higher orders that were not
    error = jnp.hypot(noise, 0.5 * correction)
    apart = jnp.abs(fine.value - coarse.value)
    seen = apart > 3 * jnp.hypot(fine.standard_error, coarse.standard_error)
    far = bool(seen & (jnp.abs(correction) > 0.05 * jnp.abs(value)))
    ess = jnp.minimum(fine.ess, coarse.ess)
    return Estimate(value, error, ess, jnp.maximum(fine.r_hat, coarse.r_hat)), far


def _run(
    gibbs: Gibbs,
    kernel: AbstractKernel,
    reference: Array,
    key: PRNGKeyArray,
    budget: Budget,
    thin: int,
) -> Run:
    """Draw until the error is small or the budget is spent; then leave out what still moved."""
    rows = 25
    warmup = WARMUP
    if hasattr(kernel, "scale"):
        warmup = min(1000, max(200, budget.max_gradients // (4 * budget.chains)))
    most = max(LEAST, budget.max_gradients // (budget.chains * thin))
    start = {
        path: jnp.broadcast_to(leaf, (budget.chains, *leaf.shape))
        for path, leaf in gibbs.position().items()
    }
    placed = gibbs
    if budget.placement is not None:
        placed, start = budget.placement.place(gibbs, start)
    dynamics = Chains(placed, kernel, gibbs.dim * budget.chains <= KEPT)
    looked = 0

    def series(energy: Array | np.ndarray) -> np.ndarray:
        """`β (E - E(w*))`, axes `[chain, draw]`."""
        return float(gibbs.beta) * (np.asarray(energy, float).T - float(reference))

    def stop(parts: list[PyTree]) -> bool:
        nonlocal looked
        drawn = rows * len(parts)
        energy = np.concatenate([part["energy"] for part in parts])
        spent = float(np.sum(parts[-1]["gradients"][-1]))
        if not np.all(np.isfinite(energy)):
            return True
        if spent >= budget.max_gradients and drawn >= LEAST // 2:
            return True
        if drawn < max(LEAST, 1.25 * looked):
            return False
        looked = drawn
        found = mean_estimate(jnp.asarray(_settled(series(energy))[1]))
        settled = float(found.r_hat) < 1.01 and float(found.ess) > 100 * budget.chains
        wanted = budget.tolerance * abs(float(found.value))
        return settled and float(found.standard_error) < wanted

    _, records = loop(
        dynamics, start, key, warmup=warmup, draws=most, thin=thin, rows=rows, stop=stop,
        progress=budget.progress, checkpoints=budget.checkpoints,
    )  # fmt: skip
    burn_in, kept = _settled(series(records["energy"]))
    records = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1)[:, burn_in:], records)
    names = ("energy", "energy_variance", "acceptance", "divergent")
    status = judge(records["energy"], records["divergent"], 1.1)
    trace = Trace(
        gibbs, *(records[n] for n in names), records.get("w"), status, None, records["gradients"]
    )
    return Run(
        1.0,
        mean_estimate(jnp.asarray(kept)),
        trace,
        records["log_prior"],
        burn_in,
        float(jnp.mean(records["acceptance"])),
        float(jnp.mean(records["divergent"])),
        int(jnp.sum(records["gradients"][:, -1])),
    )


KEPT = 40_000
"""Draws are kept up to so many coordinates over all chains."""


def _settled(series: np.ndarray) -> tuple[int, np.ndarray]:
    """Draws a chain to leave out, and the rest: the first part must agree with the last half.

    The first tenth, fifth, ... is left out as long as its mean is 3 standard errors from that of
    the last half (after Geweke 1992).
    """
    length = series.shape[1]
    if not np.all(np.isfinite(series)):
        return 0, series
    late = mean_estimate(jnp.asarray(series[:, length // 2 :]))
    for cut in (0, 1, 2, 3, 4, 5):
        begin = cut * length // 10
        if cut == 5:
            break
        early = mean_estimate(jnp.asarray(series[:, begin : begin + max(length // 5, 4)]))
        error = math.hypot(float(early.standard_error), float(late.standard_error))
        if abs(float(early.value) - float(late.value)) <= 3 * error:
            break
    return begin, series[:, begin:]


def _thin(energy: AbstractEnergy, kernel: AbstractKernel) -> int:
    """Steps a draw: where steps are cheap, the full energy of a draw takes a sixth of the time."""
    if not hasattr(kernel, "scale"):
        return 1
    leaves = jax.tree.leaves(energy, is_leaf=lambda x: isinstance(x, Subsampled))
    ratios = [x.empirical.size / x.batch_size for x in leaves if isinstance(x, Subsampled)]
    return int(min(max(2 * max(ratios, default=1.0), 8), 1000))


def _gap(gibbs: Gibbs, reference: Array) -> tuple[PyTree, float]:
    """The model at the localised minimum next to w*, and `β (E(w*) - E_min)`."""
    lowest, least = descend(gibbs, gibbs.position())
    return gibbs.model(lowest), float(gibbs.beta * (reference - least))


def _sensitivity(gibbs: Gibbs, run: Run, value: float) -> float:
    """`-∂ log λ̂ / ∂ log γ = β Cov(E, γ/2 |w - w*|²) / λ̂`."""
    energy, spring = run.trace.energy, -run.log_prior
    covariance = jnp.mean((energy - jnp.mean(energy)) * (spring - jnp.mean(spring)))
    return float(gibbs.beta * covariance) / value if value else float("nan")


def _judge(
    estimate: Estimate, evidence: Evidence, biased: bool, matters: bool, chains: int
) -> Verdict:
    value, error = float(estimate.value), float(estimate.standard_error)
    if not math.isfinite(value):
        return Verdict.non_finite
    if evidence.divergent > 0.01:
        return Verdict.divergent
    if evidence.r_hat > 1.05 or evidence.ess < 30 * chains:
        return Verdict.not_mixed
    if biased:
        return Verdict.step_bias
    by_noise = evidence.gap_chance > 0.01
    if (matters and not by_noise) or value < -3 * error:
        return Verdict.not_a_minimum
    if evidence.sensitivity > 0.5:
        return Verdict.localisation_dominates
    if error > 0.2 * abs(value):
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
