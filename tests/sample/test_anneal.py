"""Ladders: right on exact cases, honest about lagging, and compiled once."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.sample import AbstractKernel, Move
from boltzax.sample._replica_exchange import ReplicaExchange
from boltzax.sample._temperature_ladder import first_ladder

KEY = jax.random.key(11)
EIGENVALUES = np.array([1.0, 0.3, 0.01])


def quadratic(factor: float = 1.0) -> bx.Gibbs:
    """`E = ½ Σ μ_i w_i²` under N(0, I): exact at every beta."""
    roots = jnp.sqrt(jnp.asarray(EIGENVALUES)) * factor
    model = bx.models.Function(
        lambda w, x: w["w"] * w["roots"], {"w": jnp.zeros(3), "roots": roots}
    )
    energy = bx.SquaredError(model, bx.GaussianMeasure(1), target=bx.zero)
    prior = bx.Independent({"params['w']": bx.Normal()})
    return bx.compile(energy, prior, chart=bx.Freeze("params['roots']"), marginalise=False)


@pytest.fixture(
    scope="module", params=["replica_exchange", pytest.param("smc", marks=pytest.mark.slow)]
)
def ladder(request):
    betas = np.exp([0.0, 3.0, 6.0])
    # a population needs more moves a level: with 4 the reverse pass lags, and is flagged
    more = {"draws": 300, "warmup": 200, "thin": 4 if request.param == "replica_exchange" else 16}
    return bx.anneal(quadratic(), betas, bx.RandomWalk(), key=KEY, by=request.param, **more)


@pytest.mark.slow
def test_learning_coefficient_and_heat_capacity_are_exact(ladder):
    exact = bx.theory.quadratic_exact(EIGENVALUES, np.log(np.asarray(ladder.betas)))
    # each |z| < 4: false-alarm rate 2e-4 for the three betas
    assert np.all(np.abs(bx.learning_coefficient(ladder).z_score(exact.learning_coefficient)) < 4)
    load = np.asarray(ladder.betas)[:, None] * EIGENVALUES
    heat = 0.5 * np.sum((load / (1 + load)) ** 2, axis=-1)
    assert np.all(np.abs(bx.heat_capacity(ladder).z_score(heat)) < 4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bar", "integration"])
def test_free_energy_is_exact_by_both_routes(ladder, method):
    exact = bx.theory.quadratic_exact(EIGENVALUES, np.log(np.asarray(ladder.betas)))
    free = bx.free_energy(ladder, method)
    assert np.all(np.abs(free.z_score(-np.asarray(exact.log_partition))) < 4)
    assert np.all(np.asarray(free.standard_error) < 0.2)


def test_entropy_is_minus_the_relative_entropy(ladder):
    load = np.asarray(ladder.betas)[:, None] * EIGENVALUES
    exact = 0.5 * np.sum(load / (1 + load) - np.log1p(load), axis=-1)
    assert np.all(np.abs(bx.entropy(ladder).z_score(exact)) < 4)


@pytest.mark.slow
def test_requested_betas_come_back_in_the_order_given(ladder):
    betas = np.exp([6.0, 0.0])
    again = bx.anneal(quadratic(), betas, bx.RandomWalk(), key=KEY, draws=60, throw=False)
    np.testing.assert_allclose(np.asarray(again.betas), betas)
    assert again.energy.shape[0] == 2
    assert float(again.bridges.betas[0]) == 0.0


class Lazy(AbstractKernel):
    """A kernel that moves by next to nothing: no ladder equilibrates with it."""

    def init(self, gibbs, w, key, warmup):
        return w

    def step(self, gibbs, state, key, gain, warmup):
        near = {path: leaf * (1 + 1e-9 * jax.random.normal(key)) for path, leaf in state.items()}
        return near, Move(jnp.ones(()), jnp.array(False))

    def position(self, state):
        return state

    def moved(self, gibbs, state, w, key):
        return w


@pytest.mark.slow
@pytest.mark.parametrize("by", ["replica_exchange", "smc"])
def test_a_ladder_that_lags_is_flagged(by):
    run = {"key": KEY, "by": by, "draws": 64, "warmup": 0, "least_swap": 0.0}
    betas = np.exp([0.0, 4.0, 8.0, 12.0])
    trace = bx.anneal(quadratic(), betas, Lazy(), throw=False, **run)
    assert trace.status == bx.Status.lagging
    with pytest.raises(bx.RunError, match="lags behind"):
        bx.anneal(quadratic(), betas, Lazy(), **run)


@pytest.mark.slow
def test_a_gap_that_does_not_swap_gets_more_levels():
    wide = bx.anneal(
        quadratic(), [np.exp(9.0)], bx.RandomWalk(), key=KEY, spacing=9.0, draws=40, throw=False,
        least_swap=0.0,
    )  # fmt: skip
    fine = bx.anneal(
        quadratic(), [np.exp(9.0)], bx.RandomWalk(), key=KEY, spacing=9.0, draws=40, throw=False,
        least_swap=0.5,
    )  # fmt: skip
    assert fine.bridges.betas.shape[0] > wide.bridges.betas.shape[0]
    assert float(jnp.min(fine.bridges.swap_rate)) > float(jnp.min(wide.bridges.swap_rate))


@pytest.mark.slow
def test_units_one_at_a_time_agree_with_random_walk_and_quadrature():
    net = bx.models.TwoLayer(8)
    energy = bx.SquaredError(net, bx.GaussianMeasure(1), target=bx.zero)
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-1, 1))
    gibbs = bx.compile(energy, prior)
    betas = np.exp([2.0, 8.0, 14.0])
    units = bx.anneal(gibbs, betas, key=KEY, draws=150, warmup=60, throw=False)
    walk = bx.anneal(
        gibbs, betas, bx.RandomWalk(), key=KEY, draws=150, warmup=150, thin=10, throw=False
    )
    a, b = bx.learning_coefficient(units), bx.learning_coefficient(walk)
    apart = np.abs(a.value - b.value) / np.hypot(a.standard_error, b.standard_error)
    assert np.all(apart < 4)


@pytest.mark.slow
def test_two_tanh_units_match_quadrature():
    net = bx.models.TwoLayer(2)
    energy = bx.SquaredError(net, bx.GaussianMeasure(1), target=bx.zero)
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-1, 1))
    log_n = np.array([2.0, 10.0])
    trace = bx.anneal(
        bx.compile(energy, prior), np.exp(log_n), bx.RandomWalk(), key=KEY, chains=8, draws=300,
        warmup=200, thin=8, throw=False,
    )  # fmt: skip
    exact = bx.theory.tanh_zero_exact(2, log_n)
    z = bx.learning_coefficient(trace).z_score(np.asarray(exact.learning_coefficient))
    assert np.all(np.abs(z) < 4)


def learning_zero(width: int, prior: str = "uniform", **options) -> bx.Gibbs:
    embedding = bx.Uniform(-1, 1) if prior == "uniform" else bx.Normal()
    energy = bx.SquaredError(bx.models.TwoLayer(width), bx.GaussianMeasure(1), target=bx.zero)
    return bx.compile(energy, bx.Independent(readout=bx.Normal(), embedding=embedding), **options)


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["uniform", "normal"])
@pytest.mark.parametrize("width", [1, 2, 4, 16])
def test_narrow_nets_approach_their_limits(width, prior):
    """Quadrature for one and two units; for more, the limit with its next term, `-(m-1)/log n`."""
    log_n = np.array([4.0, 12.0, 20.0, 40.0, 60.0])
    trace = bx.anneal(learning_zero(width, prior), np.exp(log_n), key=KEY, chains=8)
    estimate = bx.learning_coefficient(trace)
    if width <= 2:
        exact = bx.theory.tanh_zero_exact(width, log_n, prior).learning_coefficient
        assert np.all(np.abs(estimate.z_score(np.asarray(exact))) < 4)
    limit = bx.theory.tanh_network(width)
    far = [abs(float(estimate.value[i]) - float(limit.at(log_n[i]))) for i in (2, 3, 4)]
    assert far[2] < 0.02 + 4 * float(estimate.standard_error[4])
    assert far[2] < far[0] + 4 * float(estimate.standard_error[2])


# Replica exchange by another implementation, two samplers agreeing to log n = 60; standard errors
# below .004 (H = 128) and of the size of the last digit (H = 16).
CURVES = {
    16: {0: 0.3715, 8: 1.1096, 16: 2.0127, 24: 2.6174, 30: 2.2605, 40: 2.0393, 60: 1.9907},
    128: {0: 0.5217, 4: 0.9455, 12: 1.8923, 24: 3.4428, 40: 5.6688, 60: 8.5827},
}


@pytest.mark.slow
@pytest.mark.parametrize("width", [16, 128])
def test_learning_zero_meets_the_independent_curve(width):
    curve = CURVES[width]
    betas = np.exp(np.array(list(curve), float))
    trace = bx.anneal(learning_zero(width), betas, key=KEY, draws=200)
    estimate = bx.learning_coefficient(trace)
    error = np.hypot(np.asarray(estimate.standard_error), 0.002)
    assert np.all(np.abs(np.asarray(estimate.value) - np.array(list(curve.values()))) < 4 * error)


@pytest.mark.slow
@pytest.mark.parametrize("width", [2, 4, 16])
def test_nuts_on_all_weights_agrees_with_the_marginalised_run(width):
    """At log n = 20 the ridges of the full posterior are too sharp for it, and that is said."""
    plain = learning_zero(width, marginalise=False)
    kernel = bx.NUTS(max_tree_depth=6)
    run = {"key": KEY, "warmup": 400, "draws": 400, "throw": False}
    nuts = bx.anneal(plain, np.exp([2.0, 8.0, 14.0]), kernel, **run)
    units = bx.anneal(learning_zero(width), np.exp([2.0, 8.0, 14.0]), key=KEY)
    a, b = bx.learning_coefficient(nuts), bx.learning_coefficient(units)
    apart = np.abs(a.value - b.value) / np.hypot(a.standard_error, b.standard_error)
    assert np.all(apart < 4), (a, b)
    cold = bx.anneal(plain, np.exp([20.0]), kernel, **run)
    assert cold.status != bx.Status.successful


@pytest.mark.slow
def test_tempered_smc_says_that_it_lags_through_the_crossover():
    """At H = 16, log n = 30 the population stays behind (2.26 is right), and must not pass."""
    betas, run = np.exp([0.0, 16.0, 30.0, 40.0]), {"key": KEY, "by": "smc", "draws": 256}
    walk = bx.anneal(learning_zero(16), betas, bx.RandomWalk(), thin=4, throw=False, **run)
    units = bx.anneal(learning_zero(16), betas, thin=16, **run)
    assert abs(float(bx.learning_coefficient(walk)[2].z_score(2.2605))) > 10
    assert walk.status == bx.Status.lagging
    assert abs(float(bx.learning_coefficient(units)[2].z_score(2.2605))) < 4
    assert units.status == bx.Status.successful


def test_a_ladder_for_energies_of_both_signs_begins_where_their_spread_is_a_nat():
    """`E = 50 w` under a standard normal: its median says nothing, its spread does."""
    line = bx.models.Function(_line, jnp.zeros(()))
    gibbs = bx.compile(bx.PerDatum(line, bx.Empirical(jnp.ones((1, 1))), _signed), bx.Normal())
    ladder = first_ladder(gibbs, np.array([1.0]), 1.0, jax.random.key(0))
    assert 1 / 100 < ladder[1] < 1 / 25 and len(ladder) > 3


def _line(w, x):
    return w * x[0]


def _signed(model, x):
    return 50 * model(x)


@pytest.mark.parametrize("kernel", [bx.HMC(max_steps=4), bx.MALA(), bx.RandomWalk()])
def test_replicas_keep_the_density_of_the_beta_at_which_they_run(kernel):
    """Also those that start at the coldest level: a kernel that keeps another one never moves."""
    gibbs, warmup = quadratic().at(jnp.array([0.0, 1.0, 50.0])), 40
    dynamics = ReplicaExchange(gibbs, kernel, False)
    start = {"params['w']": jax.random.normal(KEY, (3, 4, 3))}
    state = dynamics.init(start, KEY, warmup)
    step = eqx.filter_jit(dynamics.step)
    for time in range(7):
        state = step(state, jax.random.fold_in(KEY, time), jnp.zeros(()), jnp.asarray(time), warmup)
        for level, chain in np.ndindex(3, 4):
            quenched = time < 4 and chain % 2
            w = {"params['w']": kernel.position(state.kernel)["params['w']"][level, chain]}
            there = gibbs.at(gibbs.beta[-1 if quenched else level]).log_prob(w)
            assert np.isclose(state.kernel.log_prob[level, chain], there, rtol=1e-9)


def test_hmc_moves_in_every_replica():
    trace = bx.anneal(
        quadratic(), [100.0], bx.HMC(max_steps=8), key=KEY, chains=4, bound=False, throw=False
    )
    assert trace.status == bx.Status.successful
    exact = bx.theory.quadratic_exact(EIGENVALUES, np.log([100.0]))
    assert abs(float(bx.learning_coefficient(trace).z_score(exact.learning_coefficient)[0])) < 4
