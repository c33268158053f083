"""One figure for any result: its own if it has one, else its curves, tests or numbers."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import equinox as eqx
import numpy as np

from ..channels import (
    CanonicalSpectrum,
    ChannelCost,
    CovarianceSpectrum,
    DataInteractions,
    InformationLadder,
    Screening,
)
from ..core import Curve, DeclarationError, Estimate, Influence, Said, typed
from ..declare import Contract, Interface
from ..degrade import CleanWindow, TrajectorySpectrum
from ..interfaces import (
    Certificate,
    ChainTables,
    EntropyCurve,
    EntropyTable,
    InterfaceLaw,
    TightestKernel,
)
from ..meanfield import FieldPhases, Foreground, Sweep
from ..observe import (
    AlongTraining,
    CoefficientGrid,
    LocalLearningCoefficient,
    LogProbability,
    PartCoefficients,
    ResponseComponents,
    ResponseMatrix,
    TwoSample,
)
from ..sample import Bounds, Trace
from ._axes import HALF_WIDTH, Axes, axes_of, legend
from ._channels import channel_cost
from ._curves import curve, intervals, learning_coefficient
from ._degrade import clean_window, response_components, trajectory_spectrum
from ._information import information_ladder
from ._interfaces import contract, interface
from ._local_coefficients import (
    along_training,
    coefficient_grid,
    local_learning_coefficient,
    part_coefficients,
)
from ._meanfield import clouds, sweep
from ._observables import influence, trace
from ._screening import data_interactions, screening
from ._spectra import channel_spectrum
from ._style import BLUE, WIDTH, series, styled


def _trace(result: Trace, **given: Any) -> Axes:
    return (learning_coefficient if result.betas.ndim == 1 else trace)(result, **given)


def _tolerances(result: EntropyCurve, **given: Any) -> Axes:
    over = Curve(result.tolerances, result.entropies.estimate, axis="tolerance")
    return curve(over, name="entropy / nats", **given)


def _certificate(result: Certificate, ax: Axes | None = None) -> Axes:
    """The proved bounds of the margin, and whether 0 lies below them."""
    ax = axes_of(ax, size=(WIDTH, 1.8))
    words = f"{result.lower:.4g} to {result.upper:.4g}"
    ax.plot([result.lower, result.upper], [0, 0], **series(0), label=f"proved bounds, {words}")
    ax.axvline(0, color="0.4", ls="--", label="0: at the edge of the contract")
    ax.set(xlabel="margin (units of the output)", yticks=[], title=f"contract: {result.status}")
    legend(ax)
    return ax


def _riders(result: Foreground, **given: Any) -> Axes:
    return clouds(result.riders, **given)


def _responses(result: ResponseMatrix, **given: Any) -> Axes:
    ax = influence(result.estimate, queries=result.parts, label="response", **given)
    ax.set(xlabel="token", ylabel="part", aspect="auto")
    return ax


FIGURES: dict[type, Callable[..., Axes]] = {
    Trace: _trace,
    Curve: curve,
    AlongTraining: along_training,
    LocalLearningCoefficient: local_learning_coefficient,
    PartCoefficients: part_coefficients,
    CoefficientGrid: coefficient_grid,
    ResponseMatrix: _responses,
    ResponseComponents: response_components,
    ChannelCost: channel_cost,
    CanonicalSpectrum: channel_spectrum,
    CovarianceSpectrum: channel_spectrum,
    InformationLadder: information_ladder,
    Screening: screening,
    DataInteractions: data_interactions,
    CleanWindow: clean_window,
    TrajectorySpectrum: trajectory_spectrum,
    Sweep: sweep,
    Foreground: _riders,
    EntropyCurve: _tolerances,
    Interface: interface,
    Contract: contract,
    Certificate: _certificate,
}
"""The results that have a figure of their own."""
SHOWN = {
    EntropyTable: ("entropy",),
    ChainTables: ("tables",),
    InterfaceLaw: ("tables",),
    TightestKernel: ("matrix",),
    FieldPhases: ("roots",),
    Bounds: ("free_energy", "highest"),
}
"""The fields and properties of other results that are drawn if none are named."""
Fields = Annotated[Sequence[str], Said("names of fields", "pass a list of str")]
Found = dict[str, Any]
PARTS = (Estimate, Influence, Curve, TwoSample, LogProbability)
MOST = 40
"""Rows of a figure of numbers; its title says of how many they are the first."""


@typed
@styled
def result(result: eqx.Module, *, fields: Fields = (), ax: Axes | None = None) -> Axes:
    """Any result of the library: its own figure, or else what it holds.

    A result without a figure of its own is drawn by the first that it has of these:

    - curves: lines over their axis, with 95% bands;
    - tests of two samples: distances in units of the one that the test detects, with 95% bars of
      equal laws about 0;
    - estimates: a row for each number, with its 95% interval, or a matrix in colours;
    - arrays: lines over their index, or a matrix in colours;
    - numbers: a row for each, 40 at most.

    Arrays and numbers are those of the result itself, the others also those of its parts.

    Args:
        result: What any function of boltzax gives.
        fields: Names of the fields to draw instead; all if empty.
        ax: Axes to draw into; new ones if None.

    Raises:
        DeclarationError: For a result without numbers, and a field that is not there.
    """
    if not fields and type(result) in FIGURES:
        return FIGURES[type(result)](result, ax=ax)
    fields = fields or SHOWN.get(type(result), ())
    missing = [name for name in fields if name not in dir(result)]
    parts = {} if missing else _parts(result, fields)
    found = {name: _plain(value) for name, value in parts.items()} | dict(_walk(parts, ""))
    for kind, draw in (
        (Curve, _curves),
        (TwoSample, _tests),
        (Estimate, _estimates),
        (np.ndarray, _arrays),
        (float, _numbers),
    ):
        chosen = {name: value for name, value in found.items() if isinstance(value, kind)}
        if chosen:
            return draw(chosen, ax)
    raise DeclarationError(
        "fields" if fields else "result",
        got=f"no field {missing[0]!r}" if missing else f"{type(result).__name__} without numbers",
        expected="fields with curves, estimates or numbers",
        mend="pass fields=[...] with names of the result's fields or properties",
    )


def _parts(result: eqx.Module, fields: Sequence[str]) -> Found:
    if isinstance(result, PARTS):
        return {"": result}
    names = fields or [field.name for field in dataclasses.fields(result)]
    return {name: getattr(result, name) for name in names}


def _plain(value: Any) -> np.ndarray | float | None:
    """A real array of at most two axes, or a number."""
    if isinstance(value, Estimate | float) or not eqx.is_inexact_array(value):
        return value if isinstance(value, float) else None
    if not np.ndim(value):
        return float(value)
    return np.asarray(value) if np.ndim(value) < 3 and np.size(value) else None


def _walk(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Curves, estimates and tests in a result, by name."""
    if isinstance(value, Influence):
        value = value.estimate()
    if isinstance(value, LogProbability):
        several = value.estimate.shape != () and np.ndim(value.at) == 1
        value = Curve(value.at, value.estimate, axis="level") if several else value.estimate
    if isinstance(value, Curve | Estimate | TwoSample):
        yield name or "estimate", value
    elif isinstance(value, dict | tuple | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in pairs:
            yield from _walk(part, f"{name} {key}".strip())
    elif isinstance(value, EntropyTable):
        yield name, value.entropy
    elif isinstance(value, eqx.Module) and type(value).__module__.startswith("boltzax"):
        for field in dataclasses.fields(value):
            yield from _walk(getattr(value, field.name), f"{name} {field.name}".strip())


def _curves(found: dict[str, Curve], ax: Axes | None) -> Axes:
    """Curves over the axis of the first of them."""
    ax = axes_of(ax)
    first = next(iter(found.values()))
    for name, each in found.items():
        if each.axis != first.axis:
            continue
        columns = {name: each}
        for place in np.ndindex(each.shape[1:]) if each.value.ndim > 1 else ():
            columns |= {_row(name, place): each[(slice(None), *place)]}
        for label, column in columns.items():
            if column.value.ndim == 1:
                curve(column, ax=ax, label=label.replace("_", " "))
    return ax


def _tests(found: dict[str, TwoSample], ax: Axes | None) -> Axes:
    ax = axes_of(ax, size=(WIDTH, 1.2 + 0.28 * len(found)))
    names = list(found)
    unit = np.array([float(test.detectable) for test in found.values()])
    noise = np.array([float(test.noise) for test in found.values()]) / unit
    value = np.array([float(test.value) for test in found.values()]) / unit
    ax.errorbar(
        0 * noise, names, xerr=HALF_WIDTH * noise, fmt="none", label="equal laws, 95% interval"
    )
    ax.plot(value, names, "o", color=BLUE, label="measured")
    ax.axvline(1.0, color="0.6", ls=":", label="detected with probability 0.95")
    ax.invert_yaxis()
    ax.set(xlabel="distance / detectable distance", ylabel="test")
    legend(ax)
    return ax


def _estimates(found: dict[str, Estimate], ax: Axes | None) -> Axes:
    name, first = next(iter(found.items()))
    if first.value.ndim == 2:
        ax = influence(first, ax=ax, label=name)
        ax.set(xlabel="column", ylabel="row")
        return ax
    rows = {}
    for name, each in found.items():
        rows |= {_row(name, place): each[place] for place in np.ndindex(each.shape)}
    ax = intervals(dict(list(rows.items())[:MOST]), ax=ax)
    ax.set(ylabel="quantity")
    if len(rows) > MOST:
        ax.set_title(f"first {MOST} of {len(rows)}")
    return ax


def _row(name: str, place: tuple[int, ...]) -> str:
    index = f" {', '.join(map(str, place))}" if place else ""
    return f"{name}{index}".replace("_", " ")


def _arrays(found: dict[str, np.ndarray], ax: Axes | None) -> Axes:
    lines = {name: array for name, array in found.items() if array.ndim == 1}
    if not lines:
        (name, first), *_ = found.items()
        return _estimates({name: Estimate.exact(first)}, ax)
    ax = axes_of(ax)
    for i, (name, array) in enumerate(lines.items()):
        ax.plot(array, label=name.replace("_", " "), markevery=0.05, **series(i))
    ax.set(xlabel="index", ylabel="value")
    legend(ax)
    return ax


def _numbers(found: dict[str, float], ax: Axes | None) -> Axes:
    return _estimates({name: Estimate.exact(value) for name, value in found.items()}, ax)
