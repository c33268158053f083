"""Interfaces: for each logical value, the values that are acceptable for it."""

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import WORDS, Count, DeclarationError, Number, Said, eager, known, typed
from ._box_unions import Box, inside, intersection, maximal
from ._extremes import depth
from ._interface_checks import Bounds, Boxes, Values, refuse_nan
from ._interface_points import spread

WORDS[Hashable] = ("a hashable value", "pass e.g. a number, a text, or a tuple of them")
Value = Hashable
"""A logical value: 0 and 1, a name, a tuple of values."""


Sets: TypeAlias = Annotated[
    Mapping[Value, Boxes],
    Said(
        expected="a dictionary from logical value to boxes",
        mend="pass e.g. {0: [(0.0, 1.2)], 1: [(3.5, 5.0)]}",
    ),
]
Threshold: TypeAlias = Float[Array, "*dim"]
End: TypeAlias = Float[Array, "..."]


@typed
class Interface(eqx.Module):
    """For each of K logical values a finite union of closed boxes in R^d.

    `A(v) = ∪_j [lower_vj, upper_vj]`, the acceptable values for `v`; infinite bounds are rays. The
    boxes are kept as the maximal boxes of each union (see `boltzax.Interface.intervals`), so that
    equal sets are equal interfaces, and the distance to the boundary is exact. The bounds are
    arrays `[value, box, dim]`, filled up with empty boxes (lower inf, upper -inf): they may be
    traced and differentiated, as long as the boxes do not change their order.

    `A <= B` is inclusion for every value; `A & B` and `A | B` are meet and join value by value,
    `A @ B` the product: the interface of the pair, with tuples of values.

    Source: interfaces ("APIs") between components, Wentworth & Lorell, "Toward Statistical
    Mechanics of Interfaces Under Selection Pressure" (2025).

    Args:
        values: The logical values.
        lower: Lower bounds of the boxes, `[value, box, dim]`.
        upper: Their upper bounds.
    """

    values: tuple[Value, ...] = eqx.field(static=True)
    lower: Float[Array, "value box dim"]
    upper: Float[Array, "value box dim"]

    @eager
    def __init__(self, values: Values, lower: Bounds, upper: Bounds):
        self.values = tuple(values)
        low, high = refuse_nan("lower", lower), refuse_nan("upper", upper)
        if low.shape != high.shape or low.ndim != 3 or low.shape[0] != len(self.values):
            raise DeclarationError(
                "lower, upper",
                got=f"shapes {low.shape} and {high.shape} for {len(self.values)} values",
                expected="two arrays [value, box, dim]",
                mend="use Interface.boxes, Interface.intervals or Interface.thresholds",
            )
        if not known(low, high):
            self.lower, self.upper = low, high
        else:
            sets = [_set(low[i], high[i]) for i in range(len(self.values))]
            self.lower, self.upper = _arrays(sets, low.shape[-1])

    @classmethod
    def boxes(cls, sets: Sets) -> "Interface":
        """The interface with the given boxes, pairs of corners `(lower, upper)`, of each value.

        ::

            Interface.boxes({0: [((0, 0), (1, 1))], 1: [((2, 2), (3, 3)), ((2, 0), (3, 1))]})

        Scalar corners are intervals in one dimension; `None` or an infinity is a ray. An empty
        list accepts nothing.

        Raises:
            DeclarationError: Bounds in the wrong order, boxes of different dimensions, or no box at
                all.
        """
        dims = {len(box[0]) for boxes in sets.values() for box in boxes}
        if len(dims) != 1:
            raise DeclarationError(
                "sets",
                got=f"boxes of dimensions {sorted(dims)}",
                expected="at least one box, and one dimension for all",
                mend="give every corner the same number of entries",
            )
        lower, upper = _arrays([maximal(list(boxes)) for boxes in sets.values()], dims.pop())
        return cls(tuple(sets), lower, upper)

    @classmethod
    def intervals(cls, sets: Sets) -> "Interface":
        """The interface on the line with the given intervals `(lower, upper)` of each value.

        ::

            Interface.intervals({0: [(0, 1.2)], 1: [(3.5, 5.0)]})

        Overlapping and touching intervals become one; `None` or an infinity is a ray.
        """
        made = cls.boxes(sets)
        if made.dim != 1:
            raise DeclarationError(
                "sets",
                got=f"boxes of dimension {made.dim}",
                expected="intervals (lower, upper)",
                mend="use Interface.boxes in more dimensions",
            )
        return made

    @classmethod
    @eager
    def thresholds(
        cls,
        low: Threshold,
        high: Threshold,
        *,
        range: tuple[End | None, End | None] = (None, None),
    ) -> "Interface":
        """`A(0) = [range₀, low]`, `A(1) = [high, range₁]`; rays where the range is `None`.

        The thresholds may be traced, or arrays `[dim]` (all coordinates must then be low, or all
        high).

        Raises:
            DeclarationError: Unless `low <= high`, both inside the range.
        """
        floor, ceiling = (
            b if b is not None else s * math.inf for b, s in zip(range, (-1, 1), strict=True)
        )
        ends = [jnp.atleast_1d(jnp.asarray(end, float)) for end in (floor, low, high, ceiling)]
        try:
            ends = jnp.broadcast_arrays(*ends)
        except ValueError:
            raise DeclarationError(
                "range",
                got=f"ends of shapes {ends[0].shape} and {ends[3].shape}",
                expected=f"numbers, or arrays of the shape {ends[1].shape} of the thresholds",
                mend="pass e.g. range=(0, 5)",
            ) from None
        if known(ends) and not all(bool(jnp.all(a <= b)) for a, b in itertools.pairwise(ends)):
            raise DeclarationError(
                "low, high",
                got=f"{low} and {high} in the range {range}",
                expected="range[0] <= low <= high <= range[1]",
                mend="0 is what lies below `low`, 1 what lies above `high`",
            )
        lower, upper = jnp.stack([ends[0], ends[2]]), jnp.stack([ends[1], ends[3]])
        return cls((0, 1), lower[:, None], upper[:, None])

    @property
    def dim(self) -> int:
        """Dimension d of the values."""
        return self.lower.shape[-1]

    def index(self, value: Value) -> int:
        """The place of a logical value in `values`."""
        if value not in self.values:
            raise DeclarationError(
                "value",
                got=repr(value),
                expected=f"one of {list(self.values)}",
                mend="name a logical value of this interface",
            )
        return self.values.index(value)

    def sets(self) -> dict[Value, tuple[Box, ...]]:
        """The maximal boxes of each logical value, on the host."""
        low, high = np.asarray(self.lower, float), np.asarray(self.upper, float)
        pairs = zip(self.values, low, high, strict=True)
        return {value: _set(a, b) for value, a, b in pairs}

    def distance(self, y: Float[Array, " dim"]) -> Float[Array, " value"]:
        """Signed L∞ distance of `y` to the boundary of each `A(v)`: positive inside.

        `max_j min_i min(y_i - lower_i, upper_i - y_i)` over the maximal boxes `j`; -inf if `A(v)`
        is empty.
        """
        return depth(y, self.lower, self.upper)

    def contains(self, y: Float[Array, "..."], value: Value) -> Array:
        """Whether `y` is acceptable for the logical value (boundary included).

        `y` is `[dim]`, with any leading axes; in one dimension the last axis may be left out.
        """
        row = self.index(value)
        if self.dim == 1 and (y.ndim == 0 or y.shape[-1] != 1):
            y = y[..., None]
        if y.shape[-1] != self.dim:
            raise DeclarationError(
                "y",
                got=f"shape {y.shape}",
                expected=f"a last axis of length {self.dim}",
                mend="match the dimension of the interface",
            )
        return depth(y[..., None, :], self.lower[row], self.upper[row]) >= 0

    def erode(self, by: Number) -> "Interface":
        """The values that stay acceptable when moved by at most `by` (L∞): a margin demanded.

        A negative `by` dilates.

        Raises:
            DeclarationError: If a non-empty union vanishes.
        """
        margin = float(by)
        smaller = {
            value: [
                (tuple(x + margin for x in low), tuple(x - margin for x in high))
                for low, high in boxes
                if all(a + margin <= b - margin for a, b in zip(low, high, strict=True))
            ]
            for value, boxes in self.sets().items()
        }
        for value, boxes in self.sets().items():
            if boxes and not smaller[value]:
                raise DeclarationError(
                    "by",
                    got=f"{by}, which leaves nothing of the value {value!r}",
                    expected="at most half the width of the widest box",
                    mend="demand a smaller margin",
                )
        return Interface._of(smaller, self.dim)

    def points(self, count: Count) -> Float[Array, "value point dim"]:
        """`count` points of each box: evenly spaced on the line, with both ends (at least 2); in
        more dimensions the corners, then a Halton sequence (at least `2^d + 1`; for d > 6 the
        corners of the first 6 axes). A ray is covered to `HORIZON`.
        """
        return spread(self.lower, self.upper, count)

    @typed
    def __le__(self, interface: "Interface") -> bool:
        """Inclusion: `A(v) ⊆ B(v)` for every logical value."""
        theirs = self._like(interface)
        return all(
            all(any(inside(box, large) for large in theirs[value]) for box in boxes)
            for value, boxes in self.sets().items()
        )

    @typed
    def __ge__(self, interface: "Interface") -> bool:
        return interface <= self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interface):
            return NotImplemented
        return self.sets() == other.sets()

    def __hash__(self) -> int:
        return hash(frozenset(self.sets().items()))

    @typed
    def __and__(self, interface: "Interface") -> "Interface":
        """Meet: `A(v) ∩ B(v)`."""
        theirs = self._like(interface)
        meet = {
            value: [intersection(a, b) for a in boxes for b in theirs[value]]
            for value, boxes in self.sets().items()
        }
        return Interface._of(meet, self.dim)

    @typed
    def __or__(self, interface: "Interface") -> "Interface":
        """Join: `A(v) ∪ B(v)`."""
        theirs = self._like(interface)
        join = {value: [*boxes, *theirs[value]] for value, boxes in self.sets().items()}
        return Interface._of(join, self.dim)

    @typed
    def __matmul__(self, interface: "Interface") -> "Interface":
        """Product: the interface of the pair `(x, y)` in R^(d+e), with values `(u, v)`.

        Products of products are flat: the values of `A @ B @ C` are triples.
        """
        pairs = {
            (*_flat(self, u), *_flat(interface, v)): [
                ((*a[0], *b[0]), (*a[1], *b[1])) for a in left for b in right
            ]
            for u, left in self.sets().items()
            for v, right in interface.sets().items()
        }
        return Interface._of(pairs, self.dim + interface.dim)

    def relabel(self, names: Mapping[Value, Value]) -> "Interface":
        """The same sets under other names of the logical values."""
        new = [names.get(value, value) for value in self.values]
        return Interface(new, self.lower, self.upper)

    @staticmethod
    def _of(sets: Mapping[Value, Sequence[Box]], dim: int) -> "Interface":
        lower, upper = _arrays([maximal(list(boxes)) for boxes in sets.values()], dim)
        return Interface(tuple(sets), lower, upper)

    def _like(self, other: "Interface") -> dict[Value, tuple[Box, ...]]:
        """The sets of an interface that can be compared with this one."""
        if set(self.values) != set(other.values) or self.dim != other.dim:
            raise DeclarationError(
                "interface",
                got=f"values {list(other.values)} in dimension {other.dim}",
                expected=f"values {list(self.values)} in dimension {self.dim}",
                mend="compare interfaces of the same signal; use `relabel` for other names",
            )
        return other.sets()

    def __repr__(self) -> str:
        if not known(self.lower) or not isinstance(self.lower, Array | np.ndarray):
            return f"Interface(values={self.values}, shape={getattr(self.lower, 'shape', None)})"
        if self.lower.ndim != 3:
            return f"Interface(values={self.values}, shape={self.lower.shape})"
        lines = [
            f"{value!r}: " + (" ∪ ".join(_box_text(box) for box in boxes) or "∅")
            for value, boxes in self.sets().items()
        ]
        return "Interface(" + ", ".join(lines) + ")"


