"""Values as Python that makes them again, to be pasted."""

import enum
import functools
import inspect
import re
import sys
from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core import DeclarationError, typed

SHORT = (
    "models",
    "cases",
    "temperature",
    "theory",
    "interfaces",
    "meanfield",
    "channels",
    "degrade",
)
PLACES = {"bx": "boltzax"} | {f"bx.{name}": f"boltzax.{name}" for name in SHORT}
"""How the modules are called that a name is looked up in first."""


@typed
def with_fields(cls: type, **fields: Any) -> Any:
    """An object of a class of fields with these values, made without its constructor.

    So a counterexample is printed whose constructor draws what it holds, such as a net from a key.

    Args:
        cls: A dataclass, such as any `eqx.Module`.
        fields: All of its fields.

    Raises:
        DeclarationError: For a field that the class does not have.
    """
    names = list(getattr(cls, "__dataclass_fields__", {}))
    for name in fields:
        if name not in names:
            raise DeclarationError(
                "fields",
                got=name,
                expected=f"fields of {cls.__name__}: {', '.join(names) or 'none'}",
                mend="leave it out",
            )
    made = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def pasted(value: Any) -> str:
    """A value as Python that makes it, with `bx`, `jnp` and `jax` imported.

    Arrays are written out, functions by their name, objects as calls of their class with the
    arguments that differ from their defaults. Where such a call makes something else, it is one of
    `with_fields`. A name in another module comes with its path, to be imported. What has no name,
    such as a lambda, is in angle brackets, which Python does not take.
    """
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(value)).tolist()
        made = f"jnp.array({data}, jnp.uint32)"
        return f"jax.random.wrap_key_data({made}, impl={str(jax.random.key_impl(value))!r})"
    if isinstance(value, np.generic) and type(value) is not type(value.item()):
        plain = isinstance(value, float | complex | str | bytes | np.bool_ | np.int64)
        return pasted(value.item()) if plain else f"numpy.{value.dtype.name}({value!s})"
    if isinstance(value, enum.Enum):
        return f"{_name(type(value))}.{value.name}"
    if isinstance(value, float):
        return _finite(repr(value))
    if isinstance(value, complex):
        return f"complex({_finite(repr(value.real))}, {_finite(repr(value.imag))})"
    if isinstance(value, jax.Array | np.ndarray):
        array = np.asarray(value)
        if array.dtype.kind in "OSU":
            return f"numpy.array({array.tolist()!r}, {array.dtype.str!r})"
        if not array.size:
            return f"jnp.zeros({array.shape}, jnp.{array.dtype.name})"
        return f"jnp.array({pasted(array.tolist())}, jnp.{array.dtype.name})"
    if isinstance(value, dict):
        return "{" + _joined(f"{pasted(key)}: {pasted(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{_joined(map(pasted, value))}]"
    if isinstance(value, tuple):
        inside = _joined(map(pasted, value)) + ("," if len(value) == 1 else "")
        return f"{_name(type(value))}({inside})" if hasattr(value, "_fields") else f"({inside})"
    if isinstance(value, functools.partial):
        given = [pasted(each) for each in (value.func, *value.args)]
        return f"functools.partial({_joined([*given, *_words(value.keywords)])})"
    if callable(value) and hasattr(value, "__name__"):
        return _name(value)
    return _call(value) if type(value).__module__ != "builtins" else repr(value)


def _finite(text: str) -> str:
    """Numbers as text, with names that Python knows."""
    return re.sub(r"\b(inf|nan)\b", r"jnp.\1", text)


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def _words(arguments: dict[str, Any]) -> list[str]:
    return [f"{name}={pasted(each)}" for name, each in arguments.items()]


def _call(value: Any) -> str:
    """A call of the class that makes the value; else one of `with_fields`; else the repr."""
    cls = type(value)
    arguments = _arguments(value)
    if arguments is not None:
        return f"{_name(cls)}({_joined(_words(arguments))})"
    fields = getattr(cls, "__dataclass_fields__", None)
    if fields is None:
        return re.sub(r" at 0x\w+", "", repr(value))
    given = {name: getattr(value, name) for name in fields if hasattr(value, name)}
    return f"boltzax.testing.with_fields({_joined([_name(cls), *_words(given)])})"


def _arguments(value: Any) -> dict[str, Any] | None:
    """The arguments, kept as attributes, with which the class makes the value; None if it cannot.

    Those that are equal to their defaults are left out.
    """
    given = {}
    for name, parameter in inspect.signature(type(value).__init__).parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not hasattr(value, name) or inspect.isroutine(getattr(type(value), name, None)):
            continue
        content = getattr(value, name)
        if parameter.default is parameter.empty or pasted(content) != pasted(parameter.default):
            given[name] = content
    try:
        same = type(value)(**given)
    except Exception:  # a constructor may refuse in any way
        return None
    return given if _equal(same, value) else None


def _equal(first: Any, second: Any) -> bool:
    """Whether two objects are the same, as pytrees or, of other classes, by their attributes."""
    if not jax.tree_util.all_leaves([second]):
        return bool(eqx.tree_equal(first, second))
    states = [getattr(each, "__dict__", None) for each in (first, second)]
    if None in states:  # of C, or with slots
        return bool(first == second)
    return pasted(states[0]) == pasted(states[1])


def _name(value: Any) -> str:
    """Where a function or a class is found: `bx.` and `jnp.` for those of boltzax and jax.numpy."""
    name = getattr(value, "__name__", None)
    if name is None:
        return repr(value)
    places = [
        *((short, sys.modules.get(module)) for short, module in PLACES.items()),
        ("jnp", jnp),
        ("jax.nn", jax.nn),
    ]
    for short, module in places:
        if getattr(module, name, None) is value:
            return f"{short}.{name}"
    if "<" in getattr(value, "__qualname__", name):
        return f"<{value.__qualname__}>"
    own = getattr(value, "__module__", "")
    if own in ("builtins", "__main__"):
        return name
    root, *path = own.split(".")
    place = functools.reduce(lambda at, part: getattr(at, part, None), path, sys.modules.get(root))
    found = getattr(place, name, None) is value
    return f"{own}.{name}" if found else f"importlib.import_module({own!r}).{name}"
