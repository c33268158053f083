"""Decay rates in one dimension: against other formulas for them, and their laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boltzax.core import DeclarationError
from boltzax.theory import (
    anderson_exponent,
    averaged_screening,
    lloyd_exponent,
    screening_exponent,
)

positive = st.floats(1e-6, 1e6)
energies = st.floats(-1e6, 1e6)


@given(energies, positive)
def test_lloyd_is_the_real_part_of_an_arccosh(energy, width):
    exponent = lloyd_exponent(energy, width)
    assert exponent == lloyd_exponent(-energy, width) > 0
    sides = math.hypot(2 + energy, width) + math.hypot(2 - energy, width)
    assert math.isclose(4 * math.cosh(exponent), sides, rel_tol=1e-12)
    assert abs(exponent - np.arccosh(0.5 * complex(energy, width)).real) < 1e-9 * (1 + exponent)


def test_lloyd_keeps_its_digits_at_weak_disorder():
    # inside the band γ = d/√(4 - E²), outside arccosh(E/2)
    assert math.isclose(lloyd_exponent(1.0, 1e-9), 1e-9 / math.sqrt(3), rel_tol=1e-12)
    assert math.isclose(lloyd_exponent(3.0, 1e-9), math.acosh(1.5), rel_tol=1e-12)
    assert math.isclose(lloyd_exponent(0.0, 1e200), math.log(1e200), rel_tol=1e-12)


def test_anderson_at_weak_disorder():
    assert abs(1 / anderson_exponent(0.0, 1.0) - 105.045) < 1e-3
    assert math.isclose(1 / anderson_exponent(1.0, 0.5), 24 * 3 / 0.25, rel_tol=1e-14)
    assert abs(anderson_exponent(2.0, math.sqrt(12)) - 0.2893) < 1e-4
    assert anderson_exponent(-2.0, 1.0) == anderson_exponent(2.0, 1.0)


def stationary(density, length, noise, sites=1500, copies=4000):
    """`⟨z⟩` and `⟨z²⟩` of the slope between Poisson data, by following it; with errors."""
    rng = np.random.default_rng(0)
    z = np.full(copies, 1.0)
    sums = np.zeros((3, copies))
    for site in range(sites):
        t = rng.exponential(1 / (density * length), copies)
        tanh = np.tanh(t)
        after = (z + tanh) / (1 + z * tanh)
        if site >= 100:  # ∫ z² = ∫ (1 - z') between data
            grown = np.log(np.cosh(t) + z * np.sinh(t))
            sums += np.stack([t, grown, t - (after - z)])
        z = after + 2 / noise
    time, *rest = sums
    rates = [each / time.mean() / length**power for power, each in enumerate(rest, 1)]
    return [(np.mean(r), np.std(r - np.mean(r) * time / time.mean()) / copies**0.5) for r in rates]


@pytest.mark.parametrize("setting", [(20.0, 1.0, 1.0), (5.0, 1.0, 0.01), (0.4, 2.0, 3.0)])
def test_poisson_data_against_following_the_slope(setting):
    (mean, error), (square, square_error) = stationary(*setting)
    assert abs(screening_exponent(*setting) - mean) < 4 * error < 4e-3 * mean
    assert abs(averaged_screening(*setting) ** 2 - square) < 4 * square_error + 1e-3 * square


def test_figures_of_poisson_data():
    assert abs(screening_exponent(20, 1, 1) - 6.16185) < 1e-5
    assert abs(screening_exponent(5, 1, 0.01) - 16.48499) < 1e-5
    assert abs(averaged_screening(20, 1, 1) - math.sqrt(41)) < 1e-14
    assert abs(averaged_screening(5, 1, 0.01) - math.sqrt(1001)) < 1e-13


def test_few_data_are_met_one_by_one():
    """Of first order in the density: a datum multiplies decays by `1 + 1/s²`."""
    for noise in (0.01, 1.0, 10.0):
        rise = (screening_exponent(1e-5, 1.0, noise) - 1) / 1e-5
        assert abs(rise - math.log1p(1 / noise)) < 1e-3


settings = st.tuples(st.floats(0.05, 50), st.floats(0.1, 10), st.floats(0.02, 20))


@given(settings)
def test_the_averaged_field_screens_most(setting):
    density, length, noise = setting
    averaged = averaged_screening(*setting)
    poisson, lattice = screening_exponent(*setting), screening_exponent(*setting, "lattice")
    assert 1 / length < poisson < averaged
    assert 1 / length < lattice < averaged
    # units: of length
    again = screening_exponent(density / 3, length * 3, noise)
    assert math.isclose(again, poisson / 3, rel_tol=1e-10)


@given(settings)
def test_lattice_is_the_growth_of_its_transfer_matrix(setting):
    density, length, noise = setting
    gap = 1 / (density * length)
    free = np.array([[math.cosh(gap), math.sinh(gap)], [math.sinh(gap), math.cosh(gap)]])
    growth = np.linalg.eigvals(np.array([[1, 0], [2 / noise, 1]]) @ free).max()
    assert math.isclose(
        screening_exponent(*setting, "lattice"), math.log(growth) * density, rel_tol=1e-9
    )


def test_data_far_apart_on_a_lattice():
    near, far = (screening_exponent(1 / gap, 1.0, 0.5, "lattice") * gap for gap in (39.9, 40.1))
    assert abs(far - near - 0.2) < 1e-12


def test_jumps_below_a_thousandth_of_the_mean_slope_are_refused():
    """Jumps of `2/s²`, a mean of `√(1 + 2ρℓ/s²)`; the averaged field is then as good."""
    length, noise = 2.0, 1500.0

    def setting(jumps):
        return ((2 * jumps / noise) ** 2 - 1) * noise / (2 * length), length, noise

    finest = setting(999)
    assert 1 - 1e-3 < screening_exponent(*finest) / averaged_screening(*finest) < 1
    with pytest.raises(DeclarationError, match="averaged_screening"):
        screening_exponent(*setting(1001))


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: lloyd_exponent(0.0, 0.0), "width"),
        (lambda: anderson_exponent(2.1, 1.0), "energy"),
        (lambda: averaged_screening(1.0, -1.0, 1.0), "length"),
        (lambda: screening_exponent(1.0, 1.0, 1e5), "noise_variance"),
        (lambda: screening_exponent(1.0, 1.0, 1.0, "glass"), "arrangement"),
    ],
)
def test_wrong_arguments(call, argument):
    with pytest.raises(DeclarationError) as caught:
        call()
    assert caught.value.argument == argument
