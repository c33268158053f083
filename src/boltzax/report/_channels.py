"""Figures of channels: bits of optimisation against the length."""

import numpy as np

from ..channels import ChannelCost
from ..core import typed
from ._axes import Axes, axes_of, legend
from ._curves import curve
from ._style import series, styled


@typed
@styled
def channel_cost(cost: ChannelCost, *, ax: Axes | None = None) -> Axes:
    """Bits of optimisation against the length, with the fitted line of each width.

    Args:
        cost: What `channels.channel_cost` gives.
        ax: Axes to draw into; new ones if None.
    """
    ax = axes_of(ax)
    x = np.asarray(cost.bits.x)
    ends = np.array([0.0, np.max(x)])
    for i, (width, slope, start) in enumerate(
        zip(cost.per_piece.x, cost.per_piece, cost.start, strict=True)
    ):
        style = series(i)
        label = f"width {float(width):g}: {float(slope.value):.2f} bits a piece, 95% band"
        curve(cost.bits[:, i], ax=ax, label=label, **style)
        ax.plot(
            ends, float(start.value) + float(slope.value) * ends, ":", color=style["color"], lw=1
        )
    ax.set(ylabel="bits of optimisation")
    legend(ax)
    return ax
