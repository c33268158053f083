"""Laws that hold for every declaration."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.compile import MarginalPotential
from boltzax.declare import AbstractDataTerm
from boltzax.testing import (
    check_energy_scale,
    check_energy_sum,
    check_measure_sum,
    check_relabelling,
    check_thermodynamics,
    empiricals,
    gaussians,
    gibbs_measures,
    keys,
    positive,
    seeds,
)
from boltzax.theory import exact_free_energy, quadratic_exact

from .problems import MEASURES, PROBLEMS, every_problem, gaussian, net

KEY = jax.random.key(0)
NEIGHBOURS = list(itertools.pairwise([*MEASURES, "gaussian"]))
half_as_many = settings(max_examples=settings().max_examples // 2)
"""Laws over every problem."""


# --- energies and measures are linear -------------------------------------------------------------


@every_problem
@half_as_many
@given(seeds, seeds, keys)
def test_compiled_energies_add(problem, seed, other, key):
    (_, first, prior), (_, second, _) = problem.declare(seed), problem.declare(seed, other)
    check_energy_sum(first, second, prior, key=key)


@pytest.mark.parametrize("name", ["target", "own loss", "classes", "sum"])
@given(seeds, positive, keys)
def test_compiled_energies_scale(name, seed, factor, key):
    _, energy, prior = PROBLEMS[name].declare(seed)
    check_energy_scale(energy, factor, prior, key=key)


@pytest.mark.parametrize("kinds", NEIGHBOURS, ids=" + ".join)
@half_as_many
@given(seeds, keys)
def test_energies_are_linear_in_the_measure(kinds, seed, key):
    rng = np.random.default_rng(seed)
    mu, nu = (MEASURES[kind](rng) for kind in kinds)
    model, _, prior = PROBLEMS["zero target"].declare(seed)
    check_measure_sum(bx.SquaredError(model, mu, bx.zero), mu, nu, prior, key=key)


class Planted(AbstractDataTerm):
    """`½ ∫ f² dμ` with a planted mistake."""

    model: eqx.Module
    measure: bx.AbstractMeasure
    mistake: str = eqx.field(static=True)

    def loss(self, model, datum):
        size = self.measure.mass if self.mistake == "loss knows the mass" else 1.0
        return 0.5 * size * model(datum) ** 2

    def __rmul__(self, factor):
        return super().__rmul__(factor**2 if self.mistake == "factor squared" else factor)

    def __add__(self, other):
        return self if self.mistake == "sum forgets an energy" else super().__add__(other)


NET, MU = bx.models.TwoLayer(3, key=KEY), bx.GaussianMeasure(1, order=16)
PRIOR = bx.Independent({"*": bx.Normal()})


def unequal_units():
    prior = bx.Independent(readout=bx.Normal(jnp.arange(3.0), 1.0), embedding=bx.Normal())
    return bx.compile(bx.SquaredError(NET, MU, bx.zero), prior, marginalise=False)


def negative_energy():
    number = bx.models.Function(lambda p, x: p, jnp.zeros(()))
    return bx.compile(bx.PerDatum(number, MU, lambda m, z: m(z)), bx.Uniform(-1, 1))


PLANTED = {
    "check_energy_scale": {
        "factor squared": lambda said: check_energy_scale(
            Planted(NET, MU, said), 3.0, PRIOR, key=KEY
        ),
    },
    "check_energy_sum": {
        "sum forgets an energy": lambda said: check_energy_sum(
            Planted(NET, MU, said), Planted(NET, MU, said), PRIOR, key=KEY
        ),
    },
    "check_measure_sum": {
        "loss knows the mass": lambda said: check_measure_sum(
            Planted(NET, MU, said), MU, 2.0 * MU, PRIOR, key=KEY
        ),
    },
    "check_relabelling": {
        "units with priors of their own": lambda said: check_relabelling(unequal_units(), key=KEY),
    },
    "check_thermodynamics": {
        "an energy below 0": lambda said: check_thermodynamics(
            negative_energy(), [0.5, 1.0], [(-30.0, 30.0)]
        ),
    },
}
"""Mistakes, and the law that each breaks."""


@pytest.mark.parametrize("law", PLANTED)
def test_a_planted_mistake_breaks_its_law(law):
    """The laws can fail."""
    for mistake, check in PLANTED[law].items():
        with pytest.raises(AssertionError):
            check(mistake)


# --- any compiled measure -------------------------------------------------------------------------


@eqx.filter_jit
def parts(gibbs, key):
    w = gibbs.sample_prior(key)
    moments = gibbs.moments(w)
    slope = jax.grad(lambda beta: gibbs.potential_at(w, beta))(gibbs.beta)
    back = gibbs.position(gibbs.model(w))
    return w, back, moments, slope, gibbs.log_prob(w), gibbs.log_prior(w)


@every_problem
@half_as_many
@given(seeds, positive, keys)
def test_parts_of_the_density_fit(problem, seed, beta, key):
    gibbs = problem.gibbs(seed, beta)
    w, back, moments, slope, log_prob, log_prior = parts(gibbs, key)
    np.testing.assert_allclose(log_prob, log_prior - moments.potential, rtol=1e-12)
    np.testing.assert_allclose(moments.energy, slope, rtol=1e-8)
    assert moments.energy >= 0
    assert moments.energy_variance >= 0
    assert gibbs.dim == sum(leaf.size for leaf in w.values()) <= gibbs.parameters
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), back, w)


@pytest.mark.parametrize("name", ["zero target", "target", "data", "box"])
@pytest.mark.parametrize("marginalise", [None, False])
@given(seeds, positive, keys)
def test_relabelling_hidden_units_changes_nothing(name, marginalise, seed, beta, key):
    check_relabelling(PROBLEMS[name].gibbs(seed, beta, marginalise=marginalise), key=key)


# --- thermodynamics -------------------------------------------------------------------------------


def product_net(a, b):
    return bx.models.Function(lambda p, x: p[0] * jnp.tanh(p[1] * x[0]), jnp.array([a, b]))


@pytest.mark.slow
@settings(max_examples=2)
@given(gaussians(), st.floats(0.1, 3.0), st.sampled_from(["normal", "uniform"]))
def test_free_energy_rises_and_is_concave(measure, beta, kind):
    """A singular model of two weights, by quadrature."""
    prior, reach = {"normal": (bx.Normal(0.2, 0.5), 4.5), "uniform": (bx.Uniform(-1, 1), 36.0)}[
        kind
    ]
    energy = bx.SquaredError(product_net(0.0, 0.0), measure, lambda x: 0.5 * x[0])
    gibbs = bx.compile(energy, prior)
    bounds = [(-reach, reach + 0.4)] * 2
    check_thermodynamics(gibbs, beta * np.array([0.5, 4.0]), bounds)


@pytest.mark.slow
@settings(max_examples=1)
@given(empiricals(), st.floats(0.1, 3.0), st.floats(0.5, 2.0))
def test_free_energy_with_the_readout_integrated_out(data, beta, scale):
    """One weight is left; its potential is the free energy of the other, and the law the same."""
    net = bx.models.TwoLayer(1)
    prior = bx.Independent(readout=bx.Normal(0.3, scale), embedding=bx.Normal())
    energy = bx.SquaredError(net, data, lambda x: jnp.sin(x[0]))
    gibbs, plain = bx.compile(energy, prior), bx.compile(energy, prior, marginalise=False)
    assert isinstance(gibbs.potential, MarginalPotential)
    betas = beta * np.array([0.5, 3.0])
    check_thermodynamics(gibbs, betas, [(-9.0, 9.0)])

    def free(gibbs, unpack, bounds):
        return exact_free_energy(
            lambda x, b: gibbs.potential_at(unpack(x), b),
            lambda x: gibbs.log_prior(unpack(x)),
            bounds,
            betas,
            tolerance=1e-6,
        )

    one = free(gibbs, lambda x: {"embedding": x[:, None]}, [(-9.0, 9.0)])
    two = free(
        plain,
        lambda x: {"embedding": x[:1, None], "readout": x[1:]},
        [(-9.0, 9.0), (0.3 - 9 * scale, 0.3 + 9 * scale)],
    )
    np.testing.assert_allclose(one.free_energy, two.free_energy, rtol=1e-6)
    np.testing.assert_allclose(one.learning_coefficient, two.learning_coefficient, rtol=1e-6)


# --- counting parameters --------------------------------------------------------------------------

FEATURES = 4


def regression(seed, free):
    """Linear regression with `free` of four weights free, the rest frozen at the truth."""
    rng = np.random.default_rng(seed)
    truth = jnp.asarray(rng.normal(size=FEATURES))
    x = rng.normal(size=(30, FEATURES))
    data = bx.Empirical((x, jnp.asarray(x) @ truth))
    model = bx.models.Function(lambda p, x: p @ x, truth)
    chart = bx.Mask({"params": np.arange(FEATURES) < free})
    prior = bx.Normal(truth, 1.0)
    gibbs = bx.compile(bx.SquaredError(model, data), prior, chart=chart, marginalise=False)
    eigenvalues = np.linalg.eigvalsh(x[:, :free].T @ x[:, :free])
    return gibbs, truth[:free], eigenvalues


@pytest.mark.slow
@settings(max_examples=2)
@given(seeds, st.sampled_from([1, 2]))
def test_a_regular_model_counts_its_free_weights(seed, free):
    """λ̂ -> k/2 with all but k weights frozen; at any n the closed form of a Gaussian integral."""
    gibbs, truth, eigenvalues = regression(seed, free)
    assert gibbs.dim == free
    log_n = np.array([-2.0, 1.0, 4.0])
    exact = exact_free_energy(
        lambda x, beta: gibbs.potential_at({"params": truth + x}, beta),
        lambda x: gibbs.log_prior({"params": truth + x}),
        [(-9.0, 9.0)] * free,
        np.exp(log_n),
    )
    closed = quadratic_exact(eigenvalues, log_n)
    np.testing.assert_allclose(exact.log_partition, closed.log_partition, rtol=1e-7)
    np.testing.assert_allclose(exact.learning_coefficient, closed.learning_coefficient, rtol=1e-7)
    cold = quadratic_exact(eigenvalues, 40.0)
    np.testing.assert_allclose(cold.learning_coefficient, free / 2, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("free", [1, 3])
def test_draws_of_a_regular_model_count_its_free_weights(free):
    gibbs, _, eigenvalues = regression(3, free)
    beta = 50.0
    trace = bx.sample(gibbs.at(beta), bx.RandomWalk(), key=KEY, warmup=600, draws=2500)
    estimate = bx.learning_coefficient(trace)
    truth = quadratic_exact(eigenvalues, np.log(beta)).learning_coefficient
    assert abs(float(estimate.z_score(truth))) < 4.5
    assert abs(float(truth) - free / 2) < 0.01


@eqx.filter_jit
def coefficient_at(gibbs, key):
    weights = gibbs.constrain(gibbs.sample_prior(key))
    design = gibbs.potential.linear_gaussian(weights).design
    return gibbs.beta * gibbs.potential.moments(weights, gibbs.beta).energy, design


@pytest.mark.parametrize("scaling", ["standard", "mean_field", "ntk"])
@given(seeds, st.floats(-2.0, 20.0), keys)
def test_learning_coefficient_of_the_zero_target_is_bounded(scaling, seed, log_n, key):
    """`λ̂ = ⟨½ Σ_i s_i/(1+s_i)⟩` lies between 0 and half the number of modes, or of readouts.

    It holds at each draw: for the modes `s_i = n σ_i²` of the units in use, with at most
    `½ min(1, s_i)` from each, so that modes with `s_i << 1` count nothing.
    """
    model = net(scaling=scaling)(np.random.default_rng(seed))
    energy = bx.SquaredError(model, gaussian(np.random.default_rng(seed)), bx.zero)
    beta = float(np.exp(log_n))
    gibbs = bx.compile(energy, bx.Normal(0.0, 1.0), beta=beta, marginalise=True)
    coefficient, design = coefficient_at(gibbs, key)
    s = beta * np.linalg.svd(design, compute_uv=False) ** 2
    slack = 1e-8 * len(s)
    assert -slack <= coefficient <= 0.5 * np.sum(np.minimum(s, 1.0)) + slack
    assert coefficient <= 0.5 * model.readout.size + slack
    assert coefficient <= 0.5 * gibbs.parameters
    np.testing.assert_allclose(coefficient, 0.5 * np.sum(s / (1 + s)), rtol=1e-6, atol=1e-12)


# --- the strategies of users ----------------------------------------------------------------------


@settings(max_examples=4)
@given(gibbs_measures(), keys)
def test_measures_of_the_strategies_keep_the_laws(gibbs, key):
    """Their structures vary too, so that most examples are compilations."""
    w, _, moments, slope, log_prob, log_prior = parts(gibbs, key)
    np.testing.assert_allclose(log_prob, log_prior - moments.potential, rtol=1e-12)
    np.testing.assert_allclose(moments.energy, slope, rtol=1e-8)
    assert gibbs.dim == sum(leaf.size for leaf in w.values())