def _flat(interface: Interface, value: Value) -> tuple:
    product = all(isinstance(each, tuple) for each in interface.values)
    return value if product and isinstance(value, tuple) else (value,)


def _box_text(box: Box) -> str:
    def one(a: float, b: float) -> str:
        left = "(-∞" if a == -math.inf else f"[{a:.6g}"
        right = "∞)" if b == math.inf else f"{b:.6g}]"
        return f"{left}, {right}"

    return " × ".join(one(a, b) for a, b in zip(*box, strict=True))


def _set(low: Any, high: Any) -> tuple[Box, ...]:
    rows = zip(np.asarray(low, float), np.asarray(high, float), strict=True)
    return maximal([(tuple(a.tolist()), tuple(b.tolist())) for a, b in rows])


def _arrays(sets: Sequence[Sequence[Box]], dim: int) -> tuple[Array, Array]:
    """Bounds `[value, box, dim]`, filled up with empty boxes."""
    width = max(1, max(len(boxes) for boxes in sets))
    lower = np.full((len(sets), width, dim), np.inf)
    upper = np.full((len(sets), width, dim), -np.inf)
    for row, boxes in enumerate(sets):
        for place, (low, high) in enumerate(boxes):
            lower[row, place], upper[row, place] = low, high
    return jnp.asarray(lower, float), jnp.asarray(upper, float)
