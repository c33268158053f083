"""Probability of a wedge of the plane, in its far tails."""

import numpy as np
import pytest
from scipy.special import log_ndtr, logsumexp

from boltzax.theory._wedge import log_wedge


@pytest.mark.parametrize(
    "tip, a, b",
    [
        ([0.3, -0.8], [1.0, 0.4], [0.2, -1.1]),
        ([4.0, 2.0], [-1.0, 0.3], [0.5, 2.0]),
        ([-13.1, -74.8], [-0.31, -0.62], [0.98, -0.21]),  # the peak lies beside that of each factor
        ([-20.7, 51.3], [-0.2, 0.9], [-0.4, -1.5]),
        ([50.0, 30.0], [1.0, 0.2], [0.9, 0.4]),
        ([-50.0, 30.0], [-1.0, 0.2], [-0.9, -0.4]),
    ],
)
def test_a_wedge_by_a_sum_over_a_fine_grid(tip, a, b):
    """`P = ∫_0^∞ φ(s - u) Φ(y + k u) du` by 10⁶ steps of a trapezoid rule."""
    tip, a, b = (np.array(v) for v in (tip, a, b))
    cross, size = np.linalg.det([a, b]), np.hypot(*a)
    s, y = a @ tip / size, np.sign(cross) * np.linalg.det([a, tip]) / size
    u, step = np.linspace(0, 150, 1_000_001, retstep=True)
    logs = -0.5 * (s - u) ** 2 + log_ndtr(y + a @ b / abs(cross) * u)
    logs[0] -= np.log(2)
    wanted = logsumexp(logs) + np.log(step) - 0.5 * np.log(2 * np.pi)
    assert log_wedge(tip, a, b) == pytest.approx(wanted, rel=1e-9, abs=1e-7)
