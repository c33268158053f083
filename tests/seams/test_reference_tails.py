"""Closed forms are right to relative precision over their whole domain, tails included."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flint import acb, arb, ctx
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax import (
    CircleMeasure,
    DeclarationError,
    GaussianMeasure,
    IntervalMeasure,
    cases,
    theory,
)


def orthant(before, after, scale, height=5.0):
    """The amplifier's probability as a rigorous integral over its gain, in 300 bits."""
    ctx.prec = 300
    low, high = ((arb(y) / (arb(height) - arb(y))).log() / arb(scale) for y in after)
    start, end = (arb(x) - arb(height) / 2 for x in before)
    root = acb(2).sqrt()

    def density(g, _):
        above, below = acb(low) - g * acb(start), acb(high) - g * acb(end)
        inside = (below / root).erfc() - (above / root).erfc()
        return (-g * g / 2).exp() * inside / 2 / acb(2 * arb.pi()).sqrt()

    tip = (high - low) / (end - start)
    whole = acb.integral(density, acb(tip), acb(tip + 40), rel_tol=arb(2) ** -80,
                         abs_tol=arb(2) ** -4000)  # fmt: skip
    return float(whole.real.log())


@settings(max_examples=15)
@given(st.floats(0.5, 2.4), st.floats(2.6, 4.5), st.floats(0.01, 2.0), st.floats(2.5, 4.99),
       st.floats(0.7, 4.0))  # fmt: skip
def test_the_amplifier_is_an_orthant(low, high, below, above, scale):
    found = theory.amplifier_interface((low, high), (below, above), scale=scale)
    assert found == pytest.approx(orthant((low, high), (below, above), scale), rel=1e-12)


@pytest.mark.parametrize(
    ("before", "after"),
    [((2.4, 2.6), (0.5, 4.5)), ((1.2, 3.5), (1e-6, 5 - 1e-6)), ((2.0, 3.0), (0.01, 4.99))],
)
def test_the_tails_of_the_amplifier(before, after):
    found = theory.amplifier_interface(before, after)
    assert found < -60 and found == pytest.approx(orthant(before, after, 1.0), rel=1e-12)


@given(st.floats(-1e3, 1e3), st.integers(2, 40), st.integers(2, 40))
def test_the_area_of_a_small_polygon_far_out(offset, first, second):
    """Two points of the line, each to within a small interval: `|x_1 - x_0|` is 1."""
    one, two = 2.0**-first, 2.0**-second
    pairs = [
        ((0.0, 0.0), (offset + 0.25, offset + 0.25 + one)),
        ((1.0, 1.0), (offset + 0.75, offset + 0.75 + two)),
    ]
    found = theory.affine_interface((0.0, 1.0), (offset, offset + 1.0), pairs)
    sizes = [Fraction(high) - Fraction(low) for _, (low, high) in pairs]
    area = sizes[0] * sizes[1] / (Fraction(offset + 1.0) - Fraction(offset))
    if area > 0:
        exact = math.log(area.numerator) - math.log(area.denominator)
        assert found == pytest.approx(exact, rel=1e-14)
    else:
        assert found == -math.inf


def test_differences_of_nearly_equal_numbers():
    eps = 2.0**-40
    found = theory.linear_interface(2.0, (1.0, 1.0), (1.0, 1.0 - eps))
    assert found == pytest.approx(math.log(eps / 2), rel=1e-14)
    # a long chain: n log(log(R/S)/(2n)) and a term in 1/n
    n, gap = 10**8, math.log(1.5 / 1.4)
    found = theory.linear_chain_maximum(2.0, (1.0, 1.5), (1.0, 1.4), n)
    assert found == pytest.approx(n * math.log(gap / n / 2), rel=1e-14, abs=1)
    # no chain stretches an interval to one of the same or a greater ratio of ends
    for high in (1.5, 1.6):
        assert theory.linear_chain_maximum(2.0, (1.0, 1.5), (1.0, high), 3) == -math.inf
    # near the critical temperature h = (2/3)(βJ - 1)^(3/2)
    e = 2.0**-36
    magnetisation, field = cases.curie_weiss_spinodal(1 + e)
    assert field == pytest.approx(2 / 3 * e**1.5, rel=1e-9)
    assert magnetisation == pytest.approx(math.sqrt(e), rel=1e-9)
    # cold: 1 - m² = 1/cosh²(βm)
    found = cases.curie_weiss(30.0, 1.0, 0.0)
    assert found.slopes[0] == pytest.approx(30 * 4 * math.exp(-60), rel=1e-12)
    assert cases.curie_weiss(0.5, 1.0, 1e-30).roots[0] == pytest.approx(1e-30, rel=1e-12)


