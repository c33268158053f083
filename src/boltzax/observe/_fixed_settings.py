"""Local learning coefficients at settings that the user chooses, as in the literature."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from ..compile import Gibbs
from ..core import (
    MEMORY,
    Count,
    Estimate,
    Key,
    ModelFunction,
    NonNegative,
    Positive,
    Status,
    Whole,
    check_on_host,
    model_errors,
    numpy_generator,
    typed,
    whole,
)
from ..declare import AbstractChart, AbstractEnergy, Normal, Temperature, subsamplings
from ..sample import (
    MOST_ROUNDING,
    SGLD,
    AbstractCheckpoints,
    AbstractKernel,
    AbstractUnadjusted,
    Chains,
    chunk_of,
    loop,
    several,
)
from ._adaptive_runs import careful_estimate
from ._local_posterior import localised
from ._local_verdict import MELTED, Verdict
from ._reference_losses import data_mass

VERDICTS = {
    "usable": Verdict.usable,
    "non_finite": Verdict.non_finite,
    "rounding": Verdict.rounding,
    "stuck": Verdict.stuck,
    "interrupted": Verdict.interrupted,
    "divergent": Verdict.divergent,
    "not_mixed": Verdict.not_mixed,
    "not_a_minimum": Verdict.not_a_minimum,
    "melted": Verdict.melted,
    "imprecise": Verdict.imprecise,
}
"""The verdicts that are judged at fixed settings."""
DIGITS = 1e-3
"""Nats of rounding in `β E` above which energies are counted from that of w*."""
ROWS = 5
"""Least draws of a chunk, for each chunk allocates its memory anew."""
ENOUGH = 30
"""Effective draws a chain from which error bars are trusted."""
PRIOR_DRAWS = 4
"""Draws of the localising Gaussian alone whose median loss is taken."""


@typed
class FixedSettings(eqx.Module):
    """How to estimate a local learning coefficient without adapting anything.

    Nothing is tuned and no bias of the step is removed: the value belongs to these settings, and in
    deep nets it depends on all of them. `bx.local_learning_coefficient` chooses them itself.

    Args:
        temperature: A number is β, the factor of the summed energy. `bx.temperature.Temperature(c)`
            is `nβ = c`, the factor of the mean loss.
        localisation: γ of the localising Gaussian `-γ/2 |w - w*|²`.
        kernel: The sampler, such as `bx.SGLD(step_size)`.
        chains: Number of chains, each from w*.
        warmup: Steps of each chain that are left out.
        draws: Draws of each chain, whose energies are averaged. A value is `usable` from 30
            effective draws a chain on: with fewer draws it never is.
        thin: Steps between draws.
    """

    temperature: Temperature | NonNegative
    localisation: Positive
    kernel: AbstractKernel = SGLD(1e-4)
    chains: Annotated[int, whole(2)] = 2
    warmup: Whole = 100
    draws: Annotated[int, whole(4)] = 100
    thin: Count = 10


@typed
class FixedCoefficient(eqx.Module):
    """`λ̂ = β (⟨E⟩ - E(w*))` at fixed settings, with the losses that it is the difference of.

    Args:
        estimate: λ̂, with the error over draws and chains. The bias of the step is not in it.
        loss: Mean loss at w*: the energy over the mass of the data.
        loss_of_draws: Mean loss of the draws.
        loss_of_prior: Median loss of draws of the localising Gaussian alone.
        weights: Number of weights that the energy depends on.
        wrong: Names of the verdicts that speak against the estimate, such as "not_mixed".
        settings: What the value belongs to, with the β and the sampler that were used.
    """

    estimate: Estimate
    loss: float
    loss_of_draws: Estimate
    loss_of_prior: float
    weights: Whole
    wrong: tuple[str, ...] = eqx.field(static=True)
    settings: FixedSettings | None = None

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against the estimate."""
        return not self.wrong

    @property
    def short(self) -> str:
        """`usable`, or the names of what speaks against the estimate."""
        return ", ".join(self.wrong) or "usable"

    @property
    def reason(self) -> str:
        """What speaks against the estimate, in words."""
        text = " ".join(Verdict[VERDICTS[name]] for name in self.wrong or ("usable",))
        return text.replace("Raise max_gradients", "Take more draws")

    def __repr__(self) -> str:
        value, error = float(self.estimate.value), float(self.estimate.standard_error)
        losses = f"w* {self.loss:.4g}, draws {float(self.loss_of_draws):.4g}"
        text = f"{value:.5g} ± {error:.2g} of {self.weights} weights; mean loss: {losses}, "
        text += f"localising Gaussian alone {self.loss_of_prior:.4g}"
        if self.settings is not None:
            at = self.settings
            text += f"; beta {float(at.temperature):.4g}, localisation {float(at.localisation):.4g}"
            if isinstance(at.kernel, AbstractUnadjusted) and at.kernel.step_size is not None:
                text += f", step {float(at.kernel.step_size):.3g}"
        return text if self.usable else f"{text}\n  NOT USABLE: {self.reason}"


