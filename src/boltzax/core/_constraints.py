"""The constraint of an annotation: `int`, `Literal`, an array, a class, a union."""

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import AbstractArray, ArrayLike, PRNGKeyArray
from numpy.typing import ArrayLike as ArrayLikeOfNumpy

from ._arguments import KEY, Constraint, Refused, Said, integer, real

ALIKE = set(typing.get_args(ArrayLike))
"""The parts of `ArrayLike`: arrays, and kinds of numbers that need no words of their own."""
ANYTHING = Constraint("anything", "", lambda value: value)
WORDS: dict[type, tuple[str, str]] = {}
"""Words and mend of classes, given where they are declared (`described(words, mend)`)."""
FOLDERS = ("cases", "channels", "degrade", "interfaces", "meanfield", "theory", "models", "testing")
"""Folders whose public names are not at the top level."""


def constraint_of(hint: Any) -> Constraint:
    """The constraint of an annotation; `ANYTHING` for one that cannot be checked."""
    try:
        return _constraint_of(hint)
    except TypeError:  # an annotation that cannot be hashed
        return _constraint_of.__wrapped__(hint)


@functools.lru_cache(maxsize=4096)
def _constraint_of(hint: Any) -> Constraint:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint in SIMPLE:
        return SIMPLE[hint]
    if isinstance(hint, TypeVar | str):
        return ANYTHING
    if origin is Annotated:
        given = [part for part in parts[1:] if isinstance(part, Constraint)]
        constraint = given[0] if given else constraint_of(parts[0])
        for said in parts[1:]:
            constraint = said.of(constraint) if isinstance(said, Said) else constraint
        return constraint
    if origin in (typing.Union, types.UnionType):
        return _union(parts)
    if origin is Literal:
        return _choice(parts)
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return _array(hint)
    if origin is type:
        return Constraint("a class", "pass the class", _instance(type))
    if hint is collections.abc.Callable or origin is collections.abc.Callable:
        return CALLABLE
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(origin, parts)
    if isinstance(origin, type) and issubclass(origin, tuple | Sequence):
        return _sequence(origin, parts)
    if origin is not None:
        return constraint_of(origin)
    if isinstance(hint, type) and _can_be_asked(hint):
        return _class(hint)
    return ANYTHING


def _can_be_asked(hint: type) -> bool:
    """Whether `isinstance` is informative for a class: not for pytrees, nor for a bare protocol."""
    try:
        return not (hint.__module__.startswith("jaxtyping") or isinstance(None, hint))
    except TypeError:
        return False


def _union(parts: tuple) -> Constraint:
    members = [constraint_of(part) for part in parts]
    if any(member is ANYTHING for member in members):
        return ANYTHING
    named = [constraint_of(part) for part in parts if part is not type(None)]
    arrays_first = sorted(members, key=lambda member: not member.arrays)

    def take(value: Any) -> Any:
        inside = []  # refusals of a part of the value
        for member in arrays_first if isinstance(value, Array) else members:
            try:
                return member.take(value)
            except Refused as refused:
                if refused.constraint is not None:
                    inside.append(refused)
        raise inside[0] if len(inside) == 1 else Refused

    if NUMBERS in named:  # a number is an array without axes
        plain = {int, float, *(ALIKE if set(parts) >= ALIKE else ())} - {Array, np.ndarray}
        named = [constraint_of(part) for part in parts if part not in (*plain, type(None))]
    words = list(dict.fromkeys(m.expected for m in named))
    mends = list(dict.fromkeys(m.mend for m in named if m.mend))
    none = ", or None" if type(None) in parts else ""
    arrays = any(member.arrays for member in members)
    return Constraint(" or ".join(words) + none, "; or ".join(mends), take, arrays)


def _choice(choices: tuple) -> Constraint:
    def take(value: Any) -> Any:
        plain = isinstance(value, str | int | bool | None)
        for choice in choices if plain else ():
            if type(choice) is type(value) and choice == value:
                return choice
        raise Refused

    words = " or ".join(map(repr, choices))
    return Constraint(words, f"choose one, e.g. {choices[0]!r}", take)


def _instance(kind: type | tuple[type, ...]):
    def take(value: Any) -> Any:
        if not isinstance(value, kind):
            raise Refused
        return value

    return take


