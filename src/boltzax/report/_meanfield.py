"""Figures of the mean field: clouds of neurons, and sweeps of a parameter."""

import numpy as np
from numpy.typing import ArrayLike

from ..core import Count, DeclarationError, typed
from ..meanfield import Sweep
from ._axes import Axes, axes_of, legend
from ._style import BLUE, GREY, ORANGE, styled

Cloud = ArrayLike | dict
"""Points `[n, d]`, or coordinates by name as of neurons, whose leaves are put side by side."""


@typed
@styled
def clouds(
    background: Cloud,
    foreground: Cloud | None = None,
    coordinates: tuple[int | str, int | str] = (0, 1),
    *,
    ax: Axes | None = None,
    most: Count = 2048,
) -> Axes:
    """Scatter of two clouds in two of their coordinates: background blue, foreground orange.

    Args:
        background: Points `[n, d]`, or coordinates by name.
        foreground: Another cloud in the same coordinates.
        coordinates: Columns by number, or by name (`"embedding[1]"`, `"bias"`) for neurons.
        ax: Axes to draw into; new ones if None.
        most: Of more points only the first ones are drawn, up to this number.

    Raises:
        DeclarationError: For an array without two axes, and a coordinate that a cloud does not
            have.
    """
    ax = axes_of(ax, size=(4.4, 4.2))
    both = (("background", background, BLUE), ("foreground", foreground, ORANGE))
    for (label, cloud, colour), marker in zip(both, "o^", strict=True):
        if cloud is None:
            continue
        names, points = _columns(label, cloud)
        first, second = (_place(names, coordinate) for coordinate in coordinates)
        style = {"s": 9, "marker": marker, "color": colour, "alpha": 0.5, "linewidth": 0}
        style |= {"label": label, "rasterized": True}
        ax.scatter(points[:most, first], points[:most, second], **style)
        if cloud is background:
            ax.set(xlabel=names[first], ylabel=names[second])
    legend(ax)
    return ax


def _columns(argument: str, cloud: Cloud) -> tuple[list[str], np.ndarray]:
    """Names of columns, and points `[n, d]`; leaves in the order of their names."""
    if not isinstance(cloud, dict):
        points = np.asarray(cloud)
        if points.ndim != 2:
            raise DeclarationError(
                argument,
                got=f"an array of shape {points.shape}",
                expected="points [n, d], or coordinates of neurons by name",
                mend="reshape it to two axes",
            )
        return [f"coordinate {i}" for i in range(points.shape[1])], points
    names, columns = [], []
    for name in sorted(cloud):
        leaf = np.asarray(cloud[name])
        places = [", ".join(map(str, index)) for index in np.ndindex(leaf.shape[1:])]
        names += [f"{name}[{place}]" if place else name for place in places]
        columns.append(leaf.reshape(len(leaf), -1))
    return names, np.concatenate(columns, axis=1)


def _place(names: list[str], coordinate: int | str) -> int:
    """The number of a column."""
    if isinstance(coordinate, str) and coordinate in names:
        return names.index(coordinate)
    if not isinstance(coordinate, str) and -len(names) <= coordinate < len(names):
        return coordinate % len(names)
    raise DeclarationError(
        "coordinates",
        got=repr(coordinate),
        expected=f"one of {', '.join(names)}, or a number below {len(names)}",
        mend=f"pass e.g. coordinates=({names[0]!r}, {names[-1]!r})",
    )


@typed
@styled
def sweep(
    result: Sweep,
    ax: Axes | None = None,
    *,
    component: int = 0,
    labels: tuple[str, str] = ("parameter", "order parameter"),
) -> Axes:
    """The order parameter on the way up (blue) and down (orange) of a sweep.

    Parameters with several stable phases are shaded grey, spinodals are dotted lines.

    Args:
        result: From `meanfield.sweep`.
        ax: Axes to draw into; new ones if None.
        component: The column of the observable that is shown.
        labels: Of the two axes.

    Raises:
        DeclarationError: For a column that is not there.
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
    values, several = np.asarray(result.values), np.asarray(result.stable) > 1
    shade = {"color": "0.92", "lw": 0, "zorder": -2, "transform": ax.get_xaxis_transform()}
    ax.fill_between(values, 0, 1, where=several, step="mid", **shade)
    for label, line, jumps, colour, mark in (
        ("up", result.up, result.jumps_up, BLUE, ">"),
        ("down", result.down, result.jumps_down, ORANGE, "<"),
    ):
        ends = np.sort(np.asarray(jumps.values))
        places = np.searchsorted(values, ends)
        # no line across a jump
        x = np.insert(values, places, ends)
        y = np.insert(np.asarray(line)[:, component], places, np.nan)
        ax.plot(x, y, color=colour, lw=1.2, marker=mark, label=label)
        for end in ends:
            ax.axvline(end, color=GREY, lw=0.8, ls=":")
    ax.set(xlabel=labels[0], ylabel=labels[1])
    legend(ax)
    return ax
