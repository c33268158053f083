"""The data kernel: a closed form, laws of its distances, and what it fixes."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx
from boltzax.core import DeclarationError
from boltzax.meanfield import Neuron, SelfConsistency, Unit
from boltzax.meanfield._data_kernel import (
    alignment,
    data_kernel,
    frobenius_distance,
    gradient_flow,
    neuron_functions,
    procrustes_distance,
)
from boltzax.meanfield._layered import Layered

DATA = 5
WEIGHTS = jnp.array([0.3, 0.1, 0.2, 0.15, 0.25])
seeds = st.integers(0, 2**31 - 1)


@partial(jax.jit, static_argnums=(1, 2))
def population(seed, count, rank=DATA):
    key_left, key_right = jax.random.split(jax.random.key(seed))
    left = jax.random.normal(key_left, (count, rank))
    return left @ jax.random.normal(key_right, (rank, DATA))


@partial(jax.jit, static_argnums=1)
def rotation(seed, size):
    return jnp.linalg.qr(jax.random.normal(jax.random.key(seed + 1), (size, size)))[0]


@eqx.filter_jit
def drawn(ensemble, width):
    return ensemble.draw_net(jax.random.key(0), width)


@eqx.filter_jit
def outputs(ensemble, net):
    return jax.vmap(lambda x: ensemble.output(net, x))(ensemble.inputs())


def kernel(functions):
    return data_kernel(functions, WEIGHTS)


@given(seeds)
def test_blind_to_rotations_and_permutations(seed):
    count = 8
    h, other = population(seed, count), population(seed + 1, 8)
    turned = rotation(seed, count) @ h
    shuffled = h[jax.random.permutation(jax.random.key(seed), count)]
    a, b = kernel(h), kernel(other)
    assert np.allclose(a.values, kernel(shuffled).values, atol=1e-12)
    assert np.allclose(a.values, kernel(turned).values, atol=1e-11)
    # the same kernel, though another population
    assert not np.allclose(h, turned)
    for distance in (frobenius_distance, procrustes_distance):
        assert float(distance(a, kernel(turned))) < 1e-6 * float(jnp.linalg.norm(a.values))
        assert np.allclose(distance(a, b), distance(kernel(turned), b), atol=1e-6)
    assert np.allclose(alignment(a, b), alignment(kernel(turned), b), atol=1e-9)


@given(seeds)
def test_distances_are_distances(seed):
    a, b, c = (kernel(population(seed + i, 8)) for i in range(3))
    for distance in (frobenius_distance, procrustes_distance):
        ab, bc, ac = float(distance(a, b)), float(distance(b, c)), float(distance(a, c))
        assert ac <= ab + bc + 1e-9
        assert np.isclose(ab, float(distance(b, a)))
        assert ab > 1e-3
        assert float(distance(a, a)) < 1e-9


@given(seeds, st.sampled_from([2, DATA]))
def test_procrustes_is_bures(seed, rank):
    # the best rotation of the functions themselves, and the formula with roots of matrices
    h, other = population(seed, 8, rank), population(seed + 1, 8, rank)
    a, b = kernel(h), kernel(other)
    root = jnp.sqrt(WEIGHTS / 8)
    left, right = root * h, root * other
    u, _, v = jnp.linalg.svd(left @ right.T)
    direct = jnp.linalg.norm(left - (u @ v) @ right)
    values, vectors = np.linalg.eigh(a.operator)
    half = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sum(np.sqrt(np.maximum(np.linalg.eigvalsh(half @ b.operator @ half), 0)))
    bures = np.sqrt(np.trace(a.operator) + np.trace(b.operator) - 2 * cross)
    found = procrustes_distance(a, b)
    assert np.isclose(found, direct, rtol=1e-6, atol=1e-7)
    assert np.isclose(found, bures, rtol=1e-5, atol=1e-6)
    # no rotation does better
    turned = rotation(seed, 8) @ right
    assert float(jnp.linalg.norm(left - turned)) >= float(found) - 1e-9


def test_bures_of_commuting_kernels():
    a = data_kernel(jnp.diag(jnp.array([1.0, 2.0, 3.0])), jnp.ones(3))
    b = data_kernel(jnp.diag(jnp.array([2.0, 2.0, 1.0])), jnp.ones(3))
    # |√A - √B|, with K = diag(h²)/3
    assert np.isclose(procrustes_distance(a, b), np.sqrt(5 / 3))
    assert np.isclose(frobenius_distance(a, b), np.sqrt(9 + 64) / 3)


@given(seeds)
def test_alignment(seed):
    h = population(seed, 8)
    a = kernel(h)
    assert np.isclose(alignment(a, kernel(3 * h)), 1)
    # a constant added to a neuron is centred away
    assert np.isclose(alignment(a, kernel(h + jnp.arange(8.0)[:, None])), 1)
    assert -1e-12 <= float(alignment(a, kernel(population(seed + 1, 8)))) < 1 - 1e-6


def test_standard_error_and_noise():
    """An honest error: z-scores against the law's kernel, and `noise` as a distance."""
    # h_i(x) = u_i·x, u ~ N(0, 1): K = x·x'
    points = jax.random.normal(jax.random.key(0), (DATA, 3))
    truth = points @ points.T
    # `noise` is of a law that has heavy tails (squares): 4000 neurons
    draws = jax.random.normal(jax.random.key(1), (50, 4000, 3)) @ points.T
    found = jax.jit(jax.vmap(lambda h: data_kernel(h, WEIGHTS)))(draws)
    # of Gaussian neurons, Var h h' = K(x, x) K(x', x') + K(x, x')²
    variance = np.asarray(jnp.outer(jnp.diag(truth), jnp.diag(truth)) + truth**2) / 4000
    squares = np.asarray(found.estimate.standard_error**2)
    scores = np.asarray((found.values - truth) / np.sqrt(variance))
    for at in ((0, 0), (1, 3), (4, 2)):
        each = squares[:, *at]
        # Student's t with 49 degrees of freedom: by chance once in 1e5 each
        assert abs(np.mean(each) - variance[at]) < 5 * np.std(each, ddof=1) / np.sqrt(50)
        # mean of 50 scores and of their squares, 5 sd each
        assert abs(np.mean(scores[:, *at])) < 5 / np.sqrt(50)
        assert abs(np.mean(scores[:, *at] ** 2) - 1) < 5 * np.sqrt(2 / 50)
    exact = data_kernel(jnp.sqrt(3.0) * jnp.eye(3) @ points.T, WEIGHTS)
    assert np.allclose(exact.values, truth)
    squares = jax.jit(jax.vmap(lambda h: frobenius_distance(kernel(h), exact) ** 2))(draws)
    expected = np.mean(jax.jit(jax.vmap(lambda h: kernel(h).noise ** 2))(draws))
    error = np.std(squares, ddof=1) / np.sqrt(50)
    # Student's t with 49 degrees of freedom: by chance once in 1e5
    assert abs(np.mean(squares) - expected) < 5 * error


