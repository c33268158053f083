"""Results of every kind in one file, and back: arrays and JSON, but no code.

Values are stored as they are, and objects by the name of their class and their fields. When a file
is read, classes and functions of libraries are found by their names. Those of the user are never
imported: the file holds their names and fingerprints, and the user passes the declaration that
contains them.
"""

import contextlib
import functools
import importlib
import inspect
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from ..compile import Gibbs
from ..core import DeclarationError, Status, typed
from ..sample import describe, differences

FORMAT = 1
LIBRARIES = ("boltzax", "equinox", "jax", "jaxlib", "jaxtyping", "numpy", "numpyro", "optax")
"""Packages whose classes and functions are imported by name when a file is read; no others are."""
ITEM = type(Status.successful)


@typed
def save(path: str | Path, result: Any) -> None:
    """Store a result in one file: a `Trace` with its ladder, an `Estimate`, or any other.

    The file is a NumPy archive of arrays and a JSON header. It holds values, and the names and
    fingerprints of classes and functions, but no code: reading it runs nothing.

    Args:
        path: The file; it is replaced as a whole, or not at all.
        result: What a public function of boltzax returned.

    Raises:
        DeclarationError: For a result that holds an object without fields, such as an open file,
            or contains itself, and for a folder that does not exist.
    """
    place = Path(path)
    if place.is_dir() or not place.parent.is_dir():
        raise DeclarationError(
            "path",
            got=f"{place}, a folder" if place.is_dir() else str(place),
            expected="a file in a folder that exists",
            mend="make the folder first: Path(path).parent.mkdir(parents=True)",
        )
    encoder = _Encoder()
    try:
        header = json.dumps({"boltzax": FORMAT, "result": encoder.encode(result, "result")})
    except RecursionError:
        raise _not_stored("result", "value that contains itself") from None
    arrays = {f"a{i}": array for i, array in enumerate(encoder.arrays)}
    partial = place.with_name(place.name + ".partial")
    with open(partial, "wb") as file:
        np.savez(file, header=np.frombuffer(header.encode(), np.uint8), **arrays)
    os.replace(partial, place)


@typed
def load(path: str | Path, *declared: Any) -> Any:
    """The result that `save` stored.

    Args:
        path: The file.
        declared: The declarations that the result came from (a Gibbs measure, an energy, a
            mean-field problem, a model). They are needed where the result holds classes or
            functions of yours, which are not in the file. Of a ladder the Gibbs measure may be at
            any beta.

    Returns:
        The result, with the numbers of the file.

    Raises:
        DeclarationError: For a file that `save` did not write, for code of yours that `declared`
            does not hold, and for a result of another declaration.
    """
    header, arrays = _read(Path(path))
    result = _Decoder(arrays, list(_parts(declared, set()))).decode(header["result"])
    inside = list(_parts(result, set()))
    for given in declared:
        if isinstance(given, type) or state_of_object(given) is None:
            continue  # code alone is compared where it is looked up
        lines = [_changes(part, given) for part in inside if type(part) is type(given)]
        if lines and all(lines):
            raise _other("\n    ".join(min(lines, key=len)[:8]))
    return result


def _changes(stored: Any, given: Any) -> list[str]:
    """What differs between a declaration in the file and one at hand."""
    if isinstance(given, Gibbs) and stored.beta.ndim and not given.beta.ndim:
        given = eqx.tree_at(lambda gibbs: gibbs.beta, given, stored.beta)  # the ladder's own
    return differences(describe("it", stored), describe("it", given))[0]


