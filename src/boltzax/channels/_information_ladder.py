"""Gaussian information on a ladder of sample sizes and noise floors: does it still fall?"""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float
from scipy import special

from ..core import (
    POWER_QUANTILE,
    Count,
    Curve,
    DeclarationError,
    Estimate,
    Fraction,
    Key,
    NonNegative,
    Outcome,
    at_most_level,
    estimate_of_parts,
    numpy_generator,
    outcome_of,
    text_of_values,
    typed,
)
from ._gaussian_information import GaussianInformation, gaussian_information, true_squares
from ._information_interval import Spread, independence, spread_of
from ._sample_matrices import Paired, Samples, check_count, check_pair, noisy

MATTERS = 2.0
"""Remaining bias that matters, in standard errors of the information of all samples."""


@typed
class InformationLadder(eqx.Module):
    """What `information_ladder` returns; in nats.

    Args:
        corrected: Information without bias against the number of samples, `[size, floor]`: the mean
            over disjoint blocks of samples. The sizes share their samples, so that the error of a
            difference is not that of independent points.
        bias: What was subtracted, `[size]`.
        floors: Noise that was added, relative to the root mean square spread of each side.
        excess: Bias that remains at the largest size, if it falls as one over the number of
            samples, `[floor]`; 0 for Gaussian samples.
        p_value: That it is as far from 0 for Gaussian samples, `[floor]`.
        detectable: The remaining bias that is detected with probability 0.95, `[floor]`.
        level: p-value at or below which a ladder is not flat.
    """

    corrected: Curve
    bias: Float[Array, " size"]
    floors: Float[Array, " floor"]
    excess: Estimate
    p_value: Float[Array, " floor"]
    detectable: Float[Array, " floor"]
    level: Fraction = eqx.field(static=True)

    @property
    def plug_in(self) -> Curve:
        """Information of the sample's covariance, with its bias, `[size, floor]`."""
        shifted = np.asarray(self.bias)[:, None] + np.zeros(len(self.floors))
        return self.corrected + shifted

    @property
    def flat(self) -> tuple[Outcome, ...]:
        """Of each floor: `disagree` if the p-value is at most `level`; `too_few` if a remaining
        bias of two standard errors would not have been detected; else `agree`."""
        errors = np.asarray(self.corrected.standard_error)[-1]
        rows = zip(self.p_value, self.detectable, errors, strict=True)
        return tuple(
            outcome_of(at_most_level(p, self.level), bool(least <= MATTERS * error))
            for p, least, error in rows
        )

    @text_of_values
    def __repr__(self) -> str:
        lines = [f"InformationLadder, nats ({len(self.corrected)} sizes)"]
        for j, (floor, outcome) in enumerate(zip(self.floors, self.flat, strict=True)):
            test = f"p {float(self.p_value[j]):.2g}, remaining bias {self.excess[j]:.2g}"
            lines.append(f"  floor {float(floor):g}: {_word(outcome)} ({test})")
            lines += [
                f"    {int(n)} samples: {self.corrected[i, j]:.3g} (plug-in "
                f"{float(self.corrected.value[i, j] + self.bias[i]):.3g})"
                for i, n in enumerate(self.corrected.x)
            ]
        return "\n".join(lines)


@typed
def information_ladder(
    x: Samples,
    y: Paired,
    *,
    key: Key,
    sizes: Sequence[Count] | None = None,
    floors: Sequence[NonNegative] = (0.0,),
    level: Fraction = 0.05,
) -> InformationLadder:
    """`gaussian_information` of blocks of the samples, and with noise added: is it flat?

    For Gaussian samples the corrected information has the same mean at every size. With heavy
    tails, or a scale that both sides share, a bias remains that falls with the number of samples,
    and no permutation of one side shows it. The test compares the mean over blocks of the smallest
    size with the largest. As the estimate of all samples is the mean of that of a block given all
    that the samples tell of the covariance (Lehmann & Scheffé), the variance of the difference is
    that of the blocks' mean less that of all samples. Its law is a Gamma law with the third
    cumulant of a quadratic form. For Gaussian samples it refused 3 to 7.5% of 200 data in eight
    settings, at the level 5%.

    A floor is the standard deviation of independent Gaussian noise that is added to every
    coordinate, relative to the root mean square spread of its side: the resolution at which the
    side is read. Between activations that are functions of each other the information is infinite
    without one, and it depends on the floor: report several.

    Args:
        x: One side, `[sample, coordinate]`.
        y: The other side, of the same samples.
        key: For the order of the samples, and the noise.
        sizes: Numbers of samples, to which all are added; an eighth, a quarter, a half of all, if
            None.
        floors: Relative noise: 0, or above the rounding of the samples (in bfloat16 some 0.013).
        level: p-value at or below which a ladder is not flat.

    Raises:
        DeclarationError: As `gaussian_information`; and for fewer than two sizes.
    """
    check_pair(x, y)
    places = _sizes(sizes, len(x), x.shape[1] + y.shape[1])
    check_count(places[0], x.shape[1], y.shape[1])
    if not len(floors):
        raise DeclarationError(
            "floors", got="none", expected="at least one", mend="pass (0.0,) for no noise"
        )
    rng = numpy_generator(key)
    order = rng.permutation(len(x))
    noise = tuple(rng.normal(size=each.shape) for each in (x, y))
    columns, tests = [], []
    for floor in floors:
        sides = [noisy(each, float(floor), n)[order] for each, n in zip((x, y), noise, strict=True)]
        rungs = [_blocks(*sides, size) for size in places]
        columns.append(Estimate.stack([_mean(rung) for rung in rungs]))
        tests.append(_remaining_bias(rungs, columns[-1], level))
    excess, p_value, detectable = zip(*tests, strict=True)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *columns)
    law = [independence(n, x.shape[1], y.shape[1], level).law for n in places]
    return InformationLadder(
        Curve(np.asarray(places, float), stacked, axis="samples"),
        np.array([each.bias for each in law]),
        np.asarray(floors, float),
        Estimate.stack(excess),
        np.array(p_value),
        np.array(detectable),
        level,
    )


