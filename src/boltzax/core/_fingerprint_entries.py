"""Entries of a fingerprint: the content of a value, and all code of the user that it can reach.

A declaration reaches code through its functions and closures, the methods of the classes of its
parts and of their bases, what these call (globals, attributes of modules, imports), and wrappers
(`partial`, `jit`, decorators). Code of libraries, boltzax included, is named and not read: its
version is an entry of its own. A class or a function is read once, where it is met first.
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
from jax.extend.core import Var

from ._sharding import to_host

LIBRARIES = ("jax", "jaxlib", "numpy", "scipy", "numpyro", "equinox", "optax", "boltzax")
"""Packages whose code is named and not read, wherever they are installed."""

Entries = Iterator[tuple[str, Any]]

_PLAIN = (bool, int, float, complex, str, bytes, tuple, list, dict, frozenset, np.ndarray,
          np.generic, jax.Array, type, types.FunctionType, types.ModuleType)  # fmt: skip
_FOLDERS = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
_PLACES = tuple(f"{Path(place).resolve()}/" for place in (*_FOLDERS, Path(__file__).parents[1]))
_NO_CODE = ("__repr__", "__str__", "__annotate__", "__annotate_func__", "__class_getitem__")


class Reader:
    """One walk over a declaration."""

    def __init__(self):
        self.modules: set[str] = set()
        """Modules of libraries (and of read classes) that were met."""
        self.read: dict[int, Any] = {}
        """Classes and functions that were read, by id; kept, so that no id is used again."""

    def walk(self, path: str, value: Any, above: tuple[int, ...] = ()) -> Entries:
        """Entries of a value; `above` are the objects that contain it, not walked again."""
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
        elif isinstance(value, Var):  # of a traced program: some versions of jax number them all
            yield path, repr(value.aval)
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
            for i, entry in enumerate(value):
                yield from self.walk(f"{path}[{i}]", entry, inner)
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
            field = getattr(value, name, missing)
            if field is not missing:
                yield from self.walk(f"{path}.{name}", field, above)

    def _object(self, path: str, value: Any, above: tuple[int, ...]) -> Entries:
        """The type of an object, its fields, and the code of its class."""
        yield f"{path} is", name_of(type(value))
        if dataclasses.is_dataclass(value):
            # a field that is left out of the repr is a place, not a part of the declaration
            names = [field.name for field in dataclasses.fields(value) if field.repr]
        else:
            slots = [getattr(base, "__slots__", ()) for base in type(value).__mro__]
            own = {name for slot in slots for name in ([slot] if isinstance(slot, str) else slot)}
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
                    for function in code:
                        yield from self.walk(place, function)
                elif _is_plain(member):
                    yield from self.walk(place, member)
                else:
                    yield place, name_of(type(member))

    def _module(self, path: str, module: types.ModuleType) -> Entries:
        """The functions and classes of a user's module that is handed on as a whole."""
        if in_library(module.__name__) or id(module) in self.read:
            return
        self.read[id(module)] = module
        for name, member in sorted(vars(module).items()):
            own = getattr(member, "__module__", None) == module.__name__
            if own and isinstance(member, type | types.FunctionType):
                yield from self.walk(f"{path}.{name}", member)

    def _function(self, path: str, fn: types.FunctionType, above: tuple[int, ...]) -> Entries:
        """Name and bytecode of a function, and all values that it closes over and reads."""
        if in_library(fn.__module__):
            self.modules.add(fn.__module__)
            yield path, name_of(fn)
            return
        cells = dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True))
        held = {name: cell.cell_contents for name, cell in cells.items() if not _empty(cell)}
        if _installed(fn.__code__.co_filename):  # a wrapper that a library made
            yield f"{path} by", fn.__code__.co_name
            for name, cell_value in held.items():
                if _is_plain(cell_value):
                    yield from self.walk(f"{path}<{name}>", cell_value, above)
            if hasattr(fn, "__wrapped__"):
                yield from self.walk(f"{path}.wrapped", fn.__wrapped__, above)
            return
        digest, names = _code(fn.__code__)
        yield path, {"function": name_of(fn), "code": digest}
        if id(fn) in self.read:
            return
        self.read[id(fn)] = fn
        for name, cell_value in held.items():
            yield from self.walk(f"{path}<{name}>", cell_value, above)
        defaults = {"defaults": fn.__defaults__, "keywords": fn.__kwdefaults__}
        for name, values in defaults.items():
            if values:
                yield from self.walk(f"{path}.{name}", values, above)
        for label, value in sorted(_reached(names, fn.__globals__, held), key=lambda pair: pair[0]):
            read = _is_plain(value) or callable(value) or not in_library(type(value).__module__)
            # another object of a library among the globals of a script is named, not read
            yield from self.walk(f"{path}<{label}>", value if read else type(value), above)


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or dataclasses.is_dataclass(value)


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
        return [function for function in (member.fget, member.fset) if function is not None]
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
    """What a code object does; neither its place in the source nor its docstring."""
    constants = []
    for number, constant in enumerate(code.co_consts):
        if isinstance(constant, types.CodeType):
            constants.append(_content(constant))
        elif isinstance(constant, frozenset):
            constants.append(sorted(map(repr, constant)))
        else:
            is_doc = number == 0 and isinstance(doc, str) and constant == doc
            constants.append(repr(None if is_doc else constant))
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames]


STARTS = {
    "LOAD_GLOBAL": "global", "LOAD_NAME": "global", "LOAD_DEREF": "cell", "IMPORT_NAME": "import"
}  # fmt: skip
"""The instructions that begin a chain of names, and its kind."""


def _chains(code: types.CodeType) -> Iterator[tuple[str, ...]]:
    """`(kind, name, attribute, ...)` of all that a function reads: globals, cells, imports."""
    chain: tuple[str, ...] = ()
    in_parts = False  # `from module import name`, and not the whole module
    for step in dis.get_instructions(code):
        if chain and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            chain = (*chain, step.argval)
            continue
        if chain and step.opname == "IMPORT_FROM":
            yield (*chain, step.argval)
            in_parts = True
            continue
        if chain and not (chain[0] == "import" and step.opname == "STORE_FAST"):
            if not in_parts:
                yield chain
            chain, in_parts = (), False
        if step.opname in STARTS:
            chain = (STARTS[step.opname], step.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _chains(constant)


def _reached(names: tuple[tuple[str, ...], ...], space: dict, cells: dict) -> list[tuple[str, Any]]:
    """The values that chains of names lead to; attributes of the user's modules are followed."""
    missing, reached = object(), {}
    for kind, name, *rest in names:
        value = {"global": space, "cell": cells}.get(kind, {}).get(name, missing)
        if kind == "import":
            value = _imported(name, space)
        label = name
        while rest and isinstance(value, types.ModuleType) and not in_library(value.__name__):
            label, value = f"{label}.{rest[0]}", getattr(value, rest[0], missing)
            rest = rest[1:]
        if value is not missing and (kind != "cell" or "." in label):
            reached.setdefault(label, value)
    return list(reached.items())


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
