"""Problems of mean field: a neuron, a target, a measure, a temperature."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..compile import Coordinates, Gibbs, compile, prior
from ..core import (
    Arrays,
    Count,
    DeclarationError,
    Key,
    Positive,
    check_finite,
    typed,
    with_weights,
)
from ..declare import AbstractMeasure, Independent, SquaredError
from ..sample import Ensemble
from ._neuron import Neuron, population

Particles = dict[str, Array]
"""Weights by path, in unconstrained coordinates, with a leading axis over neurons."""


@typed
class AbstractEnsemble(eqx.Module):
    """A net whose neurons interact through the residual of its output.

    The net has the law `p(net) ∝ p0(net) exp(-(N/T) ∫ ½|f - y|² dm)`; a *rider* is a neuron that
    moves under the net's residual and does not contribute to its output. `train`, `ride_along` and
    backgrounds use the methods below only; a net of another architecture implements them.
    """

    target: eqx.AbstractVar[PyTree]
    measure: eqx.AbstractVar[AbstractMeasure]
    temperature: eqx.AbstractVar[Float[Array, ""]]

    @abc.abstractmethod
    def draw_net(self, key: Key, width: Count) -> PyTree:
        """A net of `width` neurons from the prior."""

    @abc.abstractmethod
    def draw_riders(self, key: Key, count: Count, width: Count) -> PyTree:
        """`count` riders from the prior (leading axis), for a net of `width` neurons."""

    @abc.abstractmethod
    def size(self, net: Arrays) -> int:
        """`N`, the number of neurons that `f` is the mean of."""

    @abc.abstractmethod
    def output(self, net: Arrays, x: Arrays) -> Array:
        """`f(x)` of the net, at one datum."""

    @abc.abstractmethod
    def couple(self, net: Arrays, rider: Arrays, x: Arrays) -> Array:
        """Contribution of one rider to `N f(x)`, to first order in its weight; of `f`'s shape."""

    @abc.abstractmethod
    def log_prior(self, net: Arrays) -> Float[Array, ""]:
        """Log-density of the net's prior, in nats."""

    @abc.abstractmethod
    def log_prior_rider(self, rider: Arrays) -> Float[Array, ""]:
        """Log-density of one rider's prior, in nats."""

    def split(self, datum: Arrays) -> tuple[PyTree, Array]:
        """`x` and `y` of one datum."""
        return datum if self.target is None else (datum, self.target(datum))

    def inputs(self) -> PyTree:
        """`x` at the nodes of the measure (leading axis)."""
        return jax.vmap(lambda z: self.split(z)[0])(self.measure.nodes()[0])

    def targets(self) -> Float[Array, "node *out"]:
        """`y` at the nodes of the measure.

        Raises:
            DeclarationError: For targets that are not finite there.
        """
        return targets_at(self, self.measure.nodes()[0])

    def to_vector(self, values: Float[Array, "node *out"]) -> Float[Array, " n"]:
        """A function at the nodes as a vector: `⟨u, v⟩` is the dot product of two such.

        Entries are the values times the roots of the nodes' weights, outputs side by side.
        """
        weights = self.measure.nodes()[1]
        rows = jnp.asarray(values, weights.dtype).reshape(len(weights), -1)
        return (jnp.sqrt(weights)[:, None] * rows).reshape(-1)

    def from_vector(self, vector: Float[Array, " n"]) -> Float[Array, "node *out"]:
        """The inverse of `to_vector`; nodes without weight keep the entry of the vector."""
        root = jnp.sqrt(self.measure.nodes()[1])
        rows = vector.reshape(len(root), -1) / jnp.where(root > 0, root, 1.0)[:, None]
        return rows.reshape(jax.eval_shape(self.targets).shape)

    def residual(self, net: Arrays, datum: Arrays) -> Array:
        """`y - f(x)` at one datum."""
        x, y = self.split(datum)
        return y - self.output(net, x)


