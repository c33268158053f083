"""Statistical mechanics per datum: how much of the prior gets a part of the data right."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, PyTree

from ..compile import Gibbs, compile
from ..core import DeclarationError, Estimate, Model, Status, typed
from ..declare import (
    AbstractChart,
    Component,
    Contract,
    Distribution,
    Empirical,
    Independent,
    Interface,
    PerDatum,
)
from ..observe import LogProbability
from ._splitting import Level, Splitting, from_splitting, split

Subsets = Mapping[Hashable, Any] | Sequence[Any]
"""Parts of the data: index lists or boolean masks, by name or in a list."""


class Worst(eqx.Module):
    """Minus the largest error on some data: `-max_{i∈s} |f(x_i) - y_i|`, over all outputs too."""

    x: Float[Array, "datum ..."]
    y: Float[Array, "datum ..."]
    rows: Int[Array, " row"]

    def __call__(self, model: PyTree) -> Float[Array, ""]:
        found = jax.vmap(model)(self.x[self.rows])
        return -jnp.max(jnp.abs(found - self.y[self.rows].reshape(found.shape)))


class SubsetEntropy(eqx.Module):
    """What `subset_entropy` returns: `H_s(ε) = log P[max_{i∈s} |f(x_i) - y_i| <= ε]`, in nats.

    - `names`: of the subsets. `tolerances` `[tolerance]`: ε, in units of the output, falling.
    - `probability` `[subset, replicate, tolerance]`: of each independent run of splitting.
    - `last`: for each subset the entropy at the smallest tolerance, as `entropy` would give it:
      with an interval, the error that independent particles would have, the number of evaluations,
      and what speaks against it (`outcome`).
    """

    names: tuple[Hashable, ...] = eqx.field(static=True)
    tolerances: Float[Array, " tolerance"]
    probability: Float[Array, "subset replicate tolerance"]
    last: tuple[LogProbability, ...]

    @property
    def successful(self) -> bool:
        """Whether nothing speaks against any of the curves."""
        return all(each.successful for each in self.last)

    @property
    def entropy(self) -> Estimate:
        """`H_s(ε)` `[subset, tolerance]`, in nats: the log of the mean of the replicates."""
        return _jackknife(_log, self.probability, self.tolerances)

    @property
    def dimension(self) -> Estimate:
        """`2λ_s(ε) = dH_s/d log ε` `[subset, tolerance]`: twice the learning coefficient of the
        loss on the subset, at this tolerance; the number of directions that it constrains where
        that is one. Differences of second order on the grid, of the same runs.
        """
        if self.tolerances.shape[0] < 2:
            raise DeclarationError(
                "tolerances",
                got="one tolerance",
                expected="at least two, for a slope",
                mend="pass e.g. jnp.logspace(0, -3, 13)",
            )
        return _jackknife(_dimension, self.probability, self.tolerances)

    @typed
    def slope(self, high: int = 0, low: int = -1) -> Estimate:
        """`(H(ε_high) - H(ε_low)) / log(ε_high/ε_low)` `[subset]`: `2λ_s` between two tolerances,
        given by their places on the grid."""
        ends = jnp.array([high, low])
        return _jackknife(_chord, self.probability[:, :, ends], self.tolerances[ends])

    @typed
    def interaction(self, whole: Hashable, parts: Sequence[Hashable]) -> Estimate:
        """`H_whole(ε) - Σ H_part(ε)` `[tolerance]`, in nats, for disjoint parts of the whole.

        The log of how much more likely the parts are right together than if they were independent:
        0 where no weight is shared, positive where getting one right helps the others, negative
        where they compete. The runs of the subsets are independent.
        """
        rows = [self._row(name) for name in (whole, *parts)]
        h = self.entropy
        signs = jnp.array([1.0] + [-1.0] * len(parts))[:, None]
        rows = jnp.asarray(rows)
        value = jnp.sum(signs * h.value[rows], axis=0)
        error = jnp.sqrt(jnp.sum(h.standard_error[rows] ** 2, axis=0))
        return Estimate(value, error, jnp.min(h.ess[rows], 0), jnp.ones_like(value))

    def _row(self, name: Hashable) -> int:
        if name not in self.names:
            raise DeclarationError(
                "name",
                got=repr(name),
                expected=f"one of {list(self.names)}",
                mend="name a subset of this result",
            )
        return self.names.index(name)

    def __repr__(self) -> str:
        if not eqx.is_array(self.probability) or isinstance(self.probability, Tracer):
            return f"SubsetEntropy(names={self.names})"
        h = self.entropy
        local = self.dimension if self.tolerances.shape[0] > 1 else None
        last = float(self.tolerances[-1])
        lines = [f"SubsetEntropy down to tolerance {last:.3g}, {self.probability.shape[1]} runs"]
        for i, name in enumerate(self.names):
            text = (
                f"{name!r}: H = {float(h.value[i, -1]):.3f} ± {float(h.standard_error[i, -1]):.3f}"
            )
            if local is not None:
                value, error = float(local.value[i, -1]), float(local.standard_error[i, -1])
                text += f", 2λ = {value:.2f} ± {error:.2f}"
            outcome = self.last[i].outcome
            lines.append(text + ("" if self.last[i].successful else f" ({Status[outcome]})"))
        return "\n  ".join(lines)


@typed
def subset_entropy(
    model: Model,
    prior: Independent | Distribution,
    x: ArrayLike,
    y: ArrayLike,
    subsets: Subsets,
    tolerances: ArrayLike,
    *,
    key: PRNGKeyArray,
    chart: AbstractChart | None = None,
    particles: int = 512,
    moves: int = 20,
    replicates: int = 16,
    max_levels: int = 200,
) -> SubsetEntropy:
    """`H_s(ε) = log P_prior[max_{i∈s} |f(x_i) - y_i| <= ε]` for each subset `s` of the data.

    The logarithm of the share of the prior that gets all of `s` right to within ε: how much is left
    free when only these data have to be right. `dH_s/d log ε = 2λ_s`, the learning coefficient of
    the loss restricted to the subset; `s ⊆ t` implies `H_t <= H_s`.

    Errors are of the spread of the `replicates` (a jackknife): a Student t with `replicates - 1`
    degrees of freedom. They see what runs differ in, not what all of them miss.

    Sources: data as constraints, each on a part of the weights: comments to Wentworth & Lorell,
    "Toward Statistical Mechanics of Interfaces Under Selection Pressure" (2023); volume scaling
    `V(ε) ~ ε^(2λ)` of errors: Watanabe 2009, ch. 7.

    Args:
        x: Inputs `[datum, ...]`, as `model` takes them one by one.
        y: Outputs `[datum]` or `[datum, out]`, as `model` gives them one by one. The error is the
            largest over the outputs of a datum.
        subsets: Index lists or boolean masks `[datum]`, in a list or by name.
        tolerances: ε, in units of the output; any order.
        chart: Which weights are free; the others stay as the model has them.
        particles: Of the multilevel splitting, one run a subset (and a compilation for all): a run
            that comes down to the smallest tolerance has passed all others.
        moves: Random-walk moves of every particle at a level.
        replicates: Independent runs of the splitting.
        max_levels: Most levels of a run. Each level halves the probability, so that 200 is 138
            nats.

    Raises:
        DeclarationError: Data, subsets or tolerances that do not fit.
    """
    x, y = _checked(model, x, y)
    gibbs = prior_of(model, prior, x, chart)
    named = rows_of(subsets, x.shape[0])
    falling = _falling(tolerances, y.dtype)
    sizes = {"particles": (particles, 8), "moves": (moves, 1), "replicates": (replicates, 4)}
    for name, (value, least) in (sizes | {"max_levels": (max_levels, 2)}).items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise DeclarationError(
                name, got=repr(value), expected=f"at least {least}", mend=f"leave {name} out"
            )
    longest = max(len(rows) for rows in named.values())
    found = []
    for k, rows in zip(jax.random.split(key, len(named)), named.values(), strict=True):
        # repeating a datum changes no maximum, and keeps one shape for all subsets
        level = Level(gibbs, Worst(x, y, jnp.asarray(np.resize(rows, longest))))
        run = split(
            level,
            -falling[-1],
            k,
            particles=particles,
            moves=moves,
            replicates=replicates,
            max_levels=max_levels,
        )
        found.append((_curve(run, falling), from_splitting(run, -falling[-1])))
    curves, last = zip(*found)
    return SubsetEntropy(tuple(named), falling, jnp.stack(curves), last)


@typed
def memories(
    model: Model,
    prior: Independent | Distribution,
    x: ArrayLike,
    y: ArrayLike,
    tolerance: float,
    *,
    reach: float = 0.0,
) -> Contract:
    """Data as a contract: datum `i` is a logical value, `x_i` is assumed and `y_i ± ε` promised.

    With the boxes `{x_i}` and `[y_i - ε, y_i + ε]` its margin is `ε - max_i |f(x_i) - y_i|`: so
    `H_s(ε)` is the entropy of this contract on the data of `s`. With `reach` the assumed boxes are
    `x_i ± reach`: the fact is to be recalled from near its key also. `x` is `[datum, dim]`.
    """
    x, y = _checked(model, x, y)
    if x.ndim != 2:
        raise DeclarationError(
            "x", got=f"shape {x.shape}", expected="[datum, dim]", mend="flatten each input"
        )
    for name, value in (("tolerance", tolerance), ("reach", reach)):
        if not 0 <= float(value) < np.inf:
            raise DeclarationError(
                name, got=repr(value), expected="a number, not negative", mend=f"pass {name}=0.1"
            )
    values = tuple(range(x.shape[0]))
    y = y.reshape(x.shape[0], -1)
    before = Interface(values, (x - reach)[:, None], (x + reach)[:, None])
    after = Interface(values, (y - tolerance)[:, None], (y + tolerance)[:, None])
    return Contract(Component(model, prior), before, after, points=2 if reach == 0 else 33)


def prior_of(
    model: PyTree,
    prior: Independent | Distribution,
    x: Float[Array, "datum ..."],
    chart: AbstractChart | None,
) -> Gibbs:
    """The prior over the free weights of a model of these data: a Gibbs measure, no energy."""
    return compile(PerDatum(model, Empirical(x), _nothing), prior, chart=chart, marginalise=False)


def _nothing(model: PyTree, datum: PyTree) -> Float[Array, ""]:
    return jnp.zeros(())


def rows_of(subsets: Subsets, count: int) -> dict[Hashable, np.ndarray]:
    """The indices of each subset, by name (its place, if it has none)."""
    if isinstance(subsets, Mapping):
        items = dict(subsets)
    elif isinstance(subsets, Sequence) and not isinstance(subsets, str):
        items = dict(enumerate(subsets))
    else:
        items = {}
    if not items:
        raise DeclarationError(
            "subsets",
            got=f"{subsets!r:.80}",
            expected="a list or dictionary of index lists or boolean masks, at least one",
            mend="pass e.g. {'first': [0, 1], 'rest': x[:, 0] > 0}",
        )
    return {name: subset_rows(f"subsets[{name!r}]", s, count) for name, s in items.items()}


def subset_rows(argument: str, subset: Any, count: int) -> np.ndarray:
    """The indices of a subset, ascending, each once."""
    try:
        array = np.asarray(subset)
        good = array.ndim == 1 and array.size > 0
        good = good and (array.dtype == bool or np.issubdtype(array.dtype, np.integer))
        if good and array.dtype == bool:
            good = array.shape == (count,) and bool(array.any())
        elif good:
            good = array.min() >= 0 and array.max() < count
    except (TypeError, ValueError):
        array, good = np.zeros(0), False
    if not good:
        raise DeclarationError(
            argument,
            got=f"{subset!r:.80}",
            expected=f"indices from 0 to {count - 1}, or a mask of length {count}; not empty",
            mend="name the data by their place in x",
        )
    return np.flatnonzero(array) if array.dtype == bool else np.unique(array)


def _falling(tolerances: Any, kind: Any) -> Float[Array, " tolerance"]:
    try:
        array = np.unique(np.atleast_1d(np.asarray(tolerances, float)))[::-1]
        good = array.ndim == 1 and array.size > 0 and bool(np.all(array > 0))
        good = good and bool(np.all(np.isfinite(array)))
    except (TypeError, ValueError):
        array, good = np.zeros(0), False
    if not good:
        raise DeclarationError(
            "tolerances",
            got=f"{tolerances!r:.80}",
            expected="positive, finite numbers",
            mend="pass e.g. jnp.logspace(0, -3, 13), in units of the output",
        )
    return jnp.asarray(array, kind)


def _checked(model: PyTree, x: Any, y: Any) -> tuple[Array, Array]:
    x, y = jnp.asarray(x, float), jnp.asarray(y, float)
    if x.ndim == 0 or y.ndim not in (1, 2) or x.shape[0] != y.shape[0] or x.shape[0] == 0:
        raise DeclarationError(
            "x, y",
            got=f"shapes {x.shape} and {y.shape}",
            expected="[datum, ...] and [datum] or [datum, out], one length, at least one datum",
            mend="put the data along the first axis of both",
        )
    out = output_shape(model, x)
    if int(np.prod(out)) != int(np.prod(y.shape[1:])):
        raise DeclarationError(
            "y",
            got=f"{y.shape[1:]} for each datum",
            expected=f"what the model gives, shape {out}",
            mend="match the targets to the model's output",
        )
    return x, y


def output_shape(model: PyTree, x: Float[Array, "datum ..."]) -> tuple[int, ...]:
    """Shape of what a model makes of one datum."""
    try:
        one = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
        return eqx.filter_eval_shape(lambda model, z: jnp.asarray(model(z)), model, one).shape
    except Exception as error:
        raise DeclarationError(
            "model",
            got=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}",
            expected=f"a model of one datum of shape {x.shape[1:]}",
            mend="match the model's input to x without its first axis",
        ) from error


@eqx.filter_jit
def _curve(run: Splitting, falling: Array) -> Float[Array, "replicate tolerance"]:
    return jax.vmap(run.probability)(-falling).T


@eqx.filter_jit
def _jackknife(fn: Callable, p: Float[Array, "subset replicate tolerance"], at: Array) -> Estimate:
    """`fn(mean p, at)`, with the error that leaving out each replicate in turn gives."""
    count = p.shape[1]
    total = jnp.sum(p, axis=1)
    value = fn(total / count, at)
    without = jax.vmap(lambda i: fn((total - p[:, i]) / (count - 1), at))(jnp.arange(count))
    spread = jnp.sum((without - jnp.mean(without, axis=0)) ** 2, axis=0)
    error = jnp.sqrt(spread * (count - 1) / count)
    return Estimate(value, error, jnp.full_like(value, count), jnp.ones_like(value))


def _log(p: Array, at: Array) -> Array:
    return jnp.log(p)


def _dimension(p: Array, at: Array) -> Array:
    return _gradient(jnp.log(p), jnp.log(at))


def _chord(p: Array, at: Array) -> Array:
    return jnp.log(p[:, 0] / p[:, 1]) / jnp.log(at[0] / at[1])


def _gradient(value: Float[Array, "subset point"], at: Float[Array, " point"]) -> Array:
    """Derivative on an uneven grid: exact for parabolas inside, for lines at the ends."""
    rise, run = jnp.diff(value, axis=-1), jnp.diff(at)
    slope = rise / run
    left, right = run[:-1], run[1:]
    inner = (slope[..., :-1] * right + slope[..., 1:] * left) / (left + right)
    return jnp.concatenate([slope[..., :1], inner, slope[..., -1:]], axis=-1)
