"""Curie-Weiss: roots, free energies, spinodals."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boltzax.cases import curie_weiss, curie_weiss_spinodal
from boltzax.core import DeclarationError


def free(m, beta, j, h):
    return 0.5 * j * m**2 - np.log(2 * np.cosh(beta * (j * m + h))) / beta


@given(st.floats(0.05, 6), st.floats(-3, 3), st.floats(-2, 2))
def test_roots_are_all_the_roots(beta, j, h):
    found = curie_weiss(beta, j, h)
    m = found.roots
    # the residual, and how well a root is then known
    residual = np.abs(m - np.tanh(beta * (j * m + h)))
    assert np.all(residual <= 4e-15)
    grid = np.tanh(np.linspace(-20, 20, 20001))
    signs = np.sign(grid - np.tanh(beta * (j * grid + h)))
    crossings = np.sum(signs[1:] * signs[:-1] < 0) + np.sum(signs == 0)
    near = beta * j > 1 and abs(abs(h) - curie_weiss_spinodal(beta, j)[1]) < 1e-4
    flat = abs(beta * j - 1) < 1e-2
    if not near and not flat and h != 0 and np.all(np.abs(m) < np.tanh(18)):
        assert len(m) == crossings
    assert len(m) in (1, 2, 3)
    if j < 0:
        assert len(m) == 1


def test_a_root_to_twelve_digits():
    with localcontext() as context:
        context.prec = 40
        exact = Decimal("0.9")
        for _ in range(100):  # the loop's slope is 0.27 there
            e = (3 * (exact + Decimal("0.1"))).exp()
            exact = (e - 1) / (e + 1)
    assert abs(curie_weiss(1.5, 1.0, 0.1).roots[-1] - float(exact)) < 1e-12


def test_free_energy_is_stationary_and_least_at_the_phase_along_the_field():
    found = curie_weiss(1.5, 1.0, 0.05)
    assert len(found.roots) == 3
    np.testing.assert_allclose(found.free_energies, free(found.roots, 1.5, 1.0, 0.05), rtol=1e-13)
    step = 1e-5
    slope = free(found.roots + step, 1.5, 1, 0.05) - free(found.roots - step, 1.5, 1, 0.05)
    assert np.all(np.abs(slope / (2 * step)) < 1e-9)
    assert np.argmin(found.free_energies) == 2
    assert list(found.stable) == [True, False, True]


def test_spinodal():
    m, h = curie_weiss_spinodal(1.5)
    assert abs(m - 0.5773502691896258) < 1e-15
    assert abs(h - 0.138364) < 1e-6
    # the branch of negative m ends at +h, and its slope is 1 there
    assert len(curie_weiss(1.5, 1, h - 1e-9).roots) == 3
    assert len(curie_weiss(1.5, 1, h + 1e-9).roots) == 1
    assert abs(1.5 * (1 - m**2) - 1) < 1e-15
    # units: J h scale together
    np.testing.assert_allclose(curie_weiss_spinodal(0.5, 3.0), [m, 3 * h], rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: curie_weiss(0.0, 1.0, 0.0), "beta"),
        (lambda: curie_weiss(1.0, np.nan, 0.0), "coupling"),
        (lambda: curie_weiss(1.0, 1.0, "x"), "field"),
        (lambda: curie_weiss_spinodal(0.9), "beta"),
    ],
)
def test_wrong_arguments(call, argument):
    with pytest.raises(DeclarationError) as caught:
        call()
    assert caught.value.argument == argument
