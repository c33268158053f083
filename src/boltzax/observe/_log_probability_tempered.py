"""The probability of reaching a level, from the partition function of the shortfall."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..compile import EnergyPotential, Gibbs, Plain
from ..core import Estimate, Status, map_within
from ..declare import AbstractTerm
from ..sample import Level, RandomWalk, anneal, levels_of_draws
from ._free_energy import free_energy
from ._log_probability_result import Reading, never_positive, nothing, of_hits

BETAS = np.geomspace(1.0, 256.0, 9)
"""Inverse temperatures in units of the typical shortfall of a draw of the prior."""

THIN = 5
"""Steps of the walk from one draw to the next."""


class Shortfall(AbstractTerm):
    """`E(w) = max(0, target - level(w))`: zero exactly where the level is reached.

    `worst` where the level is -inf or not a number: a law of weights needs finite energies, and
    the probability of `E = 0` does not depend on them.
    """

    model: PyTree
    function: Callable
    target: Array
    worst: Array

    def value(self, model):
        level = self.function(model)
        missing = jnp.where(level > -jnp.inf, self.target - level, self.worst)
        return jnp.where(level >= self.target, 0.0, missing).astype(level.dtype)

    def estimate(self, model, key):
        return self.value(model)


def tempered(
    level: Level, target: float, key: PRNGKeyArray, samples: int, chains: int, memory: int
) -> tuple[Reading, int]:
    """`log Z(T) + log P_T[E = 0]` at a T at which about half of the draws reach the level.

    Where half of the prior reaches it, T is infinite: independent draws of the prior.
    """
    key_scale, key_run = jax.random.split(key)
    keys = jax.random.split(key_scale, 256)
    missing = np.asarray(_energies(_measure(level, target, np.inf), keys, memory))
    if np.mean(missing == 0) >= 0.5:
        values = np.asarray(levels_of_draws(level, key_run, samples, memory))
        hits = int(np.sum(values >= values.dtype.type(target)))
        return of_hits(hits, samples), len(missing) + samples
    known = np.isfinite(missing)
    scale = float(np.median(np.where(known, missing, 0.0)))
    gibbs = _measure(level, target, float(np.max(missing, where=known, initial=0.0)) or 1.0)
    steps = max(200, samples // chains)
    warmup = steps // 2
    trace = anneal(
        gibbs, (1 / scale if scale > 0 else 1.0) * BETAS, RandomWalk(), key=key_run, chains=chains,
        warmup=warmup, draws=steps, thin=THIN, throw=False,
    )  # fmt: skip
    reached = (np.asarray(trace.energy) == 0).astype(float)  # [beta, chain, draw]
    fraction = reached.mean(axis=(1, 2))
    place = int(np.argmax(fraction >= 0.5)) if np.any(fraction >= 0.5) else len(fraction) - 1
    bridges = trace.bridges
    assert bridges is not None
    walkers = int(np.prod(bridges.energy.shape[:2]))  # [beta, chain, draw]
    evaluations = len(missing) + walkers * (warmup + THIN * steps)
    if fraction[place] == 0:
        return nothing(evaluations, Status.not_mixed), evaluations
    estimate = never_positive(_log_fraction(reached[: place + 1]) - free_energy(trace)[place])
    return Reading(estimate, float(estimate.standard_error), trace.status), evaluations


def _measure(level: Level, target: float, worst: float) -> Gibbs:
    """The measure whose energy is the shortfall."""
    bound, most = jnp.asarray(target, float), jnp.asarray(worst, float)
    term = Shortfall(level.gibbs.declared, level.function, bound, most)
    potential = EnergyPotential((Plain(jnp.ones(()), term),))
    return dataclasses.replace(level.gibbs, potential=potential)


def _log_fraction(reached: np.ndarray) -> Estimate:
    """The logarithm of the fraction of draws that reach the level, at the last of the levels
    `[beta, chain, draw]`.

    If all do, their own series has no error: Wilson's interval of as many independent draws as the
    least of the hotter levels has.
    """
    if not np.all(reached[-1]):
        return Estimate.of_series(reached[-1]).map(jnp.log)
    ess = np.asarray(Estimate.of_series(reached).ess)
    draws = max(int(np.min(ess, where=np.isfinite(ess), initial=reached[-1].size)), 1)
    return of_hits(draws, draws).estimate


@eqx.filter_jit
def _energies(gibbs: Gibbs, keys: PRNGKeyArray, memory: int) -> Array:
    return map_within(lambda key: gibbs.energy(gibbs.sample_prior(key)), keys, memory)
