"""How far the data reach that a local prediction depends on."""

from typing import Annotated

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..core import (
    Count,
    Curve,
    Estimate,
    Key,
    ModelFunction,
    Number,
    Status,
    Whole,
    raise_if_failed,
    text_of_values,
    typed,
    whole,
)
from ..declare import AbstractChart, AbstractEnergy, Prior
from ..sample import AbstractKernel
from ._backgrounds import Background
from ._decay import decay_rate
from ._local_runs import Distances, Radii, curve_of, local_runs, series_of, worst_of

UNDETERMINED = (
    "decay rate not determined: fewer than three radii, or changes within their errors, or rates "
    "without an upper or lower limit that fit as well"
)
"""Said in place of a rate that is NaN."""


@typed
class Screening(eqx.Module):
    """What the data beyond a radius do to a prediction; see `screen`.

    Args:
        change: Of the mean prediction, over the radius, `[radius, *shape]`. All points share the
            draws of the run with all data.
        full: The prediction with all data, `[*shape]`.
        spread: Its standard deviation over the posterior: the unit in which a change matters.
        kept: How many data each radius keeps.
        background: What the others are replaced by.
        status: Of the worst of the runs.
    """

    change: Curve
    full: Estimate
    spread: Estimate
    kept: Int[np.ndarray, " radius"]
    background: Background = eqx.field(static=True)
    status: Status

    @property
    def rate(self) -> Estimate:
        """`γ` of the fit `|change| ∝ exp(-γ radius)` to all points, in noise or out of it.

        NaN where it is not determined. The error is that of the draws, and of the scatter about the
        fit where the draws do not explain it, as in one draw of disordered data.

        Raises:
            DeclarationError: For a prediction of several numbers.
        """
        return decay_rate(self.change)

    @text_of_values
    def __repr__(self) -> str:
        size = np.max(np.abs(np.asarray(self.change.value)).reshape(len(self.change), -1), axis=1)
        lines = [
            f"{float(radius):.4g}: {kept} data kept, change up to {each:.3g}"
            for radius, kept, each in zip(self.change.x, self.kept, size, strict=True)
        ]
        if self.full.value.ndim == 0:
            rate = self.rate
            lines.append(f"decay rate {rate!r}" if np.isfinite(float(rate)) else UNDETERMINED)
        head = f"Screening ({self.background}) of {self.full!r}"
        return "\n  ".join([head, *lines, Status[self.status]])


@typed
def screen(
    energy: AbstractEnergy,
    prior: Prior,
    centre: Float[Array, "..."] | Float[np.ndarray, "..."],
    radii: Radii,
    *,
    key: Key,
    background: Background = "drop",
    prediction: ModelFunction | None = None,
    distance: Distances = None,
    beta: Number = 1.0,
    chart: AbstractChart | None = None,
    kernel: AbstractKernel | None = None,
    chains: Annotated[int, whole(2)] = 4,
    warmup: Whole = 500,
    draws: Annotated[int, whole(4)] = 1000,
    thin: Count = 1,
    throw: bool = True,
) -> Screening:
    """The change of a local prediction when the data beyond a radius are replaced.

    The posterior is sampled with all data, and once for each radius. Where the prediction is
    screened, the change falls as `exp(-γ radius)`. The data beyond a radius are

    - dropped;
    - averaged: their inputs stay, and their labels are replaced by the mean label (classes by
      their shares), as if each input had been paired with all far labels;
    - resampled: drawn from the far data with replacement, inputs together with labels.

    A measure is replaced by its nodes, so that it may be of any kind. The runs have the same key:
    differences are of draws with common random numbers, and their errors are those of the paired
    differences. If all weights are integrated out these are far smaller than of independent runs.

    Args:
        energy: The declared energy.
        prior: As in `bx.compile`.
        centre: The place `x` where the model is asked, an input of the model.
        radii: Distances from the centre.
        key: Of the runs and of the resampling.
        background: What the far data are replaced by.
        prediction: A function of the model that gives an array; by default `model(centre)`.
        distance: A function of a datum that gives its distance; by default `|x - centre|`.
        beta: As in `bx.compile`.
        chart: As in `bx.compile`.
        kernel: As in `bx.sample`, and so are the arguments that follow.
        chains: Of each run.
        warmup: Steps of each run.
        draws: Of each chain.
        thin: Steps between draws.
        throw: Raise if a run fails.

    Returns:
        A `Screening`.

    Raises:
        DeclarationError: For an energy without data, an average of data without labels, and
            distances that are no numbers.
        RunError: For a run that fails; its `result` has the others.
    """
    runs = local_runs(
        energy, prior, centre, prediction, distance, key, beta=beta, chart=chart, kernel=kernel,
        chains=chains, warmup=warmup, draws=draws, thin=thin,
    )  # fmt: skip
    full = runs.run(np.inf, background)
    each = [runs.run(float(radius), background) for radius in radii]
    squares = series_of((full.values - jnp.mean(full.values, axis=(0, 1))) ** 2)
    status = worst_of([run.status for run in (full, *each)])
    result = Screening(
        curve_of(radii, [run.mean - full.mean for run in each]),
        full.mean.estimate(exact=True),
        squares.estimate(exact=True).map(jnp.sqrt),
        np.array([runs.kept(float(radius)) for radius in radii]),
        background,
        status,
    )
    return raise_if_failed(result, status, throw, "pass another `kernel`, or more `draws`")
