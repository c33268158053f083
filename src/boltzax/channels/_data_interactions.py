"""Interactions between data: their matrix, its modes, and how far they reach."""

from collections.abc import Callable
from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..core import (
    MEMORY,
    Arrays,
    Curve,
    DeclarationError,
    Estimate,
    Influence,
    Key,
    Memory,
    Model,
    Said,
    model_errors,
    text_of_values,
    typed,
    weights_of,
    whole,
    with_weights,
)
from ..declare import AbstractDataTerm, AbstractEnergy
from ..observe import influence
from ..sample import AbstractDrawn, Trace, trace_of
from ._decay import decay_rate

LEAST = 3
"""Pairs of data in a bin."""
PIECES = 32
"""Pieces of the chains at least, whose covariances are taken for independent."""

Value: TypeAlias = Annotated[
    Callable | None,
    Said(
        expected="a function (model, datum) -> one number, or None for the loss",
        mend="pass e.g. lambda model, datum: model(datum[0])",
    ),
]
Separation: TypeAlias = Annotated[
    Callable | None,
    Said(
        expected="a function (datum, datum) -> their distance",
        mend="pass e.g. lambda a, b: jnp.abs(a[0] - b[0])",
    ),
]


@typed
class DataInteractions(eqx.Module):
    """Interactions between data; see `data_interactions`.

    Args:
        matrix: `β Cov(ℓ_i, ℓ_j)`, `[datum, datum]`.
        distances: Between the data, `[datum, datum]`.
        modes: Orthonormal eigenvectors of the matrix, `[mode, datum]`, strongest first.
        spectrum: `β Var(v · ℓ)` of each mode. The modes are chosen by the same draws: noise makes
            the largest of n eigenvalues too large by a fraction of about `2 √(n/ess)`.
        decay: Mean of the squared correlation of pairs over their distance; what noise adds to a
            square has mean zero. Its errors are those of the draws, which all pairs share.
    """

    matrix: Estimate
    distances: Float[np.ndarray, "datum datum"]
    modes: Float[np.ndarray, "datum datum"]
    spectrum: Estimate
    decay: Curve

    @property
    def rate(self) -> Estimate:
        """`γ` of correlations that fall as `exp(-γ distance)`; NaN where it is not determined.

        The decay is fitted by the means of `exp(-2γ distance)` over the pairs of each bin.
        """
        pairs = _binned(self.distances, len(self.decay))
        return decay_rate(self.decay, signed=True, apart=pairs).scaled(0.5)

    @property
    def range(self) -> Estimate:
        """`1/γ`, the distance over which data interact."""
        return self.rate.map(jnp.reciprocal)

    @property
    def participation(self) -> Float[np.ndarray, " mode"]:
        """`1/Σ_i v_i⁴`: how many data take part in each mode, from 1 to all."""
        return 1 / np.sum(self.modes**4, axis=1)

    @property
    def effective_modes(self) -> float:
        """`(Σ λ)²/Σ λ²`: how many modes carry the interactions."""
        values = np.asarray(self.spectrum.value)
        return float(np.sum(values) ** 2 / np.sum(values**2))

    @text_of_values
    def __repr__(self) -> str:
        lines = [f"Interactions of {len(self.modes)} data, {self.effective_modes:.3g} modes"]
        for k in range(min(3, len(self.modes))):
            lines.append(f"mode {k}: {self.spectrum[k]!r}, {self.participation[k]:.3g} data")
        return "\n  ".join([*lines, f"range {self.range!r}"])


