"""Parities, orthonormal on the cube."""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from boltzax.core import DeclarationError, Said, typed, whole

from ._basis import AbstractBasis, floating

LARGEST = 16
"""The largest dimension whose corners are enumerated."""


@typed
class WalshBasis(AbstractBasis):
    """chi_S(x) = Π_{i in S} x_i over subsets S of the coordinates: by size, then in order.

    Orthonormal for the uniform measure on {-1, +1}^dim; all 2^dim of them are a basis. The degree
    of chi_S is |S| (O'Donnell 2014, Analysis of Boolean Functions, ch. 1).
    """

    axes: int = eqx.field(static=True)

    @property
    def dim(self):
        return self.axes

    def evaluate(self, x, count):
        return jnp.prod(jnp.where(subsets(self.axes, self._checked(count)), x, 1.0), axis=1)

    def projector(self, count, order=None):
        self._checked(count)
        if self.axes > LARGEST:
            raise DeclarationError(
                "dim",
                got=f"coefficients on a cube with 2^{self.axes} corners",
                expected=f"dim <= {LARGEST}, where they are summed exactly",
                mend="estimate ∫ f chi_S over a seeded sample: "
                "`Empirical(measure.sample(key, n)).normalized().integrate(...)`",
            )
        # every corner is a node: `order` has nothing to refine
        points = floating(corners(self.axes))
        values = jax.vmap(lambda x: self.evaluate(x, count))(points)
        return points, values / points.shape[0]

    def degrees(self, count):
        return subsets(self.axes, self._checked(count)).sum(axis=1)

    def labels(self, count):
        rows = subsets(self.axes, self._checked(count))
        return tuple(" ".join(f"x_{i}" for i in np.flatnonzero(row)) or "1" for row in rows)

    def _checked(self, count: int) -> int:
        most = Said(mend=f"ask for at most all 2^{self.axes} parities")
        return most.of(whole(1, 2**self.axes)).check("count", count)


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
def corners(dim: int) -> np.ndarray:
    """The 2^dim corners, [2^dim, dim], in binary order from (+1, ..., +1)."""
    bits = (np.arange(2**dim)[:, None] >> np.arange(dim)) & 1
    return 1.0 - 2.0 * bits
