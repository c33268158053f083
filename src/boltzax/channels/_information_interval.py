"""The standard error and the interval of a Gaussian information, by inversion of its law."""

import abc
import functools
import math
from typing import NamedTuple

from scipy import special

from ..core import POWER
from ..numerics import root, root_beyond
from ..theory import InformationLaw, information_law

TAIL = 0.025
"""Probability beyond each end of an interval."""


class Independence(NamedTuple):
    """The test of independence.

    Args:
        law: Of the plug-in of independent samples.
        critical: The plug-in that they exceed with probability `level`, nats.
        detectable: The information that the test detects with probability 0.95, nats.
    """

    law: InformationLaw
    critical: float
    detectable: float


class AbstractSpread(abc.ABC):
    """The law of the plug-in about an information, by its mean and its variance."""

    freedom: float
    """Degrees of freedom of `χ²`, twice the number of samples times the plug-in of independent
    sides."""

    @abc.abstractmethod
    def bias(self, information: float) -> float:
        """Mean of the plug-in less the information, nats."""

    @abc.abstractmethod
    def variance(self, information: float) -> float:
        """Of the plug-in, nats²; below 0 that of independent data."""

    def exceeded(self, plug_in: float, information: float) -> float:
        """The probability of a plug-in above `plug_in`.

        By a noncentral χ² with the mean and the variance of the plug-in, which is its law in large
        samples near independence. If the variance is larger than such a law can have, that is a
        Gamma law.
        """
        offset, information = min(information, 0.0), max(information, 0.0)
        mean, variance = information + self.bias(information), self.variance(information)
        relative = variance / mean**2
        rest = 16 - 8 * self.freedom * relative
        value = (plug_in - offset) / mean
        if value <= 0:
            return 1.0
        if rest <= 0:
            return float(special.gammaincc(1 / relative, value / relative))
        total = (4 + math.sqrt(rest)) / (2 * relative)
        return 1.0 - float(special.chndtr(value * total, self.freedom, total - self.freedom))


class Spread(AbstractSpread):
    """The law of the plug-in about an information that `count` equal correlations carry.

    Args:
        law: Of independent data.
        count: Not always whole, between 1 and the smaller number of coordinates.
    """

    def __init__(self, law: InformationLaw, count: float):
        self.law, self.count, self.freedom = law, count, float(law.x_size * law.y_size)

    def sums(self, information: float) -> tuple[float, float]:
        """`Σ ρ²` and `Σ ρ⁴`; 0 for no information."""
        square = -math.expm1(-2 * max(information, 0.0) / self.count)
        return self.count * square, self.count * square**2

    def bias(self, information: float) -> float:
        """The same at any information."""
        return self.law.bias

    def variance(self, information: float) -> float:
        return self.law.variance_at(*self.sums(information))


def effective_count(information: float, squares: float, most: int) -> float:
    """The number of equal correlations with this information and sum of squares.

    `m (1 - e^{-2I/m}) = S`, between 1 and `most`; `most` where the information is not positive.
    """
    if information <= 0:
        return float(most)

    def missing(count: float) -> float:
        return count * -math.expm1(-2 * information / count) - squares

    if missing(most) <= 0:
        return float(most)
    return 1.0 if missing(1.0) >= 0 else root(missing, 1.0, float(most))


@functools.lru_cache(maxsize=256)
def independence(samples: int, x_size: int, y_size: int, level: float) -> Independence:
    """The test of independence at a level."""
    law = information_law(samples, x_size, y_size)
    critical, spread = law.quantile(level), Spread(law, float(min(x_size, y_size)))

    def missed(information: float) -> float:
        return spread.exceeded(critical, information) - POWER

    step = math.sqrt(law.variance)
    return Independence(law, critical, root_beyond(missed, 0.0, step, xtol=1e-9 * step, rtol=1e-9))


def spread_of(law: InformationLaw, plug_in: float, squares: float) -> Spread:
    """The law about an information, from the plug-in and an estimate of `Σ ρ²`."""
    most = min(law.x_size, law.y_size)
    return Spread(law, effective_count(plug_in - law.bias, squares, most))


def standard_error_and_bounds(
    spread: AbstractSpread, plug_in: float, found: float
) -> tuple[float, float, float]:
    """Of the information found, nats; beyond each bound the plug-in is as far with 2.5%."""
    error = math.sqrt(spread.variance(found))

    def end(sign: int, tail: float) -> float:
        """Where a plug-in above the observed one has this probability."""

        def beyond(distance: float) -> float:
            return spread.exceeded(plug_in, found + sign * distance) - tail

        return found + sign * root_beyond(beyond, 0.0, error, xtol=1e-9 * error, rtol=1e-9)

    return error, end(-1, TAIL), end(1, 1 - TAIL)
