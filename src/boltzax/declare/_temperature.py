"""Named temperatures. One convention: `beta` multiplies the summed energy `E = ∫ loss dμ`."""

import math
from typing import Annotated, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core import Number, Positive, Said, scalar, typed

HOT = Said(called="temperature", mend="pass e.g. 10_000")
Data: TypeAlias = Annotated[Positive, HOT]
Counted: TypeAlias = Annotated[
    float | Array,
    scalar(1, open_low=True, array=True),
    Said(expected="n > 1, so that log n > 0", mend="use bayes(n) for n = 1"),
]
LogCount: TypeAlias = Annotated[
    float | Array,
    scalar(-700, 700, array=True),
    Said(mend="pass the natural logarithm of the count, e.g. math.log(10_000)"),
]


@typed
class Temperature(eqx.Module):
    """How often the *mean* loss counts: `log p = log prior - per_mean * (mean loss)`.

    The compiler divides by the measure's mass (or by the number of tokens, where the energy counts
    these) to get `beta`, so that the same declaration serves
    a probability measure (mass 1: beta = n) and the counting measure of a dataset (mass n:
    beta = 1). A plain number passed as `beta` is used as it is.
    """

    per_mean: Annotated[
        Number, Said(mend="use bayes(n), watanabe(n), log_count(log_n) or loss_gap(gap)")
    ]

    def beta(self, mass: Positive) -> float | Array:
        """The factor of the summed energy over a measure of this mass."""
        return self.per_mean / mass


@typed
def bayes(n: Data) -> Temperature:
    """The Bayesian posterior of n data: n times the mean loss."""
    return Temperature(n)


@typed
def watanabe(n: Counted) -> Temperature:
    """n / log n times the mean loss: the temperature of WBIC (Watanabe 2013, JMLR 14:867)."""
    return Temperature(n / (jnp.log(n) if isinstance(n, Array) else math.log(n)))


@typed
def log_count(log_n: LogCount) -> Temperature:
    """e^log_n times the mean loss: for bare inverse temperatures of population losses."""
    return Temperature(jnp.exp(log_n) if isinstance(log_n, Array) else math.exp(log_n))


@typed
def loss_gap(gap: Data) -> Temperature:
    """The temperature equal to a gap of the mean loss, e.g. to the best known model: 1/gap."""
    return Temperature(1 / gap)
