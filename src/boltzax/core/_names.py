"""What a namespace exports."""

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
