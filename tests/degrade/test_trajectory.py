"""Trajectories against their null laws."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.core import Outcome
from boltzax.degrade import _trajectory_null, random_walk_spectrum, trajectory_spectrum
from boltzax.degrade._trajectory import _band, _components, _reduced, _walked
from boltzax.degrade._trajectory_null import NullTest, relaxation_test, walk_test

KEY = jax.random.key(0)


@given(st.integers(2, 60))
def test_the_spectrum_of_a_walk_is_that_of_its_covariance(times):
    """The covariance of a walk is `min(s, t)`; centred in time, it has these eigenvectors."""
    t = np.arange(1, times + 1)
    centre = np.eye(times) - 1 / times
    exact = centre @ np.minimum.outer(t, t) @ centre
    values, components = random_walk_spectrum(times)
    np.testing.assert_allclose(exact @ components, components * values, atol=1e-9 * times**2)
    np.testing.assert_allclose(components.T @ components, np.eye(times - 1), atol=1e-12)
    np.testing.assert_allclose(values.sum(), (times**2 - 1) / 6)


def test_the_shares_of_a_long_walk():
    values, _ = random_walk_spectrum(4000)
    expected = 6 / (np.pi * np.arange(1, 5)) ** 2  # 60.8, 15.2, 6.8, 3.8%
    np.testing.assert_allclose(values[:4] / values.sum(), expected, rtol=1e-4)


def walk(rng, times, dim, drift=0.0):
    return np.cumsum(rng.normal(size=(times, dim)) + drift, axis=0)


def relaxation(rng, times, dim, phi, start=0.0):
    x = np.zeros((times, dim))
    x[0] = start
    for t in range(1, times):
        x[t] = phi * x[t - 1] + rng.normal(size=dim)
    return x


def test_a_walk_agrees_with_both_null_laws_and_has_their_components():
    path = walk(np.random.default_rng(0), 60, 1000)
    found = trajectory_spectrum(path, key=KEY, level=0.01)
    assert found.walk.outcome == Outcome.agree and found.relaxation.outcome == Outcome.agree
    assert np.all(np.asarray(found.cosines)[:3] > 0.95)
    np.testing.assert_allclose(found.fractions[:3], found.expected[:3], rtol=4 * (2 / 1000) ** 0.5)


def test_the_band_of_a_walk_covers():
    """95% bands of six shares of 40 walks: 228 ± 3.4 of 240 inside, if they were independent."""
    rng, inside = np.random.default_rng(11), 0
    for _ in range(40):
        path = _reduced(walk(rng, 30, 200))
        steps, shares = np.diff(path, axis=0), _components(path)[0][:6]
        low, high = _band(lambda steps=steps: _walked(steps, rng), 6)
        inside += np.sum((shares > low) & (shares < high))
    assert 212 <= inside <= 238


def test_a_relaxation_is_no_walk():
    path = relaxation(np.random.default_rng(1), 100, 50, 0.6)
    found = trajectory_spectrum(path, key=KEY)
    assert found.walk.outcome == Outcome.disagree
    assert found.relaxation.outcome == Outcome.agree
    assert abs(float(found.memory) - 0.6) < 0.06
    assert "disagrees" in repr(found)


def test_a_straight_line_with_noise_is_a_relaxation_and_no_walk():
    path = walk(np.random.default_rng(2), 60, 20, drift=0.5)
    found = trajectory_spectrum(path, key=KEY)
    assert found.walk.outcome == Outcome.disagree
    assert found.relaxation.outcome == Outcome.agree


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_path_without_noise_is_a_relaxation(dtype):
    """Straight lines and exponential decays: all but rounding is explained."""
    rng, t = np.random.default_rng(12), np.arange(40)[:, None]
    for memory, course in ((1.0, t), (0.93, 0.93**t)):
        for dim in (2, 100):
            path = course * rng.normal(size=dim) + rng.normal(size=dim)
            found = trajectory_spectrum(path.astype(dtype), key=KEY, shuffles=19)
            assert found.relaxation.outcome == Outcome.agree
            assert float(found.relaxation.p_value) == 1.0
            assert abs(float(found.memory) - memory) < 1e-4
    bent = trajectory_spectrum((t**2 * np.ones(2)).astype(dtype), key=KEY)
    assert bent.relaxation.outcome == Outcome.disagree


@pytest.mark.parametrize("level", [1e-9, 0.999])
def test_a_p_value_that_is_not_a_number_refuses_nothing(level):
    null = NullTest(*(np.asarray(x) for x in (np.nan, np.nan, 0.5, 0.1)), level)
    assert null.outcome == Outcome.agree


def test_stages_are_neither():
    """A trajectory that turns half-way: the drift changes its direction."""
    rng = np.random.default_rng(3)
    drift = np.where(np.arange(60)[:, None] < 30, np.eye(20)[0], np.eye(20)[1])
    path = np.cumsum(rng.normal(size=(60, 20)) * 0.4 + drift, axis=0)
    found = trajectory_spectrum(path, key=KEY)
    assert found.walk.outcome == Outcome.disagree
    assert found.relaxation.outcome == Outcome.disagree


def test_few_points_are_undecided():
    path = walk(np.random.default_rng(4), 6, 3)
    found = trajectory_spectrum(path, key=KEY)
    assert found.walk.outcome == Outcome.too_few and found.relaxation.outcome == Outcome.too_few
    assert "undecided" in repr(found)


@pytest.mark.slow
@pytest.mark.parametrize("times, dim", [(20, 2), (40, 30)])
def test_false_alarms_are_as_told(times, dim):
    """400 walks and relaxations at a level of 5%: 20 ± 4.4 at most."""
    rng, runs = np.random.default_rng(5), 400
    walks, relaxations = 0, 0
    for i in range(runs):
        sizes = np.geomspace(1, 0.1, times)[:, None] * np.arange(1, dim + 1) ** -0.5
        steps = rng.standard_t(3, size=(times - 1, dim)) * sizes[1:]
        walks += float(walk_test(steps, rng, 199, 0.05).p_value) <= 0.05
        phi = (0.3, 0.8, 0.95, 1.0)[i % 4]
        path = _reduced(relaxation(rng, times, dim, phi, start=10.0 * (i % 3)))
        relaxations += float(relaxation_test(path, rng, 199, 0.05)[0].p_value) <= 0.05
    assert 6 <= walks <= 34
    assert relaxations <= 34


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.5, 0.9, 0.95, 0.99, 0.995])
@pytest.mark.parametrize("start", [0.0, 10.0, 300.0, 1000.0])
def test_a_relaxation_from_afar_is_no_false_alarm(phi, start, monkeypatch):
    """200 relaxations at a level of 5%: at most 10 + 4 · 3.1 = 22 alarms."""
    monkeypatch.setattr(_trajectory_null, "_detectable_beside", lambda *_: 0.0)
    rng = np.random.default_rng(13)
    begin = np.append(start, np.zeros(4))
    paths = [_reduced(relaxation(rng, 150, 5, phi, begin)) for _ in range(200)]
    p_values = np.array([float(relaxation_test(x, rng, 199, 0.05)[0].p_value) for x in paths])
    assert np.sum(p_values <= 0.05) <= 22


@pytest.mark.slow
@pytest.mark.parametrize("times, dim", [(30, 10), (100, 2)])
def test_a_detectable_share_is_detected(times, dim):
    """The stated share of the power, put into the slowest mode of the increments."""
    rng, runs, seen = np.random.default_rng(6), 100, 0
    steps = times - 1
    slow = np.sqrt(2 / times) * np.sin(np.pi * np.arange(1, times) / times)
    for _ in range(runs):
        noise = rng.normal(size=(steps, dim))
        share = float(walk_test(noise, rng, 199, 0.05).detectable)
        direction = rng.normal(size=dim)
        size = np.sqrt(share / (1 - share) * np.sum(noise**2)) / np.linalg.norm(direction)
        path = noise + size * np.outer(slow, direction)
        seen += float(walk_test(path, rng, 199, 0.05).p_value) <= 0.05
    assert seen >= 88


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.5, 1.0])
def test_a_share_is_detected_beside_a_fitted_memory(phi):
    """As stated; a slow motion that another memory explains is not counted as detectable."""
    rng, runs, seen, tried = np.random.default_rng(9), 60, 0, 0
    slow = np.cos(np.pi * (np.arange(79) + 0.5) / 79)
    for _ in range(runs):
        noise = rng.normal(size=(79, 20))
        share = float(relaxation_test(driven(noise, phi), rng, 199, 0.05)[0].detectable)
        if np.isfinite(share):
            direction = rng.normal(size=20)
            size = np.sqrt(share / (1 - share)) * np.linalg.norm(noise)
            motion = np.outer(slow / np.linalg.norm(slow), direction / np.linalg.norm(direction))
            path = driven(noise + size * motion, phi)
            seen += float(relaxation_test(path, rng, 199, 0.05)[0].p_value) <= 0.05
            tried += 1
    assert tried > 30 and seen >= 0.85 * tried


def test_a_motion_that_is_tried_has_its_share_of_the_power(monkeypatch):
    rng = np.random.default_rng(10)
    noise, moved = rng.normal(size=(50, 2000)), []
    monkeypatch.setattr(_trajectory_null, "relaxed", lambda path, phi, new: moved.append(new))
    monkeypatch.setattr(_trajectory_null, "fitted_memory", lambda path: (0.0, 0.0))
    found = _trajectory_null._detectable_beside(noise, 0.0, noise, 1.0, rng)
    assert np.isinf(found) and len(moved) == len(_trajectory_null.SHARES)
    shares = [1 - np.sum(noise**2) / np.sum(each**2) for each in moved]
    np.testing.assert_allclose(shares, _trajectory_null.SHARES, atol=0.03)


def driven(noise, phi):
    """The relaxation with these innovations, turned into few coordinates."""
    x = [np.zeros(noise.shape[1])]
    for each in noise:
        x.append(phi * x[-1] + each)
    return _reduced(np.stack(x))


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(1, 30))
def test_units_rotations_and_offsets_do_not_matter(seed, dim):
    rng = np.random.default_rng(seed)
    path = walk(rng, 8, dim)
    turn, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    first = trajectory_spectrum(path, key=KEY, shuffles=19)
    second = trajectory_spectrum(3 * path @ turn + rng.normal(size=dim), key=KEY, shuffles=19)
    for name in ("fractions", "cosines", "memory"):
        np.testing.assert_allclose(vars(first)[name], vars(second)[name], atol=1e-7)
    np.testing.assert_allclose(first.walk.statistic, second.walk.statistic, atol=1e-7)
    np.testing.assert_allclose(first.relaxation.p_value, second.relaxation.p_value)


def test_an_ensemble_over_checkpoints_is_a_trajectory():
    rng = np.random.default_rng(7)
    weights = walk(rng, 12, 3)
    models = [bx.models.Function(line, w) for w in weights]
    energy = bx.SquaredError(models[0], bx.Empirical((np.eye(3), np.ones(3))))
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    ensemble = bx.Ensemble.of_models(gibbs, models, axes=("checkpoint",))
    found = trajectory_spectrum(ensemble, key=KEY)
    np.testing.assert_allclose(found.fractions, trajectory_spectrum(weights, key=KEY).fractions)
    with pytest.raises(bx.DeclarationError, match="checkpoint"):
        trajectory_spectrum(bx.Ensemble.of_models(gibbs, models), key=KEY)


def line(p, x):
    return p @ x


@pytest.mark.parametrize("points", [np.zeros((3, 2)), np.ones((9, 2)), np.full((9, 1), np.nan)])
def test_points_without_motion_are_refused(points):
    with pytest.raises(bx.DeclarationError, match="trajectory"):
        trajectory_spectrum(points, key=KEY)


def test_more_dimensions_than_points_lose_nothing():
    path = walk(np.random.default_rng(8), 10, 500)
    np.testing.assert_allclose(_components(path)[0], _components(_reduced(path))[0], atol=1e-12)


@pytest.mark.parametrize("scale", [2.0**600, 2.0**-600])
def test_trajectories_of_any_size(scale):
    path = np.cumsum(np.random.default_rng(0).normal(size=(12, 4)), axis=0)
    plain, scaled = (trajectory_spectrum(s * path, key=jax.random.key(0)) for s in (1.0, scale))
    assert float(plain.walk.p_value) == float(scaled.walk.p_value)
    np.testing.assert_array_equal(plain.fractions, scaled.fractions)
