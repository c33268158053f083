"""In which order structures die along a dial, with probabilities by the bootstrap."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias, final

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..core import (
    Count,
    Curve,
    DeclarationError,
    Estimate,
    Fraction,
    Key,
    Said,
    numpy_generator,
    text_of_values,
    typed,
)
from ._characteristic import NEAR, place_of

Several: TypeAlias = Annotated[
    Mapping[str, Curve | Sequence[Curve]],
    Said(
        "a dictionary from name to a survival curve, or to one of each replicate",
        "pass e.g. {'parity': curve, 'memory': curve}",
    ),
]
FEW = 5
"""Units below which an order that is not decided is said to rest on few of them."""
NO_PLACE = "does not significantly cross the level along the dial"
BLOCKS = 10
"""Most blocks that a chain is cut into."""
EFFECTIVE = 10
"""Effective draws that a block holds at least."""


@typed
@final
class DeathOrder(eqx.Module):
    """Where on the dial each structure dies, and how sure the order is.

    Args:
        names: From the one that survives longest to the first to die.
        places: Where each survival crosses the level, `[name]`; over replicates the mean.
        outlives: Probability that the survival of the row crosses the level at a
            higher setting than that of the column, `[name, name]`; ties count half.
        sure: Probability of the whole order.
        replicates: Independent nets; 1 for one of each, whose chains are resampled instead.
        units: What the probabilities rest on: replicates, or blocks of the chains; the fewest of
            any curve, infinite for exact ones. Below 2 all is undecided.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    places: Estimate
    outlives: Float[np.ndarray, "name name"]
    sure: float
    replicates: int = eqx.field(static=True)
    units: float = eqx.field(static=True)

    @property
    def undecided(self) -> tuple[tuple[str, str], ...]:
        """Neighbours in the order whose probability lies between .025 and .975."""
        pairs = itertools.pairwise(range(len(self.names)))
        unsure = [(i, j) for i, j in pairs if not self.outlives[i, j] >= 0.975]
        return tuple((self.names[i], self.names[j]) for i, j in unsure)

    @text_of_values
    def __repr__(self) -> str:
        lines = [
            f"Order of death over {self.replicates} replicates, probability {self.sure:.3g}, the "
            "one that lives longest first:"
        ]
        for name, place in zip(self.names, self.places, strict=True):
            crosses = np.isfinite(float(place.value))
            lines += [f"  {name}: {place!r}" if crosses else f"  {name}: {NO_PLACE}"]
        lines += [f"  undecided: {a} or {b}" for a, b in self.undecided]
        if self.undecided and self.units < FEW:
            kind = "replicates" if self.replicates > 1 else "blocks of independent draws"
            lines += [f"  few {kind} ({self.units:g}): add some to decide"]
        return "\n".join(lines)


@typed
def order_of_death(
    curves: Several, level: Fraction = 0.5, *, key: Key, resamples: Count = 2000
) -> DeathOrder:
    """Where each survival crosses a level, the order of these places, and how sure it is.

    The mean over units is redrawn by a bootstrap with normal weights, studentised: deviations from
    it have the law of Student's t by the number of units. Replicates (independent nets) are such
    units, which covers the spread between nets and the error of each. Of a single net they are the
    chains, cut into blocks that hold at least ten effective draws; that covers the error of this
    net alone. A chain that holds fewer is one unit, and one unit decides nothing. Between the
    settings around it each place also moves by the error of its interpolation.

    Args:
        curves: Survivals along a dial, over the same settings. Curves of one replicate come from
            one `along_dial`, so that they share their draws.
        level: Of the survival.
        key: For the bootstrap.
        resamples: Of the bootstrap.

    Returns:
        A `DeathOrder`. A survival that stays above the level along the whole dial dies beyond its
        end: in the order it comes first, and its place is NaN or infinite.

    Raises:
        DeclarationError: For fewer than two names, unequal numbers of replicates, curves over other
            settings, of several numbers, or of fewer than two points.
    """
    each = {name: [c] if isinstance(c, Curve) else list(c) for name, c in curves.items()}
    counts = {len(replicates) for replicates in each.values()}
    if len(each) < 2 or len(counts) != 1 or not min(counts):
        raise DeclarationError(
            "curves",
            got=f"{len(each)} names with {sorted(counts)} replicates",
            expected="at least two names with equal numbers of replicates",
            mend="pass one curve a name, or one a name and replicate",
        )
    _check_alike([curve for replicates in each.values() for curve in replicates])
    count = counts.pop()
    generator = numpy_generator(key)
    if count > 1:
        found = np.array(
            [[_place(curve, level) for curve in replicates] for replicates in each.values()]
        )
        gaps = np.array([[_between(curve, level) for curve in row] for row in each.values()])
        sizes, below, above = gaps.mean(axis=1).T  # replicates share the settings
        places, units = Estimate.of_replicates(found.T).widened(sizes), float(count)
        x = np.asarray(next(iter(each.values()))[0].x)
        inside = np.clip(found, x.min(), x.max())  # what lives on dies at the end or later
        drawn = (inside.mean(1) + _deviations(inside.T, resamples, generator)).T
        shifts = sizes * generator.normal(size=(resamples, len(each)))
        drawn += np.clip(shifts, below, above).T
        known = np.ptp(inside[:, None] - inside[None], axis=-1) > 0
    else:
        alone = [replicates[0] for replicates in each.values()]
        places = Estimate.stack([place_of(c, level) for c in alone])
        drawn, units = _resampled(alone, level, places, generator, resamples)
        known = np.ones((len(each), len(each)), bool)
    middle = np.median(drawn, axis=1)
    middle = np.where(np.isnan(middle), np.asarray(places.value), middle)
    order = np.argsort(-np.nan_to_num(middle, nan=-np.inf), kind="stable")
    drawn, places, known = drawn[order], places[order], known[order][:, order]
    above = (drawn[:, None] > drawn[None]) & known[..., None]
    below = (drawn[:, None] < drawn[None]) & known[..., None]
    outlives = 0.5 + 0.5 * np.mean(above.astype(float) - below, axis=-1)
    pairs = range(len(each) - 1)
    sure = float(np.mean(np.all([above[i, i + 1] for i in pairs], axis=0)))
    names = tuple(np.array(list(each))[order].tolist())
    return DeathOrder(names, places, outlives, sure, count, units)


