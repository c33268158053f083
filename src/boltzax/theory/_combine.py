"""Rules that combine learning coefficients of functions of disjoint variables."""

from fractions import Fraction

from ..core import DeclarationError, typed
from ._coefficient import LearningCoefficient


@typed
def direct_sum(*coefficients: LearningCoefficient) -> LearningCoefficient:
    """Coefficient of `K_1(w_1) + K_2(w_2) + ...`: values add, and so do multiplicities less one.

    The partition functions multiply: `Π n^(-λ_i) (log n)^(m_i - 1)`. The variables must be
    disjoint and independent under the prior. Without arguments: value 0, multiplicity 1.

    Watanabe 2009, main formula II, applied to `Z = Π Z_i`.
    """
    return LearningCoefficient(
        sum((c.value for c in coefficients), start=Fraction(0)),
        1 + sum(c.multiplicity - 1 for c in coefficients),
        _sources(coefficients, " + "),
    )


@typed
def product(*coefficients: LearningCoefficient) -> LearningCoefficient:
    """Coefficient of `K_1(w_1) K_2(w_2) ...`: the least value; multiplicities add where it is met.

    The zeta functions `∫ K_i^s` multiply: their poles are united, and where the largest coincide
    their orders add. The variables must be disjoint and independent under the prior.

    Watanabe 2009, chapter 4 (largest pole of the zeta function and its order).

    Raises:
        DeclarationError: Without arguments: an empty product has no zeros.
    """
    if not coefficients:
        raise DeclarationError(
            "coefficients",
            got="none",
            expected="at least one LearningCoefficient",
            mend="pass the coefficient of each factor",
        )
    least = min(c.value for c in coefficients)
    order = sum(c.multiplicity for c in coefficients if c.value == least)
    return LearningCoefficient(least, order, _sources(coefficients, " x "))


def _sources(coefficients: tuple[LearningCoefficient, ...], sign: str) -> str:
    return sign.join(f"({c.source})" for c in coefficients if c.source)
