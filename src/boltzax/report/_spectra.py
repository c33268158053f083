"""Spectra of samples against the nulls of random matrices."""

import numpy as np

from ..channels import CanonicalSpectrum, CovarianceSpectrum
from ..core import typed
from ._axes import Axes, axes_of, bars, legend
from ._style import BLUE, GREY, ORANGE, styled


@typed
@styled
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
    ax.plot(rank, values, "o", color=BLUE, label="sample")
    ax.axhline(spectrum.edge, color=GREY, ls="--", lw=1.2, label=f"edge of {null}")
    if spectrum.count:
        ax.errorbar(
            rank[: spectrum.count],
            np.asarray(spectrum.outliers.value),
            bars(spectrum.outliers),
            fmt="s",
            color=ORANGE,
            markersize=5,
            elinewidth=1.2,
            mfc="none",
            label="corrected, 95% interval",
        )
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="rank", ylabel=name)
    legend(ax)
    return ax
