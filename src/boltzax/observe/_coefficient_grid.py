"""Local learning coefficients over a grid of settings."""

import itertools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp

from ..compile import Gibbs
from ..core import (
    MEMORY,
    DeclarationError,
    Estimate,
    Key,
    Memory,
    Positive,
    check_on_host,
    model_errors,
    typed,
)
from ..declare import AbstractEnergy, Normal
from ..sample import AbstractUnadjusted
from ._fixed_settings import FixedCoefficient, FixedSettings, in_row, localised_at, measured


@typed
class CoefficientGrid(eqx.Module):
    """λ̂ over a grid of steps, localisations and temperatures.

    Args:
        step_sizes: The steps ε, `[step]`.
        localisations: The γ, `[localisation]`.
        betas: The β, `[beta]`.
        estimate: λ̂, `[step, localisation, beta]`.
        loss_of_draws: Mean loss of the draws, of the same shape.
        results: The results in order of the flattened grid.
    """

    step_sizes: tuple[float, ...]
    localisations: tuple[float, ...]
    betas: tuple[float, ...]
    estimate: Estimate
    loss_of_draws: Estimate
    results: tuple[FixedCoefficient, ...]

    def __repr__(self) -> str:
        places = itertools.product(self.step_sizes, self.localisations, self.betas)
        rows = [f"{'ε':>9}  {'γ':>9}  {'β':>9}  {'λ̂':>18}  of draws"]
        for (step, gamma, beta), result in zip(places, self.results, strict=True):
            loss = f"{float(result.loss_of_draws):8.4g}  {result.short}"
            rows.append(
                f"{step:9.3g}  {gamma:9.3g}  {beta:9.3g}  {in_row(result.estimate)}  {loss}"
            )
        return "\n".join(rows)


@typed
@model_errors("in bx.coefficient_grid")
def coefficient_grid(
    energy: AbstractEnergy,
    settings: FixedSettings,
    *,
    key: Key,
    step_sizes: Sequence[Positive],
    localisations: Sequence[Positive],
    betas: Sequence[Positive] | None = None,
    memory: Memory = MEMORY,
    progress: bool = False,
) -> CoefficientGrid:
    """Estimate the local learning coefficient at each point of a grid of settings, in one loop.

    A value that means something is nearly the same over a range of steps and localisations. In deep
    nets there may be no such range; the grid shows it.

    Args:
        energy: As declared, at w*.
        settings: The lengths of the runs, the sampler (whose `step_size` is replaced), and the
            temperature where there are no `betas`.
        key: Key of all randomness.
        step_sizes: Steps of the sampler.
        localisations: Values of γ.
        betas: Factors of the summed energy; that of the settings if None.
        memory: Bytes of intermediate values at once.
        progress: Show a bar.

    Raises:
        DeclarationError: For a sampler without `step_size`, or an axis without values.
    """
    check_on_host("coefficient_grid", {"energy": energy, "key": key})
    kernel = settings.kernel
    if not isinstance(kernel, AbstractUnadjusted):
        raise DeclarationError(
            "settings.kernel",
            got=type(kernel).__name__,
            expected="a sampler without a Metropolis test, whose step_size is given",
            mend="pass e.g. kernel=bx.SGLD(1e-4)",
        )
    gibbs = localised_at(energy, settings)
    steps, gammas = tuple(map(float, step_sizes)), tuple(map(float, localisations))
    temperatures = (float(gibbs.beta),) if betas is None else tuple(map(float, betas))
    measures, kernels = [], []
    for step, gamma, beta in itertools.product(steps, gammas, temperatures):
        measures.append(_at_gamma(gibbs.at(beta), gamma))
        kernels.append(_with_step(kernel, step))
    if not measures:
        raise DeclarationError(
            "step_sizes",
            got="an axis without values",
            expected="at least one step, localisation and beta",
            mend="pass e.g. step_sizes=(1e-4, 3e-4)",
        )
    results, _ = measured(measures, kernels, settings, key, memory=memory, progress=progress)
    shape = (len(steps), len(gammas), len(temperatures))
    estimates = [
        jax.tree.map(lambda leaf: leaf.reshape(shape), Estimate.stack(list(map(get, results))))
        for get in (lambda result: result.estimate, lambda result: result.loss_of_draws)
    ]
    return CoefficientGrid(steps, gammas, temperatures, *estimates, tuple(results))


def _at_gamma(gibbs: Gibbs, gamma: float) -> Gibbs:
    """The measure with another width of the localising Gaussian."""

    def scales(g: Gibbs) -> list:
        priors = g.coordinates.priors.values()
        return [prior.scale for prior in priors if isinstance(prior, Normal)]

    new = [jnp.full_like(scale, gamma**-0.5) for scale in scales(gibbs)]
    return eqx.tree_at(scales, gibbs, new)


def _with_step(kernel: AbstractUnadjusted, step: float) -> AbstractUnadjusted:
    return eqx.tree_at(
        lambda k: k.step_size, kernel, jnp.asarray(step, float), is_leaf=lambda x: x is None
    )
