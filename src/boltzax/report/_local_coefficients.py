"""Local coefficients along training, of parts, and over grids of settings."""

import numpy as np

from ..core import typed
from ..observe import AlongTraining, CoefficientGrid, PartCoefficients
from ._axes import BLUE, CYCLE, GREY, ORANGE, POINTS, Axes, axes_of, legend
from ._curves import curve


@typed
def along_training(result: AlongTraining, *, ax: Axes | None = None) -> Axes:
    """`λ̂` over the steps of a training, with its band; the losses on a second axis.

    Points that are not usable are hollow.

    Args:
        result: What `bx.along_training` gives.
        ax: Axes to draw into; new ones if None.
    """
    ax = curve(result.coefficient, ax=ax, color=BLUE, label="coefficient, 95% band")
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
    legend(ax)
    return ax


@typed
def part_coefficients(result: PartCoefficients, *, ax: Axes | None = None) -> Axes:
    """`λ̂` of each part as a point with its 95% interval, and of the null model beside it.

    Args:
        result: What `bx.part_coefficients` gives.
        ax: Axes to draw into; new ones if None.
    """
    ax = axes_of(ax, size=(6.4, 1.2 + 0.28 * len(result.names)))
    places = np.arange(len(result.names))[::-1]
    series = [(result.parts, BLUE, "declared weights, 95%", 0.12)]
    if result.null is not None:
        series.append((result.null, GREY, "null model, 95%", -0.12))
    for parts, color, name, shift in series:
        values = np.array([float(part.estimate) for part in parts])
        ends = np.array([[float(end) for end in part.estimate.interval()] for part in parts]).T
        errors = np.abs(ends - values)
        ax.errorbar(values, places + shift, xerr=errors, color=color, label=name, **POINTS)
    ax.set(yticks=places, yticklabels=result.names, xlabel=r"$\hat\lambda$", ylabel="part")
    legend(ax)
    return ax


@typed
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
        values, error = (
            np.asarray(x)[i, :, j] for x in (result.estimate.value, result.estimate.standard_error)
        )
        color = CYCLE[number % len(CYCLE)]
        ax.errorbar(
            result.localisations,
            values,
            1.96 * error,
            color=color,
            label=f"{name}, 95%",
            lw=1,
            **POINTS,
        )
    ax.set(xscale="log", xlabel=r"$\gamma$", ylabel=r"$\hat\lambda$")
    legend(ax)
    return ax
