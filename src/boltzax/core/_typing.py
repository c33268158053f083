"""Run-time checking of public calls: shapes by jaxtyping, everything else by beartype."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from beartype import beartype
from jaxtyping import jaxtyped

from ._precision import full_products

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def typed(fn: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator of public functions: arguments and results are checked against their annotations.

    The check is made when the function is called or traced, never per step of a compiled loop. It
    is written at the first call: at import time the checks of all functions cost as much as JAX.
    Matrices are multiplied in full inside (see `full_products`).
    """

    @functools.cache
    def checked() -> Callable[Arguments, Result]:
        return jaxtyped(fn, typechecker=beartype)

    @functools.wraps(fn)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with full_products():
            return checked()(*args, **kwargs)

    return call
