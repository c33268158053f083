"""Runs with all data, and with those far from a place replaced, of one key."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..compile import compile
from ..core import (
    Constraint,
    Curve,
    DeclarationError,
    Influence,
    Key,
    Model,
    ModelFunction,
    Refused,
    Status,
    check_known,
    given_numbers,
    numbers,
    numpy_generator,
)
from ..declare import AbstractChart, AbstractEnergy, Prior, SquaredError
from ..sample import AbstractKernel, Trace, sample
from ._backgrounds import Background, Distance, Nodes, nodes_of, with_background


def _radii(value: Any) -> np.ndarray:
    array = numbers(value, float, host=True).astype(float)
    if array.ndim != 1 or not len(array) or not np.all((array >= 0) & np.isfinite(array)):
        raise Refused
    return np.sort(array)


Radii: TypeAlias = Annotated[
    Float[np.ndarray, "_"],
    Constraint("distances, none negative", "pass e.g. np.linspace(0.5, 3.0, 6)", _radii),
]
Distances: TypeAlias = Callable | None


class LocalRuns(NamedTuple):
    """How the posterior is sampled about a place, at any replacement of its far data."""

    terms: list[Nodes]
    prediction: ModelFunction
    prior: Prior
    beta: Any
    chart: AbstractChart | None
    kernel: AbstractKernel | None
    key: Key
    rng: np.random.Generator
    lengths: dict[str, int]

    def run(self, radius: float, background: Background, present: float = 0.0) -> "LocalRun":
        """A run with the data beyond a radius replaced, but for a share; infinite for all data."""
        energy = with_background(self.terms, radius, background, self.rng, present)
        # moments of the data would turn their rows, and common random numbers with them
        integral = "nodes" if all(map(_is_rows, self.terms)) else "auto"
        gibbs = compile(energy, self.prior, beta=self.beta, chart=self.chart, integral=integral)
        trace = sample(gibbs, self.kernel, key=self.key, throw=False, **self.lengths)
        return LocalRun(_predictions(trace, self.prediction, self.key), trace.status)

    def kept(self, radius: float) -> int:
        """How many data lie within a radius."""
        return sum(int(np.sum(each.distances <= radius)) for each in self.terms)


class LocalRun(NamedTuple):
    """The predictions of the draws of one run."""

    values: Float[Array, "chain draw *shape"]
    status: Status

    @property
    def mean(self) -> Influence:
        """The mean prediction; the draws of all runs have one source."""
        return series_of(self.values)


def local_runs(
    energy: AbstractEnergy,
    prior: Prior,
    centre: Array | np.ndarray,
    prediction: ModelFunction | None,
    distance: Callable | None,
    key: Key,
    **settings: Any,
) -> LocalRuns:
    """The runs of a declaration; `settings` are `beta`, `chart`, `kernel` and lengths."""
    check_known("energy", energy, "bx.channels.screen")
    where = jnp.asarray(centre, float)
    terms = nodes_of(energy, Distance(where) if distance is None else distance)
    asked = AtPlace(where) if prediction is None else prediction
    key_run, key_data = jax.random.split(key)
    rng = numpy_generator(key_data)
    plan = {name: settings.pop(name) for name in ("beta", "chart", "kernel")}
    return LocalRuns(terms, asked, prior, **plan, key=key_run, rng=rng, lengths=settings)


def _is_rows(nodes: Nodes) -> bool:
    return isinstance(nodes.term, SquaredError) and bool(np.all(nodes.weights >= 0))


def worst_of(states: list[Status]) -> Status:
    """The first status that is not `successful`."""
    return next((each for each in states if each != Status.successful), Status.successful)


class AtPlace(eqx.Module):
    """The model at a place."""

    place: Array

    def __call__(self, model: Model) -> Array:
        return model(self.place)


def _predictions(trace: Trace, prediction: Callable, key: Key) -> Float[Array, "chain draw ..."]:
    """A prediction at all draws.

    Raises:
        DeclarationError: For one that is not one array of real numbers.
    """
    values = given_numbers("prediction", trace.evaluate(prediction, key))
    if not isinstance(values, jax.Array):
        raise DeclarationError(
            "prediction",
            got="a function that gives a pytree",
            expected="a function of the model that gives one array",
            mend="stack them, e.g. jnp.stack([model(a), model(b)])",
        )
    return jnp.asarray(values, float)


def series_of(values: Float[Array, "chain draw ..."]) -> Influence:
    """The mean over draws, all runs of which have one source."""
    return Influence.of(np.moveaxis(np.asarray(values), (0, 1), (-2, -1)))


def curve_of(radii: Radii, values: list[Influence]) -> Curve:
    """Values over the radius; a number that no draw moves is exact."""
    stacked = Influence.stack(values)
    return Curve(radii, stacked.estimate(exact=True), axis="radius", influence=stacked)
