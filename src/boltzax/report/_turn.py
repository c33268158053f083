"""Where a curve turns, and the two laws proposed for its rise."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Turn(NamedTuple):
    """The highest point of a curve, and the bracket `[low, high]` of where it can lie.

    `inside` is whether the curve is seen to fall after it.
    """

    place: float
    low: float
    high: float
    value: float
    error: float
    inside: bool


def turn(
    x: Float[np.ndarray, " point"],
    value: Float[np.ndarray, " point"],
    error: Float[np.ndarray, " point"],
) -> Turn:
    """The maximum of a curve with errors, for rising `x`.

    The points that the highest one does not exceed by two standard errors of their difference may
    be the highest as well; for a curve that rises and then falls, the maximum lies between the
    neighbours of the outermost of them.
    """
    top = int(np.argmax(value))
    rival = value[top] - value <= 2 * np.hypot(error[top], error)
    left = right = top
    while left > 0 and rival[left - 1]:
        left -= 1
    while right < len(x) - 1 and rival[right + 1]:
        right += 1
    inside = left > 0 and right < len(x) - 1
    low, high = x[max(left - 1, 0)], x[min(right + 1, len(x) - 1)]
    numbers = (x[top], low, high, value[top], error[top])
    return Turn(*(float(number) for number in numbers), inside)


def quadratic(x: Float[np.ndarray, " point"], value: Float[np.ndarray, " point"]) -> float:
    """The factor c of the least-squares fit `value = c x²`, over the rise of the curve."""
    rise = slice(0, int(np.argmax(value)) + 1)
    square = x[rise] ** 2
    return float(np.sum(square * value[rise]) / np.sum(square**2))


def resolved_modes(
    log_n: Float[np.ndarray, " point"], log_squares: Float[np.ndarray, " mode"]
) -> Float[np.ndarray, " point"]:
    """`½ Σ_k n c_k²/(1 + n c_k²)`: half the number of modes with `n c_k² > 1`, smoothed."""
    load = np.asarray(log_n)[:, None] + np.asarray(log_squares)
    return 0.25 * np.sum(1 + np.tanh(0.5 * load), axis=1)
