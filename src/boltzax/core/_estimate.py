"""A number with its error."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from ._arithmetic import AbstractQuantity, alike, held, on_host
from ._autocorrelation import check_counts, check_some, independent, series_means
from ._confidence_intervals import LEVEL, Coverage, added, normal_quantile, student_factor, wilson
from ._delta_method import entrywise, multiplied, propagated
from ._errors import DeclarationError
from ._estimate_text import MOST, html_table, number_words, shown
from ._quantity_checks import check_bounds, check_error, check_level, check_matrix, check_stack
from ._tracing import known, library
from ._typing import typed
from ._z_scores import TRUTH, in_errors, warn_limit


@typed
class Estimate(AbstractQuantity):
    """A Monte Carlo estimate: value, standard error, effective sample size, split r_hat.

    All four have one shape, e.g. `[beta]` for a curve, `[]` for a single number. The standard error
    is that of the mean of an autocorrelated sequence, sd/sqrt(ess). `ess` uses all chains and lags
    (Geyer's initial monotone sequence; Vehtari et al. 2021, Bayesian Analysis 16:667, eq. 4.5), so
    that slow mixing inside a chain and disagreement between chains both reduce it.

    Functions of estimates are estimates: `+ - * /` and `map`, by the delta method. Arguments, and
    the entries of one estimate, are treated as independent; for functions of shared draws (also
    `a * a`) use `Influence`, or `map`. A result has the worst ess and r_hat of its arguments.

    Args:
        value: Of any shape, in the units of the quantity.
        standard_error: Of the value, in the same units.
        ess: Effective number of independent draws.
        r_hat: Split r_hat (Gelman-Rubin), 1 for chains that agree.
        bounds: The 95% interval, where it is not the normal one (few replicates, counts). An
            infinite value with a finite bound is a one-sided limit.
    """

    value: Float[Array, "*shape"]
    standard_error: Float[Array, "*shape"]
    ess: Float[Array, "*shape"]
    r_hat: Float[Array, "*shape"]
    bounds: tuple[Float[Array, "*shape"], Float[Array, "*shape"]] | None = None

    @classmethod
    def of_series(cls, draws: "Array | np.ndarray", *, exact: bool = False) -> "Estimate":
        """Mean over chains and draws, with the error of an autocorrelated mean.

        The standard error, ess and r_hat of a constant sequence are NaN: it contains no information
        about the error of its mean. So is the r_hat of fewer than 4 draws. A non-finite draw makes
        the whole estimate non-finite: no chain is ever dropped. Runs on the host (NumPy), not under
        `jit`.

        Args:
            draws: Numbers with axes `[*batch, chain, draw]`, chain and draw last.
            exact: Treat a constant sequence as a number that is known exactly (such as a free
                energy at beta = 0): standard error 0, ess = chains x draws, r_hat 1.

        Returns:
            An estimate of shape `[*batch]`.

        Raises:
            DeclarationError: For complex numbers, fewer than two axes, and no draws.
        """
        check_some("draws", np.shape(draws)[-2:], 2, "chains and draws, along the last two axes")
        rows = series_means(draws, exact)
        return estimate_of_parts(*(rows[..., i].astype(jnp.result_type(float)) for i in range(4)))

    @classmethod
    def of_samples(cls, values: "Array | np.ndarray", *, exact: bool = False) -> "Estimate":
        """Mean of independent samples, with the error `sd/sqrt(n)`.

        The error of one sample is NaN, and so is that of a constant, such as an event that was not
        seen: it contains no information about the error. Counts have intervals, see `of_hits`.

        Args:
            values: Numbers with axes `[sample, *shape]`.
            exact: Treat a constant as a number that is known exactly: standard error 0.

        Returns:
            An estimate of shape `[*shape]` with ess n and r_hat 1.

        Raises:
            DeclarationError: For complex numbers, and for no sample.
        """
        mean, error, count = independent(values, "samples", exact)
        return estimate_of_parts(mean, error, count)

    @classmethod
    def of_replicates(cls, values: "Array | np.ndarray", *, exact: bool = False) -> "Estimate":
        """Mean of the results of independent replicates, with the error `sd/sqrt(R)`.

        The 95% interval is that of Student's t with `R - 1` degrees of freedom, since the spread of
        few replicates is itself uncertain. One replicate has no error (NaN), and so have replicates
        that all agree.

        Args:
            values: Numbers with axes `[replicate, *shape]`.
            exact: Treat a constant as a number that is known exactly: standard error 0.

        Returns:
            An estimate of shape `[*shape]` with ess R and r_hat 1.

        Raises:
            DeclarationError: For complex numbers, and for no replicate.
        """
        mean, error, count = independent(values, "replicates", exact)
        half = student_factor(count) * error
        return estimate_of_parts(mean, error, count, bounds=(mean - half, mean + half))

    @classmethod
    def of_hits(cls, hits: ArrayLike, samples: ArrayLike, *, log: bool = False) -> "Estimate":
        """A probability by counts, `p = hits/samples`, or its logarithm.

        The standard error is `sqrt(p (1 - p) / n)`, or `sqrt((1 - p) / (n p))` of the logarithm.
        `bounds` are Wilson's (1927), which cover by 95% on average over probabilities, and by 84%
        at worst (expected hits or misses near 0.2). They also hold without a hit, where the
        logarithm is -inf ± inf with an upper bound, and without a miss.

        Args:
            hits: Number of hits among the independent samples, `[*shape]`.
            samples: Number of samples.
            log: Estimate `log p`, in nats.

        Returns:
            An estimate of shape `[*shape]` with ess = samples and r_hat 1.

        Raises:
            DeclarationError: For numbers that are not whole, negative hits, or more hits than
                samples.
        """
        check_counts(hits, samples)
        xp = library(hits, samples)
        n = xp.asarray(samples, jnp.result_type(float))
        p, miss = xp.asarray(hits) / n, (n - xp.asarray(hits)) / n
        low, high = wilson(hits, n)
        if not log:
            return estimate_of_parts(p, xp.sqrt(p * miss / n), n, bounds=(low, high))
        with np.errstate(divide="ignore"):
            error = xp.sqrt(miss / (n * p))
            return estimate_of_parts(xp.log(p), error, n, bounds=(xp.log(low), xp.log(high)))

    @classmethod
    def exact(cls, value: ArrayLike) -> "Estimate":
        """A number that is known exactly: standard error 0, ess inf, r_hat 1."""
        return estimate_of_parts(value, 0.0, np.inf)

    @classmethod
    def stack(cls, estimates: "Sequence[Estimate]") -> "Estimate":
        """Estimates of one shape along a new first axis; `DeclarationError` for none or others."""
        rows = list(estimates)
        check_stack("estimates", rows)
        if any(row.bounds is not None for row in rows):
            rows = [dataclasses.replace(row, bounds=row.interval()) for row in rows]
        xp = library(rows)
        return jax.tree.map(lambda *leaves: jnp.asarray(xp.stack(leaves)), *rows)

    def __getitem__(self, index) -> "Estimate":
        """The estimate of some entries; raises `IndexError` out of bounds (JAX would clamp)."""
        there = on_host(index)
        np.empty(self.shape, bool)[there]
        if known(self, index):  # no program to compile for each index
            return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[there]), self)
        return jax.tree.map(lambda leaf: leaf[index], self)

    def __float__(self) -> float:
        if self.shape:
            raise TypeError(f"an Estimate of shape {self.shape} is not one number")
        return float(self.value)

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        """Refused: an array would drop the errors."""
        raise DeclarationError(
            "estimate",
            got="an Estimate where an array is expected",
            expected="numbers without errors",
            mend="pass estimate.value, or estimate.standard_error",
        )

    @property
    def lower(self) -> Float[Array, "*shape"]:
        """Lower end of the 95% interval."""
        return self.interval()[0]

    @property
    def upper(self) -> Float[Array, "*shape"]:
        """Upper end of the 95% interval."""
        return self.interval()[1]

    def map(self, fn: Callable, *others: "Estimate") -> "Estimate":
        """`fn(quantity)` by the delta method: `error² = Σ_j (∂fn/∂x_j)² error_j²`.

        If `fn` acts on each entry separately, its bounds are `fn` of the bounds, widened to hold
        the value (it is assumed to be monotone between them); otherwise they are propagated to
        first order. For entries that share draws (a curve of one run), use an `Influence`.

        Args:
            fn: A differentiable function of arrays, written with `jax.numpy`.
            *others: Further arguments of `fn`, independent of this estimate and of each other.

        Returns:
            An estimate of the shape of the result of `fn`, with the worst ess and r_hat.

        Raises:
            DeclarationError: For a function that does not return one array of real numbers.
        """
        estimates = (self, *others)
        bounded = any(estimate.bounds is not None for estimate in estimates)
        leaves = [(*_leaves(estimate), estimate.interval()) for estimate in estimates]
        return estimate_of_parts(*propagated(fn, leaves, bounded))

    def times(self, matrix: ArrayLike) -> "Estimate":
        """An exact matrix `[out, entry]` times an estimate `[entry, *shape]`."""
        check_matrix(matrix, self.shape)
        return estimate_of_parts(*multiplied(held(matrix), _leaves(self), self.bounds))

    def _plus(self, other: "Estimate", sign: int) -> "Estimate":
        xp = library(self, other)
        (a, a_error, a_ess, a_r_hat), (b, b_error, b_ess, b_r_hat) = _leaves(self), _leaves(other)
        bounds = None
        with np.errstate(invalid="ignore"):
            if self.bounds is not None or other.bounds is not None:
                ends = tuple(tuple(map(xp.asarray, e.interval())) for e in (self, other))
                bounds = added((a, b), ends, (1, sign))
            value, error = a + sign * b, xp.hypot(a_error, b_error)
        ess, r_hat = xp.minimum(a_ess, b_ess), xp.maximum(a_r_hat, b_r_hat)
        return estimate_of_parts(value, error, ess, r_hat, bounds)

    def _product(self, other: "Estimate") -> "Estimate":
        return self._entrywise(other, lambda a, b: (a * b, b, a))

    def _ratio(self, other: "Estimate") -> "Estimate":
        return self._entrywise(other, lambda a, b: (a / b, 1 / b, -(a / b) / b))

    def _entrywise(self, other: "Estimate", fn: Callable) -> "Estimate":
        """`fn` gives a value and its slopes by both."""
        bounded = self.bounds is not None or other.bounds is not None
        pair = [(*_leaves(each), each.interval()) for each in (self, other)]
        with np.errstate(divide="ignore", invalid="ignore"):
            value, *slopes = fn(pair[0][0], pair[1][0])
        parts = list(zip(slopes, pair, strict=True))
        return estimate_of_parts(*entrywise(value, parts, bounded))

    def _own(self, other: object) -> "Estimate | None":
        return other if isinstance(other, Estimate) else None

    def scaled(self, factor: ArrayLike) -> "Estimate":
        """The estimate of `factor * quantity`, for a factor known exactly."""
        xp, (value, error, ess, r_hat), bounds = _host(self, factor)
        factor = alike(factor, value)
        if bounds is not None:
            ends = (factor * bounds[0], factor * bounds[1])
            bounds = (xp.minimum(*ends), xp.maximum(*ends))
        return estimate_of_parts(value * factor, error * abs(factor), ess, r_hat, bounds)

    def shifted(self, offset: ArrayLike) -> "Estimate":
        """The estimate of `quantity + offset`, for an offset known exactly."""
        _, (value, error, ess, r_hat), bounds = _host(self, offset)
        offset = alike(offset, value)
        return estimate_of_parts(
            value + offset, error, ess, r_hat, bounds and tuple(b + offset for b in bounds)
        )

    def widened(self, error: ArrayLike) -> "Estimate":
        """The same value with another, independent error added in squares."""
        check_error(error, self.shape)
        error = held(error)
        zero = library(error).zeros_like(error)
        return self._plus(estimate_of_parts(zero, error, np.inf), 1)

    def bounded(self, lower: ArrayLike, upper: ArrayLike) -> "Estimate":
        """The same value with the given 95% interval, `lower <= upper`."""
        check_bounds(lower, upper, self.shape)
        return estimate_of_parts(*_leaves(self), (lower, upper))

    def unknown(self, where: ArrayLike) -> "Estimate":
        """The same values, with the error set to NaN where a mask `[*shape]` is true."""
        xp, (value, *rest), bounds = _host(self, where)
        # on the host where possible: under jax_debug_nans a NaN would raise
        blank = [xp.where(where, np.nan, leaf) for leaf in rest]
        bounds = bounds and tuple(xp.where(where, np.nan, end) for end in bounds)
        return estimate_of_parts(value, *blank, bounds)

    def z_score(self, truth: "Annotated[Estimate | ArrayLike, TRUTH]") -> Float[Array, "*shape"]:
        """`(value - truth) / standard_error`: of order one if the error bar is right.

        An error of 0 with an interval (a count without a hit) is replaced by the interval's. An
        infinite value (the logarithm of such a count) is a limit: it has no error, its z-score is
        NaN, and a `RuntimeWarning` says whether its interval holds the truth.

        Args:
            truth: A number, or an independent estimate; then the error is that of the difference.
        """
        own = isinstance(truth, Estimate)
        warn_limit(self.value, self.interval(), truth.value if own else truth)
        _, (value, error, *_), bounds = _host(self - (truth if own else held(truth)))
        return jnp.asarray(in_errors(value, error, bounds))

    def interval(self, level: Coverage = LEVEL) -> tuple[Array, Array]:
        """Central interval (lower, upper) that covers the truth with probability `level`.

        Args:
            level: A probability between 0 and 1, both excluded.

        Returns:
            The stored `bounds` (of level 0.95), or the normal interval where there are none.

        Raises:
            DeclarationError: For another level than 0.95 where bounds are stored.
        """
        factor = normal_quantile(level)
        if self.bounds is None:
            value, error, *_ = _leaves(self)
            return jnp.asarray(value - factor * error), jnp.asarray(value + factor * error)
        check_level(level)
        return self.bounds

    def __repr__(self) -> str:
        if isinstance(self.value, Tracer) or not isinstance(self.value, jax.Array):
            return f"Estimate(shape={getattr(self.value, 'shape', None)})"
        if self.value.ndim == 0:
            bounds = None if self.bounds is None else tuple(map(float, self.bounds))
            return number_words(*map(float, _leaves(self)), bounds)
        if self.value.size <= MOST:
            return "Estimate[\n  " + ",\n  ".join(map(repr, self)) + "\n]"
        places = shown(self.value.size, False)
        lines = ["..." if i is None else self._line(i) for i in places]
        return f"Estimate of shape {self.shape}[\n  " + "\n  ".join(lines) + "\n]"

    def _line(self, place: int) -> str:
        index = tuple(map(int, np.unravel_index(place, self.shape)))
        return f"{', '.join(map(str, index))}: {self[index]!r}"

    def __format__(self, spec: str) -> str:
        if not spec or not eqx.is_array(self.value) or isinstance(self.value, Tracer):
            return repr(self)
        pairs = zip(np.ravel(self.value), np.ravel(self.standard_error), strict=True)
        texts = [f"{value:{spec}} ± {error:{spec}}" for value, error in pairs]
        return f"[{', '.join(texts)}]" if self.shape else texts[0]

    def _repr_html_(self) -> str:
        """A table of the entries, in notebooks."""
        if self.value.ndim == 0 or isinstance(self.value, Tracer):
            return f"<code>{self!r}</code>"
        return html_table(self.shape, _leaves(self), self.interval())


def estimate_of_parts(
    value: ArrayLike,
    error: ArrayLike,
    ess: ArrayLike,
    r_hat: ArrayLike = 1.0,
    bounds: tuple[ArrayLike, ArrayLike] | None = None,
) -> Estimate:
    """A value whose error is known from elsewhere: a bootstrap, streamed moments, slopes by draw.

    Where draws, replicates or counts are at hand, use the constructors of `Estimate`.

    Args:
        value: Of any shape; the others are broadcast to it and take its kind.
        error: Standard error.
        ess: Effective number of independent draws.
        r_hat: 1 for independent ones.
        bounds: The 95% interval, where it is not the normal one.
    """
    xp, kind = library(value, error, ess, r_hat, bounds), jnp.result_type(held(value))
    kind = kind if jnp.issubdtype(kind, jnp.floating) else jnp.result_type(float)

    def leaf(number):
        return jnp.asarray(xp.broadcast_to(xp.asarray(number), np.shape(value)), kind)

    ends = None if bounds is None else (leaf(bounds[0]), leaf(bounds[1]))
    return Estimate(*map(leaf, (value, error, ess, r_hat)), ends)


def _leaves(estimate: Estimate) -> tuple:
    """Value, error, ess and r_hat: of NumPy, if they are known."""
    leaves = (estimate.value, estimate.standard_error, estimate.ess, estimate.r_hat)
    return tuple(map(library(leaves).asarray, leaves))


def _host(estimate: Estimate, *others) -> tuple:
    """The library to compute in, the leaves and the bounds in it."""
    xp, bounds = library(estimate, *others), estimate.bounds
    return xp, _leaves(estimate), None if bounds is None else tuple(map(xp.asarray, bounds))
