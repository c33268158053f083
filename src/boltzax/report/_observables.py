"""Figures of observables and of the runs behind them: spectra, influence, chains, ladders."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike

from ..core import Count, DeclarationError, Estimate, Probability, Said, typed
from ..observe import bridges_of
from ..sample import AbstractDrawn, Trace, trace_of
from ._axes import Axes, axes_of, bars, legend
from ._style import BLUE, CYCLE, GREY, POINTS, series, styled

Names = Annotated[Sequence[str], Said("names, one for each entry", "pass a list of str")]
Against = Literal["sqrt", "linear", "log"]
PLACES = {
    "sqrt": (r"$\sqrt{k}$", np.sqrt),
    "linear": ("$k$", lambda k: k.astype(float)),
    "log": (r"$\log\,k$", np.log),
}
"""Name of each axis of degrees, and the place of a degree on it."""


@typed
@styled
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
    """`⟨c_k²⟩` against its degree, with the slope of its logarithm from theory.

    Args:
        squares: From `observe.spectrum`, shape `[count]`.
        degrees: Of the basis functions, `basis.degrees(count)`; 0, 1, 2, ... if None.
        ax: Axes to draw into; new ones if None.
        against: The axis on which the law is a line: `"sqrt"` (Hermite), `"linear"` (Legendre,
            Fourier) or `"log"` (a power law).
        slope: d log c_k² by that axis, e.g. `theory.hermite_slope(...)`; drawn through the centre
            of the later half of the modes.
        log: The estimate is of `log c_k²` already.
        floor: Modes below this fraction of the largest are round-off (or zero by symmetry) and are
            left out.
        label: For the legend.
        color: Of the points.

    Raises:
        DeclarationError: For squares with several axes, and another number of degrees.
    """
    value, (below, above) = np.asarray(squares.value, float), bars(squares)
    k = np.arange(value.size) if degrees is None else np.asarray(degrees)
    if value.ndim != 1 or k.shape != value.shape:
        raise DeclarationError(
            "squares",
            got=f"shape {value.shape}, with {k.size} degrees",
            expected="one number a mode, and one degree a mode",
            mend="pick one temperature first: spectrum(trace, ...)[i]",
        )
    if log:
        centre, low, high = np.exp(value), np.exp(value - below), np.exp(value + above)
    else:
        centre, low, high = value, np.maximum(value - below, 1e-3 * value), value + above
    finite = np.isfinite(centre)
    keep = finite & (centre > floor * np.max(centre[finite], initial=0.0))
    keep &= (k > 0) | (against != "log")
    name, place = PLACES[against]
    x, centre, low, high = place(k[keep]), centre[keep], low[keep], high[keep]
    ax = axes_of(ax)
    ax.errorbar(x, centre, [centre - low, high - centre], color=color, label=label, **POINTS)
    if slope is not None and x.size:
        late = x >= np.median(x)
        middle = np.mean(np.log(centre[late]) - slope * x[late])
        text = f"theory: slope {slope:.4g}"
        ax.plot(x, np.exp(middle + slope * x), color=GREY, ls="--", lw=1.2, label=text)
        ax.set_ylim(0.2 * np.min(centre), 5 * np.max(centre))
    ax.set_yscale("log")
    ax.set(xlabel=name, ylabel="$c_k^2$")
    legend(ax)
    return ax


@typed
@styled
def influence(
    matrix: Estimate,
    *,
    ax: Axes | None = None,
    limit: float | None = None,
    sigmas: float = 2.0,
    queries: Names = (),
    data: Names = (),
    most: Count | None = None,
    label: str = r"$\partial\langle\ell_i\rangle/\partial\mu_j$",
) -> Axes:
    """A matrix in colours, red for positive and blue for negative entries.

    Entries within their error of zero are hatched; entries that are not finite are grey.

    Args:
        matrix: From `influence`, shape `[query, datum]`.
        ax: Axes to draw into; new ones if None.
        limit: The value of the darkest colours, ±; the largest entry if None. Set it to compare
            matrices.
        sigmas: An entry below this number of standard errors is hatched.
        queries: Names of the rows; numbers if there are none.
        data: Names of the columns.
        most: Columns that are shown, those with the largest entries in standard errors; all if
            None.
        label: Of the colours.

    Raises:
        DeclarationError: For an estimate that is not a matrix, and another number of names.
    """
    value, error = np.asarray(matrix.value, float), np.asarray(matrix.standard_error, float)
    if value.ndim != 2:
        raise DeclarationError(
            "matrix",
            got=f"shape {value.shape}",
            expected="a matrix, [query, datum]",
            mend="pick one temperature first: influence(trace, energy)[i]",
        )
    numbers = np.arange(value.shape[1])
    if most is not None:
        z = np.nan_to_num(np.abs(matrix.z_score(0.0)), nan=0.0, posinf=np.inf)
        numbers = np.sort(np.argsort(-z.max(axis=0), kind="stable")[:most])
    names = [_names("queries", queries, value.shape[0]), _names("data", data, value.shape[1])]
    value, error = value[:, numbers], error[:, numbers]
    ax = axes_of(ax, size=(5.6, 4.4))
    finite = np.abs(value[np.isfinite(value)])
    top = (float(np.max(finite, initial=0.0)) if limit is None else limit) or 1.0
    rows, columns = (np.arange(size + 1) - 0.5 for size in value.shape)
    colours = {"cmap": "RdBu_r", "vmin": -top, "vmax": top}
    ax.set_facecolor("0.8")
    mesh = ax.pcolormesh(columns, rows, np.ma.masked_invalid(value), **colours)
    style = {"facecolor": "none", "edgecolor": "0.6", "linewidth": 0.0, "hatch": "////"}
    for i, row in enumerate(np.abs(value) < sigmas * error):
        cells = [(j - 0.5, 1.0) for j in np.flatnonzero(row)]
        ax.broken_barh(cells, (i - 0.5, 1.0), **style)
    ax.invert_yaxis()
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)
    if names[0]:
        ax.set_yticks(np.arange(len(value)), names[0])
    if names[1] or most is not None:
        shown = [names[1][j] if names[1] else f"{j}" for j in numbers]
        ax.set_xticks(np.arange(len(numbers)), shown, rotation=90)
    ax.set(xlabel="datum", ylabel="query", aspect="equal")
    ax.figure.colorbar(mesh, ax=ax, shrink=0.85).set_label(label)
    return ax


@typed
@styled
def trace(trace: Trace | AbstractDrawn, *, ax: Axes | None = None, level: int = -1) -> Axes:
    """The energy of every chain against the draw, at one of the temperatures.

    Args:
        trace: A run, or a result that has one.
        ax: Axes to draw into; new ones if None.
        level: Index of the temperature, the last by default.

    Raises:
        DeclarationError: For an index out of range.
    """
    trace = trace_of(trace)
    energy = np.asarray(trace.energy, float)
    energy = energy.reshape(-1, *energy.shape[-2:])
    if not -len(energy) <= level < len(energy):
        raise DeclarationError(
            "level",
            got=repr(level),
            expected=f"an index into {len(energy)} temperatures",
            mend="count from 0, or from the end with negative numbers",
        )
    ax = axes_of(ax, size=(6.4, 3.2))
    for chain, drawn in enumerate(energy[level]):
        style = {"lw": 0.8, "markevery": 0.15, "label": f"chain {chain}"} | series(chain)
        ax.plot(drawn, alpha=0.85, **style)
    beta = float(np.ravel(trace.betas)[level])
    ax.set(xlabel="draw", ylabel=rf"energy $E$ at $\log\beta$ = {np.log(beta):.4g}")
    if len(energy[level]) <= len(CYCLE):
        place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.05), "borderaxespad": 0.2}
        ax.legend(ncols=4, columnspacing=1.0, **place)
    return ax


@typed
@styled
def ladder(
    trace: Trace | AbstractDrawn, *, ax: Axes | None = None, least: Probability = 0.15
) -> Axes:
    """Swap rates between neighbours of the ladder, and round trips of the replicas.

    There is one bar a pair, between its levels in log beta. The first pair reaches down to the
    prior, beta = 0.

    Args:
        trace: A run of `anneal`.
        ax: Axes to draw into; new ones if None.
        least: The rate below which `anneal` refines the ladder, drawn as a line.

    Raises:
        DeclarationError: For a run without a ladder.
    """
    bridges = bridges_of(trace_of(trace))
    ax = axes_of(ax, size=(6.4, 3.2))
    positive = np.log(np.asarray(bridges.betas, float)[1:])
    first = np.median(np.diff(positive)) if positive.size > 1 else 1.0
    edges = np.concatenate([[positive[0] - first], positive])
    rates = np.asarray(bridges.swap_rate, float)
    style = {"color": BLUE, "alpha": 0.75, "edgecolor": "white", "linewidth": 0.8}
    ax.bar(edges[:-1], rates, width=np.diff(edges), align="edge", **style)
    ax.axhline(least, color=GREY, ls="--", lw=1, label=f"refined below {least:g}")
    trips = np.asarray(bridges.round_trips).ravel()
    text = f"round trips by chain: {', '.join(f'{int(t)}' for t in trips)}"
    ax.set(xlabel=r"$\log\beta$  (the first bar starts at the prior)", ylabel="swaps accepted")
    ax.set(ylim=(0, 1.05))
    ax.set_title(text, loc="left")
    legend(ax)
    return ax


def _names(argument: str, given: Sequence[str], count: int) -> list[str]:
    """As many names as there are entries, or none."""
    if given and len(given) != count:
        raise DeclarationError(
            argument,
            got=f"{len(given)} names for {count} entries",
            expected="one name for each entry",
            mend="pass as many names, or none",
        )
    return list(given)
