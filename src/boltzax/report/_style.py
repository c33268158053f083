"""The style of figures: palette, markers, sizes, and figures made in it."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib import pyplot, rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.colors import to_rgba
from matplotlib.rcsetup import cycler

from ..core import Count, DeclarationError, Positive, typed

BLUE, ORANGE, GREEN, PINK, AMBER, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip
GREY = "0.40"
CYCLE = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY, BLACK)
"""The colours of Okabe and Ito without yellow, which is too light for lines."""
MARKERS = "os^DvP*"
"""One for each colour: series differ in both."""
WIDTH = 7.0
"""Of a figure, inches."""
POINTS = {"fmt": "o", "markersize": 4, "elinewidth": 1.2}
"""Style of points with error bars."""

Draws = TypeVar("Draws", bound=Callable)


def series(number: int) -> dict[str, Any]:
    """Colour and marker of a series by its number."""
    return {
        "color": CYCLE[number % len(CYCLE)],
        "marker": MARKERS[number % len(MARKERS)],
    }


@typed
def style() -> dict[str, Any]:
    """The style of all figures, as settings of matplotlib.

    Figures are 7 inches wide, text has 8 points at least, colours are those of Okabe and Ito, which
    colour-blind readers can tell apart. The functions of `bx.plot` draw in it, and change no
    setting outside. For figures of your own:

    - `with plt.style.context(bx.plot.style()): ...` for some of them;
    - `plt.style.use(bx.plot.style())` for all that follow;
    - `with bx.plot.panels(1, 2, path="name.pdf") as (left, right): ...` for one.

    Returns:
        A new dictionary of matplotlib's `rcParams`.
    """
    sizes = ("axes.labelsize", "axes.titlesize", "figure.titlesize", "legend.title_fontsize")
    small = ("xtick.labelsize", "ytick.labelsize", "legend.fontsize")
    return {
        "font.size": 9,
        **dict.fromkeys(sizes, 9),
        **dict.fromkeys(small, 8),
        "figure.figsize": (WIDTH, 3.6),
        "figure.constrained_layout.use": True,
        "savefig.dpi": 160,
        "axes.prop_cycle": cycler(color=CYCLE),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 1.4,
        "lines.markersize": 4,
        "errorbar.capsize": 2,
        "image.cmap": "cividis",
        "legend.framealpha": 0.85,
        "legend.edgecolor": "none",
    }


@contextlib.contextmanager
def in_style() -> Iterator[None]:
    """The settings of `style`, for a block.

    Quirk: a notebook chooses its backend at the first figure, and then sets `interactive`, without
    which it shows no other figure; so this setting is kept.
    """
    with rc_context(style()):
        yield
        interactive = rcParams["interactive"]
    rcParams["interactive"] = interactive


def styled(draw: Draws) -> Draws:
    """Decorator of functions that draw: the settings of `style`, until they return."""

    @functools.wraps(draw)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with in_style():
            ax = draw(*args, **kwargs)
            keep_colours(ax)
        return ax

    drawn: Any = inside
    return drawn


def keep_colours(ax: Axes) -> None:
    """Lines of colour "C1" look it up when they are drawn, maybe after the style: do so now."""
    legend = ax.get_legend()
    for line in [*ax.lines, *(legend.get_lines() if legend else ())]:
        for name in ("color", "markerfacecolor", "markeredgecolor"):
            color = getattr(line, f"get_{name}")()
            if isinstance(color, str) and re.fullmatch(r"C\d+", color):
                line.set(**{name: to_rgba(color)})


@typed
@contextlib.contextmanager
def panels(
    rows: Count = 1,
    columns: Count = 1,
    *,
    path: str | Path | None = None,
    height: Positive | None = None,
    share_x: bool = False,
    share_y: bool = False,
) -> Iterator[np.ndarray]:
    """Axes of a new figure, in the style, for a `with` block whose drawing has that style too.

    Args:
        rows: Panels from top to bottom.
        columns: Panels from left to right.
        path: Where the figure is saved at the end of the block, and then closed; if None, it stays
            with pyplot, and a notebook shows it.
        height: Of the figure in inches; if None, such that panels have a usual shape.
        share_x: All panels have the same x-axis.
        share_y: All panels have the same y-axis.

    Yields:
        The axes, `[panel]` from left to right and then from top to bottom.

    Raises:
        DeclarationError: For a folder that does not exist, and a kind of file that matplotlib does
            not write, before anything is drawn.
    """
    if path is not None:
        _check_place(Path(path))
    if height is None:
        height = rows * (3.6 if columns == 1 else 3.0 if columns == 2 else 2.5)
    with in_style():
        figure, axes = pyplot.subplots(
            rows, columns, figsize=(WIDTH, height), sharex=share_x, sharey=share_y, squeeze=False
        )
        yield axes.ravel()
        for ax in figure.axes:
            keep_colours(ax)
        if path is not None:
            figure.savefig(path)
            pyplot.close(figure)


def _check_place(path: Path) -> None:
    """Raise unless a figure can be written there."""
    kinds = FigureCanvasBase.get_supported_filetypes()
    if not path.parent.is_dir() or (path.suffix and path.suffix[1:].lower() not in kinds):
        raise DeclarationError(
            "path",
            got=str(path),
            expected=f"a file in a folder that exists, of one of the kinds {', '.join(kinds)}",
            mend="make the folder first: Path(path).parent.mkdir(parents=True)",
        )
