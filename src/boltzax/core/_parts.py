"""Estimates from numbers that other engines have found."""

from jaxtyping import ArrayLike

from ._estimate import Estimate, built


def estimate_of_parts(
    value: ArrayLike, error: ArrayLike, ess: ArrayLike, r_hat: ArrayLike = 1.0
) -> Estimate:
    """A value whose error is known from elsewhere: a bootstrap, streamed moments, slopes by draw.

    Where draws, replicates or counts are at hand, the constructors of `Estimate` are right.

    Args:
        value: Of any shape; the others are broadcast to it and take its kind.
        error: Standard error.
        ess: Number of independent draws that it stands on.
        r_hat: 1 for independent ones.
    """
    return built(value, error, ess, r_hat)
