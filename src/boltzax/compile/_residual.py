"""Squared losses as rows of residuals: `E = ½ Σ_r residual_r(w)²`, in three forms."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core import (
    PIECE_MEMORY,
    at_hand,
    at_once,
    full_products,
    known,
    path_name,
    share,
    with_weights,
    working_bytes,
)
from ..declare import SquaredError
from ..numerics import Split
from ._potential import AbstractLowered


class AbstractResidual(AbstractLowered):
    """A squared loss `E = ½ Σ_z |scale_z residual(w, z)|²` over rows `z`, each residual `[out]`.

    In a basis the scaled residuals are projected to coefficients first: `E = ½ |B r|²`.
    """

    rows: eqx.AbstractVar[PyTree]
    scale: eqx.AbstractVar[Float[Array, " row"]]

    @abc.abstractmethod
    def output(self, weights: dict[str, Array], z: PyTree) -> Float[Array, " out"]:
        """The output of the model in one row; `row` is this output less the target."""

    @abc.abstractmethod
    def row(self, weights: dict[str, Array], z: PyTree) -> Float[Array, " out"]:
        """The unscaled residual of one row."""

    @abc.abstractmethod
    def project(self, scaled: Float[Array, "row *rest"]) -> Float[Array, "coefficient *rest"]:
        """The coefficients of scaled rows; the rows themselves if there is no basis."""

    def residuals(self, weights: dict[str, Array]) -> Float[Array, " residual"]:
        """All scaled residuals: `E = ½ Σ residuals²`."""
        rows = jax.vmap(lambda z: self.row(weights, z))(self.rows)
        return self.project(rows * self.scale[:, None]).reshape(-1)

    def jacobian(
        self, weights: dict[str, Array], over: dict[str, Array]
    ) -> Float[Array, "residual weight"]:
        """Derivative of the scaled residuals by the (flattened) weights `over`."""

        def of_row(z):
            jac = jax.jacrev(lambda part: self.row(weights | part, z))(over)
            return jnp.concatenate(
                [jac[path].reshape(jac[path].shape[0], -1) for path in over], axis=-1
            )

        matrix = jax.vmap(of_row)(self.rows) * self.scale[:, None, None]
        return self.project(matrix).reshape(-1, matrix.shape[-1])

    def value(self, weights: dict[str, Array]) -> Float[Array, ""]:
        return 0.5 * jnp.sum(self.residuals(weights) ** 2)

    def estimate(self, weights: dict[str, Array], key: PRNGKeyArray) -> Float[Array, ""]:
        return self.value(weights)

    def outputs(self, weights: dict[str, Array]) -> Float[Array, "row out"]:
        """The outputs of the model in all rows."""
        return jax.vmap(lambda z: self.output(weights, z))(self.rows)

    @full_products()
    @at_once
    def anchor(self, reference: dict[str, Array]) -> PyTree:
        return self.outputs(reference), self.residuals(reference)

    def difference(self, weights: dict[str, Array], anchor: PyTree) -> Float[Array, ""]:
        outputs, residuals = anchor
        moved = self.project((self.outputs(weights) - outputs) * self.scale[:, None]).reshape(-1)
        return jnp.sum(moved * (residuals + 0.5 * moved))

    def difference_estimate(
        self, weights: dict[str, Array], anchor: PyTree, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        return self.difference(weights, anchor)

    def losses(self, weights: dict[str, Array]) -> tuple[Float[Array, " loss"], bool]:
        return 0.5 * self.residuals(weights) ** 2, False


def _output(term: SquaredError, weights: dict[str, Array], z: PyTree) -> Float[Array, " out"]:
    return jnp.atleast_1d(term.prediction(with_weights(term.model, weights), z)).ravel()


def _row(term: SquaredError, weights: dict[str, Array], z: PyTree) -> Float[Array, " out"]:
    return jnp.atleast_1d(term.residual(with_weights(term.model, weights), z)).ravel()


class NodeResidual(AbstractResidual):
    """A squared loss with one row for each node, scaled by the root of its weight."""

    rows: PyTree
    scale: Float[Array, " row"]
    term: SquaredError

    def output(self, weights, z):
        return _output(self.term, weights, z)

    def row(self, weights, z):
        return _row(self.term, weights, z)

    def project(self, scaled):
        return scaled

    def note(self) -> str:
        return f"SquaredError: {len(self.scale)} nodes of {type(self.term.measure).__name__}"


class BasisResidual(AbstractResidual):
    """A squared loss as `½ Σ_k c_k²`, `c_k = ∫ (f - y) φ_k dμ` in the basis of the measure.

    `basis` is `[coefficient, row]`: the basis functions at the nodes times the roots of weights.
    """

    rows: PyTree
    scale: Float[Array, " row"]
    basis: Float[Array, "coefficient row"]
    term: SquaredError

    def output(self, weights, z):
        return _output(self.term, weights, z)

    def row(self, weights, z):
        return _row(self.term, weights, z)

    def project(self, scaled):
        return jnp.tensordot(self.basis, scaled, axes=1)

    def note(self) -> str:
        return (
            f"SquaredError: Σ c_k² over {len(self.basis)} modes of "
            f"{type(self.term.measure).__name__}'s basis"
        )


class MomentResidual(AbstractResidual):
    """A squared loss of a model that is linear in features ψ of the data, by second moments.

    Let `R` be the triangular factor of the weighted rows `[ψ(x), 1, y]`, so `RᵀR` is their moment
    matrix. Then `∫ ½|Aψ + b - y|² dμ = ½ Σ_rows |A r_ψ + b r_1 - r_y|²`. There are as many rows as
    features and outputs, so the cost does not depend on the number of data. The loss is a sum of
    squares, so a small loss keeps its digits.
    """

    rows: tuple[Float[Array, "row feature"], Float[Array, " row"], Float[Array, "row out"]]
    scale: Float[Array, " row"]
    buffers: dict[str, Array]
    split: Split = eqx.field(static=True)
    frozen: tuple[str, ...] = eqx.field(static=True)
    count: int = eqx.field(static=True)

    def row(self, weights, z):
        return self.output(weights, z) - z[2]

    def output(self, weights, z):
        features, constant, _ = z
        frozen = {path: weights[path] for path in self.frozen}
        free = {path: value for path, value in weights.items() if path not in frozen}
        base = frozen | self.buffers
        at = jnp.atleast_1d(self.split.apply(base, free, features)).ravel()
        origin = jnp.atleast_1d(self.split.apply(base, free, jnp.zeros_like(features))).ravel()
        return at + (constant - 1) * origin

    def project(self, scaled):
        return scaled

    def note(self) -> str:
        return (
            f"SquaredError: model linear in {self.split.size} features of the data; "
            f"{self.count} data reduced to {len(self.scale)} rows of moments"
        )


def node_residual(factor: Array, term: SquaredError) -> NodeResidual:
    """The squared loss with one row for each node of the measure."""
    points, weights = term.measure.nodes()
    return NodeResidual(points, _root(factor, weights), term)


def basis_residual(factor: Array, term: SquaredError, modes: int) -> BasisResidual:
    """The squared loss in the first `modes` functions of the measure's orthonormal basis."""
    points, weights = term.measure.nodes()
    basis = term.measure.basis()
    table = jax.vmap(lambda x: basis.evaluate(x, modes))(points)
    root = jnp.sqrt(weights)
    return BasisResidual(points, root, jnp.sqrt(factor) * (table * root[:, None]).T, term)


