"""Pictures of a run: its chains, and the traffic on its ladder."""

import numpy as np

from ..core import DeclarationError, Probability, typed
from ..sample import AbstractDrawn, Trace, trace_of
from ._axes import BLUE, CYCLE, GREY, Axes, axes_of, legend


@typed
def trace(trace: Trace | AbstractDrawn, *, ax: Axes | None = None, level: int = -1) -> Axes:
    """The energy of every chain against the draw, at one of the temperatures (the last)."""
    trace = trace_of(trace)
    energy = np.asarray(trace.energy, float)
    energy = energy.reshape(-1, *energy.shape[-2:])
    if not -len(energy) <= level < len(energy):
        raise DeclarationError(
            "level",
            got=repr(level),
            expected=f"an index into {len(energy)} temperatures",
            mend="count from 0, or from the end with negative numbers",
        )
    ax = axes_of(ax, size=(6.4, 3.2))
    for chain, series in enumerate(energy[level]):
        color = CYCLE[chain % len(CYCLE)]
        ax.plot(series, color=color, lw=0.8, alpha=0.85, label=f"chain {chain}")
    beta = float(np.ravel(trace.betas)[level])
    ax.set(xlabel="draw", ylabel="energy $E$")
    ax.set_title(rf"$\log\beta$ = {np.log(beta):.4g}", loc="left", fontsize="medium")
    if len(energy[level]) <= len(CYCLE):
        place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2}
        ax.legend(frameon=False, fontsize="small", ncols=4, columnspacing=1.0, **place)
    return ax


@typed
def ladder(trace: Trace, *, ax: Axes | None = None, least: Probability = 0.15) -> Axes:
    """How often neighbours of the ladder swap, and how many round trips the replicas made.

    A bar a pair, between its levels in log beta (the first pair reaches down to the prior,
    beta = 0); `least` is the rate below which `anneal` refines.
    """
    bridges = trace_of(trace).bridges
    if bridges is None:
        raise DeclarationError(
            "trace",
            got="draws without a ladder",
            expected="the result of an annealed run",
            mend="use bx.anneal(gibbs, betas, ...) instead of bx.sample",
        )
    ax = axes_of(ax, size=(6.4, 3.2))
    positive = np.log(np.asarray(bridges.betas, float)[1:])
    first = np.median(np.diff(positive)) if positive.size > 1 else 1.0
    edges = np.concatenate([[positive[0] - first], positive])
    rates = np.asarray(bridges.swap_rate, float)
    ax.bar(
        edges[:-1],
        rates,
        width=np.diff(edges),
        align="edge",
        color=BLUE,
        alpha=0.75,
        edgecolor="white",
        linewidth=0.8,
    )
    ax.axhline(least, color=GREY, ls="--", lw=1, label=f"refined below {least:g}")
    trips = np.asarray(bridges.round_trips).ravel()
    text = f"round trips by chain: {', '.join(f'{int(t)}' for t in trips)}"
    ax.set(
        xlabel=r"$\log\beta$  (the first bar starts at the prior)",
        ylabel="swaps accepted",
        ylim=(0, 1.05),
    )
    ax.set_title(text, loc="left", fontsize="medium")
    legend(ax)
    return ax
