"""Populations of weighted particles: how they are resampled."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree


def resampled(
    key: PRNGKeyArray, population: PyTree, log_weights: Float[Array, " particle"]
) -> PyTree:
    """Particles drawn in proportion to their weights, copies next to each other."""
    source = systematic(key, log_weights)
    return jax.tree.map(lambda leaf: leaf[source], population)


def systematic(
    key: PRNGKeyArray, log_weights: Float[Array, " particle"]
) -> Int[Array, " particle"]:
    """Systematic resampling: indices, in order. A particle of weight 0 (or NaN) is never taken.

    Each particle is copied as often as its share of the weight says, rounded up or down (Carpenter,
    Clifford & Fearnhead 1999, IEE Proc. Radar Sonar Navig. 146:2).
    """
    count = log_weights.shape[0]
    bad = ~jnp.isfinite(log_weights)
    log_weights = jnp.where(bad, -jnp.inf, log_weights)
    cumulative = jnp.cumsum(jax.nn.softmax(log_weights))
    places = (jax.random.uniform(key) + jnp.arange(count, dtype=cumulative.dtype)) / count
    places = jnp.maximum(places, jnp.finfo(places.dtype).tiny)
    return jnp.clip(jnp.searchsorted(cumulative, places * cumulative[-1]), 0, count - 1)
