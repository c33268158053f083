"""A model that is given with a measure is the declared one with other weights, or is refused."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.observe._reference_losses import _best_mean

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2))
Y = np.tanh(X @ [1.0, -0.5]) + 0.1 * RNG.normal(size=40)
DATA = bx.Empirical((X, Y))


class Bent(eqx.Module):
    weight: jax.Array
    bend: Callable = eqx.field(static=True, default=jnp.tanh)

    def __call__(self, x):
        return self.bend(self.weight @ x)


class Plain(Bent):
    pass


def function(scale):
    return bx.models.Function(lambda w, x: scale * (w @ x), jnp.ones(2))


def defaults(scale):
    return bx.models.Function(lambda w, x, scale=scale: scale * (w @ x), jnp.ones(2))


def sums(shape):
    return bx.models.Function(lambda w, x: w[0] * x[0] + w[1] * x[1], jnp.ones(shape))


OTHERS = {
    "static field": (Bent(jnp.ones(2)), Bent(jnp.ones(2), jnp.sin)),
    "class": (Bent(jnp.ones(2)), Plain(jnp.ones(2))),
    "what a function encloses": (function(1.0), function(2.0)),
    "defaults": (defaults(1.0), defaults(2.0)),
    "code": (sums(2), function(1.0)),
    "shape": (sums(2), sums(3)),
    "activation": (
        eqx.nn.MLP(2, "scalar", 2, 1, jnp.tanh, key=jax.random.key(0)),
        eqx.nn.MLP(2, "scalar", 2, 1, jnp.sin, key=jax.random.key(0)),
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_model_is_refused(name):
    declared, other = OTHERS[name]
    gibbs = bx.compile(bx.SquaredError(declared, DATA), bx.Normal(), marginalise=False)
    for verb in (gibbs.energy_of, gibbs.position):
        with pytest.raises(bx.DeclarationError) as error:
            verb(other)
        assert error.value.argument == "model"


SAME = {
    "static field": lambda: Bent(jnp.asarray([0.3, 0.2])),
    "function made again": lambda: eqx.tree_at(lambda m: m.params, function(1.0), jnp.zeros(2)),
    "partial": lambda: Bent(jnp.zeros(2), functools.partial(jax.nn.leaky_relu, negative_slope=0.1)),
    "weights of numpy": lambda: eqx.tree_at(lambda m: m.weight, Bent(jnp.ones(2)), np.ones(2)),
}


@pytest.mark.parametrize("name", SAME)
def test_the_energy_of_other_weights_is_that_of_the_model(name):
    declared, other = SAME[name](), jax.tree.map(lambda leaf: 0.5 * leaf, SAME[name]())
    energy = bx.SquaredError(declared, DATA)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    np.testing.assert_allclose(gibbs.energy_of(other), energy.value(other), rtol=1e-12)


def test_values_of_sums_and_multiples():
    declared = Bent(jnp.ones(2))
    energy = bx.SquaredError(declared, DATA)
    value = float(energy.value(declared))
    for combined, factor in ((2 * energy, 2.0), (energy / 0.5, 2.0), (energy + 3 * energy, 4.0)):
        np.testing.assert_allclose(combined.value(declared), factor * value, rtol=1e-12)
    with pytest.raises(bx.DeclarationError, match="one real number"):
        energy / "2"


def stopped(w, x):
    return jax.lax.stop_gradient(w[0]) * x[0] + w[1] * x[1]


@jax.custom_vjp
def backward(v):
    return v


backward.defvjp(lambda v: (v, None), lambda _, slope: (slope,))

DERIVATIVES = {
    "plain": (lambda w, x: w @ x, True),
    "kink": (lambda w, x: jax.nn.relu(w @ x), True),
    "reverse mode alone": (lambda w, x: backward(w @ x), True),
    "stop_gradient": (stopped, False),
    "straight through": (
        lambda w, x: w @ x + jax.lax.stop_gradient(jnp.round(w @ x) - w @ x),
        False,
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in ("plain", "stop_gradient") else pytest.mark.slow)
        for n in DERIVATIVES
    ],
)
def test_a_gradient_of_another_function_is_seen_without_a_metropolis_test(name):
    fn, right = DERIVATIVES[name]
    weights = jnp.asarray(np.linalg.lstsq(X, Y, rcond=None)[0])
    energy = bx.SquaredError(bx.models.Function(fn, weights), DATA)
    gibbs = bx.compile(energy, bx.Normal(), beta=2.0, marginalise=False)
    run = {"key": jax.random.key(0), "chains": 2, "warmup": 10, "draws": 10, "throw": False}
    for start in (None, gibbs.position()):  # at a minimum every slope is zero
        if right:
            bx.sample(gibbs, bx.SGLD(1e-3), start=start, **run)
        else:
            with pytest.raises(bx.DeclarationError, match="gradient that is not that"):
                bx.sample(gibbs, bx.SGLD(1e-3), start=start, **run)
    bx.sample(gibbs, bx.RandomWalk(), **run)


def test_the_loss_of_the_best_constant_keeps_its_digits_far_from_zero():
    with jax.enable_x64(False):
        for offset in (0.0, 1e4, 1e5):
            labels = np.asarray(Y + offset, np.float32)
            model = bx.models.Function(lambda w, x: w[0] + w[1] * x[0], jnp.asarray([offset, 0.0]))
            energy = bx.SquaredError(model, bx.Empirical((np.asarray(X, np.float32), labels)))
            gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
            best, _ = _best_mean(energy, gibbs)
            exact = 0.5 * np.sum((labels - labels.mean(dtype=np.float64)) ** 2)
            np.testing.assert_allclose(best, exact, rtol=1e-3)


def test_complex_numbers_are_not_averaged():
    with pytest.raises(bx.DeclarationError, match="real numbers"):
        bx.Estimate.of_series(np.ones((4, 20)) * 1j)
    energy = bx.SquaredError(Bent(jnp.ones(2)), DATA)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    trace = bx.sample(
        gibbs, bx.RandomWalk(), key=jax.random.key(0), warmup=10, draws=10, throw=False
    )
    with pytest.raises(bx.DeclarationError, match="real numbers"):
        trace.mean(lambda model: jnp.exp(1j * model.weight[0]))
