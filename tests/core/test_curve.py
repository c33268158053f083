"""Curves: axes, slices, slopes, crossings, differences, and errors of shared draws."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx

E, C, J = bx.Estimate, bx.Curve, bx.Influence


def line(x, value, error=0.0):
    return C(x, E.exact(value).widened(np.broadcast_to(error, np.shape(value))), axis="beta")


def shared(seed=0, slope=1.0, draws=500):
    """A straight line that one run moves up and down as a whole, but for 1/1000."""
    x = np.linspace(0, 4, 9)
    rng, own = np.random.default_rng(seed), np.random.default_rng(1)
    noise = rng.normal(size=(4, draws)) + 1e-3 * own.normal(size=(9, 4, draws))
    return C(x, J.of(slope * x[:, None, None] - 2 + noise), axis="temperature", unit="K")


def test_parts_of_a_curve():
    whole = shared()
    part = whole[2:5]
    assert isinstance(part, C) and len(part) == 3 and (part.axis, part.unit) == ("temperature", "K")
    np.testing.assert_array_equal(part.x, whole.x[2:5])
    np.testing.assert_array_equal(part.influence.value, whole.influence.value[2:5])
    assert isinstance(whole[1], E) and isinstance(whole[np.int64(1)], E)
    np.testing.assert_array_equal(whole[whole.x > 1].x, whole.x[3:])
    assert [float(e) for e in whole] == [float(v) for v in whole.value]
    np.testing.assert_array_equal(whole.interval()[0], whole.values.interval()[0])
    assert "Curve over temperature (K)" in repr(whole)
    table = whole._repr_html_()
    assert "Curve over temperature (K)" in table
    assert [f"<td>{float(x):.5g}</td>" in table for x in whole.x] == [True] * len(whole)


@given(st.integers(0, 2**31), st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2))
def test_slopes_and_places_of_a_parabola_are_exact(seed, a, b, c):
    x = np.random.default_rng(seed).uniform(size=7) + np.arange(7)
    curve = line(x, a * x**2 + b * x + c, 0.1)
    np.testing.assert_allclose(curve.slope().value, 2 * a * x + b, atol=1e-9)
    flat = line(x, b * x + c, 0.1)
    middle = 0.5 * (x[1:] + x[:-1])
    np.testing.assert_allclose(flat.at(middle).value, b * middle + c, atol=1e-9)
    np.testing.assert_allclose(flat.at(middle).standard_error, 0.1 / np.sqrt(2))


def test_the_error_of_a_slope_is_that_of_its_differences():
    ends = line([1.0, 3.0], [0.0, 1.0], 0.1).slope()
    np.testing.assert_allclose(ends.standard_error, 0.1 * np.sqrt(2) / 2)
    inner = line([0.0, 1.0, 2.0], [0.0, 1.0, 1.0], 0.1).slope()[1]
    np.testing.assert_allclose(inner.standard_error, 0.1 * np.sqrt(2) / 2)


def test_the_order_of_places_does_not_matter():
    x = np.array([3.0, -np.inf, 1.0, 2.0])
    curve = line(x, x - 1.5, 0.1)
    np.testing.assert_allclose(curve.crossing().value, 1.5)
    np.testing.assert_allclose(curve.at(2.5).value, 1.0)
    np.testing.assert_array_equal(curve.slope().x, [1, 2, 3])


@given(st.floats(-1.9, 1.9), st.floats(0.05, 3), st.booleans())
def test_a_crossing_is_where_the_line_is_at_the_level(level, slope, falls):
    x = np.linspace(-3, 3, 7) * max(1, 1 / slope)
    curve = line(x, (-slope if falls else slope) * x, 0.01)
    found = curve.crossing(level)
    place = level / (-slope if falls else slope)
    np.testing.assert_allclose(found.value, place, atol=1e-9)
    share = (place - x[0]) / (x[1] - x[0]) % 1
    error = 0.01 * np.hypot(share, 1 - share) / slope
    np.testing.assert_allclose(found.standard_error, error, rtol=1e-5)
    # the band is level by level: as wide as the errors at the points
    np.testing.assert_allclose(found.interval()[1] - place, 1.959964 * 0.01 / slope, rtol=1e-5)
    np.testing.assert_allclose(place - found.interval()[0], 1.959964 * 0.01 / slope, rtol=1e-5)


def test_no_crossing_several_and_unresolved_ones():
    x = np.arange(6.0)
    none = line(x, 1 + x, 0.1).crossing(0.0)
    assert np.isnan(none.value) and np.isnan(none.standard_error)
    waves = line(x, [1, -1, 1, -1, -1, -1], 0.01)
    assert waves.crossings(0.0).shape == (3,)
    np.testing.assert_allclose(waves.crossings(0.0).value, [0.5, 1.5, 2.5])
    with pytest.raises(bx.RunError, match=r"3 times, at beta = 0\.5, 1\.5, 2\.5"):
        waves.crossing(0.0)
    assert float(waves[2:].crossing(0.0)) == 2.5
    noise = line(x, [2, 0.1, -0.1, 0.1, -2, -3], 0.2)
    assert float(noise.crossing(0.0)) == 2.5
    assert float(noise.crossing(0.0).lower) < 1.2 and float(noise.crossing(0.0).upper) > 3
    touch = line(x, [2, 0.1, -0.1, 0.1, 2, 3], 0.2)
    assert np.isnan(touch.crossing(0.0).value) and touch.crossings(0.0).shape == (2,)
    late = line(x, [2, 2, 2, 2, 2, -0.1], 0.2).crossing(0.0)
    assert float(late.upper) == np.inf and 4 < float(late.lower) < float(late)


def test_a_parabola_is_crossed_exactly_by_many_points():
    x = np.linspace(0, 2, 41)
    found = line(x, x**2 - 1, 0.2).crossing(0.5)
    np.testing.assert_allclose(found.value, 1.5**0.5, rtol=1e-6)
    assert 0 < float(found.standard_error) < 0.05
    assert float(line(x, 1 - x, 0.2).crossing(0.5, near=0.3).value) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("shape", "place", "points", "error"),
    [
        (lambda x: 0.113 - x, 0.113, 41, 0.2),
        pytest.param(lambda x: 0.113 - x, 0.113, 161, 0.2, marks=pytest.mark.slow),
        pytest.param(lambda x: -np.tanh(3 * (x - 0.113)), 0.113, 33, 0.1, marks=pytest.mark.slow),
        pytest.param(lambda x: 0.3 * (0.113 - x), 0.113, 21, 0.1, marks=pytest.mark.slow),
        pytest.param(
            *(lambda x: 0.5 - (x + 0.5) ** 2, 0.5**0.5 - 0.5, 41, 0.1), marks=pytest.mark.slow
        ),
        (lambda x: -np.tanh(x - 0.113), 0.113, 7, 0.01),
    ],
    ids=["line", "many points", "steep", "shallow", "not monotone", "sparse"],
)
def test_error_bars_of_crossings_are_right(shape, place, points, error):
    """Dense points cross the level many times by noise; two of them alone would know too little."""
    rng = np.random.default_rng(0)
    x, runs = np.linspace(-1, 1, points), 150
    z, inside = [], 0
    for _ in range(runs):
        try:
            found = line(x, shape(x) + error * rng.normal(size=points), error).crossing()
        except bx.RunError:  # several crossings by chance, and said so
            continue
        low, high = found.interval()
        inside += bool(low <= place <= high)
        z.append(float(found.z_score(place)))
    assert len(z) > 0.95 * runs
    # four standard errors of a share, and of a variance, about 95% and 1
    assert inside > (0.95 - 4 * (0.95 * 0.05 / runs) ** 0.5) * len(z)
    assert 0.75 < np.mean(np.square(z)) ** 0.5 < 1.25


def test_a_jump_between_two_points_has_the_error_of_the_step():
    x = np.linspace(-1, 1, 21)
    for place in np.linspace(0.02, 0.18, 9):
        curve = line(x, 0.5 - 1 / (1 + np.exp(-80 * (x - place))), 1e-3)
        for near in (None, 0.3):
            found = curve.crossing(0.0, near=near)
            low, high = found.interval()
            assert low <= place <= high, (place, found)
            assert float(found.standard_error) < 0.05


def covers(curves, runs=100):
    """Whether 95% intervals hold the place, to four standard errors of a share."""
    inside = 0
    for curve, place in (next(curves) for _ in range(runs)):
        low, high = curve.crossing(0.0).interval()
        inside += bool(low <= place <= high)
        assert 0 < high - low < 1
    return inside > (0.95 - 4 * (0.95 * 0.05 / runs) ** 0.5) * runs


@pytest.mark.parametrize("replicates", [3, pytest.param(4, marks=pytest.mark.slow), 8])
def test_crossings_of_few_replicates_cover(replicates):
    """Their errors are uncertain: neither weights of a fit, nor those of a normal interval."""
    rng, x = np.random.default_rng(replicates), np.linspace(-1, 1, 11)

    def curves():
        while True:
            noise = 0.1 * replicates**0.5 * rng.normal(size=(replicates, 11))
            yield C(x, E.of_replicates(x - 0.013 + noise), axis="beta"), 0.013

    assert covers(curves())


@pytest.mark.parametrize(
    ("points", "error", "steep"),
    [pytest.param(7, 0.1, 20, marks=pytest.mark.slow), (7, 0.1, 5), (9, 0.05, 8)],
)
def test_the_place_of_a_noisy_jump_is_the_interval_between_two_points(points, error, steep):
    rng, x = np.random.default_rng(steep), np.linspace(-1, 1, points)

    def curves():
        while True:
            place = rng.uniform(-0.4, 0.4)
            value = np.tanh(steep * (x - place)) + error * rng.normal(size=points)
            yield line(x, value, error), place

    assert covers(curves())


def test_of_shared_draws_the_slope_is_exact_and_the_crossing_covers():
    curve = shared()
    assert float(np.max(curve.slope().standard_error)) < 1e-3
    apart = C(curve.x, curve.values, axis=curve.axis).slope()
    assert float(np.min(apart.standard_error)) > 0.02
    z = [float(shared(seed, draws=100).crossing(0.0).z_score(2.0)) for seed in range(60)]
    assert 0.76 < np.std(z) < 1.3  # independent points would have sqrt(1/2) of the error
    assert abs(np.mean(z)) < 0.52


def test_differences():
    one, two = shared(0), shared(0).map(lambda y: y[::-1])
    found = one.minus(two)
    np.testing.assert_allclose(found.value, one.value - one.value[::-1], atol=1e-9)
    assert float(np.nanmax(found.standard_error)) < 1e-3
    lone = C(one.x, one.values, axis="temperature", unit="K")
    assert float(np.min(lone.minus(two).standard_error)) > 0.02
    for wrong in (two[1:], line(two.x, two.value), two.over(two.x, "temperature"), one.values):
        with pytest.raises(bx.DeclarationError, match="other"):
            one.minus(wrong)


def test_functions_and_multiples():
    curve = shared()
    np.testing.assert_allclose(curve.map(lambda y: y**2).value, curve.value**2)
    twice = curve.scaled(2.0).shifted(1.0)
    np.testing.assert_allclose(twice.value, 2 * curve.value + 1)
    np.testing.assert_allclose(twice.influence.estimate().standard_error, twice.standard_error)


def test_arithmetic_with_numbers_curves_and_estimates():
    curve, other = shared(0), shared(1, slope=2.0)
    ones = E.exact(np.ones(9)).widened(0.5)
    for found, value, error in (
        (2 - 3 * curve / 2, 2 - 1.5 * curve.value, 1.5 * curve.standard_error),
        (curve - ones, curve.value - 1, np.hypot(curve.standard_error, 0.5)),
        (ones - curve, 1 - curve.value, np.hypot(curve.standard_error, 0.5)),
        (ones + curve, 1 + curve.value, np.hypot(curve.standard_error, 0.5)),
        (np.arange(9.0) * curve, np.arange(9) * curve.value, np.arange(9) * curve.standard_error),
        (1 / (curve + 9), 1 / (curve.value + 9), (curve + 9).map(lambda y: 1 / y).standard_error),
        (curve + curve, 2 * curve.value, 2 * curve.standard_error),
        (curve * curve, curve.value**2, 2 * abs(curve.value) * curve.standard_error),
    ):
        assert isinstance(found, C) and (found.axis, found.unit) == ("temperature", "K")
        np.testing.assert_allclose(found.value, value, atol=1e-9)
        np.testing.assert_allclose(found.standard_error, error, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal((curve - other).value, curve.minus(other).value)
    assert float(np.max((curve / (1 + curve)).slope().standard_error)) > 0


def test_a_number_that_all_points_share_keeps_the_correlations():
    curve = shared()
    offset = J.of(curve.influence.rows["draws"][4])  # the draws move all points alike
    still = curve - offset
    assert float(np.nanmax(still.standard_error)) < 0.01 * float(np.max(curve.standard_error))
    lone = C(curve.x, curve.values, axis="temperature", unit="K")
    for wrong in (
        lambda: curve - offset.estimate(),
        lambda: lone - offset,
        lambda: lone[:4] + lone,
    ):
        with pytest.raises(bx.DeclarationError, match="other"):
            wrong()
    with pytest.raises(TypeError):
        curve + "a"


def test_differences_of_independent_runs_of_any_length():
    """Errors add in squares, and stay shared between the points of each run."""
    one = shared(0)
    for draws in (500, 300):
        apart = one.minus(shared(7, draws=draws))
        both = np.hypot(one.standard_error, shared(7, draws=draws).standard_error)
        np.testing.assert_allclose(apart.standard_error, both, rtol=0.1)
        assert float(np.max(apart.slope().standard_error)) < 1e-3


def test_wrong_declarations():
    curve = shared()
    values = E.exact(np.ones((3, 2)))
    for wrong in (
        lambda: C([1.0, 2.0], values, axis="beta"),
        lambda: C(np.ones((3, 2)), values, axis="beta"),
        lambda: C([1.0], np.ones(1), axis="beta"),
        lambda: curve.at(5.0),
        lambda: curve[:1].slope(),
        lambda: C([1.0, 1.0], E.exact([1.0, 2.0]), axis="beta").crossing(1.5),
        lambda: C(np.arange(3.0), values, axis="beta").crossing(1.0),
    ):
        with pytest.raises(bx.DeclarationError):
            wrong()


def test_an_influence_must_have_the_values_of_the_curve():
    influence = bx.Influence.of(np.random.default_rng(0).normal(size=(3, 4, 50)) + 1)
    values, x = influence.estimate(), [0.0, 1.0, 2.0]
    assert bx.Curve(x, values, axis="x", influence=influence).influence is influence
    for other in (influence + 0.1, influence[:2], 2 * influence):
        with pytest.raises(bx.DeclarationError, match="`influence`"):
            bx.Curve(x, values, axis="x", influence=other)


@pytest.mark.parametrize(("sign", "shape"), [(1, (5,)), (-1, (2,))])
def test_both_ends_of_a_curve_on_the_level_are_crossings(sign, shape):
    x = np.linspace(0, 1, *shape)
    curve = line(x, sign * (3 * x - 1))
    for level, place in ((-1.0, 0.0), (2.0, 1.0)):
        found = curve.crossing(sign * level)
        for number in (found.value, *found.interval()):
            np.testing.assert_allclose(number, place, atol=1e-12)
    assert np.isnan(line(x, np.zeros(shape)).crossing(0.0).value)


def test_levels_and_indices_that_cannot_be_read_are_refused():
    curve = shared()
    estimate = curve.values
    np.testing.assert_allclose(jax.jit(lambda a: a * curve.crossing(0.0).value)(1.0), 2.0, atol=0.2)
    np.testing.assert_array_equal(jax.jit(lambda i: curve[i].value)(3), curve.value[3])
    for level in (np.nan, np.inf, -np.inf):
        with pytest.raises(bx.DeclarationError, match="level"):
            curve.crossing(level)
    mask = np.arange(9) > 4
    for name, read, number in (
        ("level", lambda level: curve.crossing(level).value, 0.1),
        ("level", lambda level: curve.crossings(level).value, 0.1),
        ("level", lambda level: curve.interval(level)[0], 0.95),
        ("level", lambda level: estimate.interval(level)[0], 0.95),
        ("near", lambda near: curve.crossing(0.0, near=near).value, 0.1),
        ("index", lambda places: curve[places].value, np.arange(3)),
        ("index", lambda place: curve.influence[place].value, 3),
        ("index", lambda mask: estimate[mask].value, mask),
        ("index", lambda mask: curve[mask].value, mask),
    ):
        with pytest.raises(bx.DeclarationError, match=name):
            jax.jit(read)(number)


def test_columns_are_curves_that_share_their_draws():
    rows = np.random.default_rng(0).normal(size=(4, 2, 30))
    curve = C(np.arange(4.0), J.of(rows[:, :, None]), axis="x")
    named = curve.columns(["a", "b"])
    for i, (name, column) in enumerate(named.items()):
        assert name == "ab"[i] and column.axis == "x"
        np.testing.assert_array_equal(column.value, curve.value[:, i])
        np.testing.assert_array_equal(column.standard_error, curve.standard_error[:, i])
    twice = named["a"] + curve.columns(("c", "d"))["c"]
    np.testing.assert_allclose(twice.standard_error, 2 * named["a"].standard_error, rtol=1e-6)


def test_columns_need_a_name_each():
    curve = C(np.arange(3.0), E.exact(np.ones((3, 2))), axis="x")
    for wrong, names in ((curve, ["a"]), (curve.columns(["a", "b"])["a"], ["a"])):
        with pytest.raises(bx.DeclarationError, match="names"):
            wrong.columns(names)


@pytest.mark.parametrize("offset", [5e-324, 2.2e-311, -2.2e-311])
def test_a_subnormal_offset_is_one(offset):
    """XLA may take such numbers for 0 in the values and not in their influence."""
    curve = shared().scaled(0.0).shifted(offset)
    np.testing.assert_allclose(curve.value, 0.0, atol=3e-311)
