"""Run-time checking of public calls: shapes by jaxtyping, everything else by beartype."""

from beartype import beartype
from jaxtyping import jaxtyped

typed = jaxtyped(typechecker=beartype)
"""Decorator of public functions: arguments and results are checked against their annotations when
the function is called or traced, never per step of a compiled loop."""
