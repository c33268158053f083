"""The planted net: its tasks, its measures, and its limit of infinite width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.cases import PLANTED_HEADS, planted_kernel, planted_net, planted_temperatures
from boltzax.theory import linear_survival, linear_temperature

law = settings(derandomize=True, deadline=None, max_examples=5)


def powers(net):
    values, vectors = np.linalg.eigh(planted_kernel(net))
    return np.maximum(values, 0), (vectors.T @ net.y) ** 2


@law
@given(st.integers(0, 1000))
def test_tasks_are_what_they_are_called(seed):
    net = planted_net(3, key=jax.random.key(seed))
    assert net.y.shape == (64, len(PLANTED_HEADS))
    assert len({tuple(row) for row in net.x}) == 64
    gram = net.y.T @ net.y / 64
    assert np.allclose(np.diag(gram), 1) and np.allclose(gram[:3, :3], np.eye(3))
    assert np.sum(net.y[:, 3]) == 0
    for head, bits in ((0, 1), (1, 3), (2, 5)):
        signs = net.y[:, head] * np.prod(net.x[:, :bits], axis=1)
        assert np.all(signs == signs[0])


def test_measures_of_a_head_that_does_its_task():
    data = np.eye(2), np.array([[2.0, 1.0], [-2.0, 1.0]])
    net = planted_net(2, data=data, key=jax.random.key(0))
    model = jax.tree.map(jnp.zeros_like, net.model)
    wide = type(model)(jnp.eye(2), jnp.zeros(2), None, net.y.T / np.tanh(1.0))
    assert np.allclose(net.outputs(wide), net.y)
    assert np.allclose(net.overlaps(wide), 1) and np.allclose(net.overlaps(model), 0)
    assert np.allclose(net.losses(wide), 0) and np.allclose(net.losses(model), [2.0, 0.5])
    assert np.allclose(net.accuracies(wide), 1) and np.allclose(net.accuracies(model), 0)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_kernel_is_the_covariance_of_wide_nets(layers):
    net = planted_net(128, layers=layers, key=jax.random.key(0))
    draws = bx.Ensemble.prior(net.gibbs(False), 300, key=jax.random.key(1))

    def head(model):
        return net.outputs(model)[:12, 0]

    values = np.asarray(draws.map(head))
    kernel = planted_kernel(net)[:12, :12]
    found = values.T @ values / len(values)
    spread = np.sqrt((kernel**2 + np.outer(np.diag(kernel), np.diag(kernel))) / len(values))
    assert np.all(np.abs(found - kernel) < 5 * spread)


def test_the_quadrature_of_the_kernel_has_converged():
    net = planted_net(key=jax.random.key(0))
    assert np.allclose(planted_kernel(net), planted_kernel(net, nodes=330), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-2, 10.0])
def test_the_kernel_at_one_input_is_the_mean_square_of_its_units(scale):
    """Also where the tanh is nearly a step: by panels of Gauss-Legendre that close in on it."""
    net = planted_net(
        2, data=(np.ones((1, 6)), np.ones((1, 1))), scale=scale, key=jax.random.key(0)
    )
    ends, (nodes, weights) = np.geomspace(1e-6, 9, 60), np.polynomial.legendre.leggauss(20)
    half, middle = np.diff(ends, prepend=0) / 2, ends - np.diff(ends, prepend=0) / 2
    place = middle[:, None] + half[:, None] * nodes
    density = np.sqrt(2 / np.pi) * np.exp(-0.5 * place**2) * half[:, None] * weights
    square = np.sum(density * np.tanh(scale * np.sqrt(6.64) * place) ** 2)
    assert np.allclose(planted_kernel(net), (2.5 * scale) ** 2 * square, rtol=1e-9)


def test_the_kernel_of_inputs_in_float32_is_that_of_float64():
    x = np.asarray(jax.random.normal(jax.random.key(2), (8, 3)), float)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)

    def kernel(x):
        return planted_kernel(planted_net(2, data=(x, x[:, :1]), key=jax.random.key(0)))

    assert np.allclose(kernel(x.astype(np.float32)), kernel(x), rtol=0, atol=1e-5)


def test_preactivations_too_wide_for_the_quadrature_are_refused():
    net = planted_net(2, scale=100.0, key=jax.random.key(0))
    for law in (planted_kernel, planted_temperatures):
        with pytest.raises(bx.DeclarationError, match="standard deviation 258") as caught:
            law(net)
        assert caught.value.argument == "net"


def test_random_labels_outlive_a_parity_of_five_at_infinite_width():
    """In the limit of a Gaussian process; at finite width the parity lives longer."""
    for seed in range(4):
        values, c = powers(planted_net(key=jax.random.key(seed)))
        linear, three, five, labels = (linear_temperature(values, c[:, i]) for i in range(4))
        assert linear > three > labels > five


def test_other_inputs_have_one_norm():
    net = planted_net(2, data=(np.array([[1.0], [2.0]]), np.ones((2, 1))), key=jax.random.key(0))
    with pytest.raises(bx.DeclarationError) as caught:
        planted_kernel(net)
    assert caught.value.argument == "net"


@pytest.mark.parametrize("level", [0.3, 0.5])
def test_temperatures_of_infinite_width_are_those_of_the_exact_survival(level):
    net = planted_net(4, key=jax.random.key(3))
    found = planted_temperatures(net, level)
    values, vectors = np.linalg.eigh(planted_kernel(net))
    for head, temperature in enumerate(found):
        powers = (vectors.T @ net.y[:, head]) ** 2
        exact = linear_survival(np.maximum(values, 0), powers, 1 / temperature)
        assert float(exact.survival) == pytest.approx(level, abs=1e-6)
    # the linear task dies last, and labels at random first
    assert np.argmax(found) == 0
