"""Ladders of inverse temperatures."""

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PRNGKeyArray

from ..compile import Gibbs
from ..core import Constraint, Refused, numbers


def _vector(good: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], Any]:
    """Finite numbers as a vector of the host; traced ones as they are."""

    def take(value: Any) -> Any:
        if isinstance(value, Tracer):
            return value
        array = np.atleast_1d(np.asarray(numbers(value, float, host=True), float))
        if array.ndim != 1 or not array.size or not np.all(np.isfinite(array) & good(array)):
            raise Refused
        return array

    return take


Betas: TypeAlias = Annotated[
    Array | np.ndarray | Sequence[float],
    Constraint(
        "a vector of finite, non-negative numbers",
        "pass e.g. jnp.exp(jnp.arange(0.0, 61.0, 2.0))",
        _vector(lambda array: array >= 0),
    ),
]
"""Inverse temperatures in any order, zero allowed."""
PositiveBetas: TypeAlias = Annotated[
    Array | np.ndarray | Sequence[float],
    Constraint(
        "a vector of finite, positive numbers",
        "pass e.g. trace.betas * jnp.linspace(0.5, 2.0, 16); leave out beta = 0",
        _vector(lambda array: array > 0),
    ),
]
"""Inverse temperatures above zero, in any order."""


def first_ladder(
    gibbs: Gibbs, requested: np.ndarray, spacing: float, key: PRNGKeyArray
) -> np.ndarray:
    """Zero, the requested betas, and geometric fillers at most `spacing` apart in log beta.

    The first positive level is where the prior's mean energy, or its spread if that is larger or if
    energies have both signs, costs about one nat. A few huge energies (a heavy tail) count at most
    as a thousand times the median.
    """
    energies = np.asarray(_energies(gibbs.at(0.0), key), float)
    finite = energies[np.isfinite(energies)]
    typical = 1.0
    if finite.size:
        most = 1e3 * np.median(np.abs(finite))
        capped = np.clip(finite, -most, most) if most > 0 else finite
        mean = capped.mean() if finite.min() >= 0 else 0.0
        typical = float(max(mean, np.std(capped)))
    positive = requested[requested > 0]
    lowest = 1 / max(typical, 1e-300)
    if positive.size:
        lowest = min(lowest, positive.min())
    return fill(np.concatenate([[0.0, lowest], positive]), spacing)


@eqx.filter_jit
def _energies(gibbs: Gibbs, key: PRNGKeyArray) -> Array:
    """Energies of 32 draws of the prior."""
    return jax.vmap(gibbs.energy)(jax.vmap(gibbs.sample_prior)(jax.random.split(key, 32)))


def fill(betas: np.ndarray, spacing: float) -> np.ndarray:
    """Add geometric points so that neighbours are at most `spacing` apart in log beta."""
    betas = np.unique(betas)
    positive = betas[betas > 0]
    parts = [betas[:1], positive[:1]]
    for low, high in itertools.pairwise(positive):
        count = int(np.ceil(np.log(high / low) / spacing - 1e-9))
        inner = np.exp(np.linspace(np.log(low), np.log(high), max(count, 1) + 1))
        parts.append(np.append(inner[1:-1], high))
    return np.unique(np.concatenate(parts))


def refine(betas: np.ndarray, swap_rate: np.ndarray, least: float) -> np.ndarray:
    """Put a level into every gap whose swaps are accepted less often than `least`."""
    extra = []
    for k in np.flatnonzero(~(swap_rate >= least)):
        low, high = betas[k], betas[k + 1]
        extra.append(high / 4 if low == 0 else np.sqrt(low * high))
    return np.unique(np.concatenate([betas, extra]))


def round_trips(who: Array) -> np.ndarray:
    """Journeys coldest-hottest-coldest completed by replicas, by chain.

    `who[draw, level, chain]` is the replica found at each level.
    """
    host = np.asarray(who)
    draws, levels, chains = host.shape
    trips = np.zeros(chains)
    last = np.zeros((chains, levels), int)  # 0 unknown, 1 hottest, 2 coldest
    started = np.zeros((chains, levels), bool)
    each = np.arange(chains)
    for t in range(draws):
        cold, hot = host[t, -1], host[t, 0]
        trips += started[each, cold] & (last[each, cold] == 1)
        last[each, cold], started[each, cold] = 2, True
        last[each, hot] = 1
    return trips
