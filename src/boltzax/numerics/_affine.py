"""Which inputs a function is affine in: a walk over its jaxpr.

Every value of the program has a role. `FIXED` values depend on no input that varies, `WEIGHT`
values on the weights alone, `DATUM` values on the datum alone. `AFFINE` values are affine in the
*sources*, `OTHER` values are the rest. With weights as sources the walk finds a linear readout.
With features of the data as sources it finds the sufficient statistics of a squared loss.

A value is affine only if all operations are in the default float dtype: a value that was rounded to
fewer digits, or to integers, is not affine up to rounding. Functions with a custom derivative
(`custom_jvp`, `custom_vjp`) count as `OTHER`, because the lowered program would have another
derivative.
"""

import dataclasses
import enum
import functools
import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, PyTree

from ..core import eager, full_products, known
from ._interpreter import Rule, bind, interpret


class Role(enum.IntEnum):
    """The dependence of a value of the program on its inputs."""

    FIXED = 0
    WEIGHT = 1
    DATUM = 2
    AFFINE = 3
    OTHER = 4


_LINEAR = frozenset(
    "neg convert_element_type reshape squeeze expand_dims broadcast_in_dim transpose reduce_sum "
    "slice rev copy copy_p real concatenate add sub add_any pad cumsum".split()
)
_LINEAR_IN_FIRST = frozenset("dynamic_slice gather div".split())
_BILINEAR = frozenset("mul dot_general conv_general_dilated".split())
_INLINED = frozenset("jit pjit closed_call core_call remat checkpoint remat2".split())


def _role(eqn, roles: list[Role]) -> Role:
    """The role of a primitive's results when an operand is affine in the sources."""
    name = eqn.primitive.name
    affine = [role == Role.AFFINE for role in roles]
    if Role.OTHER in roles or not any(affine) or not _precise(eqn, affine):
        return Role.OTHER
    if name in _LINEAR:
        return Role.AFFINE
    if name in _LINEAR_IN_FIRST and not any(affine[1:]):
        return Role.AFFINE
    if name in _BILINEAR and sum(affine) == 1:
        return Role.AFFINE
    if name == "select_n" and not affine[0]:
        return Role.AFFINE
    return Role.OTHER


def _precise(eqn, affine: list[bool]) -> bool:
    """Whether an equation is computed in the default float dtype, without narrower dtypes.

    A product may have a narrower affine factor: these are data, as values that are computed in a
    narrower dtype are not affine.
    """
    wide = jnp.result_type(float)
    narrow = eqn.primitive.name in _BILINEAR
    for var, moves in zip(eqn.invars, affine, strict=True):
        dtype = var.aval.dtype
        if dtype == wide or (moves and narrow and jnp.issubdtype(dtype, jnp.floating)):
            continue
        if moves or jnp.issubdtype(dtype, jnp.inexact):
            return False
    precision = eqn.params.get("precision")
    plain = precision if isinstance(precision, tuple) else (precision,)
    if not all(p is None or isinstance(p, jax.lax.Precision) for p in plain):
        return False  # an algorithm that rounds its operands
    return all(var.aval.dtype == wide for var in eqn.outvars)


@dataclasses.dataclass(eq=False)
class Traced:
    """A value of the program.

    Args:
        role: Its role.
        value: Its numbers, or None if they are not known.
        aval: Its shape and dtype.
        feature: The feature that replaces it in operations with weights.
    """

    role: Role
    value: Array | None
    aval: Any
    feature: "Traced | None" = None


def _traced(closed: ClosedJaxpr, roles: list[Role], values: list, rule: Rule) -> list[Traced]:
    """The outputs of a program whose inputs have these roles."""
    avals = [variable.aval for variable in closed.jaxpr.invars]
    given = [Traced(*parts) for parts in zip(roles, values, avals, strict=True)]
    return interpret(closed, given, rule, lambda value: Traced(Role.FIXED, value, None))


def _rule(meet: Callable[[Traced], Traced], eqn: Any, operands: list[Traced]) -> list | None:
    """The rule of the interpreter: roles of all results, and values if all operands are known.

    An equation whose operands depend on one kind of input is evaluated as a whole. Other calls are
    replaced by their bodies. `meet` gives the feature that replaces a value of the datum.
    """
    kinds = {operand.role for operand in operands} - {Role.FIXED}
    if not kinds or kinds in ({Role.WEIGHT}, {Role.DATUM}):
        role = max(kinds, default=Role.FIXED)
    elif eqn.primitive.name in _INLINED:
        return None
    else:
        operands = [meet(traced) if traced.role == Role.DATUM else traced for traced in operands]
        role = _role(eqn, [operand.role for operand in operands])
    values = [operand.value for operand in operands]
    known = all(value is not None for value in values)
    results = bind(eqn, values) if known else [None] * len(eqn.outvars)
    return [Traced(role, r, v.aval) for r, v in zip(results, eqn.outvars, strict=True)]


