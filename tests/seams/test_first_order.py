"""First-order transitions: a ladder that misses a phase is contradicted by bounds on `F`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln, logsumexp

import boltzax as bx
from boltzax.core import Estimate
from boltzax.sample._temperature_ladder_checks import counted

DIM = 10
BETAS = [1.0, 100.0]
# kind, place along the first axis, width
PLANTED = {
    "a well with walls": (0.0, 0.0, 0.3),
    "a smooth well": (1.0, 0.0, 0.1),
    "a well with long slopes": (2.0, 0.0, 0.1),
    "a well with long slopes, elsewhere": (2.0, 1.0, 0.1),
}
HEALTHY = {"a parabola": (3.0, 0.0, 1.0), "two valleys": (4.0, 0.0, 1.0)}


def _energy(w, z):
    kind, place, width = z
    square = jnp.sum(w.at[0].add(-place) ** 2)
    forms = [
        jnp.where(square < width**2, 0.0, 1.0),
        1 - jnp.exp(-0.5 * square / width**2),
        square / (square + width**2),
        0.5 * square / DIM,
        (w[0] ** 2 - 1) ** 2 / 4 + 0.5 * jnp.sum(w[1:] ** 2) / DIM,
    ]
    return jnp.select([kind == i for i in range(5)], forms)


def _of_datum(model, z):
    return model(z)


@functools.cache
def gibbs(name: str) -> bx.Gibbs:
    """All cases are one program: what sets them apart is their datum."""
    datum = jnp.asarray([(PLANTED | HEALTHY)[name]])
    model = bx.models.Function(_energy, jnp.zeros(DIM))
    return bx.compile(bx.PerDatum(model, bx.Empirical(datum), _of_datum), bx.Normal())


def run(name: str, seed: int = 0, **options) -> bx.Trace:
    options = {"thin": 4, "throw": False} | options
    return bx.anneal(gibbs(name), BETAS, bx.RandomWalk(), key=jax.random.key(seed), **options)


def exact(name: str, beta: float) -> float:
    """`F` of the cases about the origin, by the radius; of the two valleys, by the first weight."""
    kind, _, width = (PLANTED | HEALTHY)[name]
    if name == "two valleys":
        x = np.linspace(-8, 8, 20_001)
        log_p = -0.5 * x**2 - beta * (x**2 - 1) ** 2 / 4
        one = -(logsumexp(log_p) + np.log(x[1] - x[0]) - 0.5 * np.log(2 * np.pi))
        return one + 0.5 * (DIM - 1) * np.log1p(beta / DIM)
    r = np.exp(np.linspace(-9.0, 2.5, 100_001))
    forms = [np.where(r < width, 0.0, 1.0), 1 - np.exp(-0.5 * r**2 / width**2),
             r**2 / (r**2 + width**2), 0.5 * r**2 / DIM]  # fmt: skip
    log_p = DIM * np.log(r) - 0.5 * r**2 - beta * forms[int(kind)]
    total = logsumexp(log_p) + np.log(np.log(r[1] / r[0]))
    return -float(total - (DIM / 2 - 1) * np.log(2) - gammaln(DIM / 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_a_missed_phase_is_flagged(name):
    """The run alone is sure of itself, and wrong by 20 nats and more."""
    alone = run(name, bound=False)
    assert alone.status == bx.Status.successful
    r_hat = bx.Estimate.of_series(alone.bridges.energy).r_hat
    assert not bool(jnp.any(r_hat >= 1.05))  # constant energies have none
    trace = run(name)
    assert trace.status == bx.Status.metastable
    assert np.max(bx.above_bounds(trace.bridges)) > 5
    with pytest.raises(bx.RunError, match="above its bound"):
        run(name, throw=True)
    if name != "a well with long slopes, elsewhere":
        assert float(bx.free_energy(alone).value[1]) > exact(name, BETAS[1]) + 20


@pytest.mark.slow
def test_a_phase_that_only_the_user_knows_is_found_from_its_seed():
    """The well is three standard deviations out, and nothing slopes towards it."""
    model = gibbs("a smooth well").declared
    datum = bx.Empirical(jnp.asarray([(1.0, 3.0, 0.1)]))
    measure = bx.compile(bx.PerDatum(model, datum, _of_datum), bx.Normal())
    key, trained = jax.random.key(0), bx.models.Function(_energy, jnp.zeros(DIM).at[0].set(3.0))
    unaided = bx.free_energy_bounds(measure, BETAS[1:], key=key)
    aided = bx.free_energy_bounds(measure, BETAS[1:], key=key, seeds=[trained])
    assert float(unaided.highest[0]) > 95
    # the prior is lower there by 3²/2 nats
    assert abs(float(aided.highest[0]) - exact("a smooth well", BETAS[1]) - 4.5) < 1


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 8), marks=pytest.mark.slow)])
def test_healthy_ladders_are_not_accused(seeds):
    """Two cases, none `metastable`. A false alarm needs `F` off by four of its standard errors and
    a bound by as many: below 3e-4 a run of 4 bounds if errors are normal, 5e-3 for 16 runs."""
    for name in HEALTHY:
        for seed in seeds:
            trace = run(name, seed, draws=400)
            assert np.all(bx.above_bounds(trace.bridges) < 0), (name, seed)
            assert trace.status != bx.Status.metastable


@pytest.mark.parametrize("name", [*HEALTHY, *list(PLANTED)[:3]])
def test_bounds_are_never_below_the_truth(name):
    """The law `F ≤ bound`, at four betas: each beyond four errors, or by chance 1 in 1,000."""
    betas = [0.5, 5.0, 50.0, 150.0]
    bounds = bx.free_energy_bounds(gibbs(name), betas, key=jax.random.key(7))
    truth = np.array([exact(name, float(beta)) for beta in bounds.betas])
    assert np.all(np.asarray(bounds.highest) >= truth - 1e-3)
    # and of use: within some nats of the truth (three for hard walls and their Markov margin)
    assert np.all(np.asarray(bounds.highest) < truth + 15)


def test_works_that_few_particles_show_are_no_false_alarm():
    """A fiftieth of the particles has weight 0: 24 often have equal works, of no spread at all."""
    rng = np.random.default_rng(0)
    low, alike = 0, 0
    for _ in range(300):
        logs = np.where(rng.random((2, 2, 24)) < 0.02, -50.0, 0.0)
        bounds = bx.Bounds(jnp.ones(2), jnp.asarray(logs), ("a", "b"), 0)
        alike += int(np.any(np.ptp(logs, axis=-1) == 0))
        low += int(np.any(np.asarray(bounds.highest) < -np.log(0.98)))
    assert alike > 150 and low <= 3


def test_the_bound_is_both_inequalities():
    """Normal log-weights of mean -v/2 and variance v: `F = 0`; three trials at two betas."""
    rng = np.random.default_rng(0)
    for variance in (0.01, 1.0, 9.0):
        low = 0
        for _ in range(300):
            logs = rng.normal(-variance / 2, np.sqrt(variance), size=(3, 2, 24))
            bounds = bx.Bounds(jnp.ones(2), jnp.asarray(logs), ("a", "b", "c"), 0)
            low += int(np.any(np.asarray(bounds.highest) < 0))
            assert np.all(np.asarray(bounds.free_energy.value) > -1.5 * np.sqrt(variance))
        assert low <= 3
    none = bx.Bounds(jnp.ones(1), jnp.full((1, 1, 24), -jnp.inf), ("a",), 0)
    zero = Estimate(*map(jnp.asarray, ([5.0], [0.0], [1.0], [1.0])))
    assert np.all(np.isinf(none.highest)) and np.all(none.excess(zero) < 0)


def test_divergences_count_where_they_can_bias():
    """At the prior's level, in a ladder without traffic, or where most trajectories diverge."""
    few, most = np.zeros((3, 2, 50), bool), np.zeros((3, 2, 50), bool)
    few[:, :, :5], most[:, :, :40] = True, True
    trips = jnp.asarray([8.0, 8.0])
    assert np.array_equal(counted(jnp.asarray(few), trips).any((1, 2)), [True, False, False])
    assert np.array_equal(counted(jnp.asarray(most), trips), most)
    assert np.array_equal(counted(jnp.asarray(few), jnp.zeros(2)), few)


