"""Argument types of the worked systems."""

from typing import Annotated, Any, TypeAlias

from ..core import Constraint, Refused, scalar, whole


def _odd(value: Any) -> int:
    number = whole(3).take(value)
    if number % 2 == 0:
        raise Refused
    return number


Above: TypeAlias = Annotated[float, scalar(0, open_low=True)]
"""A finite number above 0."""
Finite: TypeAlias = Annotated[float, scalar(open_low=True)]
"""A finite number."""
Share: TypeAlias = Annotated[float, scalar(0, 1, open_low=True)]
"""A number above 0, at most 1."""
Modulus: TypeAlias = Annotated[
    int,
    Constraint(
        "an odd integer of at least 3, so that every Fourier mode but the constant is complex",
        "pass e.g. 11",
        _odd,
    ),
]
"""An odd integer of at least 3."""