def _check_alike(curves: Sequence[Curve]) -> None:
    """Raise `DeclarationError` unless all are curves of one number over the same settings."""
    first = curves[0]
    for curve in curves:
        if curve.value.ndim != 1 or len(curve) < 2:
            raise DeclarationError(
                "curves",
                got=f"a curve with values of shape {curve.shape}",
                expected="one number at each of two settings or more",
                mend="take one of several, curve[:, i], or add settings",
            )
        same = (curve.axis, curve.unit, len(curve)) == (first.axis, first.unit, len(first))
        if not same or not np.allclose(np.asarray(curve.x), np.asarray(first.x)):
            raise DeclarationError(
                "curves",
                got=f"curves over {len(first)} settings of {first.axis} and {len(curve)} of "
                f"{curve.axis}, which are not the same",
                expected="curves over the same settings of one dial",
                mend="measure all along one dial: along_dial(dial, settings, ...); two dials are "
                "compared at matched survival, by degrade.selectivity(kept, lost)",
            )


def _deviations(rows: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Deviations `[resample, *shape]` of the mean over units `[unit, *shape]`, of Student's law.

    Of one unit they are NaN: it does not tell its spread.
    """
    units = len(rows)
    if units < 2:
        return np.full((resamples, *rows.shape[1:]), np.nan)
    weights = generator.normal(size=(resamples, units))
    size = np.sqrt(generator.chisquare(units - 1, size=(resamples, 1)) * units)
    centred = rows - rows.mean(0)
    return np.tensordot(weights / size, centred, axes=1)


def _place(curve: Curve, level: float) -> float:
    """Where a survival crosses the level; infinite if it is on one side of it at all points."""
    place = float(place_of(curve, level).value)
    above = np.asarray(curve.value) >= level
    if np.isfinite(place) or (np.any(above) and not np.all(above)):
        return place
    return np.inf if np.all(above) else -np.inf


def _between(curve: Curve, level: float) -> tuple[float, float, float]:
    """What the settings leave open of a crossing: the error of the place beyond that of the values,
    and how far the neighbouring settings lie below and above it; 0 where nothing crosses."""
    x = np.asarray(curve.x, float)
    logs = bool(np.all(x > 0))
    scaled = curve.over(np.log(x), f"log {curve.axis}") if logs else curve
    place = scaled.crossing(level, near=NEAR)
    value = float(place.value)
    if not np.isfinite(value):
        return 0.0, 0.0, 0.0
    lines = scaled.crossings(level)
    near = lines[int(np.argmin(np.abs(np.asarray(lines.value) - value)))]
    square = float(place.standard_error) ** 2 - float(near.standard_error) ** 2
    size = square**0.5 if square > 0 else 0.0  # also where the values have no errors
    ends = np.sort(np.asarray(scaled.x, float))
    right = int(np.clip(np.searchsorted(ends, float(near.value)), 1, len(ends) - 1))
    low, high = min(ends[right - 1], value), max(ends[right], value)
    if not logs:
        return size, low - value, high - value
    middle = np.exp(value)
    return size * middle, np.exp(low) - middle, np.exp(high) - middle


def _resampled(
    curves: Sequence[Curve],
    level: float,
    places: Estimate,
    generator: np.random.Generator,
    resamples: int,
) -> tuple[np.ndarray, float]:
    """Crossings `[curve, resample]` of curves whose draws are resampled in blocks, and units."""
    pieces = _pieces(curves)
    rows: dict[str, list[np.ndarray]] = {}
    for curve in curves:
        for source, each in ({} if curve.influence is None else curve.influence.rows).items():
            rows.setdefault(source, []).append(_blocks(np.asarray(each), pieces[source]))
    # curves of one source share its draws
    moved = {s: _deviations(np.stack(r, 1), resamples, generator) for s, r in rows.items()}
    taken = dict.fromkeys(moved, 0)
    units = [float(len(each[0])) for each in rows.values()]
    crossings = []
    for i, curve in enumerate(curves):
        values = np.broadcast_to(np.asarray(curve.value, float), (resamples, len(curve)))
        if curve.influence is None:
            noise, count = _noise(curve, resamples, generator)
            values, units = values + noise, [*units, count]
        else:
            for source in curve.influence.rows:
                values = values + moved[source][:, taken[source]]
                taken[source] += 1
        shifts = _between(curve, level)[0] * generator.normal(size=resamples)
        found = _crossing(curve, values, level, float(places.value[i]), shifts)
        crossings.append(np.where(np.all(np.isfinite(values), axis=1), found, np.nan))
    return np.array(crossings), min(units, default=np.inf)


def _noise(
    curve: Curve, resamples: int, generator: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Errors of an estimate, independent from point to point, by Student's law of its ess."""
    error, ess = np.asarray(curve.standard_error), np.asarray(curve.ess)
    count = float(np.min(ess[error != 0], initial=np.inf))
    noise = generator.normal(size=(resamples, len(curve))) * error
    if np.isfinite(count):
        freedom = max(count - 1, 1e-3)
        noise = noise / np.sqrt(generator.chisquare(freedom, size=(resamples, 1)) / freedom)
    return noise, count


def _pieces(curves: Sequence[Curve]) -> dict[str, int]:
    """Into how many blocks the chains of each source are cut: what the slowest point allows."""
    pieces: dict[str, int] = {}
    for curve in curves:
        if curve.influence is None:
            continue
        ess = np.asarray(curve.influence.estimate().ess)
        for source, rows in curve.influence.rows.items():
            chains, draws = rows.shape[-2:]
            effective = np.min(ess[np.isfinite(ess)], initial=draws * chains) / chains
            count = int(np.clip(effective / EFFECTIVE, 1, min(BLOCKS, draws)))
            pieces[source] = min(count, pieces.get(source, count))
    return pieces


def _blocks(rows: np.ndarray, pieces: int) -> np.ndarray:
    """Means over blocks of the chains, `[block, point]`."""
    chains, draws = rows.shape[-2:]
    length = draws // pieces
    cut = rows[..., draws - pieces * length :]
    return cut.reshape(*rows.shape[:-2], chains * pieces, length).mean(-1).T


def _crossing(
    curve: Curve, values: np.ndarray, level: float, near: float, shifts: np.ndarray
) -> np.ndarray:
    """Where each row of values crosses the level, nearest to a place; infinite beyond the ends.

    Each is shifted, but not beyond the settings between which it lies.
    """
    x = np.asarray(curve.x, float)
    order = np.argsort(x)
    x, values = x[order], values[:, order]
    scale = np.log(x) if np.all(x > 0) else x
    above = values >= level
    left, right = values[:, :-1], values[:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(above[:, :-1] != above[:, 1:], (level - left) / (right - left), np.nan)
    found = scale[:-1] + share * np.diff(scale)
    place = np.log(near) if np.all(x > 0) else near
    place = place if np.isfinite(place) else scale[-1]
    distance = np.where(np.isnan(found), np.inf, np.abs(found - place))
    best = np.argmin(distance, axis=1)
    rows = np.arange(len(values))
    beyond = np.where(above[:, 0], np.inf, -np.inf)
    inside = np.isfinite(distance[rows, best])
    chosen = np.where(inside, found[rows, best], 0.0)
    chosen = np.exp(chosen) if np.all(x > 0) else chosen
    return np.where(inside, np.clip(chosen + shifts, x[best], x[best + 1]), beyond)
