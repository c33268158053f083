"""The memory that a function needs, and maps within a bound on memory."""

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeAlias

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import PyTree

from ._arguments import Said, whole

MEMORY = 2**30
"""Default bound on the intermediate bytes of a map over draws, data or samples: a gigabyte."""
PIECE_MEMORY = MEMORY // 8
"""Bound on the intermediate bytes inside one evaluation: of an integral, or of moments of data."""

Memory: TypeAlias = Annotated[
    int,
    whole(1),
    Said("a positive whole number of bytes", "pass e.g. memory=2**30 for a gigabyte"),
]
"""Bytes of intermediate values at once."""


def working_bytes(fn: Callable, *arguments: PyTree) -> tuple[int, PyTree]:
    """Bytes that the intermediate values and results of `fn(*arguments)` hold at once.

    It also returns the shapes of the results, as `jax.eval_shape` does: `fn` is traced once for
    both. The number of bytes is an upper bound from shapes alone: each value of the traced program
    is alive from where it is made to its last use. A compiler that fuses operations needs less.
    Arguments may be `jax.ShapeDtypeStruct`.
    """
    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*arguments)
    return _peak(closed.jaxpr), shapes


def stored_bytes(fn: Callable, *arguments: PyTree) -> int:
    """Bytes of all intermediate values of `fn(*arguments)` together.

    It is an upper bound on what a gradient by reverse mode stores.
    """
    return _total(jax.make_jaxpr(fn)(*arguments).jaxpr)


def map_within(fn: Callable, xs: PyTree, memory: int = MEMORY) -> PyTree:
    """`fn` at every entry of the leading axis of `xs`, as many at once as `memory` bytes allow.

    At least one entry is computed at a time, even if it needs more. The number of entries at once
    changes the result by rounding only. Runs under `jit`.
    """
    count = jax.tree.leaves(xs)[0].shape[0]
    first = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)
    together = share(count, memory // max(working_bytes(fn, first)[0], 1))
    if together == count:
        return jax.vmap(fn)(xs)
    return jax.lax.map(fn, xs, batch_size=together)


def share(count: int, most: int) -> int:
    """How many of `count` entries to take at once, at most `most`.

    A divisor of `count` near `most` if there is one: a last part of another size would need a
    program of its own.
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
        inner = max(map(_peak, subprograms(eqn)), default=0)
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
        inner = max(map(_total, subprograms(eqn)), default=0)
        total += sum(map(_bytes, eqn.outvars)) + repeats * inner
    return total


def subprograms(eqn: Any) -> Iterator[Jaxpr]:
    """The programs among the parameters of an equation."""
    for value in eqn.params.values():
        for program in value if isinstance(value, tuple | list) else (value,):
            if isinstance(program, ClosedJaxpr):
                yield program.jaxpr
            elif isinstance(program, Jaxpr):
                yield program


def _variables(variables) -> set:
    return {var for var in variables if not isinstance(var, Literal)}


def _bytes(var) -> int:
    shape, dtype = getattr(var.aval, "shape", ()), getattr(var.aval, "dtype", None)
    return math.prod(shape) * (dtype.itemsize if dtype is not None else 0)
