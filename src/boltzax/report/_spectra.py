"""Spectra of functions, against the law of their decay."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..core import DeclarationError, Estimate, typed
from ._axes import BLUE, GREY, Axes, axes_of, legend

Against = Literal["sqrt", "linear", "log"]
_NAMES = {"sqrt": r"$\sqrt{k}$", "linear": "$k$", "log": r"$\log\,k$"}


@typed
def spectrum(
    squares: Estimate,
    degrees: ArrayLike | None = None,
    *,
    ax: Axes | None = None,
    against: Against = "sqrt",
    slope: float | None = None,
    log: bool = False,
    floor: float = 1e-25,
    label: str = r"$\langle c_k^2\rangle$, 95% interval",
    color: str = BLUE,
) -> Axes:
    """`⟨c_k²⟩` against its degree, with the slope that theory gives its logarithm.

    Args:
        squares: From `observe.spectrum`, shape `[count]`.
        degrees: Of the basis functions, `basis.degrees(count)`; 0, 1, 2, ... if not given.
        against: The axis on which the law is a line: `"sqrt"` (Hermite), `"linear"` (Legendre,
            Fourier) or `"log"` (a power law).
        slope: d log c_k² by that axis, e.g. `theory.hermite_slope(...)`; drawn through the centre
            of the later half of the modes.
        log: The estimate is of `log c_k²` already.
        floor: Modes below this fraction of the largest are round-off (or zero by symmetry) and are
            left out.
    """
    value, error = np.asarray(squares.value, float), np.asarray(squares.standard_error, float)
    k = np.arange(value.size) if degrees is None else np.asarray(degrees)
    if value.ndim != 1 or k.shape != value.shape:
        raise DeclarationError(
            "squares",
            got=f"shape {value.shape}, with {k.size} degrees",
            expected="one number a mode, and one degree a mode",
            mend="pick one temperature first: spectrum(trace, ...)[i]",
        )
    if log:
        centre, low, high = (np.exp(value + sign * 1.96 * error) for sign in (0, -1, 1))
    else:
        centre, low, high = value, value - 1.96 * error, value + 1.96 * error
        low = np.maximum(low, 1e-3 * centre)
    keep = (centre > floor * np.max(centre)) & ((k > 0) | (against != "log"))
    x, centre, low, high = _place(k[keep], against), centre[keep], low[keep], high[keep]
    ax = axes_of(ax)
    ax.errorbar(
        x,
        centre,
        [centre - low, high - centre],
        fmt="o",
        markersize=3.5,
        elinewidth=1,
        color=color,
        label=label,
    )
    if slope is not None and x.size:
        late = x >= np.median(x)
        middle = np.mean(np.log(centre[late]) - slope * x[late])
        text = f"theory: slope {slope:.4g}"
        ax.plot(x, np.exp(middle + slope * x), color=GREY, ls="--", lw=1.2, label=text)
        ax.set_ylim(0.2 * np.min(centre), 5 * np.max(centre))
    ax.set_yscale("log")
    ax.set(xlabel=_NAMES[against], ylabel="$c_k^2$")
    legend(ax)
    return ax


def _place(k: np.ndarray, against: Against) -> np.ndarray:
    if against == "sqrt":
        return np.sqrt(k)
    return np.log(k) if against == "log" else k.astype(float)
