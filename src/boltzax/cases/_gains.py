"""A chain of gains, of which everything is known in closed form."""

import math

from ..core import Count, DeclarationError, Positive, typed
from ..declare import Chain, Family, Interface, Points
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

    The product of n numbers from `U[0, 1]` is at most c with probability
    `c Σ_{k<n} (-log c)^k / k!` (its logarithm is minus a Gamma variable).

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
    return math.log(_product(high / width**length, length) - _product(low / width**length, length))


def _product(c: float, count: int) -> float:
    """Probability that the product of `count` numbers from U[0, 1] is at most c."""
    if c >= 1:
        return 1.0
    return c * sum((-math.log(c)) ** k / math.factorial(k) for k in range(count))
