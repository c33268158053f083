"""Whether a remainder depends on the amplitude of a circuit."""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..core import (
    POWER_QUANTILE,
    Count,
    DeclarationError,
    Estimate,
    Fraction,
    Key,
    Outcome,
    at_hand,
    at_most_level,
    outcome_of,
    permutation_test,
    text_of_values,
    typed,
)
from ._outcome_words import words
from ._remainder_cumulants import joint

CORRELATION = 0.1
"""The smallest correlation that matters."""
ROWS = 2**22
"""Numbers in the permuted amplitudes at once."""


@typed
class Coupling(eqx.Module):
    """What `coupling` returns; rows of the matrices are the amplitude and its square.

    Args:
        covariance: Of the amplitude and each output of the remainder, `[output]`.
        correlation: Of the amplitude, and of its square, with each output and with each product of
            two outputs (the first with itself, with the second, ...), `[2, output + product]`.
        p_values: Of each correlation, for the largest of all under permutation, of the same shape.
        p_value: Of independence, the least of them.
        detectable: The size of one correlation that is detected with probability 0.95.
        level: p-value at or below which amplitude and remainder are coupled.
    """

    covariance: Estimate
    correlation: Float[Array, "2 moment"]
    p_values: Float[Array, "2 moment"]
    p_value: Float[Array, ""]
    detectable: Float[Array, ""]
    level: Fraction = eqx.field(static=True)

    @property
    def outcome(self) -> Outcome:
        """`disagree` if the two are coupled; `agree` if a correlation of 0.1 would have been
        detected; else `too_few`."""
        seen = at_most_level(self.p_value, self.level)
        return outcome_of(seen, bool(self.detectable <= CORRELATION))

    @text_of_values
    def __repr__(self) -> str:
        told = words(self.outcome, "independent", "coupled", "undecided")
        largest = float(np.max(np.abs(np.asarray(self.correlation))))
        return (
            f"Coupling: {told} (p {float(self.p_value):.2g}, largest correlation {largest:.2g}, "
            f"seen from {float(self.detectable):.2g})"
        )


@typed
def coupling(
    amplitude: Float[Array, " row"],
    remainder: Float[Array, "row *output"],
    *,
    key: Key,
    permutations: Count = 999,
    level: Fraction = 0.05,
) -> Coupling:
    """Whether a remainder is independent of the amplitude of a circuit.

    An interpretation is complete if what it leaves does not know of the circuit. To leading orders
    that is: mean and covariance of the remainder do not depend on the amplitude `a`. The test takes
    the largest of the correlations of `a` and `a²` with every output `r_j` and product `r_j r_k`,
    against random permutations of the rows; its p-values hold for all of them together (Westfall &
    Young 1993, Resampling-Based Multiple Testing). Independence in higher orders is not tested.

    Args:
        amplitude: Of the circuit at each row: an input, or independent weights.
        remainder: Model minus interpretation there, `[row]` or `[row, output]`.
        key: For the permutations.
        permutations: Number of random permutations.
        level: p-value at or below which the two are coupled.

    Raises:
        DeclarationError: For fewer than 8 rows, numbers that are not finite, a constant.
    """
    a = np.asarray(at_hand(amplitude), float)
    r = np.asarray(at_hand(remainder), float).reshape(len(a), -1)
    if len(a) < 8 or not np.all(np.isfinite(a)) or not np.all(np.isfinite(r)) or not np.ptp(a):
        raise DeclarationError(
            "amplitude",
            got=f"{len(a)} rows",
            expected="at least 8 finite rows, and an amplitude that varies",
            mend="pass amplitudes [row] and remainders [row, output] at many inputs",
        )
    a, r = a - a.mean(), r - r.mean(axis=0)
    first, second = np.triu_indices(r.shape[1])
    moments = _scores(np.concatenate([r, r[:, first] * r[:, second]], axis=1))
    powers = _scores(np.stack([a, a**2], axis=1))
    found = powers.T @ moments
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    largest = []
    step = max(1, ROWS // len(a))
    for start in range(0, permutations, step):
        count = min(step, permutations - start)
        order = rng.permuted(np.tile(np.arange(len(a)), (count, 1)), axis=1)
        permuted = np.moveaxis(powers[order], 2, 1) @ moments
        largest.append(np.max(np.abs(permuted), axis=(1, 2)))
    null = np.concatenate(largest)
    p_values, critical = permutation_test(np.abs(found), null, level, 1e-12)
    pairs = np.concatenate([a[:, None], r], axis=1)
    return Coupling(
        joint(pairs, 0, 2, float(len(a)))[0, 1:],
        found,
        p_values,
        np.min(p_values),
        np.asarray(critical + POWER_QUANTILE / np.sqrt(len(a))),
        level,
    )


def _scores(columns: np.ndarray) -> np.ndarray:
    """Centred columns of unit length; a constant column is 0."""
    centred = columns - columns.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    scale = np.linalg.norm(columns, axis=0)
    return np.where(length > 1e-12 * scale, centred / np.where(length > 0, length, 1.0), 0.0)