@pytest.mark.slow
@pytest.mark.parametrize("powers", [(1, 1), (1, 2), (1, 2, 3)])
def test_default_runs_of_normal_crossings_are_used_and_cover(powers):
    """`½ (w_1^a w_2^b ...)²` under Uniform(-1, 1), 8 seeds: usable, and honest."""
    betas = np.exp([2.0, 5.0, 8.0])
    truth = bx.theory.normal_crossing_exact(powers, np.log(betas / 2))
    energy = bx.SquaredError(
        bx.models.Polynomial(powers), bx.Empirical(np.zeros((1, 1))), target=bx.zero
    )
    measure = bx.compile(energy, bx.Uniform(-1, 1))
    usable, scores = 0, []
    for seed in range(8):
        trace = bx.anneal(measure, betas, key=jax.random.key(seed), throw=False)
        usable += trace.status == bx.Status.successful
        scores.append(bx.learning_coefficient(trace).z_score(truth.learning_coefficient))
        scores.append(bx.free_energy(trace).z_score(truth.free_energy))
    assert usable >= 7
    assert np.max(np.abs(scores)) < 4.5
    assert np.mean(np.abs(scores) < 1.96) > 0.8


def _two_wells(w, z):
    return -jnp.logaddexp(-0.5 * (w + 3) ** 2 - 0.3, -0.5 * ((w - 3) / z[0]) ** 2)


@pytest.mark.slow
def test_a_narrow_mode_that_only_hot_levels_have_seen():
    """Its draws are far above the bottom of the wide one; `F(20)` by quadrature."""
    width = 0.01
    model = bx.models.Function(_two_wells, jnp.array(0.5))
    energy = bx.PerDatum(model, bx.Empirical(np.array([[width]])), _of_datum)
    measure = bx.compile(energy, bx.Normal(0, 3), marginalise=False)
    trace = bx.anneal(
        measure, [1.0, 5.0, 20.0], bx.RandomWalk(), key=jax.random.key(12), throw=False
    )
    w = np.linspace(-12, 12, 2_000_001)
    log_p = -0.5 * (w / 3) ** 2 - 20 * np.asarray(_two_wells(w, [width]))
    truth = -(logsumexp(log_p) + np.log(w[1] - w[0]) - np.log(3 * np.sqrt(2 * np.pi)))
    free = bx.free_energy(trace)[2]
    assert float(free.value) - truth > 5 * float(free.standard_error)  # the mode is missed
    assert trace.status == bx.Status.metastable
    assert truth < trace.bridges.bounds.highest[0] < truth + 0.5
