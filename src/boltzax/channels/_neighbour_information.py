"""Mutual information by nearest neighbours, for few coordinates."""

from typing import Annotated

import equinox as eqx
import numpy as np
from scipy import spatial, special

from ..core import Count, DeclarationError, Estimate, Key, text_of_values, typed, whole
from ._sample_matrices import Paired, Samples, canonical, check_count, check_pair, generator, side

MOST = 6
"""Coordinates of both sides together, at most."""
Blocks = Annotated[int, whole(4)]


@typed
class NeighbourInformation(eqx.Module):
    """What `neighbour_information` returns; in nats.

    Args:
        estimate: Of all samples, with the error of the mean over blocks.
        of_blocks: The mean over blocks of the samples. Where it differs from `estimate` by more
            than the error, the bias of few samples matters.
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

    The error is that of the mean over disjoint blocks of the samples, whose variance falls as one
    over their number (Holmes & Nemenman 2019, Phys. Rev. E 100:022404), with Student's interval.

    Args:
        x: One side, `[sample, coordinate]`.
        y: The other side, of the same samples.
        key: For the blocks.
        neighbours: `k`; more of them have less noise and more bias.
        blocks: Number of blocks.

    Raises:
        DeclarationError: For more than 6 coordinates together, blocks of fewer than `4 k + 8`
            samples, repeated samples, and as `gaussian_information`.
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
    white = [np.linalg.svd(each.values, full_matrices=False)[0] for each in sides]
    rng = generator(key)
    parts = np.array_split(rng.permutation(len(x)), blocks)
    whole_value = _kraskov(*white, neighbours)
    of_blocks = Estimate.of_replicates(
        np.array([_kraskov(*(each[part] for each in white), neighbours) for part in parts])
    )
    shift = whole_value - float(of_blocks.value)
    return NeighbourInformation(of_blocks + shift, of_blocks, neighbours, len(x))


def _kraskov(x: np.ndarray, y: np.ndarray, neighbours: int) -> float:
    both = np.concatenate([x, y], axis=1)
    reach = spatial.KDTree(both).query(both, neighbours + 1, p=np.inf)[0][:, -1]
    if np.any(reach == 0):
        raise DeclarationError(
            "x",
            got=f"{int(np.sum(reach == 0))} samples that are repeated more than {neighbours} times",
            expected="samples of a law with a density",
            mend="for labels use usable_information; else add noise below the resolution",
        )
    within = np.nextafter(reach, 0)
    counts = [
        spatial.KDTree(each).query_ball_point(each, within, p=np.inf, return_length=True)
        for each in (x, y)
    ]  # of which the sample itself is one
    mean = np.mean(special.psi(counts[0]) + special.psi(counts[1]))
    return float(special.psi(neighbours) + special.psi(len(x)) - mean)
