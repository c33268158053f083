"""Entries of a fingerprint: what stands in a value, and all code of the user that it can reach.

A declaration reaches code by its functions and closures, by the methods of the classes of its
parts and of their bases, by what these call (globals, attributes of modules, imports), and by
wrappers (`partial`, `jit`, decorators). Code of libraries, boltzax among them, is named and not
read: its version is an entry of its own. A class or a function is read once, where it is met first.
"""

import dataclasses
import dis
import enum
import functools
import hashlib
import importlib.util
import inspect
import re
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ._sharding import to_host

LIBRARIES = ("jax", "jaxlib", "numpy", "scipy", "numpyro", "equinox", "optax", "boltzax")
"""Packages whose code is named and not read, wherever they are installed."""

Entries = Iterator[tuple[str, Any]]

_PLAIN = (bool, int, float, complex, str, bytes, tuple, list, dict, frozenset, np.ndarray,
          np.generic, jax.Array, type, types.FunctionType, types.ModuleType)  # fmt: skip
_FOLDERS = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
_PLACES = tuple(f"{Path(each).resolve()}/" for each in (*_FOLDERS, Path(__file__).parents[1]))
_NO_CODE = ("__repr__", "__str__", "__annotate__", "__annotate_func__", "__class_getitem__")


class Reader:
    """One walk over a declaration."""

    def __init__(self):
        self.modules: set[str] = set()
        """Modules of libraries (and of read classes) that were met."""
        self.read: dict[int, Any] = {}
        """Classes and functions that were read, by id; kept, so that no id is used again."""

    def walk(self, path: str, value: Any, above: tuple[int, ...] = ()) -> Entries:
        """Entries of a value; `above` are the objects on the way to it, none walked twice."""
        if id(value) in above:
            yield path, "itself"
            return
        inner = (*above, id(value))
        if value is None or isinstance(value, bool | int):
            yield path, value
        elif isinstance(value, str):
            yield path, value if len(value) < 80 else _text(value)
        elif isinstance(value, float | complex | bytes | np.dtype | range | slice):
            yield path, _text(repr(value)) if isinstance(value, bytes) else repr(value)
        elif isinstance(value, enum.Enum):
            yield path, repr(value)
            yield from self._class(path, type(value))
        elif isinstance(value, jax.Array | np.ndarray | np.generic):
            yield path, _array(value)
        elif isinstance(value, type):
            yield path, name_of(value)
            yield from self._class(path, value)
        elif isinstance(value, dict):
            for key in sorted(value, key=repr):
                yield from self.walk(f"{path}[{key!r}]", value[key], inner)
            yield f"{path} has", sorted(map(repr, value))
        elif isinstance(value, set | frozenset):
            yield path, sorted(map(repr, value))
        elif isinstance(value, tuple) and type(value) is not tuple:  # a named one
            yield from self._fields(path, value, getattr(value, "_fields", ()), inner)
            yield from self._class(path, type(value))
        elif isinstance(value, tuple | list):
            for i, each in enumerate(value):
                yield from self.walk(f"{path}[{i}]", each, inner)
            yield f"{path} has", len(value)
        elif isinstance(value, types.ModuleType):
            yield path, value.__name__
            yield from self._module(path, value)
        elif callable(value) and not dataclasses.is_dataclass(value):
            yield from self._callable(path, value, inner)
        else:
            yield from self._object(path, value, inner)

    def _fields(self, path: str, value: Any, names: Any, above: tuple[int, ...]) -> Entries:
        missing = object()
        for name in names:
            each = getattr(value, name, missing)
            if each is not missing:
                yield from self.walk(f"{path}.{name}", each, above)

    def _object(self, path: str, value: Any, above: tuple[int, ...]) -> Entries:
        """The type of an object, its fields, and the code of its class."""
        yield f"{path} is", name_of(type(value))
        if dataclasses.is_dataclass(value):
            # a field that is left out of the repr is a place, not a part of the declaration
            names = [field.name for field in dataclasses.fields(value) if field.repr]
        else:
            slots = (getattr(base, "__slots__", ()) for base in type(value).__mro__)
            own = {name for each in slots for name in ([each] if isinstance(each, str) else each)}
            names = sorted(own | set(getattr(value, "__dict__", ())))
            names = [name for name in names if not name.startswith("__")]
        yield from self._fields(path, value, names, above)
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None:
            yield from self.walk(f"{path}.wrapped", wrapped, above)
        yield from self._class(path, type(value))

    def _callable(self, path: str, value: Any, above: tuple[int, ...]) -> Entries:
        if isinstance(value, functools.partial):
            yield from self._fields(path, value, ("func", "args", "keywords"), above)
        elif inspect.ismethod(value):
            yield from self._fields(path, value, ("__func__", "__self__"), above)
        elif isinstance(value, types.FunctionType):
            yield from self._function(path, value, above)
        elif hasattr(value, "__wrapped__"):  # `jit`, `custom_jvp` and their like
            yield from self.walk(path, value.__wrapped__, above)
            rules = {n: x for n, x in vars(value).items() if isinstance(x, types.FunctionType)}
            for name in sorted(rules):
                if rules[name] is not value.__wrapped__:
                    yield from self.walk(f"{path}.{name}", rules[name], above)
        elif hasattr(value, "__name__"):  # a builtin, a ufunc
            yield path, name_of(value)
        else:
            yield from self._object(path, value, above)

    def _class(self, path: str, cls: type) -> Entries:
        """The members of a class and of its bases, those of libraries left out."""
        for base in cls.__mro__:
            if id(base) in self.read or in_library(base.__module__):
                self.modules.add(base.__module__)
                continue
            self.read[id(base)] = base
            for name, member in sorted(vars(base).items()):
                special = name.startswith("__") and name.endswith("__")
                code = _code_of(member)
                if name in _NO_CODE or (special and code is None) or name == "_abc_impl":
                    continue
                place = f"{path}:{base.__qualname__}.{name}"
                if code is not None:
                    for each in code:
                        yield from self.walk(place, each)
                elif isinstance(member, _PLAIN) or dataclasses.is_dataclass(member):
                    yield from self.walk(place, member)
                else:
                    yield place, name_of(type(member))

    def _module(self, path: str, module: types.ModuleType) -> Entries:
        """The functions and classes of a user's module that is handed on as a whole."""
        if in_library(module.__name__) or id(module) in self.read:
            return
        self.read[id(module)] = module
        for name, each in sorted(vars(module).items()):
            here = getattr(each, "__module__", None) == module.__name__
            if here and isinstance(each, type | types.FunctionType):
                yield from self.walk(f"{path}.{name}", each)

    def _function(self, path: str, fn: types.FunctionType, above: tuple[int, ...]) -> Entries:
        """Name and bytecode, and all that a function closes over and reads."""
        if in_library(fn.__module__):
            self.modules.add(fn.__module__)
            yield path, name_of(fn)
            return
        cells = dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True))
        held = {name: cell.cell_contents for name, cell in cells.items() if not _empty(cell)}
        if _installed(fn.__code__.co_filename):  # a wrapper that a library made
            yield f"{path} by", fn.__code__.co_name
            for name, each in held.items():
                if isinstance(each, _PLAIN) or dataclasses.is_dataclass(each):
                    yield from self.walk(f"{path}<{name}>", each, above)
            if hasattr(fn, "__wrapped__"):
                yield from self.walk(f"{path}.wrapped", fn.__wrapped__, above)
            return
        digest, names = _code(fn.__code__)
        yield path, {"function": name_of(fn), "code": digest}
        if id(fn) in self.read:
            return
        self.read[id(fn)] = fn
        for name, each in held.items():
            yield from self.walk(f"{path}<{name}>", each, above)
        defaults = {"defaults": fn.__defaults__, "keywords": fn.__kwdefaults__}
        for name, each in defaults.items():
            if each:
                yield from self.walk(f"{path}.{name}", each, above)
        for label, each in sorted(_reached(names, fn.__globals__, held), key=lambda pair: pair[0]):
            plain = isinstance(each, _PLAIN) or dataclasses.is_dataclass(each) or callable(each)
            # anything else of a library that a script has lying about is named, not read
            own = plain or not in_library(type(each).__module__)
            yield from self.walk(f"{path}<{label}>", each if own else type(each), above)


