"""Costs of chains of Gaussian matrices, against convolution, chi-squared tails and limits."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from boltzax import theory

LOG2 = math.log(2)


@given(st.integers(1, 40), st.floats(0.1, 10.0), st.floats(0.1, 10.0))
def test_one_matrix_is_a_chi_squared_tail(width, gain, threshold):
    exact = -scipy.stats.chi2.logsf(width * (threshold / gain) ** 2, width) / LOG2
    assume(np.isfinite(exact))  # older versions of SciPy give inf in the far tail
    found = theory.gaussian_chain_bits(1, width, gain=gain, threshold=threshold)
    np.testing.assert_allclose(found, exact, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("length", [2, 4, 8])
def test_a_scalar_chain_by_convolution(length):
    """The law of a sum of logarithms, doubled on a grid by FFT."""
    x, step = np.linspace(-60, 60, 2**16, endpoint=False, retstep=True)
    density = np.exp(x - 0.5 * np.exp(2 * x)) * math.sqrt(2 / math.pi)
    transform = np.fft.fft(np.fft.ifftshift(density)) * step
    law = np.fft.fftshift(np.fft.ifft(transform**length).real) / step
    above = scipy.integrate.simpson(law[x >= 0], x=x[x >= 0])
    assert abs(theory.gaussian_chain_bits(length) + math.log2(above)) < 1e-6


def test_a_product_of_two_is_a_bessel_function():
    """The density of a product of two normals is `K₀(|x|)/π`."""
    tail = 2 / math.pi * scipy.integrate.quad(scipy.special.k0, 1, 80, epsabs=1e-14)[0]
    assert abs(theory.gaussian_chain_bits(2) + math.log2(tail)) < 1e-11


def test_the_rate_is_the_limit_of_bits_a_piece():
    assert theory.gaussian_chain_rate() == pytest.approx(0.33145, abs=5e-6)
    for width, gain in ((1, 1.0), (3, 0.7), (16, 0.9)):
        rate = theory.gaussian_chain_rate(width, gain=gain)
        bits = [theory.gaussian_chain_bits(n, width, gain=gain) for n in (2000, 4000)]
        # the correction to n · rate is half a bit for each doubling
        assert bits[1] - bits[0] == pytest.approx(2000 * rate + 0.5, abs=0.01)


def test_where_the_rate_grows_with_the_width():
    at = {gain: [theory.gaussian_chain_rate(w, gain=gain) for w in (1, 4, 64, 1000)]
          for gain in (0.5, 1.0, 1.5)}  # fmt: skip
    assert np.all(np.diff(at[0.5]) > 0) and np.all(np.diff(at[1.0]) < 0)
    assert at[1.5][0] > 0 and at[1.5][1:] == [0.0, 0.0, 0.0]
    wide = 1000 * (1 / 0.25 - 1 + math.log(0.25)) / (2 * LOG2)
    assert at[0.5][-1] == pytest.approx(wide, rel=2e-3)


@given(st.integers(1, 64), st.integers(1, 9), st.floats(0.3, 3.0))
def test_bits_rise_with_the_threshold_and_fall_with_the_gain(length, width, gain):
    bits = [theory.gaussian_chain_bits(length, width, gain=gain, threshold=t) for t in (0.5, 1, 2)]
    assert bits[0] >= 0 and np.all(np.diff(bits) > 0)
    # a factor of every gain is a factor of the threshold
    same = theory.gaussian_chain_bits(length, width, gain=1.0, threshold=gain**-length)
    np.testing.assert_allclose(bits[1], same, rtol=1e-9, atol=1e-12)
