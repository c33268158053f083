"""Pressure: how much entropy either side gains as a threshold of an interface moves."""

from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np

from ..core import DeclarationError, Estimate, Influence, Whole, typed
from ..declare import check_places
from ._maximum_entropy import ChainTables


@typed
class Pressure(eqx.Module):
    """`∂H/∂t` for every threshold t of an interface, in nats by units of the signal.

    `before` is of the component that writes the signal, `after` of the one that reads it, `total`
    their sum. Indexed `[value, side, dim]`, side 0 the lower bound and 1 the upper. To widen an
    interface relaxes the writer and burdens the reader: the two have opposite signs, and balance
    (`total` 0) where `ΣH` is largest. NaN where a threshold is not free.
    """

    before: Estimate
    after: Estimate
    total: Estimate

    def __repr__(self) -> str:
        lines = ["Pressure(before, after, total):"]
        for v, s, d in np.ndindex(self.total.shape):
            parts = [each[v, s, d] for each in (self.before, self.after, self.total)]
            if not np.isnan(parts[2].value):
                numbers = [(float(p.value), float(p.standard_error)) for p in parts]
                text = ", ".join(f"{value:.4g} ± {error:.2g}" for value, error in numbers)
                lines.append(f"value {v}, {('lower', 'upper')[s]} bound of axis {d}: {text}")
        return "\n  ".join(lines if lines[1:] else [*lines, "no threshold is free"])


@typed
def pressure(tables: ChainTables, members: Sequence[int], joint: Whole = 0) -> Pressure:
    """The pressures on one interface of a chain of members, by central differences in the family.

    For each threshold the two members are taken that differ from the given one in this threshold
    alone, and least, to either side: `(H(t₊) - H(t₋)) / (t₊ - t₋)`; NaN without both of them, or
    where one of them was never satisfied. The difference is exact to second order in the spacing of
    the levels, and its errors know that the draws are shared.

    Args:
        tables: Of `chain_tables`.
        joint: Which of the joints.

    Raises:
        DeclarationError: Families of unions of boxes and a joint that does not exist.
    """
    check_places("joint", [joint], len(tables) - 1)
    family = tables.family(joint)
    if not family.single:
        raise DeclarationError(
            "families",
            got="members that are unions of boxes",
            expected="one box for each value",
            mend="take a threshold family",
        )
    rows = tables.pairs(members)
    (u, b, _), (v, _, a) = rows[joint], rows[joint + 1]
    bounds = np.stack([family.lower[:, :, 0], family.upper[:, :, 0]], axis=2)
    shape = bounds.shape[1:]
    flat = bounds.reshape(len(family), -1)
    columns = []
    for c in range(flat.shape[1]):
        ends = _neighbours(flat, members[joint], c)
        if ends is None:
            columns.append([Estimate.exact(np.nan).unknown(True)] * 3)
            continue
        low, high = ends
        width = flat[high, c] - flat[low, c]
        before = _slope(tables, u, (b, high), (b, low), width)
        after = _slope(tables, v, (high, a), (low, a), width)
        columns.append([each.estimate() for each in (before, after, before + after)])
    made = (Estimate.stack(column) for column in zip(*columns, strict=True))
    return Pressure(*(jax.tree.map(lambda leaf: leaf.reshape(shape), each) for each in made))


def _neighbours(flat: np.ndarray, member: int, c: int) -> tuple[int, int] | None:
    """The nearest members below and above that differ in one bound alone."""
    other = np.delete(flat, c, axis=1)
    alike = np.flatnonzero((other == other[member]).all(1) & np.isfinite(flat[:, c]))
    below = alike[flat[alike, c] < flat[member, c]]
    above = alike[flat[alike, c] > flat[member, c]]
    if not (len(below) and len(above) and np.isfinite(flat[member, c])):
        return None
    return int(below[flat[below, c].argmax()]), int(above[flat[above, c].argmin()])


def _slope(
    tables: ChainTables, place: int, high: tuple[int, int], low: tuple[int, int], width: float
) -> Influence:
    """`(H₊ - H₋) / width` of one table; NaN where one of the two was never satisfied."""
    table = tables.tables[place]
    up, down = (table.influence(*pair, source=f"table {place}") for pair in (high, low))
    seen = bool(table.hits[high] > 0) and bool(table.hits[low] > 0)
    return (up - down) / (width if seen else np.nan)
