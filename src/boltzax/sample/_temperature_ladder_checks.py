"""Checks of a ladder: upper bounds on its free energy, and its round trips."""

from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ..compile import Gibbs, UnitPotential, Weights
from ..core import DeclarationError, Estimate, Key, Model, typed
from ._bennett import bar_series
from ._free_energy_bounds import Bounds
from ._gaussian_bounds import LARGEST, PER_BETA, flatten, search
from ._temperature_ladder import PositiveBetas
from ._trace import Bridges

SHARE = 0.25
"""Part of a run's evaluations that its bounds may take, beyond the first beta."""

MOST_BETAS = 6
"""At most so many of the requested betas have bounds."""

WELL_CONDITIONED = 1e12
"""Largest beta times mass at which potentials of integrated weights are bounded, in float64."""

SEEN = 512
"""Draws of each level among which minima are sought."""

MEMORY = 2**26
"""Bytes of draws that are kept for the bounds if the user keeps none."""

TRIPS = 10
"""Round trips from which divergent trajectories are no failure of a ladder."""


@typed
def free_energy_bounds(
    gibbs: Gibbs,
    betas: PositiveBetas,
    *,
    key: Key,
    seeds: Sequence[Model] = (),
) -> Bounds:
    """Upper bounds on the free energy `F(β) = -log Z(β)`, without a ladder.

    Trials begin at the minima found by descent from `seeds`, from the declared model and from the
    five best of 512 draws of the prior. Each is a Gaussian, of Laplace's approximation or of
    walkers that settled at the minimum, from which 40 particles are carried to the measure (see
    `Bounds`). A region that no seed leads to is not seen: a bound says that `F` is not higher, not
    that it is not lower.

    Args:
        gibbs: from `compile`, with at most 64 sampled coordinates.
        betas: inverse temperatures, positive.
        key: for the random numbers.
        seeds: models of the declared structure, e.g. trained weights.

    Returns:
        `Bounds`, in nats, at the betas in falling order.

    Raises:
        DeclarationError: for betas that are not positive, seeds of another structure or outside the
            prior's support, or a measure with more coordinates.
    """
    values = np.sort(np.asarray(betas))[::-1]
    if not 1 <= gibbs.dim <= LARGEST:
        raise DeclarationError(
            "gibbs",
            got=f"{gibbs.dim} sampled coordinates",
            expected=f"1 to {LARGEST}: the trials have full covariances",
            mend="freeze some weights, or compare F with runs on restricted priors (bx.phases)"
            if gibbs.dim
            else "all weights were integrated out: bx.anneal gives F in closed form",
        )
    given = [gibbs.position(seed) for seed in seeds]
    key_prior, key_search = jax.random.split(key)
    flat, prior = flatten(gibbs, key_prior)
    places = _vectors(flat, [*given, *_declared(gibbs)])
    none = [None] * len(values)
    return search(flat, list(values), prior, places, none, none, key_search)


def _declared(gibbs: Gibbs) -> list[Weights]:
    """The place of the declared model, if it lies in the prior's support."""
    try:
        return [gibbs.position()]
    except DeclarationError:
        return []


def _vectors(flat, places: list[Weights]) -> np.ndarray:
    rows = [np.asarray(_as_vectors(flat, jax.tree.map(lambda x: x[None], w)))[0] for w in places]
    rows = [row for row in rows if np.all(np.isfinite(row))]
    return np.stack(rows) if rows else np.zeros((0, len(flat.scale)), np.asarray(flat.scale).dtype)


