"""A learning coefficient with its multiplicity, and rules that combine several."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core import Count, DeclarationError, typed
from ._arguments import exact


@typed
@final
@dataclass(frozen=True)
class LearningCoefficient:
    """The learning coefficient (real log canonical threshold) and its multiplicity.

    For `Z(n) = ∫ prior(w) exp(-n K(w)) dw`, with `K ≥ 0` and `K = 0` at the truth,
    `Z(n) ~ C n^(-value) (log n)^(multiplicity - 1)` as `n → ∞`. `K` is the Kullback-Leibler
    divergence in nats; for a squared loss it is `½ E f²` (unit-variance Gaussian likelihood).
    Neither number depends on a positive constant factor of `K`, nor on a prior that is positive
    and bounded near the minimum.

    Watanabe 2009, *Algebraic Geometry and Statistical Learning Theory*, Cambridge, main formula II.

    Two values are equal when `value` and `multiplicity` are; `source` says where they come from.

    Raises:
        DeclarationError: (a `ValueError`) if `value` is negative or `multiplicity` below 1.
    """

    value: Annotated[Fraction, exact(0, closed=True)]
    multiplicity: Count
    source: str = field(default="", compare=False)

    def __float__(self) -> float:
        return float(self.value)

    def __repr__(self) -> str:
        number = f"{self.value}"
        if self.value.denominator > 1:
            number += f" = {float(self.value):.6g}"
        origin = f"; {self.source}" if self.source else ""
        return f"LearningCoefficient({number}, multiplicity {self.multiplicity}{origin})"

    def free_energy(self, log_n: ArrayLike) -> NDArray[np.float64] | np.float64:
        """Divergent part of `-log Z(n)`, in nats: `value log n - (multiplicity-1) log log n`.

        A constant is left out, as it depends on the prior. Watanabe 2009, main formula II.

        Raises:
            DeclarationError: `log_n ≤ 0` where the second term is there.
        """
        log_n = self._checked(log_n)
        energy = float(self.value) * log_n
        if self.multiplicity > 1:
            energy = energy - (self.multiplicity - 1) * np.log(log_n)
        return energy

    def at(self, log_n: ArrayLike) -> NDArray[np.float64] | np.float64:
        """Asymptotic estimate at finite n, `value - (multiplicity-1)/log n`.

        It is the derivative of `free_energy` in `log n`. The next terms are of order
        `(log n)^-2` where the multiplicity exceeds 1, else a negative power of n.

        Raises:
            DeclarationError: `log_n ≤ 0` where the second term is there.
        """
        log_n = self._checked(log_n)
        if self.multiplicity == 1:
            return np.full_like(log_n, float(self.value))
        return float(self.value) - (self.multiplicity - 1) / log_n

    def _checked(self, log_n: ArrayLike) -> NDArray[np.float64]:
        array = np.asarray(log_n, dtype=np.float64)
        if self.multiplicity > 1 and not np.all(array > 0):
            raise DeclarationError(
                "log_n",
                got=f"a smallest value of {np.min(array)}",
                expected="values greater than 0, since the multiplicity is "
                f"{self.multiplicity} and the expansion has a term in log log n",
                mend="pass np.log(n) for n > 1, or use an exact finite-n function",
            )
        return array


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
