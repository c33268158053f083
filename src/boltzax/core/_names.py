"""What a namespace exports."""

import warnings
from collections.abc import Callable
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


def renamed(namespace: dict[str, Any], **names: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module whose names have changed: the old ones work, with a warning.

    Args:
        namespace: `globals()` of the module.
        names: The new name for each old one.
    """
    module = namespace["__name__"]

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new = names[name]
        told = f"{module}.{name} is now {module}.{new}; the old name will go with the next release"
        warnings.warn(told, DeprecationWarning, stacklevel=2)
        return namespace[new]

    return __getattr__
