"""Reports: draws as an xarray tree that ArviZ reads, and figures."""

from . import plot as plot
from ._xarray import to_xarray as to_xarray
