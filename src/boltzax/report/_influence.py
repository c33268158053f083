"""Influence matrices, with what is not measured marked."""

import numpy as np

from ..core import DeclarationError, Estimate, typed
from ._axes import Axes, axes_of


@typed
def influence(
    matrix: Estimate,
    *,
    ax: Axes | None = None,
    limit: float | None = None,
    sigmas: float = 2.0,
    label: str = r"$\partial\langle\ell_i\rangle/\partial\mu_j$",
) -> Axes:
    """A matrix as colours, red up and blue down; hatched where it is within its error of zero.

    An entry that is not finite is left grey.

    Args:
        matrix: From `influence`, shape `[query, datum]`.
        limit: The value of the darkest colours, ±; the largest entry, if not given. Give it when
            matrices are compared.
        sigmas: An entry below so many standard errors is hatched.
        label: Of the colours.
    """
    value, error = np.asarray(matrix.value, float), np.asarray(matrix.standard_error, float)
    if value.ndim != 2:
        raise DeclarationError(
            "matrix",
            got=f"shape {value.shape}",
            expected="a matrix, [query, datum]",
            mend="pick one temperature first: influence(trace, energy)[i]",
        )
    ax = axes_of(ax, size=(5.2, 4.4))
    finite = np.abs(value[np.isfinite(value)])
    top = float(np.max(finite, initial=0.0)) if limit is None else limit
    top = top or 1.0
    edges = [np.arange(size + 1) - 0.5 for size in value.shape]
    shown = np.ma.masked_invalid(value)
    ax.set_facecolor("0.8")
    mesh = ax.pcolormesh(edges[1], edges[0], shown, cmap="RdBu_r", vmin=-top, vmax=top)
    for i, row in enumerate(np.abs(value) < sigmas * error):
        cells = [(j - 0.5, 1.0) for j in np.flatnonzero(row)]
        style = {"facecolor": "none", "edgecolor": "0.6", "linewidth": 0.0, "hatch": "////"}
        ax.broken_barh(cells, (i - 0.5, 1.0), **style)
    ax.invert_yaxis()
    ax.set(xlabel="datum", ylabel="query", aspect="equal")
    bar = ax.figure.colorbar(mesh, ax=ax, shrink=0.85)
    bar.set_label(label)
    return ax
