"""Decay of spectra: exact coefficients, fitted slopes, power laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import acb, arb, ctx
from numpy.polynomial.legendre import leggauss
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.special import eval_hermitenorm, factorial

from boltzax.theory import (
    KINKS,
    POLES,
    circle_half_width,
    fourier_slope,
    hermite_ensemble_log_decay,
    hermite_slope,
    legendre_slope,
    power_law_exponent,
    tanh_hermite_asymptotic,
    tanh_hermite_coefficient,
    tanh_hermite_log_magnitude,
)
from boltzax.theory._tanh_hermite import _log_integral

LATE = np.arange(1001, 4002, 60)


@pytest.mark.parametrize("scale", [0.05, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("k", [0, 1, 2, 3, 7, 12, 21])
def test_coefficient_by_direct_quadrature(k, scale):
    def integrand(x):
        density = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
        return np.tanh(scale * x) * eval_hermitenorm(k, x) * density / np.sqrt(factorial(k))

    direct = sum(quad(integrand, a, a + 1, epsabs=1e-15)[0] for a in range(-14, 14))
    assert tanh_hermite_coefficient(k, scale) == pytest.approx(direct, abs=1e-13)


def test_parseval():
    total = sum(tanh_hermite_coefficient(k, 1.0) ** 2 for k in range(1, 400, 2))
    square = quad(lambda x: np.tanh(x) ** 2 * np.exp(-0.5 * x * x), -14, 14)[0]
    assert total == pytest.approx(square / np.sqrt(2 * np.pi), rel=1e-12)


def test_small_scale_keeps_relative_precision():
    """tanh(wx) = wx - w³x³/3 + 2w⁵x⁵/15: c_5 = 2 w⁵ √(5!)/15 to leading order."""
    assert tanh_hermite_coefficient(5, 1e-5) == pytest.approx(2e-25 * np.sqrt(120) / 15, rel=1e-8)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_hermite_slope_and_asymptotic_form(scale):
    log_square = 2 * tanh_hermite_log_magnitude(LATE, scale)
    fitted = np.polyfit(np.sqrt(LATE), log_square + 0.5 * np.log(LATE), 1)[0]
    assert fitted == pytest.approx(hermite_slope(POLES["tanh"], scale), rel=5e-4)
    gap = np.abs(log_square / 2 - tanh_hermite_asymptotic(LATE, scale))
    assert np.all(gap < 0.6 * (1 + scale**-3) / np.sqrt(LATE))
    assert gap[-1] < 0.6 * gap[0]


def test_tabulated_hermite_slopes():
    def slope(orders, scale, correction=0.0):
        orders = np.array(orders)
        log_square = 2 * tanh_hermite_log_magnitude(orders, scale)
        return np.polyfit(np.sqrt(orders), log_square + correction * np.log(orders), 1)[0]

    assert slope(range(101, 1002, 2), 1.0) == pytest.approx(-3.187, abs=6e-4)
    assert slope(range(1001, 4002, 20), 1.0) == pytest.approx(-3.162, abs=6e-4)
    assert slope(range(1001, 4002, 20), 1.0, 0.5) == pytest.approx(-3.1411, abs=1e-4)
    assert slope(range(1001, 4002, 20), 0.5, 0.5) == pytest.approx(-6.281, abs=6e-4)
    assert slope(range(1001, 4002, 20), 2.0, 0.5) == pytest.approx(-1.5706, abs=1e-4)


@pytest.mark.parametrize(
    "name, function", [("arctan", np.arctan), ("sigmoid", lambda x: 1 / (1 + np.exp(-x)))]
)
def test_hermite_slope_of_other_activations(name, function):
    """Coefficients by Gauss-Hermite; the power of k is fitted along with the slope."""
    x, weight = np.polynomial.hermite_e.hermegauss(360)
    weight = weight / weight.sum()
    scale = 1.0 if name == "arctan" else 3.0
    orders = np.arange(15, 80, 2)
    values = function(scale * x)
    basis, previous, squares = np.ones_like(x), np.zeros_like(x), []
    for k in range(81):
        if k in orders:
            squares.append((weight @ (values * basis)) ** 2)
        basis, previous = (x * basis - np.sqrt(k) * previous) / np.sqrt(k + 1), basis
    design = np.stack([np.sqrt(orders), np.log(orders), np.ones(len(orders))], axis=1)
    fitted = np.linalg.lstsq(design, np.log(squares), rcond=None)[0][0]
    assert fitted == pytest.approx(hermite_slope(POLES[name], scale), rel=0.06)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_legendre_and_fourier_slopes(scale):
    node, weight = leggauss(200)
    orders = np.arange(5, 16, 2) if scale == 1.0 else np.arange(9, 34, 2)
    basis = np.polynomial.legendre.legvander(node, orders[-1])[:, orders]
    c = (np.tanh(scale * node) * weight) @ (basis * np.sqrt((2 * orders + 1) / 2))
    fitted = np.polyfit(orders, np.log(c**2), 1)[0]
    assert fitted == pytest.approx(legendre_slope(POLES["tanh"], scale), rel=0.01)
    angle = 2 * np.pi * np.arange(256) / 256
    spectrum = np.abs(np.fft.rfft(np.tanh(scale * np.cos(angle))) / 256)[orders]
    fitted = np.polyfit(orders, 2 * np.log(spectrum), 1)[0]
    expected = fourier_slope(circle_half_width(POLES["tanh"], scale))
    assert fitted == pytest.approx(expected, rel=0.01)


def test_ensemble_of_scales():
    """E_b c_k(b)² for b ~ N(0, 1) follows the cube-root law, and no square-root law."""
    orders = np.array([201, 801, 3201])
    node, weight = leggauss(120)
    scales, measure = 9 * (1 + node), 9 * weight
    logs = np.stack([2 * tanh_hermite_log_magnitude(orders, b) for b in scales])
    energy = np.log(np.exp(logs - 0.5 * scales[:, None] ** 2).T @ (measure * np.sqrt(2 / np.pi)))
    lead = hermite_ensemble_log_decay(orders, POLES["tanh"], 1.0)
    ratio = np.diff(energy) / np.diff(lead)
    assert 1.0 < ratio[1] < 1.08 and ratio[1] < ratio[0] < 1.12
    root = hermite_slope(POLES["tanh"], 1.0) * np.sqrt(orders)
    assert np.all(np.diff(energy) / np.diff(root) < 0.6)


def kinked(order):
    return lambda x: np.sign(x) * x**order if order % 2 == 0 else np.abs(x) ** order


@pytest.mark.parametrize("order", [0, 1, 2])
def test_power_law_under_a_gaussian(order):
    edges = np.linspace(0, 45, 3001)
    node, weight = leggauss(6)
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half * (1 + node)).ravel()
    measure = np.sqrt((half * weight).ravel()) * (2 * np.pi) ** -0.25
    orders, squares = np.arange(200 + (order + 1) % 2, 801, 2), []
    basis, previous = measure * np.exp(-0.25 * x**2), np.zeros_like(x)
    probe = 2 * kinked(order)(x) * measure * np.exp(-0.25 * x**2)
    for k in range(802):
        if k in orders:
            squares.append((probe @ basis) ** 2)
        basis, previous = (x * basis - np.sqrt(k) * previous) / np.sqrt(k + 1), basis
    fitted = np.polyfit(np.log(orders), np.log(squares), 1)[0]
    assert fitted == pytest.approx(power_law_exponent(order, "gaussian"), abs=0.03)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_power_law_on_interval_and_circle(order):
    node, weight = leggauss(400)
    x, half = (1 + node) / 2, weight / 2
    orders = np.arange(100 + (order + 1) % 2, 401, 2)
    basis = np.polynomial.legendre.legvander(x, orders[-1])[:, orders]
    c = 2 * (kinked(order)(x) * half) @ (basis * np.sqrt((2 * orders + 1) / 2))
    fitted = np.polyfit(np.log(orders), np.log(c**2), 1)[0]
    assert fitted == pytest.approx(power_law_exponent(order, "interval"), abs=0.05)
    angle = 2 * np.pi * (np.arange(2**18) + 0.5) / 2**18
    spectrum = np.abs(np.fft.rfft(kinked(order)(np.sin(angle))) / 2**18)
    parity = np.arange(100 + (order + 1) % 2, 401, 2)
    fitted = np.polyfit(np.log(parity), 2 * np.log(spectrum[parity]), 1)[0]
    assert fitted == pytest.approx(power_law_exponent(order, "circle"), abs=0.05)


def test_an_ensemble_decays_at_the_saddle_point_over_its_scales():
    for k, pole, spread in ((100, 1.5, 0.7), (4000, 0.6, 2.5)):
        saddle = minimize_scalar(
            lambda log_b, k=k, pole=pole, spread=spread: (
                2 * pole * np.sqrt(k) * np.exp(-log_b) + 0.5 * np.exp(2 * log_b) / spread**2
            ),
            bounds=(-3, 5),
        )
        assert hermite_ensemble_log_decay(k, pole, spread) == pytest.approx(-saddle.fun, rel=1e-8)


JUMPS = {
    "sign": jnp.sign,
    "leaky_relu": jax.nn.leaky_relu,
    "abs": jnp.abs,
    "hard_tanh": lambda x: jax.nn.hard_tanh(x + 1),
    "relu6": jax.nn.relu6,
    "selu": jax.nn.selu,
    "elu": jax.nn.elu,
    "squared_relu": lambda x: jax.nn.relu(x) ** 2,
    "relu": jax.nn.relu,
}
"""Moved so that a kink is at 0."""


def test_kinks_are_of_the_first_derivative_that_jumps():
    assert set(JUMPS) == set(KINKS)
    for name, function in JUMPS.items():
        jumps, derivative = [], function
        for _ in range(KINKS[name] + 1):
            left, right = derivative(-1e-9), derivative(1e-9)
            jumps.append(abs(float(right - left)) > 1e-3)
            derivative = jax.grad(derivative)
        assert jumps == [False] * KINKS[name] + [True], name


def test_named_activations():
    assert power_law_exponent("relu", "gaussian") == -2.5
    assert power_law_exponent("relu", "circle") == power_law_exponent("relu", "interval") == -4
    assert POLES["tanh"] == np.pi / 2 and POLES["sigmoid"] == np.pi
    assert not set(POLES) & set(KINKS)
    assert hermite_slope(POLES["erf"], 1.0) == legendre_slope(POLES["gelu"], 1.0) == -np.inf


@pytest.mark.parametrize("w", [2.0, 0.1, 0.0016])
@pytest.mark.parametrize("k", [11, 101, 1001])
def test_the_integral_of_a_coefficient_by_confluent_functions(k, w):
    """With `1/sinh = 2 Σ_j exp(-(2j+1)ct)` it is a sum over `∫ t^k exp(-t²/2 - at) dt`, which is
    `k! 2^{-(k+1)/2} U((k+1)/2, 1/2, a²/2)` (DLMF 12.5.1, 12.7.14)."""
    with ctx.workprec(600):
        c, half = arb.pi() / (2 * arb(w)), arb(k + 1) / 2
        total, j, term = arb(0), 0, arb(1)
        while j == 0 or term > total * arb(10) ** -18:
            a = (2 * j + 1) * c
            term = acb(a * a / 2).hypgeom_u(half, arb(1) / 2).real
            total, j = total + term, j + 1
        log = total.log() + arb(2).log() * (1 - half) + arb(k + 1).lgamma() / 2 - arb(w).log()
        wanted = float(log)
    assert _log_integral(k, w) == pytest.approx(wanted, rel=1e-12, abs=1e-12)
