"""What functions of the user return: other things than arrays are refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

mf = bx.meanfield
KEY = jax.random.key(0)
X = np.linspace(-1, 1, 6)[:, None]
DATA = bx.Empirical((X, 0.3 * X[:, 0]))
LINE = bx.models.Function(lambda w, x: w * x[0], jnp.zeros(()))
ENERGY = bx.SquaredError(LINE, DATA)
GIBBS = bx.compile(ENERGY, bx.Normal(), marginalise=False)
PRIOR = bx.Ensemble.prior(GIBBS, 6, key=KEY)
TRACE = bx.sample(GIBBS, bx.RandomWalk(), key=KEY, warmup=8, draws=8, throw=False)
PAIR = bx.Empirical(jnp.array([[1.0], [-1.0]])).normalized()
NEURON = mf.Neuron(mf.Unit(jnp.tanh, dim=1), prior=bx.Normal())
PROBLEM = mf.SelfConsistency(NEURON, lambda x: x[0], PAIR, temperature=0.1)

TAKERS = {
    "Ensemble.map": ("fn", PRIOR.map),
    "Ensemble.mean": ("fn", PRIOR.mean),
    "Trace.evaluate": ("fn", TRACE.evaluate),
    "Trace.mean": ("fn", TRACE.mean),
    "Mean": ("fn", lambda fn: bx.sample(GIBBS, bx.RandomWalk(), key=KEY, warmup=8, draws=8,
                                        reduce={"a": bx.Mean(fn, 2)}, throw=False)),
    "susceptibility": ("observable", lambda fn: bx.susceptibility(TRACE, fn, ENERGY)),
    "integrate": ("fn", DATA.integrate),
    "Subsampled.estimate": ("fn", lambda fn: bx.Subsampled(DATA, 2).estimate(fn, KEY)),
    "log_probability": ("level", lambda fn: bx.log_probability(GIBBS, fn, 0.0, key=KEY)),
    "compile, model": ("model", lambda fn: bx.compile(
        bx.SquaredError(bx.models.Function(fn, jnp.zeros(())), DATA), bx.Normal())),
    "compile, loss": ("energy", lambda fn: bx.compile(bx.PerDatum(LINE, DATA, fn), bx.Normal())),
    "compile, target": ("target", lambda fn: bx.compile(
        bx.SquaredError(LINE, bx.Empirical(X), fn), bx.Normal())),
    "SelfConsistency": ("target", lambda fn: mf.SelfConsistency(NEURON, fn, PAIR, 0.1)),
    "from_net": ("net", lambda fn: mf.Background.from_net(fn, PROBLEM)),
    "from_kernel": ("kernel", lambda fn: mf.Background.from_kernel(fn, PROBLEM)),
    "Estimate.map": ("fn", lambda fn: bx.Estimate.exact(1.0).map(fn)),
    "Influence.map": ("fn", lambda fn: bx.Influence.of(np.ones((2, 3))).map(fn)),
}  # fmt: skip
"""The name of the function among the arguments, and a call with a function."""


@pytest.mark.parametrize("returned", ["text", None, jnp.tanh], ids=["text", "None", "function"])
@pytest.mark.parametrize("name", TAKERS)
def test_what_is_no_array_is_named(name, returned):
    argument, call = TAKERS[name]
    with pytest.raises(bx.DeclarationError) as caught:
        call(lambda *given: returned)
    assert caught.value.argument == argument


@pytest.mark.parametrize("returned", ["text", None, {"a": "text"}, (jnp.tanh,), np.array(["text"])])
def test_the_error_says_what_was_returned(returned):
    with pytest.raises(bx.DeclarationError, match="a function that returns .*(text|None|tanh)"):
        PRIOR.map(lambda model: returned)


@pytest.mark.parametrize("returned", [1.0, 2, np.float32(1), {"a": jnp.ones(2), "b": None}, {}])
def test_numbers_and_trees_of_arrays_are_taken(returned):
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(PRIOR.map(lambda model: returned))]
    assert shapes == [(6, *np.shape(leaf)) for leaf in jax.tree.leaves(returned)]
