"""The toy model of superposition: more features than dimensions, and its polygons."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import Count, DeclarationError, Number, typed
from ..declare import AbstractEnergy, Empirical, SquaredError

NODES = 60
"""Of Gauss's rule along a feature."""
LONG = 0.5
"""Length of a column beyond which its feature is a corner."""
POSITIVE = 0.02
"""Bias beyond which a feature without a corner counts as having a positive one."""
SUPERPOSITION_PHASES = ("other", "4-gon", "5-gon", "5-gon, b > 0", "6-gon")


@typed
@final
class SuperpositionNet(eqx.Module):
    """`f(x) = relu(Wᵀ W x + b)`: an autoencoder of features through two dimensions.

    Args:
        embedding: `W`, whose columns are the places of the features in the plane.
        bias: `b`.
    """

    embedding: Float[Array, "2 feature"]
    bias: Float[Array, " feature"]

    def __call__(self, x: Float[Array, " feature"]) -> Float[Array, " feature"]:
        return jax.nn.relu(self.embedding.T @ (self.embedding @ x) + self.bias)

    @property
    def energy(self) -> AbstractEnergy:
        """`E |f(x) - x|²` over inputs with one active feature, uniform on [0, 1], by quadrature.

        It is 1/3 for the function 0, and that of a mean: `n` data are `beta = n`. Of Gauss's rule
        with 60 nodes along a feature; where the relu has a kink there, up to about 3e-4 of it are
        the rule's error.
        """
        features = self.bias.shape[0]
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        x = np.concatenate([np.outer((nodes + 1) / 2, row) for row in np.eye(features)])
        data = Empirical((x, x), weights=np.tile(weights / 2, features) / features)
        return 2 * SquaredError(self, data)

    @property
    def phase(self) -> Float[Array, " phase"]:
        """Which of `SUPERPOSITION_PHASES` the net is in, as a one-hot vector.

        Features whose columns are longer than 1/2 are corners; a 5-gon has a positive bias if
        another feature has one above 0.02. The mean over draws is the probability of each phase.
        """
        long = jnp.linalg.norm(self.embedding, axis=0) > LONG
        corners, positive = jnp.sum(long), jnp.any(~long & (self.bias > POSITIVE))
        number = jnp.select(
            [corners == 4, corners == 5, corners == 6], [1, jnp.where(positive, 3, 2), 4], 0
        )
        return jax.nn.one_hot(number, len(SUPERPOSITION_PHASES))


@typed
def superposition_polygon(
    corners: Count, features: Count = 6, *, bias: Number = -0.5
) -> SuperpositionNet:
    """A net next to the critical point at which some features are the corners of a polygon.

    Columns of corners have length 1.1 and biases of -0.3; the others are 0. A descent such as
    `bx.trained(net.energy, optax.lbfgs(), [1000])` comes to the critical point. For six features
    losses and local learning coefficients of these are known (Chen et al. 2023, arXiv:2310.06301):
    .06874 and 7 of the 5-gon, .06180 and 8.5 of the 5-gon with a positive bias, .04819 and 8.5 of
    the 6-gon.

    Args:
        corners: Features that are corners.
        features: All of them.
        bias: Of the features without a corner; from 0.1 a descent leads to a positive one.

    Raises:
        DeclarationError: For more corners than features.
    """
    if corners > features:
        raise DeclarationError(
            "corners",
            got=f"{corners} of {features} features",
            expected="at most the number of features",
            mend=f"pass corners={features}, or more features",
        )
    angle, own = 2 * jnp.pi * jnp.arange(features) / corners, jnp.arange(features) < corners
    columns = jnp.stack([jnp.cos(angle), jnp.sin(angle)]) * own
    return SuperpositionNet(1.1 * columns, jnp.where(own, -0.3, bias))
