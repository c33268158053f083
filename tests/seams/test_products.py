"""Matrices on accelerators, which multiply float32 in fewer digits unless told otherwise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.sample import MOST_ROUNDING, rounding

KEY = jax.random.key(0)
SIZE = 2000
BETA = SIZE / np.log(SIZE)


def product(a, b):
    """A product as an accelerator makes it: 11 bits of each factor, unless all are asked for."""
    if jax.config.jax_default_matmul_precision in (None, "tensorfloat32"):
        a, b = (jax.lax.reduce_precision(x, 8, 10) for x in (a, b))
    return a @ b


def network(w, x):
    return product(w["outer"], jnp.tanh(product(w["inner"], x)))


@pytest.fixture(scope="module")
def in_float32():
    with jax.enable_x64(False):
        yield


@pytest.fixture(scope="module")
def measures(in_float32):
    """The Gibbs measure of the network, and the same with products that are always in full."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SIZE, 10)).astype(np.float32)
    y = (np.sin(x[:, 0]) + 0.1 * rng.normal(size=SIZE)).astype(np.float32)
    weights = {"inner": rng.normal(size=(32, 10)) / 3, "outer": rng.normal(size=32) / 6}
    weights = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), weights)

    def full(w, x):
        return jnp.dot(
            w["outer"], jnp.tanh(jnp.dot(w["inner"], x, precision="highest")), precision="highest"
        )

    def measure(fn):
        energy = bx.SquaredError(bx.models.Function(fn, weights), bx.Empirical((x, y)))
        return bx.compile(energy, bx.Normal(), beta=BETA, marginalise=False)

    return measure(network), measure(full)


def places(gibbs, count=4):
    start = gibbs.position()
    keys = jax.random.split(KEY, count)
    noise = {
        path: jax.vmap(lambda k, s=leaf.shape: jax.random.normal(k, s))(keys)
        for path, leaf in start.items()
    }
    return {path: leaf + 0.1 * noise[path] for path, leaf in start.items()}


VERBS = {
    "energy": lambda gibbs, w: gibbs.energy(w),
    "a sum over data": lambda gibbs, w: gibbs.energy_of(gibbs.model(w)),
    "estimate": lambda gibbs, w: gibbs.energy_estimate(w, KEY),
    "log-density": lambda gibbs, w: gibbs.log_prob(w) / BETA,
    "in a program": lambda gibbs, w: eqx.filter_jit(gibbs.energy)(w),
    "gradient": lambda gibbs, w: jnp.linalg.norm(jax.grad(gibbs.energy)(w)["params['inner']"]),
    "relative": lambda gibbs, w: gibbs.relative_to(gibbs.model(w)).energy(gibbs.position()),
}


@pytest.mark.parametrize("verb", VERBS)
def test_numbers_are_those_of_full_products(measures, verb):
    gibbs, full = measures
    w = jax.tree.map(lambda leaf: leaf[0], places(gibbs))
    found, exact = (float(VERBS[verb](each, w)) for each in (gibbs, full))
    np.testing.assert_allclose(found, exact, rtol=2e-6)


def test_a_chosen_precision_is_left_as_it_is_and_seen(measures):
    """Neighbours are cut to the same numbers: what is cut off is looked at."""
    gibbs, full = measures
    w = places(gibbs)
    size = float(gibbs.energy(jax.tree.map(lambda leaf: leaf[0], w)))
    assert rounding(gibbs, w, size, KEY) < MOST_ROUNDING
    exact = jax.vmap(full.energy)(w)
    with jax.default_matmul_precision("tensorfloat32"):
        off = BETA * np.asarray(jax.vmap(gibbs.energy)(w) - exact)
        seen = rounding(gibbs, w, size, KEY)
    assert np.std(off) > 1.0  # nats: the precision chosen is used
    assert 0.5 * np.std(off) < seen < 2 * np.std(off)


@pytest.mark.slow
def test_a_run_with_cut_products_says_so(measures):
    gibbs = measures[0].relative_to()
    run = {"key": KEY, "chains": 2, "warmup": 20, "draws": 20, "throw": False}
    assert bx.sample(gibbs, bx.MALA(), **run).status != bx.Status.rounding
    with jax.default_matmul_precision("tensorfloat32"):
        assert bx.sample(gibbs, bx.MALA(), **run).status == bx.Status.rounding
