"""Survivals and clean windows along a dial, spectra of trajectories, components of responses."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np

from ..core import Curve, Fraction, Said, typed
from ..degrade import CleanWindow, TrajectorySpectrum
from ..observe import ResponseComponents
from ._axes import Axes, axes_of, bars, legend, mark_unknown
from ._curves import curve
from ._style import AMBER, BLUE, GREEN, GREY, series, styled

Survivals = Annotated[
    Mapping[str, Curve | Sequence[Curve]],
    Said("survivals by name, a Curve or several of each", "pass {name: curve}"),
]
Marks = Annotated[Mapping[str, float], Said("places on the dial by name", "pass {name: place}")]
Pairs = Annotated[
    Mapping[str, tuple[Curve, Curve]],
    Said("two survivals by name of the dial", "pass {name: (kept, lost)}"),
]


@typed
@styled
def survival(
    curves: Survivals,
    *,
    ax: Axes | None = None,
    marks: Marks | None = None,
    level: Fraction | None = 0.5,
) -> Axes:
    """Survivals along a dial with their 95% bands, and named places on it.

    Args:
        curves: One `Curve` for each structure, or several of replicates, which share a colour.
        ax: Axes to draw into; new ones if None.
        marks: Named settings, such as those of `degrade.temperature_marks`.
        level: Where a horizontal line is drawn; nowhere if None.
    """
    ax = axes_of(ax)
    for i, (name, given) in enumerate(curves.items()):
        for number, each in enumerate([given] if isinstance(given, Curve) else given):
            curve(each, ax=ax, label=name if number == 0 else "", **series(i))
            places = np.sort(np.asarray(each.x))
            if places[0] > 0 and places[-1] > 30 * places[0]:
                ax.set_xscale("log")
    if level is not None:
        ax.axhline(level, color="0.8", zorder=0)
    for name, place in (marks or {}).items():
        ax.axvline(place, color=GREY, ls=":")
        ax.text(place, 1.01, name, ha="center", fontsize=8, transform=ax.get_xaxis_transform())
    ax.set(ylabel="survival")
    legend(ax)
    return ax


@typed
@styled
def selectivity(pairs: Pairs, *, ax: Axes | None = None, at: Fraction | None = None) -> Axes:
    """What is left of one structure against what is left of another, a line for each dial.

    Settings of dials have no common unit; where lines are compared at one place of the x-axis, the
    lowest is the most selective dial (`degrade.selectivity`).

    Args:
        pairs: By dial the survival that is to stay and the one that is to go.
        ax: Axes to draw into; new ones if None.
        at: Survival at which dials are compared, a vertical line; none if None.

    Raises:
        DeclarationError: For curves over different points.
    """
    ax = axes_of(ax)
    for i, (name, (kept, lost)) in enumerate(pairs.items()):
        kept.minus(lost)  # refuses curves over different places
        y, x = (np.asarray(curve.value, float) for curve in (lost, kept))
        ax.errorbar(
            x,
            y,
            bars(lost.values),
            bars(kept.values),
            lw=1,
            label=f"{name}, 95% intervals",
            **series(i),
        )
        for each in (kept, lost):
            mark_unknown(ax, each, x, y, series(i)["marker"])
    if at is not None:
        ax.axvline(at, color="0.8", zorder=0)
    ax.set(xlabel="survival of what is to stay", ylabel="survival of what is to go")
    legend(ax)
    return ax


@typed
@styled
def trajectory_spectrum(result: TrajectorySpectrum, *, ax: Axes | None = None) -> Axes:
    """Shares of variance of the components of a trajectory, and the 95% bands of both nulls.

    Args:
        result: What `degrade.trajectory_spectrum` gives.
        ax: Axes to draw into; new ones if None.
    """
    ax = axes_of(ax)
    number = np.arange(1, len(result.fractions) + 1)
    walk, relaxation = np.asarray(result.walk_band), np.asarray(result.relaxation_band)
    ax.fill_between(number, *walk, color="0.85", label="random walk, 95% band")
    ax.fill_between(
        number,
        *relaxation,
        facecolor="none",
        edgecolor=AMBER,
        hatch="////",
        label="relaxation, 95% band",
    )
    ax.plot(number, np.asarray(result.fractions), "o-", color=BLUE, label="trajectory")
    ax.set(yscale="log", xlabel="component", ylabel="share of variance")
    legend(ax)
    return ax


@typed
@styled
def response_components(result: ResponseComponents, *, ax: Axes | None = None) -> Axes:
    """Loadings of the components of a response matrix; those beyond chance have bold names.

    Args:
        result: What `ResponseMatrix.components` gives.
        ax: Axes to draw into; new ones if None.
    """
    ax = axes_of(ax)
    loadings = np.asarray(result.loadings)
    shown = ax.pcolormesh(loadings, cmap="RdBu_r", vmin=-1, vmax=1)
    ax.invert_yaxis()
    ax.set_xticks(np.arange(loadings.shape[1]) + 0.5, result.parts, rotation=40, ha="right")
    shares = [
        f"{k} ({100 * float(share):.0f}%, p {float(p):.2g})"
        for k, (share, p) in enumerate(zip(result.variances, result.p_values, strict=True))
    ]
    ax.set_yticks(np.arange(len(loadings)) + 0.5, shares[: len(loadings)])
    for tick, p in zip(ax.get_yticklabels(), np.asarray(result.p_values), strict=False):
        tick.set_fontweight("bold" if p <= 0.05 else "normal")
    ax.set(xlabel="part", ylabel="component (share of variance, p)")
    ax.figure.colorbar(shown, ax=ax).set_label("loading")
    return ax


@typed
@styled
def clean_window(result: CleanWindow, *, names: Sequence[str] = (), ax: Axes | None = None) -> Axes:
    """Effect and damages of an intervention along a dial with 95% bands; clean windows shaded.

    The effect is in units of that on the clean model, the damages have an axis of their own on the
    right, where dashed lines are the damages of the mean output.

    Args:
        result: What `degrade.clean_window` gives.
        names: Of the damages, for the legend.
        ax: Axes to draw into; new ones if None.
    """
    ax = axes_of(ax)
    curve(result.effect.scaled(1 / result.clean_effect), ax=ax, label="effect", **series(0))
    ax.axhline(result.persists, color=BLUE, ls=":", lw=1, label="effect persists above")
    right = ax.twinx()
    right.spines["top"].set_visible(False)
    order = np.argsort(np.asarray(result.effect.x))
    mean = result.damage_of_mean
    for i in range(np.asarray(result.damage.value).shape[1]):
        style = series(i + 1)
        name = names[i] if i < len(names) else f"damage {i}"
        curve(result.damage[:, i], ax=right, label="", **style)
        y = np.asarray(mean.value)[order, i]
        right.plot(np.asarray(mean.x)[order], y, "--", color=style["color"])
        ax.plot([], [], label=f"{name}, 95% band", **style)
    right.axhline(result.tolerance, color=GREY, ls=":", lw=1)
    ax.plot([], [], color=GREY, ls=":", lw=1, label="damage counts as none below")
    for low, high in result.windows:
        ax.axvspan(low, high, color=GREEN, alpha=0.2, lw=2, label="clean")
    ax.set(ylabel="share of the clean effect")
    right.set(ylabel="damage (dashed: mean output)", xlabel="")
    legend(ax, above=True)
    return ax
