"""Figures of screening: changes of a prediction over the radius, and interactions of data."""

from collections.abc import Mapping

import numpy as np

from ..channels import DataInteractions, Screening
from ..core import DeclarationError, typed
from ._axes import Axes, axes_of, bars, legend, mark_unknown
from ._curves import curve
from ._style import GREY, POINTS, series, styled


@typed
@styled
def screening(
    results: Screening | Mapping[str, Screening], *, ax: Axes | None = None, fits: bool = True
) -> Axes:
    """The size of the change of a prediction over the radius, with 95% intervals.

    In units of the standard deviation of the prediction over the posterior, on a logarithmic axis;
    where the interval holds zero only a bound is known: its end is drawn hollow, with an arrow.
    Hollow in grey is a change whose error is unknown.

    Args:
        results: From `bx.channels.screen`, one or several by name.
        ax: Axes to draw into; new ones if None.
        fits: Draw the fitted decay rates.

    Raises:
        DeclarationError: For a prediction of several numbers.
    """
    ax = axes_of(ax)
    bounded = False
    named = results if isinstance(results, Mapping) else {results.background: results}
    for i, (name, result) in enumerate(named.items()):
        colour, marker = series(i).values()
        if result.change.value.ndim != 1:
            raise DeclarationError(
                "results",
                got=f"changes of shape {result.change.shape}",
                expected="a prediction of one number",
                mend="pass prediction=lambda model: model(x)[0] to screen",
            )
        unit = float(result.spread.value)
        x, value = np.asarray(result.change.x), np.asarray(result.change.value)
        with np.errstate(invalid="ignore"):  # NaN where neither is known
            low, high = (np.asarray(end) / unit for end in result.change.interval())
            size = np.abs(value) / unit
        far = np.maximum(np.abs(low), np.abs(high))
        near = np.minimum(np.abs(low), np.abs(high))
        open_end = (low <= 0) & (high >= 0)  # only a bound is known
        drawn = np.where(open_end, far, size)
        lengths = [np.where(open_end, 0.6 * drawn, size - near), np.where(open_end, 0, far - size)]
        style = POINTS | {"color": colour, "fmt": marker, "uplims": open_end}
        style["label"] = f"{name}, 95% interval"
        points, *_ = ax.errorbar(x, drawn, np.nan_to_num(lengths), **style)
        points.set_markerfacecolor("none")
        ax.plot(x[~open_end], drawn[~open_end], marker, color=colour)
        mark_unknown(ax, result.change, x, size, marker)
        bounded = bounded or bool(np.any(open_end))
        rate = float(result.rate.value)
        if fits and np.isfinite(rate):
            fitted = ~open_end & (size > 0)
            middle = np.mean(np.log(size[fitted]) + rate * x[fitted])
            half = np.mean(bars(result.rate))
            text = f"{name}: rate {rate:.3g} ± {half:.1g} (95%)"
            ax.plot(x, np.exp(middle - rate * x), color=colour, ls="--", lw=1, label=text)
    if bounded:
        ax.plot([], [], "o", mfc="none", color=GREY, label="hollow: upper end, not told from 0")
    ax.set_yscale("log")
    ax.set(xlabel="radius", ylabel="|change| / posterior sd")
    legend(ax)
    return ax


@typed
@styled
def data_interactions(found: DataInteractions, *, ax: Axes | None = None) -> Axes:
    """The mean squared correlation of pairs of data over their distance, with its fitted rate.

    On an axis that is logarithmic above the smallest error, and linear below.

    Args:
        found: From `bx.channels.data_interactions`.
        ax: Axes to draw into; new ones if None.
    """
    ax = curve(found.decay, ax=ax, label="squared correlation")
    x, rate = np.asarray(found.decay.x), float(found.rate.value)
    if np.isfinite(rate):
        value = np.asarray(found.decay.value)
        weights = (value / np.asarray(found.decay.standard_error)) ** 2
        seen = np.argmax(np.where(np.isfinite(weights), weights, 0.0))
        fitted = value[seen] * np.exp(-2 * rate * (x - x[seen]))
        text = f"rate {rate:.3g} ± {np.mean(bars(found.rate)):.1g} (95%)"
        ax.plot(x, fitted, color=GREY, ls="--", lw=1, label=text)
    errors = np.asarray(found.decay.standard_error)
    least = np.min(errors[errors > 0], initial=1.0)
    ax.set_yscale("symlog", linthresh=float(least))
    ax.set(ylabel="squared correlation")
    legend(ax)
    return ax
