"""A net of four heads with tasks of known size: linear, two parities, and labels at random."""

import itertools
import math
from typing import Annotated, TypeAlias, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..compile import Gibbs, compile
from ..core import Count, DeclarationError, Fraction, Key, Model, typed, whole
from ..declare import Empirical, Independent, Normal, SquaredError, tap
from ..theory import linear_temperature
from ._arguments import Above

Tasks: TypeAlias = tuple[Float[np.ndarray, "input feature"], Float[np.ndarray, "input head"]]
BITS = 6
REACH = 9.0
"""Standard deviations to which Gaussians are integrated."""
STEP = 0.4
"""Longest step of the quadrature, times the slope of the tanh: the error is below 1e-10."""
NODES = 2000
"""Most nodes of the quadrature along a direction."""
PLANTED_HEADS = ("linear", "3-parity", "5-parity", "random labels")


class HeadedNet(eqx.Module):
    """`f(x) = a tanh(W x + b)`, one output for each head; with two layers `a tanh(V tanh(...))`.

    Its places are `preactivations` and, with two layers, `inner_preactivations`, and `units`, the
    last hidden layer.
    """

    weight: Float[Array, "hidden feature"]
    bias: Float[Array, " hidden"]
    inner: Float[Array, "hidden hidden"] | None
    readout: Float[Array, "head hidden"]

    def __call__(self, x: Float[Array, " feature"]) -> Float[Array, " head"]:
        units = jnp.tanh(tap(self.weight @ x + self.bias, "preactivations"))
        if self.inner is not None:
            units = jnp.tanh(tap(self.inner @ units, "inner_preactivations"))
        units = tap(units, "units")
        return self.readout @ units


@typed
@final
class PlantedNet(eqx.Module):
    """A net, the four tasks of its heads on all inputs of 6 bits, and how far a model does them.

    Args:
        model: The net at the weights of `key`, with the shapes of all its models.
        x: All 64 inputs, of ±1.
        y: Targets of ±1: `x_0`; `x_0 x_1 x_2`; `x_0 x_1 x_2 x_3 x_4`; 32 ones and 32 minus ones in
            random order.
        prior: `W ~ N(0, 1)`, `b ~ N(0, 0.8²)`, readouts `N(0, 2.5²/hidden)`; the inner weights of
            two layers `N(0, 2²/hidden)`.
    """

    model: Model
    x: Float[np.ndarray, "input feature"]
    y: Float[np.ndarray, "input head"]
    prior: Independent

    @property
    def energy(self) -> SquaredError:
        """`½ Σ_x Σ_heads (f - y)²`; 128 for the function 0."""
        return SquaredError(self.model, Empirical((self.x, self.y)))

    def gibbs(self, marginalise: bool = True) -> Gibbs:
        """The Gibbs measure at `T = 1/beta = 1`, the readouts integrated out or sampled."""
        return compile(self.energy, self.prior, marginalise=marginalise)

    def outputs(self, model: Model) -> Float[Array, "input head"]:
        """The outputs of a model on all inputs."""
        return jax.vmap(model)(jnp.asarray(self.x))

    def overlaps(self, model: Model) -> Float[Array, " head"]:
        """`f·y/|y|²` of each head: 1 where the task is done, 0 in the mean over the prior."""
        return jnp.mean(self.outputs(model) * self.y, axis=0) / jnp.mean(self.y**2, axis=0)

    def losses(self, model: Model) -> Float[Array, " head"]:
        """`½ mean (f - y)²` of each head: ½ for the function 0."""
        return 0.5 * jnp.mean((self.outputs(model) - self.y) ** 2, axis=0)

    def accuracies(self, model: Model) -> Float[Array, " head"]:
        """The share of inputs on which each head has the right sign."""
        return jnp.mean(self.outputs(model) * self.y > 0, axis=0)


@typed
def planted_net(
    hidden: Count = 24,
    *,
    layers: Annotated[int, whole(1, 2)] = 1,
    scale: Above = 1.0,
    data: Tasks | None = None,
    key: Key,
) -> PlantedNet:
    """A tanh net whose heads share hidden units and differ in the size of their tasks.

    Args:
        hidden: Units of each layer.
        layers: Hidden layers.
        scale: Factor of the standard deviations of all priors.
        data: Inputs `[input, feature]` and targets `[input, head]` of your own, in place of the
            planted tasks.
        key: For the random labels and the weights of the model.
    """
    key_labels, *keys = jax.random.split(key, 5)
    x, y = _tasks(key_labels) if data is None else data
    narrow = 1 / float(np.sqrt(hidden))
    shapes = {
        "weight": (scale, (hidden, x.shape[1])),
        "bias": (0.8 * scale, (hidden,)),
        "inner": (2 * scale * narrow, (hidden, hidden)),
        "readout": (2.5 * scale * narrow, (y.shape[1], hidden)),
    }
    if layers == 1:
        shapes.pop("inner")
    drawn = {
        name: sd * jax.random.normal(k, shape)
        for k, (name, (sd, shape)) in zip(keys, shapes.items(), strict=False)
    }
    model = HeadedNet(drawn["weight"], drawn["bias"], drawn.get("inner"), drawn["readout"])
    prior = Independent({name: Normal(0.0, sd) for name, (sd, _) in shapes.items()})
    return PlantedNet(model, x, y, prior)


