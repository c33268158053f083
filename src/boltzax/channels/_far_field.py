"""Far data as an averaged background, and the response to how they differ from it."""

import math
from typing import Annotated, Literal

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ..core import (
    Count,
    Curve,
    DeclarationError,
    Estimate,
    Influence,
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
from ._local_runs import Distances, LocalRun, Radii, curve_of, local_runs, worst_of

MOST = 4
"""Orders at most: the noise of differences grows as 2 to their order."""


@typed
class FarField(eqx.Module):
    """A prediction by near data and an averaged background, order by order; see `far_field`.

    Args:
        prediction: Over the radius, `[radius, order + 1]`: of the near data and the background
            alone (order 0), and with the response to the far data up to each order.
        error: The prediction less that with all data, `[radius, order + 1]`.
        full: The prediction with all data.
        status: Of the worst of the runs.
    """

    prediction: Curve
    error: Curve
    full: Estimate
    status: Status

    @text_of_values
    def __repr__(self) -> str:
        lines = [
            f"{float(radius):.4g}: " + ", ".join(f"{float(e):.2g} ± {float(s):.1g}" for e, s in row)
            for radius, row in zip(
                self.error.x,
                np.stack([self.error.value, self.error.standard_error], axis=-1),
                strict=True,
            )
        ]
        head = f"Far field of {self.full!r}: errors of orders 0 to {self.error.shape[1] - 1}"
        return "\n  ".join([head, *lines, Status[self.status]])


@typed
def far_field(
    energy: AbstractEnergy,
    prior: Prior,
    centre: Float[Array, "..."] | Float[np.ndarray, "..."],
    radii: Radii,
    *,
    key: Key,
    orders: Annotated[int, whole(0, MOST)] = 1,
    background: Literal["average", "drop"] = "average",
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
) -> FarField:
    """A local prediction by discrete neighbours and an averaged background of all other data.

    With `E_0` the energy whose data beyond the radius are replaced, the posterior of
    `E_h = E_0 + h (E - E_0)` leads from the background to all data. The prediction `⟨A⟩_h` is
    sampled at `h = 0, 1/(K+1), ..., K/(K+1)`, and order k is the polynomial of degree k through the
    first `k + 1` of them at `h = 1`: order 0 is the background alone (as in `screen`), order 1 adds
    the linear response to how the far data differ from it, order 2 its change by them. The error of
    the last order is the difference of order `K + 1` of `⟨A⟩_h`, and small where that is smooth. In
    a Gaussian process the labels act linearly: an average is corrected by the first order exactly.

    The runs have common random numbers, as in `screen`. Covariances with `E - E_0` in the draws of
    `E_0` would give the same terms, but with the noise of all far data.

    Args:
        energy: The declared energy.
        prior: As in `bx.compile`.
        centre: The place `x` where the model is asked.
        radii: Distances from the centre, within which data stay discrete.
        key: Of the runs.
        orders: The highest order.
        background: What the other data are replaced by at order 0, as in `screen`.
        prediction: A function of the model that gives one number; by default `model(centre)`.
        distance: As in `screen`.
        beta: As in `bx.compile`.
        chart: As in `bx.compile`.
        kernel: As in `bx.sample`, and so are the arguments that follow.
        chains: Of each run.
        warmup: Steps of each run.
        draws: Of each chain.
        thin: Steps between draws.
        throw: Raise if a run fails.

    Returns:
        A `FarField`.

    Raises:
        DeclarationError: As `screen`, and for a prediction of several numbers.
        RunError: For a run that fails; its `result` has the others.
    """
    runs = local_runs(
        energy, prior, centre, prediction, distance, key, beta=beta, chart=chart, kernel=kernel,
        chains=chains, warmup=warmup, draws=draws, thin=thin,
    )  # fmt: skip
    full = runs.run(np.inf, background)
    if full.values.size != chains * draws:
        raise DeclarationError(
            "prediction",
            got=f"{full.values.size // (chains * draws)} numbers",
            expected="one number for each model",
            mend="pass e.g. prediction=lambda model: model(x)[0]",
        )
    steps = [k / (orders + 1) for k in range(orders + 1)]
    paths = [[runs.run(float(radius), background, h) for h in steps] for radius in radii]
    newton = np.array([_extrapolation(k, orders + 1) for k in range(orders + 1)])
    sums = [Influence.stack([_flat(run) for run in path]).times(newton) for path in paths]
    whole_mean = _flat(full)
    states = [run.status for path in paths for run in path]
    status = worst_of([full.status, *states])
    result = FarField(
        curve_of(radii, sums),
        curve_of(radii, [total - whole_mean for total in sums]),
        whole_mean.estimate(exact=True),
        status,
    )
    return raise_if_failed(result, status, throw, "pass another `kernel`, or more `draws`")


def _extrapolation(order: int, nodes: int) -> list[float]:
    """The weights of the values at the first nodes in the polynomial through them at `h = 1`."""
    weights = [0.0] * nodes
    for k in range(order + 1):
        others = [j for j in range(order + 1) if j != k]
        weights[k] = math.prod((nodes - j) / (k - j) for j in others)
    return weights


def _flat(run: LocalRun) -> Influence:
    """The mean prediction as one number."""
    mean = run.mean
    return mean if not mean.shape else mean[(0,) * len(mean.shape)]
