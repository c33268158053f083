"""Spreads and covariances over streamed draws, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from boltzax.observe._comoments import Draws, covariance_of_pieces, plan, spread


def test_spreads_and_pieces_of_recorded_numbers():
    chains, count = 2, 40
    rng = np.random.default_rng(0)
    values = rng.normal(size=(chains * count, 3)) + 5.0
    draws = Draws(
        lambda w, _: w, jnp.asarray(values), jnp.zeros(chains * count), plan(chains, count, 3)
    )
    found = spread(draws, first)
    np.testing.assert_allclose(found.mean, values[:, :1].mean(axis=0))
    np.testing.assert_allclose(found.deviation, values[:, :1].std(axis=0, ddof=1))
    whole, pieces = covariance_of_pieces(draws, first, rest)
    np.testing.assert_allclose(whole.value, np.cov(values.T)[:1, 1:], rtol=1e-9)
    centred = values - values.mean(axis=0)
    products = centred[:, :1] * centred[:, 1:]
    halves = [p for chain in products.reshape(chains, count, 2) for p in np.array_split(chain, 10)]
    np.testing.assert_allclose(pieces[:, 0], [p.mean(axis=0) for p in halves], rtol=1e-9)


def first(w: jax.Array) -> jax.Array:
    return w[:1]


def rest(w: jax.Array) -> jax.Array:
    return w[1:]