def test_functions_of_both_kinds_of_nets():
    neuron = Neuron(Unit(jnp.tanh, dim=2, bias=True), bx.Normal())
    target, measure = lambda x: x[0] * x[1], bx.GaussianMeasure(2, order=4, rule="hermite")
    flat = SelfConsistency(neuron, target, measure, 0.1)
    net = drawn(flat, 6)
    h = neuron_functions(flat, net)
    f = outputs(flat, net)
    assert h.shape == (6, 16)
    assert np.allclose(jnp.mean(h, axis=0), f)
    deep = Layered(neuron, target, measure, 0.1, hidden=(3,))
    net = drawn(deep, 6)
    f = outputs(deep, net)
    assert np.allclose(jnp.mean(neuron_functions(deep, net), axis=0), f)
    assert np.allclose(neuron_functions(deep.riding(1), net), neuron_functions(deep, net))
    low = neuron_functions(deep, net, jnp.ones((2, 2)), layer=1)
    by_hand = jnp.tanh(net[0]["embedding"] @ jnp.ones(2) + net[0]["bias"])
    assert low.shape == (3, 2)
    assert np.allclose(low[:, 0], by_hand)


def test_several_outputs_are_so_many_data():
    h = jax.random.normal(jax.random.key(0), (4, DATA, 2))
    found = kernel(h)
    assert found.values.shape == (10, 10)
    assert np.isclose(found.values[3, 8], jnp.mean(h[:, 1, 1] * h[:, 4, 0]))
    assert np.isclose(jnp.trace(found.operator), jnp.mean(jnp.sum(h**2, axis=2) @ WEIGHTS))


def test_gradient_flow_is_that_of_the_readout():
    """Descent on the readouts in small steps, for features and for rotated features."""
    h, y = population(3, 8), jnp.array([1.0, -1.0, 0.5, 0.0, 2.0])
    start = jnp.zeros(8)
    size, count = 1e-3, 2000

    @jax.jit
    def train(h, a):
        def loss(a):
            return 0.5 * jnp.dot(WEIGHTS, (a @ h / 8 - y) ** 2)

        def step(a, _):
            a = a - size * 8 * jax.grad(loss)(a)
            return a, a @ h / 8

        return jax.lax.scan(step, a, length=count)[1]

    turn = rotation(3, 8)
    plain, turned = train(h, start), train(turn @ h, turn @ start)
    assert np.allclose(plain, turned, atol=1e-10)
    times = size * jnp.arange(1, count + 1)
    flow = gradient_flow(kernel(h), jnp.zeros(DATA), y, times)
    # Euler steps: first order in their size
    assert float(jnp.max(jnp.abs(flow - plain))) < 0.02
    other = gradient_flow(kernel(population(4, 8)), jnp.zeros(DATA), y, times)
    assert float(jnp.max(jnp.abs(flow - other))) > 0.1


def test_wrong_arguments():
    h = population(0, 4)
    with pytest.raises(DeclarationError, match="at least two"):
        data_kernel(h[:1])
    with pytest.raises(DeclarationError, match="one a datum"):
        data_kernel(h, jnp.ones(3))
    for distance in (frobenius_distance, procrustes_distance, alignment):
        with pytest.raises(DeclarationError, match="same points"):
            distance(kernel(h), data_kernel(h))
    neuron = Neuron(Unit(jnp.tanh, dim=2), bx.Normal())
    flat = SelfConsistency(neuron, lambda x: x[0], bx.GaussianMeasure(2, order=4), 0.1)
    net = flat.draw_net(jax.random.key(0), 3)
    with pytest.raises(DeclarationError, match="Layered"):
        neuron_functions(flat, net, layer=1)
    deep = Layered(neuron, lambda x: x[0], flat.measure, 0.1, hidden=(3,))
    with pytest.raises(DeclarationError, match="1 to 2"):
        neuron_functions(deep, net, layer=3)
    assert "effective rank" in repr(kernel(h))
