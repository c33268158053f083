"""Everything that is declared, compiled or returned can be pickled and copied."""

import copy
import functools
import pickle
import re
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ np.array([1.0, 2.0, 3.0]) + RNG.normal(size=40)
DATA = bx.Empirical((X, Y))


def line(p, x):
    return jnp.dot(p, x)


@jax.jit
def decorated(x):
    return x + jnp.sin(x)


class Polynomial(eqx.Module):
    """Linear in features that are picked by integers."""

    weight: jax.Array
    powers: jax.Array

    def __call__(self, x):
        return jnp.dot(self.weight, x[0] ** self.powers)


class Net(eqx.Module):
    """Layers of equinox with an activation (`eqx.nn.MLP` holds a lambda of its own)."""

    layers: list
    activation: Callable = eqx.field(static=True)

    def __call__(self, x):
        return self.layers[1](self.activation(self.layers[0](x)))[0]


def net(activation):
    return Net([eqx.nn.Linear(3, 2, key=KEY), eqx.nn.Linear(2, 1, key=KEY)], activation)


MODELS = {
    "moments": bx.models.Function(line, jnp.ones(3)),
    "integers": Polynomial(jnp.ones(4), jnp.arange(4)),
    "tanh": bx.models.MLP((3, 2, 1), key=KEY),
    "readout": bx.models.TwoLayer(2, dim=3, activation=jax.nn.gelu, key=KEY),
    "relu": net(jax.nn.relu),
    "decorated": net(decorated),
    "partial": net(functools.partial(jax.nn.leaky_relu, negative_slope=0.1)),
    "silu": bx.models.MLP((3, 2, 1), jax.nn.silu, key=KEY),
}
WAYS = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
}


def same(a, b):
    """Equal numbers, leaf by leaf (functions are not compared)."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    numbers = (map(unkeyed, pair) for pair in pairs if isinstance(pair[0], jax.Array | np.ndarray))
    return all(np.array_equal(x, y, equal_nan=True) for x, y in numbers)


def unkeyed(leaf):
    """The numbers of a key, or an array as it is."""
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("marginalise", [False, None])
def test_measures(model, way, marginalise):
    energy = bx.SquaredError(MODELS[model], DATA)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=marginalise)
    other = WAYS[way](gibbs)
    w = gibbs.position()
    assert float(other.log_prob(w)) == float(gibbs.log_prob(w))
    if model != "partial":  # a partial is equal to itself alone
        assert jax.tree.structure(other) == jax.tree.structure(gibbs)
    assert float(WAYS[way](energy).value(MODELS[model])) == float(energy.value(MODELS[model]))


@functools.cache
def run() -> bx.Trace:
    gibbs = bx.compile(bx.SquaredError(MODELS["moments"], DATA), bx.Normal(), marginalise=False)
    return bx.sample(gibbs, bx.RandomWalk(), key=KEY, warmup=20, draws=20, throw=False)


@functools.cache
def ladder() -> bx.Trace:
    exact = bx.compile(bx.SquaredError(MODELS["moments"], DATA), bx.Normal())
    return bx.anneal(exact, [0.5, 1.0], key=KEY, draws=8, keep=True)


def contract() -> bx.Contract:
    before, after = bx.Interface.thresholds(-0.5, 0.5), bx.Interface.thresholds(-0.2, 0.2)
    return bx.Contract(bx.Component(bx.models.MLP((1, 1), key=KEY), bx.Normal()), before, after)


@functools.cache
def local() -> bx.LocalLearningCoefficient:
    weight = jnp.asarray(np.linalg.lstsq(X, Y, rcond=None)[0])
    fitted = bx.SquaredError(bx.models.Function(line, weight), DATA)
    kernel = bx.RandomWalk()
    return bx.local_learning_coefficient(fitted, key=KEY, kernel=kernel, max_gradients=2000)


RESULTS = {
    "trace": run,
    "ladder": ladder,
    "slice": lambda: ladder()[1:],
    "estimate": lambda: bx.learning_coefficient(run()),
    "curve": lambda: bx.coefficient_curve(run(), [0.5, 1.0]),
    "free energy": lambda: bx.free_energy(ladder()),
    "local": local,
    "entropy": lambda: bx.interfaces.entropy(contract(), key=KEY, by="direct", samples=1000),
    "certificate": lambda: bx.interfaces.certify(contract(), bx.models.MLP((1, 1), key=KEY)),
    "measure": lambda: 2 * DATA + DATA,
    "status": lambda: bx.Status.successful,
}
"""A result of every kind, made quickly."""
NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in ("entropy", "certificate") else name
    for name in RESULTS
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_results(name, way):
    value = RESULTS[name]()
    other = WAYS[way](value)
    assert type(other) is type(value) and same(other, value)
    shown, expected = (re.sub("0x[0-9a-f]+", "", repr(each)) for each in (other, value))
    assert shown == expected
