"""Which inputs a function is affine in: a walk over its jaxpr.

Every value of the program carries a role. `FIXED` depends on nothing that varies, `WEIGHT` on the
weights alone, `DATUM` on the datum alone, `AFFINE` is affine in the *sources*, `OTHER` is
anything else. With weights as sources the walk finds a linear readout; with the data's features
as sources it finds the sufficient statistics of a squared loss.

A value counts as affine only if the program computes it in the precision of the process throughout:
what is rounded to fewer digits, or to integers, is not affine to rounding. A function with a
derivative of its own (`custom_jvp`, `custom_vjp`) is not looked into, for the lowered program would
take another derivative.
"""

import enum
import hashlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import Array, PyTree

from ..core import eager, full_products, known


class Role(enum.IntEnum):
    """What a value of the program depends on."""

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
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_INLINED = frozenset("jit pjit closed_call core_call remat checkpoint remat2".split())


def _rule(eqn, roles: list[Role]) -> Role:
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
    """Whether an equation rounds no more than the process does: no narrower or integer numbers.

    A product in the precision of the process may have a narrower affine factor: narrow data, for
    what is computed in fewer digits is not affine in the first place.
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
    if not all(each is None or isinstance(each, jax.lax.Precision) for each in plain):
        return False  # an algorithm that rounds its operands
    return all(var.aval.dtype == wide for var in eqn.outvars)


def _inner(eqn) -> ClosedJaxpr | None:
    if eqn.primitive.name not in _INLINED:
        return None
    for key in _CALLS:
        inner = eqn.params.get(key)
        if isinstance(inner, ClosedJaxpr):  # from jax 0.12 on every Jaxpr is one
            return inner
        if isinstance(inner, Jaxpr):
            return ClosedJaxpr(inner, ())
    return None


def _bind(eqn, values: list) -> list:
    """Run one equation; jax before 0.10.1 gives its sub-functions apart from its parameters."""
    params = eqn.primitive.get_bind_params(eqn.params)
    functions, params = ((), params) if isinstance(params, dict) else params
    results = eqn.primitive.bind(*functions, *values, **params)
    return results if eqn.primitive.multiple_results else [results]


def affine_in(fn: Callable, source: PyTree, *fixed: PyTree) -> bool:
    """Whether `fn(source, *fixed)` is affine in all of `source` jointly."""
    closed = jax.make_jaxpr(fn)(source, *fixed)
    count = len(jax.tree.leaves(source))
    rest = len(closed.jaxpr.invars) - count
    roles = _roles(closed, [Role.AFFINE] * count + [Role.FIXED] * rest)
    return all(role <= Role.AFFINE for role in roles)


def _roles(closed: ClosedJaxpr, incoming: list[Role]) -> list[Role]:
    env = dict.fromkeys(closed.jaxpr.constvars, Role.FIXED)
    env |= dict(zip(closed.jaxpr.invars, incoming, strict=True))

    def read(var) -> Role:
        return Role.FIXED if isinstance(var, Literal) else env[var]

    for eqn in closed.jaxpr.eqns:
        roles = [read(var) for var in eqn.invars]
        inner = _inner(eqn)
        if max(roles, default=Role.FIXED) == Role.FIXED:
            outgoing = [Role.FIXED] * len(eqn.outvars)
        elif inner is not None and len(inner.jaxpr.invars) == len(roles):
            outgoing = _roles(inner, roles)
        else:
            outgoing = [_rule(eqn, roles)] * len(eqn.outvars)
        env |= dict(zip(eqn.outvars, outgoing, strict=True))
    return [read(var) for var in closed.jaxpr.outvars]


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), leaf.dtype), tree)


def _digest(constant: Array) -> str:
    """A constant of a program in words that are equal for equal values."""
    if jnp.issubdtype(constant.dtype, jax.dtypes.prng_key):
        constant = jax.random.key_data(constant)
    return hashlib.sha256(np.asarray(constant).tobytes()).hexdigest()


class Split:
    """A function `fn(base, weights, datum)` split as `affine(features(base, datum), weights)`.

    `features` are the values that depend on the datum alone and meet the weights; `is_affine`
    says whether the result is affine in them, `is_known` that nothing the program closes over is
    traced. `features(base, datum)` is their concatenation; `apply(base, weights, features)` gives
    the function's value from them. Two splits of one program with the same constants are equal, so
    that compiling a declaration again does not retrace. A split is pickled as the function and its
    shapes, and traced again when it is read.
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
        found: list = []
        values = [None] * len(self._roles)
        results = self._run(self._closed, self._roles, values, found, None)
        self.is_affine = all(role in (Role.WEIGHT, Role.FIXED, Role.AFFINE) for role, _ in results)
        self._shapes = [aval for aval, _ in found]
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
        values = self._values(base, None, datum)
        found: list = []
        self._run(self._closed, self._roles, values, found, None)
        parts = [jnp.ravel(value) for _, value in found]
        return jnp.concatenate(parts) if parts else jnp.zeros(0)

    def apply(self, base: PyTree, weights: PyTree, features: Array) -> PyTree:
        """The function's value from the features."""
        parts, start = [], 0
        for aval in self._shapes:
            parts.append(features[start : start + aval.size].reshape(aval.shape))
            start += aval.size
        values = self._values(base, weights, None)
        results = self._run(self._closed, self._roles, values, [], parts)
        return jax.tree.unflatten(self._out, [value for _, value in results])

    def _values(self, base: PyTree, weights: PyTree | None, datum: PyTree | None) -> list:
        values = list(jax.tree.leaves(base))
        for part, kind in ((weights, Role.WEIGHT), (datum, Role.DATUM)):
            missing = [None] * self._roles.count(kind)
            values += missing if part is None else jax.tree.leaves(part)
        return values

    def _run(self, closed, roles, values, found, supply) -> list[tuple[Role, Array | None]]:
        """One pass over the program: roles always, values where their inputs are known.

        A `DATUM` value that meets a weight is a feature: it is appended to `found`, or, if
        `supply` is given, taken from there.
        """
        consts = [(Role.FIXED, value) for value in closed.consts]
        env = dict(zip(closed.jaxpr.constvars, consts, strict=True))
        env |= dict(zip(closed.jaxpr.invars, zip(roles, values, strict=True), strict=True))
        taken: dict = {}

        def read(var):
            return (Role.FIXED, var.val) if isinstance(var, Literal) else env[var]

        def feature(var):
            if var not in taken:
                _, value = env[var]
                found.append((var.aval, value))
                taken[var] = None if supply is None else supply[len(found) - 1]
            return Role.AFFINE, taken[var]

        for eqn in closed.jaxpr.eqns:
            operands = [read(var) for var in eqn.invars]
            kinds = {role for role, _ in operands} - {Role.FIXED}
            pure = not kinds or kinds == {Role.WEIGHT} or kinds == {Role.DATUM}
            inner = _inner(eqn)
            if not pure and inner is not None and len(inner.jaxpr.invars) == len(operands):
                out = self._run(inner, *map(list, zip(*operands, strict=True)), found, supply)
                env |= dict(zip(eqn.outvars, out, strict=True))
                continue
            if not pure:
                operands = [
                    feature(var) if role == Role.DATUM else (role, value)
                    for var, (role, value) in zip(eqn.invars, operands, strict=True)
                ]
                role = _rule(eqn, [role for role, _ in operands])
            else:
                role = max(kinds, default=Role.FIXED)
            if all(value is not None for _, value in operands):
                results = _bind(eqn, [value for _, value in operands])
            else:
                results = [None] * len(eqn.outvars)
            env |= {v: (role, r) for v, r in zip(eqn.outvars, results, strict=True)}
        return [
            feature(var) if read(var)[0] == Role.DATUM else read(var)
            for var in closed.jaxpr.outvars
        ]
