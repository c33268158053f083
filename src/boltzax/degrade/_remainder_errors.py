"""Error rates predicted from the law of a remainder, against held-out ones, order by order."""

import functools
from typing import Annotated, Literal, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import (
    DeclarationError,
    Estimate,
    Fraction,
    Influence,
    Number,
    Outcome,
    Said,
    at_most_level,
    outcome_of,
    text_of_values,
    typed,
    whole,
)
from ._edgeworth import Edgeworth
from ._outcome_words import words
from ._remainder_cumulants import cumulants, series_of
from ._remainder_rate_test import bins_allowed, bins_of_inputs, rate_test, variance_of_hits

ORDERS = (0, 1, 2, 3)
Margins: TypeAlias = Annotated[
    Float[Array, "..."],
    Said(
        "margins at the inputs, [*draws, input]",
        "evaluate a model first, e.g. y * jax.vmap(model)(x)",
    ),
]


@typed
class ErrorRates(eqx.Module):
    """What `error_rates` returns. Order 0 is the Gaussian, 1 to 3 are Edgeworth's.

    Args:
        predicted: Rate of each held-out input, `[order, input]`.
        observed: Its frequency over the draws (0 or 1 without draws), `[input]`.
        bins: Mean predicted rate (of order 0) of the inputs in each bin, `[bin]`.
        reliability: Predicted minus observed rate in each bin, `[order, bin]`.
        overall: Predicted minus observed rate over all inputs, `[order]`.
        misfit: Mean square of predicted minus observed rate of an input, less that of the noise of
            both, `[order]`. NaN unless each input has its own law.
        p_value: Of the hypothesis that the rates in all bins are those of an order, `[order]`.
        detectable: The shift of all rates together that is detected with probability 0.95,
            `[order]`.
        level: p-value at or below which an order is refused.
        tolerance: The smallest shift that matters.
        reason: Why there is no test, or "".
    """

    predicted: Float[Array, "order input"]
    observed: Float[Array, " input"]
    bins: Float[Array, " bin"]
    reliability: Estimate
    overall: Estimate
    misfit: Estimate
    p_value: Float[Array, " order"]
    detectable: Float[Array, " order"]
    level: Fraction = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    reason: str = eqx.field(static=True, default="")

    def outcome(self, order: Annotated[int, whole(0, 3)] = 0) -> Outcome:
        """Whether an order agrees with the held-out rates; `too_few` without power."""
        seen = at_most_level(self.p_value[order], self.level)
        return outcome_of(seen, bool(self.detectable[order] <= self.tolerance))

    @text_of_values
    def __repr__(self) -> str:
        own = np.isfinite(np.asarray(self.misfit.value))  # a law of its own at each input
        misfit = [f", mean square misfit {self.misfit[k]:.2g}" if own[k] else "" for k in ORDERS]
        lines = [
            f"  order {k}: {words(self.outcome(k), 'agrees', 'disagrees', 'undecided')} (p "
            f"{float(self.p_value[k]):.2g}, seen from {float(self.detectable[k]):.2g}), overall "
            f"{self.overall[k]:.2g}{misfit[k]}"
            for k in ORDERS
        ]
        rate = float(np.mean(np.asarray(self.observed)))
        head = f"ErrorRates of {self.observed.size} inputs, observed {rate:.4g}"
        why = [f"  no test: {self.reason}"] if self.reason else []
        return "\n".join([head, *lines, *why])


