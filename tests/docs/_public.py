"""The public names, and what the reference must say of each."""

import importlib
import inspect
from typing import Any

NAMESPACES = (
    "boltzax", "boltzax.cases", "boltzax.channels", "boltzax.degrade", "boltzax.interfaces",
    "boltzax.meanfield", "boltzax.models", "boltzax.temperature", "boltzax.theory",
    "boltzax.plot", "boltzax.testing",
)  # fmt: skip
LAYERS = ("core", "declare", "compile", "sample", "observe")


def public_names() -> dict[str, Any]:
    """Everything that `bx.` reaches, by its full name, and the abstract classes to derive from."""
    import boltzax as bx

    names = {}
    for namespace in NAMESPACES:
        module = bx if namespace == "boltzax" else getattr(bx, namespace.partition(".")[2])
        names |= {f"{namespace}.{name}": getattr(module, name) for name in module.__all__}
    here = {id(value) for value in names.values()}
    for layer in LAYERS:
        module = importlib.import_module(f"boltzax.{layer}")
        for name in module.__all__:
            value = getattr(module, name)
            if name.startswith("Abstract") and id(value) not in here:
                names[f"boltzax.{layer}.{name}"] = value
    return {name: value for name, value in names.items() if not inspect.ismodule(value)}


def parameters(value: Any, starred: bool = False) -> list[str]:
    """The parameters that a call takes, `*args` and the like only if asked for.

    None of an abstract class, which is never called.
    """
    abstract = inspect.isclass(value) and value.__name__.startswith("Abstract")
    if not callable(value) or abstract:
        return []
    try:
        found = inspect.signature(value).parameters
    except ValueError:  # an exception without an `__init__` of its own
        return []
    bare = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return [name for name, each in found.items() if starred or each.kind not in bare]


def members(value: Any) -> dict[str, Any]:
    """The documented public methods and properties that a class defines itself."""
    if not inspect.isclass(value) or not value.__module__.startswith("boltzax"):
        return {}
    found = {}
    for name, member in vars(value).items():
        inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if not name.startswith("_") and (inspect.isfunction(inner) or isinstance(inner, property)):
            found[name] = inner
    return {name: member for name, member in found.items() if inspect.getdoc(member)}
