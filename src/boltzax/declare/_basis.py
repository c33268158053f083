"""Orthonormal bases: the abstract class, quadrature, and finite expansions."""

import abc
import functools
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ..core import (
    PIECE_MEMORY,
    Constraint,
    Count,
    DeclarationError,
    Refused,
    given_numbers,
    known,
    numbers,
    share,
    stored_bytes,
    typed,
)


@typed
class AbstractBasis(eqx.Module):
    """Functions phi_0, phi_1, ... of one datum with ∫ phi_j phi_k dmu = 1 if j = k, else 0.

    phi_0 = 1, and degrees do not decrease along the basis. Methods take the number of functions as
    `count`, a static integer. A datum `x` has shape (dim,), also for dim = 1. `measure.basis()`
    builds the basis of a measure.
    """

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Length of one datum."""

    @abc.abstractmethod
    def evaluate(self, x: Float[Array, " dim"], count: Count) -> Float[Array, " count"]:
        """The values phi_0(x), ..., phi_{count-1}(x) at one datum."""

    @abc.abstractmethod
    def projector(
        self, count: Count, order: Count | None = None
    ) -> tuple[Float[Array, "node dim"], Float[Array, "node count"]]:
        """Nodes x_i and a matrix B with Σ_i B[i, k] f(x_i) = ∫ f phi_k dmu.

        Neither depends on `f`, so they can be computed once and used for many functions.

        Args:
            count: Number of basis functions.
            order: Nodes on each axis. The default integrates products of two basis functions
                exactly.
        """

    @abc.abstractmethod
    def degrees(self, count: Count) -> Int[np.ndarray, " count"]:
        """Degree of each function: of the polynomial, the frequency, or the size of the parity."""

    @abc.abstractmethod
    def labels(self, count: Count) -> tuple[str, ...]:
        """Name of each function, such as `he_3`."""

    def coefficients(
        self, fn: Callable, count: Count, order: Count | None = None
    ) -> PyTree[Float[Array, "..."]]:
        """The coefficients c_k = ∫ fn phi_k dmu for k < count, by the quadrature of `projector`.

        For an `fn` that is smooth on the scale of the nodes, the absolute error is the rounding
        error of the dtype times the size of `fn`. Coefficients below 1e-16 need
        `analytic_coefficients`, which some bases have. For an `fn` with kinks or jumps the error is
        a power of the distance between nodes. Small coefficients can then be wrong by any factor.
        Without `order`, coefficients are also computed with about 1.5 times as many nodes, and the
        two results are compared. With `order`, and inside `jax.jit` or `jax.vmap`, there is no such
        check: compare two orders. Parseval: Σ_k c_k² -> ∫ fn² dmu as count grows.

        Args:
            fn: Maps one datum (dim,) to an array or a pytree of arrays.
            count: Number of coefficients.
            order: Nodes on each axis; switches the check off.

        Returns:
            Each leaf with a leading axis, `[count, *out]`.

        Raises:
            DeclarationError: Without `order`, if the two results differ by more than 1e-9 of the
                integral of `|fn|` (1e-6 in more than one dimension, 1e-4 in float32).
        """
        points, matrix = self.projector(count, order)
        coefficients = integrate_nodes(fn, points, matrix.T)
        if order is None and known(coefficients):
            self._check_converged(fn, coefficients, points, matrix)
        return coefficients

    def _check_converged(
        self, fn: Callable, coefficients: PyTree, points: Array, matrix: Array
    ) -> None:
        """Compare coefficients with those of a rule with more nodes."""
        count, axis = matrix.shape[1], round(len(points) ** (1 / self.dim))
        finer = 3 * axis // 2 + 1 if self.dim <= 3 else int(self.degrees(count)[-1]) + 3
        fine_points, fine_matrix = self.projector(count, finer)
        if fine_points.shape == points.shape:
            return  # an exact sum, or a rule without orders
        fine = integrate_nodes(fn, fine_points, fine_matrix.T)
        size = integrate_nodes(
            lambda x: jax.tree.map(jnp.abs, fn(x)), points, jnp.abs(matrix[:, :1]).T
        )
        single = jnp.result_type(float) == jnp.float32
        allowed = 1e-4 if single else 1e-9 if self.dim == 1 else 1e-6
        for here, there, total in zip(
            *map(jax.tree.leaves, (coefficients, fine, size)), strict=True
        ):
            change = float(jnp.max(jnp.abs(here - there), initial=0.0))
            scale = float(jnp.max(total, initial=0.0))
            if change > allowed * scale:
                raise DeclarationError(
                    "fn",
                    got=f"coefficients that change by {change:.2g}, of {scale:.2g}, from "
                    f"{len(points)} nodes to {len(fine_points)}",
                    expected="a function without kinks or jumps, smooth on the scale of the nodes",
                    mend="pass order=, the nodes on each axis, and compare two orders: the error "
                    "at a kink decays as order^-2, at a jump as 1/order",
                )

    def reconstruct(self, coefficients: Float[Array, "count *out"]) -> "Expansion":
        """The function x -> Σ_k c_k phi_k(x): a callable pytree that holds the coefficients."""
        return Expansion(self, coefficients)


class Expansion(eqx.Module):
    """The function x -> Σ_k c_k phi_k(x) of one datum."""

    basis: AbstractBasis
    coefficients: Float[Array, "count *out"]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "*out"]:
        values = self.basis.evaluate(x, self.coefficients.shape[0])
        return jnp.tensordot(values, self.coefficients, axes=1, precision="highest")


def integrate_nodes(
    fn: Callable, points: PyTree, weights: Array, *, memory: int = PIECE_MEMORY
) -> PyTree:
    """Σ_i weights[..., i] fn(points[i]), leaf by leaf, in full precision on every device.

    If the intermediate values of all points take more than `memory` bytes, the points are summed in
    pieces, and a gradient recomputes each piece. Memory then does not grow with the number of
    points. The points of a piece are taken at equal strides, so every piece is sharded over devices
    as the points are.

    Raises:
        DeclarationError: For a function that returns no arrays.
    """
    given, fn = fn, lambda point: given_numbers("fn", given(point))
    n = weights.shape[-1]
    pieces = 1
    if n > 16:
        point = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), points)
        size = stored_bytes(lambda z: jax.tree.map(jnp.asarray, fn(z)), point)
        pieces = -(-n // share(n, memory // max(1, size)))
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


def _summed(fn: Callable, points: PyTree, weights: Array) -> PyTree:
    values = jax.vmap(lambda z: jax.tree.map(widened, fn(z)))(points)
    return jax.tree.map(lambda v: jnp.tensordot(weights, v, axes=1, precision="highest"), values)


def _real(values: Any) -> Any:
    array = numbers(values, None, host=not isinstance(values, Array))
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        raise Refused
    return values


REAL = Constraint(
    "real numbers",
    "pass a number or an array; for complex numbers pass the real part or the modulus",
    _real,
)


def floating(array: object, argument: str = "value") -> Array:
    """An array in the default float dtype: float64 exactly when `jax_enable_x64` is on.

    Args:
        array: Real numbers.
        argument: The name of the argument, for the error.

    Raises:
        DeclarationError: For complex numbers, which would lose their imaginary part, and for masked
            arrays, which would lose their mask.
    """
    REAL.check(argument, array)
    return jnp.asarray(array, dtype=jnp.result_type(float))


def widened(value: object) -> Array:
    """An array in the default float dtype or a wider one, for sums over it."""
    array = jnp.asarray(value)
    with jax.numpy_dtype_promotion("standard"):  # also if the process forbids promotion
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
    """The multi-indices of one total degree, sorted by the first coordinate, largest first."""
    if dim == 1:
        yield (degree,)
        return
    for first in range(degree, -1, -1):
        for rest in of_degree(dim - 1, degree - first):
            yield (first, *rest)
