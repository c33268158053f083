"""A run built by hand: energies of a regular model, draws of the prior."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import boltzax as bx
from boltzax.sample import Bridges, Trace

CHAINS, DRAWS, WIDTH = 4, 60, 3
BETAS = np.exp(np.array([0.0, 2.0, 4.0, 6.0]))


def built(betas=BETAS, dimension: float = 4.0, keep: bool = True, bridged: bool = True) -> Trace:
    """`β E ~ Gamma(d/2)` exactly: a regular model, of which λ̂ = d/2 and F = (d/2) log β + const."""
    net = bx.models.TwoLayer(width=WIDTH, key=jax.random.key(0))
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-1, 1))
    gibbs = bx.compile(bx.SquaredError(net, bx.GaussianMeasure(), target=bx.zero), prior)
    rng = np.random.default_rng(1)
    betas = np.asarray(betas, float)
    shape = (*betas.shape, CHAINS, DRAWS)
    scale = np.where(betas > 0, betas, 1.0).reshape(*betas.shape, 1, 1)
    energy = rng.gamma(dimension / 2, size=shape) / scale
    ones = jnp.ones(shape)
    w = {"embedding": jnp.asarray(rng.logistic(size=(*shape, WIDTH, 1)))} if keep else None
    bridges = _bridges(betas, energy) if bridged and betas.ndim else None
    return Trace(
        gibbs.at(betas),
        jnp.asarray(energy),
        0.1 * ones,
        0.8 * ones,
        ones < 0,
        w,
        bx.Status.successful,
        bridges,
    )


def _bridges(betas, energy) -> Bridges:
    levels = np.concatenate([[0.0], betas])
    hot = np.full((1, *energy.shape[1:]), 3.0)
    energies = np.concatenate([hot, energy])
    gaps = np.diff(levels)[:, None, None]
    return Bridges(
        jnp.asarray(levels),
        jnp.asarray(energies),
        jnp.zeros(energies.shape),
        jnp.asarray(gaps * energies[:-1]),
        jnp.asarray(gaps * energies[1:]),
        jnp.linspace(0.9, 0.3, len(betas)),
        jnp.array([2, 1, 3, 1]),
        tuple(range(1, len(levels))),
    )


@pytest.fixture(scope="session")
def curve() -> Trace:
    return built()


@pytest.fixture(scope="session")
def single() -> Trace:
    return built(np.array(8.0))


@pytest.fixture(scope="session")
def make():
    """The builder itself, for other runs."""
    return built


@pytest.fixture(autouse=True)
def closed():
    """pyplot keeps the figures that were made without axes."""
    yield
    plt.close("all")
