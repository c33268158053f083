"""The linear net of two layers on white data: a cubic, one of whose roots is physical."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from ..core import typed
from ..numerics import root_beyond
from ._arguments import Above


@typed
@final
@dataclass(frozen=True, eq=False)
class LinearMeanField:
    """The self-consistent field of a linear net, in the direction of a target of norm 1.

    Args:
        field: `t`, with `κσ_w²t² < 1`.
        kernel: `Q = σ_a²σ_w²/(1 - κσ_w²t²)`; the net's output is `Q t = 1 - s²t` of the target.
        unphysical: The other real roots of the cubic, where no law of the weights exists.
        temperature: T of the same net with readouts that are averaged, `f = (1/N) Σ a_i w_i·x`
            with the posterior `∝ p0 exp(-(N/T) loss)`; its field is `field κ/σ_a²`.
        readout_scale: Of that net, `a ~ N(0, readout_scale²)`.
        weight_scale: Of that net, `w ~ N(0, weight_scale²)`.
    """

    field: float
    kernel: float
    unphysical: NDArray[np.float64]
    temperature: float
    readout_scale: float
    weight_scale: float


@typed
def linear_mean_field(
    noise: Above, feature: Above, *, readout: Above = 1.0, weight: Above = 1.0
) -> LinearMeanField:
    """`Q = σ_a²σ_w²/(1 - κσ_w²t²)`, `t = 1/(s² + Q)`: one direction of a linear net on white data.

    `noise` is `s²`, `feature` is `κ`, how strongly the first layer answers (0: a Gaussian process),
    `readout` and `weight` are `σ_a`, `σ_w`. Eliminating `Q`, ::

        t s² (1 - κσ_w²t²) + t σ_a²σ_w² = 1 - κσ_w²t².

    The precision of `w` along the target is `1/σ_w² - κt²`: it must be positive, `κσ_w²t² < 1`, and
    there `t (s² + Q)` rises from -∞ to ∞, so that one root is physical. For `s² = 0.1`, `σ = 1`,
    `κ = 0.1, 1, 10`: `t = 0.849112, 0.600730, 0.268993`.

    The form is that of the adaptive kernel of Seroussi, Naveh & Ringel 2023, Nature Communications
    14:908. In `bx.meanfield` `T ĝ + S ĝ/(1 - S ĝ²) = 1`, `S = σ_a'²σ_w²`, is the same equation with
    `ĝ = κ t/σ_a²`, `T = s²σ_a²/κ`, `σ_a' = σ_a²/√κ`.

    Raises:
        DeclarationError: Numbers that are not positive.
    """
    s2, kappa, a, w = noise, feature, readout, weight
    k, prior = kappa * w**2, (a * w) ** 2

    # in v = 1/t = s² + Q: (v - s²)(v² - k) = prior v², which rises beyond both roots on the left.
    # Q = v - s² and v - √k are kept as sums of positive terms
    start = max(s2, k**0.5)
    above, over = start - s2, start - k**0.5

    def excess(d):
        v = start + d
        return (d + above) * (d + over) * (v + k**0.5) - prior * v**2

    d = root_beyond(excess, 0.0, prior + start)
    t, kernel = 1 / (start + d), d + above
    cubic = np.roots([-s2 * k, k, s2 + prior, -1.0])
    real = np.real(cubic[np.abs(np.imag(cubic)) < 1e-9 * np.abs(cubic)])
    others = np.sort(real[k * real**2 >= 1])
    return LinearMeanField(t, kernel, others, s2 * a**2 / kappa, a**2 / kappa**0.5, w)
