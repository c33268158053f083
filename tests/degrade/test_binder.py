"""Binder's cumulant and crossings, against Curie-Weiss: the transition is at βJ = 1."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import gamma, gammaln
from scipy.stats import chi2

import boltzax as bx
from boltzax.core import Outcome
from boltzax.degrade import binder_cumulant, size_crossing
from boltzax.degrade._binder import _drift, _ends

MEAN_FIELD = 1 - gamma(0.25) ** 4 / (24 * np.pi**2)


def law(spins, beta):
    """Magnetisations of `spins` spins and their probabilities, by counting."""
    k = np.arange(spins + 1)
    m = 1 - 2 * k / spins
    log_p = gammaln(spins + 1) - gammaln(k + 1) - gammaln(spins - k + 1) + beta * spins * m**2 / 2
    p = np.exp(log_p - log_p.max())
    return m, p / p.sum()


def exact(spins, beta):
    m, p = law(spins, beta)
    return 1 - (p @ m**4) / (3 * (p @ m**2) ** 2)


def test_the_value_at_the_transition_is_that_of_a_quartic_weight():
    """At βJ = 1 the law of `m N^¼` tends to `exp(-m⁴/12)`; what is left falls as N^-½."""
    left = np.array([exact(n, 1.0) - MEAN_FIELD for n in (4096, 16_384, 65_536)])
    assert np.all(np.abs(np.log2(left[:-1] / left[1:]) - 1) < 0.05)


def exact_curves(sizes):
    betas = np.linspace(0.95, 1.05, 201)
    values = {n: np.array([exact(n, b) for b in betas]) for n in sizes}
    return {n: bx.Curve(betas, bx.Estimate.exact(v), axis="beta") for n, v in values.items()}


def test_exact_curves_cross_at_the_transition():
    sizes = (64, 256, 1024, 4096)
    found = size_crossing(exact_curves(sizes))
    moved = np.asarray(found.pairs.value) - 1
    # the crossing moves as 1/N: a quarter a pair
    assert np.all(np.abs(moved[1:] / moved[:-1] - 0.25) < 0.03)
    np.testing.assert_allclose(found.exponent.value[-1], 0.5, atol=0.02)
    assert abs(float(found.value.z_score(1.0))) < 1.0
    assert found.outcome == Outcome.disagree
    # what the curves bend between points is in the errors
    for (a, b), pair in zip(itertools.pairwise(sizes), found.pairs, strict=True):
        at = float(pair.value)
        gap = (exact(b, at) - exact(a, at)) / (exact(b, at + 1e-5) - exact(a, at + 1e-5) - (
            exact(b, at) - exact(a, at))) * 1e-5  # fmt: skip
        assert abs(gap) < 1.1 * float(pair.standard_error)


def drawn(rng, sizes, betas, draws):
    curves = {}
    for spins in sizes:
        m = np.stack([rng.choice(m, p=p, size=draws) for m, p in (law(spins, b) for b in betas)])
        curves[spins] = bx.Curve(betas, binder_cumulant(m[..., None]), axis="beta")
    return curves


@pytest.mark.slow
def test_drawn_curves_cross_within_their_errors():
    rng, betas, scores = np.random.default_rng(0), np.linspace(0.9, 1.1, 9), []
    for _ in range(8):
        curves = drawn(rng, (64, 256, 1024), betas, 2000)
        truth = np.array([exact(256, b) for b in betas])
        scores.append(np.asarray(curves[256].z_score(truth)))
        found = size_crossing(curves)
        assert abs(float(found.value.z_score(1.0))) < 4
    assert 0.8 < np.std(scores) < 1.2


@pytest.mark.slow
def test_place_level_and_exponent_of_a_crossing_cover():
    """100 runs: 95 ± 2.2 of the 95% intervals should hold the exact numbers, at least 86 do.

    Slopes by differences of second order are a little too flat; the exponent has that error too.
    """
    rng, betas = np.random.default_rng(2), np.linspace(0.94, 1.06, 9)
    place = brentq(lambda b: exact(1024, b) - exact(256, b), 0.98, 1.05)
    slopes = [(exact(n, place + 1e-5) - exact(n, place - 1e-5)) / 2e-5 for n in (256, 1024)]
    truth = np.array([place, exact(1024, place), np.log(slopes[1] / slopes[0]) / np.log(4)])
    held, runs = np.zeros(3), 100
    for _ in range(runs):
        found = size_crossing(drawn(rng, (256, 1024), betas, 4000))
        for i, each in enumerate((found.pairs[0], found.level, found.exponent[0])):
            low, high = each.interval()
            held[i] += float(low) <= truth[i] <= float(high)
    assert np.all(held >= 86)


@pytest.mark.parametrize("seed", range(2))
def test_errors_of_level_and_exponent_are_those_of_moved_curves(seed):
    """To first order: curves are moved at each point, and errors are added in squares."""
    rng = np.random.default_rng(seed)
    x, sizes = np.array([0.0, 1.0, 2.5, 3.0]), (1.0, 4.0)
    values = {1.0: 0.2 * (x - 1.3), 4.0: (x - 1.4) + rng.normal(scale=0.05, size=4)}
    errors = {n: rng.uniform(1e-4, 2e-4, 4) for n in sizes}

    def crossed(moved, known):
        curves = {
            n: bx.Curve(
                x, bx.Estimate.exact(moved[n]).widened(0.0 if known else errors[n]), axis="x"
            )
            for n in sizes
        }
        return size_crossing(curves)

    def numbers(found, name):
        each = (found.level, found.exponent[0])
        return np.array([float(getattr(number, name)) for number in each])

    square = np.zeros(2)
    for n, i in itertools.product(sizes, range(4)):
        step = 1e-3 * np.eye(4)[i]
        ends = [crossed(values | {n: values[n] + s * step}, True) for s in (1, -1)]
        change = numbers(ends[0], "value") - numbers(ends[1], "value")
        square += (change / 2e-3 * errors[n][i]) ** 2
    bend = numbers(crossed(values, True), "standard_error")
    found = numbers(crossed(values, False), "standard_error")
    np.testing.assert_allclose(found**2 - bend**2, square, rtol=1e-2)


def test_chains_are_series():
    rng = np.random.default_rng(1)
    x, noise = np.zeros((1, 2000)), rng.normal(size=2000)
    for t in range(1, 2000):
        x[0, t] = 0.9 * x[0, t - 1] + noise[t]
    chain = binder_cumulant(x).estimate()
    shuffled = binder_cumulant(rng.permutation(x[0])[:, None]).estimate()
    assert float(chain.standard_error) > 2 * float(shuffled.standard_error)
    assert abs(float(chain.z_score(0.0))) < 4


@settings(max_examples=20)
@given(st.floats(0.1, 10), st.integers(0, 1000))
def test_units_do_not_matter(scale, seed):
    m = np.random.default_rng(seed).normal(size=(3, 8, 1))
    np.testing.assert_allclose(
        binder_cumulant(scale * m).value, binder_cumulant(m).value, rtol=1e-9, atol=1e-12
    )


@settings(max_examples=20)
@given(st.floats(-5, 5), st.floats(0.1, 10))
def test_another_axis_moves_the_crossing_along(shift, scale):
    curves = CURVES
    found = size_crossing(curves)
    moved = {n: c.over(scale * c.x + shift, "x") for n, c in curves.items()}
    other = size_crossing(moved)
    np.testing.assert_allclose(other.pairs.value, scale * found.pairs.value + shift, rtol=1e-9)
    np.testing.assert_allclose(
        other.pairs.standard_error, scale * found.pairs.standard_error, rtol=1e-4
    )
    np.testing.assert_allclose(other.exponent.value, found.exponent.value, rtol=1e-6)


CURVES = {n: c[::10] for n, c in exact_curves((32, 128)).items()}


def test_the_order_of_points_and_points_that_are_not_finite_do_not_matter():
    order = np.random.default_rng(3).permutation(len(CURVES[32].x))
    moved = {n: c[order] for n, c in CURVES.items()}
    x = np.append(np.asarray(CURVES[32].x), 2.0)
    longer = {
        n: bx.Curve(x, bx.Estimate.exact(np.append(np.asarray(c.value), np.nan)), axis="beta")
        for n, c in CURVES.items()
    }
    found = size_crossing(CURVES)
    for other in (size_crossing(moved), size_crossing(longer)):
        for name in ("pairs", "level", "exponent"):
            for part in ("value", "standard_error"):
                exact, same = (getattr(getattr(each, name), part) for each in (found, other))
                np.testing.assert_allclose(same, exact, rtol=1e-9)


def test_one_pair_is_undecided_and_one_curve_is_refused():
    found = size_crossing(CURVES)
    assert found.outcome == Outcome.too_few and "undecided" in repr(found)
    with pytest.raises(bx.DeclarationError, match="curves"):
        size_crossing({32: CURVES[32]})
    apart = {n: c.scaled(0.1).shifted(n / 100) for n, c in CURVES.items()}
    assert not np.isfinite(float(size_crossing(apart).value.value))


@pytest.mark.slow
@pytest.mark.parametrize("errors", [(0.003, 0.03, 0.003), (0.01, 0.01, 0.01), (0.03, 0.003, 0.03)])
def test_drift_of_curves_that_cross_at_one_place(errors):
    """At level 5% and 200 sets of curves the number of rejections has mean 10 and sd 3.1."""
    rng, x, refused = np.random.default_rng(9), np.linspace(-1, 1, 3), 0
    for _ in range(200):
        curves = {
            size: bx.Curve(
                x,
                bx.Estimate.of_samples(slope * x + 0.27 + 20 * e * rng.normal(size=(400, 3))),
                axis="beta",
            )
            for size, slope, e in zip((16, 64, 256), (1.0, 2.0, 3.0), errors, strict=True)
        }
        refused += float(size_crossing(curves).p_value) <= 0.05
    assert refused <= 10 + 3 * 3.1


@pytest.mark.parametrize(
    "error, ends", [(0.0, (3, 4)), (0.05, (2, 4)), (0.2, (1, 4)), (9.0, (0, 4))]
)
def test_steepness_is_taken_between_points_that_differ_by_more_than_noise(error, ends):
    """At the last pair of points only the left one can move away."""
    difference = bx.Estimate.exact(np.array([0.0, 1.0, 2.0, 3.0, 3.1])).widened(error)
    assert _ends(bx.Curve(np.arange(5.0), difference, axis="x"), 3.5) == ends


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_drift_of_two_pairs_is_their_difference_over_its_error(shift):
    """Three curves of one error: half of each variance is that of the curve between the pairs."""
    x = np.linspace(-1.0, 1.0, 5)
    curves = [bx.Curve(x, bx.Estimate.exact(n * x).widened(0.1), axis="beta") for n in (1, 2, 3)]
    places, errors = np.array([-0.1, 0.3]) + shift, np.array([0.1, 0.2])
    variance = np.sum(errors**2) + errors[0] * errors[1]
    p_value = _drift(bx.Estimate.exact(places).widened(errors), curves)
    assert p_value == pytest.approx(chi2.sf(0.4**2 / variance, 1), rel=1e-9)
    unknown = bx.Estimate.exact(places).widened(np.array([0.1, 0.0]))
    assert np.isnan(_drift(unknown, curves))
