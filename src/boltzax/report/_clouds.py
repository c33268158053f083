"""Two clouds of neurons in a plane."""

import numpy as np
from numpy.typing import ArrayLike

from ..core import DeclarationError, typed
from ._axes import BLUE, ORANGE, Axes, axes_of, legend

Cloud = ArrayLike | dict
"""Points `[n, d]`, or coordinates by name as of neurons, whose leaves are put side by side."""


@typed
def clouds(
    background: Cloud,
    foreground: Cloud | None = None,
    coordinates: tuple[int | str, int | str] = (0, 1),
    *,
    ax: Axes | None = None,
    most: int = 2048,
) -> Axes:
    """Scatter of two clouds in two of their coordinates: background blue, foreground orange.

    `coordinates` are columns by number, or by name (`"embedding[1]"`, `"bias"`) for neurons. Of
    more than `most` points the first `most` are shown.

    Raises:
        DeclarationError: A coordinate that a cloud does not have.
    """
    shown = [("background", background, BLUE), ("foreground", foreground, ORANGE)]
    ax = axes_of(ax, size=(4.4, 4.2))
    for label, cloud, colour in shown:
        if cloud is None:
            continue
        names, points = _columns(cloud)
        x, y = (points[:most, _place(names, which)] for which in coordinates)
        ax.scatter(x, y, s=5, color=colour, alpha=0.5, linewidth=0, label=label, rasterized=True)
    names, _ = _columns(background)
    x, y = (names[_place(names, which)] for which in coordinates)
    ax.set(xlabel=x, ylabel=y)
    legend(ax)
    return ax


def _columns(cloud: Cloud) -> tuple[list[str], np.ndarray]:
    """Names of columns, and points `[n, d]`; leaves in the order of their names."""
    if not isinstance(cloud, dict):
        points = np.asarray(cloud)
        if points.ndim != 2:
            raise DeclarationError(
                "background or foreground",
                got=f"an array of shape {points.shape}",
                expected="points [n, d], or coordinates of neurons by name",
                mend="reshape it to two axes",
            )
        return [f"coordinate {i}" for i in range(points.shape[1])], points
    names, columns = [], []
    for name in sorted(cloud):
        leaf = np.asarray(cloud[name])
        flat = leaf.reshape(len(leaf), -1)
        shape = leaf.shape[1:]
        for i in range(flat.shape[1]):
            index = ", ".join(str(j) for j in np.unravel_index(i, shape)) if shape else ""
            names.append(f"{name}[{index}]" if index else name)
        columns.append(flat)
    return names, np.concatenate(columns, axis=1)


def _place(names: list[str], which: int | str) -> int:
    if isinstance(which, str) and which in names:
        return names.index(which)
    if not isinstance(which, str) and -len(names) <= which < len(names):
        return which % len(names)
    raise DeclarationError(
        "coordinates",
        got=repr(which),
        expected=f"one of {', '.join(names)}, or a number below {len(names)}",
        mend=f"pass e.g. coordinates=({names[0]!r}, {names[-1]!r})",
    )
