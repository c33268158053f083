"""Error rates predicted from the law of a remainder, against held-out ones, order by order."""

import functools
from typing import Annotated, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float

from ..core import (
    POWER,
    DeclarationError,
    Estimate,
    Fraction,
    Influence,
    Number,
    Outcome,
    at_most_level,
    outcome_of,
    text_of_values,
    typed,
    whole,
)
from ._edgeworth import Edgeworth
from ._outcome_words import words
from ._remainder_cumulants import cumulants, series_of

ORDERS = (0, 1, 2, 3)
BATCHES = 10
"""Pieces of a chain whose means are taken as independent."""


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

    def outcome(self, order: Annotated[int, whole(0, 3)] = 0) -> Outcome:
        """Whether an order agrees with the held-out rates; `too_few` without power."""
        seen = at_most_level(self.p_value[order], self.level)
        return outcome_of(seen, bool(self.detectable[order] <= self.tolerance))

    @text_of_values
    def __repr__(self) -> str:
        lines = [
            f"  order {k}: {words(self.outcome(k), 'agrees', 'disagrees', 'undecided')} (p "
            f"{float(self.p_value[k]):.2g}, seen from {float(self.detectable[k]):.2g}), overall "
            f"{self.overall[k]:.2g}, mean square misfit {self.misfit[k]:.2g}"
            for k in ORDERS
        ]
        rate = float(np.mean(np.asarray(self.observed)))
        return "\n".join(
            [f"ErrorRates of {self.observed.size} inputs, observed {rate:.4g}", *lines]
        )


@typed
def error_rates(
    fitted: tuple[Float[Array, "..."], Float[Array, "..."]],
    held_out: tuple[Float[Array, "..."], Float[Array, "..."]],
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

    The test compares rates in bins of inputs that are sorted by their predicted rate: Hotelling's
    `T²` with the errors of both sides. Draws of a chain are taken in ten pieces. Its false-alarm
    rate is `level` where there are many independent units (inputs, draws or pieces) a bin.

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
    units = test.shape[-1] if per == "all" else test[..., 0].size
    weights = _bins(predicted[0], int(np.clip(units // 20, 1, bins)))
    apart = [
        _apart(law, place, weights, hits, predicted, order, per == "input") for order in ORDERS
    ]
    tests = [_hotelling(each[:-1], level) for each in apart]
    estimates = Estimate.stack([each.estimate() for each in apart])
    return ErrorRates(
        predicted,
        hits.mean(axis=tuple(range(axes))),
        weights[:-1] @ predicted[0],
        estimates[:, :-1],
        estimates[:, -1],
        _misfit(law, place, hits, per == "input"),
        np.array([p for p, _ in tests]),
        np.array([d for _, d in tests]),
        level,
        tolerance,
    )


def _read(argument: str, data: tuple) -> tuple[np.ndarray, int, np.ndarray]:
    """The remainder `[*draws, input]`, the number of axes of draws, and the interpretation."""
    model, part = (np.asarray(each, float) for each in data)
    axes = model.ndim - 1
    good = 0 <= axes <= 2 and model.size and part.shape == model.shape[-1:]
    if not good or model[..., 0].size * model.shape[-1] < 20 or not np.all(np.isfinite(model)):
        raise DeclarationError(
            argument,
            got=f"margins of shape {model.shape}, of the interpretation {part.shape}",
            expected="finite margins [*draws, input], at least 20, with at most two axes of draws, "
            "and those of the interpretation [input]",
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


def _bins(rates: np.ndarray, count: int) -> np.ndarray:
    """Weights of the inputs in each bin, and of all in the last row: `[bin + 1, input]`.

    Inputs are sorted by their predicted rate, and bins have like shares of its variance.
    """
    rates = np.clip(rates, 1e-6, 1 - 1e-6)
    order = np.argsort(rates, kind="stable")
    mass = np.cumsum((rates * (1 - rates))[order])
    place = np.empty(len(rates), int)
    place[order] = np.minimum((count * (mass / mass[-1]) * (1 - 1e-9)).astype(int), count - 1)
    rows = [place == b for b in range(count) if np.any(place == b)]
    weights = np.stack([*rows, np.ones(len(rates), bool)]).astype(float)
    return weights / weights.sum(axis=1, keepdims=True)


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


def _hotelling(apart: Influence, level: float) -> tuple[float, float]:
    """p-value of no difference in any bin, and the shift of all that is detected."""
    value = np.asarray(apart.value)
    covariance, units = np.zeros((len(value), len(value))), np.inf
    for rows in apart.rows.values():
        means = _pieces(np.asarray(rows))
        count = means.shape[1]
        covariance += means @ means.T / (count * (count - 1))
        units = min(units, count)
    scale, vectors = np.linalg.eigh(covariance)
    good = scale > 1e-10 * max(scale[-1], 1e-300)
    bins, vectors = int(np.sum(good)), vectors[:, good] / np.sqrt(scale[good])
    if units <= bins + 1 or not bins:
        return np.nan, np.inf
    factor = (units - bins) / (bins * (units - 1))
    square = float(np.sum((value @ vectors) ** 2))
    p_value = float(scipy.special.fdtrc(bins, units - bins, factor * square))
    critical = float(scipy.special.fdtri(bins, units - bins, 1 - level)) / factor
    needed = float(scipy.special.chndtrinc(critical, bins, 1 - POWER))
    return p_value, float(np.sqrt(needed / np.sum(vectors.sum(axis=0) ** 2)))


def _pieces(rows: np.ndarray) -> np.ndarray:
    """Rows `[bin, chain, draw]` as means of independent units, `[bin, unit]`."""
    bins, chains, draws = rows.shape
    pieces = min(BATCHES, draws)
    length = draws // pieces
    cut = rows[:, :, : pieces * length].reshape(bins, chains * pieces, length)
    return cut.mean(axis=-1)


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
