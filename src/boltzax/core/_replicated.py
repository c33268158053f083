"""What a function gives over independent replicates, with errors from their spread."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeAlias

import jax
import numpy as np
from jaxtyping import PyTree

from ._arguments import Constraint, Refused, given_numbers
from ._curve import Curve
from ._errors import DeclarationError
from ._estimate import Estimate
from ._influence import Influence
from ._typing import typed

SOURCE = "replicates"
"""The name of the draws in the influences of curves: replicates of one call."""


def _measure(value: Any) -> Any:
    if not callable(value) or isinstance(value, type):
        raise Refused
    return value


Measure: TypeAlias = Annotated[
    Callable[[Any], PyTree],
    Constraint("a function of a replicate", "pass e.g. lambda seed: {'loss': ...}", _measure),
]


@typed
def replicated(measure: Measure, replicates: Sequence[Any] | range | np.ndarray) -> PyTree:
    """Run a function on independent replicates, and take the mean of every number that it gives.

    The error is that of the spread between replicates, `sd/sqrt(R)`, whatever errors the numbers
    of one replicate have::

        def measured(seed):                       # e.g. trains a net of its own
            return {"loss": ..., "survival": curve}

        over_nets = bx.replicated(measured, range(8))
        over_nets["loss"].interval()              # Student's t with 7 degrees of freedom
        over_nets["survival"].crossing(0.5)

    Args:
        measure: A function of one replicate that gives numbers, arrays, estimates or curves, or a
            pytree (dictionary, tuple) of them: the same ones for each replicate.
        replicates: What it is called with, such as seeds `range(8)`; two at least for errors.

    Returns:
        The pytree, with an `Estimate` (`Estimate.of_replicates`) for each number, array
        `[*shape]` and estimate. For each `Curve` one over the same places, of the means at each,
        which keeps the replicates: differences, slopes and crossings of one or several curves
        include the correlations within a replicate.

    Raises:
        DeclarationError: For no replicate, results that differ in names or shapes, and curves over
            different places.
    """
    if not len(replicates):
        raise DeclarationError(
            "replicates",
            got="none",
            expected="one replicate at least, and two for errors",
            mend="pass e.g. range(8)",
        )
    results = [measure(replicate) for replicate in replicates]
    each = [jax.tree.flatten(result, is_leaf=_whole) for result in results]
    if any(structure != each[0][1] for _, structure in each):
        raise _differing("other names or containers")
    columns = zip(*(leaves for leaves, _ in each), strict=True)
    return jax.tree.unflatten(each[0][1], [_mean(column) for column in columns])


def _whole(part: Any) -> bool:
    return isinstance(part, Curve | Estimate)


def _mean(column: tuple) -> Estimate | Curve:
    """The mean of one part of the results."""
    first = column[0]
    if any(isinstance(part, Curve) != isinstance(first, Curve) for part in column):
        raise _differing("a curve in one and none in another")
    given_numbers("measure", [part for part in column if not _whole(part)])
    values = [np.asarray(part.value if _whole(part) else part) for part in column]
    if any(value.shape != values[0].shape for value in values):
        raise _differing(f"shapes {sorted({value.shape for value in values})}")
    rows = np.stack(values)
    if not isinstance(first, Curve):
        return Estimate.of_replicates(rows)
    if any(not np.array_equal(part.x, first.x) or part.axis != first.axis for part in column):
        raise _differing("curves over different places")
    influence = Influence.of_samples(rows, source=SOURCE)
    return Curve(first.x, influence, axis=first.axis, unit=first.unit)


def _differing(got: str) -> DeclarationError:
    return DeclarationError(
        "measure",
        got=f"replicates with {got}",
        expected="the same numbers, shapes and places for each replicate",
        mend="give back what all have in common",
    )
