"""Bits of optimisation: how much of the prior a channel leaves."""

import math
from collections.abc import Callable, Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ..compile import Gibbs
from ..core import (
    MEMORY,
    Count,
    Curve,
    Estimate,
    Key,
    ModelFunction,
    Status,
    raise_if_failed,
    text_of_values,
    typed,
)
from ..observe import (
    By,
    LogProbability,
    MaxLevels,
    Particles,
    Replicates,
    log_probability,
)
from ._channel import check_strength


@typed
class OptimisationBits(eqx.Module):
    """`-log₂ P[strength >= t]` under a prior, with its error, for one threshold or several.

    Args:
        log_probability: `log P` in nats, with its `status`, and the weights above the highest
            threshold, if they were kept.
    """

    log_probability: LogProbability

    @property
    def estimate(self) -> Estimate:
        """The bits; without a hit infinite, with a finite lower end."""
        return self.log_probability.estimate.scaled(-1 / math.log(2))

    @property
    def value(self) -> Float[Array, "*threshold"]:
        return self.estimate.value

    @property
    def standard_error(self) -> Float[Array, "*threshold"]:
        return self.estimate.standard_error

    @property
    def curve(self) -> Curve:
        """The bits over the thresholds, of several. All come from one run: neighbours rise and fall
        together, and errors of their differences are too large."""
        return Curve(self.log_probability.at, self.estimate, axis="threshold")

    @property
    def status(self) -> Status:
        """The `Status` of each threshold."""
        return self.log_probability.status

    @property
    def worst(self) -> Status:
        """The first status that is not `successful`, if there is one."""
        if not self.log_probability.at.ndim:
            return self.status
        failed = np.asarray(self.status != Status.successful)
        return self.log_probability[int(np.argmax(failed))].status

    @property
    def successful(self) -> bool:
        """Whether the status of every threshold is `successful`."""
        return self.log_probability.successful

    def z_score(self, truth: Estimate | float | Float[Array, "..."]) -> Float[Array, "..."]:
        """`(value - truth)/standard_error`."""
        return self.estimate.z_score(truth)

    def map(self, fn: Callable) -> Estimate:
        """`fn(value)` by the delta method, for thresholds that share their replicates; see
        `LogProbability.map`."""
        return self.log_probability.map(lambda logs: fn(-logs / math.log(2)))

    @text_of_values
    def __repr__(self) -> str:
        runs = self.log_probability
        rows = [_line(run) for run in (runs if runs.at.ndim else (runs,))]
        return "OptimisationBits[\n" + "\n".join(rows) + "\n]"


def _line(run: LogProbability) -> str:
    """One threshold in words."""
    bits = run.estimate.scaled(-1 / math.log(2))
    text = (
        f"  strength >= {float(run.at):.4g}: {float(bits.value):.5g} ± "
        f"{float(bits.standard_error):.2g} bits (95%: {float(bits.lower):.5g} to "
        f"{float(bits.upper):.5g})"
    )
    return text if run.successful else f"{text}\n    {Status[run.status]}"


@typed
def bits_of_optimisation(
    gibbs: Gibbs,
    strength: ModelFunction,
    at: float | Sequence[float] | Float[Array, "*threshold"] = 0.0,
    *,
    key: Key,
    by: By = "auto",
    samples: Count = 20_000,
    particles: Particles = 512,
    moves: Count = 16,
    replicates: Replicates = 16,
    max_levels: MaxLevels = 200,
    keep: bool = False,
    memory: Count = MEMORY,
    throw: bool = True,
) -> OptimisationBits:
    """Bits of optimisation to bring a strength to a threshold: `-log₂ P[strength(model) >= t]`.

    The probability is that of weights drawn from the prior: each bit halves the systems that are
    left (Yudkowsky 2008, Measuring optimization power). By `bx.log_probability`: counts of draws
    where 100 reach the highest threshold, else rising levels of the strength, which give the whole
    curve in one run. A ladder of temperatures (`by="tempered"`) can miss a channel of many pieces
    without a sign: its transition is of first order.

    Args:
        gibbs: A measure, of which only the prior counts, such as `bx.prior(model, prior)`.
        strength: A function of the model that gives one number. Rising levels need one that tells
            nearly good weights from bad ones, not the truth value of the predicate.
        at: The thresholds `t`: a number, or a vector for a curve.
        key: Key of all randomness.
        by: The method, as of `log_probability`, whose arguments the others are too.
        samples: Draws of the prior.
        particles: Of each replicate.
        moves: Moves of every particle at a level.
        replicates: Independent populations.
        max_levels: Most levels of a replicate, each of about one bit.
        keep: Keep the weights above the highest threshold.
        memory: Bytes of intermediate values at once.
        throw: Raise `RunError` if something speaks against the result; else look at its `status`.

    Raises:
        DeclarationError: As `log_probability`.
        RunError: A `status` that is not `successful`.
    """
    check_strength("strength", strength, gibbs.declared)
    found = log_probability(
        gibbs, strength, at, key=key, by=by, samples=samples, particles=particles, moves=moves,
        replicates=replicates, max_levels=max_levels, keep=keep, memory=memory, throw=False,
    )  # fmt: skip
    bits = OptimisationBits(found)
    return raise_if_failed(bits, bits.worst, throw)
