"""Charts: which weights are free. The others are frozen at the declared model's values."""

import abc
from collections.abc import Mapping
from typing import Annotated, TypeAlias

import equinox as eqx
import numpy as np
from jaxtyping import Bool

from ..core import DeclarationError, Said, described, matches, typed

PATH = Said(expected="a path as a string", mend="name weights, e.g. bx.Freeze('embedding')")
Frozen: TypeAlias = Annotated[str, PATH, Said(called="Freeze")]
Selected: TypeAlias = Annotated[str, PATH, Said(called="Select")]
Entries: TypeAlias = Annotated[
    Bool[np.ndarray, "..."],
    Said(
        expected="a boolean array, True where the entry is free",
        mend="compare or cast: mask.astype(bool)",
    ),
]
Masks: TypeAlias = Annotated[
    Mapping[str, Entries],
    Said(
        expected="a dictionary from path to boolean array",
        mend="write Mask({'embedding': mask})",
        called="Mask",
    ),
]
TIE = Said(
    expected="a dictionary from leaf to leaf, or leaf='other'",
    mend="write Tie(decoder='encoder')",
    called="Tie",
)
Ties: TypeAlias = Annotated[Mapping[str, str] | None, TIE]
Source: TypeAlias = Annotated[str, TIE]


@described(
    "a chart: Freeze, Select, Mask, Tie, or several joined by |",
    "pass e.g. bx.Freeze('embedding')",
)
class AbstractChart(eqx.Module):
    """A choice of free weights; charts compose with `|`, left to right."""

    @abc.abstractmethod
    def restrict(self, slots: "Slots") -> "Slots":
        """What is left free by this chart of what was free before it."""

    @typed
    def __or__(self, chart: "AbstractChart") -> "Composed":
        return Composed((self, chart))


class Slots(eqx.Module):
    """Free weights by path.

    Args:
        shapes: Shape of every leaf of the model.
        free: Paths that vary.
        masks: For a leaf that varies in part, which entries do.
        ties: Leaf -> the free leaf whose values it takes.
    """

    shapes: dict[str, tuple[int, ...]] = eqx.field(static=True)
    free: tuple[str, ...] = eqx.field(static=True)
    masks: dict[str, Bool[np.ndarray, "..."]]
    ties: dict[str, str] = eqx.field(static=True)

    def named(self, argument: str, pattern: str) -> tuple[str, ...]:
        """The paths that a pattern names; an error if there is none."""
        found = tuple(path for path in self.shapes if matches(pattern, path))
        if not found:
            raise DeclarationError(
                argument,
                got=f"the path {pattern!r}, which names no weights",
                expected=f"one of {sorted(self.shapes)}",
                mend="correct the path",
            )
        return found

    def only(self, paths: set[str], masks: dict | None = None) -> "Slots":
        """The same slots with these paths free, and these masks."""
        free = tuple(path for path in self.free if path in paths)
        masks = {k: v for k, v in (self.masks | (masks or {})).items() if k in free}
        ties = {k: v for k, v in self.ties.items() if v in free}
        return Slots(self.shapes, free, masks, ties)


@typed
class Freeze(AbstractChart):
    """Hold the named weights at the declared model's values; the others stay free."""

    paths: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, *paths: Frozen):
        self.paths = paths

    def restrict(self, slots: Slots) -> Slots:
        held = {path for pattern in self.paths for path in slots.named("Freeze", pattern)}
        return slots.only(set(slots.free) - held)


@typed
class Select(AbstractChart):
    """Only the named weights are free: the weight-restricted posterior."""

    paths: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, *paths: Selected):
        self.paths = paths

    def restrict(self, slots: Slots) -> Slots:
        kept = {path for pattern in self.paths for path in slots.named("Select", pattern)}
        return slots.only(set(slots.free) & kept)


@typed
class Mask(AbstractChart):
    """Free entries by a boolean array a leaf; leaves that are not named stay as they are."""

    masks: dict[str, Bool[np.ndarray, "..."]]

    def __init__(self, masks: Masks):
        self.masks = dict(masks)

    def restrict(self, slots: Slots) -> Slots:
        masks, kept = {}, set(slots.free)
        for pattern, mask in self.masks.items():
            for path in slots.named("Mask", pattern):
                if mask.shape != slots.shapes[path]:
                    raise DeclarationError(
                        f"Mask[{pattern!r}]",
                        got=f"shape {mask.shape}",
                        expected=f"the shape of the leaf, {slots.shapes[path]}",
                        mend="give one boolean for each entry of the leaf",
                    )
                masks[path] = mask & slots.masks.get(path, True)
                if not masks[path].any():
                    kept.discard(path)
        return slots.only(kept, masks)


@typed
class Tie(AbstractChart):
    """`Tie(decoder="encoder")`: the leaf `decoder` takes the values of the leaf `encoder`."""

    ties: dict[str, str] = eqx.field(static=True)

    def __init__(self, ties: Ties = None, /, **by_field: Source):
        self.ties = dict(ties or {}) | by_field

    def restrict(self, slots: Slots) -> Slots:
        ties = dict(slots.ties)
        tied = {self._one(slots, leaf) for leaf in self.ties}
        for leaf, source in self.ties.items():
            leaf, source = self._one(slots, leaf), self._one(slots, source)
            if slots.shapes[leaf] != slots.shapes[source]:
                raise DeclarationError(
                    "Tie",
                    got=f"{leaf!r} of shape {slots.shapes[leaf]} tied to {source!r} of shape "
                    f"{slots.shapes[source]}",
                    expected="two leaves of one shape",
                    mend="tie leaves of equal shape",
                )
            if source not in slots.free or source in tied:
                raise DeclarationError(
                    "Tie",
                    got=f"the source {source!r}",
                    expected="a free leaf other than the tied one",
                    mend="tie to a leaf that is neither frozen nor tied itself",
                )
            ties[leaf] = source
        ties = {leaf: ties.get(source, source) for leaf, source in ties.items()}
        kept = slots.only(set(slots.free) - tied)
        return Slots(kept.shapes, kept.free, kept.masks, ties)

    def _one(self, slots: Slots, pattern: str) -> str:
        found = slots.named("Tie", pattern)
        if len(found) > 1:
            raise DeclarationError(
                "Tie",
                got=f"the path {pattern!r}, which names {list(found)}",
                expected="one leaf",
                mend="tie leaf by leaf",
            )
        return next(iter(found))


@typed
class Composed(AbstractChart):
    """Charts applied one after the other."""

    charts: tuple[AbstractChart, ...]

    def restrict(self, slots: Slots) -> Slots:
        for chart in self.charts:
            slots = chart.restrict(slots)
        return slots
