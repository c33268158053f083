"""Estimates along an axis."""

import operator
from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from ._arguments import Positive, Said
from ._arithmetic import AbstractQuantity
from ._confidence_intervals import LEVEL, Coverage, normal_quantile
from ._curve_crossing import crossings, resolved
from ._curve_place import Sampled, chosen_crossing, fitted_place, line_place
from ._errors import DeclarationError
from ._estimate import Estimate
from ._estimate_text import MOST, html_table, shown
from ._influence import Influence, agree, apart
from ._status import RunError
from ._tracing import check_finite, check_known, eager, known, refuted
from ._typing import typed

Values: TypeAlias = Annotated[
    Estimate | Influence,
    Said("an Estimate or an Influence", "numbers that are exact are Estimate.exact(numbers)"),
]

Names: TypeAlias = Annotated[Sequence[str], Said("names", "pass a list of str")]


@typed
class Curve(AbstractQuantity):
    """Estimates at places along a named axis.

    It has the attributes of its estimate (`value`, `standard_error`, `interval`, iteration,
    indices), and a slice of it is a curve. Where the points come from the same draws, the curve
    keeps their `influence`, and the errors of slopes, crossings and differences include the
    correlations between points; otherwise points are treated as independent.

    `+ - * /` take exact numbers, curves over the same places, and estimates with one entry for
    each number of the curve, which are independent of it unless both are influences.

    Args:
        x: Places, `[point]`.
        values: An `Estimate`, or an `Influence` of shared draws, of shape `[point, *shape]`.
        axis: Name of `x`, e.g. "log n", "beta", "temperature".
        unit: Of `x`, or "".
        influence: Of the values, where these are an estimate.

    Raises:
        DeclarationError: For values whose number of points is not that of the places.
    """

    x: Float[Array, " point"]
    values: Estimate
    axis: str = eqx.field(static=True)
    unit: str = eqx.field(static=True)
    influence: Influence | None

    def __init__(
        self,
        x: ArrayLike,
        values: Values,
        *,
        axis: str,
        unit: str = "",
        influence: Influence | None = None,
    ):
        if isinstance(values, Influence):
            values, influence = values.estimate(), values
        places = jnp.asarray(x, float)
        if places.ndim != 1 or values.shape[:1] != places.shape:
            raise DeclarationError(
                "x",
                got=f"places of shape {places.shape} for values of shape {values.shape}",
                expected="one place for each entry along the first axis of the values",
                mend="pass places [point] and values [point, *shape]",
            )
        if influence is not None and not agree(values, influence):
            raise DeclarationError(
                "influence",
                got=f"one of shape {influence.shape} that has other values",
                expected=f"the influence of the values, of shape {values.shape}",
                mend="pass the influence itself as the values",
            )
        self.x, self.values, self.axis, self.unit = places, values, axis, unit
        self.influence = influence

    @property
    def value(self) -> Float[Array, "point *shape"]:
        return self.values.value

    @property
    def standard_error(self) -> Float[Array, "point *shape"]:
        return self.values.standard_error

    @property
    def ess(self) -> Float[Array, "point *shape"]:
        return self.values.ess

    @property
    def r_hat(self) -> Float[Array, "point *shape"]:
        return self.values.r_hat

    def interval(self, level: Coverage = LEVEL) -> tuple[Array, Array]:
        """Interval of each point, as `Estimate.interval`."""
        return self.values.interval(level)

    def z_score(self, truth: "Curve | Estimate | ArrayLike") -> Float[Array, "point *shape"]:
        """`(value - truth) / standard_error`, as `Estimate.z_score`.

        Args:
            truth: Numbers, an independent estimate, or a curve over the same places; then the
                error is that of the difference, `self - truth`.
        """
        if isinstance(truth, Curve):
            return (self - truth).values.z_score(0.0)
        return self.values.z_score(truth)

    def __getitem__(self, index) -> "Curve | Estimate":
        """Some points: a curve by a slice, a mask or several places, an estimate by one."""
        first = index[0] if isinstance(index, tuple) and index else index
        values = self.values[index]
        if first is None or first is ... or (isinstance(first, Tracer) and not first.ndim):
            return values
        check_known("index", index, "a curve of several places")
        places = np.arange(len(self))[first] if isinstance(first, slice) else np.asarray(first)
        if not places.ndim:
            return values
        influence = None if self.influence is None else self.influence[index]
        x = jnp.asarray(np.asarray(self.x)[places]) if known(self.x) else self.x[places]
        return Curve(x, values, axis=self.axis, unit=self.unit, influence=influence)

    def columns(self, names: Names) -> "dict[str, Curve]":
        """The columns of a curve `[point, column]` by name, as curves of one number.

        Args:
            names: One for each column; `DeclarationError` for another number of them.
        """
        if len(self.shape) != 2 or len(names) != self.shape[1]:
            raise DeclarationError(
                "names",
                got=f"{len(names)} for a curve of shape {self.shape}",
                expected="one name for each column of a curve of shape [point, column]",
                mend="pass as many names; one curve is named by {name: curve}",
            )
        return {name: self._each(lambda v, i=i: v[:, i]) for i, name in enumerate(names)}

    def over(self, x: ArrayLike, axis: str, unit: str = "") -> "Curve":
        """The same values over another axis, e.g. the temperature `1/x`."""
        return Curve(x, self.values, axis=axis, unit=unit, influence=self.influence)

    def map(self, fn: Callable) -> "Curve":
        """A function of the values, one result a point, by the delta method."""
        return Curve(self.x, self._best.map(fn), axis=self.axis, unit=self.unit)

    def scaled(self, factor: ArrayLike) -> "Curve":
        """The curve of `factor * quantity`."""
        return self._each(lambda values: values * factor)

    def shifted(self, offset: ArrayLike) -> "Curve":
        """The curve of `quantity + offset`."""
        return self._each(lambda values: values + offset)

    def minus(self, other: "Curve") -> "Curve":
        """`self - other`: the difference of two curves over the same places.

        Of influences, sources of the same name and number of draws are the same draws.

        Raises:
            DeclarationError: For a curve over another axis, unit or places.
        """
        return self - other

    def _plus(self, other: "Curve", sign: int) -> "Curve":
        return self._combined(other, operator.add if sign > 0 else operator.sub)

    def _product(self, other: "Curve") -> "Curve":
        return self._combined(other, operator.mul)

    def _ratio(self, other: "Curve") -> "Curve":
        return self._combined(other, operator.truediv)

    def _combined(self, other: "Curve", act: Callable) -> "Curve":
        one, two = self.influence, other.influence
        if one is None or two is None:
            return Curve(self.x, act(self.values, other.values), axis=self.axis, unit=self.unit)
        both = act(one, apart(two, one))
        return Curve(self.x, both, axis=self.axis, unit=self.unit)

    def _own(self, other: object) -> "Curve | None":
        if isinstance(other, Curve):
            same = (self.axis, self.unit) == (other.axis, other.unit)
            if not same or self.x.shape != other.x.shape or refuted(np.isclose, self.x, other.x):
                raise DeclarationError(
                    "other",
                    got=f"a curve over {other.axis} ({len(other)} points)",
                    expected=f"a curve over the same places of {self.axis}",
                    mend="take one at the places of the other, curve.at(other.x), or "
                    "curve.over(...)",
                )
            return other
        if not isinstance(other, Estimate | Influence):
            return None
        if isinstance(other, Influence) and self.influence is not None and not other.shape:
            other = other + np.zeros(self.shape)
        if other.shape != self.shape:
            raise DeclarationError(
                "other",
                got=f"an {type(other).__name__} of shape {other.shape}",
                expected=f"one of shape {self.shape}, independent from point to point, or an exact "
                "number",
                mend="an error that all points share needs an Influence on both sides; without it "
                "take points alone: curve.values or curve[i]",
            )
        return Curve(self.x, other, axis=self.axis, unit=self.unit)

    def at(self, places: ArrayLike) -> Estimate:
        """Values between the points, by linear interpolation; `[*places]` (and `*shape`).

        Raises:
            DeclarationError: For places beyond the ends of the curve.
        """
        order, x = self._sorted()
        check_known("places", places, "Curve.at")
        wanted = np.asarray(places, float)
        if not np.all((wanted >= x[0]) & (wanted <= x[-1])):
            raise DeclarationError(
                "places",
                got=repr(places)[:80],
                expected=f"numbers from {x[0]:g} to {x[-1]:g}",
                mend="choose places between the ends of the curve, or add points",
            )
        weights = np.stack([np.interp(wanted, x, unit) for unit in np.eye(len(x))], axis=-1)
        return _estimate(self._times(weights, order))

    def slope(self) -> "Curve":
        """`d value / d x` at each point, by differences of second order (`numpy.gradient`).

        Raises:
            DeclarationError: For fewer than two points.
        """
        order, x = self._sorted()
        if len(x) < 2:
            raise DeclarationError(
                "curve", got="one point", expected="at least two, for a slope", mend="add points"
            )
        operator = np.gradient(np.eye(len(x)), x, axis=0, edge_order=min(2, len(x) - 1))
        return Curve(x, self._times(operator, order), axis=self.axis, unit=self.unit)

    @eager
    def crossings(self, level: float = 0.0) -> Estimate:
        """Every place where the line through the points crosses a level; `[crossing]`.

        By linear interpolation, with errors by the delta method. The bounds are the region around
        a crossing in which the level lies inside the 95% band; infinite where the region reaches an
        end of the curve. Crossings that share a region are not distinguished by the errors. An end
        of the curve that lies on the level is a crossing, if its neighbour does not.

        Raises:
            DeclarationError: For a level that is traced or not finite.
        """
        return self._crossing_at(crossings(*self._with_band(level), float(level)), level)

    @eager
    def crossing(self, level: float = 0.0, *, near: Positive | None = None) -> Estimate:
        """The place where the curve crosses a level.

        Where at least four points lie within six errors of the level, or next to one that does, a
        parabola is fitted to them: the line through two of many noisy points would have an error
        far too small. Else it is that line, as of `crossings`. The interval holds the places at
        which the level lies inside the 95% band, of the fit or of the line. Errors also hold what a
        cubic changes in the fit, or a bend of the curve in the line, beyond the noise.

        The value is NaN ± NaN where the curve does not significantly cross the level.

        Args:
            level: The level.
            near: Fit a cubic, to the points that differ by less from the level: for a curve known
                to be smooth there. Its errors hold what a parabola changes.

        Raises:
            RunError: For several crossings that the errors distinguish; its `result` holds them.
            DeclarationError: For a level that is traced or not finite.
        """
        check_known("near", near, "Curve.crossing")
        x, value, band = self._with_band(level)
        changes = crossings(x, value, band, float(level))
        found, order = resolved(changes), self._sorted()[0]
        error = 0.5 * (band[1] - band[0]) / normal_quantile(LEVEL)
        points = Sampled(
            x,
            value - level,
            error,
            self.values.bounds is not None,
            lambda matrix: _estimate(self._times(matrix, order)),
        )
        one = chosen_crossing(points, changes, found)
        place = None if one is None else fitted_place(points, one, near)
        if place is not None:
            return place
        if len(found) > 1:
            places = self._crossing_at(found, level)
            raise RunError(
                f"The curve crosses {level:g} {len(found)} times, at {self.axis} = "
                f"{', '.join(f'{float(p):.4g}' for p in places)}. Take a part, curve[i:j], or all "
                "of them, curve.crossings(level).",
                places,
            )
        if not found:
            return Estimate.exact(np.nan).unknown(True)
        return line_place(points, changes, found[0], self._crossing_at(found, level)[0])

    def _crossing_at(self, found: list, level: float) -> Estimate:
        order, x = self._sorted()
        y, rows = np.asarray(self.value)[order], np.arange(len(found))
        left = np.array([crossing.left for crossing in found], int)
        step, share = x[left + 1] - x[left], (level - y[left]) / (y[left + 1] - y[left])
        # -1/slope times the value of the line there
        operator = np.zeros((len(found), len(x)))
        operator[rows, left] = (share - 1) * step / (y[left + 1] - y[left])
        operator[rows, left + 1] = -share * step / (y[left + 1] - y[left])
        moved = self._times(operator, order)
        place = _estimate(moved + (x[left] + step * share - np.asarray(moved.value)))
        ends = np.array([(crossing.low, crossing.high) for crossing in found]).reshape(-1, 2).T
        ends = np.sort(ends, axis=0)  # of exact values they differ by rounding alone
        return place.bounded(ends[0], ends[1])

    def _with_band(self, level: float) -> tuple:
        """The sorted points with their 95% intervals, for a level that can be read."""
        check_known("level", level, "Curve.crossing")
        check_finite("level", level, "pass a number that the curve may reach")
        if self.value.ndim != 1:
            raise DeclarationError(
                "curve",
                got=f"values of shape {self.shape}",
                expected="one number at each place",
                mend="take one of them first, curve[:, i]",
            )
        order, x = self._sorted()
        low, high = (np.asarray(bound)[order] for bound in self.interval())
        return x, np.asarray(self.value)[order], (low, high)

    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The points with finite places and values, in rising order, and their places."""
        check_known("curve", (self.x, self._best), "a place between the points, slope or crossing")
        x, value = np.asarray(self.x, float), np.asarray(self.value)
        good = np.isfinite(x) & np.all(np.isfinite(value.reshape(len(x), -1)), axis=1)
        order = np.argsort(x, kind="stable")
        order = order[good[order]]
        if not len(order) or np.any(np.diff(x[order]) == 0):
            raise DeclarationError(
                "curve",
                got="no finite point" if not len(order) else "two points at one place",
                expected="finite values at different places",
                mend="leave the others out, curve[mask]",
            )
        return order, x[order]

    def _times(self, operator: np.ndarray, order: np.ndarray) -> Estimate | Influence:
        """A matrix times the values at some points."""
        return self._best[order].times(operator)

    @property
    def _best(self) -> Estimate | Influence:
        """The influence where there is one, else the estimate."""
        return self.values if self.influence is None else self.influence

    def _each(self, act: Callable) -> "Curve":
        influence = None if self.influence is None else act(self.influence)
        values = act(self.values)
        return Curve(self.x, values, axis=self.axis, unit=self.unit, influence=influence)

    @property
    def _head(self) -> str:
        return f"Curve over {self.axis}" + (f" ({self.unit})" if self.unit else "")

    def __repr__(self) -> str:
        head = self._head
        if isinstance(self.x, Tracer) or not isinstance(self.x, jax.Array):
            return head
        rows = shown(len(self), self.value.size <= MOST)
        lines = ["..." if i is None else f"{float(self.x[i]):.5g}: {self[i]!r}" for i in rows]
        return f"{head}[\n  " + "\n  ".join(lines) + "\n]"

    def _repr_html_(self) -> str:
        """A table of the points, in notebooks."""
        if not known(self) or not isinstance(self.x, jax.Array):
            return f"<code>{self!r}</code>"
        leaves = (self.value, self.standard_error, self.ess, self.r_hat)
        places = [f"{float(x):.5g}" for x in self.x]
        return html_table(self.shape, leaves, self.interval(), self._head, places)


def _estimate(values: Estimate | Influence) -> Estimate:
    return values.estimate() if isinstance(values, Influence) else values
