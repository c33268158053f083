"""Bases: orthonormal, complete, and right to the last coefficient."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings

from boltzax.core import DeclarationError
from boltzax.declare import CircleMeasure, CubeMeasure, GaussianMeasure, IntervalMeasure
from boltzax.testing import bases

few = settings(max_examples=8, derandomize=True, deadline=None)
COUNT = 8


def hermite_of_tanh(k, w=1.0):
    """|c_k| of tanh(w x), odd k, under N(0, 1): (1/√k!) ∫ (uw)^k exp(-(uw)²/2) / sinh(πu/2) du.

    The integrand is positive; u = exp(s) and the trapezoid rule give it to rounding.
    """
    s = np.linspace(-45.0, 8.0, 40_001)
    u = np.exp(s)
    log_sinh = np.pi * u / 2 - math.log(2) + np.log(-np.expm1(-np.pi * u))
    logs = k * np.log(u * w) - (u * w) ** 2 / 2 - log_sinh + s - scipy.special.gammaln(k + 1) / 2
    return np.exp(scipy.special.logsumexp(logs)) * (s[1] - s[0])


# --- laws -----------------------------------------------------------------------------------------


@pytest.mark.slow
@few
@given(bases())
def test_orthonormal(basis):
    gram = basis.coefficients(lambda x: basis.evaluate(x, COUNT), COUNT)
    np.testing.assert_allclose(gram, np.eye(COUNT), atol=1e-12)


@pytest.mark.slow
@few
@given(bases())
def test_parseval_and_reconstruction(basis):
    c = np.random.default_rng(0).normal(size=(COUNT, 2))
    f = basis.reconstruct(jnp.asarray(c))
    np.testing.assert_allclose(basis.coefficients(f, COUNT), c, atol=1e-12)
    square = basis.coefficients(lambda x: f(x) ** 2, 1)[0]  # phi_0 = 1: the integral of f²
    np.testing.assert_allclose(square, (c**2).sum(0), rtol=1e-12)


@few
@given(bases())
def test_bases_are_graded_and_named(basis):
    degrees, labels = basis.degrees(COUNT), basis.labels(COUNT)
    assert degrees[0] == 0 and np.all(np.diff(degrees) >= 0)
    assert len(set(labels)) == COUNT
    np.testing.assert_allclose(basis.evaluate(jnp.full(basis.dim, 0.3), 1), [1.0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "measure",
    [
        GaussianMeasure(mean=0.4, scale=0.8, rule="trapezoid", order=400),
        GaussianMeasure(2, mean=[0.4, 1.0], scale=0.5),
        IntervalMeasure(-2, 1),
        CircleMeasure(),
        CubeMeasure(5),
    ],
    ids=lambda mu: f"{type(mu).__name__}{mu.dim}",
)
def test_parseval_for_a_smooth_function(measure):
    def f(x):
        return jnp.exp(jnp.sin(x).sum() / 2)

    basis, count = measure.basis(), {5: 32, 2: 150, 1: 40}[measure.dim]
    energy = measure.integrate(lambda x: f(x) ** 2)
    modes = basis.coefficients(f, count) ** 2
    np.testing.assert_allclose(modes.sum(), energy, rtol=1e-7 if measure.dim == 2 else 1e-11)
    assert modes[: count // 8].sum() < energy * (1 - 1e-7)
    # the same by the measure's own quadrature
    direct = measure.integrate(lambda x: f(x) * basis.evaluate(x, 6))
    np.testing.assert_allclose(direct, basis.coefficients(f, 6), atol=1e-9)


@pytest.mark.slow
@few
@given(bases())
def test_projector_is_the_quadrature_of_coefficients(basis):
    points, matrix = basis.projector(COUNT)
    assert points.shape[1] == basis.dim
    values = jax.vmap(lambda x: jnp.cos(x.sum()))(points)
    np.testing.assert_allclose(
        matrix.T @ values, basis.coefficients(lambda x: jnp.cos(x.sum()), COUNT), atol=1e-14
    )


# --- values ---------------------------------------------------------------------------------------


def test_values_against_scipy():
    x, ks = 0.37, np.arange(9)
    z = (x - 0.5) / 1.7
    np.testing.assert_allclose(
        GaussianMeasure(mean=0.5, scale=1.7).basis().evaluate(jnp.array([x]), 9),
        scipy.special.eval_hermitenorm(ks, z) / np.sqrt(scipy.special.factorial(ks)),
        rtol=1e-12,
    )
    t = (2 * x - (-1) - 4) / 5
    np.testing.assert_allclose(
        IntervalMeasure(-1, 4).basis().evaluate(jnp.array([x]), 9),
        np.sqrt(2 * ks + 1) * scipy.special.eval_legendre(ks, t),
        rtol=1e-12,
    )
    waves = [1, *(math.sqrt(2) * f(k * x) for k in (1, 2, 3, 4) for f in (math.cos, math.sin))]
    np.testing.assert_allclose(CircleMeasure().basis().evaluate(jnp.array([x]), 9), waves)
    cube = CubeMeasure(3).basis().evaluate(jnp.array([2.0, 3.0, 5.0]), 8)
    np.testing.assert_allclose(cube, [1, 2, 3, 5, 6, 10, 15, 30])


def test_names_and_degrees():
    assert CircleMeasure().basis().labels(4) == ("1", "cos 1x", "sin 1x", "cos 2x")
    assert CubeMeasure(3).basis().labels(6) == ("1", "x_0", "x_1", "x_2", "x_0 x_1", "x_0 x_2")
    plane = GaussianMeasure(2).basis()
    assert plane.labels(4) == ("he_(0,0)", "he_(1,0)", "he_(0,1)", "he_(2,0)")
    np.testing.assert_array_equal(plane.degrees(7), [0, 1, 1, 2, 2, 2, 3])
    np.testing.assert_array_equal(CircleMeasure().basis().degrees(5), [0, 1, 1, 2, 2])
    np.testing.assert_array_equal(CubeMeasure(3).basis().degrees(8), [0, 1, 1, 1, 2, 2, 2, 3])


@pytest.mark.slow
def test_hermite_in_many_dimensions():
    basis = GaussianMeasure(6, mean=0.5, scale=2.0).basis()
    gram = basis.coefficients(lambda x: basis.evaluate(x, 30), 30)
    np.testing.assert_allclose(gram, np.eye(30), atol=1e-11)
    # he_2 he_1 of coordinates 0 and 5 alone
    c = basis.coefficients(lambda x: ((x[0] - 0.5) ** 2 / 4 - 1) * (x[5] - 0.5) / 2, 84)
    assert basis.labels(84)[int(jnp.argmax(jnp.abs(c)))] == "he_(2,0,0,0,0,1)"
    np.testing.assert_allclose(jnp.sort(jnp.abs(c))[-2:], [0, math.sqrt(2)], atol=1e-11)


def test_hermite_functions_are_stable_to_degree_1500():
    """cos(30 x) has its coefficients at k near 900: (-1)^j exp(-t²/2) t^k / √k!, k = 2j."""
    t, k = 30.0, np.arange(1500)
    logs = k * math.log(t) - t**2 / 2 - scipy.special.gammaln(k + 1) / 2
    exact = np.where(k % 2 == 0, np.cos(np.pi * k / 2), 0) * np.exp(logs)
    c = (
        GaussianMeasure(mean=1.0, scale=0.5)
        .basis()
        .coefficients(lambda x: jnp.cos(t * (x[0] - 1) / 0.5), 1500)
    )
    assert np.abs(exact).max() > 0.1
    np.testing.assert_allclose(c, exact, atol=1e-12)


def test_legendre_of_the_exponential():
    """exp(a t) = Σ (2k+1) i_k(a) P_k(t), modified spherical Bessel functions (DLMF 10.60.8)."""
    ks = np.arange(12)
    c = IntervalMeasure(0, 2).basis().coefficients(lambda x: jnp.exp(3 * (x[0] - 1)), 12)
    exact = np.sqrt(2 * ks + 1) * scipy.special.spherical_in(ks, 3.0)
    np.testing.assert_allclose(c, exact, atol=1e-13)


def test_walsh_of_majority():
    """maj(x) = ½(x_0 + x_1 + x_2 - x_0 x_1 x_2) (O'Donnell 2014, section 1.2)"""
    c = CubeMeasure(3).basis().coefficients(lambda x: jnp.sign(x.sum()), 8)
    np.testing.assert_allclose(c, [0, 0.5, 0.5, 0.5, 0, 0, 0, -0.5], atol=1e-15)


# --- coefficients that quadrature on the line cannot see ------------------------------------------


def test_tanh_by_quadrature():
    c = GaussianMeasure().basis().coefficients(lambda x: jnp.tanh(x[0]), 1002)
    for k in (1, 3, 21, 101, 301, 1001):
        np.testing.assert_allclose(abs(c[k]), hermite_of_tanh(k), atol=1e-14)
    signs = np.sign(np.asarray(c[1:80:2]))
    np.testing.assert_array_equal(signs, [(-1) ** j for j in range(40)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("w", "scale", "tail"), [(1.0, 1.0, -3.1411), (0.5, 2.0, -6.281), (2.0, 0.5, -1.5706)]
)
def test_tanh_to_relative_precision(w, scale, tail):
    """tanh(w x) under N(0, scale²) is tanh(w scale z): the slopes are those of w with scale 1."""
    count, odd = 1202, np.arange(1, 1202, 2)
    basis = GaussianMeasure(scale=scale).basis()
    c = basis.analytic_coefficients(lambda x: jnp.tanh(w / scale * x[0]), count, math.pi / 2 / w)
    for k in (1, 3, 21, 101, 601, 1201):
        np.testing.assert_allclose(abs(c[k]), hermite_of_tanh(k, w), rtol=1e-8)
    late = odd[odd > 400]
    logs = 2 * np.log(np.abs(np.asarray(c)[late])) + np.log(late) / 2
    slope = np.polyfit(np.sqrt(late), logs, 1)[0]
    np.testing.assert_allclose(slope, tail, rtol=2e-3)
    np.testing.assert_allclose(slope, -math.pi / w, rtol=2e-3)
    if w == 1:
        fit = odd[(odd >= 101) & (odd <= 1001)]
        raw = np.polyfit(np.sqrt(fit), 2 * np.log(np.abs(np.asarray(c)[fit])), 1)[0]
        np.testing.assert_allclose(raw, -3.187, atol=6e-4)


@pytest.mark.slow
def test_analytic_coefficients_agree_with_quadrature():
    basis = GaussianMeasure(mean=0.3, scale=0.7).basis()

    def f(x):
        return jnp.stack([jnp.exp(x[0]) / (1 + x[0] ** 2), x[0] ** 3 - x[0]])

    # the poles ±i are at distance |(i - 0.3)/0.7| from the line, along the imaginary axis 1/0.7
    found, errors = basis.analytic_coefficients(f, 25, 1 / 0.7, errors=True)
    np.testing.assert_allclose(found, basis.coefficients(f, 25), atol=1e-13)
    assert np.all(np.abs(found[4:, 1]) <= errors[4:, 1])  # a cubic has no more
    np.testing.assert_array_less(errors[:, 0], 1e-8 * np.abs(found[:, 0]))


@pytest.mark.slow
def test_poisson_kernel_on_the_circle():
    """Re and Im of (1 + r e^{ix})/(1 - r e^{ix}) = 1 + 2 Σ r^k e^{ikx}, pole at |Im x| = -log r."""
    r, k = 0.3, np.arange(1, 120)

    def kernel(x):
        below = 1 - 2 * r * jnp.cos(x[0]) + r**2
        return jnp.stack([(1 - r**2) / below, 2 * r * jnp.sin(x[0]) / below])

    c = CircleMeasure().basis().analytic_coefficients(kernel, 239, -math.log(r) - 0.1)
    np.testing.assert_allclose(c[1::2, 0], math.sqrt(2) * r**k, rtol=1e-8)
    np.testing.assert_allclose(c[2::2, 1], math.sqrt(2) * r**k, rtol=1e-8)
    plain = CircleMeasure().basis().coefficients(kernel, 239)
    np.testing.assert_allclose(plain, c, atol=1e-14)


# --- tracing, dtypes, mistakes --------------------------------------------------------------------


def test_new_means_do_not_retrace():
    traces = []

    @jax.jit
    def project(basis):
        traces.append(1)
        return basis.coefficients(lambda x: jnp.tanh(x[0]), 5)

    values = [project(GaussianMeasure(mean=m, scale=1 + m).basis()) for m in (0.0, 0.5, 1.0)]
    assert len(traces) == 1 and abs(values[0][0]) < 1e-14 < values[1][0] < values[2][0]


def test_derivatives_of_basis_functions():
    basis = GaussianMeasure().basis()
    slopes = jax.jacobian(lambda x: basis.evaluate(x, 10))(jnp.array([0.8]))[:, 0]
    lower = np.sqrt(np.arange(1, 10)) * basis.evaluate(jnp.array([0.8]), 9)  # he_k' = √k he_{k-1}
    np.testing.assert_allclose(slopes[1:], lower, rtol=1e-12)


@pytest.mark.slow
def test_float32():
    with jax.enable_x64(False):
        for measure in (GaussianMeasure(), IntervalMeasure(), CircleMeasure(), CubeMeasure(3)):
            basis = measure.basis()
            gram = basis.coefficients(lambda x, basis=basis: basis.evaluate(x, 8), 8)
            assert gram.dtype == jnp.float32
            np.testing.assert_allclose(gram, np.eye(8), atol=2e-5)
        c = GaussianMeasure().basis().coefficients(lambda x: jnp.tanh(x[0]), 300)
        np.testing.assert_allclose(abs(c[21]), hermite_of_tanh(21), atol=1e-6)
        with pytest.raises(DeclarationError):
            GaussianMeasure().basis().analytic_coefficients(lambda x: jnp.tanh(x[0]), 9, 1.5)


wrong = {
    "count": lambda: GaussianMeasure().basis().coefficients(lambda x: x, 0),
    "order": lambda: IntervalMeasure().basis().coefficients(lambda x: x, 4, order=0),
    "parities": lambda: CubeMeasure(3).basis().degrees(9),
    "large cube": lambda: CubeMeasure(20).basis().coefficients(lambda x: x, 4),
    "strip": lambda: GaussianMeasure().basis().analytic_coefficients(lambda x: x, 4, 0.0),
    "plane": lambda: GaussianMeasure(2).basis().analytic_coefficients(lambda x: x, 4, 1.0),
}


@pytest.mark.parametrize("name", wrong)
def test_wrong_questions(name):
    with pytest.raises(DeclarationError):
        wrong[name]()


def test_a_datum_of_the_wrong_length_is_refused():
    with pytest.raises(Exception, match="shape|dim|annotation"):
        GaussianMeasure(2).basis().evaluate(jnp.ones(3), 4)
    with pytest.raises(Exception, match="shape|dim|annotation"):
        IntervalMeasure().basis().evaluate(jnp.array(0.5), 4)
