"""Which influences change sign between checkpoints, and how many would seem to by chance."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Annotated

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool

from ..core import DeclarationError, Estimate, Positive, Said, typed

Several = Annotated[
    Sequence[Estimate],
    Said("estimates of one shape, one for each checkpoint", "pass [first, second, ...]"),
]


@typed
class SignChanges(eqx.Module):
    """Entries that are significantly positive at one checkpoint and negative at another.

    Args:
        changed: Which entries, `[*shape]`.
        clear: How many entries are significant at one checkpoint at least.
        chance: How many of these are expected to change sign by chance, at most.
    """

    changed: Bool[Array | np.ndarray, "*shape"]
    clear: int
    chance: float

    @property
    def count(self) -> int:
        """How many entries change sign."""
        return int(np.sum(np.asarray(self.changed)))

    def __repr__(self) -> str:
        return (
            f"{self.count} of {self.changed.size} change sign, at most {self.chance:.1f} expected "
            f"by chance; {self.clear} are significant at some checkpoint"
        )


@typed
def sign_changes(estimates: Several, *, sigmas: Positive = 2.0) -> SignChanges:
    """Which entries of an estimate change sign along a training, such as influences.

    An entry changes sign if it is above 0 by more than `sigmas` standard errors at one checkpoint
    and below 0 by as much at another. One that is significant at a checkpoint, and is 0 at all the
    others, seems to change with probability `1 - Φ(sigmas)^(K - 1)` for K checkpoints; entries
    that keep their sign do so less often. The expected number by chance is that times the number
    of significant entries.

    Args:
        estimates: One for each checkpoint, of one shape, from independent runs.
        sigmas: Standard errors beyond which an entry is significant. Entries without an error (NaN)
            are not.

    Returns:
        A `SignChanges`; of one checkpoint nothing changes.

    Raises:
        DeclarationError: For no checkpoint, and for several shapes.
    """
    shapes = {each.shape for each in estimates}
    if len(shapes) != 1:
        raise DeclarationError(
            "estimates",
            got=f"shapes {sorted(shapes)}" if shapes else "none",
            expected="estimates of one shape",
            mend="pass influences of the same queries on the same data",
        )
    z = np.stack([np.asarray(each.z_score(0.0)) for each in estimates])
    up, down = np.any(z > sigmas, axis=0), np.any(z < -sigmas, axis=0)
    clear = int(np.sum(up | down))
    by_chance = 1 - NormalDist().cdf(float(sigmas)) ** (len(z) - 1)
    return SignChanges(up & down, clear, clear * by_chance)