class _Prediction:
    """`model(x)` as a function of all arrays of the model by path."""

    def __init__(self, model: PyTree, paths: set[str]):
        def emptied(path: tuple, leaf: Any) -> Any:
            named = path_name(path) in paths
            return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)) if named else leaf

        self.model = jax.tree_util.tree_map_with_path(emptied, model)

    def __call__(self, base: dict[str, Array], moving: dict[str, Array], x: PyTree) -> Array:
        return with_weights(self.model, base | moving)(x)


def moment_residual(
    factor: Array, term: SquaredError, weights: dict[str, Array], free: tuple[str, ...]
) -> MomentResidual | None:
    """The squared loss by second moments, if the model is linear in fewer features than nodes.

    Else None; also if data or arrays of the model are traced, because the triangular factor of a
    matrix without full rank has no derivative.
    """
    points, node_weights = term.measure.nodes()
    count = len(node_weights)
    frozen = tuple(path for path in weights if path not in free)
    buffers = _buffers(term.model, weights)
    base = {path: weights[path] for path in frozen} | buffers
    moving = {path: weights[path] for path in free}
    x = points if term.target is not None else points[0]
    if not known(points, node_weights, base):
        return None
    first = jax.tree.map(lambda leaf: jnp.asarray(at_hand(leaf)[0], leaf.dtype), x)
    split = Split(_Prediction(term.model, {*weights, *buffers}), base, moving, first)
    if not (split.is_affine and split.is_known):
        return None
    y = points[1] if term.target is None else None
    width = split.width
    if split.size + 1 + width >= count or not known(y):
        return None
    if term.target is not None and not known(term.target(first)):
        return None

    def table(part: PyTree) -> np.ndarray:
        """The rows `[ψ(x), 1, y]` of some of the data, `[row, column]` in float64."""
        x, y = part
        labels = y if term.target is None else jax.vmap(term.target)(x)
        psi = np.asarray(_features(split, base, x))
        labels = np.broadcast_to(np.asarray(labels).reshape(len(psi), -1), (len(psi), width))
        return np.concatenate([psi, np.ones((len(psi), 1)), labels], axis=1, dtype=float)

    held, _ = working_bytes(lambda z: split.features(base, z), first)
    held += 4 * 8 * (split.size + 1 + width)  # the weighted table, and copies of the QR
    triangle = _triangle(table, (x, y), node_weights, PIECE_MEMORY // held)
    p = split.size
    parts = (triangle[:, :p], triangle[:, p], triangle[:, p + 1 :])
    rows = tuple(jnp.asarray(part, float) for part in parts)
    scale = _root(factor, jnp.asarray(np.ones(len(triangle)), float))
    return MomentResidual(rows, scale, buffers, split, frozen, count)


@eqx.filter_jit
def _features(split: Split, base: dict[str, Array], x: PyTree) -> Array:
    return jax.vmap(lambda z: split.features(base, z))(x)


@at_once
def _root(factor: Array, weights: Float[Array, " row"]) -> Float[Array, " row"]:
    # not the root of the product, which has no derivative by the factor if a weight is zero
    return jnp.sqrt(factor) * jnp.sqrt(weights)


def _triangle(
    table: Callable[[PyTree], np.ndarray], data: PyTree, weights: Array, together: int
) -> np.ndarray:
    """`R` with `RᵀR = Σ_i w_i t_i t_iᵀ` over the rows of the table, from pieces of the data.

    The QR of each piece includes the triangle of the pieces before it, so memory does not grow with
    the number of data (Golub, Plemmons & Sameh 1988).
    """
    count = len(weights)
    size = share(count, together)
    triangle: np.ndarray | None = None
    for begin in range(0, count, size):

        def cut(leaf: Array, begin: int = begin) -> Array | np.ndarray:
            if isinstance(held := at_hand(leaf), np.ndarray):
                return held[begin : begin + size]
            return jax.lax.dynamic_slice_in_dim(leaf, begin, min(size, count - begin))

        root = np.sqrt(np.asarray(cut(weights), dtype=float))
        rows = table(jax.tree.map(cut, data))
        rows *= root[:, None]
        triangle = rows if triangle is None else np.concatenate([triangle, rows])
        triangle = np.asarray(np.linalg.qr(triangle, mode="r"))
    assert triangle is not None
    return triangle


def _buffers(model: PyTree, weights: dict[str, Array]) -> dict[str, Array]:
    """The arrays of a model that are not weights (tables, indices, keys), by path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(model)
    named = ((path_name(path), leaf) for path, leaf in leaves)
    return {
        path: jnp.asarray(leaf)
        for path, leaf in named
        if path not in weights and isinstance(leaf, jax.Array | np.ndarray)
    }
