"""A net of four heads with tasks of known size: linear, two parities, and labels at random."""

import itertools
from typing import Annotated, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..compile import Gibbs, compile
from ..core import Count, Key, Model, typed, whole
from ..declare import Empirical, Independent, Normal, SquaredError
from ._arguments import Above

BITS = 6
PLANTED_HEADS = ("linear", "3-parity", "5-parity", "random labels")


class HeadedNet(eqx.Module):
    """`f(x) = a tanh(W x + b)`, one output for each head; with two layers `a tanh(V tanh(...))`."""

    weight: Float[Array, "hidden bit"]
    bias: Float[Array, " hidden"]
    inner: Float[Array, "hidden hidden"] | None
    readout: Float[Array, "head hidden"]

    def __call__(self, x: Float[Array, " bit"]) -> Float[Array, " head"]:
        units = jnp.tanh(self.weight @ x + self.bias)
        if self.inner is not None:
            units = jnp.tanh(self.inner @ units)
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
    x: Float[np.ndarray, "input bit"]
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
        return jnp.mean(self.outputs(model) * self.y, axis=0)

    def losses(self, model: Model) -> Float[Array, " head"]:
        """`½ mean (f - y)²` of each head: ½ for the function 0."""
        return 0.5 * jnp.mean((self.outputs(model) - self.y) ** 2, axis=0)

    def accuracies(self, model: Model) -> Float[Array, " head"]:
        """The share of inputs on which each head has the right sign."""
        return jnp.mean(self.outputs(model) * self.y > 0, axis=0)


@typed
def planted_net(
    hidden: Count = 24, *, layers: Annotated[int, whole(1, 2)] = 1, scale: Above = 1.0, key: Key
) -> PlantedNet:
    """A tanh net whose heads share hidden units and differ in the size of their tasks.

    Args:
        hidden: Units of each layer.
        layers: Hidden layers.
        scale: Factor of the standard deviations of all priors.
        key: For the random labels and the weights of the model.
    """
    x = np.array(list(itertools.product([-1.0, 1.0], repeat=BITS)))
    key_labels, *keys = jax.random.split(key, 5)
    labels = np.repeat([-1.0, 1.0], 32)[np.asarray(jax.random.permutation(key_labels, 64))]
    y = np.stack([x[:, 0], x[:, :3].prod(1), x[:, :5].prod(1), labels], axis=1)
    narrow = 1 / float(np.sqrt(hidden))
    shapes = {
        "weight": (scale, (hidden, BITS)),
        "bias": (0.8 * scale, (hidden,)),
        "inner": (2 * scale * narrow, (hidden, hidden)),
        "readout": (2.5 * scale * narrow, (len(PLANTED_HEADS), hidden)),
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


@typed
def planted_kernel(net: PlantedNet, *, nodes: Count = 60) -> Float[np.ndarray, "input input"]:
    """The prior covariance of one head in the limit of infinite width, by Gauss-Hermite quadrature.

    `theory.linear_survival` of its eigenvalues is the survival of a head of infinite width.

    Args:
        net: Its inputs and its prior scales.
        nodes: Of the quadrature along each of two directions.
    """
    laws = net.prior.by_pattern.items()
    scales = {name: float(law.scale) for name, law in laws if isinstance(law, Normal)}
    hidden = net.model.readout.shape[1]
    covariance = scales["weight"] ** 2 * net.x @ net.x.T + scales["bias"] ** 2
    kernel = _tanh_kernel(covariance, nodes)
    if net.model.inner is not None:
        kernel = _tanh_kernel(hidden * scales["inner"] ** 2 * kernel, nodes)
    return hidden * scales["readout"] ** 2 * kernel


def _tanh_kernel(covariance: np.ndarray, nodes: int) -> np.ndarray:
    """`E[tanh(u) tanh(v)]` of Gaussians of these covariances."""
    place, weight = np.polynomial.hermite_e.hermegauss(nodes)
    weight = weight / weight.sum()
    # all inputs have one norm, so that all variances are equal
    variance = covariance[0, 0]
    out = np.empty_like(covariance)
    for shared in np.unique(covariance.round(12)):
        cosine = np.clip(shared / variance, -1, 1)
        u = np.tanh(variance**0.5 * place)
        turned = cosine * place[:, None] + np.sqrt(1 - cosine**2) * place[None, :]
        v = np.tanh(variance**0.5 * turned) @ weight
        out[np.isclose(covariance, shared, rtol=0, atol=1e-11)] = np.sum(weight * u * v)
    return out
