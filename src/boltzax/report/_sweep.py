"""A sweep up and down, with its jumps."""

import numpy as np

from ..core import DeclarationError, typed
from ..meanfield import Sweep
from ._axes import BLUE, GREY, ORANGE, Axes, axes_of, legend


@typed
def sweep(
    result: Sweep,
    ax: Axes | None = None,
    *,
    component: int = 0,
    labels: tuple[str, str] = ("parameter", "order parameter"),
) -> Axes:
    """What was observed on the way up (blue) and down (orange); values with several stable phases
    are grey, spinodals dotted.

    `component` is the column that is shown, `labels` are those of the axes.

    Raises:
        DeclarationError: A column that is not there.
    """
    columns = result.up.shape[1]
    if not -columns <= component < columns:
        raise DeclarationError(
            "component",
            got=str(component),
            expected=f"a column, 0 to {columns - 1}",
            mend="leave it out for the first",
        )
    ax = axes_of(ax)
    values = np.asarray(result.values)
    several = np.asarray(result.stable) > 1
    span = ax.get_xaxis_transform()
    ax.fill_between(
        values, 0, 1, where=several, step="mid", color="0.92", lw=0, zorder=-2, transform=span
    )
    for label, line, jumps, colour, mark in (
        ("up", result.up, result.jumps_up, BLUE, ">"),
        ("down", result.down, result.jumps_down, ORANGE, "<"),
    ):
        ends = np.sort(np.asarray(jumps.values))
        places = np.searchsorted(values, ends)
        # no line across a jump
        x = np.insert(values, places, ends)
        y = np.insert(np.asarray(line)[:, component], places, np.nan)
        ax.plot(x, y, color=colour, lw=1.2, marker=mark, ms=3.5, label=label)
        for end in ends:
            ax.axvline(end, color=GREY, lw=0.8, ls=":")
    ax.set(xlabel=labels[0], ylabel=labels[1])
    legend(ax)
    return ax