def _class(kind: type) -> Constraint:
    words, mend = WORDS.get(kind, ("", ""))
    name = public_name(kind)
    article = "an" if name[0].lower() in "aeiou" else "a"
    how = f"pass an instance of {name}"
    return Constraint(words or f"{article} {name}", mend or how, _instance(kind))


def public_name(kind: type) -> str:
    """The name of a class as users write it."""
    parts = kind.__module__.split(".")
    if parts[0] != "boltzax":
        return kind.__qualname__ if parts[0] == "builtins" else f"{parts[0]}.{kind.__qualname__}"
    folder = f"{parts[1]}." if len(parts) > 1 and parts[1] in FOLDERS else ""
    return f"bx.{folder}{kind.__qualname__}"


def _mapping(origin: type, parts: tuple) -> Constraint:
    keys, values = map(constraint_of, parts) if parts else (ANYTHING, ANYTHING)
    proper = dict if origin is dict else Mapping

    def take(value: Any) -> Any:
        if not isinstance(value, proper):
            raise Refused
        entries = {}
        for name, entry in value.items():
            _part("", keys, name)
            entries[name] = _part(f"[{name!r}]", values, entry)
        changed = any(entries[name] is not value[name] for name in entries)
        return entries if changed else value

    kind = "a dictionary"
    if parts and keys is not ANYTHING:
        kind += f" from {_plural(keys)}"
    if parts and values is not ANYTHING:
        kind += f" to {_plural(values)}"
    return Constraint(kind, "pass a dictionary, {...: ...}", take)


def _sequence(origin: type, parts: tuple) -> Constraint:
    fixed = issubclass(origin, tuple) and Ellipsis not in parts and bool(parts)
    members = tuple(constraint_of(part) for part in parts if part is not Ellipsis)
    proper = tuple if issubclass(origin, tuple) else list if origin is list else Sequence
    plain = bool(members) and ANYTHING not in members

    def take(value: Any) -> Any:
        array = isinstance(value, np.ndarray | Array) and value.ndim == 1 and plain
        held = array and not isinstance(value, Tracer | np.ma.MaskedArray)
        if held and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = tuple(np.asarray(value).tolist())
        if proper is tuple and isinstance(value, list):
            value = tuple(value)
        if not isinstance(value, proper) or isinstance(value, str | bytes):
            raise Refused
        if fixed and len(value) != len(members):
            raise Refused
        constraints = members if fixed else members * len(value)
        entries = [
            _part(f"[{i}]", constraint, entry)
            for i, (constraint, entry) in enumerate(zip(constraints, value, strict=False))
        ]
        changed = any(new is not old for new, old in zip(entries, value, strict=False))
        return (tuple(entries) if isinstance(value, tuple) else entries) if changed else value

    if fixed:
        kind = f"{len(members)} values: " + ", ".join(member.expected for member in members)
        return Constraint(kind, f"pass a tuple of {len(members)}", take)
    kind = "a sequence" + (f" of {_plural(members[0])}" if members else "")
    return Constraint(kind, "pass a tuple or a list", take)


def _part(place: str, constraint: Constraint, value: Any) -> Any:
    try:
        return constraint.take(value)
    except Refused as refused:
        inner = refused.constraint or constraint
        wrong = refused.value if refused.constraint else value
        raise Refused(place + refused.part, wrong, inner) from None


def _plural(constraint: Constraint) -> str:
    return f"({constraint.expected})" if " " in constraint.expected else constraint.expected


def _array(hint: Any) -> Constraint:
    """Of an annotation of jaxtyping: the kind of numbers, to which they are converted, and axes."""
    kinds = {str(dtype).rstrip("0123456789") for dtype in hint.dtypes}
    real, complexes = bool(kinds & {"float", "bfloat"}), "complex" in kinds
    whole = not real and bool(kinds & {"int", "uint"})
    target: Any = float if real else int if whole else bool
    if not (real or whole or "bool" in kinds):  # Shaped, Num, keys: any numbers
        target = None
    words = {float: "real numbers", int: "integers", bool: "truth values", None: "numbers"}[target]
    axes = hint.dim_str
    shape = f"with axes [{', '.join(axes.split())}]" if axes else "without axes (one number)"
    host = isinstance(hint.array_type, type) and issubclass(hint.array_type, np.ndarray)

    def take(value: Any) -> Any:
        array = numbers(value, target, host=host, complexes=complexes)
        if not isinstance(array, hint):
            raise Refused
        return array

    expected = f"an array of {words} {shape}"
    mend = "pass an array of jax.numpy or numpy of that shape"
    return Constraint(expected, mend, take, arrays=True)


