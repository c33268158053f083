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
"""Probability with which a difference called detectable would have been seen."""
POWER_QUANTILE = 1.6448536269514722
"""Standard errors between the critical value and a difference seen with that probability."""


class Status(eqx.Enumeration):
    """Outcome of a run; survives `jit`, and arrays of it are allowed (one per `beta`)."""

    successful = "The run finished and nothing speaks against its draws."
    non_finite = (
        "A chain reached a non-finite log-density. Likely causes: a model that overflows in this "
        "dtype, or a step size that left the support. Try float64 or a proper prior."
    )
    stuck = (
        "A chain, or one of its weights, never moved: its draws are one place, and say nothing "
        "about the measure. Likely causes: a gradient that is not a number (both branches of "
        "`jnp.where` are differentiated: a norm or a root at 0), a step that is zero or far too "
        "long, or a start at the edge of the support. The evidence names chains and weights."
    )
    interrupted = (
        "The run was interrupted: it holds the draws made until then. With `checkpoints` the same "
        "line goes on from there."
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
        "The draws of a sampler whose law is off by a power of its step are far from equilibrium: "
        "they break the virial theorem, the mean of (w - c)·∇(-log p) being far from the number of "
        "weights. The chains still cool from their starts, the step is far too long, or the "
        "density is cut off by a wall. Warm up longer, start at a minimum (`start=`), or use a "
        "sampler with a Metropolis test on the whole energy."
    )
    lagging = (
        "The ladder lags behind equilibrium: forward and reverse passes disagree, or no replica "
        "travelled from the prior to the coldest level and back. Draw more or refine the ladder."
    )
    few_particles = (
        "Too few particles to tell whether the ladder lags behind equilibrium: two nats between "
        "the free energies of the forward and the reverse pass would not have been seen. Raise "
        "`draws` or `chains`."
    )
    metastable = (
        "The free energy of the ladder lies above an upper bound by more than the errors of both: "
        "the run missed a region of the weights that counts (a first-order transition). Run the "
        "phases apart and join them (`phases`), pass `seeds` from all of them, or draw much more."
    )
    not_converged = (
        "The iteration stopped before its tolerance: it ran out of steps, or rounding stopped it. "
        "Allow more steps, loosen `tolerance`, or use float64."
    )
    few_nodes = (
        "Fewer than 100 effective nodes carry the law, or other nodes make a function that differs "
        "by a tenth of the target: sums over it are not to be trusted. Raise `order`, raise the "
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
    """A run whose `Status` is not `successful`, raised unless `throw=False` was passed."""


def text_of_values(text: Callable[[Any], str]) -> Callable[[Any], str]:
    """Decorator of a `__repr__` that reads numbers.

    A result without numbers (traced, or with other leaves in the place of its arrays) is written
    by the name of its class alone.
    """

    @functools.wraps(text)
    def written(self: Any) -> str:
        arrays = any(eqx.is_array(leaf) for leaf in jax.tree.leaves(self))
        return text(self) if arrays and known(self) else f"{type(self).__name__}(...)"

    return written


def checked(result: Result, status: Array | Status, throw: bool, mend: str = "") -> Result:
    """The result of a run that was successful, or that the caller wants to look at anyway.

    Args:
        result: What the run gives.
        status: Its `Status`; one that is traced is not looked at.
        throw: Whether to raise.
        mend: The likely cure.

    Raises:
        RunError: With `throw`, where the status is another one.
    """
    if throw and known(status) and not bool(status == Status.successful):
        told = f"`throw=False` returns this result{mend and '; '}{mend}"
        raise RunError(f"{Status[status]}\n{result!r}\n({told}.)")
    return result


class Outcome(eqx.Enumeration):
    """Outcome of a test; that nothing was seen counts only if something could have been."""

    agree = "No difference was seen, and one that matters would have been."
    disagree = "A difference was seen."
    too_few = "Too few to tell: a difference that matters would not have been seen."


def outcome_of(seen: bool, powerful: bool) -> Outcome:
    """Of a test that saw a difference or not, and could have seen one that matters or not."""
    if seen:
        return Outcome.disagree
    return Outcome.agree if powerful else Outcome.too_few
