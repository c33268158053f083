"""Models are called with products of matrices in full, whatever is asked of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

KEY = jax.random.key(0)
SEEN: list[str | None] = []
"""The precisions in which the model below was called."""


def seen(w, x):
    SEEN.append(jax.config.jax_default_matmul_precision)
    return jnp.tanh(w @ x)


X = np.linspace(-1.0, 1.0, 40).reshape(20, 2)
MODEL = bx.models.Function(seen, jnp.array([0.3, -0.2]))
ENERGY = bx.SquaredError(MODEL, bx.Empirical((X, X[:, 0])))


def called(fn):
    """What the observables below look at: the model at a place."""
    return fn(jnp.ones(2))


@functools.cache
def gibbs():
    return bx.compile(ENERGY, bx.Normal())


@functools.cache
def trace():
    return bx.sample(gibbs(), bx.RandomWalk(), key=KEY, warmup=20, draws=40, throw=False)


def reduced():
    reduce = {"at a place": bx.Mean(called, 2)}
    return bx.sample(gibbs(), bx.SGLD(1e-3), key=KEY, draws=8, reduce=reduce, throw=False)


@functools.cache
def contract():
    inside = bx.Interface.boxes({0: [((0.0, 0.0), (1.0, 1.0))]})
    return bx.Contract(
        bx.Component(MODEL, bx.Normal()), inside, bx.Interface.intervals({0: [(0.0, None)]})
    )


CALLS = {
    "compile": lambda: bx.compile(ENERGY, bx.Normal()),
    "declared": lambda: ENERGY.value(MODEL),
    "gradient": lambda: jax.grad(gibbs().log_prob)(gibbs().position()),
    "relative": lambda: gibbs().relative_to(),
    "sample": reduced,
    "evaluate": lambda: trace().evaluate(called),
    "influence": lambda: bx.influence(trace(), ENERGY),
    "susceptibility": lambda: bx.susceptibility(trace(), called, ENERGY),
    "margin": lambda: contract().margin(MODEL),
    "entropy": lambda: bx.interfaces.entropy(contract(), key=KEY, by="direct", samples=1000),
    "anneal": lambda: bx.anneal(gibbs(), [0.5], bx.RandomWalk(), key=KEY, draws=8, throw=False),
    "coefficient": lambda: bx.local_learning_coefficient(
        ENERGY, key=KEY, kernel=bx.RandomWalk(), max_gradients=2000
    ),
}
DEAR = {"anneal", "coefficient"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in DEAR else ()) for n in CALLS]
)
def test_every_verb_calls_models_in_full(name):
    trace(), contract()  # what is declared is called once, for its shapes alone
    SEEN.clear()
    CALLS[name]()
    assert SEEN and set(SEEN) == {"highest"}
    with jax.default_matmul_precision("tensorfloat32"):
        SEEN.clear()
        CALLS["compile"]()
    assert set(SEEN) == {"tensorfloat32"}


def test_a_measure_without_coordinates_multiplies_in_full():
    line = bx.models.Function(lambda w, x: w @ x, jnp.zeros(2))
    exact = bx.compile(bx.SquaredError(line, bx.Empirical((X, X[:, 0]))), bx.Normal())
    program = jax.make_jaxpr(lambda beta: exact.at(beta).log_prob({}))(jnp.ones(()))
    assert "dot_general" in str(program)
    assert str(program).count("dot_general") == str(program).count("(Precision.HIGHEST")
