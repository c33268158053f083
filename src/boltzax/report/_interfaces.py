"""Figures of interfaces: boxes of acceptable values, one colour a logical value."""

import itertools

import numpy as np

from ..core import DeclarationError, typed
from ..declare import Contract, Interface
from ._axes import Axes, Rectangle, axes_of, legend
from ._style import CYCLE, styled


@typed
@styled
def interface(shown: Interface, *, ax: Axes | None = None, label: str = "{value}") -> Axes:
    """The acceptable values of each logical value: bars on a line, or boxes in a plane.

    Rays run to the edge of the figure.

    Args:
        shown: An interface of one or two dimensions.
        ax: Axes to draw into; new ones if None.
        label: Of each logical value, with `{value}` in it.

    Raises:
        DeclarationError: For an interface of more than two dimensions.
    """
    if shown.dim > 2:
        raise DeclarationError(
            "shown",
            got=f"an interface of dimension {shown.dim}",
            expected="one or two dimensions",
            mend="draw a product factor by factor",
        )
    ax = axes_of(ax, size=(5.2, 1.6) if shown.dim == 1 else (4.4, 4.0))
    edges = _edges(shown)
    for row, (value, boxes) in enumerate(shown.sets().items()):
        text: str | None = label.format(value=value)
        for low, high in boxes:
            lower, upper = np.clip(low, *edges), np.clip(high, *edges)
            colour = CYCLE[row % len(CYCLE)]
            if shown.dim == 1:
                style = {"color": colour, "alpha": 0.6, "height": 0.6}
                ax.barh(row, upper[0] - lower[0], left=lower[0], **style)
            else:
                corner, (width, height) = tuple(lower), upper - lower
                style = {"facecolor": colour, "alpha": 0.35, "edgecolor": colour, "label": text}
                ax.add_patch(Rectangle(corner, width, height, **style))
            text = None
    if shown.dim == 1:
        ax.set_yticks(range(len(shown.values)), [label.format(value=v) for v in shown.values])
        ax.invert_yaxis()
        ax.set(xlim=edges, xlabel="signal", ylabel="logical value")
    else:
        ax.set(xlim=edges, ylim=edges, xlabel="signal[0]", ylabel="signal[1]")
        legend(ax)
    return ax


@typed
@styled
def contract(shown: Contract, *, ax: Axes | None = None) -> Axes:
    """What a component on the line must do: map each interval of inputs into one of the boxes.

    Draw the component's function over it: the contract holds if the function stays in the coloured
    boxes over every interval that has some.

    Args:
        shown: A contract whose interfaces are both of one dimension.
        ax: Axes to draw into; new ones if None.

    Raises:
        DeclarationError: Unless both interfaces are intervals.
    """
    if shown.assume.dim != 1 or shown.guarantee.dim != 1:
        raise DeclarationError(
            "shown",
            got=f"dimensions {shown.assume.dim} and {shown.guarantee.dim}",
            expected="a contract from the line to the line",
            mend="draw its interfaces one by one with bx.plot.interface",
        )
    ax = axes_of(ax)
    across, up = _edges(shown.assume), _edges(shown.guarantee)
    outputs = list(shown.guarantee.sets().items())
    for row, (value, inputs) in enumerate(shown.assume.sets().items()):
        wanted, boxes = outputs[shown.rows[row]]
        text: str | None = f"{value} → {wanted}"
        for (x, y), (low, high) in itertools.product(inputs, boxes):
            left, right = np.clip((*x, *y), *across)
            bottom, top = np.clip((*low, *high), *up)
            colour = CYCLE[row % len(CYCLE)]
            style = {"facecolor": colour, "alpha": 0.3, "edgecolor": colour, "label": text}
            ax.add_patch(Rectangle((left, bottom), right - left, top - bottom, **style))
            text = None
    ax.set(xlim=across, ylim=up, xlabel="input", ylabel="output")
    legend(ax)
    return ax


def _edges(shown: Interface) -> tuple[float, float]:
    """The finite bounds, with a margin where there is a ray."""
    real = np.asarray(shown.lower) <= np.asarray(shown.upper)
    low, high = np.asarray(shown.lower)[real], np.asarray(shown.upper)[real]
    ends = np.concatenate([low, high])
    finite = ends[np.isfinite(ends)]
    if finite.size == 0:
        return -1.0, 1.0
    room = 0.25 * (float(np.ptp(finite)) or 1.0)
    least, most = float(finite.min()), float(finite.max())
    return least - room * bool(np.isneginf(low).any()), most + room * bool(np.isposinf(high).any())
