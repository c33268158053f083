"""What the draws of a run depend on, in words that can be compared: a fingerprint.

A fingerprint is a flat dictionary from readable paths (`gibbs.potential.parts[0].rows[0]`) to what
stands there: numbers as they are, arrays by shape, dtype and sha256 of their bytes, functions by
name, bytecode and what they close over. It is written as JSON beside what it vouches for.
"""

import dataclasses
import dis
import enum
import functools
import hashlib
import inspect
import platform
import re
import types
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ._loop import Plan, to_host

LIBRARIES = ("jax", "jaxlib", "numpy", "scipy", "numpyro", "equinox", "optax", "boltzax")
SOFT = "made by "
"""Begins the names of entries that may differ between a run and its resumption (versions)."""

Fingerprint = dict[str, Any]

_PLAIN = (bool, int, float, complex, str, bytes, tuple, list, dict, frozenset, np.ndarray,
          np.generic, jax.Array, type, types.FunctionType, types.ModuleType)  # fmt: skip


def fingerprint(plan: Plan) -> Fingerprint:
    """The fingerprint of a run: its declaration, its settings, and what makes it."""
    found = made_by() | {"dynamics": _name(type(plan.dynamics))}
    for field in dataclasses.fields(plan.dynamics):
        found |= describe(field.name, getattr(plan.dynamics, field.name))
    for name in ("start", "key", "warmup", "thin", "rows"):
        found |= describe(name, getattr(plan, name))
    return found | {"sink": None if plan.sink is None else _name(type(plan.sink))}


def made_by() -> Fingerprint:
    """Versions and devices: what may differ between a run and its resumption."""
    found: Fingerprint = {name: _version(name) for name in ("jax", "jaxlib", "numpyro", "boltzax")}
    found["python"] = ".".join(platform.python_version_tuple()[:2])
    found["devices"] = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    return {f"{SOFT}{name}": value for name, value in found.items()}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def describe(path: str, value: PyTree) -> Fingerprint:
    """The entries of one value, under names that begin with `path`."""
    return dict(_walk(path, value, ()))


def differences(old: Fingerprint, new: Fingerprint) -> tuple[list[str], list[str]]:
    """What differs, a line each: what the draws depend on, and then what may differ.

    Under other versions or devices, arrays that boltzax computed can differ by rounding, and
    bytecode does: then floating-point arrays need only agree to six digits in their mean and norm,
    and functions in their names.
    """
    soft = [name for name in {**old, **new} if name.startswith(SOFT)]
    changed = sorted(name for name in set(soft) if old.get(name) != new.get(name))
    other = [f"{name.removeprefix(SOFT)}: {old.get(name)} -> {new.get(name)}" for name in changed]
    lines = []
    for name in sorted({**old, **new}, key=lambda name: (name not in new, name)):
        if name.startswith(SOFT):
            continue
        if name not in old or name not in new:
            have, which = (old, "gone") if name in old else (new, "new")
            lines.append(f"{name}: {which} ({_short(have[name])})")
        elif _plain(old[name]) != _plain(new[name]) and not (other and _near(old[name], new[name])):
            lines.append(f"{name}: {_change(old[name], new[name])}")
    return lines, other


def _plain(entry: Any) -> Any:
    """An entry without what only helps to compare it."""
    return {k: v for k, v in entry.items() if k != "moments"} if isinstance(entry, dict) else entry


def _near(old: Any, new: Any) -> bool:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return False
    if "code" in old and "code" in new:
        return old.get("function") == new.get("function")
    same = all(old.get(name) == new.get(name) for name in ("shape", "dtype"))
    moments = old.get("moments"), new.get("moments")
    return same and None not in moments and bool(np.allclose(*moments, rtol=1e-6, atol=1e-12))


