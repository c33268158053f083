"""What a channel costs against its length and its width."""

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float

from ..core import (
    MEMORY,
    Constraint,
    Count,
    Curve,
    DeclarationError,
    Estimate,
    Key,
    Number,
    Refused,
    Status,
    function_errors,
    integer,
    raise_if_failed,
    student_factor,
    text_of_values,
    typed,
)
from ..observe import By, MaxLevels, Particles, Replicates
from ._channel import Channel, check_strength
from ._optimisation_bits import OptimisationBits, bits_of_optimisation


def _rising(value: object) -> tuple[int, ...]:
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise Refused
    numbers = tuple(integer(each) for each in value)
    if not numbers or numbers[0] < 1 or any(a >= b for a, b in itertools.pairwise(numbers)):
        raise Refused
    return numbers


Sizes: TypeAlias = Annotated[
    Sequence[int] | np.ndarray,
    Constraint("whole numbers, positive and rising", "pass e.g. [2, 4, 8]", _rising),
]


class ChannelRegime(eqx.Enumeration):
    """What is scarce in systems with random weights, by the bits a piece against the width."""

    scarce_channels = "Scarce channels: a piece of a channel costs more in a wider system."
    scarce_modules = "Scarce modules: a piece of a channel costs less in a wider system."
    undecided = (
        "Undecided: one width, or bits a piece that neither rise nor fall by more than their "
        "errors, or that do both."
    )


@typed
class ChannelCost(eqx.Module):
    """Bits of optimisation of a channel against its length, at each width.

    Args:
        bits: Over the length, `[length, width]`; all of independent runs.
        per_piece: Bits a piece over the width: the slope of a straight line in the length. Its
            error holds that of the bits, and the misfit of the line.
        start: Bits of that line at length 0, `[width]`.
        r_squared: Share of the variance of the bits that the line explains, `[width]`.
        each: The run of each length and width, `[length][width]`.
    """

    bits: Curve
    per_piece: Curve
    start: Estimate
    r_squared: Float[Array, " width"]
    each: tuple[tuple[OptimisationBits, ...], ...]

    @property
    def status(self) -> Status:
        """The first status of a run that is not `successful`, if there is one."""
        every = [bits.status for row in self.each for bits in row]
        return next((s for s in every if not bool(s == Status.successful)), every[0])

    @property
    def trend(self) -> Estimate:
        """Bits a piece at the largest width minus those at the smallest."""
        return self.per_piece.values[-1] - self.per_piece.values[0]

    @property
    def regime(self) -> ChannelRegime:
        """What is scarce, by the signs of the steps of `per_piece` from width to width.

        A sign counts where the interval of the step from the smallest to the largest width excludes
        0, and no single step has the other sign beyond its own interval (each at 5% over the number
        of steps). So a trend is claimed falsely in 5% of the cases at most.
        """
        widths = len(self.per_piece)
        if widths < 2 or not bool(self.status == Status.successful):
            return ChannelRegime.undecided
        low, high = (float(end) for end in self.trend.interval())
        sign = (low > 0) - (high < 0)
        steps = [b - a for a, b in itertools.pairwise(self.per_piece.values)]
        against = [_excludes(step.scaled(-sign), widths - 1) for step in steps]
        if sign == 0 or any(against):
            return ChannelRegime.undecided
        return ChannelRegime.scarce_channels if sign > 0 else ChannelRegime.scarce_modules

    @text_of_values
    def __repr__(self) -> str:
        rows = [
            f"  width {float(width):g}: {float(slope.value):.4g} ± "
            f"{float(slope.standard_error):.2g} bits a piece, R² {float(share):.4f}"
            for width, slope, share in zip(
                self.per_piece.x, self.per_piece, self.r_squared, strict=True
            )
        ]
        good = bool(self.status == Status.successful)
        told = [] if good else [f"  {Status[self.status]}"]
        words = ChannelRegime[self.regime]
        return "\n".join([f"ChannelCost: {words}", *rows, *told])


