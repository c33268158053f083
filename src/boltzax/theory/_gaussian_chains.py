"""Products of Gaussian random matrices: growth rates of deep linear nets."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ..core import Count, typed
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