@typed
def error_rates(
    fitted: tuple[Margins, Margins],
    held_out: tuple[Margins, Margins],
    *,
    per: Literal["input", "all"] = "all",
    below: Number = 0.0,
    bins: Annotated[int, whole(1)] = 6,
    level: Fraction = 0.05,
    tolerance: Fraction = 0.02,
) -> ErrorRates:
    """Predict how often a model errs at each input, and hold it against other data.

    A model errs where its margin is below a level. The margin is that of the interpretation plus a
    remainder, whose law is taken from `fitted` data, by Edgeworth's expansion to each order: a
    Gaussian of its mean and variance is order 0.

    - `per="all"`: one law of the remainder for all inputs. Fitted and held-out inputs differ.
    - `per="input"`: a law over draws of the weights at each input. The held-out draws are others,
      at the same inputs.

    The test compares rates in bins of inputs that are sorted by their predicted rate. Held-out
    inputs without draws are independent: the variance of their errors is that of the predicted
    rates, and a bin holds inputs with a variance of 10 errors or more; a single bin of fewer is
    tested with a correction for continuity. With draws the test is Hotelling's `T²` with the errors
    of both sides, over independent draws or over pieces of chains of five effective draws or more.
    Where too few errors are expected in independent draws, of rare ones 16, the test is undecided,
    and `reason` says so.

    False alarms at a level of 5%: 0 to 5% without draws (6 settings of 60 pairs, 30 to 2,000
    inputs, rates of 0.02% to 50%); at each input 2 to 6% of 50 to 1,000 independent draws, and 1
    to 6% of four autoregressions of 100 or 500 draws with memory 0.5 to 0.95 (100 pairs each).

    Args:
        fitted: Margins of the model `[*draws, input]` and of the interpretation `[input]` (or
            `[*draws, input]`). The axes of draws are none, one (independent), or two (chain, draw).
        held_out: The same of other data.
        per: Which remainders have one law.
        below: The margin below which a model errs.
        bins: Most bins; of few units fewer are taken.
        level: p-value at or below which an order is refused.
        tolerance: The smallest shift of the rates that matters.

    Raises:
        DeclarationError: For other shapes, and too few draws or inputs.
    """
    fit, fit_axes, _ = _read("fitted", fitted)
    test, axes, margins = _read("held_out", held_out)
    if per == "input" and (not axes or fit_axes != axes or fit.shape[-1] != test.shape[-1]):
        raise DeclarationError(
            "held_out",
            got=f"margins of shape {test.shape}, fitted {fit.shape}",
            expected="other draws at the same inputs, [*draws, input], as many axes of draws",
            mend='pass the draws of an ensemble, or per="all" for one law of all inputs',
        )
    if per == "input":  # the draws are the samples
        law = cumulants(fit, 0, "fitted") if axes == 1 else cumulants(fit[:, :, None], 2, "fitted")
    else:
        law = cumulants(fit[..., None], fit_axes, "fitted")
    place = jnp.asarray(below - margins)
    hits = (test < below - margins).astype(float)
    found = jnp.asarray(law.value)
    predicted = np.stack([np.asarray(_rates(found, place, None, order)) for order in ORDERS])
    count, reason = _bin_count(law, place, hits, predicted, per == "input", bins)
    weights = bins_of_inputs(predicted[0], count)
    found = [
        _compared(law, place, weights, hits, predicted, order, per == "input", level)
        for order in ORDERS
    ]
    estimates = Estimate.stack([estimate for estimate, _, _ in found])
    return ErrorRates(
        predicted,
        hits.mean(axis=tuple(range(axes))),
        weights[:-1] @ predicted[0],
        estimates[:, :-1],
        estimates[:, -1],
        _misfit(law, place, hits, per == "input"),
        np.array([np.nan if reason else p for _, p, _ in found]),
        np.array([np.inf if reason else d for _, _, d in found]),
        level,
        tolerance,
        reason,
    )


def _read(argument: str, data: tuple) -> tuple[np.ndarray, int, np.ndarray]:
    """The remainder `[*draws, input]`, the number of axes of draws, and the interpretation."""
    model, part = (np.asarray(each, float) for each in data)
    axes = model.ndim - 1
    good = 0 <= axes <= 2 and model.size and part.shape == model.shape[-1:]
    if not good or model.size < 20 or not np.all(np.isfinite(model - part)):
        raise DeclarationError(
            argument,
            got=f"margins of shape {model.shape}, of the interpretation {part.shape}",
            expected="finite margins [*draws, input], at least 20, with at most two axes of draws, "
            "and finite ones of the interpretation [input]",
            mend="pass (margins of the model, margins of the interpretation)",
        )
    return model - part, axes, part


def _rates(cumulants: Array, place: Array, weights: Array | None, order: int) -> Array:
    """The rate of each input, or their means with weights `[bin, input]`."""
    rates = jnp.broadcast_to(Edgeworth(cumulants, order).distribution(place), place.shape)
    return rates if weights is None else weights @ rates


