"""Values as Python that makes them again, to be pasted."""

import inspect
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PLACES = {"bx": "boltzax", "bx.models": "boltzax.models", "bx.cases": "boltzax.cases"}
"""How the modules are called that a name is looked up in first."""


def pasted(value: Any) -> str:
    """A value as Python that makes it, with `bx`, `jnp` and `jax` imported.

    Arrays are written out, objects as calls of their class with the arguments that differ from
    their defaults, functions by their name. What keeps no argument of its class is its repr.
    """
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(value)).tolist()
        return f"jax.random.wrap_key_data(jnp.array({data}, jnp.uint32))"
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, jax.Array | np.ndarray):
        array = np.asarray(value)
        return f"jnp.array({array.tolist()!r}, jnp.{array.dtype.name})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {pasted(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(pasted, value))}]"
    if isinstance(value, tuple):
        inside = ", ".join(map(pasted, value)) + ("," if len(value) == 1 else "")
        return f"{_name(type(value))}({inside})" if hasattr(value, "_fields") else f"({inside})"
    if callable(value) and hasattr(value, "__name__"):
        return _name(value)
    return _call(value) if type(value).__module__ != "builtins" else repr(value)


def _call(value: Any) -> str:
    """A call of the class with the arguments that are kept as attributes; else the repr."""
    given = []
    for name, parameter in inspect.signature(type(value).__init__).parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not hasattr(value, name) or inspect.isroutine(getattr(type(value), name, None)):
            if parameter.default is parameter.empty:
                return repr(value)
            continue
        content = pasted(getattr(value, name))
        if parameter.default is parameter.empty or content != pasted(parameter.default):
            given.append(f"{name}={content}")
    return f"{_name(type(value))}({', '.join(given)})"


def _name(value: Any) -> str:
    """Where a function or a class is found: `bx.` and `jnp.` for those of boltzax and jax.numpy."""
    name = getattr(value, "__name__", None)
    if name is None:
        return repr(value)
    places = [*((short, sys.modules.get(module)) for short, module in PLACES.items()), ("jnp", jnp)]
    for short, module in places:
        if getattr(module, name, None) is value:
            return f"{short}.{name}"
    own = getattr(value, "__module__", "")
    return name if own in ("builtins", "__main__") else f"{own}.{name}"
