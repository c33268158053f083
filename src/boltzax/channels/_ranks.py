"""How many directions carry the variance: participation ratio, effective rank, stable rank."""

import numpy as np
from scipy import special

from ..core import Estimate, Fraction, estimate_of_parts, normal_quantile, typed
from ..theory import squared_traces
from ._covariance_spectrum import compared
from ._covariances import GROUPS, check_rows, eigenvalues_of, jackknifed, unit_scale
from ._sample_matrices import Samples

FEWEST = 5
"""Samples of a jackknife of unbiased moments."""


@typed
def participation_ratio(x: Samples) -> Estimate:
    """`(tr Σ)²/tr Σ²` of the covariance Σ of samples: d for white data, 1 for one direction.

    Both traces are without bias (`boltzax.theory.squared_traces`), also in more dimensions than
    samples and for data that are not Gaussian. Of their ratio the jackknife takes the rest, of
    order 1/n, and gives the error. The bar covered by 92% to 97% for spectra that fall, with heavy
    tails too; for white data, at the maximum d, it is wider than it need be (99%).

    The value is not cut off: it can leave [1, d] within its error.

    Args:
        x: Independent samples, at least 5.

    Returns:
        An estimate, dimensionless.

    Raises:
        DeclarationError: For fewer samples, numbers that are not finite, and constant data.
    """
    check_rows(x, FEWEST)
    rows = unit_scale(x)
    rows = rows - rows.mean(axis=0)
    rows = rows / np.sqrt(np.mean(rows**2))
    square, other = _traces_without_one(rows)
    whole = float(np.divide(*_traces(rows)))
    pseudo = len(rows) * whole - (len(rows) - 1) * square / other
    return Estimate.of_replicates(pseudo)


@typed
def effective_rank(x: Samples) -> Estimate:
    """`exp(-Σ p log p)`, `p = λ/Σλ` over the eigenvalues of the covariance of samples.

    The exponential of the entropy (Roy & Vetterli 2007, who take singular values instead of
    variances): between the participation ratio and the rank. The sample's value is too small by
    about `d²/2n`. A jackknife of twenty groups takes most of that; the square of its relative
    correction, which is more than what remained in all cases that were tried, is added to the
    error. The error is not below that of Gaussian data.

    Args:
        x: Independent samples, more than dimensions.

    Returns:
        An estimate, dimensionless.

    Raises:
        DeclarationError: For fewer than `d + 2` samples, or twenty, numbers that are not finite,
            and constant data.
    """
    check_rows(x, max(x.shape[1] + 2, GROUPS))
    rows = unit_scale(x)
    values, places = eigenvalues_of(rows), np.arange(len(rows)) % GROUPS
    whole = entropy_rank(values)
    left = [entropy_rank(eigenvalues_of(rows[places != group])) for group in range(GROUPS)]
    value = jackknifed(whole, np.array(left), _gaussian_error(values, len(rows) - 1))
    return value.widened((float(value.value) - whole) ** 2 / float(value.value))


@typed
def stable_rank(x: Samples, *, level: Fraction = 0.05) -> Estimate:
    """`tr Σ/λ₁`, the total variance over the largest, of the covariance Σ of samples.

    The largest eigenvalue of a sample is too large. If it lies beyond the null of white noise it is
    corrected as in `covariance_spectrum`, with an interval that also holds where the next ones are
    equal to it; the trace has the error of its mean over samples. Else λ₁ is only known to lie
    below: in its direction the sample has the variance `λ₁ χ²_ν/ν`, which its largest eigenvalue is
    not below. So the interval reaches from the rank at `λ₁ = λ ν/χ²_ν(0.025)` (Gaussian data) up to
    the number of directions, and the value is that of the edge of detection in large systems.

    Args:
        x: Independent samples.
        level: p-value at or below which the largest eigenvalue is beyond the null.

    Returns:
        An estimate, dimensionless, with an interval inside [1, d], d the number of directions in
        which the samples vary.

    Raises:
        DeclarationError: As `covariance_spectrum`.
    """
    check_rows(x, 4)
    found, scores = compared(unit_scale(x), level, False)
    values, most, freedom = found.eigenvalues, float(found.rank), found.samples - 1
    total = float(np.sum(values))
    if not found.count:
        largest = values[0] * freedom / (2 * special.gammaincinv(freedom / 2, 0.025))
        least = float(np.clip(total / largest, 1.0, most))
        value = float(np.clip(total / found.detectable, least, most))
        return estimate_of_parts(value, 0.5 * (most - least), found.samples, bounds=(least, most))
    largest = found.outliers[0]
    rest = max(total - float(largest.value), 0.0)
    error = float(np.std(scores[:, 1:] ** 2 @ values[1:])) / freedom**0.5
    others = estimate_of_parts(rest, error, found.samples) / largest
    rank = 1 + others.bounded(*_quotient(rest, error, largest, total / most))
    low, high = (np.clip(np.asarray(end), 1.0, most) for end in rank.interval())
    return rank.bounded(np.minimum(low, rank.value), np.maximum(high, rank.value))


