"""Mutual information by nearest neighbours, for few coordinates."""

from typing import Annotated

import equinox as eqx
import numpy as np
from scipy import spatial, special

from ..core import (
    Count,
    DeclarationError,
    Estimate,
    Key,
    estimate_of_parts,
    numpy_generator,
    text_of_values,
    typed,
    whole,
)
from ._sample_matrices import Paired, Samples, canonical, check_count, check_pair, side

MOST = 6
"""Coordinates of both sides together, at most."""
SPLITS = 4
"""Random halvings of the samples."""
NEAR = 0.05
"""Share of the samples whose neighbours may be nearer than rounding."""
TIED = 3.0
"""What ties leave open at most, in errors; a third of it is the bias that they give."""
Blocks = Annotated[int, whole(4)]


@typed
class NeighbourInformation(eqx.Module):
    """What `neighbour_information` returns; in nats.

    Args:
        estimate: Of all samples, with the error of a jackknife and the bias of few samples.
        of_blocks: The mean over blocks of the samples.
        neighbours: Which neighbour.
        samples: Their number.
    """

    estimate: Estimate
    of_blocks: Estimate
    neighbours: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    @text_of_values
    def __repr__(self) -> str:
        return (
            f"NeighbourInformation, nats: {self.estimate:.3g} ({self.samples} samples, neighbour "
            f"{self.neighbours}; mean of blocks {float(self.of_blocks.value):.3g})"
        )


@typed
def neighbour_information(
    x: Samples, y: Paired, *, key: Key, neighbours: Count = 3, blocks: Blocks = 10
) -> NeighbourInformation:
    """Mutual information of any law, in nats, from distances of nearest neighbours.

    `ψ(k) + ψ(n) - ⟨ψ(n_x + 1) + ψ(n_y + 1)⟩`, with the numbers `n_x` and `n_y` of samples that are
    nearer on one side than the k-th neighbour on both (Kraskov, Stögbauer & Grassberger 2004, Phys.
    Rev. E 69:066138, eq. 8). Each side is whitened first. A cross-check of `gaussian_information`
    for few coordinates: with many the bias is large, and nothing shows it.

    The error is that of a jackknife over blocks of the samples, which is too large by about a
    third, and beside it the bias: the fall from all samples to halves of them, over
    `2^{2/d} - 1` for `d` coordinates together, as if it were in proportion to the square of the
    distance between neighbours. In nine settings of 1,000 data (Gaussian, one side stretched by
    `sinh` in one of them; one to three coordinates a side, 120 to 500 samples, correlations 0 to
    0.99) the interval covered 90 to 100%; least for three coordinates a side in 300 samples, where
    the bias is larger than the spread. For a correlation of 0.9 of three coordinates in 200 samples
    0.7 of 2.5 nats are missing, and the interval says so by its width.

    Numbers that are rounded to a grid have neighbours at the same distance as the k-th one, which
    do not count as nearer: the value is too large, by about a third of what it falls by if they all
    count. The error holds that third. Ties that could move the value by more than three errors are
    refused.

    Args:
        x: One side, `[sample, coordinate]`.
        y: The other side, of the same samples.
        key: For the blocks.
        neighbours: `k`; more of them have less noise and more bias.
        blocks: Number of blocks, left out one at a time.

    Raises:
        DeclarationError: For more than 6 coordinates together, blocks of fewer than `4 k + 8`
            samples, repeated samples, neighbours nearer than rounding, numbers on a coarse grid,
            and as `gaussian_information`.
    """
    check_pair(x, y)
    size, least = x.shape[1] + y.shape[1], 4 * neighbours + 8
    if size > MOST:
        raise DeclarationError(
            "x",
            got=f"{x.shape[1]} + {y.shape[1]} coordinates",
            expected=f"at most {MOST} together",
            mend="use gaussian_information, or a few leading_components of each side",
        )
    if len(x) // blocks < least:
        raise DeclarationError(
            "x",
            got=f"{len(x)} samples for {blocks} blocks",
            expected=f"at least {least} samples in each",
            mend="take more samples, or fewer blocks",
        )
    check_count(len(x), x.shape[1], y.shape[1])
    sides = side("x", x), side("y", y)
    canonical(*sides)  # that no side is a linear function of the other
    parts = [np.linalg.svd(each.values, full_matrices=False)[:2] for each in sides]
    white, k = [left for left, _ in parts], int(neighbours)
    coarse = [each.rounding_of(np.diag(s)) for each, (_, s) in zip(sides, parts, strict=True)]
    reach = _reach(*white, k)
    _check_reach(reach, max(coarse) / np.sqrt(len(x)), k)
    rng = numpy_generator(key)
    groups = np.array_split(rng.permutation(len(x)), blocks)
    value = _kraskov(*white, k)
    of_blocks = np.array([_of_rows(white, rows, k) for rows in groups])
    without = np.array([_of_rows(white, np.concatenate(groups[:i] + groups[i + 1 :]), k)
                        for i in range(blocks)])  # fmt: skip
    error = np.sqrt((blocks - 1) * np.var(without))
    halves = [np.array_split(rng.permutation(len(x)), 2) for _ in range(SPLITS)]
    falls = np.array([np.mean([_of_rows(white, rows, k) for rows in pair]) for pair in halves])
    square = max(np.mean(falls - value) ** 2 - np.var(falls, ddof=1) / SPLITS, 0.0)
    error = np.hypot(error, np.sqrt(square) / (2 ** (2 / size) - 1))
    rounding = max(each.computed for each in sides) / np.sqrt(len(x))
    tied = _check_ties(_left_open(*white, reach, rounding), error)
    estimate = estimate_of_parts(value, np.hypot(error, tied), len(x))
    return NeighbourInformation(estimate, Estimate.of_replicates(of_blocks), k, len(x))