def numbers(value: Any, target: type | None, *, host: bool = False, complexes: bool = False) -> Any:
    """Numbers as an array: arrays of jax without conversion, others converted.

    Args:
        value: An array, a number, or a sequence of numbers.
        target: `float`, `int`, `bool`, or None for any.
        host: Give an array of numpy.
        complexes: Take complex numbers too.

    Raises:
        Refused: For a value without numbers, or with numbers of a kind that does not convert.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise Refused("", value, MASKED)
    if isinstance(value, str | bytes | None | dict | set):
        raise Refused
    if isinstance(value, Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        if target is None:
            return value
        raise Refused
    if not isinstance(value, np.ndarray | np.generic | Array):
        try:
            value = np.asarray(value)
        except Exception:
            raise Refused from None
    kind = value.dtype
    if kind.kind in "OUSMm" or (kind.kind == "c" and not complexes):
        raise Refused
    floating, boolean = jnp.issubdtype(kind, jnp.floating), kind.kind == "b"
    if (target is float and boolean) or (target is int and (floating or boolean)):
        raise Refused
    if target is bool and not boolean:
        raise Refused
    converts = target is float and not floating and kind.kind != "c"
    if host:
        if isinstance(value, Tracer):
            raise Refused
        return np.asarray(value, float) if converts else np.asarray(value)
    if isinstance(value, Array) and not converts:
        return value
    with jax.ensure_compile_time_eval():
        return jnp.asarray(value, jnp.result_type(float) if floating or converts else None)


def _boolean(value: Any) -> bool:
    array = isinstance(value, np.ndarray | np.bool_ | Array) and not isinstance(value, Tracer)
    if isinstance(value, bool):
        return value
    if not array or value.ndim or value.dtype != bool:
        raise Refused
    return bool(value)


def _float(value: Any) -> Any:
    number = real(value)
    return number if isinstance(number, Tracer) else float(number)


def _callable(value: Any) -> Any:
    if not callable(value):
        raise Refused
    return value


def _array_like(value: Any) -> Any:
    numbers(value, None, host=not isinstance(value, Array))
    return value


MASKED = Constraint(
    "numbers that all count",
    "leave out what is masked, values[~values.mask], or give it weight zero in "
    "bx.Empirical(data, weights=w)",
    _array_like,
)
CALLABLE = Constraint("a function", "pass a callable", _callable)
NUMBERS = Constraint(
    "real numbers", "pass a number, or an array of jax.numpy or numpy", _array_like, arrays=True
)
SIMPLE: dict[Any, Constraint] = {
    Any: ANYTHING,
    object: ANYTHING,
    inspect.Parameter.empty: ANYTHING,
    int: Constraint("an integer", "pass e.g. 1", integer),
    float: Constraint("a number", "pass e.g. 1.0", _float),
    bool: Constraint("True or False", "pass True or False", _boolean),
    str: Constraint("text", "pass a string", _instance(str)),
    Path: Constraint("a path", "pass a string or a pathlib.Path", _instance(Path)),
    None: Constraint("None", "leave it out", _instance(type(None))),
    type(None): Constraint("None", "leave it out", _instance(type(None))),
    Array: NUMBERS,
    np.ndarray: NUMBERS,
    ArrayLike: NUMBERS,
    ArrayLikeOfNumpy: NUMBERS,
    PRNGKeyArray: KEY,
    slice: Constraint("a slice", "write e.g. slice(2, None)", _instance(slice)),
    tuple: Constraint("a tuple", "pass a tuple", _instance(tuple)),
    dict: Constraint("a dictionary", "pass a dictionary", _instance(dict)),
    list: Constraint("a list", "pass a list", _instance(list)),
}
