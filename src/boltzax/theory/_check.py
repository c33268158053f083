"""Checks of arguments: what was given, what was expected, how to mend it."""

import math
import operator
from collections.abc import Iterable
from fractions import Fraction
from numbers import Rational, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boltzax.core import DeclarationError


def whole(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """`value` as an int between the two limits, both included."""
    expected = f"a whole number, at least {minimum}"
    if maximum is not None:
        expected += f" and at most {maximum}"
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise DeclarationError(
            name, got=repr(value), expected=expected, mend=f"pass an int, such as {minimum}"
        ) from None
    if number < minimum or (maximum is not None and number > maximum):
        mend = f"raise it to {minimum}" if number < minimum else f"lower it to {maximum} or less"
        raise DeclarationError(name, got=str(number), expected=expected, mend=mend)
    return number


def wholes(name: str, values: Any, minimum: int, length: int) -> tuple[int, ...]:
    """`values` as a tuple of at least `length` ints, each at least `minimum`."""
    entries = entries_of(name, values)
    if len(entries) < length:
        raise DeclarationError(
            name,
            got=f"{len(entries)} entries",
            expected=f"at least {length} entries",
            mend="give every entry of the sequence",
        )
    return tuple(whole(f"{name}[{i}]", value, minimum) for i, value in enumerate(entries))


def fractions(name: str, values: Any, above: int, *, closed: bool) -> tuple[Fraction, ...]:
    """`values` as exact fractions greater than `above`, or equal to it where `closed`."""
    return tuple(
        fraction(f"{name}[{i}]", value, above, closed=closed)
        for i, value in enumerate(entries_of(name, values))
    )


def fraction(name: str, value: Any, above: int, *, closed: bool) -> Fraction:
    """`value` as an exact fraction greater than `above`, or equal to it where `closed`."""
    expected = f"a finite number {'at least' if closed else 'greater than'} {above}"
    mend = "pass an int, a fractions.Fraction or a float that is exact in binary"
    real = isinstance(value, (Rational, Real, np.integer, np.floating))
    if isinstance(value, (bool, np.bool_)) or not real or not math.isfinite(value):
        raise DeclarationError(name, got=repr(value), expected=expected, mend=mend)
    number = Fraction(value) if isinstance(value, Rational) else Fraction(float(value))
    if number < above or (number == above and not closed):
        raise DeclarationError(
            name, got=str(number), expected=expected, mend=f"pass a number above {above}"
        )
    return number


def entries_of(name: str, values: Any) -> tuple[Any, ...]:
    """`values` as a tuple, refusing strings and single numbers."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise DeclarationError(
            name,
            got=repr(values),
            expected="a sequence, one entry a coordinate",
            mend=f"write {name}=({values!r},) for a single entry",
        )
    return tuple(values)


def positive(name: str, value: Any, *, infinite: bool = False) -> float:
    """`value` as a float greater than 0; infinity is let through only where `infinite`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not number > 0 or (math.isinf(number) and not infinite):
        raise DeclarationError(
            name,
            got=repr(value),
            expected="a number greater than 0" + ("" if infinite else ", finite"),
            mend="pass its absolute value, in the units of the argument",
        )
    return number


def log_counts(value: ArrayLike, limit: float) -> NDArray[np.float64]:
    """`value` as float64 values of log n, finite and of modulus at most `limit`."""
    array = np.asarray(value, dtype=np.float64)
    if not np.all(np.isfinite(array)) or np.any(np.abs(array) > limit):
        raise DeclarationError(
            "log_n",
            got=f"values between {np.min(array)} and {np.max(array)}",
            expected=f"natural logarithms of n, finite and of modulus at most {limit:g}",
            mend="pass np.log(n) rather than n; past the limit use the asymptotic form, "
            "LearningCoefficient.at",
        )
    return array
