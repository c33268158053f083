"""Names of the folder that need a library which only an extra installs; imported at first use."""

import importlib
from typing import Any

from ..core import installed

LAZY = {
    "plot": ("plot", "matplotlib", "plot"),
    "to_xarray": ("_xarray", "xarray", "storage"),
    "ZarrSink": ("_zarr", "xarray", "storage"),
    "load_trace": ("_zarr", "xarray", "storage"),
    "open_zarr": ("_zarr", "xarray", "storage"),
}
"""Each of these names, its module, the library it needs, and the extra that installs it."""


def __getattr__(name: str) -> Any:
    """The module-level `__getattr__` of boltzax.report (PEP 562)."""
    if name not in LAZY:
        raise AttributeError(f"module 'boltzax.report' has no attribute {name!r}")
    place, package, extra = LAZY[name]
    with installed(package, f"boltzax.{name}", extra):
        importlib.import_module(package)
    module = importlib.import_module(f".{place}", __package__)
    return module if name == "plot" else getattr(module, name)
