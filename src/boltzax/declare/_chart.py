"""Charts: which weights are free. Frozen weights keep the values of the declared model."""

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
    """A choice of free weights. `a | b` applies the chart `a`, then `b`.

    Weights are named by path, such as `layers[0].weight`. A prefix or a glob names several.
    """

    @abc.abstractmethod
    def restrict(self, slots: "Slots") -> "Slots":
        """The free weights after this chart, given the free weights before it."""

    @typed
    def __or__(self, chart: "AbstractChart") -> "Composed":
        return Composed((self, chart))


class Slots(eqx.Module):
    """The free weights of a model, by path.

    Args:
        shapes: Shape of every leaf of the model.
        free: Paths of the free leaves.
        masks: The free entries of leaves that are free in part.
        ties: For each tied leaf, the free leaf whose values it takes.
    """

    shapes: dict[str, tuple[int, ...]] = eqx.field(static=True)
    free: tuple[str, ...] = eqx.field(static=True)
    masks: dict[str, Bool[np.ndarray, "..."]]
    ties: dict[str, str] = eqx.field(static=True)

    def named(self, argument: str, pattern: str) -> tuple[str, ...]:
        """The paths that match a pattern.

        Raises:
            DeclarationError: If there is none.
        """
        paths = tuple(path for path in self.shapes if matches(pattern, path))
        if not paths:
            raise DeclarationError(
                argument,
                got=f"the path {pattern!r}, which names no weights",
                expected=f"one of {sorted(self.shapes)}",
                mend="correct the path",
            )
        return paths

    def only(self, paths: set[str], masks: dict | None = None) -> "Slots":
        """The same slots with these paths free, and these masks."""
        free = tuple(path for path in self.free if path in paths)
        masks = {k: v for k, v in (self.masks | (masks or {})).items() if k in free}
        ties = {k: v for k, v in self.ties.items() if v in free}
        return Slots(self.shapes, free, masks, ties)


@typed
class Freeze(AbstractChart):
    """Freeze the named weights at the values of the declared model. The others stay free.

    Args:
        paths: Paths, prefixes or globs.
    """

    paths: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, *paths: Frozen):
        self.paths = paths

    def restrict(self, slots: Slots) -> Slots:
        held = {path for pattern in self.paths for path in slots.named("Freeze", pattern)}
        return slots.only(set(slots.free) - held)


@typed
class Select(AbstractChart):
    """Freeze all weights but the named ones: the weight-restricted posterior.

    Args:
        paths: Paths, prefixes or globs.
    """

    paths: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, *paths: Selected):
        self.paths = paths

    def restrict(self, slots: Slots) -> Slots:
        kept = {path for pattern in self.paths for path in slots.named("Select", pattern)}
        return slots.only(set(slots.free) & kept)


@typed
class Mask(AbstractChart):
    """Freeze single entries of the named leaves. Leaves that are not named stay as they are.

    Args:
        masks: From path to a boolean array of the shape of the leaf, True where an entry is free.
    """

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
    """`Tie(decoder="encoder")`: the leaf `decoder` takes the values of the leaf `encoder`.

    Args:
        ties: From the path of a tied leaf to that of a free leaf of the same shape.
        by_field: The same, for leaves that are fields of the model.
    """

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
        paths = slots.named("Tie", pattern)
        if len(paths) > 1:
            raise DeclarationError(
                "Tie",
                got=f"the path {pattern!r}, which names {list(paths)}",
                expected="one leaf",
                mend="tie leaf by leaf",
            )
        return next(iter(paths))


@typed
class Composed(AbstractChart):
    """Charts that are applied one after another."""

    charts: tuple[AbstractChart, ...]

    def restrict(self, slots: Slots) -> Slots:
        for chart in self.charts:
            slots = chart.restrict(slots)
        return slots
