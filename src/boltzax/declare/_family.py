"""A finite family of interfaces of one signal, as stacked arrays."""

from collections.abc import Iterator, Sequence
from typing import overload

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from ..core import DeclarationError, typed
from ._interface import Interface

PAIRS = 1 << 25
"""Comparisons of bounds held at a time when members are ordered."""


@typed
class Family(eqx.Module):
    """F interfaces with the same logical values and dimension: the candidates for one wire.

    Member m accepts `A_m(v) = ∪_j [lower_mvj, upper_mvj]`; boxes are filled up with empty ones
    (lower inf, upper -inf) and are the maximal ones of each union, as in `Interface`. No two
    members are equal, so that inclusion (see `order`) is a partial order of the members.

    ::

        Family.thresholds(jnp.linspace(0, 5, 40), range=(0, 5))     # 820 members
        Family.of([one, other])

    Args:
        values: The logical values, which all members share.
        lower: Lower corners of the boxes.
        upper: Upper corners of the boxes.
    """

    values: tuple = eqx.field(static=True)
    lower: Float[Array, "member value box dim"]
    upper: Float[Array, "member value box dim"]

    @classmethod
    def of(cls, members: Sequence[Interface]) -> "Family":
        """The family of the given interfaces, in their order.

        Raises:
            DeclarationError: No member, members of different signals, or equal members.
        """
        if not members:
            raise DeclarationError(
                "members",
                got="none",
                expected="a list of at least one Interface",
                mend="write bx.Family.of([one, other])",
            )
        first = members[0]
        for place, each in enumerate(members):
            if set(each.values) != set(first.values) or each.dim != first.dim:
                raise DeclarationError(
                    f"members[{place}]",
                    got=f"values {list(each.values)} in dimension {each.dim}",
                    expected=f"values {list(first.values)} in dimension {first.dim}",
                    mend="a family describes one signal; use `relabel` for other names",
                )
        boxes = max(each.lower.shape[1] for each in members)
        lower = np.full((len(members), len(first.values), boxes, first.dim), np.inf)
        upper = np.full(lower.shape, -np.inf)
        for place, each in enumerate(members):
            rows = [each.index(value) for value in first.values]
            lower[place, :, : each.lower.shape[1]] = np.asarray(each.lower)[rows]
            upper[place, :, : each.upper.shape[1]] = np.asarray(each.upper)[rows]
        return cls._checked(first.values, lower, upper)

    @classmethod
    def thresholds(
        cls, levels: ArrayLike, *, range: tuple[float | None, float | None] = (None, None)
    ) -> "Family":
        """All `A(0) = [range₀, low]`, `A(1) = [high, range₁]` with `low <= high` among the levels.

        L levels give L (L + 1) / 2 members, ordered by (low, high). Without a range the ends are
        rays.

        Raises:
            DeclarationError: Levels that are not numbers inside the range.
        """
        floor = -np.inf if range[0] is None else range[0]
        ceiling = np.inf if range[1] is None else range[1]
        grid = np.unique(np.asarray(levels, float).ravel())
        inside = np.all(np.isfinite(grid)) and np.all((grid >= floor) & (grid <= ceiling))
        if grid.size == 0 or not inside:
            raise DeclarationError(
                "levels",
                got=f"{levels!r:.80} in the range {range}",
                expected="at least one finite number, all inside the range",
                mend="pass e.g. jnp.linspace(0, 5, 40) and range=(0, 5)",
            )
        low, high = np.triu_indices(grid.size)
        floors, ceilings = np.full(low.size, floor), np.full(low.size, ceiling)
        lower = np.stack([floors, grid[high]], axis=1)
        upper = np.stack([grid[low], ceilings], axis=1)
        return cls((0, 1), *(jnp.asarray(b[:, :, None, None], float) for b in (lower, upper)))

    @classmethod
    def _checked(cls, values: tuple, lower: np.ndarray, upper: np.ndarray) -> "Family":
        made = cls(values, jnp.asarray(lower, float), jnp.asarray(upper, float))
        flat = np.concatenate([lower, upper], axis=-1).reshape(len(lower), -1)
        kinds, where = np.unique(flat, axis=0, return_inverse=True)
        if len(kinds) < len(flat):
            counts = np.bincount(where.ravel(), minlength=len(kinds))
            twice = np.flatnonzero(where.ravel() == np.argmax(counts > 1))
            raise DeclarationError(
                "members",
                got=f"members {twice.tolist()} that are equal",
                expected="different interfaces",
                mend="leave the repeated ones out",
            )
        return made

    @property
    def dim(self) -> int:
        """Dimension of the signal."""
        return self.lower.shape[-1]

    @property
    def single(self) -> bool:
        """Whether every member accepts one box (or nothing) for each value."""
        return self.lower.shape[2] == 1

    def __len__(self) -> int:
        return self.lower.shape[0]

    @overload
    def __getitem__(self, member: int) -> Interface: ...

    @overload
    def __getitem__(self, member: slice) -> "Family": ...

    def __getitem__(self, member: int | slice) -> "Interface | Family":
        """One member as an `Interface`; those of a slice, at least one, as a `Family`."""
        if isinstance(member, slice):
            members = range(len(self))[member]
            if not members:
                raise DeclarationError(
                    "member",
                    got=f"{member}: no member of a family of {len(self)}",
                    expected="a slice with at least one member",
                    mend="a family holds at least one interface",
                )
            return self.take(members)
        if not -len(self) <= member < len(self):
            raise IndexError(f"member {member} of a family of {len(self)}")
        return Interface(self.values, self.lower[member], self.upper[member])

    def __iter__(self) -> Iterator[Interface]:
        return (self[member] for member in range(len(self)))

    def take(self, members: Sequence[int]) -> "Family":
        """The family of some members."""
        check_places("members", members, len(self))
        rows = np.asarray(members, int)
        return Family(self.values, self.lower[rows], self.upper[rows])

    def index(self, interface: Interface) -> int:
        """The place of an interface in the family. Raises `DeclarationError` if it is not there."""
        one = Family.of([interface])
        if set(one.values) == set(self.values) and one.dim == self.dim:
            both = (included(one, self) & included(self, one).T)[0]
            if both.any():
                return int(np.argmax(both))
        raise DeclarationError(
            "interface",
            got=repr(interface),
            expected="a member of the family",
            mend="build the family with it",
        )

    def order(self) -> Bool[Array, "member member"]:
        """The inclusion matrix ζ: entry [i, j] says whether member i <= member j."""
        return jnp.asarray(included(self, self))

    def __repr__(self) -> str:
        boxes = "one box" if self.single else f"up to {self.lower.shape[2]} boxes"
        return f"Family({len(self)} interfaces of {list(self.values)} in R^{self.dim}, {boxes})"