@functools.cache
def in_library(module: str | None) -> bool:
    """Whether the code of a module is named and not read."""
    if module is None or module == "__main__":
        return False
    if module.split(".")[0] in (*LIBRARIES, "builtins"):
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and _installed(file)


@functools.cache
def _installed(file: str) -> bool:
    if file.startswith("<"):  # typed in, or made by `exec`; or part of the interpreter
        return file.startswith("<frozen")
    place = Path(file).resolve()
    packages = {"site-packages", "dist-packages"} & set(place.parts)
    return bool(packages) or str(place).startswith(_PLACES)


def _empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def _code_of(member: Any) -> list[Any] | None:
    """The functions of a member of a class; None if it is no code."""
    if isinstance(member, staticmethod | classmethod):
        return [member.__func__]
    if isinstance(member, property):
        return [each for each in (member.fget, member.fset) if each is not None]
    if isinstance(member, functools.cached_property):
        return [member.func]
    if isinstance(member, types.FunctionType):
        return [member]
    inner = getattr(member, "method", None)  # how equinox keeps the methods of a module
    if isinstance(inner, types.FunctionType):
        return [inner]
    return [member] if hasattr(member, "__wrapped__") and callable(member) else None


@functools.cache
def _code(code: types.CodeType) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """The digest of a code object, and the chains of names that it reads."""
    text = repr(_content(code, code.co_consts[0] if code.co_consts else None))
    return hashlib.sha256(text.encode()).hexdigest(), tuple(dict.fromkeys(_chains(code)))


