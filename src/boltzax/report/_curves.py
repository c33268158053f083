"""Estimates and curves: lines with bands, and the learning coefficient over the temperature."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from ..core import Curve, DeclarationError, Estimate, Fraction, Said, typed
from ..observe import free_energy as measured_free_energy
from ..observe import learning_coefficient as measured_learning_coefficient
from ..sample import Trace
from ..theory import LearningCoefficient
from ._axes import HALF_WIDTH, Axes, axes_of, bars, legend, mark_unknown, name_axes, with_interval
from ._style import AMBER, BLUE, GREEN, GREY, ORANGE, PINK, POINTS, WIDTH, series, styled

NAMES = {"log n": r"$\log n$", "beta": r"$\beta$", "temperature": "$T$"}
"""How axes are written in figures."""

MEASURED = "measured, 95% band"
"""What `learning_coefficient` calls a curve with errors."""
DRAWN = "estimate"
"""Mark of the lines that `estimate` drew."""
Points = Float[np.ndarray, " point"]
Named = Annotated[
    Mapping[str, Estimate], Said("estimates by name", "pass {name: estimate}, one number each")
]


@typed
@styled
def estimate(
    x: ArrayLike,
    values: Estimate | Curve,
    *,
    ax: Axes | None = None,
    label: str | None = None,
    color: str | None = None,
    marker: str | None = None,
    level: Fraction = 0.95,
) -> Axes:
    """An `Estimate` of shape `[point]` against `x`: a line, with its interval as a band.

    A point whose neighbours have no interval has a bar in place of the band; one whose error is
    unknown is hollow.

    Args:
        x: Places, `[point]`, in any order.
        values: The estimate.
        ax: Axes to draw into; new ones if None.
        label: For the legend, which adds what the band is, `"label, 95% band"`; if None, that
            alone; if "", nothing.
        color: Of line and band; if None, that of the next series on these axes.
        marker: Of the points; if None, that of the next series, "" for none.
        level: Probability that the interval covers.

    Raises:
        DeclarationError: For another number of places than values, and values with several axes.
    """
    ax = axes_of(ax)
    places = np.asarray(x, float)
    if places.shape != values.value.shape or places.ndim != 1:
        raise DeclarationError(
            "x",
            got=f"shape {places.shape} for an estimate of shape {values.shape}",
            expected="one place for each entry of an estimate of shape [point]",
            mend="pass places of the estimate's shape; pick a row of it first if it has more axes",
        )
    order = np.argsort(places)
    style = series(sum(line.get_gid() == DRAWN for line in ax.lines))
    style["color"] = color or style["color"]
    style["marker"] = style["marker"] if marker is None else marker
    x, y = places[order], np.asarray(values.value, float)[order]
    low, high = (np.asarray(bound, float)[order] for bound in values.interval(level))
    known = np.isfinite(high) & np.isfinite(low)
    if np.any((high > low) & known):
        label = with_interval(ax, label, level, "band")
        ax.fill_between(x, low, high, color=style["color"], alpha=0.25, linewidth=0)
        beside = np.pad(known, 1)
        alone = known & (high > low) & ~beside[:-2] & ~beside[2:]
        lengths = np.maximum([y[alone] - low[alone], high[alone] - y[alone]], 0.0)
        bar = {"fmt": "none", "ecolor": style["color"], "elinewidth": 1.2}
        if np.any(alone):
            ax.errorbar(x[alone], y[alone], lengths, **bar)
    style |= {"gid": DRAWN, "label": label or "_"}
    ax.plot(x, y, **style)
    mark_unknown(ax, values, places, np.asarray(values.value), style["marker"] or "o")
    name_axes(ax, "x", "value")
    legend(ax)
    return ax


@typed
@styled
def curve(
    curve: Curve,
    *,
    ax: Axes | None = None,
    label: str | None = None,
    color: str | None = None,
    marker: str | None = None,
    level: Fraction = 0.95,
    name: str = "",
) -> Axes:
    """A `Curve` over its own axis: a line, with its interval as a band; see `estimate`.

    The axis is logarithmic where places rise by equal factors, of 30 or more in all.

    Args:
        curve: The curve, of one number a point.
        ax: Axes to draw into; new ones if None.
        label: For the legend, as of `estimate`.
        color: As of `estimate`.
        marker: As of `estimate`.
        level: Probability that the interval covers.
        name: Of the values with their unit, for the y-axis; "value" if the axes have no name yet.
    """
    ax = axes_of(ax)
    labels = {"xlabel": _axis_name(curve)} | ({"ylabel": name} if name else {})
    ax.set(**labels)
    estimate(curve.x, curve, ax=ax, label=label, color=color, marker=marker, level=level)
    places = np.sort(np.asarray(curve.x, float))
    if places.size and places[0] > 0 and places[-1] > 30 * places[0]:
        steps = np.diff(np.log(places))
        if np.ptp(steps) < 0.02 * np.max(steps):
            ax.set_xscale("log")
    return ax


@typed
@styled
def intervals(
    values: Named,
    *,
    ax: Axes | None = None,
    label: str | None = "95% interval",
    color: str = BLUE,
    marker: str = "o",
) -> Axes:
    """Estimates by name, one below the other: points with their 95% intervals.

    Further calls with the same axes add to its rows. A number that is known exactly has no bar; one
    whose error is unknown has none either, and its point is hollow.

    Args:
        values: An `Estimate` of one number for each name.
        ax: Axes to draw into; new ones if None.
        label: For the legend; none if None.
        color: Of points and bars.
        marker: Of the points.

    Raises:
        DeclarationError: For no estimate, and one of several numbers.
    """
    wrong = [name for name, each in values.items() if each.shape]
    if wrong or not values:
        raise DeclarationError(
            "values",
            got=f"{wrong[0]!r} of shape {values[wrong[0]].shape}" if wrong else "none",
            expected="an Estimate of one number for each name",
            mend="pick one entry of it first, estimate[i]",
        )
    ax = axes_of(ax, size=(WIDTH, 1.2 + 0.28 * len(values)))
    centres = np.array([float(each.value) for each in values.values()])
    widths = np.stack([bars(each) for each in values.values()], axis=1)
    style = {**POINTS, "fmt": marker, "color": color, "label": label}
    if label and np.any(widths > 0):
        style["label"] = with_interval(ax, label, 0.95, "interval")
    elif label == "95% interval":
        style["label"] = None
    ax.errorbar(centres, list(values), xerr=widths, **style)
    for name, each in values.items():
        mark_unknown(ax, each, float(each.value), name, marker)
    if not ax.yaxis_inverted():
        ax.invert_yaxis()
    name_axes(ax, "estimate", "")
    legend(ax)
    return ax


@typed
@styled
def learning_coefficient(
    curve: Trace | Curve | Estimate,
    *,
    ax: Axes | None = None,
    log_n: ArrayLike | None = None,
    label: str = MEASURED,
    bound: ArrayLike | None = None,
    ansatz: bool = False,
    limit: LearningCoefficient | float | None = None,
    plateau: float | None = None,
    mark_turn: bool = False,
) -> Axes:
    """`λ̂` against `log n`, with its error band; n is beta times the mass of the data measure.

    Args:
        curve: A trace at several betas, a `Curve` over `log n`, or an `Estimate` together with
            `log_n`.
        ax: Axes to draw into; new ones if None.
        log_n: Places of an `Estimate`.
        label: For the legend; without errors the default is "measured".
        bound: `log c_k²` of the modes of the model's function; draws half the number of modes that
            n data resolve, `½ Σ_k n c_k²/(1 + n c_k²)`.
        ansatz: Draw the least-squares fit of `c (log n)²` to the rise of the curve.
        limit: The exact limit, e.g. `theory.tanh_network(128)`, drawn with its approach
            `λ - (m-1)/log n`.
        plateau: A claimed plateau.
        mark_turn: Mark the highest point, with the bracket in which the errors allow it to lie.

    Raises:
        DeclarationError: For an estimate without `log_n`, a run at one beta, and no finite place.
    """
    rising = _rising(curve, log_n)
    x, values = np.asarray(rising.x), rising.values
    ax = axes_of(ax)
    y, error = np.asarray(values.value, float), np.asarray(values.standard_error, float)
    # what is read off the curve, and the frame, are those of its finite points
    seen = np.isfinite(y)
    rest = x[seen], y[seen], error[seen]
    fine = np.linspace(x[0], x[-1], 400)
    if bound is not None:
        half = resolved_modes(fine, np.asarray(bound, float))
        ax.plot(fine, half, color=GREEN, ls="-.", lw=1.2, label="half the modes resolved")
    if ansatz and np.any(seen):
        rise = slice(0, int(np.argmax(rest[1])) + 1)
        square = rest[0][rise] ** 2
        factor = float(np.sum(square * rest[1][rise]) / np.sum(square**2))
        text = rf"Ansatz ${factor:.3g}\,(\log n)^2$"
        ax.plot(fine, factor * fine**2, color=ORANGE, ls="--", lw=1.2, label=text)
    # the frame fits the data; of the lines only near ones widen it, errors without an end do not
    half = 2 * np.where(np.isfinite(rest[2]), rest[2], 0.0)
    top = float(np.max(rest[1] + half, initial=0.0))
    low = 1.12 * float(np.min((rest[1] - half)[rest[1] < 0], initial=0.0))
    lines = [float(value) for value in (plateau, limit) if value is not None]
    top = 1.12 * max([top, *(value for value in lines if value < 3 * top)])
    if plateau is not None:
        text = f"claimed plateau {plateau:g}" + (" (above the frame)" if plateau > top else "")
        ax.axhline(plateau, color=AMBER, ls=(0, (1, 1.5)), lw=1.4, label=text)
    if limit is not None:
        value = float(limit)
        multiplicity = limit.multiplicity if isinstance(limit, LearningCoefficient) else 1
        ax.axhline(value, color=GREY, lw=1.2, label=rf"exact limit $\lambda$ = {value:.4g}")
        if multiplicity > 1:
            late = fine[fine > 4 * multiplicity]
            text = rf"its approach $\lambda - {multiplicity - 1}/\log n$"
            ax.plot(late, value - (multiplicity - 1) / late, color=GREY, lw=1, ls=":", label=text)
    known = not np.any(error > 0) and label == MEASURED
    estimate(x, values, ax=ax, label="measured" if known else label, color=BLUE)
    if mark_turn and np.any(seen):
        _mark(ax, turn(*rest), x[-1])
    margin = 0.02 * (x[-1] - x[0]) or 1.0
    ax.set(xlim=(x[0] - margin, x[-1] + margin), ylim=(low, top if top > low else 1.0))
    ax.set(xlabel=_axis_name(rising), ylabel=r"learning coefficient $\hat\lambda$")
    legend(ax)
    return ax


@typed
@styled
def free_energy(trace: Trace, *, ax: Axes | None = None, label: str = "") -> Axes:
    """`F` against `log n` by both routes: Bennett's ratio (band), integral of `⟨E⟩` (bars).

    Args:
        trace: A run of `anneal`.
        ax: Axes to draw into; new ones if None.
        label: Put in front of both labels of the legend.

    Raises:
        DeclarationError: For a trace without a ladder.
    """
    ax = axes_of(ax)
    bar = trace.curve(measured_free_energy(trace, "bar"))
    integral = measured_free_energy(trace, "integration")
    head = f"{label}: " if label else ""
    curve(bar, ax=ax, color=BLUE, label=f"{head}Bennett's ratio, 95% band", marker="")
    text = head + r"$\int\langle E\rangle\,d\beta$, 95% interval"
    style = POINTS | {"fmt": "s", "color": ORANGE, "label": text}
    ax.errorbar(np.asarray(bar.x), np.asarray(integral.value), bars(integral), **style)
    ax.set(ylabel="free energy $F$ / nats")
    legend(ax)
    return ax


def _rising(given: Trace | Curve | Estimate, log_n: ArrayLike | None) -> Curve:
    """A curve over `log n` with places in rising order, without beta = 0."""
    if isinstance(given, Trace):
        values = measured_learning_coefficient(given)
        if given.betas.ndim != 1:
            raise DeclarationError(
                "curve",
                got=f"a run at betas of shape {given.betas.shape}",
                expected="a curve: one axis of temperatures",
                mend="draw at several betas, with bx.anneal(gibbs, betas) or gibbs.at(betas)",
            )
        given = given.curve(values)
    if log_n is not None:
        given = Curve(log_n, given.values if isinstance(given, Curve) else given, axis="log n")
    if not isinstance(given, Curve):
        raise DeclarationError(
            "curve",
            got=f"{type(given).__name__} without log_n",
            expected="a trace, a Curve, or an estimate together with its log_n",
            mend="pass the result of bx.anneal, a Curve, or log_n=... with an estimate",
        )
    places = np.asarray(given.x)
    order = np.argsort(places)
    order = order[np.isfinite(places[order])]
    if not order.size:
        raise DeclarationError(
            "curve",
            got="no point at a finite place",
            expected="at least one beta above 0",
            mend="draw at several betas, e.g. bx.anneal(gibbs, betas)",
        )
    rising = given[order]
    assert isinstance(rising, Curve)
    return rising


def _axis_name(curve: Curve) -> str:
    name = NAMES.get(curve.axis, curve.axis)
    return f"{name} ({curve.unit})" if curve.unit else name


class Turn(NamedTuple):
    """The highest point of a curve, and the bracket `[low, high]` of where it can lie.

    `inside` is whether the curve significantly decreases after it.
    """

    place: float
    low: float
    high: float
    value: float
    error: float
    inside: bool


def turn(x: Points, value: Points, error: Points) -> Turn:
    """The maximum of a curve with errors, for rising `x`.

    Points that the highest one does not exceed by two standard errors of their difference may be
    the highest as well. For a curve that rises and then falls, the maximum lies between the
    neighbours of the outermost of them.
    """
    error = np.where(np.isnan(error), np.inf, error)  # of unknown error: any point may be it
    top = int(np.argmax(value))
    rival = value[top] - value <= 2 * np.hypot(error[top], error)
    left = right = top
    while left > 0 and rival[left - 1]:
        left -= 1
    while right < len(x) - 1 and rival[right + 1]:
        right += 1
    inside = left > 0 and right < len(x) - 1
    low, high = x[max(left - 1, 0)], x[min(right + 1, len(x) - 1)]
    numbers = (x[top], low, high, value[top], error[top])
    return Turn(*(float(number) for number in numbers), inside)


def _mark(ax: Axes, top: Turn, end: float) -> None:
    if not top.inside:
        text = rf"no turn up to $\log n$ = {end:g}"
        ax.plot([], [], color=PINK, marker="", ls="", label=text)
        return
    half = HALF_WIDTH * top.error
    where = rf"at $\log n$ in ({top.low:g}, {top.high:g})"
    text = f"turn: {top.value:.3g} ± {half:.1g} {where}, 95% intervals"
    bracket = [[top.place - top.low], [top.high - top.place]]
    style = {"fmt": "D", "markersize": 5, "color": PINK, "zorder": 5}
    ax.errorbar([top.place], [top.value], [[half], [half]], bracket, label=text, **style)


def resolved_modes(log_n: Points, log_squares: Float[np.ndarray, " mode"]) -> Points:
    """`½ Σ_k n c_k²/(1 + n c_k²)`: half the number of modes with `n c_k² > 1`, smoothed."""
    load = np.asarray(log_n)[:, None] + np.asarray(log_squares)
    return 0.25 * np.sum(1 + np.tanh(0.5 * load), axis=1)