def included(one: Family, other: Family) -> np.ndarray:
    """Whether member i of one family lies in member j of another, `[i, j]`, on the host.

    A box inside a union lies in one of its maximal boxes, so that boxes are compared one by one.
    """
    rows = [other.values.index(value) for value in one.values]
    low, high = (np.asarray(b) for b in (one.lower, one.upper))
    theirs = [np.asarray(b)[:, rows] for b in (other.lower, other.upper)]
    width = low[0].size * theirs[0].shape[2] * len(other)
    step = max(1, PAIRS // width)
    parts = []
    for start in range(0, len(one), step):
        part = slice(start, start + step)
        a, b = (x[part, None, :, :, None] for x in (low, high))  # i 1 v box 1 d
        within = (a >= theirs[0][None, :, :, None]) & (b <= theirs[1][None, :, :, None])
        parts.append(within.all(-1).any(-1).all((-1, -2)))
    return np.concatenate(parts)


def check_places(argument: str, places: Sequence[int], count: int) -> None:
    """Refuse a place beyond the last, or before the first: jax would take another one for it."""
    outside = [place for place in places if not -count <= place < count]
    if outside:
        raise DeclarationError(
            argument,
            got=str(outside[0]),
            expected=f"an integer from 0 to {count - 1}" if count else "no place: there is none",
            mend="members, joints and components are counted from 0; joint i lies between the "
            "components i and i + 1",
        )
