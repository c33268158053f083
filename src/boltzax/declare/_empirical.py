"""Data as a measure, with integrals over all data or over minibatches."""

import functools
import math
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ..core import (
    Constraint,
    Count,
    DeclarationError,
    Key,
    Refused,
    Said,
    automatic,
    eager,
    finite,
    known,
    numbers,
    refuted,
    typed,
    whole,
)
from ._basis import floating, integrate_nodes
from ._measure import AbstractMeasure, no_basis, refuse_signed


def _leaf(leaf: Any) -> Array:
    numbers(leaf, None, host=not isinstance(leaf, jax.Array), complexes=True)
    _refuse_wrapped(leaf)
    try:
        array = jnp.asarray(leaf)
    except OverflowError as error:
        raise _too_large(str(error)) from error
    except (TypeError, ValueError):
        raise Refused("", leaf, DATA) from None
    if array.ndim == 0 or jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        raise Refused("", leaf, DATA)
    return array


@eager
def _leaves(data: PyTree) -> PyTree:
    return jax.tree.map(_leaf, data)


def _refused(value: Any) -> Any:
    raise Refused


DATA = Constraint(
    "numeric arrays with a leading axis over the data",
    "encode text as numbers, and give single data a leading axis, x[None]",
    _leaves,
)
Data: TypeAlias = Annotated[PyTree, DATA]
Nothing: TypeAlias = Annotated[
    object,
    Constraint(
        "one pytree of arrays",
        "write Empirical((x, y)) for inputs and labels, and Empirical(data, weights=w) for "
        "weights of the data",
        _refused,
        called="data",
    ),
]
DataWeights: TypeAlias = Annotated[
    Float[Array, " n"] | Bool[Array, " n"] | None,
    Said(
        expected="one real number for each datum, or None",
        mend="for one factor for all data write `factor * Empirical(data)`",
    ),
]


@typed
class Empirical(AbstractMeasure):
    """The measure Σ_i w_i delta(z - z_i) of data z_1, ..., z_n.

    With the default weights 1 it is the counting measure, of mass n: an integral is a sum over the
    data. `.normalized()` gives the mean over the data.

    Args:
        data: A pytree of arrays whose first axis has length n: an array `[n, dim]`, a pair
            `(x, y)`, a dictionary. Integer and boolean arrays (labels) are allowed.
        labels: Not an argument: labels belong into `data`, and anything given here is refused.
        weights: One real number for each datum, `[n]`.

    Raises:
        DeclarationError: If lengths differ, there are no data, or a value is not finite.
    """

    data: PyTree[Array]
    weights: Float[Array, " n"]
    signed: bool = eqx.field(static=True)

    @eager
    def __init__(self, data: Data, *labels: Nothing, weights: DataWeights = None):
        self.data = automatic(data)
        for leaf in jax.tree.leaves(self.data):
            _refuse_non_finite("data", leaf)
        lengths = {leaf.shape[0] for leaf in jax.tree.leaves(self.data)}
        if len(lengths) != 1 or 0 in lengths:
            raise DeclarationError(
                "data",
                got=f"leading axes of length {sorted(lengths)}" if lengths else "no arrays",
                expected="at least one datum, and one length in every leaf",
                mend="pass arrays whose first axis is over the data, e.g. (x, y) of one length",
            )
        (n,) = lengths
        self.weights = automatic(floating(np.ones(n) if weights is None else weights))
        if self.weights.shape != (n,):
            raise DeclarationError(
                "weights",
                got=f"shape {self.weights.shape}",
                expected=f"shape ({n},), one weight for each datum",
                mend="for one factor for all data write `factor * Empirical(data)`",
            )
        _refuse_non_finite("weights", self.weights)
        self.signed = weights is not None and (
            not known(self.weights) or refuted(lambda weight: weight >= 0, self.weights)
        )

    @property
    def size(self) -> int:
        """The number of data n."""
        return self.weights.shape[0]

    def nodes(self):
        return self.data, self.weights

    def estimate(self, fn, key):
        return self.integrate(fn)

    def sample(self, key, count):
        refuse_signed(self)
        chosen = jax.random.choice(key, self.size, (count,), p=self.weights / self.mass)
        return jax.tree.map(lambda leaf: leaf[chosen], self.data)

    @property
    def mass(self):
        return jnp.sum(self.weights)

    @property
    def datum(self):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), self.data)

    def basis(self):
        raise no_basis(self)


Source: TypeAlias = Annotated[
    Empirical,
    Said(mend="write Subsampled(Empirical(data), batch_size), and scale or add the result"),
]


