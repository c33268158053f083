"""Information on ladders of sample sizes."""

import numpy as np

from ..channels import InformationLadder
from ..core import typed
from ._axes import Axes, axes_of, legend
from ._curves import curve
from ._style import series, styled


@typed
@styled
def information_ladder(result: InformationLadder, *, ax: Axes | None = None) -> Axes:
    """Corrected information against the number of samples, with 95% bands, and the plug-in dotted.

    Args:
        result: What `channels.information_ladder` gives; each noise floor has a colour.
        ax: Axes to draw into; new ones if None.
    """
    ax = axes_of(ax)
    plug_in = np.asarray(result.plug_in.value)
    for j, floor in enumerate(np.asarray(result.floors)):
        style, noise = series(j), f", noise {floor:g}" if floor else ""
        curve(result.corrected[:, j], ax=ax, label=f"corrected{noise}", **style)
        places = np.asarray(result.corrected.x)
        hollow = {"ls": ":", "mfc": "none", "label": f"plug-in{noise}"}
        ax.plot(places, plug_in[:, j], **hollow, **style)
    ax.set(xscale="log", xlabel="samples", ylabel="information (nats)")
    legend(ax)
    return ax
