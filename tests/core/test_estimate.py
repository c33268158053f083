"""Estimates compose: constructors, arithmetic, the delta method, bounds, words."""

import math
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import boltzax as bx

E, J = bx.Estimate, bx.Influence
RNG = np.random.default_rng(0)
THREE = E.of_series(RNG.normal(size=(3, 4, 100)) + np.arange(3)[:, None, None])
HITS = E.of_hits(np.array([0, 5, 10]), 10, log=True)


def repeated(make, truth, count=2000):
    """z-scores and coverage of the 95% interval over repetitions, by the vectorised estimate."""
    found = make(np.random.default_rng(1))
    z = np.asarray(found.z_score(truth))
    low, high = found.interval()
    return z, float(np.mean((np.asarray(low) <= truth) & (truth <= np.asarray(high))))


def test_samples_have_the_error_of_independent_ones():
    z, covered = repeated(lambda r: E.of_samples(r.exponential(size=(400, 2000))), 1.0)
    assert abs(np.std(z) - 1) < 0.1
    assert 0.92 < covered < 0.97


def test_few_replicates_cover_by_students_interval():
    make = [
        lambda r: E.of_replicates(r.normal(size=(4, 4000))),
        lambda r: E.of_samples(r.normal(size=(4, 4000))),
    ]
    covered = [repeated(each, 0.0)[1] for each in make]
    assert 0.94 < covered[0] < 0.96
    assert covered[1] < 0.9  # the normal interval of four samples is too short


@given(st.integers(1, 60), st.integers(0, 60))
def test_wilsons_interval_solves_the_quadratic(n, hits):
    """Its ends are the p with `(p̂ - p)² = z² p (1 - p)/n`."""
    hits = min(hits, n)
    found = E.of_hits(hits, n)
    for end in map(float, found.interval()):
        apart = (hits / n - end) ** 2 - stats.norm.ppf(0.975) ** 2 * end * (1 - end) / n
        assert abs(apart) < 1e-12
    logs = E.of_hits(hits, n, log=True)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(logs.interval(), np.log(found.interval()), rtol=1e-10)
        np.testing.assert_allclose(logs.value, np.log(found.value))
    if hits > 0:
        mapped = found.map(jnp.log)
        np.testing.assert_allclose(mapped.standard_error, logs.standard_error, rtol=1e-9)


def test_no_hit_is_an_upper_bound():
    assert float(HITS[0].value) == -np.inf
    assert float(HITS[0].upper) == pytest.approx(np.log(1.959964**2 / (10 + 1.959964**2)))
    assert "at most -1.28" in repr(HITS[0])
    whole = HITS[0] + HITS[1]
    assert (float(whole.value), float(whole.lower)) == (-np.inf, -np.inf)
    assert float(whole.upper) == pytest.approx(float(HITS[0].upper + HITS[1].upper))
    assert float(HITS.map(jnp.exp)[0].upper) == pytest.approx(np.exp(float(HITS[0].upper)))


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.01, 2), st.floats(0.01, 2), st.floats(-4, 4))
def test_independent_errors_add_in_squares(a, b, s, t, factor):
    one, two = E.exact(a).widened(s), E.exact(b).widened(t)
    for found, value, error in (
        (one + two, a + b, np.hypot(s, t)),
        (one - two, a - b, np.hypot(s, t)),
        (-one, -a, s),
        (factor * one, factor * a, abs(factor) * s),
        (one / 4, a / 4, s / 4),
        (factor - one, factor - a, s),
        (one.map(jnp.exp), np.exp(a), np.exp(a) * s),
        (one.map(jnp.multiply, two), a * b, np.hypot(b * s, a * t)),
        (one * two, a * b, np.hypot(b * s, a * t)),
    ):
        np.testing.assert_allclose(found.value, value, atol=1e-12)
        np.testing.assert_allclose(found.standard_error, error, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one.z_score(two), (a - b) / np.hypot(s, t), rtol=1e-9)


