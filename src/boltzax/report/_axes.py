"""Empty axes in the style of figures, their labels and legends.

Quirk: pyplot keeps every figure that it made until it is closed, so that a notebook shows figures
by itself. A script that draws hundreds should pass its own axes.
"""

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot
from matplotlib.axes import Axes as Axes
from matplotlib.patches import Rectangle as Rectangle
from numpy.typing import ArrayLike

from ..core import Curve, Estimate, normal_quantile
from ._style import GREY, WIDTH

HALF_WIDTH = normal_quantile(0.95)
"""Standard errors from the middle of a 95% interval to its ends, for a normal law."""


def axes_of(ax: Axes | None, *, size: tuple[float, float] = (WIDTH, 3.6)) -> Axes:
    """The given axes, or those of a new figure of pyplot, without the upper and right frame."""
    if ax is None:
        _, ax = pyplot.subplots(figsize=size)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def with_interval(ax: Axes, label: str | None, level: float, kind: str) -> str | None:
    """A label for a series with error bars, `"name, 95% band"`; each figure names its bars.

    Without a label, "95% band" once on each axes; "" stays without one.
    """
    said = f"{level:.0%} {kind}"
    if label is None:
        return None if said in ax.get_legend_handles_labels()[1] else said
    return label if not label or "%" in label else f"{label}, {said}"


def legend(ax: Axes, *, above: bool = False) -> None:
    """A legend where it covers least, or above the axes, if anything on them has a label."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**({"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2} if above else {}))


def bars(estimate: Estimate) -> Float[np.ndarray, "2 ..."]:
    """Lengths of the 95% error bars below and above each value; 0 where unknown or endless."""
    value = np.asarray(estimate.value, float)
    ends = np.stack([np.asarray(end, float) for end in estimate.interval()])
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.abs(ends - value), posinf=0.0)


def mark_unknown(
    ax: Axes, estimate: Estimate | Curve, x: ArrayLike, y: ArrayLike, marker: str
) -> None:
    """Make the points hollow whose error is unknown or endless: without a bar they look exact."""
    ends = np.stack([np.asarray(end, float) for end in estimate.interval()])
    unknown = np.isfinite(np.asarray(estimate.value)) & ~np.all(np.isfinite(ends), axis=0)
    if np.any(unknown):
        label = "error unknown"
        seen = label in ax.get_legend_handles_labels()[1]
        x, y = (np.broadcast_to(np.asarray(each), unknown.shape)[unknown] for each in (x, y))
        style = {"mfc": "white", "mec": GREY, "ms": 6, "ls": "", "zorder": 5}
        ax.plot(x, y, marker, label=None if seen else label, **style)


def name_axes(ax: Axes, x: str, y: str) -> None:
    """Labels of the axes that have none yet; none below ticks that another panel names."""
    if not ax.get_xlabel() and ax.xaxis.get_tick_params().get("labelbottom", True):
        ax.set_xlabel(x)
    if not ax.get_ylabel():
        ax.set_ylabel(y)
