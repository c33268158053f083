"""Spectra of samples against the nulls of random matrices."""

import numpy as np

from ..channels import CanonicalSpectrum, CovarianceSpectrum
from ..core import typed
from ._axes import BLUE, GREY, ORANGE, Axes, axes_of, legend


@typed
def channel_spectrum(
    spectrum: CovarianceSpectrum | CanonicalSpectrum, *, ax: Axes | None = None
) -> Axes:
    """Eigenvalues or canonical correlations by rank, the edge of the null, and what is beyond it.

    Args:
        spectrum: From `channels.covariance_spectrum` or `channels.canonical_spectrum`.
        ax: Axes to draw into; new ones if None.
    """
    ax = axes_of(ax)
    if isinstance(spectrum, CanonicalSpectrum):
        values, null, name = spectrum.correlations, "independence", "canonical correlation"
    else:
        values, null, name = spectrum.eigenvalues, "white noise", "variance"
        ax.set_yscale("log")
    rank = np.arange(1, len(values) + 1)
    ax.plot(rank, values, "o", color=BLUE, markersize=3.5, label="sample")
    ax.axhline(spectrum.edge, color=GREY, ls="--", lw=1.2, label=f"edge of {null}")
    if spectrum.count:
        centre = np.asarray(spectrum.outliers.value)
        low, high = (np.asarray(end) for end in spectrum.outliers.interval())
        ax.errorbar(
            rank[: spectrum.count],
            centre,
            [centre - low, high - centre],
            fmt="s",
            color=ORANGE,
            markersize=4.5,
            elinewidth=1.2,
            mfc="none",
            label="corrected, 95% bars",
        )
    ax.set(xlabel="rank", ylabel=name)
    legend(ax)
    return ax
