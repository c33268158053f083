"""Results of every kind in one file, and back: arrays and JSON, nothing that runs."""

import functools
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..compile import Gibbs
from ..core import DeclarationError, typed
from ..sample import describe, differences
from ._encode import Encoder, code_of, found, name_of, of_library, state_of_object

FORMAT = 1


@typed
def save(path: str | Path, result: Any) -> None:
    """Store a result in one file: a `Trace` with its ladder, an `Estimate`, or any other.

    The file is a NumPy archive of arrays and a JSON header. It holds values, and the names and
    fingerprints of classes and functions, but no code: nothing is run when it is read.

    Args:
        path: The file; it is replaced as a whole, or not at all.
        result: What a public function of boltzax gave.

    Raises:
        DeclarationError: If the result holds what has no fields, such as an open file.
    """
    encoder = Encoder()
    tree = encoder.encode(result, "result")
    header = json.dumps({"boltzax": FORMAT, "result": tree})
    arrays = {f"a{i}": each for i, each in enumerate(encoder.arrays)}
    place = Path(path)
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
            mean-field problem, a model), where it holds classes or functions that are yours: these
            are not in the file. Of a ladder the Gibbs measure may be at any beta.

    Returns:
        The result. Its numbers are those of the file.

    Raises:
        DeclarationError: If the file is none of `save`, if code of yours is needed that `declared`
            does not hold, or if the result is of another declaration.
    """
    header, arrays = _read(Path(path))
    given = list(_parts(declared, set()))
    result = _Decoder(arrays, given).decode(header["result"])
    inside = list(_parts(result, set()))
    for one in declared:
        same = [each for each in inside if type(each) is type(one) and not _code_only(each)]
        lines = [_changes(each, one) for each in same]
        if lines and all(lines):
            raise _other("\n    ".join(min(lines, key=len)[:8]))
    return result


def _code_only(value: Any) -> bool:
    """Whether a value is code alone, which is compared where it is looked up."""
    return state_of_object(value) is None or isinstance(value, type)


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
    except (OSError, KeyError, ValueError, AssertionError, EOFError, zipfile.BadZipFile) as error:
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
    for each in inner:
        yield from _parts(each, seen)


class _Decoder:
    """JSON and arrays to values; `given` are the parts of the declarations at hand."""

    def __init__(self, arrays: list[np.ndarray], given: list[Any]):
        self.arrays = arrays
        self.code = [each for each in given if callable(each)]

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
        if "tuple" in entry or "list" in entry:
            parts = [self.decode(each) for each in entry.get("tuple", entry.get("list", ()))]
            return tuple(parts) if "tuple" in entry else parts
        if "named" in entry:
            kind = self._code(entry["named"], entry["code"])
            return kind(*(self.decode(each) for each in entry["parts"]))
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
            kind = self._code(entry["object"], entry["code"])
            made = object.__new__(kind)
            for name, each in entry["fields"].items():
                object.__setattr__(made, name, self.decode(each))
            return made
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
        named = [each for each in self.code if name_of(each) == name]
        lines: list[str] = [f"{name}: not in what was given"]
        for each in named:
            lines = differences(stored, code_of(each) or {})[0]
            if not lines:
                return each
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
    found = np.asarray(table, np.asarray(index).dtype)[np.asarray(index)]
    return jnp.asarray(found) if isinstance(index, jax.Array) else np.asarray(found)