@typed
@model_errors("in bx.local_coefficient_at")
def local_coefficient_at(
    energy: AbstractEnergy,
    settings: FixedSettings,
    *,
    key: Key,
    chart: AbstractChart | None = None,
    progress: bool = False,
    checkpoints: AbstractCheckpoints | None = None,
) -> FixedCoefficient:
    """Estimate the local learning coefficient at settings that are given, and not adapted.

    The posterior is `p(w) ∝ exp(-β E(w) - γ/2 |w - w*|²)`, w* the weights of the declared model,
    and `λ̂ = β (⟨E⟩ - E(w*))` (Lau et al. 2023, arXiv:2308.12108, eq. 10). Gradients are those of
    minibatches for a `Subsampled` measure. Energies of draws are over all data, or over minibatches
    (w* on the same ones) where all data would cost more than the steps between draws.

    Args:
        energy: As declared.
        settings: Temperature, localisation, sampler, and lengths of the run.
        key: Key of all randomness.
        chart: Which weights move; all if None.
        progress: Show a bar.
        checkpoints: Where the run is saved, and resumed from (`bx.Checkpoints`).

    Returns:
        A `FixedCoefficient`; check `.usable` and `.reason`.

    Raises:
        DeclarationError: For wrong arguments.
    """
    check_on_host("local_coefficient_at", {"energy": energy, "key": key})
    gibbs = localised_at(energy, settings, chart)
    return measured(
        [gibbs], [settings.kernel], settings, key, progress=progress, checkpoints=checkpoints
    )[0][0]


def localised_at(
    energy: AbstractEnergy,
    settings: FixedSettings,
    chart: AbstractChart | None = None,
    *,
    relative: bool | None = None,
) -> Gibbs:
    """The localised posterior, with energies as declared where these have digits enough.

    Energies relative to w* take a second pass over the data. `relative` chooses instead.
    """
    gibbs = localised(energy, settings.temperature, settings.localisation, chart, relative=False)
    if relative is not None:
        return gibbs.relative_to() if relative else gibbs
    size = float(gibbs.beta) * abs(float(gibbs.energy_of(gibbs.declared)))
    coarse = size * float(jnp.finfo(float).eps) > DIGITS
    return gibbs.relative_to() if coarse or _dear(gibbs, settings.thin) else gibbs


def measured(
    measures: Sequence[Gibbs],
    kernels: Sequence[AbstractKernel],
    settings: FixedSettings,
    key: PRNGKeyArray,
    *,
    weights: Sequence[int] | None = None,
    values: ModelFunction | None = None,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoints: AbstractCheckpoints | None = None,
) -> tuple[list[FixedCoefficient], dict[str, PyTree]]:
    """The coefficient of each of several localised measures, all in one compiled loop.

    Args:
        measures: Measures of one structure, as `localised_at` gives them.
        kernels: The sampler of each.
        settings: Lengths of the runs.
        key: Key of all randomness.
        weights: Weights that each energy depends on; the dimension if None.
        values: A function of the model, recorded at each draw.
        memory: Bytes of intermediate values at once.
        progress: Show a bar.
        checkpoints: Where the run is saved.

    Returns:
        The coefficients, and the records `[draw, measure, chain, ...]` of the run.
    """
    first = measures[0]
    key_run, key_energy, key_prior = jax.random.split(key, 3)
    batches = _dear(first, settings.thin)
    energy_key = key_energy if batches else None
    each = [
        Chains(gibbs, kernel, False, energy_key=energy_key, values=values)
        for gibbs, kernel in zip(measures, kernels, strict=True)
    ]
    shape = (len(measures), settings.chains)
    places = [gibbs.position() for gibbs in measures]
    start = {
        path: jax.device_put(
            np.broadcast_to(
                np.stack([np.asarray(place[path]) for place in places])[:, None], shape + leaf.shape
            )
        )
        for path, leaf in places[0].items()
    }
    made = loop(
        several(each, memory), start, key_run, warmup=settings.warmup, draws=settings.draws,
        thin=settings.thin, rows=chunk_of(settings.draws, ROWS), progress=progress,
        checkpoints=checkpoints,
    )  # fmt: skip
    records = {name: np.asarray(leaf) for name, leaf in made.records.items()}
    counts = [gibbs.dim for gibbs in measures] if weights is None else weights
    results, references = [], {}
    for i, (gibbs, kernel, count) in enumerate(zip(measures, kernels, counts, strict=True)):
        own = {name: leaf[:, i] for name, leaf in records.items()}
        of_prior = _prior_loss(gibbs, key_prior)
        if id(gibbs.declared) not in references:
            energy = float(gibbs.energy_of(gibbs.declared)) + float(gibbs.reference_energy)
            references[id(gibbs.declared)] = energy
        reference = references[id(gibbs.declared)]
        found = _judged(gibbs, reference, own, of_prior, count, made.status)
        at = dataclasses.replace(settings, temperature=float(gibbs.beta), kernel=kernel)
        results.append(dataclasses.replace(found, settings=at))
    return results, records


