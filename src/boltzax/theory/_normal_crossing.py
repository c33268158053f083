"""Normal crossings, regular and homogeneous minima."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ..core import Count, DeclarationError, Whole, typed
from ._arguments import Degree, Powers, PriorPowers
from ._learning_coefficient import LearningCoefficient


@typed
def normal_crossing(powers: Powers, prior_powers: PriorPowers | None = None) -> LearningCoefficient:
    """Coefficient of `K(w) = Π |w_i|^(2 k_i)` under a prior `∝ Π |w_i|^(h_i)` near the origin.

    `powers` are the k_i, half the exponents: `w_1² w_2⁴` is `powers=(1, 2)`. `prior_powers` are
    the h_i, 0 where not given. The value is `min (h_i + 1)/(2 k_i)`, over the coordinates that
    `K` depends on; the multiplicity is the number that attain it.

    Watanabe 2009, chapters 4 and 6 (zeta function and free energy in normal crossing form).

    Raises:
        DeclarationError: A negative power, if all are 0, `h_i ≤ -1`, or if the two lengths differ.
    """
    k, h = crossing_exponents(powers, prior_powers)
    ratios = [(h_i + 1) / (2 * k_i) for k_i, h_i in zip(k, h, strict=True) if k_i > 0]
    least = min(ratios)
    return LearningCoefficient(
        least, ratios.count(least), "normal crossing, Watanabe 2009, chapters 4 and 6"
    )


def crossing_exponents(
    powers: Sequence[Any], prior_powers: Sequence[Any] | None
) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """The checked exponents k_i and h_i of a normal crossing."""
    k = tuple(powers)
    if not any(k):
        raise DeclarationError(
            "powers",
            got=repr(powers),
            expected="at least one power greater than 0, so that K has zeros",
            mend="pass half the exponent of each coordinate, such as (1, 2) for w_1² w_2⁴",
        )
    if prior_powers is None:
        return k, (Fraction(0),) * len(k)
    h = tuple(prior_powers)
    if len(h) != len(k):
        raise DeclarationError(
            "prior_powers",
            got=f"{len(h)} entries",
            expected=f"{len(k)} entries, one for each of `powers`",
            mend="pass 0 for a coordinate whose prior density is positive at the origin",
        )
    return k, h


@typed
def regular(dim: Whole) -> LearningCoefficient:
    """Coefficient `dim/2` of a positive definite minimum in `dim` weights, multiplicity 1.

    Laplace's formula; Watanabe 2009, chapter 1 (regular models).

    Raises:
        DeclarationError: If `dim` is negative or no whole number.
    """
    return LearningCoefficient(Fraction(dim, 2), 1, "regular minimum, Laplace")


@typed
def homogeneous(dim: Count, degree: Degree) -> LearningCoefficient:
    """Coefficient `dim/degree` of a homogeneous `K` that is positive away from the origin.

    `K(tw) = t^degree K(w)`, so `w → n^(-1/degree) w` takes n out of the integral exactly.
    `degree` may be any positive number. The multiplicity is 1.

    Watanabe 2009, chapter 3 (a single blow-up of the origin resolves it).

    Raises:
        DeclarationError: If `dim` is below 1 or `degree` not positive.
    """
    return LearningCoefficient(
        Fraction(dim) / Fraction(degree),
        1,
        "homogeneous minimum, by scaling",
    )
