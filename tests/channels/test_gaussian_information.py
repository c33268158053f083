"""Gaussian information: truths, null laws, coverage, laws of information, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boltzax.channels import gaussian_information
from boltzax.channels._information_interval import Spread, independence
from boltzax.core import DeclarationError

SETTINGS = {
    "one": (10, 1, 1, []),
    "few": (30, 3, 2, []),
    "barely": (42, 20, 20, []),
    "barely, dependent": (42, 20, 20, [0.6] * 20),
    "unequal": (60, 2, 25, [0.7]),
    "many": (400, 4, 6, [0.3, 0.2]),
    "near 1": (30, 3, 2, [0.9999, 0.999]),
}


def pair(rng, samples, x_size, y_size, correlations):
    """Gaussian samples with these canonical correlations, and their information."""
    x, y = rng.normal(size=(samples, x_size)), rng.normal(size=(samples, y_size))
    rho = np.asarray(correlations, float)
    k = len(rho)
    y[:, :k] = rho * x[:, :k] + np.sqrt(1 - rho**2) * y[:, :k]
    return x, y, -0.5 * np.sum(np.log1p(-(rho**2)))


def repeated(setting, repeats, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(repeats):
        x, y, truth = pair(rng, *setting)
        info = gaussian_information(x, y)
        low, high = info.estimate.interval()
        covers = low <= truth <= high
        row = (info.estimate.value, info.estimate.standard_error, covers, info.p_value)
        found.append(np.array([float(number) for number in row]))
    return np.array(found).T, truth


def check(setting, repeats, seed=0):
    """No bias, the right error, 95% coverage and, for independent data, uniform p-values."""
    (value, error, covers, p_value), truth = repeated(setting, repeats, seed)
    assert abs(value.mean() - truth) < 4 * value.std() / repeats**0.5
    ratio, rough = np.log(np.mean(error**2) ** 0.5 / value.std()), 3 / (2 * repeats) ** 0.5
    # of few samples that are independent it is too large: the correlations that it takes are not 0
    assert -0.08 - rough < ratio < (0.08 if truth else 0.35) + rough
    slack = 4 * (0.05 * 0.95 / repeats) ** 0.5
    assert abs(covers.mean() - 0.945) < 0.02 + slack
    if not truth:
        assert abs(np.mean(p_value <= 0.05) - 0.05) < slack


@pytest.mark.parametrize("name", ["few", "barely", "near 1"])
def test_estimates_are_unbiased_and_their_intervals_cover(name):
    check(SETTINGS[name], 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_estimates_at_many_settings(name):
    check(SETTINGS[name], 4000, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one", "few", "barely"])
def test_p_values_are_uniform(name):
    (_, _, _, p_value), _ = repeated(SETTINGS[name], 10_000, seed=2)
    assert 0.044 < np.mean(p_value <= 0.05) < 0.056
    grid = np.linspace(0, 1, 101)
    assert np.max(np.abs(np.mean(p_value[:, None] <= grid, axis=0) - grid)) < 1.95 / 100


def test_the_share_detected():
    """An information of the size `detectable` is detected with probability 0.95."""
    rng = np.random.default_rng(3)
    size = float(gaussian_information(*pair(rng, 200, 2, 3, [])[:2]).detectable)
    rho = (1 - np.exp(-size)) ** 0.5  # two equal correlations
    seen = [
        gaussian_information(*pair(rng, 200, 2, 3, [rho] * 2)[:2]).dependent for _ in range(200)
    ]
    assert abs(np.mean(seen) - 0.95) < 4 * (0.05 * 0.95 / 100) ** 0.5


def test_closer_to_one_than_rounding_of_the_correlation():
    """`1 - r²` is 1e-20: it is no difference of float64 numbers."""
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 200, 1))
    found = gaussian_information(x, x + 1e-10 * noise)
    truth = 0.5 * np.log1p(1e20)
    assert abs(float(found.estimate.value) - truth) < 4 * float(found.estimate.standard_error)
    assert float(found.estimate.standard_error) < 0.1


def test_float32_data_and_float64_data_agree():
    rng = np.random.default_rng(0)
    x, y, _ = pair(rng, 300, 6, 4, [0.9, 0.5])
    x = x @ np.diag(10.0 ** -np.linspace(0, 3, 6)) @ rng.normal(size=(6, 6))  # of condition 1e4
    wide, narrow = (
        gaussian_information(x.astype(d), y.astype(d)) for d in (np.float64, np.float32)
    )
    np.testing.assert_allclose(narrow.estimate.value, wide.estimate.value, rtol=1e-3)
    np.testing.assert_allclose(narrow.correlations, wide.correlations, atol=1e-3)


problems = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4), st.integers(2, 60)
)


def drawn(problem):
    """Samples that are not Gaussian: the laws hold for any."""
    seed, x_size, y_size, more = problem
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(x_size + y_size + more, x_size)) ** 3
    y = rng.exponential(size=(len(x), y_size)) + 0.5 * x[:, :1]
    return rng, x, y


@given(problems)
def test_linear_maps_change_nothing(problem):
    rng, x, y = drawn(problem)
    before = gaussian_information(x, y)
    maps = [rng.normal(size=(each.shape[1],) * 2) + 3 * np.eye(each.shape[1]) for each in (x, y)]
    after = gaussian_information(x @ maps[0] + 5, y @ maps[1] - 7)
    np.testing.assert_allclose(after.correlations, before.correlations, atol=1e-7)
    np.testing.assert_allclose(after.plug_in, before.plug_in, rtol=1e-6)


@given(problems)
def test_both_sides_are_alike(problem):
    _, x, y = drawn(problem)
    one, two = gaussian_information(x, y), gaussian_information(y, x)
    np.testing.assert_allclose(one.estimate.value, two.estimate.value, atol=1e-9)
    np.testing.assert_allclose(one.p_value, two.p_value, atol=1e-9)


@given(problems)
def test_processing_loses_information(problem):
    """In the sample: for a linear map to fewer coordinates."""
    rng, x, y = drawn(problem)
    part = y @ rng.normal(size=(y.shape[1], 1))
    assert gaussian_information(x, part).plug_in <= gaussian_information(x, y).plug_in + 1e-9


@given(problems)
def test_noise_loses_information(problem):
    """Of the population: noise of twice the spread on one side divides `ρ` by `√5`."""
    rng, *_ = drawn(problem)
    x, y, truth = pair(rng, 400, problem[1], problem[2], [0.8])
    noisy = gaussian_information(x, y + 2 * rng.normal(size=y.shape)).estimate
    assert abs(float(noisy.z_score(-0.5 * np.log1p(-0.64 / 5)))) < 5
    assert float(noisy.upper) < truth


@given(problems)
def test_the_chain_rule(problem):
    """`I(x; yz) = I(x; y) + I(xy; z) - I(y; z)`, exactly, in the sample."""
    rng, x, y = drawn(problem)
    z = rng.normal(size=(len(x), 1)) + x[:, -1:] * y[:, :1]
    both = gaussian_information(x, np.concatenate([y, z], axis=1)).plug_in
    parts = gaussian_information(np.concatenate([x, y], axis=1), z).plug_in
    parts += gaussian_information(x, y).plug_in - gaussian_information(y, z).plug_in
    np.testing.assert_allclose(both, parts, atol=1e-8)


def test_the_plug_in_is_the_likelihood_that_an_affine_predictor_gains():
    """In the sample, with the covariance of its residuals, for data of any law."""
    _, x, y = drawn((0, 3, 2, 40))
    ones = np.ones((len(x), 1))
    left = [y - m @ np.linalg.lstsq(m, y, rcond=None)[0] for m in (ones, np.hstack([ones, x]))]
    logs = [np.linalg.slogdet(r.T @ r)[1] for r in left]
    found = gaussian_information(x, y)
    np.testing.assert_allclose(found.plug_in, 0.5 * (logs[0] - logs[1]), rtol=1e-10)
    assert "nats (3 and 2 coordinates, 45 samples)" in repr(found)


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(50, 3)), RNG.normal(size=(50, 2))
REFUSED = {
    "rows": (X, Y[1:], "y", "49 samples for 50"),
    "few": (X[:5], Y[:5], "x", "5 samples of 3 \\+ 2"),
    "nan": (np.where(X > 2, np.nan, X), Y, "x", "not finite"),
    "constant": (X, np.c_[Y, np.full(50, 0.3)], "y", "1 constant coordinates of 3: 2"),
    "duplicate": (np.c_[X, X[:, 1]], Y, "x", "linear functions of each other"),
    "duplicate of float32": (np.c_[X, X @ [0.1, 0.2, 0.3]].astype("f"), Y, "x", "of each other"),
    "fixed sum": (X, np.c_[Y, 1 - Y.sum(axis=1)], "y", "linear functions of each other"),
    "deterministic": (X, np.c_[X @ [1.0, 2.0, 3.0], Y], "y", "1 directions that are linear func"),
    "no sample": (X[:0], Y[:0], "x", "no samples"),
    "no coordinate": (X[:, :0], Y, "x", "without coordinates"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    x, y, argument, words = REFUSED[name]
    with pytest.raises(DeclarationError, match=words) as caught:
        gaussian_information(x, y)
    assert caught.value.argument == argument


def test_whole_numbers_are_no_rounded_ones():
    """They are exact, also where float32 holds them: one-hot labels, and dates in seconds."""
    labels = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 50)]
    assert gaussian_information(X, labels[:, 1:]).samples == 50
    seconds = 1e7 + RNG.integers(0, 3, (50, 1))
    assert gaussian_information(X, seconds).samples == 50


def test_equal_correlations_of_an_information():
    """`m` correlations ρ carry `-½ m log(1 - ρ²)`; of them the spread takes `m ρ²` and `m ρ⁴`."""
    square, count = 0.36, 2.5
    spread = Spread(independence(50, 3, 4, 0.05).law, count)
    sums = spread.sums(-0.5 * count * np.log1p(-square))
    assert sums == pytest.approx((count * square, count * square**2))
    assert spread.sums(-0.1) == (0, 0)
