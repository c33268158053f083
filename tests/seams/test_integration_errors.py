"""Integration over beta: no interval of a ladder is exact by construction."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx
from boltzax.observe._free_energy import hermite
from boltzax.sample import Bridges, Trace
from boltzax.sample._bennett import free_energies
from boltzax.sample._temperature_ladder import first_ladder

GRID = np.linspace(-8.0, 8.0, 20_001)
ENERGIES: dict[str, Callable] = {
    "one weight": lambda w: 0.5 * w**2,
    "a quartic": lambda w: 0.5 * w**4,
    "noise in the data": lambda w: 7.0 + 0.5 * (w - 0.4) ** 2,
    "two valleys": lambda w: 0.5 * (w**2 - 1) ** 2,
    "both signs": lambda w: 2.0 * w,
}


@functools.cache
def gibbs(name: str) -> bx.Gibbs:
    """One weight under a standard normal prior."""
    model = bx.models.Function(lambda w, x: ENERGIES[name](w), jnp.zeros(()))
    data = bx.Empirical(np.zeros((1, 1)))
    return bx.compile(bx.PerDatum(model, data, lambda model, x: model(x)), bx.Normal())


def exact(name: str, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`F` and the distribution functions on the grid."""
    log_p = -0.5 * GRID**2 - betas[:, None] * ENERGIES[name](GRID)
    top = log_p.max(axis=1, keepdims=True)
    density = np.exp(log_p - top)
    total = density.sum(axis=1) * (GRID[1] - GRID[0])
    free = -(np.log(total) + top[:, 0] - 0.5 * np.log(2 * np.pi))
    return free, np.cumsum(density, axis=1) / density.sum(axis=1, keepdims=True)


def independent(name: str, requested: np.ndarray, seed: int) -> tuple[Trace, np.ndarray]:
    """Independent exact draws along the ladder that `anneal` makes, and the exact `F`."""
    measure = gibbs(name)
    betas = first_ladder(measure, requested, 4 / np.sqrt(1.25), jax.random.key(seed))
    free, law = exact(name, betas)
    rng = np.random.default_rng([seed, len(name)])
    shape = (len(betas), 4, 200)
    w = np.stack([np.interp(rng.uniform(size=shape[1:]), row, GRID) for row in law])
    energy = ENERGIES[name](w)
    steps, zero = np.diff(betas)[:, None, None], np.zeros(shape)
    rows = tuple(int(np.argmin(np.abs(betas - beta))) for beta in requested)
    arrays = (betas, energy, zero, steps * energy[:-1], steps * energy[1:])
    ones = (jnp.ones(len(betas) - 1), jnp.ones(4))
    bridges = Bridges(*map(jnp.asarray, arrays), *ones, rows)
    picked = [jnp.asarray(a[list(rows)]) for a in (energy, zero, zero, zero.astype(bool))]
    trace = Trace(measure.at(requested), *picked, None, bx.Status.successful, bridges)
    return trace, free[list(rows)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ENERGIES)
def test_integration_is_as_honest_as_bennetts_ratio(name):
    """16 ladders at β = 20, 200: each |z| < 4, and the two routes within 4 of their errors.

    Chance of a false alarm: 64 scores at 6e-5 each, 1 in 250.
    """
    requested = np.array([20.0, 200.0]) if name != "both signs" else np.array([2.0, 4.0])
    for seed in range(16):
        trace, truth = independent(name, requested, seed)
        bar, rule = (bx.free_energy(trace, method) for method in ("bar", "integration"))
        assert np.all(np.abs(rule.z_score(truth)) < 4), (seed, rule, truth)
        apart = np.hypot(rule.standard_error, bar.standard_error)
        assert np.all(np.abs(rule.value - bar.value) < 4 * apart), (seed, rule, bar)
        assert np.all(np.asarray(rule.standard_error) < (1.0 if name == "both signs" else 0.4))


@pytest.mark.parametrize("weights", [1, 2])
def test_the_ladder_of_anneal_is_honest(weights):
    """`E = ½ |w|²`: off by 8.7 and 6.2 standard errors when the first interval had no error."""
    model = bx.models.Function(lambda w, x: w * x, jnp.zeros(weights))
    data = bx.Empirical(np.ones((1, 1)))
    measure = bx.compile(bx.SquaredError(model, data, bx.zero), bx.Normal(), marginalise=False)
    betas = np.array([20.0, 200.0])
    trace = bx.anneal(measure, betas, bx.RandomWalk(), key=jax.random.key(3), thin=4, bound=False)
    truth = 0.5 * weights * np.log1p(betas)
    for method in ("bar", "integration"):
        assert np.all(np.abs(bx.free_energy(trace, method).z_score(truth)) < 4)


@given(
    st.lists(st.floats(0.05, 20.0), min_size=1, max_size=4),
    st.lists(st.floats(0.3, 3.5), min_size=1, max_size=5),
    st.floats(0.2, 5.0),
)
def test_every_interval_has_an_error_that_covers(stiffness, steps, first):
    """A law of the rule without noise: `⟨E⟩ = Σ ½ μ/(1 + βμ)` on any ladder of moderate steps."""
    mu = np.array(stiffness)[:, None]
    betas = first / mu.sum() * np.concatenate([[0.0, 1.0], np.exp(np.cumsum(steps))])
    load = 1 + betas * mu
    mean, variance = (0.5 * mu / load).sum(0), (0.5 * (mu / load) ** 2).sum(0)
    # one draw of energy 0 tells where energies begin
    energy = np.stack([mean, mean], axis=1)[:, None]
    energy = np.concatenate([energy, np.zeros((len(betas), 1, 1))], axis=2)
    energy[:, 0, :2] *= 1.5  # the mean stays
    increments, errors = hermite(
        betas, energy, np.broadcast_to(variance[:, None, None], energy.shape)
    )
    truth = np.diff(0.5 * np.log(load).sum(0))
    off = np.abs(increments.mean(axis=(1, 2)) - truth)
    assert np.all(off <= 4 * errors + 1e-9 * truth), (off, errors)
    if np.ptp(np.log(mu)) > 0.1:
        assert np.all(errors > 0)


@given(apart=st.floats(0.0, 60.0), seed=st.integers(0, 1000))
def test_levels_without_overlap_have_an_error_that_reaches_the_truth(apart, seed):
    """Two Gaussians of variance 1, any distance apart, `ΔF = 0`; 5 standard errors."""
    here, there = np.random.default_rng(seed).normal(size=(2, 1, 4, 50))
    up, down = (0.5 * apart**2 - apart * x for x in (here, there + apart))
    series = free_energies(jnp.asarray(up), jnp.asarray(down))
    found = bx.Estimate.of_series(series[1], exact=True)
    assert abs(float(found.value)) <= 5 * float(found.standard_error) + 1e-12
    if apart > 10:  # Gibbs and Bogoliubov: ⟨down⟩ ≤ ΔF ≤ ⟨up⟩
        assert float(found.standard_error) > 0.4 * apart**2
