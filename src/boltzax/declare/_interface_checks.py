"""What an interface is declared with: logical values, bounds, boxes."""

import math
from collections.abc import Hashable, Sequence
from typing import Annotated, Any, TypeAlias

import numpy as np
from jaxtyping import Array, Float

from ..core import Constraint, DeclarationError, Refused, Said, eager, refuted
from . import _box_unions
from ._basis import floating


def _values(value: Any) -> tuple:
    try:
        values = tuple(value)
        good = len(values) > 0 and len(set(values)) == len(values)
    except TypeError:
        raise Refused from None
    if not good or isinstance(value, str | bytes):
        raise Refused
    return values


Values: TypeAlias = Annotated[
    Sequence[Hashable],
    Constraint("different, hashable logical values", "name them e.g. (0, 1)", _values),
]
"""The logical values of an interface."""
Bounds: TypeAlias = Annotated[
    Float[Array, "..."],
    Said(expected="numbers, none of them NaN", mend="pass an array [value, box, dim]"),
]


@eager
def refuse_nan(name: str, bounds: Array) -> Array:
    """The bounds in the precision in use, if none of them is NaN."""
    if refuted(lambda each: each == each, bounds):
        raise DeclarationError(
            name,
            got="bounds that are NaN",
            expected="numbers, none of them NaN",
            mend="pass an array [value, box, dim]",
        )
    return floating(bounds)


def _box(value: Any) -> _box_unions.Box:
    try:
        low, high = value
        ends = []
        for end, missing in ((low, -math.inf), (high, math.inf)):
            entries = [end] if np.ndim(end) == 0 or end is None else list(end)
            ends.append(tuple(missing if x is None else float(x) for x in entries))
    except (TypeError, ValueError):
        raise Refused from None
    if len(ends[0]) != len(ends[1]):
        raise Refused("", value, UNLIKE)
    if not all(a <= b for a, b in zip(*ends, strict=True)):
        raise Refused("", value, UPSIDE_DOWN)
    return ends[0], ends[1]


UNLIKE = Constraint(
    "two corners of one dimension", "give both corners the same number of entries", _box
)
UPSIDE_DOWN = Constraint("lower <= upper in every coordinate", "swap the bounds", _box)
BOX = Constraint(
    "a pair (lower, upper) of numbers or of corners; None for a ray",
    "write e.g. (0.0, 1.2) or ((0, 0), (1, 1))",
    _box,
)


def _list(value: Any) -> list[_box_unions.Box]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise Refused
    boxes = []
    for each in value:
        try:
            boxes.append(_box(each))
        except Refused as refused:
            raise Refused("", each, refused.constraint or BOX) from None
    return boxes


Boxes: TypeAlias = Annotated[
    Sequence[tuple[Any, Any]],
    Constraint(
        "a list of boxes (lower, upper)", "write [(0.0, 1.2)], also for a single box", _list
    ),
]
"""The closed boxes of one logical value as they are declared: pairs of corners."""