@typed
class SelfConsistency(AbstractEnsemble):
    """One neuron in the field of a net of such neurons: `f = E_ρ[h]`, `ρ ∝ p0 exp⟨g, h⟩`,
    `g = (y - f)/T`.

    The field of an infinite net is a fixed point (Mei, Montanari & Nguyen 2018, PNAS 115:E7665);
    `solve` finds it, `train` makes it with particles.

    Args:
        neuron: `h` and `p0`.
        target: `y`, a function of `x`; None if each datum is a pair `(x, y)`.
        measure: `m`, over data; `⟨u, v⟩ = ∫ u·v dm`.
        temperature: `T`, in units of the loss `∫ ½|f - y|² dm`. The Gibbs measure over a net of `N`
            neurons is `exp(-(N/T) loss)`; for `n` data with noise of variance `s²`, `T = N s²/n`.
        coordinates: The map from unconstrained coordinates to weights (made from `neuron`).
    """

    neuron: Neuron
    target: PyTree
    measure: AbstractMeasure
    temperature: Float[Array, ""]
    coordinates: Coordinates

    def __init__(
        self,
        neuron: Neuron,
        target: Callable | None,
        measure: AbstractMeasure,
        temperature: Positive,
    ):
        self.neuron, self.target, self.measure = neuron, target, measure
        self.temperature = jnp.asarray(temperature, float)
        # checks the shapes of model, target and measure against each other
        error = SquaredError(neuron.model, measure, target)
        self.coordinates = compile(error, neuron.prior, marginalise=False).coordinates

    def at(self, temperature: Positive) -> "SelfConsistency":
        """The same problem at another temperature."""
        value = jnp.asarray(temperature, float)
        return eqx.tree_at(lambda problem: problem.temperature, self, value)

    def model(self, neuron: Particles) -> PyTree:
        """The function of one neuron with these coordinates."""
        return with_weights(self.neuron.model, self.coordinates.constrain(neuron))

    def gibbs(self, width: Count, *, marginalise: bool | None = False) -> Gibbs:
        """The Gibbs measure over the weights of a net of `width` neurons, for any sampler.

        Its `beta` is `N/T`; its weights are those of the neuron with a leading axis.
        """
        stacked = jax.tree.map(_widened(width), self.neuron.model)
        law = self.neuron.prior
        if isinstance(law, Independent):
            law = Independent({f"neurons.{k}": v for k, v in law.by_pattern.items()})
        energy = SquaredError(EnsembleMean(stacked), self.measure, self.target)
        beta = width / self.temperature
        return compile(energy, law, beta=beta, marginalise=marginalise)

    def ensemble(self, neurons: Particles, axes: tuple[str, ...] = ("neuron",)) -> Ensemble:
        """Neurons as an ensemble over the prior of one: `mean` takes functions of a neuron.

        Args:
            neurons: Unconstrained coordinates, `[*axes, *shape]`.
            axes: Names of the leading axes.
        """
        return Ensemble.of(prior(self.neuron.model, self.neuron.prior), neurons, axes)

    def draw_net(self, key, width):
        return population(self.coordinates, key, width)

    def draw_riders(self, key, count, width):
        return population(self.coordinates, key, count)

    def size(self, net):
        return jax.tree.leaves(net)[0].shape[0]

    def output(self, net, x):
        return jnp.mean(jax.vmap(lambda one: self.model(one)(x))(net), axis=0)

    def couple(self, net, rider, x):
        return self.model(rider)(x)

    def log_prior(self, net):
        return jnp.sum(jax.vmap(self.coordinates.log_prior)(net))

    def log_prior_rider(self, rider):
        return self.coordinates.log_prior(rider)


class EnsembleMean(eqx.Module):
    """`f(x) = (1/N) Σ_i h(x; θ_i)`; the leaves of `neurons` have a leading axis of length `N`."""

    neurons: PyTree

    def __call__(self, x: PyTree) -> Array:
        weights, rest = eqx.partition(self.neurons, eqx.is_inexact_array)
        each = jax.vmap(lambda one: eqx.combine(one, rest)(x))(weights)
        return jnp.mean(each, axis=0)


def targets_at(problem: AbstractEnsemble, data: PyTree) -> Float[Array, "datum *out"]:
    """`y` at data with a leading axis.

    Raises:
        DeclarationError: For targets that are not finite there.
    """
    values = jax.vmap(lambda z: problem.split(z)[1])(data)
    check_finite("target", values, "give a target that is finite at all data")
    return values


def alike(argument: str, problem: AbstractEnsemble) -> SelfConsistency:
    """The problem, if its neurons are of one kind and interact through the residual only.

    Raises:
        DeclarationError: For a net of more layers.
    """
    if not isinstance(problem, SelfConsistency):
        raise DeclarationError(
            argument,
            got=f"a training of {type(problem).__name__}",
            expected="one of SelfConsistency, whose neurons are of one kind and feel the residual",
            mend="use riders (train(..., riders=...), ride_along), energy_distance, and the net's "
            "coordinates",
        )
    return problem


def points_of(particles: Particles) -> Float[Array, "n d"]:
    """Coordinates of neurons as points: the leaves in the order of their names, side by side."""
    leaves = [particles[path] for path in sorted(particles)]
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)


def _widened(width: int):
    def widen(leaf):
        if not eqx.is_inexact_array(leaf):
            return leaf
        return jnp.broadcast_to(leaf, (width, *leaf.shape))

    return widen
