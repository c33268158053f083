"""Orthonormal bases: the interface, its checks and finite expansions."""

import abc
import functools
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from boltzax.core import (
    Constraint,
    Count,
    DeclarationError,
    Refused,
    known,
    numbers,
    share,
    stored_bytes,
    typed,
)


@typed
class AbstractBasis(eqx.Module):
    """Functions phi_0, phi_1, ... of one datum with ∫ phi_j phi_k dmu = 1 if j = k, else 0.

    phi_0 = 1, and degrees never decrease along the basis. A finite number of functions is always
    asked for by `count`, a static integer. A datum `x` is one vector, of shape (dim,) also when
    dim = 1. Concrete bases are built by `measure.basis()`.
    """

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Length of one datum."""

    @abc.abstractmethod
    def evaluate(self, x: Float[Array, " dim"], count: Count) -> Float[Array, " count"]:
        """phi_0(x), ..., phi_{count-1}(x) at one datum."""

    @abc.abstractmethod
    def projector(
        self, count: Count, order: Count | None = None
    ) -> tuple[Float[Array, "node dim"], Float[Array, "node count"]]:
        """Points x_i and a matrix B with Σ_i B[i, k] f(x_i) = ∫ f phi_k dmu.

        `order` is the number of nodes an axis; None takes enough for products of two basis
        functions to be exact, and more. Neither output depends on `f`, so a compiled loss can keep
        both and pay one matrix product for its coefficients.
        """

    @abc.abstractmethod
    def degrees(self, count: Count) -> Int[np.ndarray, " count"]:
        """Degree (polynomial, frequency or size of the parity) of each function."""

    @abc.abstractmethod
    def labels(self, count: Count) -> tuple[str, ...]:
        """Readable name of each function."""

    def coefficients(
        self, fn: Callable, count: Count, order: Count | None = None
    ) -> PyTree[Float[Array, "..."]]:
        """c_k = ∫ fn phi_k dmu for k < count, by the quadrature of `projector`.

        Absolute accuracy is that of the dtype times the size of `fn` where `fn` is smooth on the
        scale of the nodes: coefficients below 1e-16 need `analytic_coefficients`, where a basis has
        it. With kinks or jumps it is a power of the distance of nodes, and the tail of the
        coefficients is then wrong by any factor. So without `order` a second rule with half as many
        nodes again is computed, and what differs is refused. With `order`, and inside jit or vmap,
        nothing is checked: compare two orders.
        Parseval: Σ_k c_k² -> ∫ fn² dmu as count grows.

        Args:
            fn: Maps one datum (dim,) to an array or a pytree of arrays.
            count: Number of coefficients.
            order: Nodes an axis, without a check.

        Returns:
            Each leaf with a leading axis, `[count, *out]`.

        Raises:
            DeclarationError: Without `order`, if a coefficient changes by more than 1e-9 of the
                integral of `|fn|` (1e-6 in more than one dimension, 1e-4 in float32) from one rule
                to the other.
        """
        points, matrix = self.projector(count, order)
        found = integrate_nodes(fn, points, matrix.T)
        if order is None and known(found):
            self._settled(fn, found, points, matrix)
        return found

    def _settled(self, fn: Callable, found: PyTree, points: Array, matrix: Array) -> None:
        """Refuse coefficients that change with the nodes."""
        count, axis = matrix.shape[1], round(len(points) ** (1 / self.dim))
        finer = 3 * axis // 2 + 1 if self.dim <= 3 else int(self.degrees(count)[-1]) + 3
        others, weights = self.projector(count, finer)
        if others.shape == points.shape:
            return  # every point there is, or a rule without orders
        again = integrate_nodes(fn, others, weights.T)
        size = integrate_nodes(
            lambda x: jax.tree.map(jnp.abs, fn(x)), points, jnp.abs(matrix[:, :1]).T
        )
        single = jnp.result_type(float) == jnp.float32
        allowed = 1e-4 if single else 1e-9 if self.dim == 1 else 1e-6
        for one, two, total in zip(*map(jax.tree.leaves, (found, again, size)), strict=True):
            off = float(jnp.max(jnp.abs(one - two), initial=0.0))
            scale = float(jnp.max(total, initial=0.0))
            if off > allowed * scale:
                raise DeclarationError(
                    "fn",
                    got=f"coefficients that change by {off:.2g}, of {scale:.2g}, from "
                    f"{len(points)} nodes to {len(others)}",
                    expected="a function without kinks or jumps, smooth on the scale of the nodes",
                    mend="pass order=, as many nodes an axis as it takes, and compare two orders: "
                    "the error at a kink falls as order^-2, at a jump as 1/order",
                )

    def reconstruct(self, coefficients: Float[Array, "count *out"]) -> "Expansion":
        """The function x -> Σ_k c_k phi_k(x), itself a pytree with the coefficients as leaf."""
        return Expansion(self, coefficients)


class Expansion(eqx.Module):
    """A finite expansion in an orthonormal basis; call it at one datum."""

    basis: AbstractBasis
    coefficients: Float[Array, "count *out"]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "*out"]:
        values = self.basis.evaluate(x, self.coefficients.shape[0])
        return jnp.tensordot(values, self.coefficients, axes=1, precision="highest")


PIECE = 2**27
"""Bytes of intermediate values of the points that an integral looks at together."""


def integrate_nodes(fn: Callable, points: PyTree, weights: Array, *, memory: int = PIECE) -> PyTree:
    """Σ_i weights[..., i] fn(points[i]), leaf by leaf, in full precision on every device.

    Points whose intermediate values take more than `memory` bytes together are summed piece by
    piece; what a gradient needs of the other pieces is computed again. So the memory does not grow
    with the number of points, nor with the size of a model. A piece has points from all over, and
    so is split over devices as they are.
    """
    n = weights.shape[-1]
    pieces = 1 if n <= 16 else -(-n // share(n, memory // _point_bytes(fn, points)))
    if pieces == 1:
        return _summed(fn, points, weights)
    main = n // pieces * pieces

    def cut(leaf: Array) -> Array:
        return jnp.moveaxis(leaf[:main].reshape(-1, pieces, *leaf.shape[1:]), 1, 0)

    @jax.checkpoint
    def part(points, weights):
        return _summed(fn, points, jnp.moveaxis(weights, 0, -1))

    def add(total, piece):
        return jax.tree.map(jnp.add, total, part(*piece)), None

    parts = jax.tree.map(cut, points), cut(jnp.moveaxis(weights, -1, 0))
    if main == n:
        shapes = jax.eval_shape(part, *jax.tree.map(lambda leaf: leaf[0], parts))
        rest = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    else:
        rest = _summed(fn, jax.tree.map(lambda leaf: leaf[main:], points), weights[..., main:])
    return jax.lax.scan(add, rest, parts)[0]


def _point_bytes(fn: Callable, points: PyTree) -> int:
    first = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), points)
    return max(1, stored_bytes(lambda z: jax.tree.map(jnp.asarray, fn(z)), first))


def _summed(fn: Callable, points: PyTree, weights: Array) -> PyTree:
    values = jax.vmap(lambda z: jax.tree.map(widened, fn(z)))(points)
    return jax.tree.map(lambda v: jnp.tensordot(weights, v, axes=1, precision="highest"), values)


def _real(values: Any) -> Any:
    held = numbers(values, None, host=not isinstance(values, Array))
    if jnp.issubdtype(held.dtype, jax.dtypes.prng_key):
        raise Refused
    return values


REAL = Constraint(
    "real numbers",
    "pass a number or an array; of complex numbers the real part or the modulus, whichever is "
    "meant",
    _real,
)


def floating(array: object, argument: str = "value") -> Array:
    """An array in the default float dtype: float64 exactly when `jax_enable_x64` is on.

    Args:
        array: Real numbers.
        argument: What they are, for the error.

    Raises:
        DeclarationError: For complex numbers, whose imaginary part would be dropped, and for masked
            arrays, whose mask would.
    """
    REAL.check(argument, array)
    return jnp.asarray(array, dtype=jnp.result_type(float))


def widened(value: object) -> Array:
    """An array in at least the precision of the process, for sums over it."""
    array = jnp.asarray(value)
    with jax.numpy_dtype_promotion("standard"):  # a sum in more digits is meant
        kind = jnp.promote_types(array.dtype, jnp.result_type(float))
    return array.astype(kind)


@functools.lru_cache(maxsize=64)
def graded_indices(dim: int, count: int) -> Int[np.ndarray, "count dim"]:
    """The first `count` multi-indices in `dim` variables by total degree, then x_0 first."""
    if dim == 1:
        return np.arange(count)[:, None]
    rows: list[tuple[int, ...]] = []
    degree = 0
    while len(rows) < count:
        rows.extend(of_degree(dim, degree))
        degree += 1
    return np.array(rows[:count])


def of_degree(dim: int, degree: int) -> Iterator[tuple[int, ...]]:
    """The multi-indices of one total degree, largest first coordinate first."""
    if dim == 1:
        yield (degree,)
        return
    for first in range(degree, -1, -1):
        for rest in of_degree(dim - 1, degree - first):
            yield (first, *rest)
