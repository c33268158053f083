"""Named places in a model: what they hold for a datum, and models with other values there."""

import functools
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..core import (
    Arrays,
    Constraint,
    DeclarationError,
    Setting,
    at_once,
    constraint_of,
    errors_named,
    named,
    typed,
)
from ..numerics import mark, marks, out_of_reach, run_marked
from ._models import Predictor


def _datum(value: Any) -> Any:
    shaped = [isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(value)]
    return value if shaped and all(shaped) else constraint_of(Arrays).take(value)


Datum: TypeAlias = Annotated[
    PyTree,
    Constraint(
        "arrays of numbers, or their shapes and dtypes",
        "pass one datum, or a jax.ShapeDtypeStruct",
        _datum,
    ),
]
"""One datum, or its shape."""

DATUM = {
    "expected": "one datum that the model can be called with",
    "mend": "try model(x) first; for many data, jax.vmap over them",
}

_INSIDE = jax.make_user_context(default_value=None)
"""The path of the module that is being traced to be read; None if nothing is to be read.

Caches of jax tell programs that are traced with other values apart."""


@typed
def tap(value: PyTree, name: str) -> Any:
    """Name a value that a model computes, so that it can be read and replaced; the value itself.

    In the call of a submodule `blocks[0].attention`, `bx.tap(pattern, "pattern")` makes the place
    `blocks[0].attention.pattern`. Outside `bx.taps`, `bx.activations` and patched models it does
    nothing, and leaves nothing in a traced or compiled program.

    Args:
        value: An array, or a pytree whose arrays are places `name[0]`, `name.field`.
        name: The name of the place within the module.

    Returns:
        `value`.
    """
    inside = _INSIDE.value
    if inside is None:
        return value
    return _marked(value, f"{inside}.{name}" if inside else name)


@typed
def taps(model: Predictor, x: Datum) -> dict[str, jax.ShapeDtypeStruct]:
    """The named places of a model, with the shape and dtype of what they hold.

    A place is the output of a callable submodule, named by its path as weights are
    (`blocks[0].attention`), or a value that `bx.tap` names. Nothing is computed. Places inside a
    `cond` or a `while` are left out: they cannot be read.

    Args:
        model: A callable pytree: an equinox or flax nnx module, `bx.models.Function`, or one that
            `bx.patched` gives.
        x: One datum, or its shape and dtype.

    Raises:
        DeclarationError: For a model that raises an error at `x`.
    """
    with errors_named("x", **DATUM):
        names, values = eqx.filter_eval_shape(_read, model, x, ())
    return dict(zip(names, values, strict=True))


@typed
def activations(model: Predictor, x: Arrays, *patterns: str) -> dict[str, Array]:
    """The values at named places of a model, for one datum.

    It can be used under `jax.jit`, `jax.vmap`, `jax.grad`, and in `Ensemble.map`. Axes come in this
    order: meetings of a place that is met several times (a module used twice); steps of scans,
    outer to inner; axes of `jax.vmap` inside the model, outer to inner; those of the value.

    Args:
        model: A callable pytree, as for `bx.taps`.
        x: One datum.
        patterns: Names of places, or globs: `"blocks[*].attention"`, where `[*]` is one index and
            `*` any text. All places that `bx.taps` lists if none is given.

    Returns:
        From place to value, in the order of the computation.

    Raises:
        DeclarationError: For a pattern that matches no place; for a place inside a `cond` or a
            `while`; for one that is met several times with different shapes; for a model that
            raises an error at `x`.
    """
    with errors_named("x", **DATUM):
        names, values = _read_at_once(model, x, patterns)
    return dict(zip(names, values, strict=True))


def _read(model: PyTree, x: PyTree, patterns: tuple[str, ...]) -> tuple[list, list]:
    """Names of places, in the order of the computation, and the values."""
    closed, arguments, _ = traced(model, (x,), {})
    known = tuple(dict.fromkeys(marks(closed.jaxpr)))
    for pattern in patterns:
        places_matching("patterns", pattern, known)
    chosen = {name for name in known if any(named(pattern, name) for pattern in patterns)}
    wanted = chosen if patterns else set(known) - set(out_of_reach(closed.jaxpr))
    _, kept = run_marked(closed, arguments, wanted.__contains__)
    found: dict[str, list[Array]] = {}
    for (name, _), value in kept.items():
        found.setdefault(name, []).append(value)
    return list(found), [_stacked(name, values) for name, values in found.items()]


_read_at_once = at_once(_read)


def _stacked(name: str, values: list[Array]) -> Array:
    if len(values) == 1:
        return values[0]
    shapes = [value.shape for value in values]
    if len(set(shapes)) > 1:
        raise DeclarationError(
            "patterns",
            got=f"the place {name!r}, which is met {len(shapes)} times, with shapes {shapes}",
            expected="a place that is met once, or always with one shape",
            mend="name the values apart: bx.tap(value, f'{i}.name')",
        )
    return jnp.stack(values)


