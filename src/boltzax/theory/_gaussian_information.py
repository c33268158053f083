"""The law of the plug-in Gaussian information of finite samples: bias, variance, tail."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import special

from ..core import Count, DeclarationError, Fraction, NonNegative, Number, typed
from ..numerics import root_beyond

NEAR = 1e-3
"""Standard deviations from the mean within which the tail is a series."""


@typed
@final
@dataclass(frozen=True, eq=False)
class InformationLaw:
    """The law of `-½ Σ log(1 - r_i²)` over the sample's canonical correlations of `x` and `y`.

    For `samples` independent Gaussian pairs, means unknown, `ν = samples - 1`. See
    `boltzax.theory.information_law`.

    Args:
        samples: Number of pairs.
        x_size: Coordinates of `x`.
        y_size: Coordinates of `y`.
        bias: Mean of the plug-in information minus the information, nats, at any correlations.
        variance: Of the plug-in information of independent `x` and `y`, nats².
    """

    samples: int
    x_size: int
    y_size: int
    bias: float
    variance: float

    def variance_at(self, squares: NonNegative, fourths: NonNegative) -> float:
        """The variance at true canonical correlations `ρ_i`, nats².

        With `S = Σ ρ_i²` and `R = Σ ρ_i⁴/S` it is `variance + S/(ν - ½(S + R))`: exact for
        independent data, and to second order in `1/ν`, where it is
        `S/ν + ½(dx dy + S² + S R)/ν²`.

        Args:
            squares: `Σ ρ_i²`.
            fourths: `Σ ρ_i⁴`.
        """
        total, fourth = float(squares), float(fourths)
        if not total:
            return self.variance
        return self.variance + total / (self.samples - 1 - 0.5 * (total + fourth / total))

    def exceeded(self, plug_in: Number) -> float:
        """The probability that independent data have a plug-in information above `plug_in`.

        Exact if `x` or `y` has one coordinate: a tail of the Beta law of `1 - r²`. Else by the
        saddle point of the cumulants (Lugannani & Rice 1980, Adv. Appl. Prob. 12:475), within 3%
        of the probability down to 1e-6.

        Args:
            plug_in: In nats.
        """
        if plug_in <= 1e-9 * self.bias:
            return 1.0
        shapes, other = _shapes(self.samples, self.x_size, self.y_size)
        if len(shapes) == 1:
            return float(special.betainc(shapes[0], other, math.exp(-2 * plug_in)))
        return _saddle_tail(float(plug_in), shapes, other)

    def quantile(self, exceeded: Fraction) -> float:
        """The plug-in information that independent data exceed with this probability, nats."""
        shapes, other = _shapes(self.samples, self.x_size, self.y_size)
        if len(shapes) == 1:
            return -0.5 * math.log(special.betaincinv(shapes[0], other, exceeded))

        def above(u: float) -> float:
            return self.exceeded(self.bias * math.exp(u)) - exceeded

        sign, step = (1 if above(0.0) > 0 else -1), math.sqrt(self.variance) / self.bias
        u = root_beyond(lambda u: above(sign * u), 0.0, step, xtol=1e-12, rtol=1e-12)
        return self.bias * math.exp(sign * u)


@typed
def information_law(samples: Count, x_size: Count, y_size: Count) -> InformationLaw:
    """How the plug-in Gaussian information of `samples` pairs scatters about the information.

    The plug-in is `½ log(|S_x||S_y|/|S|)` with the covariances of the sample. The logarithm of a
    Wishart determinant of `d` coordinates has the mean
    `log|Σ| + d log 2 + Σ_{i≤d} ψ((ν - i + 1)/2)`, so that the bias is, at any correlations, ::

        ½ Σ_{i≤q} [ψ((ν - i + 1)/2) - ψ((ν - p - i + 1)/2)],   p = max(dx, dy), q = min(dx, dy).

    Of independent data `Π(1 - r_i²)` is a product of independent Beta variables of parameters
    `(ν - p - i + 1)/2` and `p/2` (Anderson 2003, Introduction to Multivariate Statistical Analysis,
    sections 8.4 and 9.3), so that the variance is ::

        ¼ Σ_{i≤q} [ψ₁((ν - p - i + 1)/2) - ψ₁((ν - i + 1)/2)].

    Args:
        samples: Number of independent pairs; `ν` is one less, for the means are unknown.
        x_size: Coordinates of `x`.
        y_size: Coordinates of `y`.

    Raises:
        DeclarationError: For `samples - 1 < x_size + y_size`, where the plug-in is infinite.
    """
    if samples - 1 < x_size + y_size:
        raise DeclarationError(
            "samples",
            got=f"{samples} for {x_size} + {y_size} coordinates",
            expected=f"at least {x_size + y_size + 1}",
            mend="take more samples, or fewer coordinates",
        )
    a, b = _shapes(samples, x_size, y_size)
    bias = 0.5 * np.sum(special.psi(a + b) - special.psi(a))
    variance = 0.25 * np.sum(special.polygamma(1, a) - special.polygamma(1, a + b))
    return InformationLaw(samples, x_size, y_size, float(bias), float(variance))


def _shapes(samples: int, x_size: int, y_size: int) -> tuple[np.ndarray, float]:
    """Parameters of the Beta variables: one for each coordinate of the smaller side, and `p/2`."""
    small, large = sorted((x_size, y_size))
    return 0.5 * (samples - 1 - large - np.arange(small)), 0.5 * large


def _saddle_tail(value: float, a: np.ndarray, b: float) -> float:
    """`P(I > value)` for `I = -½ Σ log B_i`, `B_i ~ Beta(a_i, b)`."""
    top = 2 * float(a.min())

    def place(u: float) -> float:
        """The line to the domain of the cumulants, which ends at `top`."""
        return top * -math.expm1(-u)

    def missing(u: float) -> float:
        return value - _cumulant(1, place(u), a, b)

    sign = 1 if missing(0.0) > 0 else -1
    s = place(sign * root_beyond(lambda u: missing(sign * u), 0.0, 1.0, xtol=1e-12, rtol=1e-12))
    deviation = math.sqrt(_cumulant(2, s, a, b))
    if abs(s) * deviation < NEAR:  # the two poles cancel
        sd = math.sqrt(_cumulant(2, 0.0, a, b))
        z = (value - _cumulant(1, 0.0, a, b)) / sd
        skewness = _cumulant(3, 0.0, a, b) / sd**3
        return 0.5 - (skewness / 6 + z) / math.sqrt(2 * math.pi)
    w = math.copysign(math.sqrt(2 * (s * value - _log_moment(s, a, b))), s)
    density = math.exp(-0.5 * w * w) / math.sqrt(2 * math.pi)
    return float(special.ndtr(-w)) + density * (1 / (s * deviation) - 1 / w)


def _log_moment(t: float, a: np.ndarray, b: float) -> float:
    """`log E e^{tI}`."""
    log = special.gammaln
    return float(np.sum(log(a - t / 2) - log(a) + log(a + b) - log(a + b - t / 2)))


def _cumulant(order: int, t: float, a: np.ndarray, b: float) -> float:
    """The derivative of `_log_moment` of this order at `t`."""
    gap = special.polygamma(order - 1, a - t / 2) - special.polygamma(order - 1, a + b - t / 2)
    return float(np.sum(gap) * (-0.5) ** order)