def _of_rows(sides: list[np.ndarray], rows: np.ndarray, neighbours: int) -> float:
    return _kraskov(sides[0][rows], sides[1][rows], neighbours)


def _check_reach(reach: np.ndarray, rounding: float, neighbours: int) -> None:
    """That neighbours are farther than numbers are rounded.

    Raises:
        DeclarationError: Where more than 5% are not, or one is at no distance.
    """
    if np.any(reach == 0):
        raise DeclarationError(
            "x",
            got=f"{int(np.sum(reach == 0))} samples that are repeated more than {neighbours} times",
            expected="samples of a law with a density",
            mend="for labels use usable_information; to numbers that are rounded add uniform noise "
            "of the size of the grid step",
        )
    near = int(np.sum(reach <= rounding))
    if near > NEAR * len(reach):
        raise DeclarationError(
            "x",
            got=f"{near} samples whose neighbour is not farther than numbers are rounded",
            expected="sides without an exact relation, in numbers finer than neighbours are far",
            mend="take the activations in a finer kind of numbers, fewer samples, or noise of a "
            "stated size on both sides",
        )


def _check_ties(left_open: float, error: float) -> float:
    """The bias by ties.

    Raises:
        DeclarationError: For more than `TIED` errors.
    """
    if left_open > TIED * error:
        raise DeclarationError(
            "x",
            got=f"distances that are equal so often that {left_open:.2g} nats are left open",
            expected=f"numbers of a law with a density, with ties worth {TIED:g} errors "
            f"({TIED * error:.2g} nats) at most",
            mend="add uniform noise of the size of the grid step to numbers that are rounded; for "
            'discrete data use usable_information or natural_latent(family="categorical")',
        )
    return left_open / TIED


def _left_open(x: np.ndarray, y: np.ndarray, reach: np.ndarray, rounding: float) -> float:
    """What the value falls by if all that are as far as the k-th neighbour count as nearer.

    Of the side with more such samples one is the k-th neighbour itself.
    """
    nearer, as_far = (
        np.stack([_within(each, reach + step) for each in (x, y)]) for step in (-rounding, rounding)
    )
    most = np.argmax(as_far - nearer, axis=0)
    as_far[most, np.arange(len(reach))] -= 1
    return float(np.mean(np.sum(special.psi(as_far) - special.psi(nearer), axis=0)))


def _reach(x: np.ndarray, y: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance of each sample to its k-th neighbour, in the farther of both sides."""
    both = np.concatenate([x, y], axis=1)
    return spatial.KDTree(both).query(both, neighbours + 1, p=np.inf)[0][:, -1]


def _kraskov(x: np.ndarray, y: np.ndarray, neighbours: int) -> float:
    within = np.nextafter(_reach(x, y, neighbours), 0)
    mean = np.mean(special.psi(_within(x, within)) + special.psi(_within(y, within)))
    return float(special.psi(neighbours) + special.psi(len(x)) - mean)


def _within(side: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Number of samples within a distance of each, of which the sample itself is one."""
    return spatial.KDTree(side).query_ball_point(side, distance, p=np.inf, return_length=True)
