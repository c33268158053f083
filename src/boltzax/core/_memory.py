"""How many bytes a function holds at work, and maps that stay within a given number of bytes."""

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeAlias

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import PyTree

from ._arguments import Said, whole

MEMORY = 2**30
"""Default bound on the bytes at work in a map over draws, data or samples: a gigabyte."""

Memory: TypeAlias = Annotated[
    int,
    whole(1),
    Said("a positive whole number of bytes", "pass e.g. memory=2**30 for a gigabyte"),
]
"""Bytes of intermediate values at once."""


def working_bytes(fn: Callable, *arguments: PyTree) -> tuple[int, PyTree]:
    """Bytes that the intermediate values and results of `fn(*arguments)` hold at once.

    Also gives the shapes of the results, as `jax.eval_shape` does: `fn` is traced once for both.
    The number of bytes is an upper estimate from shapes alone: the program as traced, each value
    alive from where it is made to its last use. A compiler that fuses operations needs less.
    Arguments may be `jax.ShapeDtypeStruct`.
    """
    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*arguments)
    return _peak(closed.jaxpr), shapes


def stored_bytes(fn: Callable, *arguments: PyTree) -> int:
    """Bytes of all intermediate values of `fn(*arguments)` together.

    What a gradient by reverse mode keeps is at most this.
    """
    return _total(jax.make_jaxpr(fn)(*arguments).jaxpr)


def map_within(fn: Callable, xs: PyTree, memory: int = MEMORY) -> PyTree:
    """`fn` at every entry of the leading axis of `xs`, as many together as `memory` bytes allow.

    One entry is always possible, even where it needs more. The number of entries together does not
    change the result by more than rounding. Runs under `jit`.
    """
    count = jax.tree.leaves(xs)[0].shape[0]
    first = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)
    together = share(count, memory // max(working_bytes(fn, first)[0], 1))
    if together == count:
        return jax.vmap(fn)(xs)
    return jax.lax.map(fn, xs, batch_size=together)


def share(count: int, most: int) -> int:
    """How many of `count` entries to take together, at most `most`.

    A divisor of `count` near `most` where there is one: a last part of another size would be
    compiled by itself.
    """
    most = min(max(most, 1), count)
    if most == count:
        return count
    divisors = (size for size in range(most, most // 2, -1) if count % size == 0)
    return next(divisors, math.ceil(count / math.ceil(count / most)))


def _peak(jaxpr: Jaxpr) -> int:
    last = {var: i for i, eqn in enumerate(jaxpr.eqns) for var in _variables(eqn.invars)}
    last |= dict.fromkeys(_variables(jaxpr.outvars), len(jaxpr.eqns))
    live, peak, made = 0, 0, set()
    for i, eqn in enumerate(jaxpr.eqns):
        inner = max((_peak(each) for each in subprograms(eqn)), default=0)
        size = sum(map(_bytes, eqn.outvars))
        peak = max(peak, live + size + inner)
        made |= {var for var in eqn.outvars if last.get(var, i) > i}
        dead = {var for var in _variables(eqn.invars) if var in made and last[var] == i}
        live += sum(_bytes(var) for var in eqn.outvars if var in made) - sum(map(_bytes, dead))
        made -= dead
    return peak


def _total(jaxpr: Jaxpr) -> int:
    total = 0
    for eqn in jaxpr.eqns:
        repeats = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
        inner = [_total(each) for each in subprograms(eqn)]
        total += sum(map(_bytes, eqn.outvars)) + repeats * max(inner, default=0)
    return total


def subprograms(eqn: Any) -> Iterator[Jaxpr]:
    """The programs among the parameters of an equation."""
    for value in eqn.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, ClosedJaxpr):
                yield each.jaxpr
            elif isinstance(each, Jaxpr):
                yield each


def _variables(variables) -> set:
    return {var for var in variables if not isinstance(var, Literal)}


def _bytes(var) -> int:
    shape, dtype = getattr(var.aval, "shape", ()), getattr(var.aval, "dtype", None)
    return math.prod(shape) * (dtype.itemsize if dtype is not None else 0)
