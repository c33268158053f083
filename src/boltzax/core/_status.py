"""What became of a run, and what a test says; statuses that are raised."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
from jaxtyping import Array

from ._tracing import known

Result = TypeVar("Result")
POWER = 0.95
"""Probability with which a detectable difference is detected."""
POWER_QUANTILE = 1.6448536269514722
"""Standard errors between the critical value and a difference detected with that probability."""


class Status(eqx.Enumeration):
    """Outcome of a run; survives `jit`, and arrays of it are allowed (one per `beta`)."""

    successful = "The run finished, and no check of its draws failed."
    non_finite = (
        "A chain reached a non-finite log-density. Likely causes: a model that overflows in this "
        "dtype, or a step size that left the support. Try float64 or a proper prior."
    )
    stuck = (
        "A chain, or one of its weights, never moved: its draws are all equal, and do not sample "
        "the measure. Likely causes: a gradient that is not a number (both branches of "
        "`jnp.where` are differentiated: a norm or a root at 0), a step that is zero or far too "
        "long, or a start at the edge of the support. The evidence names chains and weights."
    )
    interrupted = (
        "The run was interrupted: it holds the draws made until then. With `checkpoints` the same "
        "call resumes it."
    )
    rounding = (
        "Rounding moves the log-density by more than 0.1 nats between neighbouring weights: the "
        "acceptances and energies are not those of the declared measure. Use float64, energies "
        "relative to a model (`gibbs.relative_to(model)`), targets in units of their noise, "
        "products in full (`jax.default_matmul_precision`, if it was set), or a lower beta."
    )
    divergent = (
        "More than 1% of the trajectories diverged, or ended where the energy is not a number. "
        "Likely causes: a step too large for the curvature, a posterior with a funnel, or a model "
        "that is not defined everywhere in its prior. Raise `target_acceptance`, lower beta, or "
        "narrow the prior."
    )
    not_mixed = (
        "The chains disagree (split r_hat above 1.1 for the energy) or hold fewer than 4 "
        "effective draws a chain. Draw more, or use `anneal` instead of `sample`."
    )
    not_in_equilibrium = (
        "The draws of a sampler without a Metropolis test are far from equilibrium: the mean of "
        "(w - c)·∇(-log p) is far from the number of weights (the virial theorem). The chains "
        "still relax from their starts, the step is far too long, or the density is cut off by a "
        "wall. Warm up longer, start at a minimum (`start=`), or use a "
        "sampler with a Metropolis test on the whole energy."
    )
    lagging = (
        "The ladder lags behind equilibrium: forward and reverse passes disagree, or no replica "
        "travelled from the prior to the coldest level and back. Draw more or refine the ladder."
    )
    few_particles = (
        "Too few particles to tell whether the ladder is in equilibrium: a difference of two nats "
        "between the free energies of the forward and the reverse pass would not have been "
        "detected. Raise `draws` or `chains`."
    )
    metastable = (
        "The free energy of the ladder lies above an upper bound by more than the errors of both: "
        "the run missed an important region of the weights (a first-order transition). Run the "
        "phases separately and combine them (`phases`), pass `seeds` from all of them, or draw "
        "much more."
    )
    not_converged = (
        "The iteration stopped before its tolerance: it ran out of steps, or rounding stopped it. "
        "Allow more steps, loosen `tolerance`, or use float64."
    )
    few_nodes = (
        "The law has fewer than 100 effective nodes, or other nodes give a function that differs "
        "by a tenth of the target: sums over the law are unreliable. Raise `order`, raise the "
        "temperature, or sample the law instead."
    )
    no_hits = (
        "No draw of the prior reaches the level. The value is -inf with an upper bound: draw more, "
        'or take by="levels".'
    )
    few_hits = (
        "Fewer than 10 draws of the prior reach the level: the error is nearly as large as the "
        'probability. Look at the bounds, draw more, or take by="levels".'
    )
    extinct = (
        "In every replicate of the rising levels all particles came to one and the same level, "
        "below the one asked for, and could not go on: the level function has a plateau (a "
        "saturated or discontinuous model). More particles or moves, or a prior that does not "
        "saturate, may help."
    )
    capped = (
        "No replicate of the rising levels came to the level asked for before its levels were used "
        "up. It may be impossible to reach; else raise `max_levels`, `particles` and `moves`."
    )
    uneven = (
        "The replicates differ by more than twice what independent particles would, or some never "
        "came to the level asked for: they follow a decoy, whose weights come close to the level. "
        "The error bar is from the spread, but may still be too small: raise `replicates`, "
        "`particles` and `moves`."
    )


class RunError(RuntimeError):
    """A run whose `Status` is not `successful`, raised unless `throw=False` was passed.

    Args:
        message: A description.
        result: What was computed, as `throw=False` returns it; None if there is nothing.
    """

    def __init__(self, message: str, result: Any = None):
        super().__init__(message)
        self.result = result


def text_of_values(text: Callable[[Any], str]) -> Callable[[Any], str]:
    """Decorator of a `__repr__` that reads numbers.

    For a result without numbers (traced, or with other leaves instead of its arrays) the text is
    the name of its class alone.
    """

    @functools.wraps(text)
    def written(self: Any) -> str:
        arrays = any(eqx.is_array(leaf) for leaf in jax.tree.leaves(self))
        return text(self) if arrays and known(self) else f"{type(self).__name__}(...)"

    return written


def raise_if_failed(result: Result, status: Array | Status, throw: bool, mend: str = "") -> Result:
    """The result of a run; with `throw`, an error if its status is not `successful`.

    Args:
        result: The result of the run.
        status: Its `Status`; a traced one is not read.
        throw: Whether to raise.
        mend: The likely cure.

    Raises:
        RunError: With `throw`, for any other status than `successful`; it holds the result.
    """
    if throw and known(status) and not bool(status == Status.successful):
        told = f"`throw=False` returns this result, the error's `result`{mend and '; '}{mend}"
        raise RunError(f"{Status[status]}\n{result!r}\n({told}.)", result)
    return result


class Outcome(eqx.Enumeration):
    """Outcome of a test; without power, no difference is no evidence of agreement."""

    agree = "No difference was detected, and one that matters would have been."
    disagree = "A difference was detected."
    too_few = "Too few to tell: a difference that matters would not have been detected."


def outcome_of(seen: bool, powerful: bool) -> Outcome:
    """Of a test that detected a difference (`seen`), or could have detected one (`powerful`)."""
    if seen:
        return Outcome.disagree
    return Outcome.agree if powerful else Outcome.too_few
