"""Estimates that store the contribution of each draw, so that shared draws stay correlated."""

from collections.abc import Callable, Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._arithmetic import AbstractQuantity, held
from ._autocorrelation import check_some
from ._delta_method import FUNCTION, check_array, total_length
from ._errors import DeclarationError, errors_named
from ._estimate import Estimate, estimate_of_parts
from ._quantity_checks import check_matrix, check_stack
from ._tracing import check_known, known, library
from ._typing import typed
from ._z_scores import TRUTH

Rows = dict[str, Float[Array, "*shape _chain _draw"]]


@typed
class Influence(AbstractQuantity):
    """A function of means over draws, with the contribution of each draw to first order.

    `value + rows[source][..., chain, draw]` is a series whose mean is the value and whose spread
    gives its error (the influence function; the infinitesimal jackknife: Efron 1982, The Jackknife,
    the Bootstrap and Other Resampling Plans, ch. 6). Sums, products, ratios and `map` act on the
    values and, through their derivatives, on the rows. Numbers from the same draws therefore keep
    their correlations::

        u, v = Influence.of(exp(-x)), Influence.of(exp(-x) * energy)
        (v / u).estimate()              # a ratio of two means of one run
        (u / v - u).estimate()          # and its difference from one of them

    Results of different draws have different sources, which are independent.

    Args:
        value: The function of the means, `[*shape]`.
        rows: The contribution of each draw by source, `[*shape, chain, draw]`, with mean zero.
            Independent samples lie along the chain axis, one draw each.
    """

    value: Float[Array, "*shape"]
    rows: Rows

    @classmethod
    def of(cls, draws: "Array | np.ndarray", *, source: str = "draws") -> "Influence":
        """The mean over chains and draws of numbers `[*shape, chain, draw]`.

        Args:
            draws: Numbers with axes `[*shape, chain, draw]`.
            source: The name of the draws; equal names mean the same draws.

        Raises:
            DeclarationError: For complex numbers, fewer than two axes, and no draws.
        """
        xp = library(draws)
        series = xp.asarray(draws, jnp.result_type(float) if xp is jnp else np.float64)
        check_some("draws", series.shape[-2:], 2, "chains and draws, along the last two axes")
        value = xp.mean(series, axis=(-2, -1))
        return cls(value, {source: series - value[..., None, None]})

    @classmethod
    def of_samples(cls, values: "Array | np.ndarray", *, source: str = "draws") -> "Influence":
        """The mean over independent samples of numbers `[sample, *shape]`; see `of`."""
        moved = library(values).asarray(values)
        check_some("values", moved.shape[:1], 1, "samples, along the first axis")
        return cls.of(library(values).moveaxis(moved, 0, -1)[..., None], source=source)

    @classmethod
    def stack(cls, several: "Sequence[Influence]") -> "Influence":
        """Influences of one shape along a new first axis."""
        check_stack("several", several)
        xp = library(several)
        sources = _sources(several)
        rows = {
            name: xp.stack([_rows(part, name, sources) for part in several]) for name in sources
        }
        return cls(xp.stack([xp.asarray(part.value) for part in several]), rows)

    def __getitem__(self, index) -> "Influence":
        """The influence of some entries, by a known index."""
        check_known("index", index, "an index of an Influence")
        places = np.arange(self.value.size).reshape(self.shape)[index]
        rows = {n: r.reshape(-1, *r.shape[-2:])[places] for n, r in self.rows.items()}
        used = {n: r for n, r in rows.items() if not (_zero(r) and not _zero(self.rows[n]))}
        return Influence(self.value.reshape(-1)[places], used or rows)

    def estimate(self, *, exact: bool = False) -> Estimate:
        """The value with the error of an autocorrelated mean; errors of sources add in squares.

        Runs on the host, not under `jit`. `exact` is as in `Estimate.of_series`. A source on which
        some entries depend adds nothing to those on which others act alone.
        """
        check_known("influence", self, "Influence.estimate")
        each = [np.asarray(r) for r in self.rows.values()]
        act = [np.any(r != 0, axis=(-2, -1)) for r in each]
        parts = []
        for rows, acts in zip(each, act, strict=True):
            unused = ~acts & np.any(acts) & np.any(act, axis=0)
            errors, ess, r_hat = _error(np.asarray(self.value), rows, exact)
            neutral = np.where(unused, 0.0, errors), np.where(unused, np.inf, ess)
            parts.append((*neutral, np.where(unused, -np.inf, r_hat)))
        if not parts:
            return Estimate.exact(self.value)
        errors, ess, r_hat = (np.stack(column) for column in zip(*parts, strict=True))
        error = total_length(list(errors))
        return estimate_of_parts(self.value, error, np.min(ess, axis=0), np.max(r_hat, axis=0))

    def map(self, fn: Callable, *others: "Influence") -> "Influence":
        """`fn` of this quantity and of others; its derivative acts on the rows.

        Args:
            fn: A differentiable function of arrays, written with `jax.numpy`.
            *others: Its other arguments, of the same or of other draws.

        Raises:
            DeclarationError: For a function that does not return one array of real numbers, and for
                rows of one source with different numbers of draws.
        """
        given = (self, *others)
        with errors_named("fn", **FUNCTION):
            value, push = jax.linearize(fn, *(jnp.asarray(quantity.value) for quantity in given))
        check_array(value)
        sources = _sources(given)
        xp, rows = library(value), {}
        for name, draws in sources.items():
            moves = [jnp.asarray(_rows(q, name, sources), q.value.dtype) for q in given]
            flat = [move.reshape(*move.shape[:-2], -1) for move in moves]
            pushed = jax.vmap(push, in_axes=-1, out_axes=-1)(*flat)
            rows[name] = xp.asarray(pushed).reshape(*value.shape, *draws)
        return Influence(xp.asarray(value), rows)

    def times(self, matrix: ArrayLike) -> "Influence":
        """An exact matrix `[out, entry]` times an influence `[entry, *shape]`."""
        check_matrix(matrix, self.shape)
        host, xp = held(matrix), library(matrix, self)
        rows = {name: xp.tensordot(host, each, axes=1) for name, each in self.rows.items()}
        return Influence(xp.tensordot(host, xp.asarray(self.value), axes=1), rows)

    def scaled(self, factor: ArrayLike) -> "Influence":
        """The influence of `factor * quantity`, for a factor known exactly."""
        return _linear(self.value * held(factor), (self, held(factor)))

    def shifted(self, offset: ArrayLike) -> "Influence":
        """The influence of `quantity + offset`, for an offset known exactly."""
        return _linear(self.value + held(offset), (self, 1.0))

    def _plus(self, other: "Influence", sign: int) -> "Influence":
        return _linear(self.value + sign * other.value, (self, 1.0), (other, float(sign)))

    def _product(self, other: "Influence") -> "Influence":
        return _linear(self.value * other.value, (self, other.value), (other, self.value))

    def _ratio(self, other: "Influence") -> "Influence":
        ratio = self.value / other.value
        return _linear(ratio, (self, 1 / other.value), (other, -ratio / other.value))

    def _own(self, other: object) -> "Influence | None":
        if isinstance(other, Estimate):
            raise DeclarationError(
                "other",
                got="an Estimate together with an Influence",
                expected="two of one kind: an Estimate does not know its draws",
                mend="if they are independent, take the estimate of both, influence.estimate(); "
                "else make an Influence of the draws of the other, Influence.of(draws)",
            )
        return other if isinstance(other, Influence) else None

    def z_score(
        self, truth: "Annotated[Influence | Estimate | ArrayLike, TRUTH]"
    ) -> Float[Array, "*shape"]:
        """`(value - truth) / standard_error`, as `Estimate.z_score`.

        Args:
            truth: A number, an independent estimate, or an influence of the same or other draws.
        """
        if isinstance(truth, Influence):
            return (self - truth).estimate().z_score(0.0)
        return self.estimate().z_score(truth)

    def __repr__(self) -> str:
        counts = [f"{n!r} {r.shape[-2:]}" for n, r in self.rows.items()]
        return f"Influence(shape={self.shape}, draws {', '.join(counts)})"


