"""Positive semidefinite factorisation."""

from fractions import Fraction

from ..core import Count, Whole, typed
from ._arguments import at_most
from ._coefficient import LearningCoefficient


@typed
def psd_factorization(dim: Count, width: Count, rank: Whole) -> LearningCoefficient:
    """Coefficient of `|U Uᵀ - M|²`, U of shape `dim x width`, M positive semidefinite of `rank`.

    With d, H, r for dim, width, rank, ::

        value = [r d - r(r-1)/2]/2 + (d - r)(H - r)/4,   multiplicity 1.

    Derivation: in the eigenbasis of M the first r rows of U are of full rank at the truth, and
    rotating U from the right makes them `(R, 0)`. Their products among themselves and with the
    other rows are `r(r+1)/2 + r(d-r) = rd - r(r-1)/2` independent coordinates, a regular minimum;
    what is left is `|V Vᵀ|²`, V of shape `(d-r) x (H-r)`, homogeneous of degree 4 and positive
    off 0. The two add (`direct_sum(regular(...), homogeneous(..., 4))`).

    Raises:
        DeclarationError: If `dim` or `width` is below 1 or `rank` exceeds one of them.
    """
    d, h, r = dim, width, at_most("rank", rank, min(dim, width), "the least width")
    value = Fraction(2 * r * d - r * (r - 1), 4) + Fraction((d - r) * (h - r), 4)
    return LearningCoefficient(value, 1, "positive semidefinite factorisation, by normal form")
