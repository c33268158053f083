"""Gaussian models of a covariance: a few shared factors, and blocks that are left over."""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.cluster import vq

STEPS = 12
"""Steps of the iteration for the likeliest factors."""
RIDGE = 0.02
"""Share of white noise that is added before a covariance is inverted."""
MOVES = 6
"""Most rounds in which coordinates move between modules."""
LEAST = 1e-3
"""Least variance that the factors leave of a coordinate of variance 1."""


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

    Given D the likeliest L is `D^½ U (Λ - 1)^½` of the first eigenvectors of `D^-½ S D^-½`
    (Lawley 1940; Jöreskog 1967, Psychometrika 32:443); given L the next D is of the blocks of
    `S - L Lᵀ`.

    Args:
        sample: Covariance S of the samples.
        factors: Columns of L.
        labels: The block of each coordinate.
        steps: Of the alternation.
    """
    inside = labels[:, None] == labels[None]
    residual = np.where(inside, sample, 0.0)
    left = sample
    for _ in range(steps if factors else 0):
        root, inverse = _roots(residual)
        values, vectors = np.linalg.eigh(inverse @ sample @ inverse)
        excess = np.sqrt(np.maximum(values[::-1][:factors] - 1, 0.0))
        loadings = root @ (vectors[:, ::-1][:, :factors] * excess)
        left = sample - loadings @ loadings.T
        residual = np.where(inside, left, 0.0)
    residual = _positive(residual)
    return FactorModel(sample - left + residual, factors, labels, residual, left)


def shrunk(model: FactorModel, sample: np.ndarray, weight: float) -> FactorModel:
    """A model with a part of the covariance of the samples, in one block."""
    mixed = (1 - weight) * model.covariance + weight * sample
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
        scale = np.sqrt(np.maximum(np.diag(left), LEAST))
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
    precision = np.linalg.inv((1 - RIDGE) * correlation + RIDGE * np.eye(size))
    scale = 1 / np.sqrt(np.diag(precision))
    affinity = np.abs(precision * scale[:, None] * scale)
    np.fill_diagonal(affinity, 0.0)
    weight = 1 / np.sqrt(np.maximum(np.sum(affinity, axis=1), LEAST))
    vectors = np.linalg.eigh(affinity * weight[:, None] * weight)[1][:, -count:]
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1), LEAST)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a cluster without members is one fewer
        return vq.kmeans2(vectors, count, minit="++", seed=0)[1]


def _roots(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(matrix)
    root = np.sqrt(np.maximum(values, LEAST))
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T


def _positive(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, LEAST)) @ vectors.T
