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
from ..sample import Level, RandomWalk, anneal
from ._free_energy import free_energy
from ._log_probability_result import Reading, never_positive, nothing

BETAS = np.geomspace(1.0, 256.0, 9)
"""Inverse temperatures in units of the typical shortfall of a draw of the prior."""

THIN = 5
"""Steps of the walk from one draw to the next."""


class Shortfall(AbstractTerm):
    """`E(w) = max(0, target - level(w))`: zero exactly where the level is reached."""

    model: PyTree
    function: Callable
    target: Array

    def value(self, model):
        level = self.function(model)
        return jnp.where(level < self.target, self.target - level, jnp.zeros((), level.dtype))

    def estimate(self, model, key):
        return self.value(model)


def tempered(
    level: Level, target: float, key: PRNGKeyArray, samples: int, chains: int, memory: int
) -> tuple[Reading, int]:
    """`log Z(T) + log P_T[E = 0]` at a T at which about half of the draws reach the level."""
    term = Shortfall(level.gibbs.declared, level.function, jnp.asarray(target, float))
    potential = EnergyPotential((Plain(jnp.ones(()), term),))
    gibbs = dataclasses.replace(level.gibbs, potential=potential)
    key_scale, key_run = jax.random.split(key)
    missing = np.asarray(_energies(gibbs, jax.random.split(key_scale, 256), memory))
    scale = float(np.median(np.where(np.isfinite(missing), missing, 0.0)))
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
    hit = Estimate.of_series(reached[place], exact=True).map(jnp.log)
    estimate = never_positive(hit - free_energy(trace)[place])
    return Reading(estimate, float(estimate.standard_error), trace.status), evaluations


@eqx.filter_jit
def _energies(gibbs: Gibbs, keys: PRNGKeyArray, memory: int) -> Array:
    return map_within(lambda key: gibbs.energy(gibbs.sample_prior(key)), keys, memory)
