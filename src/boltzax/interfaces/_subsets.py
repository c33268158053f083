"""Statistical mechanics per datum: how much of the prior gets a part of the data right."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ..compile import prior as prior_alone
from ..core import (
    MEMORY,
    Count,
    DeclarationError,
    Estimate,
    Key,
    Memory,
    Model,
    NonNegative,
    Positive,
    Status,
    text_of_values,
    typed,
    whole,
)
from ..declare import (
    AbstractChart,
    Component,
    Contract,
    Distribution,
    Independent,
    Interface,
    output_shape,
)
from ..observe import LogProbability, MaxLevels, Particles, log_probability
from ..sample import raise_for_run

Subsets = Mapping[Hashable, Any] | Sequence[Any]
"""Parts of the data: index lists or boolean masks, by name or in a list."""


class Worst(eqx.Module):
    """Minus the largest error on some data: `-max_{i∈s} |f(x_i) - y_i|`, over all outputs too."""

    x: Float[Array, "datum ..."]
    y: Float[Array, "datum ..."]
    rows: Int[Array, " row"]

    def __call__(self, model: PyTree) -> Float[Array, ""]:
        outputs = jax.vmap(model)(self.x[self.rows])
        return -jnp.max(jnp.abs(outputs - self.y[self.rows].reshape(outputs.shape)))


@typed
class SubsetEntropy(eqx.Module):
    """What `subset_entropy` returns: `H_s(ε) = log P[max_{i∈s} |f(x_i) - y_i| <= ε]`, in nats.

    Args:
        names: Of the subsets.
        tolerances: ε, `[tolerance]`, in units of the output, falling.
        curves: For each subset its entropies, at the levels `-ε`, from runs of their own.
    """

    names: tuple[Hashable, ...] = eqx.field(static=True)
    tolerances: Float[Array, " tolerance"]
    curves: tuple[LogProbability, ...]

    @property
    def last(self) -> tuple[LogProbability, ...]:
        """For each subset the entropy at the smallest tolerance, as `entropy` would give it."""
        return tuple(curve[-1] for curve in self.curves)

    @property
    def status(self) -> Status:
        """The first one that is not successful, of the entropies at the smallest tolerance."""
        failed = [entropy.status for entropy in self.last if not entropy.successful]
        return (failed or [Status.successful])[0]

    @property
    def successful(self) -> bool:
        """Whether nothing speaks against any of the curves, at the smallest tolerance."""
        return bool(self.status == Status.successful)

    @property
    def entropy(self) -> Estimate:
        """`H_s(ε)` `[subset, tolerance]`, in nats: the log of the mean of the replicates."""
        return Estimate.stack([curve.estimate for curve in self.curves])

    @property
    def dimension(self) -> Estimate:
        """`2λ_s(ε) = dH_s/d log ε` `[subset, tolerance]`: twice the learning coefficient of the
        loss on the subset, at this tolerance; the number of directions that it constrains where
        that is one. Differences of second order on the grid (of first order at its ends), of the
        same runs.
        """
        if len(self.tolerances) < 2:
            raise DeclarationError(
                "tolerances",
                got="one tolerance",
                expected="at least two, for a slope",
                mend="pass e.g. jnp.logspace(0, -3, 13)",
            )
        return self._times(_differences(self._log_tolerances()))

    @typed
    def slope(self, high: int = 0, low: int = -1) -> Estimate:
        """`(H(ε_high) - H(ε_low)) / log(ε_high/ε_low)` `[subset]`: `2λ_s` between two tolerances,
        given by their places on the grid."""
        at = self._log_tolerances()
        unit = np.eye(len(at))
        return self._times((unit[high] - unit[low]) / (at[high] - at[low]))

    @typed
    def interaction(self, whole: Hashable, parts: Sequence[Hashable]) -> Estimate:
        """`H_whole(ε) - Σ H_part(ε)` `[tolerance]`, in nats, for disjoint parts of the whole.

        The log of how much more likely the parts are right together than if they were independent:
        0 where no weight is shared, positive where getting one right helps the others, negative
        where they compete. The runs of the subsets are independent.
        """
        excess = self._of(whole)
        for name in parts:
            excess = excess - self._of(name)
        return excess

    def _log_tolerances(self) -> np.ndarray:
        return np.log(np.asarray(self.tolerances))

    def _times(self, operator: np.ndarray) -> Estimate:
        """An exact matrix times each curve."""
        held = jax.device_put(operator.astype(self.tolerances.dtype))
        return Estimate.stack([curve.map(lambda h: held @ h) for curve in self.curves])

    def _of(self, name: Hashable) -> Estimate:
        if name not in self.names:
            raise DeclarationError(
                "name",
                got=repr(name),
                expected=f"one of {list(self.names)}",
                mend="name a subset of this result",
            )
        return self.curves[self.names.index(name)].estimate

    @text_of_values
    def __repr__(self) -> str:
        last = float(self.tolerances[-1])
        lines = [f"SubsetEntropy down to tolerance {last:.3g}"]
        slopes = list(self.dimension[:, -1]) if len(self.tolerances) > 1 else []
        for i, (name, entropy) in enumerate(zip(self.names, self.last, strict=True)):
            text = f"{name!r}: H = {entropy.estimate:.3f}"
            text += f", 2λ = {slopes[i]:.2f}" if slopes else ""
            lines.append(text + ("" if entropy.successful else f" ({Status[entropy.status]})"))
        return "\n  ".join(lines)


@typed
def subset_entropy(
    model: Model,
    prior: Independent | Distribution,
    x: Float[Array, "datum ..."],
    y: Float[Array, "..."],
    subsets: Subsets,
    tolerances: Positive | Sequence[Positive],
    *,
    key: Key,
    chart: AbstractChart | None = None,
    particles: Particles = 512,
    moves: Count = 20,
    replicates: Annotated[int, whole(4)] = 16,
    max_levels: MaxLevels = 200,
    memory: Memory = MEMORY,
    throw: bool = True,
) -> SubsetEntropy:
    """`H_s(ε) = log P_prior[max_{i∈s} |f(x_i) - y_i| <= ε]` for each subset `s` of the data.

    The logarithm of the share of the prior that gets all of `s` right to within ε: how much is left
    free when only these data have to be right. `dH_s/d log ε = 2λ_s`, the learning coefficient of
    the loss restricted to the subset; `s ⊆ t` implies `H_t <= H_s`.

    Each subset is a run of rising levels (`boltzax.log_probability`): one that comes down to the
    smallest tolerance has passed all others. Errors are from the spread of the replicates, the
    intervals Student's t. They see what runs differ in, not what all of them miss.

    Sources: data as constraints, each on a part of the weights: comments to Wentworth & Lorell,
    "Toward Statistical Mechanics of Interfaces Under Selection Pressure" (2025); volume scaling
    `V(ε) ~ ε^(2λ)` of errors: Watanabe 2009, ch. 7.

    Args:
        model: The declared model.
        prior: Of its weights.
        x: Inputs `[datum, ...]`, as `model` takes them one by one.
        y: Outputs `[datum]` or `[datum, out]`, as `model` gives them one by one. The error is the
            largest over the outputs of a datum.
        subsets: Index lists or boolean masks `[datum]`, in a list or by name.
        tolerances: ε, in units of the output; any order.
        key: Key of all randomness.
        chart: Which weights are free; the others stay as the model has them.
        particles: Of each replicate.
        moves: Moves of every particle at a level.
        replicates: Independent populations.
        max_levels: Most levels of a replicate. Each halves the probability: 200 are 138 nats.
        memory: Bytes of intermediate values at once.
        throw: Raise `RunError` if something speaks against the result; else look at its `status`.

    Raises:
        DeclarationError: Data, subsets or tolerances that do not fit.
        RunError: A `status` that is not `successful`.
    """
    _check(model, x, y)
    gibbs = prior_alone(model, prior, chart=chart)
    named = rows_of(subsets, x.shape[0])
    falling = _falling(tolerances)
    longest = max(len(rows) for rows in named.values())
    curves = []
    keys = jax.random.split(key, len(named))
    for subset_key, rows in zip(keys, named.values(), strict=True):
        # repeating a datum changes no maximum, and keeps one shape for all subsets
        worst = Worst(x, y, jax.device_put(np.resize(rows, longest)))
        curve = log_probability(
            gibbs, worst, -falling, key=subset_key, by="levels", particles=particles,
            moves=moves, replicates=replicates, max_levels=max_levels, memory=memory, throw=False,
        )  # fmt: skip
        curves.append(curve)
    result = SubsetEntropy(tuple(named), falling, tuple(curves))
    return raise_for_run(result, result.status, throw, result.__repr__)


@typed
def memories(
    model: Model,
    prior: Independent | Distribution,
    x: Float[Array, "datum dim"],
    y: Float[Array, "..."],
    tolerance: NonNegative,
    *,
    reach: NonNegative = 0.0,
) -> Contract:
    """Data as a contract: datum `i` is a logical value, `x_i` is assumed and `y_i ± ε` promised.

    With the boxes `{x_i}` and `[y_i - ε, y_i + ε]` its margin is `ε - max_i |f(x_i) - y_i|`: so
    `H_s(ε)` is the entropy of this contract on the data of `s`. With `reach` the assumed boxes are
    `x_i ± reach`: the fact is to be recalled from near its key also. `x` is `[datum, dim]`.

    Args:
        x: Inputs of the facts.
        y: Their outputs.
        tolerance: `ε`.
        reach: How far from `x` a fact is to be recalled.
    """
    _check(model, x, y)
    values = tuple(range(x.shape[0]))
    y = y.reshape(x.shape[0], -1)
    before = Interface(values, (x - reach)[:, None], (x + reach)[:, None])
    after = Interface(values, (y - tolerance)[:, None], (y + tolerance)[:, None])
    return Contract(Component(model, prior), before, after, points=2 if reach == 0 else 33)


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


def _falling(tolerances: Positive | Sequence[Positive]) -> Float[Array, " tolerance"]:
    falling = np.unique(np.asarray(tolerances, jnp.result_type(float)))[::-1]
    if not len(falling):
        raise DeclarationError(
            "tolerances",
            got="none",
            expected="at least one positive number",
            mend="pass e.g. jnp.logspace(0, -3, 13), in units of the output",
        )
    return jax.device_put(falling)


def _check(model: PyTree, x: Array, y: Array) -> None:
    if y.ndim not in (1, 2) or x.shape[0] != y.shape[0] or x.shape[0] == 0:
        raise DeclarationError(
            "x, y",
            got=f"shapes {x.shape} and {y.shape}",
            expected="[datum, ...] and [datum] or [datum, out], one length, at least one datum",
            mend="put the data along the first axis of both",
        )
    out = output_shape(model, x.shape[1:])
    if int(np.prod(out)) != int(np.prod(y.shape[1:])):
        raise DeclarationError(
            "y",
            got=f"{y.shape[1:]} for each datum",
            expected=f"what the model gives, shape {out}",
            mend="match the targets to the model's output",
        )


def _differences(at: np.ndarray) -> np.ndarray:
    """The matrix of derivatives on an uneven grid: exact for parabolas inside, for lines at the
    ends."""
    return np.asarray(np.gradient(np.eye(len(at)), at, axis=0))