def _prior_loss(gibbs: Gibbs, key: PRNGKeyArray) -> float:
    """Median loss of a few draws of the localising Gaussian alone; infinite if not a number."""
    # on the host: a program that draws every leaf takes longer to compile than the draws to make
    rng = numpy_generator(key)
    priors, place = gibbs.coordinates.priors, gibbs.position()
    scales = {
        p: float(np.max(each.scale)) for p, each in priors.items() if isinstance(each, Normal)
    }
    energies = []
    for _ in range(PRIOR_DRAWS):
        noise = {path: rng.normal(0.0, scales[path], leaf.shape) for path, leaf in place.items()}
        drawn = {path: np.asarray(leaf) + noise[path] for path, leaf in place.items()}
        drawn = {
            path: jax.device_put(drawn[path].astype(leaf.dtype)) for path, leaf in place.items()
        }
        energies.append(float(gibbs.energy_of(gibbs.model(drawn))))
    median = np.median(np.where(np.isnan(energies), np.inf, energies))
    return float(median + gibbs.reference_energy) / data_mass(gibbs)


def _dear(gibbs: Gibbs, thin: int) -> bool:
    """Whether an energy over all data, two forward passes, costs more than the steps of a draw."""
    ratios = [x.empirical.size / x.batch_size for x in subsamplings(gibbs.potential)]
    return max(ratios, default=0.0) > 2 * thin


def _judged(
    gibbs: Gibbs,
    reference: float,
    records: dict[str, np.ndarray],
    of_prior: float,
    weights: int,
    status: Status,
) -> FixedCoefficient:
    """The estimate from the records `[draw, chain]` of one measure, and all that is wrong."""
    beta, mass = float(gibbs.beta), data_mass(gibbs)
    offset = reference - float(gibbs.reference_energy)
    series = beta * (records["energy"].astype(float).T - offset)
    noise = beta**2 * float(np.mean(records.get("energy_noise", np.zeros(1)), dtype=float))
    estimate = careful_estimate(series, records["log_prior"].astype(float).T, noise)
    value, error = float(estimate.value), float(estimate.standard_error)
    loss = reference / mass
    per_nat = 1 / (beta * mass) if beta else 0.0
    blur = beta * float(gibbs.potential.rounding(jnp.asarray(offset)))
    excess, most = value * per_nat, of_prior - loss
    enough = float(estimate.ess) >= ENOUGH * len(series)
    mixed = float(estimate.r_hat) <= 1.05 and enough
    found = [
        ("non_finite", not math.isfinite(value)),
        ("rounding", not blur <= MOST_ROUNDING),
        ("stuck", not np.all(np.any(records["moved"], axis=0))),
        ("interrupted", bool(status == Status.interrupted)),
        ("divergent", not float(np.mean(records["divergent"])) <= 0.01),
        ("not_mixed", not mixed),
        ("not_a_minimum", value < -3 * error),
        ("melted", excess > MELTED * most > 0),
        ("imprecise", not error <= 0.2 * abs(value)),
    ]
    wrong = tuple(name for name, holds in found if holds)
    of_draws = estimate.scaled(per_nat).shifted(loss)
    return FixedCoefficient(estimate, loss, of_draws, of_prior, weights, wrong)


def in_row(estimate: Estimate) -> str:
    """Value and error in the width of a table's column."""
    return f"{float(estimate):.4g} ± {float(estimate.standard_error):.2g}".rjust(18)