def _moved(law: Influence, place: Array, weights: np.ndarray | None, order: int) -> Influence:
    """Predicted rates with the errors of the cumulants."""
    held = None if weights is None else jnp.asarray(weights)
    return law.map(functools.partial(_rates, place=place, weights=held, order=order))


def _bin_count(
    law: Influence, place: Array, hits: np.ndarray, rates: np.ndarray, fixed: bool, most: int
) -> tuple[int, str]:
    """How many bins the data allow, and why none if there are too few."""
    weights = bins_of_inputs(rates[0], most)
    apart = _apart(law, place, weights, hits, rates, 0, fixed)
    draws = "held-out, draws" if hits.ndim > 1 else None
    if draws is None:
        apart = _without(apart, "held-out, inputs")
    return bins_allowed(apart, rates[0], draws, not fixed, most)


def _compared(
    law: Influence, place: Array, weights: np.ndarray, hits: np.ndarray, rates: np.ndarray,
    order: int, fixed: bool, level: float,
) -> tuple[Estimate, float, float]:  # fmt: skip
    """Predicted minus observed rates, their p-value, and the shift that is detected; see `_apart`.

    Without draws the hits of inputs are independent, and the null law knows their variance. An
    observed frequency of 0 has no spread, so that the larger of both variances is in the errors.
    """
    apart = _apart(law, place, weights, hits, rates, order, fixed)
    estimate = apart.estimate(exact=True)
    if hits.ndim > 1:
        return estimate, *rate_test(apart[:-1], None, 0.0, level)
    noise = weights**2 @ variance_of_hits(rates[order])
    seen = Influence(apart.value, {"": apart.rows["held-out, inputs"]}).estimate(exact=True)
    more = np.maximum(noise - np.asarray(seen.standard_error) ** 2, 0.0)
    fitted = _without(apart, "held-out, inputs")[:-1]
    tested = rate_test(fitted, noise[:-1], float(weights[-1].max()), level)
    return estimate.widened(np.sqrt(more)), *tested


def _without(influence: Influence, source: str) -> Influence:
    rows = {name: rows for name, rows in influence.rows.items() if name != source}
    return Influence(influence.value, rows)


def _apart(
    law: Influence, place: Array, weights: np.ndarray, hits: np.ndarray, rates: np.ndarray,
    order: int, fixed: bool,
) -> Influence:  # fmt: skip
    """Predicted minus observed rate in each bin, with the errors of both sides.

    Args:
        law: Cumulants of the remainder.
        place: The remainder below which each input errs, `[input]`.
        weights: `[bin, input]`.
        hits: Whether each draw errs, `[*draws, input]`.
        rates: Predicted by each order, `[order, input]`.
        order: Of the expansion.
        fixed: Whether the inputs are the same on both sides: then they are no source of errors.
    """
    each = (rates[order] - hits)[..., None] * (weights.T * len(place))
    found = series_of(each, hits.ndim - 1, "held-out")
    if fixed:
        found = Influence(found.value, {"held-out, draws": found.rows["held-out, draws"]})
    fitted = _moved(law, place, weights, order)
    rows = {source: np.asarray(row) for source, row in fitted.rows.items()}
    return Influence(found.value, found.rows | rows)


def _misfit(law: Influence, place: Array, hits: np.ndarray, fixed: bool) -> Estimate:
    """Mean square difference of predicted and observed rate, without that of the noise."""
    if not fixed:
        return Estimate.of_samples(np.full((2, len(ORDERS)), np.nan))
    rows = np.moveaxis(hits, -1, 0)
    rows = rows[..., None] if rows.ndim == 2 else rows
    observed = Influence.of(rows).estimate(exact=True)
    noise = np.asarray(observed.standard_error) ** 2
    squares = []
    for order in ORDERS:
        rates = _moved(law, place, None, order).estimate(exact=True)
        error = np.asarray(rates.standard_error)
        squares.append(np.asarray(rates.value - observed.value) ** 2 - noise - error**2)
    return Estimate.of_samples(np.stack(squares, axis=1))
