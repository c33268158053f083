"""Run-time checking of public calls: shapes by jaxtyping, everything else by beartype."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from beartype import beartype
from jaxtyping import jaxtyped

from ._precision import full_products

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def typed(fn: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator of public functions: arguments and results are checked against their annotations.

    The check is made when the function is called or traced, never per step of a compiled loop.
    Matrices are multiplied in full inside (see `full_products`).
    """
    return full_products()(jaxtyped(fn, typechecker=beartype))
