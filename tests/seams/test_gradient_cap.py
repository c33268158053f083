"""`max_gradients` is a cap on everything; below what the draws need the estimate says so."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.observe._adaptive_runs import careful_estimate
from boltzax.observe._local_cost import Cost, growth
from boltzax.observe._minimum import descend
from boltzax.sample import Chains, loop

KEY = jax.random.key(5)
N, DIM = 2000, 3
BETA = 1 / math.log(N)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, DIM))
Y = X @ np.ones(DIM) + RNG.normal(size=N)
MODEL = bx.models.Function(lambda w, x: jnp.dot(w, x), jnp.ones(DIM))


def energy(batch: int | None = None) -> bx.SquaredError:
    data = bx.Empirical((X, Y))
    return bx.SquaredError(MODEL, data if batch is None else bx.Subsampled(data, batch))


def half(w) -> float:
    return 0.5 * float(np.sum((X @ w - Y) ** 2))


COVARIANCE = np.linalg.inv(BETA * X.T @ X + np.eye(DIM))
MEAN = COVARIANCE @ (BETA * X.T @ Y + np.ones(DIM))
TRUTH = BETA * (half(MEAN) + 0.5 * np.trace(X.T @ X @ COVARIANCE) - half(np.ones(DIM)))
"""λ̂ of the Gaussian posterior, in closed form."""

CASES = {
    "random walk": (None, bx.RandomWalk(), 1_000),
    "Langevin": (None, bx.MALA(), 3_000),
    "trajectories": (None, bx.HMC(max_steps=16), 4_000),
    "minibatches": (20, bx.SGLD(), 10_000),
    "minibatches, a step given": (20, bx.SGLD(step_size=2e-3), 20_000),
    "small batches": (4, bx.SGLD(step_size=2e-3), 12_000),
}


SLOW = {"Langevin", "trajectories", "minibatches", "minibatches, a step given", "small batches"}
FOUND: dict[str, bx.LocalLearningCoefficient] = {}


def coefficient(name: str) -> bx.LocalLearningCoefficient:
    if name not in FOUND:
        batch, kernel, cap = CASES[name]
        FOUND[name] = bx.local_learning_coefficient(
            energy(batch), key=KEY, kernel=kernel, tolerance=0.01, max_gradients=cap
        )
    return FOUND[name]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in CASES]
)
def test_everything_stays_within_the_cap(name, monkeypatch):
    """Counted apart from the books: gradients of steps as reported, energies, passes over data."""
    from boltzax.observe import _adaptive_runs, _evidence

    batch, _, cap = CASES[name]
    looped, descended, checked = [], [], []

    def watched(dynamics, *args, **kwargs):
        made = loop(dynamics, *args, **kwargs)
        spent = float(jnp.sum(made.records["gradients"][-1]))
        looped.append((dynamics, spent, kwargs, made.records))
        return made

    def descending(*args):
        found = descend(*args)
        descended.append(found[2])
        return found

    original = _evidence.virial

    def checking(gibbs, trace, most, key):
        checked.append(min(most, trace.energy.size))
        return original(gibbs, trace, most, key)

    monkeypatch.setattr(_adaptive_runs, "loop", watched)
    monkeypatch.setattr(_evidence, "descend", descending)
    monkeypatch.setattr(_evidence, "virial", checking)
    FOUND.pop(name, None)
    result = coefficient(name)
    whole = 1 if batch is None else N / batch
    spent = whole * (sum(descended) + 1)  # and the gradients of the blocks of data
    for dynamics, gradients, settings_of_run, records in looped:
        draws = records["energy"].size
        steps = 4 * settings_of_run["warmup"] + draws * settings_of_run["thin"]
        each = 0.5 * whole if dynamics.energy_key is None else 1.0
        spent += max(gradients, 0.5 * steps) + each * draws
    in_batches = looped[0][0].energy_key is not None
    spent += sum(checked) * (1 if in_batches else whole)
    assert spent <= result.evidence.gradients <= cap
    assert spent > 0.4 * cap, "the cap is there to be used"
    assert result.evidence.batches == (batch is not None)
    assert abs(float(result.estimate.z_score(TRUTH))) < 4
    # a descent that gained nothing with its gradients has seen nothing
    gap = result.evidence.gap
    assert sum(descended) > 3 and (gap > 0 or (np.isnan(gap) and not result.usable))


def test_an_estimate_from_too_few_draws_says_what_it_would_need():
    few = coefficient("random walk")
    assert not few.usable
    assert few.evidence.needed > few.evidence.gradients
    assert f"max_gradients={few.evidence.needed:_}" in few.reason


def test_a_cap_below_the_shortest_runs_is_refused():
    for kernel, batch in ((bx.HMC(), None), (bx.SGLD(), 2)):
        with pytest.raises(bx.DeclarationError, match=r"max_gradients.*\n.*at least \d+"):
            bx.local_learning_coefficient(
                energy(batch), key=KEY, kernel=kernel, max_gradients=3_000
            )


@pytest.mark.slow
def test_runs_of_noisy_energies_have_their_heat_capacity_and_no_curve():
    """`C = β² Var E` without the noise, which here is several times as much; 4.5 s.e."""
    result = coefficient("minibatches, a step given")
    trace = result.trace
    heat = bx.heat_capacity(trace)
    spread = 0.5 * BETA**2 * np.trace(X.T @ X @ COVARIANCE @ X.T @ X @ COVARIANCE)
    gradient = X.T @ (X @ MEAN - Y)
    truth = spread + BETA**2 * gradient @ COVARIANCE @ gradient
    noise = BETA**2 * float(jnp.mean(trace.noise))
    assert noise > 2 * truth
    assert abs(float(heat.z_score(truth))) < 4.5
    assert abs(float(heat.value) + noise - truth) > 4.5 * float(heat.standard_error)
    with pytest.raises(bx.DeclarationError, match="estimated from minibatches"):
        bx.coefficient_curve(result, [0.5 * BETA])
    assert "energy_noise" in bx.to_xarray(result)["sample_stats"]


def chains(key):
    gibbs = bx.compile(energy(20), bx.Normal(), beta=BETA, marginalise=False).relative_to()
    start = {"params": jnp.ones((2, DIM)) + 0.05 * jnp.arange(2.0)[:, None]}
    return gibbs, Chains(gibbs, bx.SGLD(step_size=1e-12), True, energy_key=key), start


def test_energies_of_draws_are_unbiased_and_their_noise_is_known():
    """At places that hardly move: against energies over all data; 4.5 standard errors."""
    gibbs, dynamics, start = chains(jax.random.key(1))
    run = {"warmup": 0, "draws": 400, "thin": 1, "progress": False}
    records = loop(dynamics, start, KEY, rows=100, **run).records
    exact = jax.vmap(gibbs.energy)(start)
    error = np.asarray(records["energy"] - exact)
    noise = np.asarray(records["energy_noise"])
    assert np.all(np.abs(error.mean(0)) < 4.5 * error.std(0) / 20)
    squares = error[:, 1] ** 2 - noise[:, 1]
    assert abs(squares.mean()) < 4.5 * squares.std() / 20
    assert abs(np.corrcoef(error.T)[0, 1]) < 0.3, "each chain has batches of its own"
    other = loop(dynamics, start, KEY, rows=7, **run).records
    assert np.array_equal(other["energy"], records["energy"])
    moved = eqx.tree_at(lambda d: d.energy_key, dynamics, jax.random.key(2))
    again = loop(moved, start, KEY, rows=100, **run).records
    assert not np.array_equal(again["energy"], records["energy"])
    assert np.array_equal(again["w"]["params"], records["w"]["params"])


def test_noise_does_not_hide_slow_chains():
    """A slow series of variance 1 under noise of variance 25, against the exact error."""
    rng = np.random.default_rng(0)
    rho, count, trials = 0.99, 2000, 40
    correlated = np.sqrt((1 + rho) / (1 - rho) / (4 * count))  # of the mean, without the noise
    truth = np.hypot(correlated, 5 / np.sqrt(4 * count))
    found = {0.0: [], 25.0: []}
    for _ in range(trials):
        slow = np.empty((4, count))
        slow[:, 0] = rng.normal(size=4)
        kicks = np.sqrt(1 - rho**2) * rng.normal(size=(4, count))
        for i in range(1, count):
            slow[:, i] = rho * slow[:, i - 1] + kicks[:, i]
        series = slow + 5 * rng.normal(size=slow.shape)
        for noise, errors in found.items():
            errors.append(float(careful_estimate(series, noise=noise).standard_error))
    assert np.mean(found[25.0]) > 0.8 * truth
    assert np.mean(found[25.0]) > np.mean(found[0.0])


@given(
    st.integers(1000, 10**8), st.integers(2, 16), st.floats(1.0, 1e4),
    st.sampled_from([(1.0, 1.0, 1.0), (1.0, 3.0, 3.0), (16.0, 16.0, 8.0), (0.5, 0.5, 0.5)]),
    st.booleans(), st.booleans(),
)  # fmt: skip
@settings(max_examples=200)
def test_layouts_hold_within_what_is_allowed(cap, count, whole, steps, batches, exact):
    """Runs of steps that cost the most they can, cut as `run_once` cuts them."""
    cost = Cost(count, whole, whole, batches, exact, *steps, cap)
    assume(min(cost.parts()[:2]) >= cost.least)  # else it is refused
    total = cost.fixed + cost.descent
    for number, allowed in enumerate(cost.parts()):
        if allowed < cost.least:
            continue
        plan = cost.layout(allowed, number > 0)
        chunk = plan.rows * count * (plan.thin * cost.step + cost.energy)
        assert plan.rows == 1 or chunk <= allowed / 20
        warm = cost.spent(count * plan.warmup * (cost.typical if number == 0 else 1), 0, 0)
        if plan.warmup > 4:
            assert warm <= 0.3 * allowed + cost.begin or number > 0
        total += allowed
    assert total <= cap


def test_growth_is_one_where_nothing_is_missing():
    assert growth(1.0, 0.1, 200.0, 1.0, 4) == 1
    assert growth(1.0, 0.4, 200.0, 1.0, 4) == pytest.approx(4.0)
    assert growth(1.0, 0.1, 30.0, 1.0, 4) == pytest.approx(4.0)
    assert growth(1.0, 0.1, 200.0, 1.2, 4) == 2
    assert growth(math.nan, math.nan, math.nan, math.nan, 4) > 2


def test_a_descent_keeps_its_cap():
    gibbs = bx.compile(energy(), bx.Normal(), beta=BETA, marginalise=False)
    away = {"params": jnp.full(DIM, 3.0)}
    for most in (3, 5, 20, 2000):
        lowest, _, taken = descend(gibbs, away, most)
        assert taken <= most
        assert gibbs.log_prob(lowest) >= gibbs.log_prob(away)
    assert taken < 100, "it ends where nothing is gained"