@given(st.floats(-3, 3), st.floats(0.5, 3), st.floats(0.01, 2), st.floats(0.01, 2))
def test_products_and_ratios_are_those_of_map(a, b, s, t):
    """With bounds and without, of shapes that broadcast, and a number over an estimate."""
    pairs = [
        (E.exact(a).widened(s), E.exact(b).widened(t)),
        (E.exact(a).widened(s).bounded(a - s, a + 3 * s), E.exact(-b).widened(t)),
        (THREE + a, THREE[:, None] + 5 + b),
    ]
    for one, two in pairs:
        for act in (operator.mul, operator.truediv):
            leaves = map(jax.tree.leaves, (act(one, two), one.map(act, two)))
            for x, y in zip(*leaves, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)
    found, ratio = 2.0 / pairs[0][1], E.exact(2.0) / pairs[0][1]
    np.testing.assert_allclose(found.value, 2 / b)
    np.testing.assert_allclose(found.standard_error, 2 * t / b**2)
    np.testing.assert_allclose(ratio.standard_error, found.standard_error)
    assert (found.ess, found.r_hat) == (ratio.ess, ratio.r_hat)


def test_a_product_with_an_exact_zero_is_zero():
    none = E.of_hits(0, 10, log=True) * E.exact(0.0)
    assert np.isnan(none.value) and float((THREE * E.exact(0.0)).standard_error[0]) == 0
    assert float((E.exact(0.0) * E.exact(2.0).widened(np.inf)).standard_error) == 0


def test_a_sum_has_the_worst_ess_and_r_hat():
    whole = THREE + THREE[::-1]
    np.testing.assert_array_equal(whole.ess, jnp.minimum(THREE.ess, THREE.ess[::-1]))
    np.testing.assert_array_equal(whole.r_hat, jnp.maximum(THREE.r_hat, THREE.r_hat[::-1]))
    np.testing.assert_array_equal((THREE + E.exact(1.0)).ess, THREE.ess)
    unknown = THREE.unknown(np.array([True, False, False]))
    assert np.isnan((unknown + THREE).r_hat[0])
    mixed = THREE.map(lambda x: x[:2] * x[1])
    np.testing.assert_array_equal(mixed.ess, [min(THREE.ess[0], THREE.ess[1]), THREE.ess[1]])


def test_a_function_of_several_entries_sees_all_their_errors():
    mean = THREE.map(jnp.mean)
    expected = np.sqrt(np.sum(np.asarray(THREE.standard_error) ** 2)) / 3
    np.testing.assert_allclose(mean.standard_error, expected)
    matrix = jnp.asarray(RNG.normal(size=(2, 3)))
    turned = THREE.map(lambda x: matrix @ x)
    squares = np.asarray(matrix) ** 2 @ np.asarray(THREE.standard_error) ** 2
    np.testing.assert_allclose(turned.standard_error, np.sqrt(squares))
    assert THREE.map(lambda x: x[:, None] - x).shape == (3, 3)


def test_bounds_of_a_difference_are_those_of_the_other_side():
    """By intervals with sides 1 and 3: Zou & Donner 2008, eq. 2."""
    skew = E(*map(jnp.asarray, (0.0, 1.0, 9.0, 1.0)), bounds=(jnp.asarray(-1.0), jnp.asarray(3.0)))
    np.testing.assert_allclose((skew - skew).interval(), (-np.sqrt(10), np.sqrt(10)))
    np.testing.assert_allclose((skew + skew).interval(), (-np.sqrt(2), 3 * np.sqrt(2)))
    np.testing.assert_allclose((-2 * skew).interval(), (-6, 2))
    np.testing.assert_allclose((skew + 1).interval(), (0, 4))
    np.testing.assert_allclose(skew.map(jnp.subtract, skew).interval(), (-np.sqrt(10), np.sqrt(10)))
    with pytest.raises(bx.DeclarationError, match=r"0\.95"):
        skew.interval(0.9)