def apart(influence: Influence, other: Influence) -> Influence:
    """An influence with new names for sources that have another number of draws in `other`."""
    counts = {name: rows.shape[-2:] for name, rows in other.rows.items()}
    rows = {
        name if counts.get(name, draws.shape[-2:]) == draws.shape[-2:] else f"other {name}": draws
        for name, draws in influence.rows.items()
    }
    return Influence(influence.value, rows)


def _error(value: np.ndarray, rows: np.ndarray, exact: bool) -> tuple:
    """Error, ess and r_hat of one source."""
    if rows.shape[-1] > 1:
        estimate = Estimate.of_series(value[..., None, None] + rows, exact=exact)
    else:
        samples = np.moveaxis(value[..., None] + rows[..., 0], -1, 0)
        estimate = Estimate.of_samples(samples, exact=exact)
    return tuple(map(np.asarray, (estimate.standard_error, estimate.ess, estimate.r_hat)))


def _zero(rows: Array) -> bool:
    return known(rows) and not np.any(np.asarray(rows))


def _linear(value: Array, *terms: "tuple[Influence, ArrayLike]") -> Influence:
    """A value whose rows are the sum over influences of slope times rows."""
    given, slopes = zip(*terms, strict=True)
    sources = _sources(given)
    rows = {}
    for name, draws in sources.items():
        parts = [
            held(slope)[..., None, None] * quantity.rows[name]
            for quantity, slope in zip(given, slopes, strict=True)
            if name in quantity.rows
        ]
        total = sum(parts[1:], parts[0])
        rows[name] = library(total).broadcast_to(total, (*np.shape(value), *draws))
    return Influence(value, rows)


def _sources(several: "Sequence[Influence]") -> dict[str, tuple[int, int]]:
    """Chains and draws by source."""
    sources: dict[str, tuple[int, int]] = {}
    for influence in several:
        for name, rows in influence.rows.items():
            shape = sources.setdefault(name, rows.shape[-2:])
            if shape != rows.shape[-2:]:
                raise DeclarationError(
                    "source",
                    got=f"{name!r} with (chains, draws) {shape} and {rows.shape[-2:]}",
                    expected="the same draws wherever the name of the source is the same",
                    mend='name them apart, e.g. Influence.of(draws, source="second run")',
                )
    return sources


def _rows(influence: Influence, name: str, sources: dict[str, tuple[int, int]]) -> Array:
    if name in influence.rows:
        return influence.rows[name]
    shape = (*influence.shape, *sources[name])
    return library(influence).zeros(shape, influence.value.dtype)


def agree(values: Estimate, influence: Influence) -> bool:
    """Whether an influence has the values of an estimate, to rounding; traced ones are taken.

    Below the least normal number all are alike: XLA may take them for 0.
    """
    if values.shape != influence.shape:
        return False
    if not known(values.value, influence.value):
        return True
    kinds = [jnp.finfo(x.dtype) for x in (values.value, influence.value)]
    coarse, least = (
        max(map(float, each)) for each in zip(*((k.eps, k.tiny) for k in kinds), strict=True)
    )
    pair = (np.asarray(each.value, float) for each in (values, influence))
    return bool(np.allclose(*pair, rtol=64 * coarse, atol=least, equal_nan=True))
