"""Lyapunov exponents of products of random matrices, against exact ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax import channels as ch
from boltzax.cases import anderson_chain, lloyd_chain
from boltzax.theory import anderson_exponent, lloyd_exponent

KEY = jax.random.key(0)
SOME = {"chains": 128, "sites": 2048, "warmup": 64, "throw": False}


class Constant(eqx.Module):
    """The same matrix at each site, of some length."""

    matrix: jax.Array
    length: jax.Array

    def __call__(self, key):
        return self.matrix, self.length


LLOYD = [
    (0.0, 1.0),
    (-3.0, 2.0),
    pytest.param(1.3, 0.7, marks=pytest.mark.slow),
    pytest.param(0.5, 10.0, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("energy", "width"), LLOYD)
def test_lloyd_chains(energy, width):
    found = ch.localization_length(lloyd_chain(energy, width), key=KEY, tolerance=1e-3, **SOME)
    exact = lloyd_exponent(energy, width)
    assert abs(float(found.exponent.z_score(exact))) < 4
    assert float(found.exponent.standard_error) < 5e-3 * exact
    assert np.max(np.abs(np.asarray(found.blocks.z_score(exact)))) < 5
    assert float(found.length.value * found.exponent.value) == pytest.approx(1)


def test_lloyd_in_float32():
    with jax.enable_x64(False):
        found = ch.localization_length(lloyd_chain(1.3, 0.7), key=KEY, **SOME)
        assert found.exponent.value.dtype == jnp.float32
        assert abs(float(found.exponent.z_score(lloyd_exponent(1.3, 0.7)))) < 4
        assert found.status == bx.Status.successful


@pytest.mark.slow
@pytest.mark.parametrize("energy", [0.0, 1.0])
def test_anderson_chains_at_weak_disorder(energy):
    many = {"chains": 1024, "sites": 16384, "warmup": 1024}
    found = ch.localization_length(anderson_chain(energy, 0.7), key=KEY, tolerance=0.005, **many)
    assert abs(float(found.exponent.value) / anderson_exponent(energy, 0.7) - 1) < 0.03


def test_strip():
    """The sum of the positive exponents is known; all come in pairs of both signs."""
    found = ch.localization_length(lloyd_chain(0.3, 1.0, strip=2), key=KEY, exponents=4, **SOME)
    rates = np.asarray(found.exponents.value)
    exact = sum(lloyd_exponent(0.3 - 2 * np.cos(np.pi * j / 3), 1.0) for j in (1, 2))
    error = float(np.sum(np.asarray(found.exponents.standard_error)[:2]))
    assert abs(rates[:2].sum() - exact) < 4 * error < 0.05
    np.testing.assert_allclose(rates + rates[::-1], 0, atol=4 * error)
    assert abs(rates.sum()) < 1e-12  # the determinant is 1


@given(st.floats(-4, 4), st.floats(0.1, 8))
@settings(max_examples=6)
def test_exponents_of_matrices_of_determinant_one(energy, disorder):
    chain = anderson_chain(energy, disorder)
    few = {"chains": 8, "sites": 128, "warmup": 32, "throw": False}
    found = ch.localization_length(chain, key=KEY, exponents=2, tolerance=1e-9, **few)
    up, down = np.asarray(found.exponents.value)
    assert up > -4 * found.exponents.standard_error[0] and abs(up + down) < 1e-12


@pytest.mark.parametrize("exponents", [1, 2, 3])
def test_one_matrix(exponents):
    values = np.array([3.0, -0.5, 0.2])
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    one = Constant(jnp.asarray(basis * values @ basis.T), jnp.asarray(0.25))
    found = ch.localization_length(
        one, key=KEY, exponents=exponents, chains=2, sites=64, throw=False
    )
    rates = np.log(np.abs(values[:exponents])) / 0.25
    np.testing.assert_allclose(found.exponents.value, rates, atol=1e-12)
    assert np.all(np.asarray(found.exponents.standard_error) < 1e-12)
    np.testing.assert_allclose(found.blocks.x, 0.25 * (0.5 + np.arange(len(found.blocks))))


def test_status():
    chain = anderson_chain(0.0, 1.0)
    with pytest.raises(bx.RunError) as caught:
        ch.localization_length(chain, key=KEY, **SOME | {"throw": True, "warmup": 0})
    assert caught.value.result.status == bx.Status.not_converged
    assert "localisation length" in repr(caught.value.result)
    # from a start of the other branch the slope of one matrix falls by degrees
    slow = Constant(jnp.array([[1.0, 0.01], [0.0, 1.0]]), jnp.ones(()))
    found = ch.localization_length(slow, key=KEY, chains=64, sites=4096, throw=False)
    assert found.status == bx.Status.not_mixed


@pytest.mark.parametrize(
    ("transfer", "change", "argument"),
    [
        (lambda key: jnp.ones(2), {}, "transfer"),
        (lambda key: (jnp.ones((2, 2)), jnp.ones(1)), {}, "transfer"),
        (lambda key: jnp.ones((2, 3)), {}, "transfer"),
        (lambda key: jnp.eye(2), {"exponents": 3}, "exponents"),
        (lambda key: jnp.eye(2), {"chains": 1}, "chains"),
        (jnp.eye(2), {}, "transfer"),
    ],
)
def test_wrong_arguments(transfer, change, argument):
    with pytest.raises(bx.DeclarationError) as caught:
        ch.localization_length(transfer, key=KEY, **change)
    assert caught.value.argument == argument
