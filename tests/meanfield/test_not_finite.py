"""Numbers of the user that are not finite are refused by name, before a solver sees them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

mf = bx.meanfield
KEY = jax.random.key(0)
PAIR = bx.Empirical(jnp.array([[1.0], [-1.0]])).normalized()
NEURON = mf.Neuron(mf.Unit(jnp.tanh, dim=1), prior=bx.Normal())


def problem(target=lambda x: x[0]):
    return mf.SelfConsistency(NEURON, target, PAIR, temperature=0.3)


GOOD = problem()
FIXED = mf.solve(GOOD, order=64, replicates=0, throw=False)
BROKEN = dataclasses.replace(FIXED, field=FIXED.field * jnp.nan)
FRAMES = {"a": jnp.ones((3, 4, 2)).at[1, 2, 0].set(jnp.inf)}
FUNCTIONS = jnp.ones((3, 2)).at[1, 0].set(jnp.nan)


def nan(x):
    return x[0] / 0.0 - x[0] / 0.0


def gapped(x):
    """Finite at one of the two data alone."""
    return jnp.log(x[0])


BAD = problem(gapped)
UNKNOWN = mf.Background(jnp.full(2, jnp.nan), nan)
CASES = {
    "solve": ("target", lambda: mf.solve(BAD, order=64)),
    "solve, all": ("target", lambda: mf.solve(problem(nan), order=64)),
    "solve, start": ("start", lambda: mf.solve(GOOD, order=64, start=BROKEN)),
    "probe": ("target", lambda: mf.probe(BAD, FIXED.background, order=64)),
    "probe, background": ("background", lambda: mf.probe(GOOD, UNKNOWN, order=64)),
    "foreground": ("background", lambda: mf.foreground(GOOD, UNKNOWN, 8, key=KEY, steps=2)),
    "train": ("target", lambda: mf.train(BAD, 8, key=KEY, steps=2)),
    "train, nodes": ("target", lambda: mf.train(BAD, 8, key=KEY, steps=2, batch=None)),
    "lazy": ("target", lambda: mf.Background.lazy(BAD, order=64)),
    "from_array": ("values", lambda: mf.Background.from_array(jnp.array([1.0, jnp.nan]), GOOD)),
    "from_net": ("net", lambda: mf.Background.from_net(gapped, GOOD)),
    "from_kernel": ("kernel", lambda: mf.Background.from_kernel(lambda a, b: a[0] / 0, GOOD)),
    "from_kernel, target": ("target", lambda: mf.Background.from_kernel(lambda a, b: a @ b, BAD)),
    "response": ("change", lambda: FIXED.law.response(jnp.array([jnp.nan, 0.0]))),
    "mixing": ("frames", lambda: mf.mixing(FRAMES)),
    "data_kernel": ("functions", lambda: mf.data_kernel(FUNCTIONS)),
    "data_kernel, weights": (
        "weights",
        lambda: mf.data_kernel(jnp.ones((3, 2)), jnp.array([0.5, jnp.inf])),
    ),
    "neuron_functions": (
        "points",
        lambda: mf.neuron_functions(GOOD, GOOD.draw_net(KEY, 3), jnp.full((2, 1), jnp.nan)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_named(name):
    argument, call = CASES[name]
    with pytest.raises(bx.DeclarationError, match="not finite") as caught:
        call()
    assert caught.value.argument == argument


def test_the_count_is_that_of_the_numbers():
    with pytest.raises(bx.DeclarationError, match="1 of 2 numbers"):
        mf.solve(BAD, order=64)


def test_draws_of_nodes_are_refused_a_mean_because_they_share_the_error_of_the_nodes():
    """Few nodes, many draws: the error of independent draws is far too small, that over other nodes
    is not."""
    fn, truth, means = (lambda model: model.embedding[0] ** 2), [], []
    for seed in range(8):
        law = mf.probe(GOOD, FIXED.background, order=64, seed=seed, refinements=0)
        ensemble = law.ensemble(KEY, 20_000)
        means.append(float(np.mean(ensemble.map(fn))))
        alone = bx.Estimate.of_samples(ensemble.map(fn))
        truth.append(float(alone.standard_error))
    with pytest.raises(bx.DeclarationError, match="along `subset`.*nodes of a rule") as caught:
        ensemble.mean(fn)
    assert "of_replicates" in caught.value.mend
    spread = np.std(means, ddof=1)
    fine = mf.probe(GOOD, FIXED.background, order=16384).ensemble(KEY, 100_000).map(fn)
    assert spread > 2 * np.mean(truth)
    assert abs(bx.Estimate.of_replicates(np.array(means)).z_score(np.mean(fine))) < 4
