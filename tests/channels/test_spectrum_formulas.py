"""Errors and ends of intervals of spectra, by their closed forms."""

import numpy as np
import pytest
from scipy import stats

from boltzax import channels as ch
from boltzax.channels._covariance_spectrum import _corrected


def test_the_error_of_an_outlier_has_the_fourth_moment_of_its_scores():
    """Of Gaussian data the fourth moment of `n` scores is `3 (n - 1)/(n + 1)`, as it is of
    vectors of norm √n of any direction; here that of 8 scores is 4."""
    scores = np.array([2.0, -2.0] + [0.0] * 6)[:, None] * np.ones(2)
    found = _corrected(np.array([4.0, 1.0]), scores, 1)
    shrink = 1 + (1 / (4 - 1)) / 7
    slope = (1 + (16 / 9 - 1) / 7) / shrink**2
    assert found.value[0] == pytest.approx(4 / shrink)
    error = 4 / shrink * ((4 * 9 / 7 - 1) * slope / 7) ** 0.5
    assert found.error[0] == pytest.approx(error)


def test_the_ends_of_a_stable_rank_without_an_outlier():
    """From `λ₁ = λ ν/χ²_ν(0.025)` to all directions."""
    x = np.random.default_rng(19).normal(size=(40, 6))
    values = np.linalg.eigvalsh(np.cov(x.T))
    largest = values[-1] * 39 / stats.chi2.ppf(0.025, 39)
    found = ch.stable_rank(x, level=0.001)
    assert float(found.lower) == pytest.approx(np.sum(values) / largest, rel=1e-6)
    assert float(found.upper) == 6
