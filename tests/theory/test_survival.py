"""What survives at a temperature, against the library's own integrals and plain algebra."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.core import DeclarationError
from boltzax.theory import (
    circuit_survival,
    circuit_temperature,
    linear_survival,
    linear_temperature,
)

law = settings(derandomize=True, deadline=None, max_examples=50)
positive = st.floats(1e-3, 1e3)
modes = st.lists(st.tuples(positive, positive), min_size=1, max_size=6)


def line(w, x):
    return jnp.dot(w, x)


@pytest.mark.parametrize("seed", range(2))
def test_the_library_integrates_to_the_closed_form(seed):
    """`F`, `⟨E⟩` and the posterior mean of a linear model with its weights integrated out."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(7, 4)), rng.normal(size=7)
    values, vectors = np.linalg.eigh(x @ x.T)
    values = np.maximum(values, 0)
    betas = np.geomspace(0.01, 100, 9)

    def log_z(y, beta):
        energy = bx.SquaredError(bx.models.Function(line, np.zeros(4)), bx.Empirical((x, y)))
        return bx.compile(energy, bx.Normal(), beta=beta, marginalise=True).log_prob({})

    found = [jax.value_and_grad(log_z, argnums=(0, 1))(jnp.asarray(y), b) for b in betas]
    free = np.array([-float(value) for value, _ in found])
    energy = np.array([-float(slope) for _, (_, slope) in found])
    # the gradient by the targets is β(⟨f⟩ - y)
    means = np.stack([y + np.asarray(g) / b for (_, (g, _)), b in zip(found, betas, strict=True)])
    exact = linear_survival(values, (vectors.T @ y) ** 2, betas)
    np.testing.assert_allclose(free, exact.free_energy, rtol=1e-10)
    np.testing.assert_allclose(energy, exact.energy, rtol=1e-10)
    np.testing.assert_allclose(means @ y / (y @ y), exact.survival, rtol=1e-10)


@law
@given(modes, st.floats(1e-2, 1e2))
def test_energy_and_heat_capacity_are_derivatives(pairs, beta):
    w, c = np.array(pairs).T
    step = 1e-4
    around = beta * np.exp(step * np.arange(-2, 3))
    exact = linear_survival(w, c, around)
    weights = np.array([1, -8, 0, 8, -1]) / (12 * step)
    slope = weights @ exact.free_energy
    np.testing.assert_allclose(slope, beta * exact.energy[2], rtol=1e-7)
    bend = weights @ exact.energy
    rounding = 1e-11 * beta * exact.energy[2]
    np.testing.assert_allclose(-beta * bend, exact.heat_capacity[2], rtol=1e-7, atol=rounding)


@law
@given(modes, st.floats(0.05, 0.95))
def test_the_temperature_is_where_the_survival_is_the_level(pairs, level):
    w, c = np.array(pairs).T
    place = linear_temperature(w, c, level)
    assert abs(linear_survival(w, c, 1 / place).survival - level) < 1e-12


@law
@given(positive, positive, st.floats(0.05, 0.95))
def test_one_mode_dies_at_its_eigenvalue_whatever_its_power(w, c, level):
    assert math.isclose(linear_temperature([w], [c], level), w * (1 - level) / level, rel_tol=1e-12)


@law
@given(positive, st.floats(0.5, 40), st.floats(0.05, 0.95), st.floats(1e-3, 30))
def test_a_circuit_is_a_system_of_two_states(usefulness, bits, level, scaled):
    beta = scaled / usefulness
    on, off = 2.0**-bits, 1 - 2.0**-bits
    z = on * math.exp(beta * usefulness) + off
    exact = circuit_survival(usefulness, bits, beta)
    share = on * math.exp(beta * usefulness) / z
    assert math.isclose(exact.survival, share, rel_tol=1e-11)
    assert abs(exact.free_energy + math.log(z)) < 1e-11 * max(1, abs(math.log(z)))
    assert math.isclose(exact.energy, -usefulness * share, rel_tol=1e-11)
    variance = share * (1 - share) * usefulness**2
    assert math.isclose(exact.heat_capacity, beta**2 * variance, rel_tol=1e-9, abs_tol=1e-12)
    if level > 2.0**-bits * 1.01:
        place = circuit_temperature(usefulness, bits, level)
        assert abs(circuit_survival(usefulness, bits, 1 / place).survival - level) < 1e-11


def test_a_large_circuit_dies_at_usefulness_over_description_length():
    for bits in (20, 40, 80):
        ratio = circuit_temperature(3.0, bits) * bits * math.log(2) / 3.0
        assert abs(ratio - 1) < 2.0**-bits


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: linear_survival([-1.0], [1.0], [1.0]), "eigenvalues"),
        (lambda: linear_survival([1.0], [1.0, 2.0], [1.0]), "powers"),
        (lambda: linear_temperature([1.0], [0.0]), "powers"),
        (lambda: linear_temperature([0.0, 1.0], [3.0, 1.0]), "eigenvalues"),
        (lambda: circuit_survival(1.0, 0.0, [1.0]), "bits"),
        (lambda: circuit_temperature(1.0, 1.0, 0.4), "level"),
    ],
)
def test_wrong_arguments(call, argument):
    with pytest.raises(DeclarationError) as caught:
        call()
    assert caught.value.argument == argument
