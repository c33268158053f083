"""Empty axes in the house style. The only importer of matplotlib.

Quirk: pyplot keeps every figure that it made until it is closed, so that a notebook shows figures
by itself. A script that draws hundreds should pass its own axes.
"""

from matplotlib import pyplot
from matplotlib.axes import Axes as Axes
from matplotlib.patches import Rectangle as Rectangle

BLUE, ORANGE, GREEN, PURPLE, RED = "#1f6fb4", "#d9661f", "#2a8f5b", "#7b4fa3", "#b3263a"
GREY = "0.40"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, "#b8912a", "#c04f7b", "#4a9aa5", "0.35")
POINTS = {"fmt": "o", "markersize": 3.5, "elinewidth": 1}
"""Style of points with error bars."""


def axes_of(ax: Axes | None, *, size: tuple[float, float] = (6.4, 4.0)) -> Axes:
    """The given axes, or those of a new figure of pyplot, without the upper and right frame."""
    if ax is None:
        _, ax = pyplot.subplots(figsize=size, layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def legend(ax: Axes) -> None:
    """A legend without a frame, if anything on the axes has a label."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small")