@pytest.mark.parametrize("log_n", [-300.0, -30.0, -6.0])
def test_few_data_leave_a_small_free_energy(log_n):
    """`log Z = -n/2 + O(n²)` under `E K = 1/2`, and the slope is the same."""
    found, n = theory.linear_unit_exact(log_n), math.exp(log_n)
    second = -0.5 * n + (9 / 8 - 1 / 8) * n**2  # E K² = 9/4, log Z = -nE K + n²(E K² - (E K)²)/2
    assert float(found.log_partition) == pytest.approx(second, rel=60 * n**2 + 1e-13)
    assert float(found.learning_coefficient) == pytest.approx(0.5 * n - 2 * n**2,
                                                              rel=200 * n**2 + 1e-13)  # fmt: skip


def test_a_strong_field_keeps_its_digits():
    """Little prior against much noise: Q = σ_a²σ_w²/(1 - κt²), 1 - κt² far below rounding of 1."""
    found = theory.linear_mean_field(1e-12, 1e-9, readout=1e-6)
    v = 1 / found.field
    assert found.kernel == pytest.approx(float(Fraction(v) - Fraction(1e-12)), rel=1e-13)
    # far from rounding both forms hold
    usual = theory.linear_mean_field(0.1, 1.0)
    assert usual.kernel == pytest.approx(1 / (1 - usual.field**2), rel=1e-13)
    # a silent net: residual of order s² to relative precision
    quiet, louder = (cases.modular_exact(5, s, readout_scale=0.3) for s in (1e-9, 1e-8))
    assert quiet.residual / louder.residual == pytest.approx(0.1, rel=1e-2)
    assert quiet.error < 1e-3 * quiet.residual
    many = cases.modular_exact(5001, 1e-3, readout_scale=1e-3).specialised_modes()
    assert np.isfinite(many).all() and many.sum() == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: theory.amplifier_interface((3.0, 2.0), (1.0, 4.0)), "before"),
        (lambda: theory.amplifier_interface((1.0, 2.0), (1.0, 5.0)), "after"),
        (lambda: theory.affine_interface((1.0, 1.0), (0.0, 1.0), []), "weight"),
    ],
)
def test_what_has_no_answer_is_refused(call, argument):
    with pytest.raises(DeclarationError) as raised:
        call()
    assert raised.value.argument == argument


@pytest.mark.parametrize(
    "fn", [jax.lax.erf, lambda x: jax.nn.gelu(x, approximate=False), jax.scipy.special.erfc]
)
def test_a_function_that_jax_knows_on_the_real_line_alone_is_refused(fn):
    with pytest.raises(DeclarationError) as raised:
        GaussianMeasure().basis().analytic_coefficients(lambda x: jnp.sum(fn(x)), 8, 1.0)
    assert raised.value.argument == "fn"


