"""An interpreter of jaxprs: a program is run on values of any kind, by a rule for its equations.

The caller gives the rule that applies an equation to values (bounds, balls, roles, arrays). The
interpreter handles the order of equations, literals, constants and nested programs.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal

Rule = Callable[[Any, list], list | None]
"""The results of an equation from its values; None to run its nested program instead."""

CALLS = frozenset(
    "jit pjit closed_call core_call remat remat2 checkpoint custom_jvp_call custom_vjp_call "
    "custom_vjp_call_jaxpr".split()
)
"""Primitives that run a program once."""

MOST_STEPS = 64
"""The largest length of a `scan` that is unrolled."""


def called(eqn: Any) -> ClosedJaxpr | None:
    """The nested program of an equation that is a call, else None."""
    if eqn.primitive.name not in CALLS:
        return None
    inner = next(eqn.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params)
    # from jax 0.12 on every Jaxpr is closed
    return inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())


def looked_into(eqn: Any) -> bool:
    """Whether an equation is a call, or a scan that is short enough to unroll."""
    scan = eqn.primitive.name == "scan" and 0 < eqn.params["length"] <= MOST_STEPS
    return scan or called(eqn) is not None


def bind(eqn: Any, values: Sequence[Any]) -> list:
    """Evaluate an equation by jax (before 0.10.1 its bind parameters start with sub-functions)."""
    params = eqn.primitive.get_bind_params(eqn.params)
    functions, params = ((), params) if isinstance(params, dict) else params
    results = eqn.primitive.bind(*functions, *values, **params)
    return list(results) if eqn.primitive.multiple_results else [results]


def interpret(
    closed: ClosedJaxpr,
    arguments: Iterable[Any],
    rule: Rule,
    constant: Callable[[Any], Any] = lambda value: value,
) -> list:
    """Run a program on values of any kind.

    Args:
        closed: The program.
        arguments: Its inputs.
        rule: Gives the results of an equation. If it returns None, the nested program is run by the
            same rule, and a `scan` is unrolled (its values must be pytrees of arrays). A `cond` and
            a `while` depend on values, so the rule must handle them.
        constant: Converts a literal or a constant of the program to a value.

    Returns:
        The values of the outputs.
    """
    known = {v: constant(c) for v, c in zip(closed.jaxpr.constvars, closed.consts, strict=True)}
    known |= zip(closed.jaxpr.invars, arguments, strict=True)

    def read(variable: Any) -> Any:
        return constant(variable.val) if isinstance(variable, Literal) else known[variable]

    for eqn in closed.jaxpr.eqns:
        values = [read(v) for v in eqn.invars]
        results = rule(eqn, values)
        if results is None:
            inner, inside = called(eqn), (values, rule, constant)
            results = interpret(inner, *inside) if inner is not None else _scanned(eqn, *inside)
        known |= zip(eqn.outvars, results, strict=True)
    return [read(v) for v in closed.jaxpr.outvars]


def scan_inputs(eqn: Any, values: Sequence[Any]) -> tuple[list, list, list]:
    """The inputs of a scan: those that stay, those that are carried, and the rows of all steps."""
    if "ft_in" in eqn.params:  # from jax 0.12 on
        fixed, carry, rows = map(list, eqn.params["ft_in"].update(values).unpack())
        return fixed, carry, rows
    consts, carried = eqn.params["num_consts"], eqn.params["num_carry"]
    fixed, carry, rows = values[:consts], values[consts:][:carried], values[consts + carried :]
    return list(fixed), list(carry), list(rows)


def _scanned(eqn: Any, values: list, rule: Rule, constant: Callable[[Any], Any]) -> list:
    """The steps of a scan, one after another."""
    assert eqn.primitive.name == "scan", f"{eqn.primitive.name} needs a rule"
    fixed, carry, rows = scan_inputs(eqn, values)
    carried = len(carry)
    steps = range(eqn.params["length"])
    kept = {}
    for i in reversed(steps) if eqn.params["reverse"] else steps:
        row = jax.tree.map(lambda x, i=i: x[i], rows)
        results = interpret(eqn.params["jaxpr"], [*fixed, *carry, *row], rule, constant)
        carry, kept[i] = results[:carried], results[carried:]
    columns = zip(*(kept[i] for i in steps), strict=True)
    return [*carry, *(jax.tree.map(lambda *x: jax.numpy.stack(x), *each) for each in columns)]


def is_one_of(eqn: Any, function: Callable) -> bool:
    """Whether a call is one of this function of jax: the bodies are equal as text."""
    inner = called(eqn)
    if inner is None or len(inner.jaxpr.eqns) > 16:
        return False
    shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
    try:
        reference = called(jax.make_jaxpr(function)(*shapes).eqns[0])
    except (TypeError, ValueError, IndexError):
        return False
    return reference is not None and str(reference.jaxpr) == str(inner.jaxpr)
