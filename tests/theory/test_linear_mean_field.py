"""The linear net of two layers: its cubic, scales and limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boltzax.core import DeclarationError
from boltzax.theory import linear_mean_field


@pytest.mark.parametrize(("feature", "t"), [(0.1, 0.849112), (1.0, 0.600730), (10.0, 0.268993)])
def test_linear_net(feature, t):
    found = linear_mean_field(0.1, feature)
    assert abs(found.field - t) < 5e-7
    assert feature * found.field**2 < 1
    # the two equations of which the cubic is made
    assert abs(found.kernel * (1 - feature * found.field**2) - 1) < 1e-14
    assert abs(found.field * (0.1 + found.kernel) - 1) < 1e-14
    cubic = [-0.1 * feature, feature, 0.1 + 1, -1]
    assert len(found.unphysical) == 2
    assert np.all(feature * found.unphysical**2 > 1)
    assert np.all(np.abs(np.polyval(cubic, found.unphysical)) < 1e-9 * found.unphysical**2)


@given(st.floats(1e-4, 10), st.floats(1e-3, 100), st.floats(0.1, 3), st.floats(0.1, 3))
def test_linear_net_with_scales(noise, feature, a, w):
    found = linear_mean_field(noise, feature, readout=a, weight=w)
    room = 1 - feature * w**2 * found.field**2
    assert room > 0
    # written without the division, so that it holds to rounding next to the edge
    assert abs(found.field * (noise * room + (a * w) ** 2) - room) < 1e-12 * (1 + noise)
    # the same equation with averaged readouts
    g = feature * found.field / a**2
    s = (found.readout_scale * w) ** 2
    assert abs(found.temperature * g * (1 - s * g**2) + s * g - (1 - s * g**2)) < 1e-11 * (
        1 + s * g
    )


def test_small_features_are_a_gaussian_process():
    assert abs(linear_mean_field(0.1, 1e-12).field - 1 / 1.1) < 1e-11


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: linear_mean_field(-0.1, 1.0), "noise"),
        (lambda: linear_mean_field(0.1, 0.0), "feature"),
    ],
)
def test_wrong_arguments(call, argument):
    with pytest.raises(DeclarationError) as caught:
        call()
    assert caught.value.argument == argument
