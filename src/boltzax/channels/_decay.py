"""The rate at which the size of a curve decays, also where it sinks into the noise."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float

from ..core import Curve, DeclarationError, Estimate, Influence, student_factor
from ..numerics import root

LEAST = 3
"""Points of a fit at least."""
SIGNAL = 13.8
"""What a fit takes off the sum of squares of no signal: 1 of 1,000 cases of noise (`χ²` of 2)."""
POOR = 1e-3
"""p-value below which a fit without scatter is none."""
REACH = 60.0
"""e-folds over the curve by which an end of the interval differs from the rate at most."""
FLOOR = 1e-12
"""Relative error of values that are exact."""
SCATTERS = (1e-4, 16.0)
"""Least and most scatter about the fit, in e-folds."""


def decay_rate(
    curve: Curve, *, signed: bool = False, apart: Sequence[np.ndarray] | None = None
) -> Estimate:
    """`γ` of `|value| = a exp(-γ x)`, by least squares over all points.

    No point is left out for its value. A value v of error σ, about a line from which sizes scatter
    by a factor `exp(τ z)`, counts as `y = asinh(τ v/σ)/τ` (Rocke & Durbin 2003, Bioinformatics
    19:966): the logarithm where there is a signal, the value in units of its error where there is
    none, of variance 1. As `|y|` is compared with its mean over the noise, points without a signal
    neither pull nor stretch the fit. τ is such that the squares add up to the degrees of freedom of
    the points that are seen; 0 where the errors explain them.

    The error holds the correlations of the values, if the curve knows them. The interval holds the
    rates that fit nearly as well (profile), with Student's factor of the scatter.

    Args:
        curve: Values with errors.
        signed: Whether the true values are all positive: a negative one is noise.
        apart: For values that are means over several places, `[point][place]`, these places.

    Returns:
        The rate; NaN ± NaN where it is not determined: fewer than three points, no signal beyond
        the noise of all points together, or an interval without an end.

    Raises:
        DeclarationError: For a curve of several numbers.
    """
    value, error = (np.asarray(each, float) for each in (curve.value, curve.standard_error))
    if value.ndim != 1:
        raise DeclarationError(
            "curve",
            got=f"values of shape {value.shape}",
            expected="one number at each place",
            mend="take one of them first, curve[:, i]",
        )
    unknown = Estimate.exact(np.nan).unknown(True)
    good = np.isfinite(value) & np.isfinite(error) & ((value != 0) | (error > 0))
    chosen = np.flatnonzero(good)
    if len(chosen) < LEAST:
        return unknown
    x = np.asarray(curve.x, float)
    places = [x[i : i + 1] if apart is None else np.asarray(apart[i], float) for i in chosen]
    least = np.maximum(FLOOR * np.abs(value), np.finfo(float).tiny)
    points = _points(places, value[chosen], np.maximum(error, least)[chosen], signed)
    fit = _scattered(points)
    if np.sum(points.residuals(None, fit.scatter) ** 2) - fit.squares < SIGNAL:
        return unknown
    by_value, scattered, alone = _errors(points, fit)
    given = curve.values if curve.influence is None else curve.influence
    moved = given[chosen].times(by_value[None])
    noise = (moved.estimate(exact=True) if isinstance(moved, Influence) else moved)[0]
    factor = float(student_factor(len(chosen) - 1)) if fit.scatter else 0.0
    normal = float(student_factor(np.inf))
    half = np.hypot(normal * float(noise.standard_error), factor * scattered)
    ends = [_end(points, fit, side, half, half / alone) for side in (-1, 1)]
    if not np.all(np.isfinite(ends)):
        return unknown
    return noise.shifted(fit.rate - noise.value).widened(scattered).bounded(*ends)


class _Points(NamedTuple):
    """Values that are fitted, with their errors; the places of each, less a common origin, with
    weights of sum 1."""

    places: Float[np.ndarray, "point place"]
    weights: Float[np.ndarray, "point place"]
    value: Float[np.ndarray, " point"]
    error: Float[np.ndarray, " point"]
    signed: bool

    @property
    def middle(self) -> Float[np.ndarray, " point"]:
        """The mean place of each."""
        return np.sum(self.weights * self.places, axis=1)

    def logs(self, log_size: float, rate: float) -> np.ndarray:
        """Logarithms of the sizes of a fit that has a given size at the origin."""
        falls = -rate * self.places
        most = np.max(falls, axis=1)
        return (
            log_size + most + np.log(np.sum(self.weights * np.exp(falls - most[:, None]), axis=1))
        )

    def means(self, logs: np.ndarray, scatter: float) -> tuple[np.ndarray, np.ndarray]:
        """Means of `y`, or `|y|`, of sizes with these logarithms, and their slopes by them."""
        signal = np.exp(np.minimum(logs - np.log(self.error), 300.0))
        y, slope = _stable(signal, scatter), signal / np.sqrt(1 + (scatter * signal) ** 2)
        if self.signed:
            return y, slope
        normal = np.sqrt(2 / np.pi) * np.exp(-0.5 * y**2)
        share = scipy.special.erf(y / np.sqrt(2))
        return normal + y * share, share * slope

    def residuals(self, fit: tuple[float, float] | None, scatter: float) -> np.ndarray:
        """What the values differ from a fit, or from no signal, in their errors."""
        logs = np.full(len(self.value), -np.inf) if fit is None else self.logs(*fit)
        y = _stable(self.value / self.error, scatter)
        return (y if self.signed else np.abs(y)) - self.means(logs, scatter)[0]


class _Fit(NamedTuple):
    """The logarithm of the size at the origin, the rate, the scatter, and the sum of squares."""

    log_size: float
    rate: float
    scatter: float
    squares: float


def _stable(signal: np.ndarray, scatter: float) -> np.ndarray:
    """`asinh(τ s)/τ`."""
    return np.arcsinh(scatter * signal) / scatter if scatter else signal


def _points(places: list, value: np.ndarray, error: np.ndarray, signed: bool) -> _Points:
    """The points, with an origin near those that are seen best."""
    weights = np.zeros((len(places), max(map(len, places))))
    padded = np.zeros_like(weights)
    for i, each in enumerate(places):
        weights[i, : len(each)] = 1 / len(each)
        padded[i] = np.mean(each)
        padded[i, : len(each)] = each
    means = np.sum(weights * padded, axis=1)
    origin = np.average(means, weights=1e-9 + np.minimum((value / error) ** 2, 1e3))
    return _Points(padded - origin, weights, value, error, signed)


def _fitted(points: _Points, scatter: float, starts: list) -> _Fit:
    """The least squares of a given scatter."""
    from scipy.optimize import least_squares  # slow to import

    found = [
        least_squares(
            lambda at: points.residuals((at[0], at[1]), scatter), start, method="lm",
            xtol=1e-10, ftol=1e-12, gtol=1e-12,
        )
        for start in starts
    ]  # fmt: skip
    best = min(found, key=lambda each: each.cost)
    return _Fit(float(best.x[0]), float(best.x[1]), scatter, 2 * float(best.cost))


def _scattered(points: _Points) -> _Fit:
    """The least squares, with as much scatter as the squares ask for beyond their freedom.

    Points count by their share of signal in the fit, `t²/(1 + t²)`: those in the noise tell of no
    scatter. All count where the squares are more than noise gives in one of 1,000 cases: then the
    sizes are not those of the fit.
    """
    middle = points.middle
    signal = np.minimum(np.abs(points.value / points.error), 1e2)
    rough = np.polyfit(middle, np.log(np.abs(points.value) + points.error), 1, w=signal + 1e-3)
    span = np.ptp(middle)
    starts = [(rough[1], -rough[0]), *((rough[1], k / span) for k in (1.0, 4.0))]

    def beyond(fit: _Fit) -> float:
        size = np.exp(np.minimum(points.logs(fit.log_size, fit.rate) - np.log(points.error), 300.0))
        seen = np.ones_like(size) if poor else size**2 / (1 + size**2)
        left = points.residuals((fit.log_size, fit.rate), fit.scatter)
        freedom = np.sum(seen) - 2
        return float(np.sum(seen * left**2) - freedom) if freedom > 0 else -1.0

    fit = plain = _fitted(points, 0.0, starts)
    poor = scipy.special.chdtrc(len(middle) - 2, plain.squares) < POOR
    if beyond(plain) <= 0:
        return plain

    def excess(log_scatter: float) -> float:
        nonlocal fit
        fit = _fitted(points, float(np.exp(log_scatter)), [starts[0], (fit.log_size, fit.rate)])
        return beyond(fit)

    low, high = np.log(SCATTERS)
    if excess(low) <= 0:
        return fit
    if excess(high) > 0:  # of points near the noise, which no scatter explains
        return plain
    root(excess, low, high, xtol=1e-3)
    return fit


def _errors(points: _Points, fit: _Fit) -> tuple[np.ndarray, float, float]:
    """Slopes of the rate by the values; its error by the scatter; its error in units of `y`."""
    logs = points.logs(fit.log_size, fit.rate)
    step = 1e-6 / np.ptp(points.middle)
    away = (points.logs(0.0, fit.rate + step) - points.logs(0.0, fit.rate - step)) / (2 * step)
    slope = points.means(logs, fit.scatter)[1]
    by_rate = slope * away
    by_rate = by_rate - slope * np.sum(slope * by_rate) / np.sum(slope**2)
    moves = by_rate / np.sum(by_rate**2)  # of the rate, by |y|
    signal = np.exp(logs) / points.error
    share = (fit.scatter * signal) ** 2 / (1 + (fit.scatter * signal) ** 2)
    size = points.error * np.sqrt(1 + (fit.scatter * points.value / points.error) ** 2)
    signs = 1.0 if points.signed else np.sign(points.value)
    scattered = np.sqrt(np.sum(moves**2 * share))
    return moves * signs / size, float(scattered), float(np.sqrt(np.sum(moves**2)))


def _end(points: _Points, fit: _Fit, side: int, half: float, factor: float) -> float:
    """Where the best fit of a given rate adds `factor²` to the squares; infinite if nowhere near.

    Args:
        points: What is fitted.
        fit: The fit.
        side: -1 for the lower end, 1 for the upper one.
        half: A first guess of the distance.
        factor: Errors of the rate in the interval.
    """
    from scipy.optimize import least_squares  # slow to import

    def beyond(distance: float) -> float:
        rate = fit.rate + side * distance
        # through the size of the fit at each point: which of them holds it is not known before
        starts = logs - points.logs(0.0, rate)
        squares = [np.sum(points.residuals((at, rate), fit.scatter) ** 2) for at in starts]
        size = least_squares(
            lambda at: points.residuals((at[0], rate), fit.scatter), starts[np.argmin(squares)],
            method="lm",
        )  # fmt: skip
        return 2 * float(size.cost) - fit.squares - factor**2

    if not half:
        return fit.rate
    logs = points.logs(fit.log_size, fit.rate)
    most, distance = REACH / np.ptp(points.middle), half
    while beyond(distance) < 0:
        distance *= 2
        if distance > most:
            return np.inf
    inner = 0.0 if distance == half else distance / 2
    return fit.rate + side * root(beyond, inner, distance, xtol=2e-12, rtol=1e-4)
