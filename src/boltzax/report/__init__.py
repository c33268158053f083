"""Reports: results in files, draws as an xarray tree that ArviZ reads, and figures."""

import typing as _typing

from ..core import exported as _exported
from ._lazy import LAZY as _LAZY
from ._lazy import __getattr__ as __getattr__
from ._save import load as load
from ._save import save as save

if _typing.TYPE_CHECKING:
    from . import plot as plot
    from ._xarray import to_xarray as to_xarray
    from ._zarr import ZarrSink as ZarrSink
    from ._zarr import load_trace as load_trace
    from ._zarr import open_zarr as open_zarr

__all__ = _exported(globals(), *_LAZY)


def __dir__() -> list[str]:
    return list(__all__)