def ladder_bounds(
    gibbs: Gibbs,
    betas: np.ndarray,
    requested: np.ndarray,
    draws: Weights | None,
    evaluations: float,
    seeds: list[Weights],
    key: PRNGKeyArray,
) -> Bounds | None:
    """Bounds for a run along `betas`, at its coldest requested beta and as many as are paid for.

    `draws` of the run have axes `[level, chain, draw]`. None if the measure has too many
    coordinates, or no requested beta can be bounded.
    """
    positive = np.unique(requested[requested > 0])
    if isinstance(gibbs.potential, UnitPotential) or gibbs.dim > LARGEST:
        return None
    if gibbs.parameters > gibbs.dim:  # weights were integrated out
        largest = max(float(mass) for mass in gibbs.masses)
        positive = positive[positive * largest <= WELL_CONDITIONED]
    if not len(positive):
        return None
    count = int(np.clip(SHARE * evaluations / PER_BETA, 1, min(MOST_BETAS, len(positive))))
    places = np.unique(np.linspace(len(positive) - 1, 0, count).round().astype(int))[::-1]
    chosen = positive[places]
    key_prior, key_search = jax.random.split(key)
    flat, prior = flatten(gibbs, key_prior)
    given = _vectors(flat, [*seeds, *_declared(gibbs)])
    levels = [int(np.argmin(np.abs(betas - beta))) for beta in chosen]
    none = [None] * len(levels)
    if draws is None:
        return search(flat, list(chosen), prior, given, none, none, key_search)
    at = {level: _rows(flat, draws, level) for level in {*levels, *(k // 2 for k in levels)}}
    own, hotter = [at[k] for k in levels], [at[k // 2] for k in levels]
    # draws of every level: a phase that the coldest level has lost was seen at a hotter one
    each = [_rows(flat, draws, level, SEEN) for level in range(len(betas))]
    starts = np.concatenate([prior, *each])
    return search(flat, list(chosen), starts, given, own, hotter, key_search)


def draws_fit(gibbs: Gibbs, count: int) -> bool:
    """Whether so many draws may be kept for the bounds."""
    return gibbs.dim <= LARGEST and 8.0 * count * gibbs.dim <= MEMORY


def _rows(flat, draws: Weights, level: int, most: int = 2000) -> np.ndarray:
    """At most so many draws of a level (or twice that) as vectors."""
    leaves = {p: np.asarray(x)[level].reshape(-1, *x.shape[3:]) for p, x in draws.items()}
    step = max(1, next(iter(leaves.values())).shape[0] // most)
    some = {path: leaf[::step] for path, leaf in leaves.items()}
    return np.asarray(_as_vectors(flat, some))


@eqx.filter_jit
def _as_vectors(flat, many: Weights) -> Array:
    return jax.vmap(flat.vector)(many)


@typed
def above_bounds(bridges: Bridges) -> np.ndarray:
    """By how many nats the run's `F` contradicts its bounds, at each of their betas.

    Bennett's `F`, less four standard errors, less the bounds with their errors: a positive number
    is a contradiction. Empty without bounds.

    Args:
        bridges: Those of a run of `anneal`.
    """
    if bridges.bounds is None:
        return np.zeros(0)
    betas = np.asarray(bridges.betas)
    rows = [int(np.argmin(np.abs(betas - beta))) for beta in np.asarray(bridges.bounds.betas)]
    # energies that never change give the free energy of the region exactly
    free = Estimate.of_series(np.asarray(bar_series(bridges))[rows], exact=True)
    return bridges.bounds.excess(free)


def contradiction(bridges: Bridges | None) -> str:
    """The contradiction between a run and its bounds, in words; empty if there is none."""
    if bridges is None or bridges.bounds is None:
        return ""
    excess = above_bounds(bridges)
    worst = int(np.argmax(excess))
    if not excess[worst] > 0:
        return ""
    beta = float(np.asarray(bridges.bounds.betas)[worst])
    highest = float(np.asarray(bridges.bounds.highest)[worst])
    return f", F at beta = {beta:.4g} above its bound of {highest:.6g} by {excess[worst]:.3g} nats"


def counted(divergent: Array, trips: np.ndarray) -> np.ndarray:
    """The divergent trajectories that count as failures of a ladder of replicas.

    A divergent trajectory is a move that was cut short: the level stays invariant, and hotter
    levels supply the regions that it does not reach. So divergences above the prior's level do not
    count if replicas made ten round trips, unless more than half of a level's trajectories diverge.
    """
    host = np.asarray(divergent)
    share = host.mean(axis=(1, 2))
    level = np.arange(host.shape[0])
    excused = (trips.sum() >= TRIPS) & (share <= 0.5) & (level > 0)
    return host & ~excused[:, None, None]
