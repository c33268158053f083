"""The uniform probability measure on the cube {-1, +1}^dim."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from boltzax.core import Count, DeclarationError, typed

from ._basis import floating
from ._measure import AbstractMeasure
from ._walsh import LARGEST, WalshBasis, corners


@typed
class CubeMeasure(AbstractMeasure):
    """The uniform probability measure on {-1, +1}^dim.

    Nodes: all 2^dim corners, so every integral is exact, up to dim 16; past that `nodes` and
    `integrate` raise, and a seeded sample takes their place:
    `Empirical(CubeMeasure(40).sample(key, 4096)).normalized()`.
    """

    axes: int = eqx.field(static=True)

    def __init__(self, dim: Count = 1):
        self.axes = dim

    @property
    def signed(self):
        return False

    def nodes(self):
        if self.axes > LARGEST:
            raise DeclarationError(
                "dim",
                got=f"the 2^{self.axes} corners of CubeMeasure(dim={self.axes})",
                expected=f"dim <= {LARGEST} wherever an integral is enumerated",
                mend="draw a seeded sample, `Empirical(measure.sample(key, count)).normalized()`, "
                "and put `Subsampled` around the Empirical for minibatches",
            )
        points = corners(self.axes)
        return floating(points), floating(np.full(len(points), 1 / len(points)))

    def estimate(self, fn, key):
        return self.integrate(fn)

    def sample(self, key, count):
        return jax.random.rademacher(key, (count, self.axes), dtype=jnp.result_type(float))

    @property
    def mass(self):
        return floating(1.0)

    @property
    def datum(self):
        return jax.ShapeDtypeStruct((self.axes,), jnp.result_type(float))

    def basis(self):
        """Parities, graded by how many coordinates they multiply."""
        return WalshBasis(self.axes)
