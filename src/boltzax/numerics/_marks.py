"""Named values of programs: an identity operation that carries a name, read or replaced later.

`mark` puts a name on a value while a function is traced. `run_marked` then runs the traced
program, replaces values by their names and gives back those that are asked for. Values inside
`jax.vmap` have the mapped axes first, outer to inner. A `scan` is rewritten, not unrolled.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from ..core import DeclarationError, subprograms
from ._interpreter import bind, called, interpret, scan_inputs

Steps = tuple[tuple[Any, int], ...]
"""Where a value is met: (number, out of how many) of each repetition, outer to inner."""
Replace = Callable[[str, Array, Steps], Array]
"""A value in place of the marked one, from its name, itself and its steps."""

MARK = Primitive("boltzax_mark")
MARK.def_impl(lambda x, *, name: x)
MARK.def_abstract_eval(lambda x, *, name: x)
mlir.register_lowering(MARK, lambda ctx, x, *, name: [x])

SLOPE = Primitive("boltzax_mark_slope")
"""The derivative of what takes the place of a marked value x, along t; also transposed.

The first `directions` axes of t are not those of x: several t at one x. With `again` it is
differentiated by x itself.
"""
SLOPE.def_impl(lambda x, t, **params: t)
SLOPE.def_abstract_eval(lambda x, t, **params: t)
mlir.register_lowering(SLOPE, lambda ctx, x, t, **params: [t])

REMATS = ("checkpoint", "remat", "remat2")


def mark(value: Array, name: str) -> Array:
    """The value itself, with a name in the traced program."""
    return MARK.bind(value, name=name)


def _jvp(primals, tangents, *, name):
    (x,), (t,) = primals, tangents
    if type(t) is ad.Zero or not jnp.issubdtype(x.dtype, jnp.inexact):
        return mark(x, name), t
    options = {"directions": 0, "transposed": False, "again": False}
    return mark(x, name), SLOPE.bind(x, t, name=name, **options)


def _jvp_slope(primals, tangents, *, again, **params):
    (x, t), (x_dot, t_dot) = primals, tangents
    again = again or type(x_dot) is not ad.Zero
    slope = SLOPE.bind(x, t, again=again, **params)
    if type(t_dot) is ad.Zero:
        return slope, jnp.zeros_like(slope)
    return slope, SLOPE.bind(x, t_dot, again=again, **params)


def _transpose(cotangent, x, t, *, transposed, **params):
    if type(cotangent) is ad.Zero:
        return None, cotangent
    return None, SLOPE.bind(x, cotangent, transposed=not transposed, **params)


def _batch(values, axes, *, name):
    return mark(jnp.moveaxis(values[0], axes[0], 0), name), 0


def _batch_slope(values, axes, *, directions, **params):
    (x, t), (x_axis, t_axis) = values, axes
    if x_axis is None:
        t = jnp.moveaxis(t, t_axis, 0)
        return SLOPE.bind(x, t, directions=directions + 1, **params), 0
    x = jnp.moveaxis(x, x_axis, 0)
    if t_axis is None:
        t = jnp.broadcast_to(jnp.expand_dims(t, directions), (*t.shape[:directions], *x.shape))
    else:
        t = jnp.moveaxis(t, t_axis, directions)
    return SLOPE.bind(x, t, directions=directions, **params), directions


ad.primitive_jvps[MARK] = _jvp
ad.primitive_jvps[SLOPE] = _jvp_slope
ad.primitive_transposes[SLOPE] = _transpose
batching.primitive_batchers[MARK] = _batch
batching.primitive_batchers[SLOPE] = _batch_slope


def marks(jaxpr: Jaxpr) -> Iterator[str]:
    """The names of marked values of a program, in order."""
    for eqn in jaxpr.eqns:
        if eqn.primitive is MARK:
            yield eqn.params["name"]
        for program in subprograms(eqn):
            yield from marks(program)


def out_of_reach(jaxpr: Jaxpr) -> Iterator[str]:
    """The names of marked values inside operations that `run_marked` does not look into."""
    for eqn in jaxpr.eqns:
        inside = eqn.primitive.name == "scan" or called(eqn) is not None
        for program in subprograms(eqn):
            yield from out_of_reach(program) if inside else marks(program)


def run_marked(
    closed: ClosedJaxpr,
    arguments: Iterable[Any],
    wanted: Callable[[str], bool],
    replace: Replace | None = None,
) -> tuple[list, dict[tuple[str, int], Array]]:
    """Run a program with marked values replaced, and give those that are wanted.

    Args:
        closed: The program.
        arguments: Its inputs.
        wanted: Whether values of a name are read, or replaced by others.
        replace: Gives what takes the place of a value; None to read.

    Returns:
        The outputs, and the values read by name and number of the mark; those in a `scan` have its
        steps as first axis.

    Raises:
        DeclarationError: If a wanted value is inside an operation that is not looked into (a
            `cond`, a `while`); if one is replaced of which the program takes a second derivative.
    """
    walk = _Walk(Counter(marks(closed.jaxpr)), wanted, replace, Counter(), ())
    return interpret(closed, arguments, walk.rule), walk.kept


class _Walk:
    """One run of a program, or of the body of a loop in it."""

    def __init__(
        self,
        counts: Counter,
        wanted: Callable[[str], bool],
        replace: Replace | None,
        met: Counter,
        steps: Steps,
    ):
        self.counts, self.wanted, self.replace = counts, wanted, replace
        self.met, self.steps = Counter(met), steps
        self.kept: dict[tuple[str, int], Array] = {}

    def rule(self, eqn: Any, values: list) -> list | None:
        if eqn.primitive is MARK:
            return [self._value(eqn.params["name"], *values)]
        if eqn.primitive is SLOPE:
            return [self._slope(*values, **eqn.params)]
        if not any(True for program in subprograms(eqn) for _ in _operations(program)):
            return bind(eqn, values)
        if eqn.primitive.name == "scan":
            return self._scan(eqn, values)
        if eqn.primitive.name in REMATS:
            return self._remat(eqn, values)
        if called(eqn) is not None:
            return None
        self._refuse(eqn)
        return bind(eqn, values)

    def _value(self, name: str, value: Array) -> Array:
        number = self.met[name]
        self.met[name] += 1
        if self.replace is not None:
            return self._replaced(name, number, value)
        if self.wanted(name):
            self.kept[name, number] = value
        return value

    def _replaced(self, name: str, number: int, value: Array) -> Array:
        assert self.replace is not None
        repeats = ((number, self.counts[name]),) if self.counts[name] > 1 else ()
        return self.replace(name, value, (*repeats, *self.steps))

    def _slope(self, x: Array, t: Array, name: str, directions: int, **options: bool) -> Array:
        if self.replace is None or not self.wanted(name):
            return t
        if options["again"]:
            raise _unreached(
                name, "of which the model takes a second derivative", "a place without one"
            )

        def replaced(value: Array) -> Array:
            return self._replaced(name, 0, value)

        def along(t: Array) -> Array:
            if options["transposed"]:
                return jax.vjp(replaced, x)[1](t)[0]
            return jax.jvp(replaced, (x,), (t,))[1]

        for _ in range(directions):
            along = jax.vmap(along)
        return along(t)

    def _inner(self, steps: Steps) -> "_Walk":
        return _Walk(self.counts, self.wanted, self.replace, self.met, steps)

    def _scan(self, eqn: Any, values: list) -> list:
        params = eqn.params
        fixed, start, rows = scan_inputs(eqn, values)
        carried, length = len(start), params["length"]

        def body(carry: list, row: tuple) -> tuple:
            number, rows = row
            walk = self._inner((*self.steps, (number, length)))
            inputs = [*fixed, *carry, *rows]
            results = interpret(params["jaxpr"], inputs, walk.rule)
            return results[:carried], (results[carried:], walk.kept)

        options = {"reverse": params["reverse"], "unroll": params["unroll"]}
        carry, (columns, kept) = jax.lax.scan(
            body, start, (jnp.arange(length), rows), length, **options
        )
        self._keep(eqn, kept)
        return [*carry, *columns]

    def _remat(self, eqn: Any, values: list) -> list:
        inner = called(eqn)
        assert inner is not None

        def run(*values: Any) -> tuple:
            walk = self._inner(self.steps)
            return interpret(inner, values, walk.rule), walk.kept

        options = {name: eqn.params[name] for name in ("policy", "prevent_cse")}
        results, kept = jax.checkpoint(run, **options)(*values)
        self._keep(eqn, kept)
        return results

    def _keep(self, eqn: Any, kept: dict) -> None:
        self.kept |= kept
        self.met.update(name for program in subprograms(eqn) for name in marks(program))

    def _refuse(self, eqn: Any) -> None:
        inside = [name for program in subprograms(eqn) for name in marks(program)]
        for name in filter(self.wanted, inside):
            raise _unreached(
                name,
                f"which is inside a {eqn.primitive.name}",
                "a place outside of branches and loops of unknown length",
                "write jnp.where for the branch, and jax.lax.scan for the loop",
            )


def _unreached(name: str, which: str, expected: str, mend: str = "") -> DeclarationError:
    mend = mend or "read or replace another place"
    return DeclarationError("place", got=f"{name!r}, {which}", expected=expected, mend=mend)


def _operations(jaxpr: Jaxpr) -> Iterator[None]:
    for eqn in jaxpr.eqns:
        if eqn.primitive in (MARK, SLOPE):
            yield
        for program in subprograms(eqn):
            yield from _operations(program)
