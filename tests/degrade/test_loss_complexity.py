"""Complexity against loss: a linear model in closed form, and two phases on a line."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

import boltzax as bx
from boltzax.core import Outcome
from boltzax.degrade import loss_complexity
from boltzax.degrade._loss_complexity import _hull

KEY = jax.random.key(0)


def line(p, x):
    return jnp.dot(p, x)


class Exact:
    """`E = ½|f - y|²`, linear in weights of a normal prior, by the eigenvalues of the kernel."""

    def __init__(self, x, y):
        self.w, vectors = np.linalg.eigh(x @ x.T)
        self.square = (vectors.T @ y) ** 2

    def free_energy(self, beta):
        rise = 1 + beta * self.w
        return 0.5 * np.sum(np.log(rise)) + 0.5 * beta * np.sum(self.square / rise)

    def mean_energy(self, beta):
        rise = 1 + beta * self.w
        return 0.5 * np.sum(self.w / rise) + 0.5 * np.sum(self.square / rise**2)

    def complexity(self, energy):
        if energy >= self.mean_energy(0.0):
            return 0.0
        beta = brentq(lambda b: self.mean_energy(b) - energy, 0, 1e6, xtol=1e-13)
        return self.free_energy(beta) - beta * energy


def problem(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(30, 4))
    y = x @ rng.normal(size=4) + 0.3 * rng.normal(size=30)
    model = bx.models.Function(line, np.zeros(4))
    return bx.SquaredError(model, bx.Empirical((x, y))), Exact(x, y)


@settings(max_examples=2)
@given(st.integers(0, 1000))
def test_a_linear_model_is_exact_at_its_levels(seed):
    energy, exact = problem(seed)
    trace = bx.anneal(bx.compile(energy, bx.Normal()), [0.1, 10.0], key=KEY)
    found = loss_complexity(trace)
    truth = [exact.complexity(e) for e in np.asarray(found.complexity.x)]
    np.testing.assert_allclose(found.complexity.value, truth, rtol=1e-10, atol=1e-10)
    # between levels the interpolation is off by less than its stated error
    x = np.asarray(found.complexity.x)
    middle = np.sqrt(x[1:] * x[:-1])
    between = loss_complexity(trace, middle)
    apart = np.abs(np.asarray(between.complexity.value) - [exact.complexity(e) for e in middle])
    assert np.all(apart <= np.asarray(between.complexity.standard_error) + 1e-6)
    assert apart.max() < 1e-3
    # it falls, is convex, and its slope is minus the β of the maximum
    slopes = np.diff(np.asarray(found.complexity.value)) / np.diff(x)
    assert np.all(slopes < 0) and np.all(np.diff(slopes) > 0)
    beta = np.asarray(found.beta)
    assert np.all((-slopes <= beta[:-1]) & (-slopes >= beta[1:]))
    assert found.mass is None and found.one_phase == Outcome.too_few


@functools.cache
def drawn():
    energy, exact = problem(0)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    betas = np.geomspace(0.01, 10, 6)
    few = {"chains": 4, "draws": 600, "thin": 5, "throw": False, "bound": False}
    return bx.anneal(gibbs, betas, bx.RandomWalk(), key=KEY, **few), energy, exact


@pytest.mark.slow
def test_a_sampled_linear_model_agrees():
    trace, energy, exact = drawn()
    found = loss_complexity(trace)
    places = np.asarray(found.complexity.x)
    scores = np.asarray(found.complexity.z_score(np.array([exact.complexity(e) for e in places])))
    assert np.all(np.abs(scores) < 4) and np.any(np.abs(scores) > 0.01)
    assert found.one_phase == Outcome.agree
    # the prior's mass, by direct draws
    x, y = (np.asarray(leaf) for leaf in energy.measure.data)
    w = np.random.default_rng(1).normal(size=(200_000, 4))
    direct = np.concatenate(
        [0.5 * np.sum((part @ x.T - y) ** 2, axis=1) for part in np.split(w, 20)]
    )
    hits = np.array([np.sum(direct <= e) for e in np.asarray(found.mass.x)])
    many = hits > 50
    apart = found.mass.values[many] - -1.0 * bx.Estimate.of_hits(hits[many], len(w), log=True)
    assert np.all(np.abs(np.asarray(apart.value / apart.standard_error)) < 4)
    # Chernoff: the Legendre transform is a lower bound
    assert np.all(np.asarray(found.mass.value) > np.asarray(found.complexity.value))


DEPTH, WIDTH, PLACE = 12.0, 0.1, 2.0


def well(model, datum):
    return DEPTH * (1 - jnp.exp(-((model.params - PLACE) ** 2) / (2 * WIDTH**2)))


def test_two_phases_on_a_line():
    """A narrow well of depth 12 under N(0, 1): `P[E <= e]` is known."""
    model = bx.models.Function(line, np.zeros(()))
    energy = bx.PerDatum(model, bx.Empirical(np.zeros(1)), well)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    few = {"chains": 4, "draws": 1000, "thin": 2, "throw": False, "bound": False, "spacing": 0.3}
    trace = bx.anneal(gibbs, np.geomspace(0.1, 3, 6), bx.RandomWalk(), key=KEY, **few)
    found = loss_complexity(trace)
    assert found.one_phase == Outcome.disagree
    (gap,) = found.coexistences
    e = np.linspace(0, DEPTH, 20_001)[1:-1]
    half = WIDTH * np.sqrt(-2 * np.log1p(-e / DEPTH))
    exact = -np.log(scipy.special.ndtr(PLACE + half) - scipy.special.ndtr(PLACE - half))
    e, exact = np.append(e, DEPTH), np.append(exact, 0.0)
    hull = _hull(e, exact)
    left, right = max(itertools.pairwise(hull), key=lambda pair: pair[1] - pair[0])
    beta = (exact[left] - exact[right]) / (e[right] - e[left])
    line_between = np.interp(e, e[[left, right]], exact[[left, right]])
    barrier = np.max((exact - line_between)[left : right + 1])
    assert abs(float(gap.beta.value) - beta) < 4 * float(gap.beta.standard_error) + 0.02
    assert abs(float(gap.barrier.value) - barrier) < 4 * float(gap.barrier.standard_error) + 0.3
    assert abs(float(gap.low) - e[left]) < 1.0 and abs(float(gap.high) - DEPTH) < 0.1
    assert "phases coexist" in repr(found)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=12))
def test_the_hull_lies_below_and_is_convex(values):
    x, y = np.arange(len(values), dtype=float), np.array(values)
    hull = _hull(x, y)
    assert hull[0] == 0 and hull[-1] == len(values) - 1
    assert np.all(np.interp(x, x[hull], y[hull]) <= y + 1e-12)
    assert np.all(np.diff(np.diff(y[hull]) / np.diff(x[hull])) >= -1e-12)


def test_energies_outside_and_runs_without_a_ladder_are_refused():
    trace, *_ = drawn()
    with pytest.raises(bx.DeclarationError, match="energies"):
        loss_complexity(trace, np.array([1e6]))
    energy, _ = problem(0)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    plain = bx.sample(gibbs, bx.RandomWalk(), key=KEY, warmup=8, draws=12, throw=False)
    with pytest.raises(bx.DeclarationError, match="ladder"):
        loss_complexity(plain)