@typed
class Subsampled(AbstractMeasure):
    """The measure of an `Empirical`, with integrals estimated from minibatches.

    `estimate(fn, key)` draws `batch_size` distinct data with the given key and multiplies their
    sum by n/batch_size. The estimate is unbiased. Every key gives another batch, so every chain and
    every step has its own. `nodes`, `integrate` and `mass` use all data. The cost of drawing a
    batch grows as sqrt(n).

    Args:
        empirical: The data.
        batch_size: Number of data in a batch, at most n.
    """

    empirical: Empirical
    batch_size: int = eqx.field(static=True)

    def __init__(self, empirical: Source, batch_size: Count):
        most = Said(mend=f"draw at most the {empirical.size} data there are")
        sizes = most.of(whole(1, empirical.size))
        self.empirical, self.batch_size = empirical, sizes.check("batch_size", batch_size)

    @property
    def signed(self):
        return self.empirical.signed

    def batch(self, key: Key) -> tuple[PyTree, Float[Array, " batch"]]:
        """The data and weights that `estimate` sums over for this key."""
        chosen = distinct(key, self.empirical.size, self.batch_size)
        points = jax.tree.map(lambda leaf: leaf[chosen], self.empirical.data)
        factor = self.empirical.size / self.batch_size
        return points, self.empirical.weights[chosen] * factor

    def nodes(self):
        return self.empirical.nodes()

    def estimate(self, fn, key):
        points, weights = self.batch(key)
        return integrate_nodes(fn, points, weights)

    def sample(self, key, count):
        return self.empirical.sample(key, count)

    @property
    def mass(self):
        return self.empirical.mass

    @property
    def datum(self):
        return self.empirical.datum

    def basis(self):
        raise no_basis(self)


def subsamplings(tree: PyTree) -> list[Subsampled]:
    """All `Subsampled` measures in a declaration."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Subsampled))
    return [leaf for leaf in leaves if isinstance(leaf, Subsampled)]


def distinct(key: PRNGKeyArray, n: int, count: int) -> Int[Array, " count"]:
    """`count` distinct indices below n, each index equally likely."""
    return permuted(key, n, np.arange(count, dtype=np.int32))


@functools.partial(jax.jit, static_argnames="n")
def permuted(key: PRNGKeyArray, n: int, places: Int[Array, " count"]) -> Int[Array, " count"]:
    """The indices at some places of a random permutation of 0..n-1.

    For n <= 64 the permutation is drawn. For larger n a full permutation would sort n numbers at
    every step of a chain. Instead a pseudo-random permutation is evaluated at the places: the
    columns and then the rows of a table with at least n cells are rotated by random amounts, three
    times (a Feistel network; Luby & Rackoff 1988, SIAM J. Comput. 17:373). A place outside 0..n-1
    is permuted again until it is inside. A common random shift makes each index equally likely, to
    n/2^32. Pairs are only approximately equally likely; the tests compare the variance of a sum
    with its exact value. For n < 2^31, since sums of two indices are held in 32 bits.
    """
    if n <= 64:
        return jax.random.permutation(key, n)[places]
    kind, places = places.dtype, places.astype(jnp.uint32)
    rows, columns = _table(n)
    bits = jax.random.bits(key, (3 * (columns + rows) + 1,), jnp.uint32)
    turns = bits[1:].reshape(3, columns + rows)
    row_turns, column_turns = _below(turns[:, :columns], rows), _below(turns[:, columns:], columns)

    def shuffled(row, column):
        def turn(cell, turns):
            row, column = cell
            row = _wrapped(row + turns[0][column], rows)
            return (row, _wrapped(column + turns[1][row], columns)), None

        # without a scan the compiler would fuse the turns, and repeat each many times
        (row, column), _ = jax.lax.scan(turn, (row, column), (row_turns, column_turns))
        return row * columns + column

    def again(place):
        return jnp.where(place >= n, shuffled(place // columns, place % columns), place)

    places = shuffled(places // columns, places % columns)
    if rows * columns > n:
        places = jax.lax.while_loop(lambda place: jnp.any(place >= n), again, places)
    return _wrapped(places + bits[0] % np.uint32(n), n).astype(kind)


def _table(n: int) -> tuple[int, int]:
    """Rows and columns of a nearly square table of at least n cells, with few spare cells."""
    root = math.isqrt(n - 1) + 1
    rows = min(range(root, root + root // 4), key=lambda rows: -n % rows)
    return rows, -(-n // rows)


def _below(bits: Array, bound: int) -> Array:
    """Integers below `bound` < 2^16, equally likely to bound^2/2^32."""
    half = bound.bit_length()
    return (bits >> half) * np.uint32(bound) >> (32 - half)


def _wrapped(value: Array, bound: int) -> Array:
    """`value % bound` for unsigned values below 2 bound."""
    return jnp.where(value >= bound, value - bound, value)


def _refuse_wrapped(leaf: Any) -> None:
    """Refuse integers that overflow the integer dtype of jax."""
    if isinstance(leaf, jax.Array):
        return
    values = np.asarray(leaf)
    if not np.issubdtype(values.dtype, np.integer) or not values.size:
        return
    kind = jax.dtypes.canonicalize_dtype(values.dtype)
    if int(values.min()) < np.iinfo(kind).min or int(values.max()) > np.iinfo(kind).max:
        raise _too_large(f"integers from {values.min()} to {values.max()}, held as {kind}")


def _too_large(got: str) -> DeclarationError:
    return DeclarationError(
        "data",
        got=got,
        expected="integers that the precision in use holds",
        mend="number the ids from 0, or switch on 64 bits: "
        'jax.config.update("jax_enable_x64", True)',
    )


def _refuse_non_finite(argument: str, array: Array) -> None:
    if refuted(finite, array):
        bad = np.argwhere(~np.isfinite(np.asarray(array)))
        first = tuple(bad[0].tolist())
        raise DeclarationError(
            argument,
            got=f"{len(bad)} values that are NaN or infinite, the first at index {first}",
            expected="finite numbers",
            mend="drop or impute those data",
        )