@typed
def channel_cost(
    build: Callable,
    lengths: Sizes,
    widths: Sizes = (1,),
    *,
    at: Number = 0.0,
    key: Key,
    by: By = "auto",
    samples: Count = 20_000,
    particles: Particles = 512,
    moves: Count = 16,
    replicates: Replicates = 16,
    max_levels: MaxLevels = 200,
    memory: Count = MEMORY,
    throw: bool = True,
) -> ChannelCost:
    """Bits of optimisation to form a channel, against its length and the width of the system.

    The hypothesis of scarce channels says that each piece along a channel must be optimised: bits
    grow with the number of pieces in proportion. The slope, bits a piece, against the width is a
    phase diagram: where it grows channels are scarce (a wider system averages a signal away), where
    it falls modules are (a wider system passes everything on by default).

    Args:
        build: `build(length, width)` gives the `Channel` of so many pieces.
        lengths: Numbers of pieces, three at least. Leave out short channels, which differ at their
            ends: a straight line is fitted.
        widths: Widths of the system.
        at: The strength at which a channel transmits.
        key: Key of all randomness; every length and width has its own.
        by: As the others, an argument of `bits_of_optimisation`.
        samples: Draws of the prior.
        particles: Of each replicate.
        moves: Moves of every particle at a level.
        replicates: Independent populations.
        max_levels: Most levels of a replicate.
        memory: Bytes of intermediate values at once.
        throw: Raise `RunError` if something speaks against one of the runs.

    Raises:
        DeclarationError: For fewer than three lengths, and for a `build` that gives no `Channel`;
            else as `log_probability`.
        RunError: A run whose status is not `successful`.
    """
    if len(lengths) < 3:
        raise DeclarationError(
            "lengths",
            got=f"{len(lengths)} of them",
            expected="at least three: a line through two has no error of its own",
            mend="pass e.g. lengths=[3, 5, 7, 9]",
        )
    rows = []
    for i, length in enumerate(lengths):
        row = []
        for j, width in enumerate(widths):
            own = jax.random.fold_in(key, i * len(widths) + j)
            channel = _built(build, length, width)
            row.append(
                bits_of_optimisation(
                    channel.prior, channel.strength, float(at), key=own, by=by, samples=samples,
                    particles=particles, moves=moves, replicates=replicates,
                    max_levels=max_levels, memory=memory, throw=False,
                )
            )  # fmt: skip
        rows.append(tuple(row))
    values = Estimate.stack([Estimate.stack([bits.estimate for bits in row]) for row in rows])
    slope, start, r_squared = _line(np.asarray(lengths, float), values)
    cost = ChannelCost(
        Curve(np.asarray(lengths, float), values, axis="length", unit="pieces"),
        Curve(np.asarray(widths, float), slope, axis="width"),
        start,
        jnp.asarray(r_squared),
        tuple(rows),
    )
    return raise_if_failed(cost, cost.status, throw)


def _built(build: Callable, length: int, width: int) -> Channel:
    with function_errors("build"):
        channel = build(length, width)
    if not isinstance(channel, Channel):
        raise DeclarationError(
            "build",
            got=f"a function that gives a {type(channel).__name__}",
            expected="a function of length and width that gives a Channel",
            mend="return channels.Channel(bx.prior(model, prior), strength)",
        )
    check_strength("build", channel.strength, channel.prior.declared)
    return channel


def _line(x: np.ndarray, values: Estimate) -> tuple[Estimate, Estimate, np.ndarray]:
    """Slope, start and R² of the least-squares line through `[length, width]`.

    The scatter about the line is one of the bits and of the model. Where it is larger than the
    errors of the bits say, the rest is an error of the line, with Student's t of its degrees of
    freedom.
    """
    middle, freedom = np.mean(x), len(x) - 2
    square = np.sum((x - middle) ** 2)
    to_slope = (x - middle) / square
    to_start = 1 / len(x) - middle * to_slope
    y, error = np.asarray(values.value, float), np.asarray(values.standard_error, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        left = y - np.outer(x, to_slope @ y) - to_start @ y
        scatter = np.sum(left**2, axis=0)
        shares = 1 - scatter / np.sum((y - np.mean(y, axis=0)) ** 2, axis=0)
    factor = student_factor(freedom + 1)
    lines = []
    for weights in (to_slope, to_start):
        seen = scatter / freedom * np.sum(weights**2)
        known = (weights**2) @ error**2
        rest = np.sqrt(np.maximum(np.where(np.isfinite(seen), seen - known, 0.0), 0.0))
        misfit = Estimate.exact(np.zeros_like(rest)).widened(rest)
        misfit = misfit.bounded(-factor * rest, factor * rest)
        lines.append(values.times(weights[None])[0] + misfit)
    return lines[0], lines[1], shares


def _excludes(step: Estimate, several: int) -> bool:
    """Whether a step lies above 0 beyond its interval, at 5% over so many steps (Bonferroni)."""
    wider = scipy.special.ndtri(1 - 0.025 / several) / scipy.special.ndtri(0.975)
    return float(step.value) > wider * (float(step.value) - float(step.lower))