def _word(flat: Outcome) -> str:
    if flat == Outcome.agree:
        return "flat"
    return "not flat" if flat == Outcome.disagree else "undecided whether flat"


def _sizes(sizes: Sequence[int] | None, samples: int, coordinates: int) -> list[int]:
    """Rising numbers of samples."""
    if sizes is None:
        sizes = [n for n in (samples // 8, samples // 4, samples // 2) if n > coordinates + 1]
        sizes = [*sizes, samples]
    places = sorted({*sizes, samples})  # the test compares blocks with all samples
    if len(places) < 2 or places[-1] > samples or 2 * places[0] > places[-1]:
        raise DeclarationError(
            "sizes",
            got=f"{places} of {samples} samples of {coordinates} coordinates",
            expected="at least two numbers of samples, the smallest at most half the largest, and "
            f"from {coordinates + 2} to {samples}",
            mend="take more samples, or fewer coordinates",
        )
    return places


def _blocks(x: np.ndarray, y: np.ndarray, size: int) -> list[GaussianInformation]:
    """The information of disjoint blocks of this size."""
    starts = range(0, len(x) - size + 1, size)
    return [gaussian_information(x[i : i + size], y[i : i + size]) for i in starts]


def _mean(blocks: list[GaussianInformation]) -> Estimate:
    estimates = Estimate.stack([block.estimate for block in blocks])
    return estimates.times(np.full((1, len(blocks)), 1 / len(blocks)))[0]


def _remaining_bias(rungs: list, means: Estimate, level: float) -> tuple[Estimate, float, float]:
    """The bias at the largest size, its p-value, and the one that would be detected.

    The mean of blocks less the estimate of all samples is, to leading order, a quadratic form of
    the blocks' covariances about their mean: `½ dx dy + ½ (S² + Σ ρ⁴)` is the sum of squares, and
    `½ dx dy` that of cubes, of its coefficients in each of `blocks - 1` dimensions.
    """
    few, whole = rungs[0], rungs[-1][0]
    blocks, samples = len(few), whole.samples
    small, large = few[0].samples, whole.samples
    spread = _spread(whole)
    found = float(whole.estimate.value)
    squares, fourths = spread.sums(found)
    law = independence(small, *whole.sizes, level).law
    variance = law.variance_at(squares, fourths) / blocks - spread.variance(found)
    cubes = math.prod(whole.sizes)
    shape = 0.5 * (blocks - 1) * (cubes + squares**2 + fourths) ** 3 / cubes**2
    difference, error = float(means.value[0] - means.value[-1]), math.sqrt(variance)
    place = shape + math.sqrt(shape) * difference / error
    # unlike the law the sum has no end below: there a Gaussian of its variance is the longer tail
    below = max(special.gammainc(shape, max(place, 0.0)), special.ndtr(difference / error))
    tails = special.gammaincc(shape, max(place, 0.0)), below
    share = small / (large - small)  # of a bias that falls as 1/n
    critical = -float(special.ndtri(level / 2)) + POWER_QUANTILE
    excess = estimate_of_parts(share * difference, share * error, samples)
    return excess, min(1.0, 2 * min(map(float, tails))), share * error * critical


def _spread(found: GaussianInformation) -> Spread:
    squares = true_squares(np.asarray(found.correlations), found.samples, found.sizes)
    law = independence(found.samples, *found.sizes, found.level).law
    return spread_of(law, float(found.plug_in), squares)