def _tasks(key: Key) -> tuple[np.ndarray, np.ndarray]:
    x = np.array(list(itertools.product([-1.0, 1.0], repeat=BITS)))
    labels = np.repeat([-1.0, 1.0], 32)[np.asarray(jax.random.permutation(key, 64))]
    return x, np.stack([x[:, 0], x[:, :3].prod(1), x[:, :5].prod(1), labels], axis=1)


@typed
def planted_kernel(net: PlantedNet, *, nodes: Count = 240) -> Float[np.ndarray, "input input"]:
    """The prior covariance of one head in the limit of infinite width, by quadrature.

    `theory.linear_survival` of its eigenvalues is the survival of a head of infinite width. The
    planted inputs all have one norm; others must have one too, up to the rounding of their numbers.

    Args:
        net: Its inputs and its prior scales.
        nodes: Of the quadrature along each of two directions, at least: more are taken where
            preactivations are so wide that the tanh is nearly a step.

    Raises:
        DeclarationError: For inputs of several norms, and preactivations too wide for the
            quadrature.
    """
    x = net.x.astype(float)
    squares = np.sum(x**2, axis=1)
    rounding = max(1e-9, 16 * float(np.finfo(net.x.dtype).eps))
    if np.ptp(squares) > rounding * np.max(squares):
        raise DeclarationError(
            "net",
            got="inputs of several norms",
            expected="inputs of one norm",
            mend="divide each by its norm",
        )
    laws = net.prior.by_pattern.items()
    scales = {name: float(law.scale) for name, law in laws if isinstance(law, Normal)}
    hidden = net.model.readout.shape[1]
    x *= np.sqrt(np.mean(squares) / np.where(squares > 0, squares, 1.0))[:, None]
    covariance = scales["weight"] ** 2 * x @ x.T + scales["bias"] ** 2
    kernel = _tanh_kernel(covariance, nodes)
    if net.model.inner is not None:
        kernel = _tanh_kernel(hidden * scales["inner"] ** 2 * kernel, nodes)
    return hidden * scales["readout"] ** 2 * kernel


@typed
def planted_temperatures(net: PlantedNet, level: Fraction = 0.5) -> Float[np.ndarray, " head"]:
    """Where each head dies in the limit of infinite width: `theory.linear_temperature`.

    Its eigenvalues are those of `planted_kernel`, and the powers of a head `(v_i·y)²`.

    Args:
        net: Its tasks and its prior scales.
        level: Survival at which a head counts as dead.

    Raises:
        DeclarationError: For inputs of several norms.
    """
    values, vectors = np.linalg.eigh(planted_kernel(net))
    powers = (vectors.T @ net.y) ** 2
    return np.array([linear_temperature(np.maximum(values, 0), c, level) for c in powers.T])


def _tanh_kernel(covariance: np.ndarray, nodes: int) -> np.ndarray:
    """`E[tanh(u) tanh(v)]` of Gaussians of these covariances."""
    # equal steps: the error falls as exp(-2π·strip/step), where Gauss-Hermite is slow
    variance = covariance[0, 0]
    nodes = max(nodes, math.ceil(2 * REACH * variance**0.5 / STEP) + 1)
    if nodes > NODES:
        raise DeclarationError(
            "net",
            got=f"preactivations of standard deviation {variance**0.5:.3g}",
            expected=f"at most {STEP * (NODES - 1) / (2 * REACH):.3g}: beyond, the tanh is a step, "
            "which the quadrature does not resolve",
            mend="lower the scale of the prior, or the norm of the inputs",
        )
    place = np.linspace(-REACH, REACH, nodes)
    weight = np.exp(-0.5 * place**2)
    weight = weight / weight.sum()
    u = np.tanh(variance**0.5 * place)
    cosines, which = np.unique((covariance / variance).round(12), return_inverse=True)
    means = np.empty_like(cosines)
    for i, cosine in enumerate(np.clip(cosines, -1, 1)):
        turned = cosine * place[:, None] + np.sqrt(1 - cosine**2) * place[None, :]
        means[i] = np.sum(weight * u * (np.tanh(variance**0.5 * turned) @ weight))
    return means[which].reshape(covariance.shape)
