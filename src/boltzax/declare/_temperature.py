"""Named temperatures. By convention `beta` multiplies the summed energy `E = ∫ loss dμ`."""

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
    """An inverse temperature of the mean loss: `log p = log prior - per_mean * (mean loss)`.

    `compile` divides `per_mean` by the mass of the measure (or by the number of tokens, if the
    energy counts tokens) to get `beta`. The same temperature then works for a probability measure
    (mass 1, beta = n) and for the counting measure of n data (mass n, beta = 1). A plain number
    passed as `beta` is used unchanged.

    Args:
        per_mean: The factor of the mean loss.
    """

    per_mean: Annotated[
        Number, Said(mend="use bayes(n), watanabe(n), log_count(log_n) or loss_gap(gap)")
    ]

    def beta(self, mass: Positive) -> float | Array:
        """`per_mean / mass`, the factor of the summed energy over a measure of this mass."""
        return self.per_mean / mass


@typed
def bayes(n: Data) -> Temperature:
    """The temperature of the Bayesian posterior of n data: n times the mean loss.

    Args:
        n: The number of data.
    """
    return Temperature(n)


@typed
def watanabe(n: Counted) -> Temperature:
    """The temperature of WBIC: n / log n times the mean loss (Watanabe 2013, JMLR 14:867).

    Args:
        n: The number of data, above 1.
    """
    return Temperature(n / (jnp.log(n) if isinstance(n, Array) else math.log(n)))


@typed
def log_count(log_n: LogCount) -> Temperature:
    """The temperature e^log_n times the mean loss, for population losses and very large n.

    Args:
        log_n: The logarithm of the number of data.
    """
    return Temperature(jnp.exp(log_n) if isinstance(log_n, Array) else math.exp(log_n))


@typed
def loss_gap(gap: Data) -> Temperature:
    """The temperature at which a gap in the mean loss costs one nat: 1/gap times the mean loss.

    Args:
        gap: A difference of mean losses in nats, e.g. from the best known model.
    """
    return Temperature(1 / gap)
