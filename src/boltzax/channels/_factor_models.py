"""Gaussian models of a covariance: a few shared factors, and blocks that are left over."""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.cluster import vq

STEPS = 12
"""Steps of the iteration for the likeliest factors."""
RIDGE = 0.05
"""Noise that is added before partial correlations, over what the other coordinates do not tell."""
MOVES = 6
"""Most rounds in which coordinates move between modules."""
LEAST = 0.01
"""Least variance that factors leave in any direction, over the least variance of the samples."""
TINY = 1e-3
"""Least sum of partial correlations, and length of a vector, by which is divided."""
ROUNDING = 1e-12
"""Variance of rounding, of coordinates of variance 1."""


class FactorModel(NamedTuple):
    """`Σ = L Lᵀ + D`, with D block diagonal.

    Args:
        covariance: Σ.
        factors: Columns of L.
        labels: The block of each coordinate.
        residual: D.
        left: `S - L Lᵀ`, of which D keeps the blocks.
    """

    covariance: np.ndarray
    factors: int
    labels: np.ndarray
    residual: np.ndarray
    left: np.ndarray


def fitted(sample: np.ndarray, factors: int, labels: np.ndarray, steps: int = STEPS) -> FactorModel:
    """The likeliest model with so many factors and these blocks, by alternation.

    D starts as what is left of each block if all others are known. Given D the likeliest L is
    `D^½ U (Λ - 1)^½` of the first eigenvectors of `D^-½ S D^-½` (Lawley 1940; Jöreskog 1967,
    Psychometrika 32:443); given L the next D is of the blocks of `S - L Lᵀ`.

    Args:
        sample: Covariance S of the samples.
        factors: Columns of L.
        labels: The block of each coordinate.
        steps: Of the alternation.
    """
    inside = labels[:, None] == labels[None]
    left, least = sample, _least(sample)
    residual = _told_by_none(sample, inside) if factors else np.where(inside, sample, 0.0)
    for _ in range(steps if factors else 0):
        root, inverse = _roots(residual, least)
        values, vectors = np.linalg.eigh(inverse @ sample @ inverse)
        excess = np.sqrt(np.maximum(values[::-1][:factors] - 1, 0.0))
        loadings = root @ (vectors[:, ::-1][:, :factors] * excess)
        left = sample - loadings @ loadings.T
        residual = np.where(inside, left, 0.0)
    residual = _positive(residual, least)
    return FactorModel(sample - left + residual, factors, labels, residual, left)


def shrunk(model: FactorModel, sample: np.ndarray, weight: float) -> FactorModel:
    """A model with a part of the covariance of the samples, in one block."""
    mixed = (1 - weight) * model.covariance + weight * sample + ROUNDING * np.eye(len(sample))
    one = np.zeros(len(sample), int)
    return FactorModel(mixed, model.factors, one, model.residual, model.left)


def log_likelihoods(model: FactorModel, rows: np.ndarray) -> np.ndarray:
    """`log p` of each row, in nats, without the constant."""
    lower = np.linalg.cholesky(model.covariance)
    white = np.linalg.solve(lower, rows.T)
    return -0.5 * np.sum(white**2, axis=0) - np.sum(np.log(np.diag(lower)))


def modules(sample: np.ndarray, factors: int, count: int) -> np.ndarray:
    """Up to so many modules that are left by so many factors.

    From clusters by partial correlations, which shared factors hardly change; then each coordinate
    moves to the module with which it has the largest mean square correlation left.
    """
    labels = _clusters(sample, count)
    for _ in range(MOVES):
        left = fitted(sample, factors, labels, STEPS // 2).left
        scale = np.sqrt(np.maximum(np.diag(left), _least(sample)))
        squares = (left / scale[:, None] / scale) ** 2
        np.fill_diagonal(squares, 0.0)
        member = (labels[:, None] == np.unique(labels)).astype(float)
        others = np.sum(member, axis=0) - member
        affinity = np.where(others > 0, squares @ member / np.maximum(others, 1), 0.0)
        moved = np.argmax(affinity, axis=1)
        if np.array_equal(moved, np.unique(labels, return_inverse=True)[1]):
            break
        labels = moved
    return np.unique(labels, return_inverse=True)[1]


def _clusters(correlation: np.ndarray, count: int) -> np.ndarray:
    """Clusters by the eigenvectors of absolute partial correlations (Ng, Jordan & Weiss 2002)."""
    size = len(correlation)
    apart = _told_by_none(correlation, np.eye(size, dtype=bool))
    precision = np.linalg.inv(correlation + RIDGE * apart)
    scale = 1 / np.sqrt(np.diag(precision))
    affinity = np.abs(precision * scale[:, None] * scale)
    np.fill_diagonal(affinity, 0.0)
    weight = 1 / np.sqrt(np.maximum(np.sum(affinity, axis=1), TINY))
    vectors = np.linalg.eigh(affinity * weight[:, None] * weight)[1][:, -count:]
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1), TINY)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a cluster without members is one fewer
        return vq.kmeans2(vectors, count, minit="++", seed=0)[1]


def _told_by_none(sample: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Covariance of each block given all others, `((S^-1)_BB)^-1`: the residual of clear factors.

    From a start with the factors inside, each step takes only a share of them out.
    """
    precision = np.linalg.inv(sample + ROUNDING * np.eye(len(sample)))
    return np.linalg.inv(np.where(inside, precision, 0.0))


def _least(sample: np.ndarray) -> float:
    """Least variance of a direction of a residual: without it one coordinate can be its factor."""
    return max(LEAST * float(np.linalg.eigvalsh(sample)[0]), ROUNDING)


def _roots(matrix: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(matrix)
    root = np.sqrt(np.maximum(values, least))
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T


def _positive(matrix: np.ndarray, least: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, least)) @ vectors.T
