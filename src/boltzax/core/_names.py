"""What a namespace exports."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


def exported(namespace: dict[str, Any], *also: str) -> list[str]:
    """The names that a namespace exports, sorted: what `from namespace import *` gives.

    Args:
        namespace: `globals()` at the end of an `__init__`. Names with a leading underscore and
            modules are left out.
        also: Names to export besides: modules, and what is imported when first used.
    """
    own = {
        name
        for name, value in namespace.items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    return sorted(own | set(also))


def imported_when_used(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package that imports some of its names when they are first used.

    Args:
        package: The package's `__name__`.
        places: For each name the module of the package that holds it, or that it is.
    """

    def __getattr__(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f".{places[name]}", package)
        return module if name == places[name] else getattr(module, name)

    return __getattr__


def renamed(
    namespace: dict[str, Any], gone: Mapping[str, str] | None = None, **names: str | Callable
) -> Callable[[str], Any]:
    """The `__getattr__` of a module whose names have changed: the old ones work, with a warning.

    Args:
        namespace: `globals()` of the module.
        gone: What to do instead, for each name that works no more.
        names: The new name for each old one; a full one, `boltzax.cases.curie_weiss`, for what has
            moved to another folder; the old function itself, if it warns when it is called.
    """
    module = namespace["__name__"]

    def __getattr__(name: str) -> Any:
        if name not in names:
            instead = f" any more: {gone[name]}" if gone and name in gone else ""
            raise AttributeError(f"module {module!r} has no attribute {name!r}{instead}")
        target = names[name]
        if not isinstance(target, str):
            return target
        home, _, new = target.rpartition(".")
        told = f"{module}.{name} is now {home or module}.{new}; the old name will go with the next"
        warnings.warn(f"{told} release", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(home), new) if home else namespace[new]

    return __getattr__
