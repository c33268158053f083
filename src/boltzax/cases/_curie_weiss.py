"""Curie-Weiss: one self-consistent magnetisation, the simplest loop with a phase transition."""

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np
from numpy.typing import NDArray

from ..core import DeclarationError, typed
from ..numerics import root
from ._arguments import Above, Finite


@typed
@final
@dataclass(frozen=True, eq=False)
class CurieWeiss:
    """All solutions of `m = tanh(β(J m + h))`, in rising order, `[root]`.

    Args:
        roots: `m`.
        free_energies: A spin's `½ J m² - (1/β) log(2 cosh(β(J m + h)))`, stationary at the roots.
        slopes: `βJ(1 - m²)`, the derivative of the loop. For `J > 0` a root is a minimum of the
            free energy where it is below 1.
        stable: Whether the plain loop comes back to the root, `|slope| < 1`.
    """

    roots: NDArray[np.float64]
    free_energies: NDArray[np.float64]
    slopes: NDArray[np.float64]
    stable: NDArray[np.bool_]


@typed
def curie_weiss(beta: Above, coupling: Finite, field: Finite) -> CurieWeiss:
    """`m = tanh(β(J m + h))`: inverse temperature `β`, coupling `J`, field `h`.

    Solved as `h(m) = atanh(m)/β - J m`, which is monotone between the points where `h' = 0`
    (`curie_weiss_spinodal`): one solution for `βJ <= 1` (and so for `J < 0`, where the loop
    reverses order), up to three above. Roots to 1e-12. At a spinodal two roots are one: there
    rounding decides how many are given.

    Baxter 1982, Exactly Solved Models in Statistical Mechanics, eq. 3.1.12.

    Args:
        beta: `β`.
        coupling: `J`.
        field: `h`.

    Raises:
        DeclarationError: Unless `β > 0` and all are finite.
    """
    j, h = coupling, field
    turn = math.sqrt(1 - 1 / (beta * j)) if beta * j > 1 else None
    # in x = β(J m + h): x - β h - βJ tanh x is well scaled near m = ±1 too
    reach = abs(beta * h) + abs(beta * j) + 1

    def excess(x):
        return x - beta * h - beta * j * math.tanh(x)

    edges = (
        [-reach, reach] if turn is None else [-reach, -math.atanh(turn), math.atanh(turn), reach]
    )
    found, args = [], []
    for low, high in itertools.pairwise(edges):
        if excess(low) * excess(high) <= 0:
            x = root(excess, low, high)
            m = math.tanh(x)
            if not found or m - found[-1] > 1e-12:
                found.append(m)
                args.append(x)
    m, x = np.array(found), np.array(args)
    free = 0.5 * j * m**2 - np.logaddexp(x, -x) / beta
    decay = np.exp(-2 * np.abs(x))
    slopes = 4 * beta * j * decay / (1 + decay) ** 2  # 1 - tanh², which a difference loses
    return CurieWeiss(m, free, slopes, np.abs(slopes) < 1)


@typed
def curie_weiss_spinodal(beta: Above, coupling: Finite = 1.0) -> tuple[float, float]:
    """Where a branch of `m = tanh(β(J m + h))` ends: `(m, h)`, both positive.

    The branch of positive `m` ends at `(m, -h)` as the field falls, that of negative `m` at
    `(-m, h)` as it rises: `m = √(1 - 1/(βJ))`, `h = J m - atanh(m)/β`. At `β = 1.5`, `J = 1`:
    `m = 0.57735`, `h = 0.138364`.

    Args:
        beta: `β`.
        coupling: `J`.

    Raises:
        DeclarationError: `βJ <= 1`, where there is one branch.
    """
    j = coupling
    if beta * j <= 1:
        raise DeclarationError(
            "beta",
            got=f"βJ = {beta * j:g}",
            expected="βJ > 1: below the critical temperature",
            mend="lower the temperature; above it there is one branch without an end",
        )
    strength = Fraction(beta) * Fraction(j)
    m = math.sqrt((strength - 1) / strength)
    return m, _end_field(m, strength) / beta


def _end_field(m: float, strength: Fraction) -> float:
    """`β h = βJ m - atanh m` with `βJ = 1/(1 - m²)`, to relative precision."""
    if m < 0.3:  # Σ 2k/(2k + 1) m^(2k + 1)
        return math.fsum(2 * k / (2 * k + 1) * m ** (2 * k + 1) for k in range(1, 20))
    # (1 + m)/(1 - m) = (1 + m)² βJ
    return float(strength) * m - math.log1p(m) - 0.5 * math.log(float(strength))