def _content(code: types.CodeType, doc: Any = None) -> list:
    """What a code object does; not where it is written, nor its docstring."""
    constants = []
    for number, each in enumerate(code.co_consts):
        if isinstance(each, types.CodeType):
            constants.append(_content(each))
        elif isinstance(each, frozenset):
            constants.append(sorted(map(repr, each)))
        else:
            first = number == 0 and isinstance(doc, str) and each == doc
            constants.append(repr(None if first else each))
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames]


def _chains(code: types.CodeType) -> Iterator[tuple[str, ...]]:
    """`(kind, name, attribute, ...)` of all that a function reads: globals, cells, imports."""
    chain: tuple[str, ...] = ()
    in_parts = False  # `from module import name`, and not the whole module
    for each in dis.get_instructions(code):
        if chain and each.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            chain = (*chain, each.argval)
            continue
        if chain and each.opname == "IMPORT_FROM":
            yield (*chain, each.argval)
            in_parts = True
            continue
        if chain and not (chain[0] == "import" and each.opname == "STORE_FAST"):
            if not in_parts:
                yield chain
            chain, in_parts = (), False
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            chain = ("global", each.argval)
        elif each.opname == "LOAD_DEREF":
            chain = ("cell", each.argval)
        elif each.opname == "IMPORT_NAME":
            chain = ("import", each.argval)
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _chains(each)


def _reached(names: tuple[tuple[str, ...], ...], space: dict, cells: dict) -> list[tuple[str, Any]]:
    """What the chains of names lead to: attributes of the user's modules are followed."""
    missing, found = object(), {}
    for kind, name, *rest in names:
        value = {"global": space, "cell": cells}.get(kind, {}).get(name, missing)
        if kind == "import":
            value = _imported(name, space)
        label = name
        while rest and isinstance(value, types.ModuleType) and not in_library(value.__name__):
            label, value = f"{label}.{rest[0]}", getattr(value, rest[0], missing)
            rest = rest[1:]
        if value is not missing and (kind != "cell" or "." in label):
            found.setdefault(label, value)
    return list(found.items())


def _imported(name: str, space: dict) -> Any:
    """A module that is imported inside a function, if it is loaded; the first part of its name."""
    package = space.get("__package__") or ""
    for full in (name, f"{package}.{name}" if package else name):
        with_dots = importlib.util.resolve_name(full, package) if full.startswith(".") else full
        if with_dots in sys.modules:
            return sys.modules[with_dots]
    return types.ModuleType(name or "unknown")


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


def name_of(thing: Any) -> str:
    """Module and qualified name."""
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", str(thing))
    return f"{module}.{name}" if module else name
