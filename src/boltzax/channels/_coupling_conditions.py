"""Conditions under which the sign of a coupling is known without an estimate."""

import warnings
from collections.abc import Callable
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..compile import Gibbs, Weights
from ..core import as_argument, map_within, typed
from ..sample import Ensemble

CHECKED = 256
"""Draws on which the conditions are checked, at most."""
ROUNDING = 256.0
"""Changes of so many units of rounding of the largest are none."""


@typed
class CouplingConditions(eqx.Module):
    """Whether Harris' inequality gives the sign of the covariance of two strengths.

    For independent weights, two functions that rise or fall together in every weight have a
    covariance of at least 0; of at most 0, if in every weight one rises where the other falls
    (Harris 1960, Proc. Camb. Phil. Soc. 56:13; for laws that are not independent see Fortuin,
    Kasteleyn & Ginibre 1971, Commun. Math. Phys. 22:89). They may be functions of the weights, or
    of their absolute values alone. A weight on which one of the two does not depend may do
    anything to the other.

    Args:
        independent: Whether the law of the ensemble is a prior with independent weights, as its
            measure says. Models that came from elsewhere are not looked at.
        monotone_in: In what both are monotone, at all draws: the weights, their absolute values,
            or neither.
        together: 1 if they rise together, -1 if against each other, 0 if they share no weight; NaN
            if neither.
        draws: On how many draws `monotone_in` and `together` were looked at.

    What is known, and what is only seen: `independent` is read from the declaration. That the
    strengths are monotone is seen on draws, by the signs of their slopes there (beyond rounding)
    and by pairs of draws, of which each weight is taken from the one that is further. This can
    refute it, and does not prove it: a strength that turns where no draw lies passes.
    """

    independent: bool = eqx.field(static=True)
    monotone_in: Literal["w", "|w|", "neither"] = eqx.field(static=True)
    together: float = eqx.field(static=True)
    draws: int = eqx.field(static=True)

    @property
    def harris_sign(self) -> int | None:
        """The sign that the inequality gives where the conditions hold as they do on the draws (0:
        no covariance); None if they are refuted, or the weights not known to be independent."""
        held = self.independent and self.monotone_in != "neither"
        return int(self.together) if held and np.isfinite(self.together) else None

    @property
    def guaranteed(self) -> int | None:
        """Deprecated: `harris_sign`, which is no guarantee."""
        told = "CouplingConditions.guaranteed is now .harris_sign; the old name will go with the"
        warnings.warn(f"{told} next release", DeprecationWarning, stacklevel=3)  # past equinox
        return self.harris_sign

    def __repr__(self) -> str:
        words = {None: "no sign by Harris", 1: ">= 0", -1: "<= 0", 0: "= 0: no shared weight"}
        law = "independent weights" if self.independent else "weights not known to be independent"
        how = {"neither": "not monotone together"}.get(
            self.monotone_in, f"monotone in {self.monotone_in}"
        )
        return f"{words[self.harris_sign]} ({law}, {how} on {self.draws} draws)"


def coupling_conditions(
    ensemble: Ensemble, intended: Callable, unintended: Callable
) -> CouplingConditions:
    """The conditions for two strengths, checked on draws of an ensemble."""
    gibbs = ensemble.gibbs
    if ensemble.change is not None or gibbs.parameters != gibbs.dim or gibbs.beta.ndim:
        return CouplingConditions(False, "neither", np.nan, 0)
    w = {p: x.reshape(-1, *x.shape[len(ensemble.shape) :]) for p, x in ensemble.w.items()}
    count = min(CHECKED, next(iter(w.values())).shape[0])
    w = {path: x[:count] for path, x in w.items()}
    both = (as_argument(intended), as_argument(unintended))
    energies, *looks = jax.tree.map(np.asarray, _looks(gibbs, w, both))
    joint = any(prior.event_dim for prior in gibbs.coordinates.priors.values())
    alone = bool(gibbs.beta == 0) or not np.ptp(energies)
    independent = alone and not joint and not gibbs.coordinates.localisations
    for place, name in enumerate(("w", "|w|")):
        sides = [_directions(look, place) for look in looks]
        if name == "|w|" and any(_differ(look.values, look.flipped).any() for look in looks):
            continue
        together = _together(*sides)
        if np.isnan(together):
            continue
        directions = tuple(np.nan_to_num(each) for each in sides)
        above = _at_larger(gibbs, w, both, directions, place == 1)
        lower = [
            np.any(_differ(look.values, np.asarray(values)) & (np.asarray(values) < look.values))
            for look, values in zip(looks, above, strict=True)
        ]
        if not any(lower):
            return CouplingConditions(independent, name, together, count)
    return CouplingConditions(independent, "neither", np.nan, count)


