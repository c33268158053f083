"""Gaussian models of a covariance: a few shared factors, and blocks that are left over."""

import warnings
from collections.abc import Callable
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
STARTS = 6
"""Starts at random of the search for modules."""
CLIMBS = 3
"""Starts from which single coordinates move."""
RISE = 1e-6
"""Least rise of a mean log-likelihood that counts."""
SEVERAL = 2
"""Factors from which on modules are sought from several starts."""
MOST = 32
"""Coordinates at most of which single ones move; of more each has many to be told by."""
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


def modules(
    sample: np.ndarray, factors: int, count: int, samples: int, near: np.ndarray | None = None
) -> np.ndarray:
    """Up to so many modules that are left by so many factors.

    Factors that are as strong as the modules hide them, so that a search ends at wrong ones from
    most starts: clusters by partial correlations, by what is left of all correlations by factors
    alone, and at random. From the likeliest few single coordinates move as long as the likelihood
    rises by more than the number of free numbers (Akaike 1974, IEEE Trans. Autom. Control 19:716).

    Args:
        sample: Covariance of the samples.
        factors: Shared factors.
        count: Most modules.
        samples: Their number.
        near: Labels to start from, those of more samples; None for the starts above.
    """
    if factors < SEVERAL or len(sample) > MOST:
        return _moved(sample, factors, _clusters(_partial(sample), count))

    def score(labels: np.ndarray) -> float:
        return _penalised(fitted(sample, factors, labels, STEPS // 2), sample, samples)

    starts = [near] if near is not None else _starts(sample, factors, count)
    distinct = {tuple(labels): labels for labels in starts}
    ranked = sorted(distinct.values(), key=score, reverse=True)
    return max((_climbed(each, sample, factors, score) for each in ranked[:CLIMBS]), key=score)


def _starts(sample: np.ndarray, factors: int, count: int) -> list[np.ndarray]:
    """Labels from clusters and at random, after coordinates have moved to where they belong."""
    size = len(sample)
    plain = np.abs(_correlations(fitted(sample, factors, np.arange(size)).left, sample))
    rng = np.random.default_rng(0)
    first = [_clusters(_partial(sample), count), _clusters(plain, count)]
    first += [rng.integers(0, count, size) for _ in range(STARTS)]
    return [_moved(sample, factors, labels) for labels in first]


def _penalised(model: FactorModel, sample: np.ndarray, samples: int) -> float:
    """Mean log-likelihood of the samples, less the free numbers of the blocks for each sample."""
    sizes = np.bincount(model.labels)
    likelihood = -0.5 * (
        np.linalg.slogdet(model.covariance)[1] + np.trace(np.linalg.solve(model.covariance, sample))
    )
    return float(likelihood - np.sum(sizes * (sizes + 1)) / 2 / samples)


def _climbed(labels: np.ndarray, sample: np.ndarray, factors: int, score: Callable) -> np.ndarray:
    """Labels after moves of single coordinates to their second module, while the score rises."""
    best = score(labels)
    for _ in range(MOVES):
        own, before = np.arange(len(labels)), best
        affinity = _affinity(sample, factors, labels)
        if affinity.shape[1] < 2:
            break
        affinity[own, np.unique(labels, return_inverse=True)[1]] = -1.0
        second = np.unique(labels)[np.argmax(affinity, axis=1)]
        trials = [score(np.where(own == place, second, labels)) for place in own]
        for place in np.argsort(trials)[::-1]:
            if trials[place] <= before + RISE:
                break
            moved = np.where(own == place, second, labels)
            highest = score(moved)
            if highest > best + RISE:
                labels, best = moved, highest
        if best == before:
            break
    return np.unique(labels, return_inverse=True)[1]


def _affinity(sample: np.ndarray, factors: int, labels: np.ndarray) -> np.ndarray:
    """Mean square correlation of each coordinate with each module, of what factors leave."""
    squares = _correlations(fitted(sample, factors, labels, STEPS // 2).left, sample) ** 2
    member = (labels[:, None] == np.unique(labels)).astype(float)
    others = np.sum(member, axis=0) - member
    return np.where(others > 0, squares @ member / np.maximum(others, 1), 0.0)


def _moved(sample: np.ndarray, factors: int, labels: np.ndarray) -> np.ndarray:
    """Each coordinate in the module with which it has the largest mean square correlation left."""
    for _ in range(MOVES):
        moved = np.argmax(_affinity(sample, factors, labels), axis=1)
        if np.array_equal(moved, np.unique(labels, return_inverse=True)[1]):
            break
        labels = moved
    return np.unique(labels, return_inverse=True)[1]


def _correlations(left: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Correlations of what factors leave, 0 on the diagonal."""
    scale = np.sqrt(np.maximum(np.diag(left), _least(sample)))
    found = left / scale[:, None] / scale
    np.fill_diagonal(found, 0.0)
    return found


def _partial(correlation: np.ndarray) -> np.ndarray:
    """Absolute partial correlations, 0 on the diagonal."""
    apart = _told_by_none(correlation, np.eye(len(correlation), dtype=bool))
    precision = np.linalg.inv(correlation + RIDGE * apart)
    scale = 1 / np.sqrt(np.diag(precision))
    found = np.abs(precision * scale[:, None] * scale)
    np.fill_diagonal(found, 0.0)
    return found


def _clusters(affinity: np.ndarray, count: int) -> np.ndarray:
    """Clusters by the eigenvectors of affinities (Ng, Jordan & Weiss 2002)."""
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
