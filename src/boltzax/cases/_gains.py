"""A chain of gains, of which everything is known in closed form."""

import math

from ..core import Count, DeclarationError, Positive, typed
from ..declare import Chain, Family, Interface, Points
from ..numerics import arb, precision
from ._components import gain_component

Thresholds = tuple[Positive, Positive]
"""Low and high, both positive."""


@typed
def gain_chain(
    length: Count,
    joint: Interface | Family | None = None,
    *,
    width: Positive = 3.0,
    first: Thresholds = (1.0, 4.0),
    last: Thresholds = (8.0, 8.0),
    points: Points = 2,
) -> Chain:
    """`length` components `y = w x`, `w ~ U[0, width]`, between two pairs of thresholds.

    Exact: `theory.linear_interface` is the entropy of each component between thresholds,
    `theory.linear_chain_maximum` the largest sum over all thresholds between, and
    `gain_chain_evidence` the log-probability that the ends are kept. Contracts are exact with two
    points: a gain takes intervals to intervals.

    Args:
        length: Number of components.
        joint: What stands at each joint: an interface, candidates, or nothing (open).
        width: Width of the prior.
        first: `A(0) = [0, low]` and `A(1) = [high, ∞)` before the first component.
        last: The same after the last.
        points: As of `Chain`.
    """
    ends = [Interface.thresholds(low, high, range=(0.0, None)) for low, high in (first, last)]
    wires = [ends[0], *[joint] * (length - 1), ends[1]]
    return Chain([gain_component(width)] * length, wires, points=points)


@typed
def gain_chain_evidence(
    length: Count,
    *,
    width: Positive = 3.0,
    first: Thresholds = (1.0, 4.0),
    last: Thresholds = (8.0, 8.0),
) -> float:
    """`log Z` of `gain_chain`: `h_n/h₀ <= w₁ ⋯ w_n <= l_n/l₀`; nothing is said of what is between.

    Minus the logarithm of a product of n numbers from `U[0, 1]` has the law Gamma(n), so that
    `Z = P(n, n log width - log(h_n/h₀)) - P(n, n log width - log(l_n/l₀))` with the regularised
    lower incomplete gamma function `P`. To 15 digits, also where Z is far too small for a float;
    `-inf` where no product is large enough.

    Args:
        length: The number n of components.
        width: Width of the prior.
        first: The thresholds `(l, h)` before the first component.
        last: The same after the last.

    Raises:
        DeclarationError: Unless `h_n/h₀ < l_n/l₀`, the largest products that are and that may be.
    """
    low, high = last[1] / first[1], last[0] / first[0]
    if not low < high:
        raise DeclarationError(
            "last",
            got=f"{last} after {first}: products from {low:.6g} to {high:.6g}",
            expected="high / first[1] < low / first[0]",
            mend="widen the thresholds at the end",
        )
    bits = 128
    while True:
        with precision(bits):
            largest = length * arb(float(width)).log()
            short, long = (
                largest - (arb(float(end)) / arb(float(start))).log()
                for end, start in zip(last, first)
            )
            if not long > 0:
                return -math.inf
            below = arb(0) if not short > 0 else short.gamma_lower(length, regularized=1)
            found = (long.gamma_lower(length, regularized=1) - below).log()
            if found.rel_accuracy_bits() > 53:
                return float(found)
        bits *= 2
