"""Spectra of samples: laws, exact small cases, false alarms, and coverage of error bars."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax import channels as ch
from boltzax import theory as th
from boltzax.channels._canonical_spectrum import _corrected
from boltzax.channels._covariances import jackknifed
from boltzax.channels._ranks import _gaussian_error, _quotient, entropy_rank, moment_rank
from boltzax.channels._ties import normal_ends, ties, variance_ends
from boltzax.core import DeclarationError

law = settings(derandomize=True, deadline=None, max_examples=15)
seeds = st.integers(0, 2**31)
SHAPE = (30, 6)


def data(seed, shape=SHAPE, ratio=0.7):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) * ratio ** np.arange(shape[1]) + rng.normal(size=shape[1])


def turned(seed, x, scale):
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(x.shape[1],) * 2))
    return scale * x @ basis + 3.0


RANKS = (ch.participation_ratio, ch.effective_rank, ch.stable_rank)


@law
@given(seeds, st.floats(1e-3, 1e3))
def test_ranks_and_spectra_are_invariant_under_rotations_and_scale(seed, scale):
    x = data(seed)
    y = turned(seed, x, scale)
    for rank in RANKS:
        one, two = rank(x), rank(y)
        assert np.allclose(one.value, two.value, rtol=1e-4)
        assert np.allclose(one.standard_error, two.standard_error, rtol=1e-3)
    one, two = ch.covariance_spectrum(x), ch.covariance_spectrum(y)
    assert one.count == two.count
    assert np.allclose(one.eigenvalues * scale**2, two.eigenvalues, rtol=1e-8)


@law
@given(seeds)
def test_canonical_spectra_are_invariant_under_linear_maps(seed):
    rng = np.random.default_rng(seed)
    x, y = data(seed), rng.normal(size=(30, 4))
    one = ch.canonical_spectrum(x, y)
    two = ch.canonical_spectrum(x @ (rng.normal(size=(6, 6)) + 3 * np.eye(6)) + 1.0, -y)
    assert np.allclose(one.correlations, two.correlations, atol=1e-8) and one.count == two.count
    other = ch.canonical_spectrum(y, x)
    assert np.allclose(one.correlations, other.correlations, atol=1e-8)


@law
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8))
def test_ranks_of_known_eigenvalues_are_between_one_and_their_number(values):
    values = np.array(values)
    ranks = moment_rank(values), entropy_rank(values), len(values)
    assert 1 - 1e-9 <= ranks[0] <= ranks[1] * (1 + 1e-9) <= ranks[2] * (1 + 1e-6)
    assert moment_rank(np.ones(len(values))) == pytest.approx(len(values))
    assert entropy_rank(np.ones(len(values))) == pytest.approx(len(values))


@law
@given(seeds)
def test_the_interval_of_a_stable_rank_is_between_one_and_the_dimension(seed):
    rank = ch.stable_rank(data(seed, ratio=0.9))
    assert 1 <= rank.lower <= rank.value <= rank.upper <= SHAPE[1]


@pytest.mark.parametrize("shape", [(7, 4), (7, 12)])
def test_the_jackknife_without_a_loop_is_the_loop(shape):
    x = data(1, shape)

    def ratio(rows):
        rows = rows - rows.mean(axis=0)
        covariance = rows.T @ rows / (len(rows) - 1)
        fourth = np.sum(np.sum(rows**2, axis=1) ** 2) / (len(rows) - 1)
        square = np.trace(covariance @ covariance)
        return np.divide(*th.squared_traces(np.trace(covariance), square, fourth, len(rows)))

    left = np.array([ratio(np.delete(x, i, axis=0)) for i in range(7)])
    expected = bx.Estimate.of_replicates(7 * ratio(x) - 6 * left)
    found = ch.participation_ratio(x)
    assert found.value == pytest.approx(float(expected.value), rel=1e-9)
    assert found.standard_error == pytest.approx(float(expected.standard_error), rel=1e-9)


def falling(rng, shape):
    return rng.normal(size=shape) * np.sqrt(0.8 ** np.arange(shape[1]))


def heavy(rng, shape):
    return rng.standard_t(6, size=shape) * np.sqrt(0.8 ** np.arange(shape[1]))


def white(rng, shape):
    return rng.normal(size=shape)


TRUTH = 0.8 ** np.arange(20)


@pytest.mark.parametrize("rank, exact, draw, truth", [
    (ch.participation_ratio, moment_rank, falling, TRUTH),
    (ch.participation_ratio, moment_rank, heavy, TRUTH),
    (ch.participation_ratio, moment_rank, white, np.ones(20)),
    (ch.effective_rank, entropy_rank, falling, TRUTH),
    (ch.effective_rank, entropy_rank, white, np.ones(20)),
])  # fmt: skip
def test_error_bars_of_ranks_cover_the_truth(rank, exact, draw, truth):
    rng = np.random.default_rng(0)
    found = [rank(draw(rng, (100, 20))) for _ in range(120)]
    values = np.array([float(f.value) for f in found])
    bars = np.array([(float(f.lower), float(f.upper)) for f in found])
    expected = exact(truth)
    covered = np.mean((bars[:, 0] <= expected) & (expected <= bars[:, 1]))
    assert covered > 0.88
    # the bias is a small part of one error
    assert abs(values.mean() - expected) < 0.35 * np.mean([float(f.standard_error) for f in found])


def test_a_stable_rank_covers_the_truth_and_has_a_bound_without_an_outlier():
    rng = np.random.default_rng(10)
    true = np.array([9.0] + [1.0] * 19)
    scores = []
    for _ in range(60):
        found = ch.stable_rank(rng.normal(size=(200, 20)) * np.sqrt(true))
        scores.append(float(found.z_score(28 / 9)))
    assert abs(np.mean(scores)) < 0.5 and 0.6 < np.std(scores) < 1.4
    found = ch.stable_rank(rng.normal(size=(200, 20)), level=0.001)
    assert found.upper == 20 and found.lower < 17


def test_the_bar_of_an_effective_rank_holds_its_bias_in_few_samples():
    rng = np.random.default_rng(11)
    found = [ch.effective_rank(rng.normal(size=(60, 40))) for _ in range(40)]
    assert np.mean([f.upper >= 40 for f in found]) > 0.85


def test_ranks_of_more_dimensions_than_samples():
    found = ch.participation_ratio(falling(np.random.default_rng(1), (60, 200)))
    assert abs(found.z_score(9.0)) < 3.5 and found.standard_error < 1.5
    with pytest.raises(DeclarationError, match="at least 202"):
        ch.effective_rank(np.ones((60, 200)))


@pytest.mark.parametrize("shape", [(60, 20), (30, 60)])
def test_false_alarms_of_white_noise_are_at_the_level(shape):
    rng = np.random.default_rng(5)
    alarms = [
        ch.covariance_spectrum(rng.normal(size=shape), level=0.2).count > 0 for _ in range(200)
    ]
    assert 0.12 < np.mean(alarms) < 0.29  # three standard deviations of 200


def test_outliers_are_counted_and_corrected():
    rng = np.random.default_rng(6)
    true, counts, errors = np.array([20.0, 5.0]), [], []
    for _ in range(60):
        x = rng.normal(size=(150, 60))
        x[:, :2] *= np.sqrt(true)
        found = ch.covariance_spectrum(x)
        counts.append(found.count)
        if found.count >= 2:
            errors.append(np.asarray(found.outliers[:2].z_score(true)))
    assert np.mean(np.array(counts) == 2) > 0.85
    scores = np.array(errors)
    assert np.all(np.abs(scores.mean(axis=0)) < 0.5) and np.all(scores.std(axis=0) < 1.4)
    assert found.noise == pytest.approx(1.0, abs=0.06)
    assert found.edge == pytest.approx(found.noise * th.marchenko_pastur_edges(60 / 149)[1])
    assert found.detectable == pytest.approx(found.noise * (1 + np.sqrt(60 / 149)))


def test_a_corrected_outlier_is_that_of_the_closed_form():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(801, 400))
    x[:, 0] *= 3.0
    found = ch.covariance_spectrum(x)
    closed = th.spike_of_outlier(found.eigenvalues[0] / found.noise, 0.5) * found.noise
    assert float(found.outliers.value[0]) == pytest.approx(float(closed), rel=0.01)
    assert abs(found.outliers[0].z_score(9.0)) < 3.5
    x = rng.normal(size=(401, 200)) * np.sqrt([2.5] + [1.0] * 199)
    found = ch.covariance_spectrum(x)
    weak = float(found.outliers.value[0])
    error = weak * np.sqrt(2 / 400 / (1 - 0.5 / (weak / found.noise - 1) ** 2))
    assert float(found.outliers.standard_error[0]) == pytest.approx(error, rel=0.15)


def test_unequal_variances_are_divided_out():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(200, 20)) * np.arange(1, 21)
    assert ch.covariance_spectrum(x).count > 0
    assert ch.covariance_spectrum(x, scaled=True).count == 0


def test_correlations_beyond_independence_are_counted_and_corrected():
    rng = np.random.default_rng(9)
    true, counts, errors = np.array([0.9, 0.7]), [], []
    for _ in range(60):
        x, y = rng.normal(size=(200, 20)), rng.normal(size=(200, 30))
        y[:, :2] = true * x[:, :2] + np.sqrt(1 - true**2) * y[:, :2]
        found = ch.canonical_spectrum(x, y)
        counts.append(found.count)
        if found.count >= 2:
            errors.append(np.asarray(found.outliers[:2].z_score(true)))
    assert np.mean(np.array(counts) == 2) > 0.85
    scores = np.array(errors)
    assert np.all(np.abs(scores.mean(axis=0)) < 0.6)
    assert np.all((scores.std(axis=0) > 0.6) & (scores.std(axis=0) < 1.4))
    null = [
        ch.canonical_spectrum(rng.normal(size=(100, 20)), rng.normal(size=(100, 30)), level=0.2)
        for _ in range(150)
    ]
    assert 0.1 < np.mean([n.count > 0 for n in null]) < 0.3


def test_float32_samples_give_the_numbers_of_float64():
    x = data(3, (100, 6)) + 50.0
    for rank in RANKS:
        assert rank(x.astype(np.float32)).value == pytest.approx(float(rank(x).value), rel=1e-4)
    one, two = (ch.covariance_spectrum(each).eigenvalues for each in (x, x.astype(np.float32)))
    assert np.allclose(one, two, rtol=1e-4)


def test_texts_say_what_was_found():
    x = data(4, (200, 6))
    text = repr(ch.covariance_spectrum(x))
    assert "6 coordinates, 200 samples" in text and "p " in text
    assert "beyond independence" in repr(ch.canonical_spectrum(x[:, :3], x[:, 3:]))


@pytest.mark.parametrize("x", [
    np.ones((30, 3)), np.full((30, 3), np.nan), np.ones((2, 3)), np.zeros((30, 0)),
])  # fmt: skip
def test_samples_that_tell_nothing_are_refused(x):
    for verb in (*RANKS, ch.covariance_spectrum):
        with pytest.raises(DeclarationError, match="`x`"):
            verb(x)


def test_too_few_samples_for_correlations_are_refused():
    x = data(5, (10, 6))
    with pytest.raises(DeclarationError):
        ch.canonical_spectrum(x, x[:, :5])


def test_stable_rank_of_a_weak_direction_is_covered():
    """It covers 89%; of 100 samples 80 or fewer have a probability below 1%."""
    rng, scale = np.random.default_rng(0), np.sqrt([2.0, 1, 1, 1, 1, 1])
    covered = 0
    for _ in range(100):
        low, high = ch.stable_rank(rng.normal(size=(50, 6)) * scale).interval()
        covered += float(low) <= 7 / 2 <= float(high)
    assert covered > 80


def test_outliers_of_equal_variance_are_covered_and_not_told_apart():
    """Each is covered by 95% or more; of 30 sets 23 or fewer have a probability below 1%."""
    rng, covered, told = np.random.default_rng(12), [], []
    for _ in range(30):
        x = rng.normal(size=(200, 12)) * np.sqrt([4.0] * 5 + [1.0] * 7)
        found = ch.covariance_spectrum(x)
        low, high = (np.asarray(end)[:5] for end in found.outliers.interval())
        covered.append((low <= 4.0) & (high >= 4.0))
        told.append(np.all(found.groups[:5, 0] == 0) and np.all(found.groups[:5, 1] >= 4))
        rank = ch.stable_rank(x)
        covered[-1] = np.append(covered[-1], rank.lower <= 27 / 4 <= rank.upper)
    assert np.all(np.sum(covered, axis=0) > 23) and np.sum(told) > 23
    assert "not told apart: 1 to 5" in repr(found)
    apart = ch.covariance_spectrum(rng.normal(size=(400, 12)) * np.sqrt([30.0, 5.0] + [1.0] * 10))
    assert np.array_equal(apart.groups, [[0, 0], [1, 1]]) and "told" not in repr(apart)


def test_equal_correlations_are_covered_and_not_told_apart():
    rng, covered = np.random.default_rng(13), []
    for _ in range(40):
        x, y = rng.normal(size=(2, 100, 4))
        y[:, :3] = 0.6 * x[:, :3] + 0.8 * y[:, :3]
        found = ch.canonical_spectrum(x, y)
        low, high = (np.asarray(end)[:3] for end in found.outliers.interval())
        covered.append((low <= 0.6) & (high >= 0.6))
    assert np.all(np.sum([c for c in covered if len(c) == 3], axis=0) > 32)
    assert np.array_equal(found.groups[0], [0, 2])


@law
@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=7), st.floats(0.01, 0.4))
def test_ties_hold_every_outlier_and_are_groups_of_neighbours(values, error):
    values = np.sort(values)[::-1]
    found = ties(values, error * values, normal_ends)
    first, last = found.groups.T
    ranks = np.arange(len(values))
    assert np.all((first <= ranks) & (ranks <= last))
    assert np.all(np.diff(first) >= 0) and np.all(np.diff(last) >= 0)
    alone = normal_ends(values, error * values)
    assert np.all(found.low <= alone[0] + 1e-12) and np.all(found.high >= alone[1] - 1e-12)
    same = ties(np.full(5, values[0]), np.full(5, error * values[0]), normal_ends)
    assert np.array_equal(same.groups, [[0, 4]] * 5)
    assert np.allclose(same.high, values[0] * (1 + 1.959964 * error))


def test_the_interval_of_a_pair_reaches_from_its_mean_to_its_own_end():
    found = ties(np.array([1.1, 0.9]), np.full(2, 0.1), normal_ends)
    mean, alone = 0.1 * 1.959964 / 2**0.5, 0.1 * 1.959964
    assert np.allclose([found.low[0], found.high[0]], [1 - mean, 1.1 + alone])
    assert np.allclose([found.low[1], found.high[1]], [0.9 - alone, 1 + mean])
    assert np.allclose(found.value[0] + found.error[0], 1.2)
    assert np.allclose(found.value[0] - found.error[0], 1 - 0.1 / 2**0.5)


def test_correlations_are_corrected_for_the_noise_and_the_others_that_are_there():
    x, y = np.random.default_rng(18).normal(size=(2, 100, 1))
    found = ch.canonical_spectrum(x, x + y)  # no noise: one coordinate on each side
    assert float(found.outliers.value[0]) == pytest.approx(found.correlations[0])
    two, groups = _corrected(np.array([0.81, 0.25]), (0.0, 0.0), 200)
    pull = 2 * np.array([0.19 * 0.81 * 0.75, -0.75 * 0.25 * 0.19]) / 0.56 / 200
    assert np.allclose(two.value, np.sqrt(np.array([0.81, 0.25]) - pull))
    assert np.array_equal(groups, [[0, 0], [1, 1]])
    assert np.allclose(two.standard_error, (1 - np.asarray(two.value) ** 2) / 200**0.5, rtol=0.01)


def test_errors_of_ranks_are_those_of_first_order():
    values, freedom, step = np.array([4.0, 2.0, 1.0]), 50, 1e-6
    slopes = [(entropy_rank(values + d) - entropy_rank(values - d)) / (2 * step)
              for d in step * np.eye(3)]  # fmt: skip
    error = np.sqrt(np.sum(np.square(slopes) * 2 * values**2 / freedom))
    assert _gaussian_error(values, freedom) == pytest.approx(error, rel=1e-6)
    low, high = _quotient(2.0, 0.5, bx.Estimate.exact(1.0), 0.5)
    assert (low, high) == pytest.approx((2 / 1.48999, 2 * 1.48999), rel=1e-4)
    found = jackknifed(3.0, 3.0 + 0.01 * np.arange(20.0))
    half = 2.44691 * float(found.standard_error)  # Student's t of 6
    assert float(found.upper - found.value) == pytest.approx(half, rel=1e-4)
    assert float(jackknifed(3.0, 3.0 + 0.01 * np.arange(20.0), 9.0).standard_error) == 9.0


def test_the_ends_of_a_variance_are_those_of_chi_square():
    """Of 24 degrees of freedom the quantiles are 12.401 and 39.364."""
    low, high = variance_ends(np.ones(1), np.full(1, (2 / 24) ** 0.5))
    assert low[0] == pytest.approx(24 / 39.364, rel=1e-4)
    assert high[0] == pytest.approx(24 / 12.401, rel=1e-4)


def test_a_weak_outlier_does_not_widen_a_strong_one_but_unequal_errors_are_averaged():
    found = ties(np.array([0.9, 0.3]), np.array([0.02, np.inf]), normal_ends)
    assert np.array_equal(found.groups, [[0, 0], [1, 1]]) and found.high[0] < 0.95
    assert np.array_equal(
        ties(np.array([2.0, 1.0]), np.array([0.4, 0.2]), normal_ends).groups, [[0, 1], [0, 1]]
    )


def test_the_spread_of_equal_outliers_has_its_chi_square():
    """Eigenvalues of symmetric matrices of variance 1 and 1/2: told apart by 1%."""
    rng, told = np.random.default_rng(14), 0
    for _ in range(2000):
        matrix = rng.normal(size=(4, 4))
        values = 100 + np.linalg.eigvalsh((matrix + matrix.T) / 2)[::-1]
        told += ties(values, np.ones(4), normal_ends).groups[0, 1] < 3
    assert told < 40  # 20 are expected; or its neighbours, of which fewer can be told apart


def test_directions_in_which_samples_do_not_vary_are_no_noise():
    rng = np.random.default_rng(15)
    x = rng.normal(size=(300, 15))
    dead = np.concatenate([x, np.ones((300, 5))], axis=1)
    twice = np.concatenate([x, x[:, :1]], axis=1)
    fixed = x - x.mean(axis=1, keepdims=True)
    for rows, rank, count in ((dead, 15, 0), (twice, 15, 1), (fixed, 14, 0), (x, 15, 0)):
        for each in (rows, rows.astype(np.float32)):
            found = ch.covariance_spectrum(each, level=0.01)
            assert (found.rank, found.count) == (rank, count) and found.noise > 0.8
            assert ch.stable_rank(each).upper <= rank
    assert "20 coordinates (rank 15)" in repr(ch.covariance_spectrum(dead))


@pytest.mark.parametrize("scale", [1e-250, 1e-130, 1e130, 1e250])
def test_ranks_of_tiny_and_huge_numbers_are_those_of_numbers_of_order_one(scale):
    x = data(16)
    for rank in RANKS:
        assert float(rank(scale * x).value) == pytest.approx(float(rank(x).value), rel=1e-5)
    if 1e-140 < scale < 1e140:
        found = ch.covariance_spectrum(scale * x)
        assert np.all(np.isfinite(found.outliers.value)) and found.count == 4
    else:
        with pytest.raises(DeclarationError, match="1e-140"):
            ch.covariance_spectrum(scale * x)


def test_effective_ranks_of_few_samples_are_covered():
    """They cover 95%; of 150 sets 130 or fewer have a probability below 1e-4."""
    rng, scale, covered = np.random.default_rng(17), 1 / np.arange(1, 11), 0
    true = entropy_rank(scale**2)
    for _ in range(150):
        found = ch.effective_rank(rng.normal(size=(25, 10)) * scale)
        covered += bool(found.lower <= true <= found.upper)
    assert covered > 130