def _read(path: Path) -> tuple[dict, list[np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            count = sum(name.startswith("a") for name in file.files)
            arrays = [file[f"a{i}"] for i in range(count)]
        assert header["boltzax"] == FORMAT
    except (
        OSError,
        KeyError,
        ValueError,
        AssertionError,
        EOFError,
        NotImplementedError,
        zipfile.BadZipFile,
    ) as error:
        raise DeclarationError(
            "path",
            got=f"{path}, which holds no result",
            expected="a file that bx.save has written",
            mend="give the path that was passed to bx.save",
        ) from error
    return header, arrays


def _other(lines: str) -> DeclarationError:
    return DeclarationError(
        "declared",
        got=f"another declaration than that of the file:\n    {lines}",
        expected="the declaration that the result came from",
        mend="declare the same again, or leave it out where no code of yours is needed",
    )


def _parts(value: Any, seen: set[int]) -> Iterator[Any]:
    """A value and all that it holds, each once."""
    if id(value) in seen or isinstance(value, str | bytes | int | float | np.ndarray | jax.Array):
        return
    seen.add(id(value))
    yield value
    if isinstance(value, dict):
        inner: list[Any] = list(value.values())
    elif isinstance(value, list | tuple):
        inner = list(value)
    elif isinstance(value, functools.partial):
        inner = [value.func, *value.args, *value.keywords.values()]
    else:
        yield type(value)
        state = None if isinstance(value, type) else state_of_object(value)
        inner = list((state or {}).values())
    for part in inner:
        yield from _parts(part, seen)


class _Encoder:
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
            return self._array(value, where)
        if isinstance(value, ITEM):
            kind = value._enumeration
            # the numbers of outcomes may change from version to version, their names do not
            names = list(kind._name_to_item)
            index = self._array(value._value, where)
            return {"outcome": name_of(kind), "index": index, "names": names}
        if isinstance(value, dict):
            pairs = [[self.encode(k, where), self.encode(v, f"{where}[{k!r}]")]
                     for k, v in value.items()]  # fmt: skip
            return {"dict": pairs}
        if isinstance(value, tuple | list):
            parts = [self.encode(part, f"{where}[{i}]") for i, part in enumerate(value)]
            if type(value) in (tuple, list):
                return {type(value).__name__: parts}
            return {"named": name_of(type(value)), "code": code_of(type(value)), "parts": parts}
        if isinstance(value, np.dtype):
            return {"dtype": value.name}
        if isinstance(value, functools.partial):
            return {"partial": self.encode((value.func, value.args, value.keywords), where)}
        if isinstance(value, type) or (callable(value) and getattr(value, "__name__", None)):
            return {"code": name_of(value), "print": code_of(value)}
        if isinstance(value, jax.ShapeDtypeStruct):
            return {"abstract": list(value.shape), "of": self.encode(value.dtype, where)}
        # an object that says how to build it again; a set has more to say
        if "__reduce__" in vars(type(value)) and len(value.__reduce__()) == 2:
            make, parts = value.__reduce__()
            return {"make": self.encode(make, where), "parts": self.encode(parts, where)}
        state = state_of_object(value)
        if state is None or isinstance(value, ClosedJaxpr):
            raise _not_stored(where, type(value).__name__)
        inner = {name: self.encode(part, f"{where}.{name}") for name, part in state.items()}
        return {"object": name_of(type(value)), "code": code_of(type(value)), "fields": inner}

    def _array(self, value: Any, where: str) -> dict[str, Any]:
        if id(value) in self._seen:
            return self._seen[id(value)][0]
        entry: dict[str, Any] = {"kind": "jax" if isinstance(value, jax.Array) else "numpy"}
        host = value
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            entry = {"kind": "key", "impl": str(jax.random.key_impl(value))}
            host = jax.random.key_data(value)
        if isinstance(host, np.ma.MaskedArray):
            raise _not_stored(where, "masked array")
        host = np.asarray(host)
        host = host.astype(host.dtype.newbyteorder("="), copy=False)  # that of the machine
        dtype = host.dtype.str if host.dtype.kind in "SU" else host.dtype.name
        if host.dtype.fields or host.dtype.hasobject:
            raise _not_stored(where, f"array of dtype {host.dtype}")
        entry |= {"dtype": dtype, "shape": list(host.shape), "array": len(self.arrays)}
        # as bytes: formats such as bfloat16 are unknown to numpy's files
        self.arrays.append(np.frombuffer(host.tobytes(), np.uint8))
        self._seen[id(value)] = (entry, value)
        return entry


def _not_stored(where: str, kind: str) -> DeclarationError:
    return DeclarationError(
        "result",
        got=f"{where}, a {kind}",
        expected="numbers, arrays, modules and functions",
        mend="store what it holds by itself",
    )


class _Decoder:
    """JSON and arrays to values; `given` are the parts of the declarations at hand."""

    def __init__(self, arrays: list[np.ndarray], given: list[Any]):
        self.arrays = arrays
        self.code = [part for part in given if callable(part)]

    def decode(self, entry: Any) -> Any:
        """The value of a JSON entry."""
        if not isinstance(entry, dict):
            return entry
        if "float" in entry:
            return float(entry["float"])
        if "array" in entry:
            return self._array(entry)
        if "outcome" in entry:
            items = self._code(entry["outcome"], None)._name_to_item
            index = _renumbered(self._array(entry["index"]), entry["names"], list(items))
            return jax.tree.map(lambda _: index, next(iter(items.values())))
        if "dict" in entry:
            return {self.decode(key): self.decode(value) for key, value in entry["dict"]}
        if "tuple" in entry:
            return tuple(self.decode(part) for part in entry["tuple"])
        if "list" in entry:
            return [self.decode(part) for part in entry["list"]]
        if "named" in entry:
            kind = self._code(entry["named"], entry["code"])
            return kind(*(self.decode(part) for part in entry["parts"]))
        if "dtype" in entry:
            return jnp.dtype(entry["dtype"])
        if "abstract" in entry:
            return jax.ShapeDtypeStruct(tuple(entry["abstract"]), self.decode(entry["of"]))
        if "make" in entry:
            return self.decode(entry["make"])(*self.decode(entry["parts"]))
        if "partial" in entry:
            function, positional, keywords = self.decode(entry["partial"])
            return functools.partial(function, *positional, **keywords)
        if "object" in entry:
            instance = object.__new__(self._code(entry["object"], entry["code"]))
            for name, part in entry["fields"].items():
                object.__setattr__(instance, name, self.decode(part))
            return instance
        return self._code(entry["code"], entry["print"])

    def _array(self, entry: dict[str, Any]) -> Any:
        dtype = jnp.dtype(entry["dtype"])
        host = np.frombuffer(self.arrays[entry["array"]].tobytes(), dtype).reshape(entry["shape"])
        if entry["kind"] == "key":
            return jax.random.wrap_key_data(jnp.asarray(host), impl=entry["impl"])
        if entry["kind"] == "numpy":
            return host.copy()
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise DeclarationError(
                "path",
                got=f"a result in {dtype.name}",
                expected="the precision that is switched on",
                mend='call jax.config.update("jax_enable_x64", True) first',
            )
        return jnp.asarray(host)

    def _code(self, name: str, stored: dict[str, Any] | None) -> Any:
        """A class or a function: a library's by its name, the user's among what was given."""
        if stored is None:
            value = found(name) if of_library(name) else None
            if value is None:
                raise _other(f"{name}: gone")
            return value
        lines: list[str] = [f"{name}: not in what was given"]
        for candidate in self.code:
            if name_of(candidate) == name:
                lines = differences(stored, code_of(candidate) or {})[0]
                if not lines:
                    return candidate
        raise _other("\n    ".join(lines[:8]))


def _renumbered(index: jax.Array | np.ndarray, stored: list[str], current: list[str]):
    """Numbers of outcomes as they are counted now, from those of the version that stored them."""
    unknown = [name for name in stored if name not in current]
    if any(stored[number] in unknown for number in np.unique(np.asarray(index))):
        raise DeclarationError(
            "path",
            got=f"an outcome that this version does not know, of {unknown}",
            expected="outcomes of this version",
            mend="load it with the version of boltzax that stored it",
        )
    table = [current.index(name) if name in current else 0 for name in stored]
    numbers = np.asarray(table, np.asarray(index).dtype)[np.asarray(index)]
    return jnp.asarray(numbers) if isinstance(index, jax.Array) else np.asarray(numbers)


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
    """The class or function of a library by its name; None if it does not exist.

    A name that has left its `_file.py` is looked up in the folder: it may have moved, or have
    another name now.
    """
    module, _, path = name.partition(":")
    folder, _, file = module.rpartition(".")
    for home in (module, folder) if file.startswith("_") else (module,):
        with contextlib.suppress(ImportError, AttributeError):
            return functools.reduce(getattr, path.split("."), importlib.import_module(home))
    return None


def code_of(value: Any) -> dict[str, Any] | None:
    """The fingerprint of code of the user; None for a library's, which is found by its name."""
    if of_library(name_of(value)) and found(name_of(value)) is value:
        return None
    if isinstance(value, type):
        names = [name for name in vars(value) if name == "__call__" or not name.startswith("__")]
        methods = {name: getattr(value, name) for name in names}
        return describe("class", {k: m for k, m in methods.items() if inspect.isfunction(m)})
    return describe("function", value)