def places_matching(argument: str, pattern: str, places: tuple[str, ...]) -> tuple[str, ...]:
    """The places that a pattern matches.

    Raises:
        DeclarationError: If there is none.
    """
    matching = tuple(place for place in places if named(pattern, place))
    if not matching:
        raise DeclarationError(
            argument,
            got=f"{pattern!r}, which matches no place",
            expected=f"one of {sorted(places)}" if places else "a place, but the model has none",
            mend="correct the name (bx.taps(model, x) lists them), or name a value by bx.tap",
        )
    return matching


def traced(model: PyTree, inputs: tuple, keywords: dict) -> tuple[Any, list, Callable]:
    """The program of a call of a model with its places marked.

    Returns:
        The program, its arguments, and a function from its outputs to what the model returns.
    """
    dynamic, static = eqx.partition((model, inputs, keywords), eqx.is_array)
    leaves, structure = jax.tree.flatten(dynamic)

    def call(*leaves: Any) -> PyTree:
        dynamic = jax.tree.unflatten(structure, leaves)
        model, inputs, keywords = eqx.combine(dynamic, static)
        with _INSIDE(""):
            return with_marks(model)(*inputs, **keywords)

    closed, shapes = jax.make_jaxpr(call, return_shape=True)(*leaves)
    return closed, leaves, functools.partial(jax.tree.unflatten, jax.tree.structure(shapes))


def with_marks(model: PyTree, path: tuple = ()) -> PyTree:
    """A copy of a model, or of its part at a path, whose submodules mark their outputs."""
    if isinstance(model, Setting):
        return model
    node = _bare(model)
    children, structure = jax.tree_util.tree_flatten_with_path(
        node, is_leaf=lambda inner: inner is not node
    )
    if not (len(children) == 1 and children[0][1] is node):
        within = [with_marks(child, path + key) for key, child in children]
        node = jax.tree.unflatten(structure, within)
    name = jax.tree_util.keystr(path).lstrip(".")
    return _marking(node, name) if name and _is_module(node) else node


def _is_module(node: Any) -> bool:
    """Whether a node of a model is called by the model, and is no array, class or variable."""
    nnx = sys.modules.get("flax.nnx")  # a model can hold its variables only if it was imported
    if nnx is not None and isinstance(node, nnx.Variable | nnx.Pytree):
        return isinstance(node, nnx.Module) and callable(node)
    return callable(node) and not isinstance(node, type | Array)


def _marking(node: Any, path: str) -> Any:
    """A module like another, whose call marks its output."""
    if not isinstance(node, eqx.Module):
        return Marking(node, path)
    return _as_class(_marking_class(type(node)), vars(node) | {"tap_path": path})


def _bare(node: Any) -> Any:
    """A module of which `_marking` made one that marks its output, else the node itself."""
    if isinstance(node, Marking):
        return node.inner
    if type(node) not in _UNMARKED:
        return node
    fields = {name: value for name, value in vars(node).items() if name != "tap_path"}
    return _as_class(_UNMARKED[type(node)], fields)


def _as_class(kind: type, fields: dict[str, Any]) -> Any:
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


_UNMARKED: dict[type, type] = {}
"""The class of a module for each class whose calls mark their output."""


@functools.cache
def _marking_class(kind: type) -> type:
    """A subclass of a class of equinox modules, whose calls mark their output."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _called(functools.partial(kind.__call__, self), self.tap_path, args, kwargs)

    body = {
        "__call__": __call__,
        "__annotations__": {"tap_path": str},
        "tap_path": eqx.field(static=True, default=""),
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
    }
    made = type(kind)(kind.__name__, (kind,), body)
    _UNMARKED[made] = kind
    return made


class Marking(eqx.Module):
    """A callable of a model that is no equinox module, whose output is marked.

    Args:
        inner: The callable.
        path: Its path.
    """

    inner: Any
    path: str = eqx.field(static=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _called(self.inner, self.path, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in ("inner", "path") or name.startswith("__"):  # not there yet, in a copy
            raise AttributeError(name)
        return getattr(self.inner, name)


def _called(fn: Callable, path: str, args: tuple, kwargs: dict) -> Any:
    if _INSIDE.value is None:
        return fn(*args, **kwargs)
    with _INSIDE(path):
        out = fn(*args, **kwargs)
    return _marked(out, path)


def _marked(value: PyTree, name: str) -> PyTree:
    def of_leaf(path: tuple, leaf: Any) -> Any:
        return mark(jnp.asarray(leaf), name + jax.tree_util.keystr(path))

    arrays, rest = eqx.partition(value, lambda leaf: isinstance(leaf, Array | np.ndarray))
    return eqx.combine(jax.tree_util.tree_map_with_path(of_leaf, arrays), rest)
