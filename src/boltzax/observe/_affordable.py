"""How many gradients of a large net ten minutes allow, and minibatches where these are too few."""

import equinox as eqx
import jax
from jaxtyping import PyTree

from ..declare import AbstractDataTerm, AbstractEnergy, Empirical, Subsampled

WORK = 2e13
"""Floating-point operations of a run: some ten minutes of two cores."""
PASSES = 4
"""Passes of a gradient: forward at w and at w*, and a backward pass, which counts twice."""
MOST, FEWEST = 1_000_000, 4_000
"""The default cap where gradients are cheap, and a cap that is too low for gradients over all data.
"""
BATCH = 16
"""Data of a minibatch that is taken by default."""


def affordable(energy: AbstractEnergy) -> int:
    """The default `max_gradients` of a large net, for gradients of the sampler as declared."""
    work = PASSES * sum(
        _data(term) * _operations(term) for _, term in energy.terms() if _is_data(term)
    )
    return int(min(MOST, WORK / max(work, 1.0)))


def in_batches(energy: AbstractEnergy) -> AbstractEnergy:
    """The energy with minibatches of its data where there are more than a batch."""

    def is_empirical(node: PyTree) -> bool:
        return isinstance(node, Empirical | Subsampled)

    def batched(node: PyTree) -> PyTree:
        large = isinstance(node, Empirical) and node.size > BATCH
        return Subsampled(node, BATCH) if large else node

    return jax.tree.map(batched, energy, is_leaf=is_empirical)


def _is_data(term: AbstractEnergy) -> bool:
    return isinstance(term, AbstractDataTerm)


def _data(term: AbstractDataTerm) -> int:
    """Data, or nodes, of a gradient."""
    if isinstance(term.measure, Subsampled):
        return term.measure.batch_size
    return term.measure.nodes()[1].shape[0]


def _operations(term: AbstractDataTerm) -> float:
    """Floating-point operations of the loss of one datum, counted by the compiler; 0 if unknown."""
    arrays, rest = eqx.partition(term.model, eqx.is_array)

    def loss(arrays, datum):
        return term.loss(eqx.combine(arrays, rest), datum)

    counted = jax.jit(loss).lower(arrays, term.measure.datum).cost_analysis()
    return float((counted or {}).get("flops", 0.0))