@typed
@model_errors("in bx.channels.data_interactions")
def data_interactions(
    trace: Trace | AbstractDrawn,
    energy: AbstractEnergy,
    *,
    value: Value = None,
    distance: Separation = None,
    bins: Annotated[int, whole(3)] = 8,
    key: Key | None = None,
    memory: Memory = MEMORY,
) -> DataInteractions:
    """How data act on each other through the weights that they share.

    `β Cov(ℓ_i, ℓ_j)` of their losses is what one more copy of datum j takes off the mean loss of
    datum i: minus `bx.influence`. With `value`, a number of each datum, it is `β c Cov(v_i, v_j)`
    with the factor c of the energy; for the prediction `f(x_i)` and `c = 1/s²` that is the response
    `d⟨f(x_i)⟩/dy_j` to labels.

    Args:
        trace: A run that kept its draws, at one beta.
        energy: The energy whose data interact: one integral over data.
        value: A function `(model, datum) -> number`; by default the loss.
        distance: A function of two data that gives their distance; by default `|x - x'|`.
        bins: Of distances; near ones have fewer pairs.
        key: For weights that were integrated out, which are drawn again.
        memory: Bytes of intermediate values at once.

    Raises:
        DeclarationError: For a run at several betas, several integrals over data, and fewer data
            than bins.
    """
    trace = trace_of(trace)
    terms = [term for _, term in energy.terms() if isinstance(term, AbstractDataTerm)]
    if trace.betas.ndim or len(terms) != 1:
        raise DeclarationError(
            "trace" if trace.betas.ndim else "energy",
            got=f"a run at {trace.betas.size} betas" if trace.betas.ndim else f"{len(terms)} terms",
            expected="a run at one beta, and an energy with one integral over data",
            mend="take one of them",
        )
    points, weights = terms[0].measure.nodes()
    most = len(weights) * (len(weights) - 1) // (2 * LEAST)
    if bins > most:
        raise DeclarationError(
            "bins",
            got=f"{bins} for {len(weights)} data",
            expected=f"at most {most}: {LEAST} pairs of data for each bin",
            mend="pass fewer bins, or more data",
        )
    asked = DatumValues(terms[0], points, value)
    if value is None:
        matrix = influence(trace, energy, key=key, memory=memory).scaled(-1.0)
    else:
        tokens = influence(trace, energy, asked, tokens=asked.one, key=key, memory=memory)
        matrix = tokens[..., 0].scaled(-1.0)
    values = np.asarray(matrix.value, float)
    strengths, vectors = np.linalg.eigh(0.5 * (values + values.T))
    modes = vectors.T[::-1]
    series = np.asarray(trace.evaluate(asked, key, memory=memory), float)
    series = series - np.mean(series, axis=(0, 1))
    apart = np.asarray(_separations(Apart() if distance is None else distance, points), float)
    along = series @ modes.T
    spread = np.mean(along**2, axis=(0, 1))
    # the factors of the energy and β, which the covariance of values does not have
    factor = np.where(spread > 0, strengths[::-1] / np.where(spread > 0, spread, 1.0), 1.0)
    return DataInteractions(
        matrix,
        apart,
        modes,
        trace.mean_of(along**2).scaled(factor),
        _decay(_of_pieces(series), apart, bins),
    )


class DatumValues(eqx.Module):
    """A number of each datum as a function of the model."""

    term: AbstractDataTerm
    points: PyTree
    value: Callable | None

    def __call__(self, model: Model) -> Float[Array, " datum"]:
        here = with_weights(self.term.model, weights_of(model))
        return jax.vmap(lambda datum: self.one(here, datum)[0])(self.points)

    def one(self, model: Model, datum: Arrays) -> Float[Array, "1"]:
        """The number of one datum, as a vector."""
        number = self.term.loss(model, datum) if self.value is None else self.value(model, datum)
        number = jnp.asarray(number, float)
        if number.size != 1:
            raise DeclarationError(
                "value",
                got=f"an array of shape {number.shape}",
                expected="one number for each datum",
                mend="take one of the outputs, or their sum",
            )
        return number.reshape(1)


class Apart(eqx.Module):
    """`|x - x'|` of two data, or of the first parts of two tuples."""

    def __call__(self, first: Arrays, second: Arrays) -> Array:
        x, y = (each[0] if isinstance(each, tuple) else each for each in (first, second))
        return jnp.sqrt(jnp.sum((x - y) ** 2))


@eqx.filter_jit
def _separations(distance: Callable, points: PyTree) -> Array:
    return jax.vmap(lambda a: jax.vmap(lambda b: distance(a, b))(points))(points)


def _of_pieces(series: Float[np.ndarray, "chain draw datum"]) -> np.ndarray:
    """Covariances in pieces of the chains about the mean of all, `[piece, datum, datum]`."""
    chains, draws, data = series.shape
    count = max(1, min(-(-PIECES // chains), draws // 4))
    whole = series[:, : draws // count * count].reshape(chains * count, -1, data)
    return np.swapaxes(whole, 1, 2) @ whole / whole.shape[1]


def _decay(pieces: np.ndarray, distances: np.ndarray, bins: int) -> Curve:
    """Mean squared correlations of pairs, in bins of distance.

    A square is the mean product of the covariances of two different pieces, to which noise adds
    nothing. What each piece adds is twice its product with the others.
    """
    count, total = len(pieces), np.sum(pieces, axis=0)
    variance = np.maximum(np.diag(total) / count, np.finfo(float).tiny)
    first, second = np.triu_indices(len(total), 1)
    each = pieces[:, first, second] / np.sqrt(variance[first] * variance[second])
    products = each * (np.sum(each, axis=0) - each) / (count - 1)
    groups = _groups(distances[first, second], bins)
    places = np.array([np.mean(distances[first[g], second[g]]) for g in groups])
    binned = np.stack([np.mean(products[:, g], axis=1) for g in groups])[..., None]
    squares = np.mean(binned, axis=1, keepdims=True)
    moved = Influence.of(squares + 2 * (binned - squares))
    return Curve(places, moved.estimate(exact=True), axis="distance", influence=moved)


def _groups(apart: np.ndarray, bins: int) -> list[np.ndarray]:
    """Pairs by rising distance: few pairs are near, and they tell most of the decay."""
    ends = np.maximum(len(apart) * (np.arange(1, bins) / bins) ** 2, LEAST * np.arange(1, bins))
    return np.split(np.argsort(apart, kind="stable"), ends.astype(int))


def _binned(distances: np.ndarray, bins: int) -> list[np.ndarray]:
    """The distances of the pairs of each bin."""
    apart = distances[np.triu_indices(len(distances), 1)]
    return [apart[group] for group in _groups(apart, bins)]
