"""Phases: what disjoint regions add up to, against closed forms and against the whole."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.sample import bar_series

from .test_observables import independent

LOG_N = np.array([1.0, 3.0, 5.0])
BETAS = np.exp(LOG_N)


@functools.cache
def run(low: float, high: float, seed: int) -> bx.Trace:
    """`E = ½ w²`, `w ~ U(low, high)`."""
    model = bx.models.Polynomial((1,))
    gibbs = bx.compile(
        bx.SquaredError(model, bx.GaussianMeasure(1, order=2), bx.zero), bx.Uniform(low, high)
    )
    options = {"draws": 500, "thin": 4, "keep": True, "bound": False}
    return bx.anneal(gibbs, BETAS, bx.RandomWalk(), key=jax.random.key(seed), **options)


def exact(low: float, high: float, beta: float) -> tuple[float, float]:
    """`∫ exp(-β w²/2) dw / 2` over the interval (the prior is U(-1, 1)), and `⟨β w²/2⟩`."""
    root = math.sqrt(beta)
    z = math.sqrt(math.pi / 2) / root / 2
    z *= math.erf(high * root / math.sqrt(2)) - math.erf(low * root / math.sqrt(2))
    edge = (high * math.exp(-beta * high**2 / 2) - low * math.exp(-beta * low**2 / 2)) / 2
    return z, 0.5 - 0.5 * edge / z


@pytest.mark.slow
def test_two_regions_give_the_closed_forms_of_the_whole():
    cut = 0.25
    parts = [
        bx.Phase(run(-1.0, cut, 0), math.log((1 + cut) / 2)),
        bx.Phase(run(cut, 1.0, 1), math.log((1 - cut) / 2)),
    ]
    result = bx.phases(parts)
    left, right, whole = (
        np.array([exact(a, b, beta) for beta in BETAS])
        for a, b in ((-1.0, cut), (cut, 1.0), (-1.0, 1.0))
    )
    # 15 numbers: |z| < 4 is exceeded by chance once in a thousand
    for estimate, truth in (
        (result.free_energy, -np.log(whole[:, 0])),
        (result.learning_coefficient, whole[:, 1]),
        (result.probability[0], left[:, 0] / whole[:, 0]),
        (result.probability[1], right[:, 0] / whole[:, 0]),
        (result.free_energies[1], -np.log(right[:, 0])),
    ):
        assert np.all(np.abs(np.asarray(estimate.z_score(truth))) < 4), (estimate, truth)
        assert np.all(np.asarray(estimate.standard_error) < 0.1)


@pytest.mark.slow
def test_a_share_of_the_draws_is_a_region():
    """The region w > 0.25 as the draws of the whole that lie there."""
    whole = run(-1.0, 1.0, 2)
    inside = whole.evaluate(lambda model: (model.weight[0] > 0.25).astype(float))
    part = bx.phases([bx.Phase(whole, share=inside)])
    for k, beta in enumerate(BETAS[:2]):
        z, coefficient = exact(0.25, 1.0, beta)
        assert abs(float(part.free_energy[k].z_score(-math.log(z)))) < 4
        assert abs(float(part.learning_coefficient[k].z_score(coefficient))) < 4
    # at the last beta hardly a draw lies there, and that is said
    assert float(part.free_energies.ess[0, -1]) == float(jnp.sum(inside[-1])) < 20


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0.05, 0.9), min_size=1, max_size=3), st.floats(-2.0, 2.0))
def test_shares_that_add_to_one_give_the_whole(shares, log_mass):
    """However the draws are shared out; and a mass common to all shifts F and nothing else."""
    whole = run(-1.0, 1.0, 2)
    key = jax.random.key(0)
    rest = jnp.ones_like(whole.energy)
    parts = []
    for i, share in enumerate(shares):
        own = rest * share * jax.random.uniform(jax.random.fold_in(key, i), rest.shape)
        parts, rest = [*parts, bx.Phase(whole, log_mass, own)], rest - own
    result = bx.phases([*parts, bx.Phase(whole, log_mass, rest)])
    np.testing.assert_allclose(
        result.free_energy.value, bx.free_energy(whole).value - log_mass, rtol=1e-10, atol=1e-10
    )
    np.testing.assert_allclose(
        result.learning_coefficient.value, bx.learning_coefficient(whole).value, rtol=1e-10
    )
    np.testing.assert_allclose(jnp.sum(result.probability.value, axis=0), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        (
            "trace",
            lambda t: bx.Phase(
                bx.sample(
                    t.gibbs.at(1.0),
                    bx.RandomWalk(),
                    throw=False,
                    key=jax.random.key(0),
                    warmup=4,
                    draws=4,
                )
            ),
        ),
        ("share", lambda t: bx.Phase(t, share=jnp.ones(3))),
        ("share", lambda t: bx.Phase(t, share=-jnp.ones_like(t.energy))),
        ("share", lambda t: bx.Phase(t, share=jnp.zeros_like(t.energy))),
        ("parts", lambda t: bx.phases([])),
    ],
)
def test_mistakes(argument, make):
    with pytest.raises(bx.DeclarationError) as error:
        make(run(-1.0, 1.0, 2))
    assert error.value.argument == argument


def test_a_reference_takes_its_energy_from_each_beta():
    trace, betas = independent([0.0, 0.5, 2.0], 50)
    bare, less = (bx.phases([bx.Phase(trace)], **given) for given in ({}, {"reference": 0.3}))
    np.testing.assert_allclose(bare.free_energy.value, bx.free_energy(trace).value, atol=1e-12)
    np.testing.assert_allclose(less.free_energy.value, bare.free_energy.value - 0.3 * betas)
    own = bare.learning_coefficient.value - 0.3 * betas
    np.testing.assert_allclose(less.learning_coefficient.value, own, atol=1e-12)


def test_shares_enter_by_their_means_and_errors_to_first_order():
    """Two regions of runs of their own: sums over draws, and the delta method in NumPy."""
    ladder, reference, masses = [0.0, 0.5, 2.0, 6.0], 0.3, (-0.4, 0.7)
    runs = [independent(ladder, 60, jax.random.key(seed)) for seed in (0, 1)]
    rng = np.random.default_rng(0)
    energies = [np.asarray(trace.energy) for trace, _ in runs]
    shares = [np.exp(1.5 * rng.normal(size=e.shape) - 0.5 * e) * (e < 2) for e in energies]
    parts = [
        bx.Phase(trace, mass, jnp.asarray(share))
        for (trace, _), mass, share in zip(runs, masses, shares, strict=True)
    ]
    found = bx.phases(parts, reference=reference)
    betas = np.array(ladder)
    wide, values, series, kish = betas[:, None, None], [], [], []
    for part, mass, share, energy in zip(parts, masses, shares, energies, strict=True):
        count = share.mean(axis=(1, 2))
        bar = np.asarray(bar_series(part.trace.bridges))
        free = bar.mean(axis=(1, 2)) - mass - np.log(count) - betas * reference
        heat = wide * (energy - reference)
        slope = (share * heat).sum(axis=(1, 2)) / share.sum(axis=(1, 2))
        values.append((free, slope))
        share = share / count[:, None, None]
        # what each draw moves the two by
        series.append((bar - share, share * (heat - slope[:, None, None])))
        kish.append(1 / np.mean(share**2, axis=(1, 2)) * share[0].size)

    def error(each):
        return np.asarray(bx.Estimate.of_series(each, exact=True).standard_error)

    free, slope = (np.stack(each) for each in zip(*values, strict=True))
    whole = -np.log(np.sum(np.exp(-free), axis=0))
    p = np.exp(whole - free)
    mean = np.sum(p * slope, axis=0)
    np.testing.assert_allclose(found.free_energies.value, free, rtol=1e-9)
    np.testing.assert_allclose(found.learning_coefficients.value, slope, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.free_energy.value, whole, rtol=1e-9)
    np.testing.assert_allclose(found.probability.value, p, rtol=1e-9)
    np.testing.assert_allclose(found.learning_coefficient.value, mean, rtol=1e-9, atol=1e-12)

    errors = [[error(each) for each in of_run] for of_run in series]
    for estimate, which in ((found.free_energies, 0), (found.learning_coefficients, 1)):
        own = np.stack([each[which] for each in errors])
        np.testing.assert_allclose(estimate.standard_error, own, rtol=1e-6)
        least = [bx.Estimate.of_series(each[which], exact=True).ess for each in series]
        np.testing.assert_allclose(estimate.ess, np.minimum(kish, least), rtol=1e-6)
    assert np.all(np.array(kish) < 100)
    squares = np.stack([each[0] for each in errors]) ** 2
    np.testing.assert_allclose(
        found.free_energy.standard_error, np.sqrt(np.sum(p**2 * squares, axis=0)), rtol=1e-6
    )
    both = np.sqrt(np.sum(squares, axis=0)) * p[0] * p[1]
    np.testing.assert_allclose(found.probability.standard_error, [both, both], rtol=1e-6)
    moved = [
        error(p_i[:, None, None] * (s - (c - mean)[:, None, None] * f))
        for p_i, c, (f, s) in zip(p, slope, series, strict=True)
    ]
    np.testing.assert_allclose(
        found.learning_coefficient.standard_error, np.hypot(*moved), rtol=1e-6
    )


def test_betas_of_parts_and_rows_of_a_part():
    trace, _ = independent([0.0, 0.5, 2.0], 20)
    other, _ = independent([0.0, 0.5, 3.0], 20)
    with pytest.raises(bx.DeclarationError, match="same betas"):
        bx.phases([bx.Phase(trace), bx.Phase(other)])
    part = bx.Phase(trace, 0.2, jnp.full_like(trace.energy, 0.5))
    np.testing.assert_array_equal(part.share, 0.5)
    rows = part[1:]
    assert rows.share.shape == (2, 4, 20) and float(rows.log_mass) == 0.2
    np.testing.assert_array_equal(rows.trace.betas, [0.5, 2.0])