class _Look(NamedTuple):
    """A strength at the draws `[draw]`, there with the signs of the next draw, and the least and
    largest slopes by each weight and by its absolute value, `[w or |w|, side, weight]`."""

    values: Float[np.ndarray, " draw"]
    flipped: Float[np.ndarray, " draw"]
    slopes: Float[np.ndarray, "coordinate side weight"]


@eqx.filter_jit
def _looks(gibbs: Gibbs, w: Weights, both: tuple[Callable, Callable]) -> tuple:
    """The energies of the draws, and a `_Look` at each of the two strengths."""
    rows, back = _flat(w)
    others = jnp.roll(rows, 1, axis=0)

    def look(strength):
        def at(row):
            return _real(strength(gibbs.model(back(row))))

        def wider(sides, row):
            value, slope = jax.value_and_grad(at)(row)
            both = jnp.stack([slope, slope * jnp.sign(row)])
            low, high = jnp.minimum(sides[:, 0], both), jnp.maximum(sides[:, 1], both)
            return jnp.stack([low, high], axis=1), value

        start = jnp.zeros((2, 2, rows.shape[1]), rows.dtype)
        slopes, values = jax.lax.scan(wider, start, rows)
        flipped = map_within(at, jnp.abs(rows) * jnp.sign(others))
        return _Look(values, flipped, slopes)

    return map_within(lambda row: gibbs.energy(back(row)), rows), *map(look, both)


@eqx.filter_jit
def _at_larger(
    gibbs: Gibbs,
    w: Weights,
    both: tuple[Callable, Callable],
    directions: tuple[Array, Array],
    absolute: bool,
) -> tuple[Array, Array]:
    """Each strength where every weight is that of this draw or the next, whichever is further in
    the direction in which the strength should rise."""
    rows, back = _flat(w)
    others = jnp.roll(rows, 1, axis=0)

    def values(strength, direction):
        place = (jnp.abs(rows), jnp.abs(others)) if absolute else (rows, others)
        chosen = jnp.where(direction * (place[1] - place[0]) > 0, others, rows)
        return map_within(lambda row: _real(strength(gibbs.model(back(row)))), chosen)

    return values(both[0], directions[0]), values(both[1], directions[1])


def _real(number: Array) -> Array:
    """A truth value or a whole number as a real one, which has slopes: 0."""
    return number if jnp.issubdtype(number.dtype, jnp.floating) else number.astype(float)


def _flat(w: Weights) -> tuple[Array, Callable]:
    """Draws as rows `[draw, weight]`, and the way back of one row."""
    _, back = ravel_pytree({path: x[0] for path, x in w.items()})
    return jax.vmap(lambda each: ravel_pytree(each)[0])(w), back


def _directions(look: _Look, coordinate: int) -> np.ndarray:
    """By each weight 1 if the strength rises at all draws, -1 if it falls, NaN if both.

    A strength that varies although it has no slopes has steps: NaN for all weights.
    """
    low, high = look.slopes[coordinate]
    eps = ROUNDING * float(np.finfo(look.slopes.dtype).eps)
    least = eps * max(np.max(np.abs(low)), np.max(np.abs(high)))
    rises, falls = high > least, low < -least
    if not np.any(rises | falls) and np.any(_differ(look.values, look.values[0])):
        return np.full(low.shape, np.nan)
    return np.where(rises & falls, np.nan, rises * 1.0 - falls * 1.0)


def _together(first: np.ndarray, second: np.ndarray) -> float:
    """1 if both rise together in all weights on which both depend, -1 if never, NaN if mixed."""
    shared = (first != 0) & (second != 0)
    product = (first * second)[shared]
    if not shared.any():
        return 0.0
    return float(product[0]) if np.all(product == product[0]) else np.nan


def _differ(one: np.ndarray, other: np.ndarray | float) -> np.ndarray:
    """Where two values differ by more than rounding."""
    eps = ROUNDING * float(np.finfo(one.dtype).eps)
    return np.abs(one - other) > eps * max(np.max(np.abs(one)), float(np.finfo(one.dtype).tiny))
