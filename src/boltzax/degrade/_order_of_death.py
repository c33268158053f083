"""In which order structures die along a dial, with probabilities by the bootstrap."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias, final

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..core import (
    Count,
    Curve,
    DeclarationError,
    Estimate,
    Fraction,
    Influence,
    Key,
    Said,
    text_of_values,
    typed,
)
from ._characteristic import characteristic_temperature

Several: TypeAlias = Annotated[
    Mapping[str, Curve | Sequence[Curve]],
    Said(
        "a dictionary from name to a survival curve, or to one of each replicate",
        "pass e.g. {'parity': curve, 'memory': curve}",
    ),
]
BLOCKS = 10
"""Most blocks that a chain is cut into."""
EFFECTIVE = 4
"""Effective draws that a block holds at least."""


@typed
@final
class DeathOrder(eqx.Module):
    """Where on the dial each structure dies, and how sure the order is.

    Args:
        names: From the one that survives longest to the first to die.
        places: Where each survival crosses the level, `[name]`; over replicates the mean.
        outlives: Probability by the bootstrap that the survival of the row crosses the level at a
            higher setting than that of the column, `[name, name]`; ties count half.
        sure: Probability of the whole order.
        replicates: Independent nets; 1 for one of each, whose chains are resampled instead.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    places: Estimate
    outlives: Float[np.ndarray, "name name"]
    sure: float
    replicates: int = eqx.field(static=True)

    @property
    def undecided(self) -> tuple[tuple[str, str], ...]:
        """Neighbours in the order whose bootstrap probability lies between .025 and .975."""
        pairs = itertools.pairwise(range(len(self.names)))
        unsure = [(i, j) for i, j in pairs if not self.outlives[i, j] >= 0.975]
        return tuple((self.names[i], self.names[j]) for i, j in unsure)

    @text_of_values
    def __repr__(self) -> str:
        lines = [f"Order of death over {self.replicates} replicates, probability {self.sure:.3g}:"]
        lines += [f"  {name}: {self.places[i]!r}" for i, name in enumerate(self.names)]
        lines += [f"  undecided: {a} or {b}" for a, b in self.undecided]
        return "\n".join(lines)


@typed
def order_of_death(
    curves: Several, level: Fraction = 0.5, *, key: Key, resamples: Count = 2000
) -> DeathOrder:
    """Where each survival crosses a level, the order of these places, and how sure it is.

    Replicates (independent nets) are resampled with replacement, which covers the spread between
    nets and the error of each. Of a single net the chains are resampled, cut into blocks that hold
    at least four effective draws; that covers the error of this net alone.

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
        DeclarationError: For fewer than two names, or unequal numbers of replicates.
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
    count = counts.pop()
    if count > 1:
        found = np.array(
            [[_place(curve, level) for curve in replicates] for replicates in each.values()]
        )
        places = Estimate.of_replicates(found.T)
        chosen = _generator(key).integers(count, size=(resamples, count))
        drawn = found[:, chosen].mean(-1)
    else:
        alone = [replicates[0] for replicates in each.values()]
        places = Estimate.stack([characteristic_temperature(c, level) for c in alone])
        drawn = _resampled(alone, level, places, key, resamples)
    order = np.argsort(-np.median(drawn, axis=1), kind="stable")
    drawn, places = drawn[order], places[order]
    above = drawn[:, None] > drawn[None]
    equal = drawn[:, None] == drawn[None]
    outlives = np.mean(above + 0.5 * equal, axis=-1)
    sure = float(np.mean(np.all(drawn[:-1] > drawn[1:], axis=0)))
    return DeathOrder(tuple(np.array(list(each))[order].tolist()), places, outlives, sure, count)


def _place(curve: Curve, level: float) -> float:
    """Where a survival crosses the level; infinite if it is on one side of it at all points."""
    place = float(characteristic_temperature(curve, level).value)
    above = np.asarray(curve.value) >= level
    if np.isfinite(place) or (np.any(above) and not np.all(above)):
        return place
    return np.inf if np.all(above) else -np.inf


def _resampled(
    curves: Sequence[Curve], level: float, places: Estimate, key: Key, resamples: int
) -> np.ndarray:
    """Crossings `[curve, resample]` of curves whose draws are resampled in blocks."""
    generator = _generator(key)
    weights: dict[tuple, np.ndarray] = {}
    crossings = []
    for i, curve in enumerate(curves):
        values = np.broadcast_to(np.asarray(curve.value), (resamples, len(curve)))
        if curve.influence is None:
            noise = generator.normal(size=(resamples, len(curve)))
            values = values + noise * np.asarray(curve.standard_error)
        for source, rows in ({} if curve.influence is None else curve.influence.rows).items():
            blocks = _blocks(np.asarray(rows), curve.influence)
            unit = (source, blocks.shape[-1])
            if unit not in weights:
                weights[unit] = generator.integers(unit[1], size=(resamples, unit[1]))
            values = values + blocks.T[weights[unit]].mean(1)
        crossings.append(_crossing(curve, values, level, float(places.value[i])))
    return np.array(crossings)


def _generator(key: Key) -> np.random.Generator:
    """Numbers of numpy: how many are drawn depends on the data, and would compile anew."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())


def _blocks(rows: np.ndarray, influence: Influence | None) -> np.ndarray:
    """Means over blocks of the chains, `[point, block]`."""
    chains, draws = rows.shape[-2:]
    if draws == 1:
        return rows[..., 0]
    assert influence is not None
    ess = np.asarray(influence.estimate().ess)
    effective = np.min(ess[np.isfinite(ess)], initial=draws * chains) / chains
    pieces = int(np.clip(effective / EFFECTIVE, 1, min(BLOCKS, draws)))
    length = draws // pieces
    cut = rows[..., draws - pieces * length :]
    return cut.reshape(*rows.shape[:-2], chains * pieces, length).mean(-1)


def _crossing(curve: Curve, values: np.ndarray, level: float, near: float) -> np.ndarray:
    """Where each row of values crosses the level, nearest to a place; infinite beyond the ends."""
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
    chosen = np.where(np.isfinite(distance[rows, best]), found[rows, best], beyond)
    return np.exp(chosen) if np.all(x > 0) else chosen
