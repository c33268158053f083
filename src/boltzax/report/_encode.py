"""A result as JSON and arrays, without code: what `save` writes.

Values stand as they are and objects by the name of their class and their fields. Classes and
functions of libraries are found again by name. Those of the user are never imported: what stands
in the file is their name and their fingerprint, and the declaration that holds them is given again.
"""

import contextlib
import functools
import importlib
import inspect
from dataclasses import fields, is_dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from ..core import DeclarationError, Status
from ..sample import describe

LIBRARIES = ("boltzax", "equinox", "jax", "jaxlib", "jaxtyping", "numpy", "numpyro", "optax")
"""Whose classes and functions are imported by name when a file is read; no others are."""

ITEM = type(Status.successful)


class Encoder:
    """Values to JSON; arrays go to `arrays`, each once."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self._seen: dict[int, tuple[dict, Any]] = {}

    def encode(self, value: Any, where: str) -> Any:
        """The JSON of a value; `where` names it in an error."""
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if isinstance(value, float):
            return {"float": repr(value)}
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            return self._array(value)
        if isinstance(value, ITEM):
            kind = value._enumeration
            # numbers of outcomes may change from version to version, their names do not
            names = list(kind._name_to_item)
            return {"outcome": name_of(kind), "index": self._array(value._value), "names": names}
        if isinstance(value, dict):
            pairs = [[self.encode(k, where), self.encode(v, f"{where}[{k!r}]")]
                     for k, v in value.items()]  # fmt: skip
            return {"dict": pairs}
        if isinstance(value, tuple | list):
            parts = [self.encode(each, f"{where}[{i}]") for i, each in enumerate(value)]
            if type(value) in (tuple, list):
                return {type(value).__name__: parts}
            return {"named": name_of(type(value)), "code": code_of(type(value)), "parts": parts}
        if isinstance(value, np.dtype):
            return {"dtype": value.name}
        if isinstance(value, functools.partial):
            parts = (value.func, value.args, value.keywords)
            return {"partial": self.encode(parts, where)}
        if isinstance(value, type) or (callable(value) and getattr(value, "__name__", None)):
            return {"code": name_of(value), "print": code_of(value)}
        if isinstance(value, jax.ShapeDtypeStruct):
            return {"abstract": list(value.shape), "of": self.encode(value.dtype, where)}
        if "__reduce__" in vars(type(value)):  # made again from what it was made of
            make, parts = value.__reduce__()
            return {"make": self.encode(make, where), "parts": self.encode(parts, where)}
        state = state_of_object(value)
        if state is None or isinstance(value, ClosedJaxpr):
            raise DeclarationError(
                "result",
                got=f"{where}, a {type(value).__name__}",
                expected="numbers, arrays, modules and functions",
                mend="store what it holds by itself",
            )
        inner = {name: self.encode(each, f"{where}.{name}") for name, each in state.items()}
        return {"object": name_of(type(value)), "code": code_of(type(value)), "fields": inner}

    def _array(self, value: Any) -> dict[str, Any]:
        if id(value) in self._seen:
            return self._seen[id(value)][0]
        entry: dict[str, Any] = {"kind": "jax" if isinstance(value, jax.Array) else "numpy"}
        host = value
        if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
            entry = {"kind": "key", "impl": str(jax.random.key_impl(value))}
            host = jax.random.key_data(value)
        host = np.asarray(host)
        entry |= {"dtype": host.dtype.name, "shape": list(host.shape), "array": len(self.arrays)}
        # as bytes: formats such as bfloat16 are unknown to numpy's files
        self.arrays.append(np.frombuffer(host.tobytes(), np.uint8))
        self._seen[id(value)] = (entry, value)
        return entry


def state_of_object(value: Any) -> dict[str, Any] | None:
    """The fields of an object, those of a dataclass or its attributes; None if it has none."""
    if is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in fields(value) if f.name in vars(value)}
    return dict(vars(value)) if isinstance(getattr(value, "__dict__", None), dict) else None


def name_of(value: Any) -> str:
    """Where a class or a function is defined."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "?")
    return f"{getattr(value, '__module__', None)}:{name}"


def of_library(name: str) -> bool:
    """Whether the name is one that may be imported."""
    return name.partition(":")[0].partition(".")[0] in LIBRARIES and "<" not in name


def found(name: str) -> Any:
    """The class or function of a library by its name; None if it is not there.

    What a `_file.py` no longer holds is looked for in its folder: it may have moved, or be renamed.
    """
    module, _, path = name.partition(":")
    folder, _, file = module.rpartition(".")
    for home in (module, folder) if file.startswith("_") else (module,):
        with contextlib.suppress(ImportError, AttributeError):
            return functools.reduce(getattr, path.split("."), importlib.import_module(home))
    return None


def code_of(value: Any) -> dict[str, Any] | None:
    """The fingerprint of code that is the user's; None for a library's own, found by its name."""
    if of_library(name_of(value)) and found(name_of(value)) is value:
        return None
    if isinstance(value, type):
        names = [name for name in vars(value) if name == "__call__" or not name.startswith("__")]
        methods = {name: getattr(value, name) for name in names}
        return describe("class", {k: m for k, m in methods.items() if inspect.isfunction(m)})
    return describe("function", value)