def affine_in(fn: Callable, source: PyTree, *fixed: PyTree) -> bool:
    """Whether `fn(source, *fixed)` is affine in `source`, jointly in all leaves."""
    closed = jax.make_jaxpr(fn)(source, *fixed)
    count = len(jax.tree.leaves(source))
    rest = len(closed.jaxpr.invars) - count
    roles = [Role.AFFINE] * count + [Role.FIXED] * rest
    rule = functools.partial(_rule, lambda traced: traced)
    results = _traced(closed, roles, [None] * len(roles), rule)
    return all(result.role <= Role.AFFINE for result in results)


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), leaf.dtype), tree)


def _digest(constant: Array) -> str:
    """A hash of a constant of a program."""
    if jnp.issubdtype(constant.dtype, jax.dtypes.prng_key):
        constant = jax.random.key_data(constant)
    return hashlib.sha256(np.asarray(constant).tobytes()).hexdigest()


class Split:
    """A function `fn(base, weights, datum)` split as `affine(features(base, datum), weights)`.

    Features are values that depend on the datum alone and enter an operation with weights.
    `is_affine` is True if the result is affine in them; `is_known` is True if no constant of the
    program is traced. `features(base, datum)` concatenates them, and `apply(base, weights,
    features)` evaluates the function. Two splits of one program with the same constants are equal,
    so compiling a declaration again does not retrace. A split is pickled as the function and its
    shapes, and traced again when it is loaded.
    """

    @eager
    @full_products()
    def __init__(self, fn: Callable, base: PyTree, weights: PyTree, datum: PyTree):
        self._made = (fn, *map(_shapes, (base, weights, datum)))
        self._closed, shape = jax.make_jaxpr(fn, return_shape=True)(*self._made[1:])
        self._out = jax.tree.structure(shape)
        self.width = sum(leaf.size for leaf in jax.tree.leaves(shape))
        counts = [len(jax.tree.leaves(part)) for part in (base, weights, datum)]
        kinds = (Role.FIXED, Role.WEIGHT, Role.DATUM)
        self._roles = [kind for kind, n in zip(kinds, counts, strict=True) for _ in range(n)]
        results, met = self._run([None] * len(self._roles), None)
        linear = (Role.WEIGHT, Role.FIXED, Role.AFFINE)
        self.is_affine = all(result.role in linear for result in results)
        self._shapes = [traced.aval for traced in met]
        self.size = sum(aval.size for aval in self._shapes)
        self.is_known = known(self._closed.consts)
        self._text = f"{self._closed.jaxpr} {self._roles} {self._out}"
        if self.is_known:
            self._text += " ".join(map(_digest, self._closed.consts))

    def __reduce__(self):
        return Split, self._made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Split) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def features(self, base: PyTree, datum: PyTree) -> Array:
        """The features of one datum, `[size]`."""
        _, met = self._run(self._values(base, None, datum), None)
        parts = [jnp.ravel(traced.value) for traced in met]
        return jnp.concatenate(parts) if parts else jnp.zeros(0)

    def apply(self, base: PyTree, weights: PyTree, features: Array) -> PyTree:
        """The function's value from the features."""
        parts, start = [], 0
        for aval in self._shapes:
            parts.append(features[start : start + aval.size].reshape(aval.shape))
            start += aval.size
        results, _ = self._run(self._values(base, weights, None), parts)
        return jax.tree.unflatten(self._out, [result.value for result in results])

    def _values(self, base: PyTree, weights: PyTree | None, datum: PyTree | None) -> list:
        values = list(jax.tree.leaves(base))
        for part, kind in ((weights, Role.WEIGHT), (datum, Role.DATUM)):
            missing = [None] * self._roles.count(kind)
            values += missing if part is None else jax.tree.leaves(part)
        return values

    def _run(self, values: list, supply: list | None) -> tuple[list[Traced], list[Traced]]:
        """One pass over the program: its outputs and its features.

        If `supply` is given, the values of the features are taken from it.
        """
        met: list[Traced] = []

        def feature(traced: Traced) -> Traced:
            if traced.feature is None:
                value = None if supply is None else supply[len(met)]
                traced.feature = Traced(Role.AFFINE, value, traced.aval)
                met.append(traced)
            return traced.feature

        results = _traced(self._closed, self._roles, values, functools.partial(_rule, feature))
        return [feature(traced) if traced.role == Role.DATUM else traced for traced in results], met
