"""Survival of a measure along a dial, and named temperatures."""

import math
from typing import Annotated, TypeAlias

from ..compile import Gibbs
from ..core import (
    Curve,
    DeclarationError,
    Estimate,
    Number,
    Positive,
    Said,
    typed,
)
from ..declare import loss_gap, watanabe

Baseline: TypeAlias = Annotated[
    Number | Estimate, Said("a number or an Estimate", "pass e.g. 1.0, or Estimate.exact(1.0)")
]


@typed
def survival(curve: Curve, *, clean: Baseline = 1.0, dead: Baseline = 0.0) -> Curve:
    """`(measure - dead)/(clean - dead)`: 1 for the clean model, 0 where nothing is left.

    Args:
        curve: Of the measure along a dial, of one number at each point.
        clean: Its value for the model that is not degraded.
        dead: Its value for a model without the structure, such as its mean over the prior. Where
            one of the two is an `Estimate`, its error is in the error of each point, and errors of
            different points count as independent.

    Raises:
        DeclarationError: For equal values of clean and dead, and for an `Estimate` of several.
    """
    for name, given in (("clean", clean), ("dead", dead)):
        if isinstance(given, Estimate) and given.shape:
            raise DeclarationError(
                name,
                got=f"an Estimate of shape {given.shape}",
                expected="one number, the same at all points of the curve",
                mend="take one entry, estimate[i]; or a curve of that head, curve[:, i]",
            )
    values = [float(b.value) if isinstance(b, Estimate) else float(b) for b in (clean, dead)]
    if not abs(values[0] - values[1]) > 0:
        raise DeclarationError(
            "clean",
            got=f"{values[0]:g}, the value of `dead`",
            expected="another value than that of a dead structure",
            mend="measure something that the clean model has",
        )
    if not isinstance(clean, Estimate) and not isinstance(dead, Estimate):
        return curve.shifted(-values[1]).scaled(1 / (values[0] - values[1]))
    whole, none = (b if isinstance(b, Estimate) else Estimate.exact(b) for b in (clean, dead))

    def share(measure, clean, dead):
        return (measure - dead) / (clean - dead)

    return Curve(curve.x, curve.values.map(share, whole, none), axis=curve.axis, unit=curve.unit)


@typed
def temperature_marks(
    gibbs: Gibbs, *, n: Positive | None = None, gap: Positive | None = None
) -> dict[str, float]:
    """Named temperatures on the axis of a `Tempered` dial, where T divides the summed energy.

    Args:
        gibbs: The measure, whose mass relates the summed to the mean loss.
        n: Number of data; the mass of the measure if None.
        gap: The mean loss of the model minus that of the best known one, in nats.

    Returns:
        `"bayes"`: where the factor of the mean loss is n. `"watanabe"`: n/log n. `"loss gap"`:
        1/gap, where that gap costs one nat.

    Raises:
        DeclarationError: Without `n` for a measure of mass below e, such as a probability measure.
    """
    mass = float(gibbs.masses[0])
    count = mass if n is None else float(n)
    if not count > math.e:
        raise DeclarationError(
            "n",
            got=f"{count:g} data",
            expected="more than e of them, so that log n > 1",
            mend="pass n=..., the number of data behind a probability measure",
        )
    marks = {"bayes": mass / count, "watanabe": 1 / float(watanabe(count).beta(mass))}
    if gap is not None:
        marks["loss gap"] = 1 / float(loss_gap(gap).beta(mass))
    return marks