def _quotient(rest: float, error: float, largest: Estimate, least: float) -> tuple[float, float]:
    """The interval of `rest/largest`, of independent numbers; the largest is not below the least.

    The distances of both intervals on a logarithmic scale add in squares.
    """
    value = max(float(largest.value), least)
    ends = [max(float(end), least) for end in largest.interval()]
    own = np.log1p(normal_quantile(0.95) * error / max(rest, 1e-300))
    low, high = (np.hypot(own, np.log(end / value)) for end in ends[::-1])
    return rest / value * np.exp(-low), rest / value * np.exp(high)


def moment_rank(eigenvalues: np.ndarray) -> float:
    """`(Σλ)²/Σλ²` of known eigenvalues."""
    return float(np.sum(eigenvalues) ** 2 / np.sum(eigenvalues**2))


def entropy_rank(eigenvalues: np.ndarray) -> float:
    """`exp(-Σ p log p)` of known eigenvalues."""
    shares = eigenvalues / np.sum(eigenvalues)
    shares = shares[shares > 0]
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _gaussian_error(eigenvalues: np.ndarray, freedom: int) -> float:
    """Of `entropy_rank` for Gaussian data: `R √(2/ν Σ p² (log p + log R)²)`."""
    shares, rank = eigenvalues / np.sum(eigenvalues), entropy_rank(eigenvalues)
    logs = np.log(np.maximum(shares, 1e-300) * rank)
    return rank * float(np.sqrt(2 / freedom * np.sum(shares**2 * logs**2)))


def _traces(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unbiased `(tr Σ)²` and `tr Σ²` of centred rows."""
    samples, squares = len(rows), np.sum(rows**2, axis=1)
    freedom, product = samples - 1, _product(rows)
    return squared_traces(
        np.sum(squares) / freedom,
        np.sum(product**2) / freedom**2,
        np.sum(squares**2) / freedom,
        samples,
    )


def _traces_without_one(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same `[sample]` of all rows but one, in the time of one product of matrices."""
    count, squares, product = len(rows), np.sum(rows**2, axis=1), _product(rows)
    if len(product) == count:  # the matrix of scalar products
        fourths, turned = np.sum(product**2, axis=1), product @ squares
    else:
        fourths = np.sum(rows @ product * rows, axis=1)
        turned = rows @ (rows.T @ squares)
    step, total = 1 / (count - 1), np.sum(squares)
    factor, left, freedom = 1 + step, total - squares, count - 2
    trace = total - factor * squares
    second = np.sum(product**2) - 2 * factor * fourths + (factor * squares) ** 2
    # without row i the mean moves by -step x_i: Σ_j |x_j + step x_i|⁴ over the others
    fourth = (
        np.sum(squares**2)
        - squares**2
        + 4 * step**2 * (fourths - squares**2)
        + step**4 * (count - 1) * squares**2
        + 4 * step * (turned - squares**2)
        + 2 * step**2 * squares * left
        - 4 * step**3 * squares**2
    )
    return squared_traces(trace / freedom, second / freedom**2, fourth / freedom, count - 1)


def _product(rows: np.ndarray) -> np.ndarray:
    """`XᵀX` or `XXᵀ`, the smaller one; they have the same eigenvalues but for zeros."""
    return rows.T @ rows if rows.shape[1] < len(rows) else rows @ rows.T
