"""Curves over the temperature: learning coefficient and free energy."""

import numpy as np
from numpy.typing import ArrayLike

from ..core import Curve, DeclarationError, Estimate, typed
from ..observe import free_energy as measured_free_energy
from ..observe import learning_coefficient as measured_learning_coefficient
from ..sample import Trace
from ..theory import LearningCoefficient
from ._axes import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Axes, axes_of, legend
from ._turn import quadratic, resolved_modes, turn


@typed
def estimate(
    x: ArrayLike,
    values: Estimate | Curve,
    *,
    ax: Axes | None = None,
    label: str | None = None,
    color: str = BLUE,
    marker: str = "o",
    level: float = 0.95,
) -> Axes:
    """Any `Estimate` of shape `[point]` against `x`: a line, with its normal interval as a band."""
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
    low, high = (np.asarray(bound)[order] for bound in values.interval(level))
    ax.fill_between(places[order], low, high, color=color, alpha=0.25, linewidth=0)
    ax.plot(
        places[order],
        np.asarray(values.value)[order],
        color=color,
        marker=marker,
        markersize=3.5,
        linewidth=1.4,
        label=label,
    )
    return ax


@typed
def curve(
    curve: Curve,
    *,
    ax: Axes | None = None,
    label: str | None = None,
    color: str = BLUE,
    marker: str = "o",
    level: float = 0.95,
) -> Axes:
    """A `Curve` over its own axis: a line, with its interval as a band."""
    ax = estimate(curve.x, curve, ax=ax, label=label, color=color, marker=marker, level=level)
    ax.set(xlabel=_axis_name(curve))
    return ax


@typed
def learning_coefficient(
    curve: Trace | Curve | Estimate,
    *,
    ax: Axes | None = None,
    log_n: ArrayLike | None = None,
    label: str = "measured, 95% band",
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
        bound: `log c_k²` of the modes of the model's function; draws half the number of modes that
            n data resolve, `½ Σ_k n c_k²/(1 + n c_k²)`.
        ansatz: The least-squares fit of `c (log n)²` to the rise of the curve.
        limit: The exact limit, e.g. `theory.tanh_network(128)`, drawn with its approach
            `λ - (m-1)/log n`.
        plateau: A claimed plateau.
        mark_turn: The highest point, with the bracket in which the errors allow it to lie.
    """
    rising = _rising(curve, log_n)
    x, values = np.asarray(rising.x), rising.values
    ax = axes_of(ax)
    y, error = np.asarray(values.value, float), np.asarray(values.standard_error, float)
    fine = np.linspace(x[0], x[-1], 400)
    if bound is not None:
        half = resolved_modes(fine, np.asarray(bound, float))
        ax.plot(fine, half, color=GREEN, ls="-.", lw=1.2, label="half the modes resolved")
    if ansatz:
        factor = quadratic(x, y)
        text = rf"Ansatz ${factor:.3g}\,(\log n)^2$"
        ax.plot(fine, factor * fine**2, color=ORANGE, ls="--", lw=1.2, label=text)
    top = _top(y, error, plateau, limit)
    if plateau is not None:
        text = f"claimed plateau {plateau:g}" + (" (above the frame)" if plateau > top else "")
        ax.axhline(plateau, color=RED, ls=(0, (1, 1.5)), lw=1.4, label=text)
    if limit is not None:
        _limit(ax, limit, fine)
    estimate(x, values, ax=ax, label=label)
    if mark_turn:
        _mark(ax, x, y, error)
    margin = 0.02 * (x[-1] - x[0]) or 1.0
    ax.set(xlim=(x[0] - margin, x[-1] + margin), ylim=(0, top))
    ax.set(xlabel=_axis_name(rising), ylabel=r"learning coefficient $\hat\lambda$")
    legend(ax)
    return ax


@typed
def free_energy(trace: Trace, *, ax: Axes | None = None, label: str = "") -> Axes:
    """`F` against `log n` by both routes: Bennett's ratio (band), integral of `⟨E⟩` (bars)."""
    ax = axes_of(ax)
    bar = trace.curve(measured_free_energy(trace, "bar"))
    integrated = measured_free_energy(trace, "integration")
    head = f"{label}: " if label else ""
    curve(bar, ax=ax, label=f"{head}Bennett's ratio, 95% band", marker="")
    ax.errorbar(
        np.asarray(bar.x),
        np.asarray(integrated.value),
        1.96 * np.asarray(integrated.standard_error),
        fmt="o",
        markersize=3.5,
        color=ORANGE,
        elinewidth=1,
        label=rf"{head}$\int\langle E\rangle\,d\beta$",
    )
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
            got=f"{type(given).__name__}{'' if log_n is not None else ' without log_n'}",
            expected="a trace, a Curve, or an estimate together with its log_n",
            mend="pass the result of bx.anneal, a Curve, or log_n=... with an estimate",
        )
    places = np.asarray(given.x)
    order = np.argsort(places)
    found = given[order[np.isfinite(places[order])]]
    assert isinstance(found, Curve)
    return found


NAMES = {"log n": r"$\log n$", "beta": r"$\beta$", "temperature": "$T$"}
"""How axes are written in figures."""


def _axis_name(curve: Curve) -> str:
    name = NAMES.get(curve.axis, curve.axis)
    return f"{name} ({curve.unit})" if curve.unit else name


def _limit(ax: Axes, limit: LearningCoefficient | float, fine: np.ndarray) -> None:
    value = float(limit)
    multiplicity = limit.multiplicity if isinstance(limit, LearningCoefficient) else 1
    ax.axhline(value, color=GREY, lw=1.2, label=rf"exact limit $\lambda$ = {value:.4g}")
    if multiplicity > 1:
        late = fine[fine > 4 * multiplicity]
        text = rf"its approach $\lambda - {multiplicity - 1}/\log n$"
        ax.plot(late, value - (multiplicity - 1) / late, color=GREY, lw=1, ls=":", label=text)


def _mark(ax: Axes, x: np.ndarray, y: np.ndarray, error: np.ndarray) -> None:
    top = turn(x, y, error)
    if not top.inside:
        text = rf"no turn up to $\log n$ = {x[-1]:g}"
        ax.plot([], [], color=PURPLE, marker="", ls="", label=text)
        return
    text = rf"turn: {top.value:.3g} ± {top.error:.1g} at $\log n$ in ({top.low:g}, {top.high:g})"
    ax.errorbar(
        [top.place],
        [top.value],
        [[1.96 * top.error], [1.96 * top.error]],
        [[top.place - top.low], [top.high - top.place]],
        fmt="D",
        markersize=5,
        capsize=3,
        color=PURPLE,
        zorder=5,
        label=text,
    )


def _top(y, error, plateau, limit) -> float:
    """Upper end of the frame: the data stay large, and only near lines are let in."""
    # an error that is not a number widens nothing
    top = float(np.nanmax(y + 2 * np.nan_to_num(error)))
    lines = [float(value) for value in (plateau, limit) if value is not None]
    return 1.12 * max([top, *(value for value in lines if value < 3 * top)])
