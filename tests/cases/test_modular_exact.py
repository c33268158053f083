"""The self-consistent net that adds modulo P: tabulated values, laws, limits."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.integrate import dblquad

from boltzax.cases import modular_answer, modular_exact, modular_phases
from boltzax.core import DeclarationError

law = settings(derandomize=True, deadline=None, max_examples=6)
SCALES = {"readout_scale": 0.05 / 11}
noises = st.sampled_from([0.02, 0.03, 0.045, 0.06, 0.066, 0.09, 0.2])


@pytest.mark.parametrize(
    ("noise", "expected"),
    [(0.12, 0.9992), (0.06, 0.8852), (0.05, 0.7471), (0.04, 0.6061), (0.03, 0.4660)],
)
def test_tabulated_residuals(noise, expected):
    found = modular_exact(11, noise, **SCALES)
    assert found.residual == pytest.approx(expected, abs=6e-5)
    assert found.error < 1e-10


def test_law_of_a_mode_by_adaptive_quadrature():
    """λ and the specialised fraction at P = 3, in the plane of |w| and |v|."""
    p, noise, gamma, scale = 3, 0.05, 1.3, 0.05 / 3
    found = modular_exact(p, noise, readout_scale=scale, gamma=gamma)
    u = 2 * scale**2 * p**2 / noise**2 * found.residual**2

    def integral(fn, low=0.0):
        def integrand(y, x):
            s = p * ((x**2 + y**2) / 2 - u * x**2 * y**2 + gamma / 6 * (x**6 + y**6))
            return fn(x * y) * x * y * math.exp(-2 * s)

        below = 0.0 if low == 0 else (lambda x: low / x)
        return dblquad(integrand, 0.05 if low else 0.0, 3.2, below, 3.2, epsabs=1e-9)[0]

    total = integral(lambda q: 1.0)
    eigenvalue = 4 * scale**2 * p**2 * integral(lambda q: q**2) / total
    assert found.eigenvalue == pytest.approx(eigenvalue, rel=1e-7)
    assert found.residual == pytest.approx(noise / (noise + eigenvalue), rel=1e-8)
    fraction = integral(lambda q: 1.0, found.threshold) / total
    assert found.specialised == pytest.approx(fraction, abs=1e-6)


@law
@given(noises, st.sampled_from([3, 11, 31]))
def test_unique_as_the_map_falls(noise, p):
    phases = modular_phases(p, readout_scale=0.05 / p)
    answers = [modular_answer(p, noise, r, phases) for r in np.linspace(0, 1, 6)]
    assert np.all(np.diff(answers) < 0)
    found = modular_exact(p, noise, readout_scale=0.05 / p)
    assert modular_answer(p, noise, found.residual, phases, 2) == pytest.approx(found.residual)
    step = 1e-5
    up, down = (
        modular_answer(p, noise, found.residual * math.exp(h), phases, 2) for h in (step, -step)
    )
    gain = -(math.log(up) - math.log(down)) / (2 * step)
    assert found.gain == pytest.approx(gain, rel=1e-4)


def test_residual_rises_with_noise_and_falls_with_features():
    found = [modular_exact(11, s2, **SCALES) for s2 in np.linspace(0.02, 0.12, 9)]
    assert np.all(np.diff([m.residual for m in found]) > 0)
    assert np.all(np.diff([m.specialised for m in found]) <= 1e-12)
    assert max(m.gain for m in found) > 5  # the plain loop diverges in the mixed phase
    for m in found:
        modes = m.specialised_modes()
        assert modes.sum() == pytest.approx(1)
        assert modes @ np.arange(6) == pytest.approx(5 * m.specialised)


def test_closed_forms():
    phases = modular_phases(11, **SCALES)
    assert phases.critical_coupling == pytest.approx(1.1547005)
    assert phases.feature_size == pytest.approx(1.7320508)
    assert phases.onset == pytest.approx(0.0658037, abs=1e-7)
    assert phases.completion == pytest.approx(0.0358037, abs=1e-7)
    t, u = phases.feature_size, phases.critical_coupling
    assert t - u * t**2 + t**3 / 3 == pytest.approx(0, abs=1e-12)  # as deep as 0
    assert 1 - 2 * u * t + t**2 == pytest.approx(0, abs=1e-12)  # and a minimum
    assert [phases.phase(s2) for s2 in (0.07, 0.05, 0.03)] == [
        "gaussian-process",
        "mixed",
        "features",
    ]
    edge = phases.completion
    assert phases.residual(edge * (1 - 1e-9)) == pytest.approx(phases.residual(edge), rel=1e-6)
    assert phases.specialised(0.5 * (edge + phases.onset)) == pytest.approx(0.5)


def test_large_modulus_follows_the_lever_rule():
    """The distance to the closed forms falls at least as fast as log(P)/P."""
    gaps = []
    for p in (41, 161, 641):
        found = modular_exact(p, 0.05, readout_scale=0.05 / p)
        phases = found.phases
        gaps.append(
            (
                abs(found.residual - phases.residual(0.05)),
                abs(found.specialised - phases.specialised(0.05)),
            )
        )
    gaps = np.array(gaps)
    assert np.all(gaps[1:] < 0.4 * gaps[:-1])
    assert np.all(gaps[-1] < math.log(641) / 641)


def test_shift_of_the_transition_at_finite_modulus():
    """Equal weight of both minima at `U_c - γ/(6P) log(2πP/√(20γ/3))`, from Laplace's formula."""
    p, noise = 201, 0.05
    found = modular_exact(p, noise, readout_scale=0.05 / p)
    odds = found.specialised / (1 - found.specialised)
    shift = (math.log(odds) - math.log(2 * math.pi * p / math.sqrt(20 / 3))) / (6 * p)
    expected = found.phases.critical_coupling + shift
    assert found.coupling == pytest.approx(expected, abs=0.15 * abs(shift))


