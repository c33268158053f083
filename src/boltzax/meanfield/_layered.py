"""Nets of more than one hidden layer, and riders in any of their layers."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..compile import Coordinates
from ..core import Arrays, Count, DeclarationError, Positive, typed
from ..declare import AbstractMeasure, Distribution
from ._neuron import Neuron, Unit, population
from ._self_consistency import AbstractEnsemble, SelfConsistency

Layers = tuple[dict[str, Array], ...]
"""A population for each layer, from the input up: unconstrained coordinates, leading neuron axis.
The last has `readout` [N, *out]; each has `embedding` [N, fan-in] and `bias` [N]."""


@typed
class Layered(AbstractEnsemble):
    """A net with hidden layers of `N_1, ..., N_L` neurons::

        φ_1 = act(b x + c),   z_l = W_l φ_{l-1} / √N_{l-1} + c_l,   φ_l = act(z_l),
        f = (1/N_L) Σ_j a_j φ_L,j(x),

    with the law `p0 exp(-(N_L/T) ∫ ½|f - y|² dm)`. Sums into a hidden layer have the root of the
    fan-in, as the mean of independent weights would vanish; the readout is a mean, so that every
    layer learns features (the scaling of Yang & Hu 2021, ICML, and of Bordelon & Pehlevan 2022,
    NeurIPS, eq. 1).

    A *rider* sits in one `layer`. It is a neuron of weight `ε → 0`, and its `couple` is the
    derivative of `N_L f` by `ε` where it is put in:

    - in the last layer it has `readout`, `embedding` (`[N_{L-1}]`) and `bias`, and couples as
      `a act(W·φ_{L-1}(x)/√N_{L-1} + c)`: it sits in the field of the layers below and of the
      residual;
    - in a layer `l` below it has `embedding`, `bias` and `outgoing` `[N_{l+1}]`, its column of
      `W_{l+1}`, and couples as `N_L ∂f/∂z_{l+1}(x) · outgoing act(...)/√N_l`.

    A rider with the weights of a neuron of the net has the drift of that neuron, in every layer.
    That is not enough to make it the neuron's equal: the layers beside a neuron of the net answer
    to it, and not to a rider. In the last layer of a net of one hidden layer nothing does.

    Args:
        neuron: `Neuron(Unit(...), prior)`: activation, input dimension, bias and outputs, and the
            prior of `readout`, `embedding` (that of each entry of the `W_l` too) and `bias`.
        target: As of `SelfConsistency`, which is the case `hidden=()`.
        measure: As of `SelfConsistency`, which is the case `hidden=()`.
        temperature: As of `SelfConsistency`, which is the case `hidden=()`.
        hidden: `N_1, ..., N_{L-1}`; `N_L` is the `width` of `train`.
        layer: Where riders sit, `1 ... L`; the last layer if not given.
        priors: Of the leaves of a neuron (made from `neuron`).

    Raises:
        DeclarationError: A neuron that is no `Unit`, a layer that is not there, or an embedding
            prior that depends on the entry.
    """

    neuron: Neuron
    target: PyTree
    measure: AbstractMeasure
    temperature: Float[Array, ""]
    priors: dict[str, Distribution]
    hidden: tuple[int, ...] = eqx.field(static=True)
    layer: int = eqx.field(static=True)

    def __init__(
        self,
        neuron: Neuron,
        target: Callable | None,
        measure: AbstractMeasure,
        temperature: Positive,
        *,
        hidden: tuple[Count, ...],
        layer: Count | None = None,
    ):
        flat = SelfConsistency(neuron, target, measure, temperature)
        if not isinstance(neuron.model, Unit):
            raise DeclarationError(
                "neuron",
                got=f"Neuron({type(neuron.model).__name__})",
                expected="a Unit, whose drive is linear in the layer below",
                mend="pass Neuron(Unit(jnp.tanh, dim=4, bias=True), bx.Normal())",
            )
        depth = len(hidden) + 1
        layer = depth if layer is None else layer
        if layer > depth:
            raise DeclarationError(
                "layer",
                got=repr(layer),
                expected=f"a layer, 1 to {depth}",
                mend=f"pass e.g. layer={depth}, the last one",
            )
        prior = flat.coordinates.priors["embedding"]
        if hidden and (prior.batch_shape or prior.event_shape):
            raise DeclarationError(
                "neuron",
                got=f"an embedding prior of shape {prior.batch_shape + prior.event_shape}",
                expected="one law for each entry, as hidden layers have another fan-in",
                mend="pass e.g. bx.Independent(embedding=bx.Normal(), ...)",
            )
        self.neuron, self.target, self.measure = neuron, target, measure
        # the columns of `W` that a rider reaches have the law of its entries
        self.priors = flat.coordinates.priors | {"outgoing": prior}
        self.temperature = flat.temperature
        self.hidden, self.layer = hidden, layer

    @property
    def depth(self) -> int:
        """`L`, the number of hidden layers."""
        return len(self.hidden) + 1

    def riding(self, layer: Count) -> "Layered":
        """The same problem with riders in another layer."""
        given = (self.neuron, self.target, self.measure, self.temperature)
        return Layered(*given, hidden=self.hidden, layer=layer)

    def drives(self, net: Layers, x: Arrays) -> tuple[Float[Array, " neuron"], ...]:
        """`z_l(x)` of every layer, from the input up."""
        drives, below = [], x
        for index, layer in enumerate(net):
            drives.append(self._drive(layer, below, index))
            below = self.neuron.model.activation(drives[-1])
        return tuple(drives)

    def activations(self, net: Layers, x: Arrays) -> tuple[Float[Array, " neuron"], ...]:
        """`φ_l(x)` of every layer, from the input up."""
        return tuple(self.neuron.model.activation(z) for z in self.drives(net, x))

    def draw_net(self, key, width):
        layers = enumerate(zip(jax.random.split(key, self.depth), (*self.hidden, width)))
        return tuple(population(self._coordinates(i), key, count) for i, (key, count) in layers)

    def draw_riders(self, key, count, width):
        return population(self._rider_coordinates(width), key, count)

    def size(self, net):
        return net[-1]["readout"].shape[0]

    def output(self, net, x):
        return self._mean(net, self.activations(net, x)[-1])

    def couple(self, net, rider, x):
        index = self.layer - 1
        weights = self._constrain(rider)
        below = x if index == 0 else self.activations(net, x)[index - 1]
        phi = self.neuron.model.activation(self._drive_of(weights, below, index))
        if self.layer == self.depth:
            return weights["readout"] * phi
        z = self.drives(net, x)[index + 1]
        # of shape [*out, neuron], and the same for all riders: one backward pass a datum
        slope = self.size(net) * jax.jacrev(lambda z: self._above(net, z, index + 1))(z)
        return slope @ weights["outgoing"] * phi / math.sqrt(self.hidden[index])

    def log_prior(self, net):
        terms = [
            jnp.sum(jax.vmap(self._coordinates(index).log_prior)(layer))
            for index, layer in enumerate(net)
        ]
        return sum(terms[1:], terms[0])

    def log_prior_rider(self, rider):
        width = rider["outgoing"].shape[0] if "outgoing" in rider else 1
        return self._rider_coordinates(width).log_prior(rider)

    def copies(self, net: Layers) -> PyTree:
        """The neurons of the riders' layer as riders: with their own weights, leading axis."""
        layer = net[self.layer - 1]
        if self.layer == self.depth:
            return layer
        return layer | {"outgoing": net[self.layer]["embedding"].T}

    def _drive(self, layer, below, index: int):
        return self._drive_of(self._constrain(layer), below, index)

    def _drive_of(self, weights, below, index: int):
        scale = 1.0 if index == 0 else 1 / math.sqrt(self.hidden[index - 1])
        drive = scale * (weights["embedding"] @ below)
        return drive + weights["bias"] if "bias" in weights else drive

    def _above(self, net, z, index: int):
        """`f` as a function of the drives of the layer `index` (from 0)."""
        phi = self.neuron.model.activation(z)
        for higher in range(index + 1, self.depth):
            phi = self.neuron.model.activation(self._drive(net[higher], phi, higher))
        return self._mean(net, phi)

    def _mean(self, net, phi):
        return phi @ self._constrain(net[-1])["readout"] / self.size(net)

    def _constrain(self, weights):
        """Coordinates as weights; a population at once, as the laws are those of entries."""
        priors = {path: self.priors[path] for path in weights}
        return Coordinates(dict(weights), priors, {}, {}).constrain(weights)

    def _coordinates(self, index: int) -> Coordinates:
        """Of one neuron of the layer `index` (from 0)."""
        fan = self.neuron.model.embedding.shape if index == 0 else (self.hidden[index - 1],)
        shapes = {"embedding": fan, "bias": ()}
        if index + 1 == self.depth:
            shapes["readout"] = self.neuron.model.readout.shape
        return self._of(shapes)

    def _rider_coordinates(self, width: int) -> Coordinates:
        one = self._coordinates(self.layer - 1)
        if self.layer == self.depth:
            return one
        above = (*self.hidden, width)[self.layer]
        shapes = {path: leaf.shape for path, leaf in one.base.items()}
        return self._of(shapes | {"outgoing": (above,)})

    def _of(self, shapes) -> Coordinates:
        dtype = self.neuron.model.readout.dtype
        base = {p: jnp.zeros(shape, dtype) for p, shape in shapes.items() if p in self.priors}
        return Coordinates(base, {path: self.priors[path] for path in base}, {}, {})


