"""Named temperatures. One convention: `beta` multiplies the summed energy `E = ∫ loss dμ`."""

import math

import equinox as eqx

from ..core import DeclarationError


class Temperature(eqx.Module):
    """How often the *mean* loss counts: `log p = log prior - per_mean * (mean loss)`.

    The compiler divides by the measure's mass to get `beta`, so that the same declaration serves
    a probability measure (mass 1: beta = n) and the counting measure of a dataset (mass n:
    beta = 1). A plain number passed as `beta` is used as it is.
    """

    per_mean: float

    def beta(self, mass: float) -> float:
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
    return Temperature(math.exp(log_n))


def loss_gap(gap: float) -> Temperature:
    """The temperature equal to a gap of the mean loss, e.g. to the best known model: 1/gap."""
    return Temperature(1 / _count(gap))


def _count(value: float) -> float:
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise DeclarationError(
            "temperature", got=repr(value), expected="a positive number", mend="pass e.g. 10_000"
        )
    return float(value)