def test_little_coupling_is_the_gaussian_process():
    """Far above the onset, and without the sixth powers, `⟨|w|²|v|²⟩ = 1/P²`, so `λ = 4 σ_a²`."""
    found = modular_exact(11, 50.0, readout_scale=0.05, gamma=1e-3)
    assert found.eigenvalue == pytest.approx(4 * 0.05**2, rel=1e-4)
    assert found.specialised < 1e-12


def test_two_conventions_and_scaling():
    n, scale = 37.0, 0.01
    paper = modular_exact(7, 0.05, readout_scale=scale, width=n)
    units = modular_exact(7, 0.05 * n, readout_scale=scale * math.sqrt(n))
    assert paper.residual == pytest.approx(units.residual, rel=1e-10)
    # γ only sets units: `|w|² ~ γ^(-1/2)` for a modulus P/√γ
    one = modular_exact(5, 0.04, readout_scale=0.05 / 5)
    other = modular_exact(15, 0.04 * 3, readout_scale=0.05 * 3**1.5 / 15, gamma=9.0)
    assert one.residual == pytest.approx(other.residual, rel=1e-9)


def test_fraction_moves_the_onset():
    part = modular_phases(11, **SCALES, fraction=0.5)
    assert part.onset == pytest.approx(0.5 * modular_phases(11, **SCALES).onset)
    part = modular_exact(11, 0.03, **SCALES, fraction=0.5)
    whole = modular_exact(11, 0.06, **SCALES)
    assert part.residual == pytest.approx(whole.residual, rel=1e-10)


def test_memorisation_from_draws_of_a_kernel():
    """`M` is the diagonal of `⟨φφ⟩` over its eigenvalue on the target: modes drawn at random."""
    p, rng = 7, np.random.default_rng(0)
    on = rng.random((4000, 3)) < 0.4  # a mode is specialised in both, or in neither
    size = np.where(on, 1.7, 0.05)[:, :, None] ** 0.5

    def circle():
        angle = 2 * np.pi * np.outer(np.arange(1, 4), np.arange(p)) / p
        return 2 * np.sum(size * np.cos(angle + 2 * np.pi * rng.random((4000, 3, 1))), axis=1)

    w, v = circle(), circle()
    phi = (2 * w[:, :, None] * v[:, None, :]).reshape(4000, -1)
    n, m = np.divmod(np.arange(p * p), p)
    y = np.eye(p)[(n + m) % p] - 1 / p
    eigenvalue = np.mean(np.sum((phi @ y) ** 2, axis=1)) / np.sum(y**2)
    t = size[:, :, 0] ** 2
    expected = (p - 1) * (2 + (p - 3) * np.mean(t) ** 2 / np.mean(t**2)) / p**2
    assert np.mean(phi**2) / eigenvalue == pytest.approx(expected, rel=0.03)
    found = modular_exact(11, 50.0, readout_scale=0.05, gamma=1e-3)
    assert found.memorisation == pytest.approx(10 * 10 / 121, rel=1e-3)  # ⟨t⟩² = ⟨t t'⟩
    assert found.held_out == pytest.approx(
        1 - (1 - found.residual) * (1 - found.memorisation), rel=1e-12
    )


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("modulus", {"modulus": 8}),
        ("modulus", {"modulus": 1}),
        ("noise", {"noise": 0.0}),
        ("gamma", {"gamma": -1.0}),
        ("readout_scale", {"readout_scale": 0}),
        ("fraction", {"fraction": 1.2}),
    ],
)
def test_wrong_arguments(argument, arguments):
    arguments = {"modulus": 11, "noise": 0.05, "readout_scale": 0.01} | arguments
    with pytest.raises(DeclarationError) as raised:
        modular_exact(arguments.pop("modulus"), arguments.pop("noise"), **arguments)
    assert raised.value.argument == argument


def test_the_figures_of_the_paper_are_those_of_its_own_eigenvalue():
    """N = 1000, P = 401, σ_a² = .002/N, γ = 1e-4 (fig. 3): σ²_II about .175 and a about -.7.

    With λ as printed, without 4P²; to the digits that the paper gives.
    """
    readout = (0.002 / 1000) ** 0.5
    paper = modular_phases(401, readout_scale=readout, gamma=1e-4, width=1000)
    printed = paper.onset - readout**2 * paper.feature_size**2
    assert printed == pytest.approx(0.176, abs=5e-4)
    assert printed == pytest.approx(0.175, abs=2e-3)
    assert printed / paper.onset == pytest.approx(0.7, abs=0.05)
    assert paper.completion < 0
