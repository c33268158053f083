"""Names of the top level that are imported when first used.

They need heavy libraries, or have hundreds of classes, each of which takes a millisecond to make.
"""

import importlib
from typing import Any

LAZY = {
    **dict.fromkeys(
        ("plot", "save", "load", "to_xarray", "ZarrSink", "open_zarr", "load_trace"), "report"
    ),
    **{
        folder: folder
        for folder in ("cases", "channels", "degrade", "interfaces", "meanfield", "testing")
    },
}
"""Each of these names, and the folder that it is or lies in."""

NAMESPACES = (
    "cases",
    "channels",
    "degrade",
    "interfaces",
    "meanfield",
    "models",
    "temperature",
    "theory",
)
"""Public folders and modules of the top level."""


def __getattr__(name: str) -> Any:
    """The module-level `__getattr__` of boltzax (PEP 562)."""
    if name not in LAZY:
        raise AttributeError(f"module 'boltzax' has no attribute {name!r}")
    module = importlib.import_module(f".{LAZY[name]}", __package__)
    return module if name == LAZY[name] else getattr(module, name)
