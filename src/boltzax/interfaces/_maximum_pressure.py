"""Pressure: how much entropy either side gains as a threshold of an interface moves."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..core import DeclarationError, Estimate, typed
from ._maximum import ChainTables


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
        return "\n  ".join(lines)


@typed
def pressure(chain: ChainTables, members: Sequence[int], joint: int = 0) -> Pressure:
    """The pressures on one interface of a chain of members, by central differences in the family.

    For each threshold the two members are taken that differ from the given one in this threshold
    alone, and least, to either side: `(H(t₊) - H(t₋)) / (t₊ - t₋)`; NaN without both of them, or
    where one of them was never satisfied. The difference is exact to second order in the spacing of
    the levels, and its errors know that the draws are shared.

    Raises:
        DeclarationError: Families of unions of boxes and a joint that does not exist.
    """
    if not 0 <= joint < len(chain) - 1:
        raise DeclarationError(
            "joint",
            got=str(joint),
            expected=f"0 to {len(chain) - 2}",
            mend="joint i lies between components i and i + 1",
        )
    family = chain.family(joint)
    if not family.single:
        raise DeclarationError(
            "families",
            got="members that are unions of boxes",
            expected="one box for each value",
            mend="take a threshold family",
        )
    rows = chain.pairs(members)
    (u, b, _), (v, _, a) = rows[joint], rows[joint + 1]
    writer, reader = chain.tables[u], chain.tables[v]
    bounds = np.stack([family.lower[:, :, 0], family.upper[:, :, 0]], axis=2)
    shape = bounds.shape[1:]
    flat = bounds.reshape(len(family), -1)
    values, errors = np.full((3, flat.shape[1]), np.nan), np.full((3, flat.shape[1]), np.nan)
    for c in range(flat.shape[1]):
        ends = _neighbours(flat, int(members[joint]), c)
        if ends is None:
            continue
        low, high = ends
        width = flat[high, c] - flat[low, c]
        sides = (
            (writer, [(b, high), (b, low)]),
            (reader, [(high, a), (low, a)]),
        )
        slopes = [_slope(table, *pairs, width) for table, pairs in sides]
        joined = slopes[0][1] + slopes[1][1] if u == v else None
        for k, (value, influence) in enumerate(slopes):
            values[k, c], errors[k, c] = value, _error(influence)
        values[2, c] = values[0, c] + values[1, c]
        errors[2, c] = np.hypot(*errors[:2, c]) if joined is None else _error(joined)
    draws = float(min(writer.draws, reader.draws))
    made = [
        Estimate(*(jnp.asarray(x.reshape(shape)) for x in (v, e, 0 * v + draws, 0 * v + 1)))
        for v, e in zip(values, errors, strict=True)
    ]
    return Pressure(*made)


def _neighbours(flat: np.ndarray, member: int, c: int) -> tuple[int, int] | None:
    """The nearest members below and above that differ in one bound alone."""
    other = np.delete(flat, c, axis=1)
    alike = np.flatnonzero((other == other[member]).all(1) & np.isfinite(flat[:, c]))
    below = alike[flat[alike, c] < flat[member, c]]
    above = alike[flat[alike, c] > flat[member, c]]
    if not (len(below) and len(above) and np.isfinite(flat[member, c])):
        return None
    return int(below[flat[below, c].argmax()]), int(above[flat[above, c].argmin()])


def _slope(table, high, low, width) -> tuple[float, np.ndarray]:
    """`(log p₊ - log p₋) / width`, and what each draw adds to it."""
    up, down = (np.asarray(table.satisfied(*pair), float) for pair in (high, low))
    if not (up.any() and down.any()):
        return np.nan, np.full(len(up), np.nan)
    return np.log(up.mean() / down.mean()) / width, (up / up.mean() - down / down.mean()) / width


def _error(influence: np.ndarray) -> float:
    return float(np.sqrt(influence.var() / influence.size))
