"""The rate at which the size of a curve decays."""

import numpy as np

from ..core import Curve, DeclarationError, Estimate, Influence, student_factor

CLEAR = 3.0
"""Standard errors by which a point differs from zero."""
LEAST = 3
"""Points of a fit at least."""


def decay_rate(curve: Curve) -> Estimate:
    """`γ` of `|value| ∝ exp(-γ x)`, fitted to the points that differ from zero.

    The error holds that of the values, with their correlations if the curve knows them, or, where
    it is larger, the scatter about the line, with Student's factor.

    Raises:
        DeclarationError: For a curve of several numbers.
    """
    value, error = (np.asarray(each, float) for each in (curve.value, curve.standard_error))
    if value.ndim != 1:
        raise DeclarationError(
            "curve",
            got=f"values of shape {value.shape}",
            expected="one number at each place",
            mend="take one of them first, curve[:, i]",
        )
    clear = np.abs(value) > CLEAR * error
    count = int(np.sum(clear))
    if count < LEAST:
        return Estimate.exact(np.nan).unknown(True)
    place = np.asarray(curve.x, float)[clear]
    place = place - np.mean(place)
    weights, logs = -place / np.sum(place**2), np.log(np.abs(value[clear]))
    rate = float(weights @ logs)
    left = logs - np.mean(logs) + rate * place
    scatter = np.sqrt(np.sum(left**2) / (count - 2) / np.sum(place**2))
    scatter = float(student_factor(count - 1) / student_factor(np.inf) * scatter)
    given = curve.values if curve.influence is None else curve.influence
    slopes = (weights / value[clear])[None]  # of the logarithms
    moved = given[np.flatnonzero(clear)].times(slopes)
    noise = (moved.estimate(exact=True) if isinstance(moved, Influence) else moved)[0]
    more = max(scatter**2 - float(noise.standard_error) ** 2, 0.0)
    return noise.shifted(rate - noise.value).widened(more**0.5)
