"""Named temperatures. One convention: `beta` multiplies the summed energy `E = ∫ loss dμ`."""

import math
import numbers

import equinox as eqx
from jaxtyping import Array

from ..core import DeclarationError


class Temperature(eqx.Module):
    """How often the *mean* loss counts: `log p = log prior - per_mean * (mean loss)`.

    The compiler divides by the measure's mass (or by the number of tokens, where the energy counts
    these) to get `beta`, so that the same declaration serves
    a probability measure (mass 1: beta = n) and the counting measure of a dataset (mass n:
    beta = 1). A plain number passed as `beta` is used as it is.
    """

    per_mean: float

    def __check_init__(self):
        if not isinstance(self.per_mean, numbers.Real) or isinstance(self.per_mean, bool):
            raise DeclarationError(
                "per_mean",
                got=repr(self.per_mean),
                expected="a number",
                mend="use bayes(n), watanabe(n), log_count(log_n) or loss_gap(gap)",
            )

    def beta(self, mass: float | Array) -> float | Array:
        """The factor of the summed energy over a measure of this mass."""
        return self.per_mean / mass


def bayes(n: float) -> Temperature:
    """The Bayesian posterior of n data: n times the mean loss."""
    return Temperature(_count(n))


def watanabe(n: float) -> Temperature:
    """n / log n times the mean loss: the temperature of WBIC (Watanabe 2013, JMLR 14:867)."""
    if _count(n) <= 1:
        raise DeclarationError(
            "n", got=repr(n), expected="n > 1, so that log n > 0", mend="use bayes(n) for n = 1"
        )
    return Temperature(n / math.log(n))


def log_count(log_n: float) -> Temperature:
    """e^log_n times the mean loss: for bare inverse temperatures of population losses."""
    if not isinstance(log_n, numbers.Real) or not -700 <= log_n <= 700:
        raise DeclarationError(
            "log_n",
            got=repr(log_n),
            expected="a number between -700 and 700",
            mend="pass the natural logarithm of the count, e.g. math.log(10_000)",
        )
    return Temperature(math.exp(log_n))


def loss_gap(gap: float) -> Temperature:
    """The temperature equal to a gap of the mean loss, e.g. to the best known model: 1/gap."""
    return Temperature(1 / _count(gap))


def _count(value: float) -> float:
    if not (isinstance(value, numbers.Real) and math.isfinite(value) and value > 0):
        raise DeclarationError(
            "temperature", got=repr(value), expected="a positive number", mend="pass e.g. 10_000"
        )
    return float(value)
