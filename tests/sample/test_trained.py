"""Models along a training by an optimiser of optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=12)
DATA = bx.Empirical((X, Y), weights=RNG.uniform(0.5, 2.0, 12))
MASS = float(DATA.mass)
SGD, ADAM, LBFGS = optax.sgd(0.1), optax.adam(0.05), optax.lbfgs()


def dot(w, x):
    return jnp.dot(w, x)


def energy(start, data=DATA):
    return bx.SquaredError(bx.models.Function(dot, jnp.asarray(start)), data)


def descended(start, steps, rate=0.1, data=DATA):
    """`w* + (1 - rate H/n)^t (w - w*)`."""
    x, y = data.data
    hessian = x.T @ (data.weights[:, None] * x) / data.mass
    best = np.linalg.solve(hessian, x.T @ (data.weights * y) / data.mass)
    shrink = np.linalg.matrix_power(np.eye(3) - rate * np.asarray(hessian), steps)
    return best + shrink @ (np.asarray(start) - best)


def test_gradient_descent_on_a_quadratic_loss_is_a_power():
    start, steps = np.array([1.0, -2.0, 0.5]), [0, 1, 7, 60]
    models = bx.trained(energy(start), SGD, steps)
    for count, model in zip(steps, models, strict=True):
        np.testing.assert_allclose(model.params, descended(start, count), rtol=1e-5, atol=1e-6)


def test_terms_and_factors_are_those_of_the_energy():
    start = np.ones(3)
    double = bx.trained(2 * energy(start), SGD, [5])[0]
    both = bx.trained(energy(start) + energy(start), SGD, [5])[0]
    exact = descended(start, 5, rate=0.2)
    np.testing.assert_allclose(double.params, exact, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(both.params, exact, rtol=1e-5, atol=1e-6)


def test_terms_over_different_data_are_one_mean_loss():
    start, parts = np.ones(3), (slice(0, 4), slice(4, 12))
    halves = [bx.Empirical((X[p], Y[p]), weights=DATA.weights[p]) for p in parts]
    both = energy(start, halves[0]) + energy(start, halves[1])
    (model,) = bx.trained(both, SGD, [5])
    np.testing.assert_allclose(model.params, descended(start, 5), rtol=1e-5, atol=1e-6)


def test_a_variable_of_flax_at_two_places_is_refused():
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self):
            self.a = self.b = nnx.Param(jnp.ones(3))

        def __call__(self, x):
            return jnp.dot(self.a[...] * self.b[...], x)

    with pytest.raises(bx.DeclarationError, match="nnx.Param at two places"):
        bx.trained(bx.SquaredError(Net(), DATA), SGD, [1])


def test_a_line_search_gets_what_it_needs():
    start = np.array([3.0, 0.0, -3.0])
    (model,) = bx.trained(energy(start), LBFGS, [30])
    np.testing.assert_allclose(model.params, descended(start, 4000), rtol=1e-4, atol=1e-5)


def test_minibatches_are_those_of_the_measure():
    """Each step by hand, with the batch that the measure draws with the key of the step."""
    part, key = bx.Subsampled(DATA, 4), jax.random.key(3)
    (model,) = bx.trained(energy(np.zeros(3), part), SGD, [6], key=key)
    w = np.zeros(3)
    for step in range(6):
        (x, y), weights = part.batch(jax.random.fold_in(key, step))
        w = w - 0.1 * np.asarray(x.T @ (weights * (x @ w - y))) / MASS
    np.testing.assert_allclose(model.params, w, rtol=1e-5, atol=1e-6)


def test_many_starts_at_once_are_the_starts_one_by_one():
    starts = jnp.asarray(RNG.normal(size=(3, 3)))
    many = jax.vmap(lambda start: bx.trained(energy(start), ADAM, [2, 9])[1].params)(starts)
    for start, end in zip(starts, many, strict=True):
        one = bx.trained(energy(start), ADAM, [2, 9])[1].params
        np.testing.assert_allclose(end, one, rtol=1e-5, atol=1e-6)


@settings(max_examples=10)
@given(st.sets(st.integers(0, 40), min_size=1, max_size=3), st.integers(0, 9))
def test_a_look_on_the_way_changes_nothing(steps, seed):
    """The law of stops: a model does not depend on the other steps that were asked for."""
    rising, key = sorted(steps), jax.random.key(seed)
    declared = energy(np.ones(3), bx.Subsampled(DATA, 4))
    models = bx.trained(declared, ADAM, rising, key=key)
    (last,) = bx.trained(declared, ADAM, rising[-1:], key=key)
    np.testing.assert_allclose(models[-1].params, last.params, rtol=1e-6)


@pytest.mark.parametrize("steps", [[], [3, 2], [2, 2], [-1, 4], [1.5], "12", 7])
def test_steps_that_do_not_rise_are_refused(steps):
    with pytest.raises(bx.DeclarationError, match="steps"):
        bx.trained(energy(np.ones(3)), SGD, steps)


def test_minibatches_need_a_key():
    with pytest.raises(bx.DeclarationError, match="key"):
        bx.trained(energy(np.ones(3), bx.Subsampled(DATA, 4)), SGD, [1])
