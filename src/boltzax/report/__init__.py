"""Reports: draws as an xarray tree that ArviZ reads, and figures."""

from ..core import exported as _exported
from . import plot as plot
from ._save import load as load
from ._save import save as save
from ._xarray import to_xarray as to_xarray
from ._zarr import ZarrSink as ZarrSink
from ._zarr import load_trace as load_trace
from ._zarr import open_zarr as open_zarr

__all__ = _exported(globals(), "plot")


def __dir__() -> list[str]:
    return list(__all__)
