"""Dials at matched survival, and what is said where a survival does not cross its level."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.degrade import characteristic_temperature, order_of_death, selectivity
from boltzax.degrade._order_of_death import _crossing
from boltzax.degrade._selectivity import NEAR, _around

law = settings(derandomize=True, deadline=None, max_examples=4)
MATCHED = 1 / (1 + 4 * 3 / 7)
"""Of `1/(1 + 2T)` where `1/(1 + T/2)` is 0.7."""


def dying(x, noise=None):
    """Two survivals, exact or with noise `[2, point, sample]` of the same draws."""
    values = np.stack([1 / (1 + x / 2), 1 / (1 + 2 * x)])
    if noise is None:
        return [bx.Curve(x, bx.Estimate.exact(v), axis="temperature") for v in values]
    drawn = [bx.Influence.of((v + n.T).T[..., None], source="a") for v, n in zip(values, noise)]
    return [bx.Curve(x, each, axis="temperature") for each in drawn]


@law
@given(st.integers(0, 99), st.floats(-2, 2), st.floats(-1, 1), st.floats(0.4, 0.8))
def test_a_line_in_the_other_survival_is_known_without_error(seed, slope, offset, at):
    """Of curves that share their draws; in any order of the points and any unit of the dial."""
    rng = np.random.default_rng(seed)
    x = rng.permutation(np.geomspace(0.05, 20, 14))
    kept = dying(x, 0.02 * rng.normal(size=(2, 30, 14)).transpose(0, 2, 1))[0]
    for unit in (1.0, 7.0):
        scaled = kept.over(unit * x, "temperature")
        found = selectivity(scaled, scaled.scaled(slope).shifted(offset), at)
        assert np.isclose(float(found.value), slope * at + offset, atol=1e-5)
        assert not float(found.standard_error) > 1e-5


@pytest.mark.parametrize("points", [7, 12, 24])
def test_exact_curves_are_matched_within_their_errors(points):
    found = selectivity(*dying(np.geomspace(0.05, 20, points)))
    assert abs(float(found.value) - MATCHED) < 4 * float(found.standard_error) < 0.3 / points


@pytest.mark.parametrize(
    ("points", "samples"), [(40, 50), pytest.param(12, 6, marks=pytest.mark.slow)]
)
def test_intervals_of_noisy_curves_cover(points, samples):
    """Of 40 runs; a line between two neighbours would have errors up to 30 times larger."""
    x, hits, errors = np.geomspace(0.05, 20, points), [], []
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(size=(2, points, samples))
        found = selectivity(*dying(x, 0.03 * samples**0.5 * noise))
        hits.append(float(found.lower) <= MATCHED <= float(found.upper))
        errors.append(float(found.standard_error))
    assert np.sum(hits) >= 34  # P = 0.3% at 95%
    assert np.median(errors) < 0.05


def raised(change, noise=0.0):
    x = np.geomspace(0.1, 10, 9)
    values = 1 / (1 + x) + change
    drawn = np.random.default_rng(0).normal(size=(40, 9))
    drawn -= drawn.mean(axis=0)
    return bx.Curve(x, bx.Estimate.of_samples(values + noise * drawn), axis="temperature")


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        (raised(0.6, 0.1), "no point is significantly below"),
        (raised(-0.6, 0.1), "no point is significantly above"),
        (raised(0.6, 20.0), "no point differs"),
        (raised(0.6), "no point has an error"),
    ],
)
def test_the_reason_is_said_where_the_level_is_not_crossed(curve, reason):
    with pytest.warns(RuntimeWarning, match=reason):
        assert np.isnan(characteristic_temperature(curve).value)
    with pytest.warns(RuntimeWarning, match=reason):
        assert np.isnan(selectivity(curve, curve, 0.5).value)


def test_an_order_says_which_structure_lives_on():
    found = order_of_death({"a": raised(0.6, 0.1), "b": raised(0.0, 0.1)}, key=jax.random.key(0))
    assert "a: does not significantly cross" in repr(found)


def test_exact_curves_that_are_not_resolved_are_matched_between_two_points():
    """One pruned model a setting: a cubic through jagged points would give values far outside."""
    x, apart = np.linspace(0.02, 0.9, 16), []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        values = (1 - 0.9 * x + 0.03 * rng.normal(size=16), 1 - 1.2 * x + 0.2 * rng.normal(size=16))
        kept, lost = (bx.Curve(x, bx.Estimate.exact(v), axis="share") for v in values)
        if len(kept.crossings(0.7).value) > 1:
            continue
        found = selectivity(kept, lost)
        right = int(np.flatnonzero(values[0] < 0.7)[0])
        low, high = np.sort(values[1][right - 1 : right + 1])
        value, error = float(found.value), float(found.standard_error)
        apart.append(max(low - value, value - high, 0.0) / error)
    assert len(apart) > 10 and max(apart) < 3


def test_drawn_survivals_die_at_the_crossing_nearest_to_their_own():
    """Of rows that cross twice, once and never; on a line where x is not positive."""
    rows = np.array([[0.0, 2.0, 2.0, 0.0, 0.0], [3.0, 2.0, 1.0, 0.0, -1.0], [2.0] * 5, [0.0] * 5])
    places, still = np.arange(5.0), np.zeros(4)
    curve = bx.Curve(places, bx.Estimate.exact(rows[0]), axis="temperature")
    assert np.array_equal(_crossing(curve, rows, 1.0, 0.6, still), [0.5, 2.0, np.inf, -np.inf])
    assert np.array_equal(_crossing(curve, rows, 1.0, 2.6, still), [2.5, 2.0, np.inf, -np.inf])
    assert np.array_equal(_crossing(curve, rows, 1.0, np.inf, still), [2.5, 2.0, np.inf, -np.inf])
    over = bx.Curve(np.exp(places), bx.Estimate.exact(rows[0]), axis="temperature")
    found = _crossing(over, rows, 1.0, np.exp(2.4), still)
    assert np.allclose(found, [np.exp(2.5), np.exp(2.0), np.inf, -np.inf])


@pytest.mark.parametrize("shift, place", [(0.2, 0.7), (-0.3, 0.2), (5.0, 1.0), (-5.0, 0.0)])
def test_a_crossing_moves_by_its_interpolation_but_not_beyond_its_settings(shift, place):
    values = np.array([[0.0, 2.0, 2.0]])
    curve = bx.Curve(np.arange(3.0), bx.Estimate.exact(values[0]), axis="temperature")
    found = _crossing(curve, values, 1.0, 0.6, np.array([shift]))
    assert np.allclose(found, [place])


def test_the_points_of_a_fit_are_near_the_level_and_two_on_either_side_at_least():
    near, far = 0.9 * NEAR, 1.1 * NEAR
    for distance, chosen in (
        ([far, near, near, near, near, far, near], [0, 1, 1, 1, 1, 0, 0]),
        ([near, far, far, far, far, far, near], [1, 1, 1, 1, 1, 0, 0]),
        ([near, near, near, near, far, far, far], [1, 1, 1, 1, 1, 0, 0]),
    ):
        assert np.array_equal(_around(np.array(distance), 3), np.array(chosen, bool))
    assert np.array_equal(_around(np.array([far, far, far]), 1), [True] * 3)


def test_temperatures_are_interpolated_on_a_log_scale_unless_one_is_zero():
    for x, values in (
        (np.arange(5.0), 1 - np.arange(5) / 4),
        (np.exp(np.arange(5.0)), 1 - np.arange(5) / 4),
    ):
        curve = bx.Curve(x, bx.Estimate.exact(values), axis="temperature")
        truth = 2.8 if x[0] == 0 else np.exp(2.8)
        assert float(characteristic_temperature(curve, 0.3).value) == pytest.approx(truth, rel=1e-9)