def test_stacked_estimates_keep_their_bounds():
    both = E.stack([THREE, HITS])
    np.testing.assert_allclose(both[0].interval(), THREE.interval())
    np.testing.assert_allclose(both[1].interval(), HITS.interval())
    assert E.stack([THREE, THREE]).bounds is None


def test_numbers_of_numpy_and_jax_stand_on_either_side():
    for number in (2, 2.0, np.float64(2), np.float32(2), jnp.asarray(2.0), np.full(3, 2)):
        for found in (number * THREE, THREE * number):
            np.testing.assert_allclose(found.value, 2 * THREE.value)
        np.testing.assert_allclose((number - THREE).value, 2 - THREE.value)
    assert (np.arange(2.0)[:, None] * THREE).shape == (2, 3)


def test_an_array_of_an_estimate_is_refused():
    for make in (np.asarray, np.array, jnp.asarray, np.mean):
        with pytest.raises(bx.DeclarationError, match=r"estimate\.value"):
            make(THREE)
    for wrong in (lambda: THREE * "a", lambda: "a" + THREE, lambda: np.exp(THREE)):
        with pytest.raises(TypeError):
            wrong()
    assert float(THREE[1]) == float(THREE.value[1])
    with pytest.raises(TypeError):
        float(THREE)


def test_wrong_declarations():
    for wrong in (
        lambda: E.of_hits(3, 2),
        lambda: E.of_hits(0, 0),
        lambda: E.of_hits(0.5, 2),
        lambda: E.of_hits("a", 2),
        lambda: E.of_samples(np.ones((0, 2))),
        lambda: E.of_samples(1.0),
        lambda: E.of_replicates(1j * np.ones(3)),
        lambda: THREE.map(lambda x: (x, x)),
        lambda: THREE.map(lambda x: x > 0),
        lambda: THREE * np.ma.masked_array(np.ones(3)),
        lambda: E.of_series(np.arange(5.0)),
        lambda: E.of_series(1.0),
        lambda: E.of_series(np.zeros((4, 0))),
        lambda: E.stack([]),
        lambda: E.stack([THREE, THREE[0]]),
        lambda: THREE.times(np.ones((3, 2))),
        lambda: THREE.times(2.0),
        lambda: THREE[0].times(np.ones((1, 1))),
        lambda: THREE[0].bounded(np.zeros(2), np.ones(2)),
        lambda: THREE.bounded(np.zeros(3), np.ones(2)),
        lambda: THREE.bounded(5, 1),
        lambda: THREE.widened(-1),
        lambda: THREE.widened(np.ones(4)),
    ):
        with pytest.raises(bx.DeclarationError):
            wrong()


def test_arithmetic_under_jit_is_that_of_the_host():
    def both(a, b, hits, number):
        logs = E.of_hits(hits, 10, log=True)
        return (number * a - b).map(jnp.exp) + 1, logs - a, E.of_samples(a.value)

    given = (THREE, THREE[::-1], jnp.array([2, 5, 10]), 2.0)
    for one, two in zip(both(*given), jax.jit(both)(*given), strict=True):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12), one, two)


