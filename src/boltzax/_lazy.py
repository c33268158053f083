"""Names of the top level that are imported when first used: they need heavy libraries."""

import importlib
from typing import Any

LAZY = {
    **dict.fromkeys(
        ("plot", "save", "load", "to_xarray", "ZarrSink", "open_zarr", "load_trace"), "report"
    ),
    "testing": "testing",
}
"""Each of these names, and the folder that it lies in."""

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
    return module if name == "testing" else getattr(module, name)
