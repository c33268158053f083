"""What is wrong with a figure: size, fonts, labels, colours, markers, error bars without a name."""

import itertools
from collections.abc import Iterator

from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

import boltzax as bx

PALETTE = {to_hex(color) for color in bx.plot.style()["axes.prop_cycle"].by_key()["color"]}
SMALLEST, WIDEST = 8.0, 7.0


def faults(figure: Figure) -> Iterator[str]:
    """All breaches of the style in a figure that was drawn."""
    if figure.get_figwidth() > WIDEST:
        yield f"{figure.get_figwidth():g} in wide"
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible() and text.get_fontsize() < SMALLEST:
            yield f"{text.get_text()!r} of {text.get_fontsize():g} pt"
    panels = [ax for ax in figure.axes if ax.has_data() and ax.axison]
    for ax in panels:
        yield from _unnamed(ax)
        yield from _colours(ax)
    if any(_bars(ax) for ax in panels) and not any("95%" in name for name in _names(figure)):
        yield "error bars without a name"


def _names(figure: Figure) -> list[str]:
    """The texts of all legends."""
    legends = [ax.get_legend() for ax in figure.axes if ax.get_legend()] + figure.legends
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def _bars(ax) -> bool:
    bands = [part for part in ax.collections if isinstance(part, FillBetweenPolyCollection)]
    filled = [band for band in bands if band.get_alpha() and band.get_alpha() < 0.5]
    return bool(filled) or any(isinstance(each, ErrorbarContainer) for each in ax.containers)


def _unnamed(ax) -> Iterator[str]:
    """Axes without a label; the names of categories count as one."""
    categories = any(tick.get_text().strip("−.0123456789") for tick in ax.get_yticklabels())
    twins = [other for other in ax.figure.axes if other.bbox.bounds == ax.bbox.bounds]
    if not any(other.get_xlabel() for other in twins) and ax.get_label() != "<colorbar>":
        yield "no label of x"
    joined = ax.get_shared_y_axes().get_siblings(ax)
    if not any(other.get_ylabel() for other in joined) and not categories:
        yield "no label of y"


def _colours(ax) -> Iterator[str]:
    """Lines outside the palette, and named lines that differ in colour alone."""
    lines = [line for line in ax.get_lines() if len(line.get_xdata())]
    for line in lines:
        color = line.get_color()
        if to_hex(color) not in PALETTE and len(set(to_rgb(color))) > 1:
            yield f"a line of colour {color}"
    named = [line for line in lines if not str(line.get_label()).startswith("_")]
    for one, other in itertools.combinations(named, 2):
        if _drawn(one) == _drawn(other):
            yield f"{one.get_label()!r} and {other.get_label()!r} differ in colour alone"


def _drawn(line) -> tuple:
    dashes = str(line._unscaled_dash_pattern)  # get_linestyle calls all patterns of one's own --
    return line.get_marker(), dashes, str(line.get_markerfacecolor()) in ("none", "white")