def _change(old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        if "shape" in old and "shape" in new:
            if old["shape"] == new["shape"] and old["dtype"] == new["dtype"]:
                if "value" in old and "value" in new:
                    return f"{old['value']} -> {new['value']}"
                return f"data changed (shape {_shape(old)} both, other values)"
            return f"{_short(old)} -> {_short(new)}"
        if "code" in old and "code" in new and _short(old) == _short(new):
            return f"{_short(old)} has another body"
    return f"{_short(old)} -> {_short(new)}"


def _shape(entry: dict) -> str:
    return str(tuple(entry["shape"]))


def _short(entry: Any) -> str:
    if not isinstance(entry, dict):
        return f"{entry:.80}" if isinstance(entry, str) else f"{entry}"
    if "code" in entry:
        return entry["function"] if "function" in entry else entry["text"]
    return str(entry["value"]) if "value" in entry else f"{entry['dtype']} {_shape(entry)}"


def _walk(path: str, value: Any, above: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """Entries of a value; `above` are the objects on the way to it, none of them walked twice."""
    if id(value) in above:
        yield path, "itself"
        return
    inner = (*above, id(value))
    if value is None or isinstance(value, bool | int):
        yield path, value
    elif isinstance(value, str):
        yield path, value if len(value) < 80 else _text(value)
    elif isinstance(value, float | complex | bytes | enum.Enum | np.dtype | range | slice):
        yield path, _text(repr(value)) if isinstance(value, bytes) else repr(value)
    elif isinstance(value, jax.Array | np.ndarray | np.generic):
        yield path, _array(value)
    elif isinstance(value, type):
        yield path, _name(value)
    elif isinstance(value, dict):
        for key in sorted(value, key=repr):
            yield from _walk(f"{path}[{key!r}]", value[key], inner)
        yield f"{path} has", sorted(map(repr, value))
    elif isinstance(value, set | frozenset):
        yield path, sorted(map(repr, value))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for name in getattr(value, "_fields", ()):
            yield from _walk(f"{path}.{name}", getattr(value, name), inner)
    elif isinstance(value, tuple | list):
        for i, each in enumerate(value):
            yield from _walk(f"{path}[{i}]", each, inner)
        yield f"{path} has", len(value)
    elif isinstance(value, functools.partial):
        parts = {"of": value.func, "args": value.args, "keywords": value.keywords}
        for name, each in parts.items():
            yield from _walk(f"{path}.{name}", each, inner)
    elif inspect.ismethod(value):
        yield from _walk(f"{path}.function", value.__func__, inner)
        yield from _walk(f"{path}.self", value.__self__, inner)
    elif dataclasses.is_dataclass(value):
        yield f"{path} is", _name(type(value))
        for field in dataclasses.fields(value):
            # a field that is left out of the repr is a place, not a part of the declaration
            if field.repr and hasattr(value, field.name):
                yield from _walk(f"{path}.{field.name}", getattr(value, field.name), inner)
    elif isinstance(value, types.ModuleType):
        yield path, value.__name__
    elif callable(value) and hasattr(inspect.unwrap(value), "__code__"):
        yield from _function(path, inspect.unwrap(value), inner)
    elif callable(value) and hasattr(value, "__name__"):  # a builtin, a ufunc
        yield path, _name(value)
    else:
        yield f"{path} is", _name(type(value))
        for name, each in sorted(getattr(value, "__dict__", {}).items()):
            if not name.startswith("__"):
                yield from _walk(f"{path}.{name}", each, inner)


def _text(value: str) -> dict[str, str]:
    """A long text, addresses in memory left out."""
    value = re.sub(r"0x[0-9a-f]+", "0x", value)
    return {"text": f"{value:.40}...", "code": hashlib.sha256(value.encode()).hexdigest()}


def _array(value: Any) -> dict[str, Any]:
    if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    host = np.ascontiguousarray(to_host(value)).reshape(np.shape(value))
    entry = {"shape": list(host.shape), "dtype": str(host.dtype)}
    if host.size == 1:
        entry["value"] = str(host.reshape(())[()])
    if jax.numpy.issubdtype(host.dtype, jax.numpy.floating) and host.size:
        wide = host.astype(np.float64)
        entry["moments"] = [float(np.mean(wide)), float(np.linalg.norm(wide))]
    return entry | {"sha256": hashlib.sha256(host.tobytes()).hexdigest()}


def _function(path: str, fn: Any, above: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """Name and bytecode of a function, and all that it closes over; of libraries the name alone."""
    if _of_library(fn):
        yield path, _name(fn)
        return
    code = hashlib.sha256(repr(_code(fn.__code__, fn.__doc__)).encode()).hexdigest()
    yield path, {"function": _name(fn), "code": code}
    cells = zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
    for name, cell in cells:
        yield from _walk(f"{path}<{name}>", cell.cell_contents, above)
    defaults = {"defaults": fn.__defaults__, "keywords": fn.__kwdefaults__}
    for name, each in defaults.items():
        if each:
            yield from _walk(f"{path}.{name}", each, above)
    for name in sorted(_globals(fn.__code__) & set(fn.__globals__)):
        value = fn.__globals__[name]
        plain = isinstance(value, _PLAIN) or dataclasses.is_dataclass(value)
        # anything else that a script has lying about is named, not read
        yield from _walk(f"{path}<{name}>", value if plain else type(value), above)


def _of_library(fn: Any) -> bool:
    return (getattr(fn, "__module__", None) or "").split(".")[0] in LIBRARIES


def _code(code: types.CodeType, doc: str | None = None) -> list:
    """What a code object does; not where it is written, nor its docstring."""
    constants = []
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            constants.append(_code(each))
        elif isinstance(each, frozenset):
            constants.append(sorted(map(repr, each)))
        else:
            constants.append(repr(None if doc is not None and each == doc else each))
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames]


def _globals(code: types.CodeType) -> set[str]:
    """Names of the globals that a function reads."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    inner = (each for each in code.co_consts if isinstance(each, types.CodeType))
    return found.union(*map(_globals, inner))


def _name(thing: Any) -> str:
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", str(thing))
    return f"{module}.{name}" if module else name
