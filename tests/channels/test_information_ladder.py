"""Ladders: flat for Gaussian data, not flat for others, noise floors."""

import jax
import numpy as np
import pytest
from scipy import special

from boltzax.channels import gaussian_information, information_ladder
from boltzax.core import DeclarationError, Outcome

from .test_gaussian_information import pair

KEY = jax.random.key(0)


def test_the_rungs_are_means_of_blocks():
    x, y, _ = pair(np.random.default_rng(0), 90, 2, 3, [0.8])
    found = information_ladder(x, y, sizes=(30, 90), key=KEY)
    whole = gaussian_information(x, y)
    np.testing.assert_allclose(found.corrected.x, [30, 90])
    np.testing.assert_allclose(found.corrected.value[1, 0], whole.estimate.value, rtol=1e-12)
    np.testing.assert_allclose(found.plug_in.value[1, 0], whole.plug_in, rtol=1e-12)
    assert float(found.corrected.standard_error[0, 0]) < 2 * float(whole.estimate.standard_error)
    # the remaining bias, if it falls as 1/n: I(n) = I + c/n
    low, high = np.asarray(found.corrected.value[:, 0])
    np.testing.assert_allclose(found.excess.value[0], (low - high) / 2, rtol=1e-9)


def alarms(setting, repeats, seed):
    rng = np.random.default_rng(seed)
    p = []
    for _ in range(repeats):
        x, y, _ = pair(rng, *setting)
        p.append(float(information_ladder(x, y, sizes=(len(x) // 4, len(x)), key=KEY).p_value[0]))
    return np.array(p)


@pytest.mark.parametrize("setting", [(48, 2, 3, []), (48, 1, 1, [0.95])])
def test_gaussian_data_are_flat(setting):
    p = alarms(setting, 40, 0)
    assert np.mean(p <= 0.05) < 0.05 + 3.5 * (0.05 * 0.95 / 40) ** 0.5
    assert abs(np.mean(p <= 0.5) - 0.5) < 4 * 0.5 / 40**0.5
    assert p.min() > 1e-5  # the law of the difference is not cut off


def test_no_p_value_is_zero_where_the_law_ends():
    """With four blocks of one coordinate the Gamma law ends two errors below its mean."""
    p = alarms((400, 1, 1, [0.5]), 120, 1)
    assert p.min() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [(40, 1, 1, []), (40, 1, 1, [0.9]), (400, 1, 1, [0.5]), (60, 2, 3, []), (60, 2, 3, [0.99, 0.9]),
     (400, 10, 10, []), (400, 10, 10, [0.7] * 10), (100, 5, 5, [0.9, 0.5])],
)  # fmt: skip
def test_false_alarms(setting):
    p = alarms(setting, 1000, 1)
    assert 0.02 < np.mean(p <= 0.05) < 0.08


@pytest.mark.parametrize("law", ["shared scale", "heavy tails"])
def test_other_data_are_not_flat(law):
    """A scale that both sides share, and Student's t of 3 degrees of freedom in a common factor."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 800, 6))
    if law == "shared scale":
        scale = np.exp(0.7 * rng.normal(size=(800, 1)))
        x, y = x * scale, y * scale
    else:
        x = rng.standard_t(3, size=x.shape)
        y = 0.5 * x + rng.standard_t(3, size=x.shape) * np.abs(x)
    found = information_ladder(x, y, key=KEY)
    assert found.flat[0] == Outcome.disagree
    assert float(found.excess.value[0]) > 4 * float(found.excess.standard_error[0])
    # which a permutation of one side does not show
    shuffled = information_ladder(x, rng.permutation(y), key=KEY)
    assert float(shuffled.p_value[0]) > 1e-3
    assert "not flat" in repr(found)


def test_floors_of_a_deterministic_relation():
    """`y = x + floor noise` on both sides: `ρ = 1/(1 + floor²)`."""
    x = np.random.default_rng(0).normal(size=(800, 2))
    with pytest.raises(DeclarationError, match="floors="):
        information_ladder(x, 3 * x, key=KEY)
    floors = np.array([0.01, 0.1, 1.0])
    found = information_ladder(x, 3 * x, floors=floors, key=KEY)
    truth = -np.log1p(-((1 + floors**2) ** -2.0))
    assert np.all(np.abs(found.corrected.z_score(np.tile(truth, (4, 1)))) < 4)
    assert found.flat == (Outcome.agree,) * 3


def test_few_blocks_have_no_power():
    x, y, _ = pair(np.random.default_rng(0), 40, 3, 3, [])
    assert information_ladder(x, y, sizes=(20, 40), key=KEY).flat == (Outcome.too_few,)


@pytest.mark.parametrize("sizes", [None, (20,), (15, 20), (10, 30), (5, 20)])
def test_refused_sizes(sizes):
    x, y, _ = pair(np.random.default_rng(0), 10 if sizes is None else 20, 3, 3, [])
    with pytest.raises(DeclarationError):
        information_ladder(x, y, sizes=sizes, key=KEY)


def test_all_samples_are_always_a_rung():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 100, 2))
    found = information_ladder(x, y, sizes=(10, 20), key=jax.random.key(0))
    assert list(found.corrected.x) == [10, 20, 100]
    with pytest.raises(DeclarationError, match="floors"):
        information_ladder(x, y, floors=(), key=jax.random.key(0))


def test_the_p_value_is_that_of_a_gamma_law():
    """Of one coordinate each: `½ (B - 1) (1 + 2 ρ⁴)³` for its shape, above and below the mean."""
    for seed, sign in ((4, 1), (3, -1)):
        x, y, _ = pair(np.random.default_rng(seed), 80, 1, 1, [0.8])
        found = information_ladder(x, y, sizes=(10, 80), key=KEY)
        square = 1 - np.exp(-2 * float(found.corrected.value[-1, 0]))
        shape = 0.5 * (8 - 1) * (1 + 2 * square**2) ** 3
        t = float(found.excess.value[0] / found.excess.standard_error[0])
        assert t * sign > 0.3
        at = shape + shape**0.5 * t
        above = special.gammaincc(shape, at)
        below = max(special.gammainc(shape, at), special.ndtr(t))
        p = 2 * min(above, below)
        np.testing.assert_allclose(found.p_value[0], p, rtol=1e-4)
