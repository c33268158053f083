"""An exact finite-n answer."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from ..core import typed


@typed
@final
@dataclass(frozen=True, eq=False)
class ExactFreeEnergy:
    """Free energy and learning coefficient at given inverse temperatures, without sampling.

    All arrays have the shape of the `log_n` or `betas` asked for.

    Args:
        log_partition: `log Z`, nats; `Z = ∫ prior exp(-U(w, β)) dw`, so `Z(0) = 1`.
        learning_coefficient: `-∂ log Z / ∂ log β`, which is `β⟨E⟩` for a potential `βE`.
        error: Numerical error of the two, absolute for values below 1 and relative above; an
            estimate from two resolutions.
    """

    log_partition: NDArray[np.float64]
    learning_coefficient: NDArray[np.float64]
    error: NDArray[np.float64]

    @property
    def free_energy(self) -> NDArray[np.float64]:
        """`F = -log Z`, nats."""
        return -self.log_partition


def distance(coarse: NDArray[np.float64], fine: NDArray[np.float64]) -> NDArray[np.float64]:
    """|coarse - fine|, absolute for values below 1 and relative above."""
    return np.abs(coarse - fine) / np.maximum(1.0, np.abs(fine))
