"""Checks of the arguments of quantities with errors."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike

from ._arithmetic import AbstractQuantity
from ._confidence_intervals import LEVEL
from ._errors import DeclarationError
from ._tracing import refuted


def check_stack(argument: str, several: Sequence[AbstractQuantity]) -> None:
    """Raise `DeclarationError` unless there are quantities, all of one shape."""
    shapes = sorted({each.shape for each in several})
    if len(shapes) != 1:
        raise DeclarationError(
            argument,
            got=f"quantities of shapes {', '.join(map(str, shapes))}" if shapes else "none",
            expected="one quantity or more, all of one shape",
            mend="stack those of each shape on their own, and look for an empty list",
        )


def check_matrix(matrix: ArrayLike, shape: tuple[int, ...]) -> None:
    """Raise `DeclarationError` unless a matrix `[out, entry]` acts on `[entry, *shape]`."""
    if not np.ndim(matrix) or not shape or np.shape(matrix)[-1] != shape[0]:
        raise DeclarationError(
            "matrix",
            got=f"one of shape {np.shape(matrix)} for a quantity of shape {shape}",
            expected="axes [out, entry], as many entries as the first axis of the quantity has",
            mend="transpose the matrix; a factor for each entry is factor * quantity",
        )


def check_fits(argument: str, number: ArrayLike, shape: tuple[int, ...]) -> None:
    """Raise `DeclarationError` unless a number can be broadcast to a shape."""
    given = np.shape(number)
    ends = zip(given[::-1], shape[::-1], strict=False)
    if len(given) > len(shape) or any(one not in (1, size) for one, size in ends):
        raise DeclarationError(
            argument,
            got=f"an array of shape {given}",
            expected=f"one number, or an array of the shape of the estimate, {shape}",
            mend="pass one number for each entry",
        )


def check_bounds(lower: ArrayLike, upper: ArrayLike, shape: tuple[int, ...]) -> None:
    """Raise `DeclarationError` unless the ends of intervals fit a shape, in their order."""
    check_fits("lower", lower, shape)
    check_fits("upper", upper, shape)
    if refuted(lambda low, high: ~(low > high), lower, upper):
        raise DeclarationError(
            "lower",
            got=f"{repr(lower)[:60]}, above an upper end {repr(upper)[:60]}",
            expected="ends of intervals, lower <= upper",
            mend="exchange the two",
        )


def check_error(error: ArrayLike, shape: tuple[int, ...]) -> None:
    """Raise `DeclarationError` for an error that is negative, or of another shape."""
    check_fits("error", error, shape)
    if refuted(lambda values: ~(values < 0), error):
        raise DeclarationError(
            "error",
            got=repr(error)[:60],
            expected="a standard error, which is not negative",
            mend="pass its size, abs(error)",
        )


def check_level(level: float) -> None:
    """Raise `DeclarationError` for another level than that of stored bounds."""
    if level != LEVEL:
        raise DeclarationError(
            "level",
            got=repr(level),
            expected=f"{LEVEL}, the level of the stored bounds of this estimate",
            mend="take level=0.95, or normal errors by estimate.standard_error",
        )
