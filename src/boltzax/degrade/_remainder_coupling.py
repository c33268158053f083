"""Whether a remainder depends on the amplitude of a circuit."""

from collections.abc import Iterator

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ..core import (
    PIECE_MEMORY,
    POWER_QUANTILE,
    Count,
    DeclarationError,
    Estimate,
    Fraction,
    Key,
    Memory,
    Outcome,
    at_hand,
    at_most_level,
    numpy_generator,
    outcome_of,
    permutation_test,
    text_of_values,
    typed,
)
from ._outcome_words import words
from ._remainder_cumulants import joint_at

CORRELATION = 0.1
"""The smallest correlation that matters."""
SHARE = 8
"""Arrays that are held at once, at most: each has its share of the memory."""


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
    memory: Memory = PIECE_MEMORY,
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
        memory: Bytes of products of outputs and of permuted amplitudes at once. With less, the
            products are computed several times.

    Raises:
        DeclarationError: For fewer than 8 rows, no output, numbers that are not finite, a constant.
    """
    a, r = _read(amplitude, remainder)
    unit_a, size_a = _of_unit_size(a)  # so that squares neither overflow nor vanish
    unit_r, size_r = _of_unit_size(r)
    powers = _scores(np.stack([unit_a, unit_a**2], axis=1))
    numbers = memory // (8 * SHARE)
    found = np.concatenate([powers.T @ part for part in _moments(unit_r, numbers)], axis=1)
    rng = numpy_generator(key)
    null = np.concatenate(
        [
            _largest(powers, unit_r, order, numbers)
            for order in _orders(rng, len(a), permutations, numbers)
        ]
    )
    p_values, critical = permutation_test(np.abs(found), null, level, 1e-12)
    with_each = np.stack([np.zeros(r.shape[1], int), np.arange(1, r.shape[1] + 1)], axis=1)
    both = np.concatenate([unit_a[:, None], unit_r], axis=1)
    covariance = joint_at(both, 0, with_each, float(len(a)))
    return Coupling(
        covariance.scaled(size_a).scaled(size_r),
        found,
        p_values,
        np.min(p_values),
        np.asarray(critical + POWER_QUANTILE / np.sqrt(len(a))),
        level,
    )


def _read(amplitude: Array, remainder: Array) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude `[row]` and remainder `[row, output]`, less their means."""
    a, given = (np.asarray(at_hand(x), float) for x in (amplitude, remainder))
    finite = np.all(np.isfinite(a)) and np.all(np.isfinite(given))
    if len(a) < 8 or not given.size or not finite or not np.ptp(a):
        raise DeclarationError(
            "amplitude" if given.size else "remainder",
            got=f"amplitudes of shape {a.shape} and a remainder of shape {given.shape}",
            expected="at least 8 finite rows, an amplitude that varies, and at least one output",
            mend="pass amplitudes [row] and remainders [row, output] at many inputs",
        )
    r = given.reshape(len(a), -1)
    return a - a.mean(), r - r.mean(axis=0)


def _of_unit_size(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns divided by their largest entry, and that."""
    largest = np.max(np.abs(columns), axis=0)
    size = np.where(largest > 0, largest, 1.0)
    return columns / size, size


def _moments(r: np.ndarray, numbers: int) -> Iterator[np.ndarray]:
    """Scores of the outputs `[row, output]` and of their products, so many numbers at once."""
    first, second = np.triu_indices(r.shape[1])
    step = max(1, numbers // len(r))
    yield from (_scores(r[:, i : i + step]) for i in range(0, r.shape[1], step))
    for i in range(0, len(first), step):
        yield _scores(r[:, first[i : i + step]] * r[:, second[i : i + step]])


def _orders(
    rng: np.random.Generator, rows: int, permutations: int, numbers: int
) -> Iterator[np.ndarray]:
    """Random orders of the rows, `[permutation, row]`, so many numbers at once."""
    step = max(1, numbers // (2 * rows))
    for start in range(0, permutations, step):
        count = min(step, permutations - start)
        yield rng.permuted(np.tile(np.arange(rows), (count, 1)), axis=1)


def _largest(powers: np.ndarray, r: np.ndarray, order: np.ndarray, numbers: int) -> np.ndarray:
    """The largest correlation of permuted powers of the amplitude with any moment."""
    permuted = np.moveaxis(powers[order], 2, 1).reshape(-1, len(r))
    largest = np.zeros(len(permuted))
    together = max(1, numbers // len(permuted))
    for part in _moments(r, min(numbers, together * len(r))):
        np.maximum(largest, np.max(np.abs(permuted @ part), axis=1), out=largest)
    return largest.reshape(-1, 2).max(axis=1)


def _scores(columns: np.ndarray) -> np.ndarray:
    """Centred columns of unit length; a constant column is 0."""
    centred = columns - columns.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    scale = np.linalg.norm(columns, axis=0)
    return np.where(length > 1e-12 * scale, centred / np.where(length > 0, length, 1.0), 0.0)
