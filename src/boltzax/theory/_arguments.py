"""Argument types of exact values: numbers of Python, or exact fractions."""

import math
from collections.abc import Sequence
from fractions import Fraction
from numbers import Rational
from typing import Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core import Constraint, DeclarationError, Refused, integer, numbers, real, scalar


def exact(above: int, *, closed: bool) -> Constraint:
    """A number greater than `above`, or equal to it where `closed`, as an exact fraction."""

    def take(value: Any) -> Fraction:
        plain = value if isinstance(value, Rational) else float(real(value))
        if isinstance(value, bool) or not math.isfinite(plain):
            raise Refused
        number = Fraction(plain)
        if number < above or (number == above and not closed):
            raise Refused
        return number

    return Constraint(
        f"a finite number {'at least' if closed else 'greater than'} {above}",
        "pass an int, a fractions.Fraction or a float that is exact in binary",
        take,
    )


def log_counts(limit: float) -> Constraint:
    """Values of log n in float64, of modulus at most `limit`."""

    def take(value: Any) -> NDArray[np.float64]:
        array = numbers(value, float, host=True).astype(np.float64)
        if not np.all(np.abs(array) <= limit):
            raise Refused
        return array

    return Constraint(
        f"natural logarithms of n, finite and of modulus at most {limit:g}",
        "pass np.log(n) rather than n; past the limit use the asymptotic form, "
        "LearningCoefficient.at",
        take,
    )


def _non_negatives(value: Any) -> NDArray[np.float64]:
    array = numbers(value, float, host=True).astype(np.float64)
    if not array.size or not np.all((array >= 0) & np.isfinite(array)):
        raise Refused
    return array


def _odd(value: Any) -> int:
    number = integer(value)
    if number < 1 or number % 2 == 0:
        raise Refused
    return number


def _above_zero(value: Any) -> float:
    number = float(real(value))
    if not number > 0:
        raise Refused
    return number


Above: TypeAlias = Annotated[float, scalar(0, open_low=True)]
"""A finite number above 0."""
Share: TypeAlias = Annotated[float, scalar(0, 1, open_high=True)]
"""A number from 0 on and below 1."""
AboveOrInfinite: TypeAlias = Annotated[
    float, Constraint("a number greater than 0", "pass its absolute value", _above_zero)
]
"""A number above 0; infinity is allowed."""
Exact: TypeAlias = Annotated[Fraction | float, exact(0, closed=True)]
"""A number that is not negative, as an exact fraction."""
Degree: TypeAlias = Annotated[Fraction | float, exact(0, closed=False)]
"""A number above 0, as an exact fraction."""
Powers: TypeAlias = Sequence[Exact]
"""Numbers that are not negative, as exact fractions."""
PriorPowers: TypeAlias = Sequence[Annotated[Fraction | float, exact(-1, closed=False)]]
"""Numbers greater than -1, as exact fractions."""
Spectrum: TypeAlias = Annotated[
    ArrayLike,
    Constraint(
        "finite numbers, at least 0",
        "pass the eigenvalues of the Hessian of K times the prior variance",
        _non_negatives,
    ),
]
"""Eigenvalues of a positive semidefinite matrix, in float64."""
Betas: TypeAlias = Annotated[
    ArrayLike,
    Constraint("finite inverse temperatures, at least 0", "pass np.exp(log_n)", _non_negatives),
]
"""Inverse temperatures in float64."""
OddOrder: TypeAlias = Annotated[
    int,
    Constraint(
        "an odd order: the even coefficients of tanh are 0", "pass range(1, limit, 2)", _odd
    ),
]
"""A positive odd integer."""


def at_most(argument: str, value: int, bound: int, what: str) -> int:
    """The value, if it is at most `bound`, which depends on another argument.

    Raises:
        DeclarationError: For a larger one.
    """
    if value > bound:
        raise DeclarationError(
            argument,
            got=str(value),
            expected=f"at most {bound}, {what}",
            mend=f"lower it to {bound} or less",
        )
    return value