@pytest.mark.parametrize("kind", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("x64", [True, False])
def test_samples_of_few_digits_are_averaged_in_many(kind, x64):
    """The mean of the numbers as they are, to float32's rounding, which is in the error."""
    with jax.enable_x64(x64):
        for many in (np.asarray, jnp.asarray):
            values = many((100 + np.random.default_rng(0).normal(size=5000)).astype(kind))
            exact = np.asarray(values, np.float64)
            for make in (E.of_samples, E.of_replicates):
                found = make(values)
                assert found.value.dtype == jnp.float32
                assert abs(float(found.value) - exact.mean()) < 1e-5
                np.testing.assert_allclose(
                    found.standard_error, exact.std(ddof=1) / 5000**0.5, rtol=1e-3
                )
            traced = jax.jit(E.of_samples)(jnp.asarray(values))
            assert abs(float(traced.value) - exact.mean()) < 3e-5


def test_what_never_varied_has_no_error():
    """Absence of evidence: an event that was not seen in 500 samples is no certainty."""
    rare = np.zeros((500, 2)) + np.array([0.0, 0.1])
    made = [
        E.of_series(np.moveaxis(rare, 0, -1)[:, None]),
        E.of_samples(rare),
        E.of_replicates(rare),
        jax.jit(E.of_samples)(rare),
        bx.Influence.of_samples(rare).estimate(),
    ]
    for found in made:
        assert np.all(np.isnan(found.standard_error))
        np.testing.assert_allclose(found.value, rare[0])
    known = [
        E.of_samples(rare, exact=True),
        E.of_replicates(rare, exact=True),
        bx.Influence.of_samples(rare).estimate(exact=True),
    ]
    for found in known:
        np.testing.assert_array_equal(found.standard_error, 0.0)


def test_a_count_without_a_hit_is_judged_by_its_interval():
    none, all_of_them = E.of_hits(0, 200), E.of_hits(200, 200)
    end = float(none.upper)
    assert abs(float(none.z_score(end)) + stats.norm.ppf(0.975)) < 1e-9
    assert abs(float(all_of_them.z_score(1 - end)) - stats.norm.ppf(0.975)) < 1e-9
    assert -1 < float(none.z_score(0.001)) < 0
    assert repr(none + E.exact(1.0)) == f"1 (95%: 1 to {1 + end:.5g}; ess 200)"


def test_one_sample_has_no_error():
    for found in (E.of_samples(np.ones((1, 2))), E.of_replicates(np.ones((1, 2)))):
        np.testing.assert_array_equal(found.value, 1.0)
        assert np.all(np.isnan(found.standard_error))


def test_the_kind_is_that_of_the_value():
    single = E.of_samples(np.ones((3, 2), np.float32) * np.arange(3, dtype=np.float32)[:, None])
    for found in (single, single + single, 2 * single, single.map(jnp.exp), single + 1):
        assert found.value.dtype == found.ess.dtype == jnp.float32
    with jax.enable_x64(False):
        assert E.of_series(np.ones((4, 5)) * np.arange(5)).map(jnp.exp).value.dtype == jnp.float32


def test_words_are_short():
    many = E.of_samples(RNG.normal(size=(5, 40, 40)))
    assert len(repr(many).splitlines()) < 10
    assert "39, 39: " in repr(many)
    assert len(repr(THREE).splitlines()) == 5
    assert f"{THREE[0]:.2f}" == f"{float(THREE[0]):.2f} ± {float(THREE[0].standard_error):.2f}"
    assert f"{THREE[0]}" == repr(THREE[0])
    assert repr(E.exact(2.5)) == "2.5 (exact)"
    table = many._repr_html_()
    assert table.count("<tr>") == 8
    assert repr(THREE[0]) in THREE[0]._repr_html_()
    assert "r_hat" not in repr(many) and "r_hat" in repr(E.of_series(RNG.normal(size=(4, 50))))


@pytest.mark.parametrize("fn", [lambda p: p * (1 - p), lambda p: (p - 0.45) ** 2])
def test_an_interval_of_a_function_that_turns_holds_the_value(fn):
    mapped = bx.Estimate.of_hits(5, 10).map(fn)
    low, high = mapped.interval()
    assert low <= mapped.value <= high
    assert low < high


QUANTITIES = {
    "estimate": lambda: bx.Estimate.of_samples(np.random.default_rng(0).normal(size=(50, 3))),
    "influence": lambda: bx.Influence.of(np.random.default_rng(0).normal(size=(3, 2, 50))),
    "curve": lambda: bx.Curve(np.arange(3.0), QUANTITIES["estimate"](), axis="time"),
}


@pytest.mark.parametrize("kind", QUANTITIES)
@pytest.mark.parametrize("fn", [np.exp, math.exp, lambda x: 1 // 0])
def test_a_function_that_cannot_be_traced_is_named(kind, fn):
    with pytest.raises(bx.DeclarationError, match="`fn`.*one that raises"):
        QUANTITIES[kind]().map(fn)


@pytest.mark.parametrize("kind", QUANTITIES)
@pytest.mark.parametrize("act", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_operands_of_other_shapes_are_refused(kind, act):
    quantity = QUANTITIES[kind]()
    with pytest.raises(bx.DeclarationError, match="`other`.*shape"):
        act(quantity, np.ones(2))
    if kind != "curve":
        with pytest.raises(bx.DeclarationError, match="`other`.*shape"):
            act(quantity, quantity[:2])


def test_a_limit_has_no_z_score_and_says_what_its_interval_says():
    limit = E.of_hits(np.array([0, 3]), 200, log=True)
    for truth, words in ((-5.0, "holds the truth, -5"), (-1.0, "does not hold the truth, -1")):
        with pytest.warns(RuntimeWarning, match="at 1 of 2 entries.*" + words):
            z = np.asarray(limit.z_score(truth))
        assert np.isnan(z[0]) and np.isclose(z[1], limit[1].z_score(truth))
    with pytest.warns(RuntimeWarning, match="at 1 of 1 entries"):
        E.of_hits(0, 200).map(jnp.log).z_score(E.exact(-5.0))
    assert "at least -inf" not in repr(limit - limit)


@pytest.mark.parametrize("kind", ["estimate", "influence"])
def test_a_truth_of_another_kind_is_named(kind):
    """The words of an annotation `ArrayLike` are one, not those of each kind of number."""
    values = J.of(RNG.normal(size=(3, 4, 100)))
    curve = bx.Curve([1.0, 2, 3], values, axis="T")
    one = values.estimate() if kind == "estimate" else values
    for truth in (curve, "text"):
        with pytest.raises(bx.DeclarationError, match="curve.values") as caught:
            one.z_score(truth)
        assert caught.value.argument == "truth" and "complex" not in str(caught.value)
    np.testing.assert_allclose(curve.z_score(curve + 1), (curve - (curve + 1)).values.z_score(0.0))
    np.testing.assert_allclose(one.z_score(curve.values), values.estimate().z_score(curve.values))


@given(st.integers(1, 60), st.integers(0, 60))
def test_the_exact_interval_has_its_tails(n, hits):
    """At each end, as many hits or more (or fewer) have the probability 0.025."""
    hits = min(hits, n)
    low, high = bx.core.clopper_pearson(hits, n)
    assert low == 0 if hits == 0 else np.isclose(stats.binom.sf(hits - 1, n, low), 0.025)
    assert high == 1 if hits == n else np.isclose(stats.binom.cdf(hits, n, high), 0.025)


@pytest.mark.parametrize("size", [1e-30, 1e-23, 1e20, 1e30])
def test_errors_do_not_depend_on_the_unit(size):
    """Their squares are 0 or infinite in single precision."""
    rng = np.random.default_rng(1)
    draws = np.asarray(3 + rng.normal(size=(2, 4, 50)), np.float32)

    def both(unit: float) -> list[bx.Estimate]:
        rows = np.asarray(draws * unit, np.float32)
        a, b = (bx.Estimate.of_samples(each.T) for each in rows)
        seen = a.bounded(a.interval()[0], a.interval()[1])
        influence = bx.Influence.of_samples(rows[0].T) - bx.Influence.of_samples(rows[1].T)
        linear = [a + b, seen + b, a.times(np.eye(4)[:2] + 1), seen.times(np.eye(4) - 1)]
        linear += [a.map(jnp.cumsum), seen.map(jnp.flip), influence.estimate()]
        return [a / b, seen / b, *(each.scaled(1 / unit) for each in linear)]

    with jax.enable_x64(False):
        pairs = list(zip(both(size), both(1.0), strict=True))
    for found, expected in pairs:
        np.testing.assert_allclose(found.standard_error, expected.standard_error, rtol=1e-5)
        np.testing.assert_allclose(found.interval(), expected.interval(), rtol=1e-5)
