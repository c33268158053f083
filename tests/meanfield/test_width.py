"""The order 1/N against exact integrals over the field, a Gaussian net, and sampled nets."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.core import DeclarationError
from boltzax.meanfield._cumulant import NodeCumulant
from boltzax.meanfield._finite_width import _third, finite_width
from boltzax.meanfield._linear_cumulant import LinearCumulant
from boltzax.meanfield._neuron import Neuron, Unit
from boltzax.meanfield._self_consistency import SelfConsistency
from boltzax.meanfield._solve import solve

T, Y = 0.3, 0.5


class Exact:
    """One datum: `E A` at any width, as an integral over the one number that the field is there.

    Nodes of one neuron: probabilities `p`, outputs `h`.
    """

    def __init__(self, p, h, field):
        self.p, self.h, self.field = p, h, field

    def mean(self, width, a):
        k = np.linspace(-1, 1, 4001) * 10 / np.sqrt(width * T)
        g = self.field + 1j * k
        tilted = np.exp(np.outer(g, self.h)) * self.p
        total = tilted.sum(1)
        exponent = 0.5 * T * (g**2 - self.field**2) - Y * (g - self.field) + np.log(total)
        weight = np.exp(width * (exponent - exponent[2000]))
        return float((np.sum(weight * (tilted @ a) / total) / np.sum(weight)).real)

    def one(self, a):
        """At `N = 1`, without any field."""
        law = self.p * np.exp(-0.5 * (self.h - Y) ** 2 / T)
        return float(np.sum(law * a) / np.sum(law))

    def coefficient(self, limit, a):
        """`N (E A - limit)` at N = 200, 400, 800, taken to 1/N = 0."""
        rough = [n * (self.mean(n, a) - limit) for n in (200, 400, 800)]
        once = [2 * b - c for c, b in itertools.pairwise(rough)]
        return (4 * once[1] - once[0]) / 3


def tilted_neuron():
    """`tanh(2w)`, `w ~ N(0.3, 1)`, no readout."""
    model = bx.models.Function(lambda w, x: jnp.tanh(2 * w * x), jnp.zeros(()))
    prior = bx.Normal(0.3, 1.0)
    z, p = np.polynomial.hermite_e.hermegauss(128)
    w = 0.3 + z
    return model, prior, jnp.ones(1), w**2, np.tanh(2 * w), p / p.sum()


@pytest.fixture(scope="module")
def plain():
    """The neuron without a readout: fixed point, coefficients, exact integral, `w²` and `h`."""
    model, prior, x, square, h, p = tilted_neuron()
    data = bx.Empirical((x, jnp.full(1, Y)))
    problem = SelfConsistency(Neuron(model, prior), None, data, T)
    point = solve(problem, rule="hermite", order=128, refinements=0, tolerance=1e-13, throw=False)
    wide = finite_width(point, lambda one: one.params**2)
    return point, wide, Exact(p, h, float(point.field[0])), square, h


@pytest.mark.slow
def test_the_integral_over_the_field_is_exact_at_one_neuron(plain):
    _, _, exact, square, h = plain
    assert abs(exact.mean(1, square) - exact.one(square)) < 1e-12
    assert abs(exact.mean(1, h) - exact.one(h)) < 1e-12


@pytest.mark.slow
def test_coefficients_of_a_nonlinear_neuron(plain):
    point, wide, exact, square, h = plain
    # two orders of 1/N are taken out: what is left is of order 1/800³ of the coefficient's terms
    tolerance = 2e-6
    assert abs(wide.observable - exact.coefficient(float(wide.limit), square)) < tolerance
    f = float(point.background.values[0])
    assert abs(wide.background[0] - exact.coefficient(f, h)) < tolerance
    # the mean loss is -(1/N) ∂ log Z/∂(1/T)
    step = 1e-3
    pair = [shifted_log_partition(point, 1 / T + s) for s in (-step, step)]
    slope = (pair[1] - pair[0]) / (2 * step)
    assert abs(wide.loss + slope) < 1e-5


def shifted_log_partition(point, inverse):
    """The order-1 part of `log Z` at another temperature, from a fixed point of its own."""
    problem = point.problem.at(1 / inverse)
    new = solve(problem, rule="hermite", order=128, refinements=0, tolerance=1e-13, throw=False)
    return float(finite_width(new).log_partition)


@pytest.mark.slow
def test_gaussian_neurons_in_closed_form():
    """`h = w x`: `w̄` is Gaussian, so that `E w² = 1 - 1/N + E w̄²` exactly."""
    model = bx.models.Function(lambda w, x: w * x, jnp.zeros(()))
    data = bx.Empirical((jnp.full(1, 2.0), jnp.full(1, Y)))
    problem = SelfConsistency(Neuron(model, bx.Normal()), None, data, T)
    point = solve(problem, rule="hermite", order=8, refinements=0, throw=False)
    wide = finite_width(point, lambda one: jnp.stack([one.params, one.params**2]))
    strength = 4 / T
    np.testing.assert_allclose(wide.observable, [0, -strength / (1 + strength)], atol=1e-9)
    # |f - y|²: the mean is that of the infinite net, the variance 4/(N (1 + 4/T))
    np.testing.assert_allclose(wide.loss, 2 / (1 + strength), rtol=1e-9)
    np.testing.assert_allclose(wide.log_partition, -0.5 * np.log1p(strength), rtol=1e-9)
    np.testing.assert_allclose(wide.background, 0, atol=1e-9)


@pytest.mark.slow
def test_a_readout_that_was_integrated_out_counts():
    """The same neuron with its readout as a weight of its own."""
    x = jnp.ones((1, 1))
    data = bx.Empirical((x, jnp.full(1, Y)))
    kwargs = {"rule": "hermite", "order": 96, "refinements": 0, "throw": False}
    unit = SelfConsistency(Neuron(Unit(jnp.tanh, dim=1), bx.Normal()), None, data, T)
    one = finite_width(
        solve(unit, **kwargs), lambda m: jnp.stack([m.embedding[0] ** 2, m.readout**2])
    )
    pair = bx.models.Function(lambda w, x: w[0] * jnp.tanh(w[1] * x[0]), jnp.zeros(2))
    two = SelfConsistency(Neuron(pair, bx.Normal()), None, data, T)
    both = finite_width(solve(two, **kwargs), lambda m: m.params[::-1] ** 2)
    np.testing.assert_allclose(one.observable, both.observable, rtol=1e-8)
    np.testing.assert_allclose(one.loss, both.loss, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("width", [4, 16])
def test_sampled_nets(width):
    """One datum, so that the exact mean at each width is known: draws agree with it, and with the
    prediction. Three z-scores a width, two widths: a false alarm in 3,000 runs."""
    x, y = jnp.ones((1, 1)), jnp.full(1, Y)
    unit = Neuron(Unit(jnp.tanh, dim=1), bx.Normal())
    problem = SelfConsistency(unit, None, bx.Empirical((x, y)), T)
    point = solve(problem, rule="hermite", order=128, refinements=0, throw=False)
    z, p = (np.asarray(a) for a in np.polynomial.hermite_e.hermegauss(64))
    p = p / p.sum()
    w, a = (grid.ravel() for grid in np.meshgrid(z, z))
    exact = Exact(np.outer(p, p).ravel(), a * np.tanh(w), float(point.field[0]))

    def fn(net):
        norm = jnp.mean(net.neurons.embedding**2)
        return jnp.stack([norm, jnp.mean(net.neurons.readout**2), net(x[0])])

    trace = bx.sample(
        problem.gibbs(width),
        bx.HMC(),
        key=jax.random.key(width),
        chains=16,
        warmup=200,
        draws=3200,
        keep=False,
        reduce={"net": bx.Mean(fn, length=100)},
    )
    truth = [exact.mean(width, each) for each in (w**2, a**2, exact.h)]
    assert np.all(np.abs(trace.reduced["net"].z_score(jnp.asarray(truth))) < 4)
    wide = finite_width(point, lambda m: jnp.stack([m.embedding[0] ** 2, m.readout**2]))
    # the prediction holds up to 1/N²
    predicted = np.asarray(wide.limit + wide.observable / width)
    assert np.all(np.abs(predicted - truth[:2]) < 3 / width**2)


@pytest.mark.slow
def test_a_law_that_underflows_at_some_nodes():
    """Third cumulants by moments: given the node `δh = μ + D ξ`, with `ξ` standard normal,
    `E δh (δh·H⁻¹δh) = (μ·H⁻¹μ + tr DᵀH⁻¹D) μ + 2 D DᵀH⁻¹μ`."""
    keys = jax.random.split(jax.random.key(0), 4)
    design, shift = jax.random.normal(keys[0], (30, 3, 2)), jax.random.normal(keys[1], (30, 3))
    masses = jax.nn.softmax(jax.random.normal(keys[2], (30,)))
    smooth = NodeCumulant(None, {}, jnp.log(masses), masses, shift, 0.3 * design)
    inverse = jnp.linalg.inv(jnp.eye(3) + smooth.covariance(jnp.zeros(3)))
    g = 0.4 * jax.random.normal(keys[3], (3,))
    law, d = smooth.law(g), smooth.design
    off = jnp.einsum("jnr,jmr,m->jn", d, d, g) + shift - smooth.mean(g)
    size = jnp.einsum("jn,nm,jm->j", off, inverse, off)
    size += jnp.einsum("jnr,nm,jmr->j", d, inverse, d)
    turned = jnp.einsum("jnr,jmr,mk,jk->jn", d, d, inverse, off)
    wanted = law @ (size[:, None] * off + 2 * turned)
    np.testing.assert_allclose(_third(smooth, g, inverse), wanted, rtol=1e-10)
    holes = NodeCumulant(None, {}, jnp.log(masses.at[3].set(0.0)), masses, shift, 0.3 * design)
    assert bool(jnp.all(jnp.isfinite(_third(holes, g, inverse))))


def test_wrong_arguments(plain):
    point = plain[0]
    closed = LinearCumulant(jnp.ones((1, 1)), jnp.asarray(0.3))
    bare = replace(point, law=None)
    for call in (
        lambda: finite_width(bare),
        lambda: finite_width(bare, lambda one: one.params, cumulant=closed),
    ):
        with pytest.raises(DeclarationError) as caught:
            call()
        assert caught.value.argument == "fixed_point"
