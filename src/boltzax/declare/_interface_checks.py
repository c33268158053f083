"""Checks of the sets that an interface is declared with."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core import DeclarationError, eager, refuted
from ._boxes import Box


def check_values(values: object) -> tuple[Hashable, ...]:
    try:
        checked = tuple(values)  # type: ignore[arg-type]
        good = len(checked) > 0 and len(set(checked)) == len(checked)
    except TypeError:
        checked, good = (), False
    if not good:
        raise DeclarationError(
            "values",
            got=repr(values),
            expected="different, hashable logical values",
            mend="name them e.g. (0, 1)",
        )
    return checked


@eager
def check_bounds(name: str, value: Any) -> Array:
    try:
        array = jnp.asarray(value, float)
        good = not refuted(lambda each: each == each, array)
    except (TypeError, ValueError):
        array, good = jnp.zeros(()), False
    if not good:
        raise DeclarationError(
            name,
            got=f"{value!r:.80}",
            expected="numbers, none of them NaN",
            mend="pass an array [value, box, dim]",
        )
    return array


def check_list(value: Hashable, boxes: object) -> list:
    if not isinstance(boxes, Sequence) or isinstance(boxes, str):
        raise DeclarationError(
            f"sets[{value!r}]",
            got=f"{boxes!r:.80}",
            expected="a list of boxes (lower, upper)",
            mend="write [(0.0, 1.2)], also for a single box",
        )
    return list(boxes)


def check_box(value: Hashable, box: object) -> Box:
    argument = f"sets[{value!r}]"
    try:
        low, high = box  # type: ignore[misc]
        ends = []
        for end, missing in ((low, -math.inf), (high, math.inf)):
            entries = [end] if np.ndim(end) == 0 or end is None else list(end)
            ends.append(tuple(missing if x is None else float(x) for x in entries))
    except (TypeError, ValueError) as error:
        raise DeclarationError(
            argument,
            got=f"{box!r:.80}",
            expected="a pair (lower, upper) of numbers or of corners; None for a ray",
            mend="write e.g. (0.0, 1.2) or ((0, 0), (1, 1))",
        ) from error
    if len(ends[0]) != len(ends[1]) or not all(a <= b for a, b in zip(*ends, strict=True)):
        raise DeclarationError(
            argument,
            got=f"{box!r:.80}",
            expected="lower <= upper in every coordinate",
            mend="swap the bounds",
        )
    return ends[0], ends[1]
