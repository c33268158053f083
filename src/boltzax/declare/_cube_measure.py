"""The uniform probability measure on the cube {-1, +1}^dim, and its basis of parities."""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core import Count, DeclarationError, Said, typed, whole
from ._basis import AbstractBasis, floating
from ._measure import AbstractMeasure

LARGEST = 16
"""The largest dimension in which all corners are enumerated."""


@typed
class WalshBasis(AbstractBasis):
    """chi_S(x) = Π_{i in S} x_i over subsets S of the coordinates, sorted by size.

    Orthonormal for the uniform measure on {-1, +1}^dim. The basis has 2^dim functions; the degree
    of chi_S is |S| (O'Donnell 2014, Analysis of Boolean Functions, ch. 1).
    """

    axes: int = eqx.field(static=True)

    @property
    def dim(self):
        return self.axes

    def evaluate(self, x, count):
        return jnp.prod(jnp.where(self._subsets(count), x, 1.0), axis=1)

    def projector(self, count, order=None):
        self._subsets(count)
        # every corner is a node, so `order` is not used
        points = floating(corners(self.axes, "coefficients"))
        values = jax.vmap(lambda x: self.evaluate(x, count))(points)
        return points, values / points.shape[0]

    def degrees(self, count):
        return self._subsets(count).sum(axis=1)

    def labels(self, count):
        rows = self._subsets(count)
        return tuple(" ".join(f"x_{i}" for i in np.flatnonzero(row)) or "1" for row in rows)

    def _subsets(self, count: int) -> np.ndarray:
        """Membership of the first `count` subsets, `[count, dim]`."""
        most = Said(mend=f"ask for at most all 2^{self.axes} parities")
        return subsets(self.axes, most.of(whole(1, 2**self.axes)).check("count", count))


@typed
class CubeMeasure(AbstractMeasure):
    """The uniform probability measure on {-1, +1}^dim.

    The nodes are all 2^dim corners, so every integral is exact, up to dim 16. Above that `nodes`
    and `integrate` raise. Use a sample instead:
    `Empirical(CubeMeasure(40).sample(key, 4096)).normalized()`.

    Args:
        dim: Length of one datum.
        axes: The length of one datum, `dim`.
    """

    axes: int = eqx.field(static=True)

    def __init__(self, dim: Count = 1):
        self.axes = dim

    @property
    def signed(self):
        return False

    def nodes(self):
        points = corners(self.axes, "integrals")
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
        """The parities, sorted by the number of coordinates that they multiply."""
        return WalshBasis(self.axes)


@functools.lru_cache(maxsize=32)
def subsets(dim: int, count: int) -> np.ndarray:
    """Membership of the first `count` subsets of range(dim), [count, dim]."""
    graded = itertools.chain.from_iterable(
        itertools.combinations(range(dim), size) for size in range(dim + 1)
    )
    rows = np.zeros((count, dim), dtype=bool)
    for row, subset in zip(rows, graded, strict=False):
        row[list(subset)] = True
    return rows


@functools.lru_cache(maxsize=16)
def corners(dim: int, purpose: str) -> np.ndarray:
    """The 2^dim corners, [2^dim, dim], in binary order from (+1, ..., +1).

    Raises:
        DeclarationError: If `dim` is above 16.
    """
    if dim > LARGEST:
        raise DeclarationError(
            "dim",
            got=f"{purpose} over the 2^{dim} corners of CubeMeasure(dim={dim})",
            expected=f"dim <= {LARGEST}, where all corners are enumerated",
            mend="draw a sample, `Empirical(measure.sample(key, count)).normalized()`, and "
            "integrate over it; wrap the Empirical in `Subsampled` for minibatches",
        )
    bits = (np.arange(2**dim)[:, None] >> np.arange(dim)) & 1
    return 1.0 - 2.0 * bits
