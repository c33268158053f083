"""Distances of clouds: scipy in one dimension, closed forms of Gaussians, laws, calibration, power.

Planted mutants, each killed by the test that it is named with: pairs of a point with itself counted
(unbiased), `n²` for `n(n-1)` (scipy), the cross term once (closed forms), permuted labels without
the own count (scipy, calibration), p-values without the 1 (calibration), a kernel without the half
(closed forms), a gap of counts in place of shares (unequal sizes).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gamma

from boltzax.core import DeclarationError
from boltzax.observe import energy_distance, kernel_distance, sliced_wasserstein

KEY = jax.random.key(0)
SIZES = [(30, 40), (140, 25)]
"""The second is more than a block of rows. Few shapes: each is compiled anew."""


def clouds(seed: int, n: int, m: int, d: int, shift: float = 0.0):
    a, b = jax.random.split(jax.random.key(seed))
    return jax.random.normal(a, (n, d)), jax.random.normal(b, (m, d)) + shift


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_energy_is_scipys_in_one_dimension(n, m):
    x, y = clouds(1, n, m, 1, 0.5)
    found = energy_distance(x, y, key=KEY, permutations=9)
    inside = [
        np.abs(np.subtract.outer(p, p)).sum() / (len(p) * (len(p) - 1)) for p in (x[:, 0], y[:, 0])
    ]
    # scipy's counts pairs of a point with itself
    biased = scipy.stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    np.testing.assert_allclose(found.value + inside[0] / n + inside[1] / m, biased, rtol=1e-10)


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_sliced_wasserstein_is_scipys_in_one_dimension(n, m):
    x, y = clouds(2, n, m, 1, 0.5)
    found = sliced_wasserstein(x, y, key=KEY, directions=4)
    np.testing.assert_allclose(found.value, scipy.stats.wasserstein_distance(x[:, 0], y[:, 0]))


@pytest.mark.slow
def test_closed_forms_of_gaussians():
    """Means over 200 pairs of clouds against expectations; |z| < 4.5 fails by chance in 1 of 1e5
    a number."""
    delta, d, h = 0.8, 3, 1.3
    keys = jax.random.split(jax.random.key(3), 200)

    def one(key):
        a, b, c = jax.random.split(key, 3)
        x = jax.random.normal(a, (30, d))
        y = jax.random.normal(b, (40, d)) + jnp.array([delta, 0.0, 0.0])
        energy = energy_distance(x[:, :1], y[:, :1], key=c, permutations=1)
        kernel = kernel_distance(x, y, key=c, bandwidth=h, permutations=1)
        return energy.value, kernel.value

    energy, kernel = jax.vmap(one)(keys)
    folded = 2 / np.sqrt(np.pi) * np.exp(-(delta**2) / 4)
    folded += delta * (1 - 2 * scipy.stats.norm.cdf(-delta / np.sqrt(2)))
    exact_energy = 2 * folded - 4 / np.sqrt(np.pi)
    root = (h**2 / (h**2 + 2)) ** (d / 2)
    exact_kernel = 2 * root * (1 - np.exp(-(delta**2) / (2 * (h**2 + 2))))
    for values, exact in ((energy, exact_energy), (kernel, exact_kernel)):
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        assert abs(np.mean(values) - exact) < 4.5 * error


def test_sliced_wasserstein_of_a_shift():
    """A shift by `s` moves every projection by `u·s`: `E|u·s| = |s| Γ(d/2)/(√π Γ((d+1)/2))`.
    |z| < 4.5 over directions fails by chance in 1 of 1e5."""
    x, _ = clouds(4, 60, 2, 3)
    found = sliced_wasserstein(x, x + jnp.array([2.0, 0.0, 0.0]), key=KEY, directions=512)
    exact = 2.0 * gamma(1.5) / (np.sqrt(np.pi) * gamma(2.0))
    assert abs(found.z_score(exact)) < 4.5
    assert float(found.standard_error) < 0.06


@pytest.mark.slow
@settings(max_examples=8)
@given(st.integers(0, 1000), st.sampled_from([energy_distance, kernel_distance]))
def test_laws(seed, distance):
    """Symmetry; the same after a rotation and a translation of both."""
    x, y = clouds(seed, 35, 35, 3, 0.3)
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(seed + 1), (3, 3)))[0]
    value = distance(x, y, key=KEY, permutations=9)
    swapped = distance(y, x, key=KEY, permutations=9)
    turned = distance(x @ turn + 5.0, y @ turn + 5.0, key=KEY, permutations=9)
    np.testing.assert_allclose(value.value, swapped.value, atol=1e-12)
    np.testing.assert_allclose(value.value, turned.value, atol=1e-10)
    assert value.p_value == turned.p_value


@pytest.mark.slow
@pytest.mark.parametrize(
    "distance", [energy_distance, pytest.param(kernel_distance, marks=pytest.mark.slow)]
)
def test_calibrated_and_unbiased_for_equal_laws(distance):
    """200 pairs of one law: p-values uniform (KS at 1e-3), mean 0 (|z| < 4.5): a false alarm in
    1 of 900 of each; the spread of the permutations is that of the values (within 25%, 5 s.e.)."""

    def one(key):
        a, b, c = jax.random.split(key, 3)
        x = jax.random.normal(a, (25, 2))
        y = jax.random.normal(b, (35, 2))
        found = distance(x, y, key=c, permutations=199)
        return found.value, found.p_value, found.noise

    value, p, noise = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), 200))
    # put between the steps of 1/200
    spread = p - jax.random.uniform(jax.random.key(6), p.shape) / 200
    assert scipy.stats.kstest(spread, "uniform").pvalue > 1e-3
    assert abs(np.mean(value)) < 4.5 * np.std(value) / np.sqrt(200)
    assert abs(np.std(value) / np.sqrt(np.mean(noise**2)) - 1) < 0.25
    assert float(jnp.min(p)) >= 1 / 200


@pytest.mark.slow
@pytest.mark.parametrize("distance", [energy_distance, kernel_distance])
def test_power(distance):
    """A shift by half a standard deviation is seen by 140 and 100 points, at the floor of p."""
    x, y = clouds(7, 140, 100, 2, 0.5)
    found = distance(x, y, key=KEY, permutations=99)
    assert float(found.p_value) == pytest.approx(0.01)
    swapped = distance(y, x, key=KEY, permutations=99)
    np.testing.assert_allclose(found.value, swapped.value, rtol=1e-10)
    assert float(found.value) > 4 * float(found.noise)


def test_equal_points_cannot_be_told_apart():
    x = jnp.ones((35, 3))
    assert float(energy_distance(x, x, key=KEY, permutations=9).p_value) == 1.0


def test_float32_agrees():
    x, y = clouds(8, 35, 35, 3, 0.5)
    low = energy_distance(x.astype(jnp.float32), y.astype(jnp.float32), key=KEY, permutations=9)
    assert low.value.dtype == jnp.float32
    np.testing.assert_allclose(
        low.value, energy_distance(x, y, key=KEY, permutations=9).value, rtol=1e-4
    )


def test_new_clouds_do_not_retrace():
    from boltzax.observe import _distances

    made = _distances._test._cached
    x, y = clouds(9, 35, 35, 3)
    energy_distance(x, y, key=KEY, permutations=9)
    before = made._cache_size()
    energy_distance(y * 2, jnp.flip(x), key=jax.random.key(1), permutations=9)
    assert made._cache_size() == before


def test_wrong_arguments():
    x, y = clouds(0, 30, 40, 3)
    with pytest.raises(DeclarationError, match="`y`"):
        energy_distance(x, y[:, :2], key=KEY)
    with pytest.raises(DeclarationError, match="dimension"):
        energy_distance(x[:, :0], y[:, :0], key=KEY)
    with pytest.raises(DeclarationError, match="two"):
        sliced_wasserstein(x[:1], y, key=KEY)
    with pytest.raises(DeclarationError, match="permutations"):
        kernel_distance(x, y, key=KEY, permutations=0)
    with pytest.raises(DeclarationError, match="bandwidth"):
        kernel_distance(x, y, key=KEY, bandwidth=-1.0)


def test_what_is_detected_of_clouds_whose_permutations_are_not_positive():
    """`(2 · 1.645/2)² · scale (1/n + 1/m)`, as the critical value of a level near 1 is below 0."""
    x, y = clouds(10, 30, 40, 2)
    found = energy_distance(x, y, key=KEY, permutations=9, level=0.95)
    pooled = np.concatenate([x, y])
    apart = np.linalg.norm(pooled[:, None] - pooled[None], axis=-1)
    scale = 2 * apart.sum() / (70 * 69)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-9)
    exact = scipy.stats.norm.ppf(0.95) ** 2 * scale * (1 / 30 + 1 / 40)
    np.testing.assert_allclose(found.detectable, exact, rtol=1e-9)
