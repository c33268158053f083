"""Products of Gaussian random matrices: growth rates of deep linear nets."""

import itertools
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ..core import Count, DeclarationError, Said, typed
from ._arguments import Above


@typed
def lyapunov_spectrum(width: Count, gain: Above = 1.0) -> NDArray[np.float64]:
    """`½ (log(2 g²/d) + ψ((d - i + 1)/2))`, i = 1…d: log growth of singular values a layer.

    Of a product of independent d × d matrices of entries N(0, g²/d), in nats (Newman 1986, Comm.
    Math. Phys. 103:121). The first is about `log g`, the last falls as `-½ log d`: with depth the
    product keeps ever fewer directions.

    Args:
        width: `d`.
        gain: `g`.
    """
    i = np.arange(1, width + 1)
    return 0.5 * (np.log(2 * gain**2 / width) + special.digamma((width - i + 1) / 2))


@typed
def chain_participation(
    widths: Annotated[Sequence[Count], Said("widths, input first", "pass e.g. (10, 64, 64, 1)")],
) -> float:
    """`E (tr JᵀJ)²/E tr (JᵀJ)²` of a product of Gaussian matrices of given widths; exact.

    The participation ratio of the Jacobian of a deep linear net at initialisation, whatever its
    gain. For large widths it is `1/Σ 1/n_l`: every layer, the input too, is one more restriction.
    Of layers with gates, such as `φ'(h)` of an activation, a width counts
    `(E φ'²)²/E φ'⁴` of itself: half, for ReLU.

    A Gaussian `m × n` matrix maps `A = E (tr S)²` and `B = E tr S²` of `S = JJᵀ` to
    `(m² A + 2 m B)/n²` and `(m A + (m² + m) B)/n²`.

    Args:
        widths: `n_0` (input), …, `n_L` (output).

    Raises:
        DeclarationError: For no width.
    """
    if not widths:
        raise DeclarationError(
            "widths", got="()", expected="at least one width", mend="pass e.g. (10, 64, 1)"
        )
    squared, square = float(widths[0] ** 2), float(widths[0])
    for n, m in itertools.pairwise(widths):
        squared, square = (
            (m**2 * squared + 2 * m * square) / n**2,
            (m * squared + (m**2 + m) * square) / n**2,
        )
    return squared / square
