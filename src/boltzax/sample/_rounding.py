"""Rounding errors of a log-density, measured at the places of the chains."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..compile import Gibbs, Weights
from ..core import FULL, Status, shortened
from ..declare import subsamplings

MOST_ROUNDING = 0.1
"""Nats of rounding in a log-density: above it acceptances and mean energies are in doubt.

Rounding errors of variance s² act as a random energy: a Metropolis chain stays at places that are
rounded down, and its mean of `β E` is off by about s².
"""

WELL_KNOWN = 1e12
"""Nats that float64 knows to much better than one, whatever they are the sum of."""

TRIALS = 8
"""Neighbours of a place whose energies are compared."""


def rounding(gibbs: Gibbs, w: Weights, size: float, key: PRNGKeyArray) -> float:
    """Standard deviation, in nats, of the rounding of `β E` around the places `w`.

    The energies of neighbours that differ from a place in the last bit of each weight differ by
    rounding alone, or else the weights themselves are not resolved; what such neighbours cannot
    show (the last bit of a large sum) the potential states. Nor do they show that the user has
    chosen to multiply matrices in fewer digits, for neighbours are cut to the same numbers: the
    energies of the places are then compared with those in full. For a `Subsampled` measure a batch
    is looked at, and its variance scaled to all data. In float64 nothing is looked at unless `β E`
    is above 1e12.

    Args:
        gibbs: a measure; with several betas the largest counts.
        w: places, with one leading axis.
        size: the largest energy that was seen, as declared.
        key: which neighbours, and which batch.

    Returns:
        The root mean square over the places.
    """
    beta = jnp.asarray(np.max(np.asarray(gibbs.beta)), gibbs.beta.dtype)
    if all(leaf.dtype == jnp.float64 for leaf in w.values()) and float(beta) * size < WELL_KNOWN:
        return float(beta) * size * float(jnp.finfo(float).eps)
    gibbs = eqx.tree_at(lambda g: g.beta, gibbs, beta)
    ratios = [x.batch_size / x.empirical.size for x in subsamplings(gibbs.potential)]
    share = min(ratios, default=1.0)
    variance, hidden = _scatter(gibbs, w, key)
    variance = np.asarray(variance, float) * share + np.asarray(hidden, float) ** 2
    return float(beta) * float(np.sqrt(np.mean(variance)))


@eqx.filter_jit
def _scatter(
    gibbs: Gibbs, w: Weights, key: PRNGKeyArray
) -> tuple[Float[Array, " place"], Float[Array, " place"]]:
    """Variance of the energy over neighbours of each place, and what they cannot show."""
    key_batch, key_jitter = jax.random.split(key)

    def nudged(key) -> Weights:
        keys = jax.random.split(key, len(w))
        return {path: _nudged(leaf, k) for k, (path, leaf) in zip(keys, w.items(), strict=True)}

    def energies(w: Weights) -> Array:
        return jax.lax.map(lambda at: gibbs.energy_estimate(at, key_batch), w)

    def trial(key) -> Array:
        return energies(nudged(key))

    found = jax.lax.map(trial, jax.random.split(key_jitter, TRIALS))
    variance = jnp.var(found, axis=0, ddof=1)
    hidden = jax.vmap(gibbs.potential.rounding)(found[0])
    if shortened():
        cut = energies(w)
        with jax.default_matmul_precision(FULL):
            cut -= energies(w)
        variance += jnp.var(cut, ddof=1) if cut.size > 1 else cut**2
    return variance, hidden


def _nudged(leaf: Array, key: PRNGKeyArray) -> Array:
    """Each entry moved by the spacing of its floats, up or down, or left."""
    step = jax.random.randint(key, leaf.shape, -1, 2).astype(leaf.dtype)
    return leaf + step * jnp.finfo(leaf.dtype).eps * jnp.abs(leaf)


@eqx.filter_jit
def _few(w: Weights, level: int | None) -> Weights:
    """The places of at most four chains, of one beta of several."""
    return jax.tree.map(lambda leaf: (leaf if level is None else leaf[level])[:4], w)


def rounding_status(gibbs: Gibbs, w: Weights | None, energy: Array, status: Status) -> Status:
    """The status of a run, or `Status.rounding` if rounding errors are large at its last draws.

    Args:
        gibbs: the measure that was sampled.
        w: last places, axes `[*beta, chain]`, or None; of several betas the coldest is looked at.
        energy: the energies of the draws.
        status: what else is known of the run.

    Returns:
        `Status.rounding`, or `status` as it is.
    """
    if w is None or status in (Status.non_finite, Status.interrupted):
        return status
    seen, coldest = np.asarray(energy), int(np.argmax(np.asarray(gibbs.beta)))
    few = _few(w, coldest if gibbs.beta.ndim else None)
    size = float(np.max(np.abs(seen[coldest] if gibbs.beta.ndim else seen)))
    size += abs(float(gibbs.reference_energy))
    found = rounding(gibbs, few, size, jax.random.key(0))
    return status if found < MOST_ROUNDING else Status.rounding
