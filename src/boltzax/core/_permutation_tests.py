"""p-values: whether one is at most its level, and tests by permutations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from ._errors import DeclarationError

ROUNDING = 2.0**-22
"""Relative size below which a p-value above its level is rounding: four roundings of float32."""


def at_most_level(p_value: ArrayLike, level: float, nan: bool = False) -> bool:
    """Whether a p-value is at most its level, to rounding of float32.

    The p-values of `N` permutations are multiples of `1/(1 + N)`, and a level is often one of them:
    neither may round to the other side.

    Args:
        p_value: The p-value.
        level: The level.
        nan: What a p-value that is not a number says.
    """
    p = float(np.asarray(p_value))
    return nan if math.isnan(p) else p <= level * (1 + ROUNDING)


def reached_at_most(level: float, permutations: int) -> int:
    """The largest `k` for which `k/(1 + permutations)` is at most the level; 0 if there is none."""
    return math.floor(level * (1 + permutations) * (1 + ROUNDING))


def check_permutations(level: float, permutations: int) -> None:
    """That a p-value of so many permutations can reach the level.

    Raises:
        DeclarationError: If `1/(1 + permutations)` is above the level.
    """
    if not reached_at_most(level, permutations):
        raise DeclarationError(
            "level",
            got=f"{level} with {permutations} permutations",
            expected="a number that a p-value can reach, 1/(1 + permutations) or more",
            mend=f"pass permutations={math.ceil(1 / (level * (1 + ROUNDING))) - 1}",
        )


def permutation_test(
    value: ArrayLike, null: Array | np.ndarray, level: float, slack: ArrayLike
) -> tuple[Array | np.ndarray, Array | np.ndarray]:
    """p-values of a statistic that is large under the alternative, and its critical value.

    `p = (1 + #{null >= value})/(1 + permutations)`; NaN for a value that is not finite. Above the
    critical value the p-value is at most the level; infinite if there are too few permutations.

    Args:
        value: The statistic, `[*shape]`.
        null: The statistic under permutations, `[permutation]`.
        level: The level.
        slack: What a value exceeds an equal one by rounding.
    """
    xp = jnp if isinstance(null, jax.Array) else np
    value, permutations = xp.asarray(value), len(null)
    reached = xp.sum(null >= (value - slack)[..., None], axis=-1)
    p_value = xp.where(xp.isfinite(value), (1 + reached) / (1 + permutations), xp.nan)
    rank = min(reached_at_most(level, permutations), permutations)
    return p_value, xp.sort(null)[permutations - rank] if rank else xp.asarray(xp.inf)
