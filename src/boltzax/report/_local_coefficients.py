"""Local coefficients along training, of parts, and over grids of settings."""

import numpy as np

from ..core import Estimate, typed
from ..observe import AlongTraining, CoefficientGrid, LocalLearningCoefficient, PartCoefficients
from ._axes import HALF_WIDTH, Axes, axes_of, bars, legend, mark_unknown
from ._curves import curve
from ._style import BLUE, GREY, ORANGE, POINTS, WIDTH, series, styled


@typed
@styled
def local_learning_coefficient(result: LocalLearningCoefficient, *, ax: Axes | None = None) -> Axes:
    """`λ̂` of each chain, of each step size that was run, and the estimate, with 95% intervals.

    Chains that disagree, and steps that do, are what makes an estimate unusable: then its point is
    hollow, and the title says why. The chains are those at the shortest step.

    Args:
        result: What `bx.local_learning_coefficient` gives.
        ax: Axes to draw into; new ones if None.
    """
    evidence = result.evidence
    energy = np.asarray(result.trace.energy, float)
    of_draws = (energy - float(result.reference)) * float(result.trace.betas)
    of_chains = [Estimate.of_series(series[None], exact=True) for series in of_draws]
    each = [(f"chain {c}", *_ends(chain)) for c, chain in enumerate(of_chains)]
    for step, value, error in zip(
        evidence.steps, evidence.by_step, evidence.by_step_error, strict=True
    ):
        half = HALF_WIDTH * error
        each.append((f"step × {step:g}", value, value - half, value + half))
    ax = axes_of(ax, size=(WIDTH, 1.4 + 0.28 * len(each)))
    for place, (_, value, low, high) in enumerate(each, 1):
        label = "95% interval" if place == 1 else None
        ends = np.maximum([[value - low], [high - value]], 0.0)
        ax.errorbar(value, place, xerr=ends, color=GREY, label=label, **POINTS)
    value, low, high = _ends(result.estimate)
    style = {"fmt": "s", "color": BLUE, "elinewidth": 1.5}
    hollow = {} if result.usable else {"mfc": "white"}
    label = f"estimate{'' if result.usable else ' (not usable)'}, 95% interval"
    ax.errorbar(value, 0, xerr=bars(result.estimate)[:, None], label=label, **style, **hollow)
    names = ["estimate", *(name for name, *_ in each)]
    ax.set(
        yticks=range(len(names)),
        yticklabels=names,
        xlabel=r"$\hat\lambda$",
        ylabel="mean over",
    )
    ax.invert_yaxis()
    verdict = "usable" if result.usable else "not usable"
    legend(ax)
    title = rf"$\hat\lambda$ = {value:.4g}, 95% interval {low:.4g} to {high:.4g}: {verdict}"
    ax.set_title(title, loc="left")
    return ax


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    low, high = estimate.interval()
    return float(estimate.value), float(low), float(high)


@typed
@styled
def along_training(result: AlongTraining, *, ax: Axes | None = None) -> Axes:
    """`λ̂` over the steps of a training, with its band; the losses on a second axis.

    Points that are not usable are hollow.

    Args:
        result: What `bx.along_training` gives.
        ax: Axes to draw into; new ones if None.
    """
    ax = curve(result.coefficient, ax=ax, color=BLUE, label="coefficient")
    steps = np.asarray(result.coefficient.x)
    unusable = ~np.array([each.usable for each in result.results])
    if np.any(unusable):
        values = np.asarray(result.coefficient.value)[unusable]
        style = {"mfc": "white", "mec": BLUE, "zorder": 3, "label": "not usable"}
        ax.plot(steps[unusable], values, "o", **style)
    if steps.min() >= 0 and steps.max() > 20 * max(np.diff(np.sort(steps)).min(initial=1.0), 1.0):
        ax.set_xscale("symlog", linthresh=max(float(steps[steps > 0].min()), 1.0))
    ax.set(xlabel="step", ylabel=r"$\hat\lambda$")
    losses = ax.twinx()
    losses.spines["top"].set_visible(False)
    order = np.argsort(steps)
    for values, style, name in (
        (result.loss, "-", "loss at w*"),
        (result.loss_of_draws, "--", "loss of the draws"),
    ):
        y = np.asarray(values.value)[order]
        losses.plot(steps[order], y, style, color=ORANGE, lw=1.2, label=name)
        ax.plot([], [], style, color=ORANGE, lw=1.2, label=name)
    losses.set(ylabel="mean loss")
    legend(ax, above=True)
    return ax


@typed
@styled
def part_coefficients(result: PartCoefficients, *, ax: Axes | None = None) -> Axes:
    """`λ̂` of each part as a point with its 95% interval, and of the null model beside it.

    Args:
        result: What `bx.part_coefficients` gives.
        ax: Axes to draw into; new ones if None.
    """
    ax = axes_of(ax, size=(WIDTH, 1.2 + 0.28 * len(result.names)))
    places = np.arange(len(result.names))[::-1]
    rows = [(result.parts, BLUE, "o", "declared weights, 95% interval", 0.12)]
    if result.null is not None:
        rows.append((result.null, ORANGE, "s", "null model, 95% interval", -0.12))
    for parts, color, marker, name, shift in rows:
        values = np.array([float(part.estimate) for part in parts])
        errors = np.stack([bars(part.estimate) for part in parts], axis=1)
        style = POINTS | {"color": color, "fmt": marker, "label": name}
        ax.errorbar(values, places + shift, xerr=errors, **style)
        for part, value, place in zip(parts, values, places + shift, strict=True):
            mark_unknown(ax, part.estimate, value, place, marker)
    ax.set(yticks=places, yticklabels=result.names, xlabel=r"$\hat\lambda$", ylabel="part")
    legend(ax)
    return ax


@typed
@styled
def coefficient_grid(result: CoefficientGrid, *, ax: Axes | None = None) -> Axes:
    """`λ̂` over γ, a line with error bars for each step and β.

    Args:
        result: What `bx.coefficient_grid` gives.
        ax: Axes to draw into; new ones if None.
    """
    ax = axes_of(ax)
    lines = [
        (i, j, f"ε {step:.3g}" + (f", β {beta:.3g}" if len(result.betas) > 1 else ""))
        for i, step in enumerate(result.step_sizes)
        for j, beta in enumerate(result.betas)
    ]
    for number, (i, j, name) in enumerate(lines):
        line = result.estimate[i, :, j]
        style = {"label": f"{name}, 95% interval", **series(number)}
        place, values = result.localisations, np.asarray(line.value)
        ax.errorbar(place, values, bars(line), lw=1, **style)
        mark_unknown(ax, line, place, values, style["marker"])
    ax.set(xscale="log", xlabel=r"localisation $\gamma$", ylabel=r"$\hat\lambda$")
    legend(ax)
    return ax