@typed
class Frozen(AbstractEnsemble):
    """The last layer of a `Layered` net above given layers, which stay as they are.

    Given the layers below, the neurons of the last layer meet in the residual alone, as those of
    one hidden layer do: a fixed point of independent neurons, so that riders and neurons have one
    law. The nets and riders of this problem are those of the last layer.

    Args:
        below: The net whose layers below are kept.
        target: That of the problem.
        measure: That of the problem.
        temperature: That of the problem.
    """

    problem: Layered
    below: Layers
    target: PyTree
    measure: AbstractMeasure
    temperature: Float[Array, ""]

    def __init__(self, problem: Layered, net: Layers):
        if len(net) != problem.depth:
            raise DeclarationError(
                "net",
                got=f"{len(net)} layers",
                expected=f"a net of {problem.depth} layers",
                mend="pass `train(problem, ...).net`",
            )
        self.problem, self.below = problem.riding(problem.depth), net[:-1]
        self.target, self.measure = problem.target, problem.measure
        self.temperature = problem.temperature

    def draw_net(self, key, width):
        return population(self.problem._coordinates(self.problem.depth - 1), key, width)

    def draw_riders(self, key, count, width):
        return self.draw_net(key, count)

    def size(self, net):
        return net["readout"].shape[0]

    def output(self, net, x):
        return self.problem.output((*self.below, net), x)

    def couple(self, net, rider, x):
        return self.problem.couple((*self.below, net), rider, x)

    def log_prior(self, net):
        return jnp.sum(jax.vmap(self.log_prior_rider)(net))

    def log_prior_rider(self, rider):
        return self.problem.log_prior_rider(rider)