def log_root_factorials(k):
    return np.array([math.lgamma(each + 1) / 2 for each in k])


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_coefficients_of_entire_functions_by_closed_forms(scale):
    """`E f(sZ + st) = Σ c_k t^k/√k!` is `e^(-s²/2) sin st`, `e^(s²/2 + st)`, `E e^-(sZ + st)²/2`.

    Down to 1e-200, where there are any: the sine and the Gaussian have every other one.
    """
    k = np.arange(COUNT)
    half, ratio = scale**2 / 2, scale**2 / 2 / (1 + scale**2)
    waves = k * math.log(scale) - log_root_factorials(k)
    bells = log_root_factorials(k) + k / 2 * math.log(ratio) - 0.5 * math.log1p(scale**2)
    bells -= np.array([math.lgamma(each / 2 + 1) for each in k])
    even, odd = (k % 2 == 0), (k % 2 == 1)
    exact = np.stack([
        np.where(odd, (-1.0) ** (k // 2), 0) * np.exp(waves - half),
        np.exp(waves + half),
        np.where(even, (-1.0) ** (k // 2), 0) * np.exp(bells),
    ], axis=1)  # fmt: skip
    found, errors = (np.asarray(each) for each in entire(scale))
    seen = np.abs(exact) > 1e-200
    assert seen.sum() > 60
    np.testing.assert_allclose(found[seen], exact[seen], rtol=1e-11)
    off = np.abs(found - exact)
    assert np.all(off <= 30 * errors + 1e-12 * np.abs(exact) + 1e-280)
    assert np.all(errors[seen] < 1e-9 * np.abs(exact[seen]))


COUNT = 61


@jax.jit
def entire(scale):
    functions = lambda x: jnp.stack([jnp.sin(x[0]), jnp.exp(x[0]), jnp.exp(-(x[0] ** 2) / 2)])  # noqa: E731
    basis = GaussianMeasure(scale=scale).basis()
    return basis.analytic_coefficients(functions, COUNT, math.inf, errors=True)


@pytest.mark.slow
@pytest.mark.parametrize(("fn", "strip"), [(jnp.sin, 1.0), (jnp.tanh, 2.0)])
def test_a_strip_that_is_too_short_or_crosses_a_pole_is_refused(fn, strip):
    with pytest.raises(DeclarationError, match="six digits"):
        GaussianMeasure().basis().analytic_coefficients(lambda x: fn(x[0]), 220, strip)


def test_coefficients_on_the_circle_to_relative_precision():
    """`exp(cos x)` has `√2 I_k(1)`; a pole inside the strip is seen."""
    basis, k = CircleMeasure().basis(), np.arange(1, 60)
    found = basis.analytic_coefficients(lambda x: jnp.exp(jnp.cos(x[0])), 119, math.inf)
    exact = math.sqrt(2) * scipy.special.iv(k, 1.0)
    np.testing.assert_allclose(found[1::2], exact, rtol=1e-12)
    with pytest.raises(DeclarationError, match="six digits"):
        basis.analytic_coefficients(lambda x: 1 / (1.3 - jnp.cos(x[0])), 21, 1.5)


kinked = {
    "relu": (GaussianMeasure(), lambda x: jax.nn.relu(x[0])),
    "step": (GaussianMeasure(), lambda x: jnp.where(x[0] > 0.3, 1.0, 0.0)),
    "hard tanh": (IntervalMeasure(), lambda x: jnp.clip(3 * x[0], -1, 1)),
    "sign": (CircleMeasure(), lambda x: jnp.sign(jnp.cos(x[0]))),
    "plane": (GaussianMeasure(2), lambda x: jnp.abs(x[0] - x[1])),
    "wave": (GaussianMeasure(), lambda x: jnp.cos(60 * x[0])),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", kinked)
def test_coefficients_that_depend_on_the_nodes_are_refused(name):
    measure, fn = kinked[name]
    with pytest.raises(DeclarationError, match="coefficients that change"):
        measure.basis().coefficients(fn, 12)
    assert measure.basis().coefficients(fn, 12, order=50).shape == (12,)  # as they are


@pytest.mark.parametrize(
    "activation", [pytest.param(jnp.tanh, marks=pytest.mark.slow), jax.nn.relu]
)
def test_the_spectrum_of_draws_with_kinks_is_refused(activation):
    measure = GaussianMeasure()
    net = bx.models.TwoLayer(width=3, activation=activation)
    energy = bx.SquaredError(net, measure, target=bx.zero)
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-1, 1))
    gibbs = bx.compile(energy, prior, marginalise=False)
    trace = bx.sample(
        gibbs, bx.RandomWalk(), key=jax.random.key(0), chains=2, warmup=10, draws=8, throw=False
    )
    if activation is jnp.tanh:
        assert bx.spectrum(trace, measure, 8).shape == (8,)
    else:
        with pytest.raises(DeclarationError, match="coefficients that change"):
            bx.spectrum(trace, measure, 8)
        assert bx.spectrum(trace, measure, 8, order=200).shape == (8,)


def test_smooth_functions_pass_and_kinks_converge_in_the_order():
    basis, k = GaussianMeasure().basis(), np.arange(2, 30, 2)
    found = basis.coefficients(lambda x: jax.scipy.special.erf(x[0]), 30)
    # E erf'(Z + t) is a Gaussian of variance 3/2
    odd = np.arange(1, 30, 2)
    exact = 2 / math.sqrt(3 * math.pi) * np.array([
        (-1.0) ** j / 3**j / math.factorial(j) * math.sqrt(math.factorial(2 * j + 1)) / (2 * j + 1)
        for j in range(15)
    ])  # fmt: skip
    np.testing.assert_allclose(found[odd], exact, atol=1e-14)
    relu = basis.coefficients(lambda x: jax.nn.relu(x[0]), 30, 20_001)
    logs = [-math.lgamma(j) - (j - 1) * math.log(2) + math.lgamma(2 * j - 1) for j in k // 2]
    tails = (-1.0) ** (k // 2 - 1) * np.exp(np.array(logs) - log_root_factorials(k))
    np.testing.assert_allclose(relu[k], tails / math.sqrt(2 * math.pi), rtol=1e-3)


@pytest.mark.parametrize(
    "law", [theory.linear_unit_exact, lambda log_n: theory.quadratic_exact([2.0], log_n)]
)
def test_exact_free_energies_keep_their_digits_beside_float32(law):
    """`log n` is a number of the host: rounded to float32, 600.3 changes the 8th digit."""
    wanted = law(600.3)
    with jax.enable_x64(False):
        found = law(600.3)
    assert (found.log_partition, found.learning_coefficient) == (
        wanted.log_partition,
        wanted.learning_coefficient,
    )
