"""Predictions of what a model trained on a part of the data does, against models trained so."""

from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..compile import Gibbs
from ..core import (
    MEMORY,
    Count,
    DeclarationError,
    Estimate,
    Key,
    Memory,
    Positive,
    RunError,
    Said,
    estimate_of_parts,
    map_within,
    model_errors,
    numpy_generator,
    typed,
)
from ..declare import AbstractEnergy
from ..numerics import adam
from ..sample import Ensemble
from ._classical_influence import check_all_weights, losses_of_data

Subsets: TypeAlias = Annotated[
    Bool[Array, "subset datum"] | Bool[np.ndarray, "subset datum"],
    Said(
        expected="booleans [subset, datum]: whether the subset has the datum",
        mend="e.g. rng.random((64, n)) < 0.5",
    ),
]


@typed
@model_errors("in bx.retrained")
def retrained(
    gibbs: Gibbs,
    energy: AbstractEnergy,
    subsets: Subsets,
    *,
    steps: Count = 1000,
    rate: Positive = 0.01,
    key: Key | None = None,
    memory: Memory = MEMORY,
    tolerance: Positive = 0.1,
    throw: bool = True,
) -> Ensemble:
    """Models trained on parts of the data, all in one compiled loop.

    Each minimises `-log π(w) + β Σ_j μ_j m_j ℓ_j(w)` with `m` a row of `subsets`, by Adam on all
    its data, the rate falling to zero as a half cosine.

    Args:
        gibbs: The measure, whose prior and `β` are taken.
        energy: The energy whose data are left out, over all data, as in `influence`.
        subsets: Which data each model is trained on.
        steps: Steps of Adam.
        rate: The length of the first step.
        key: Each model starts at a draw of the prior; without it, all start at the declared model.
        memory: Bytes of intermediate values at once: how many models are trained together.
        tolerance: In nats. A model is not trained to its end if what it minimises falls by more
            in a quarter more steps, the rate falling from half of `rate`, or by a Newton step
            (20 steps of conjugate gradients; or a tenth of it).
        throw: Whether to raise for models that are not trained to their end.

    Returns:
        An `Ensemble` with the axis `subset`.

    Raises:
        DeclarationError: For a measure with several betas or with weights integrated out, an energy
            without data or of another model, and subsets of another number of data.
        RunError: For models that are not trained to their end; it has the ensemble as `result`.
    """
    check_all_weights(gibbs)
    data = losses_of_data(gibbs, "energy", energy)
    count = sum(part.count for part in data)
    if subsets.shape[1] != count:
        raise DeclarationError(
            "subsets",
            got=f"subsets of {subsets.shape[1]} data",
            expected=f"one column for each of the {count} data of the energy",
            mend="draw subsets of shape (subset, datum)",
        )
    weights = jnp.concatenate([part.term.measure.nodes()[1] for part in data])
    masked = jnp.asarray(subsets, weights.dtype) * weights
    keys = None if key is None else jax.random.split(key, len(masked))
    w, gains = _trained(gibbs, data, masked, keys, jnp.asarray(rate, float), steps, memory)
    found = Ensemble.of(gibbs, w, ("subset",))
    unfinished = ~(np.asarray(gains) <= tolerance)  # NaN too
    if throw and np.any(unfinished):
        raise RunError(
            f"{np.sum(unfinished)} of {len(masked)} models are not trained to their end: more "
            f"steps lower what they minimise by up to {np.max(gains):.3g} nats. Pass more steps, "
            "another rate, or throw=False.",
            found,
        )
    return found


@eqx.filter_jit
def _trained(gibbs: Gibbs, data, masked: Array, keys, rate: Array, steps: int, memory: int):
    declared = gibbs.coordinates.unconstrain(gibbs.coordinates.base)

    def one(each):
        weights, key = each
        start = declared if key is None else gibbs.sample_prior(key)

        def loss(w):
            model = gibbs.model(w)
            losses = jnp.concatenate([part(model) for part in data])
            return gibbs.beta * jnp.vdot(weights, losses) - gibbs.log_prior(w)

        def descend(start, steps, rate):
            def falling(i):
                return 0.5 * rate * (1 + jnp.cos(jnp.pi * i / steps))

            return adam(lambda w, _: jax.grad(loss)(w), start, steps, falling, lambda w: w)

        end = descend(start, steps, rate)
        further = descend(end, -(-steps // 4), 0.5 * rate)
        slope = jax.grad(loss)
        newton, _ = jax.scipy.sparse.linalg.cg(
            lambda v: jax.jvp(slope, (end,), (v,))[1], slope(end), maxiter=20
        )
        moved = [jax.tree.map(lambda x, n, s=s: x - s * n, end, newton) for s in (1.0, 0.1)]
        lowest = [jnp.nan_to_num(loss(w), nan=jnp.inf) for w in moved]
        return end, loss(end) - jnp.minimum(loss(further), jnp.minimum(*lowest))

    return map_within(one, (masked, keys), memory)


@typed
def linear_datamodeling_score(
    predicted: Estimate | Float[Array, "*query datum"] | Float[np.ndarray, "*query datum"],
    subsets: Subsets,
    outcomes: Float[Array, "subset *query"] | Float[np.ndarray, "subset *query"],
    *,
    key: Key,
    resamples: Count = 1000,
) -> Estimate:
    """Rank correlation of `Σ_(j in subset) predicted_ij` with what models trained on subsets do.

    Spearman's correlation over the subsets, averaged over the queries. The error and the 95%
    interval are those of the bootstrap, which draws subsets and queries with replacement: `ess`
    is the number of subsets. The score of one query has the error over subsets alone, and says
    nothing about other queries.

    Park et al. 2023, ICML, arXiv:2303.14186 (definition 2.4).

    Args:
        predicted: Responses `[query, datum]`, as `influence` or `classical_influence` gives;
            `[datum]` of one query.
        subsets: Which data each model was trained on.
        outcomes: The same queries of the models trained so, `[subset, query]`, or `[subset]` of one
            query; average over seeds first, if there are several.
        key: For the bootstrap.
        resamples: Of the bootstrap.

    Raises:
        DeclarationError: For shapes that do not fit, fewer than 4 subsets, and a query whose
            predictions or outcomes are the same for all subsets.
    """
    values = np.asarray(predicted.value if isinstance(predicted, Estimate) else predicted, float)
    chosen, found = np.asarray(subsets, float), np.asarray(outcomes, float)
    if values.ndim == found.ndim == 1:
        values, found = values[None], found[:, None]
    fits = values.ndim == found.ndim == 2 and len(found) == len(chosen)
    if not fits or values.shape != (found.shape[1], chosen.shape[1]):
        raise DeclarationError(
            "outcomes",
            got=f"{found.shape} for predictions {values.shape} and subsets {chosen.shape}",
            expected="predicted [query, datum], subsets [subset, datum], outcomes [subset, query]; "
            "or [datum] and [subset] of one query",
            mend="transpose the one that does not fit",
        )
    if len(found) < 4:
        raise DeclarationError(
            "subsets",
            got=f"{len(found)} subsets",
            expected="at least 4",
            mend="train on more subsets, e.g. 64",
        )
    sums = chosen @ values.T
    for name, each in (("predicted", sums), ("outcomes", found)):
        spread = np.ptp(each, axis=0)
        wrong = np.flatnonzero(~(np.isfinite(spread) & (spread > 0)))
        if len(wrong):
            same = spread[wrong[0]] == 0
            raise DeclarationError(
                name,
                got=f"{'the same number' if same else 'NaN or inf'} in query {wrong[0]}",
                expected="finite numbers that depend on the subset, which can be ranked",
                mend="leave the query out",
            )
    score = np.mean(_spearman(sums, found))
    rng = numpy_generator(key)
    again = np.empty(resamples)
    for i in range(resamples):
        rows = rng.integers(len(found), size=len(found))
        columns = rng.integers(found.shape[1], size=found.shape[1])
        each = _spearman(sums[rows][:, columns], found[rows][:, columns])
        each = each[np.isfinite(each)]  # resampled subsets can be all alike
        again[i] = np.mean(each) if len(each) else np.nan
    again = again[np.isfinite(again)]
    bounds = np.quantile(again, 0.025), np.quantile(again, 0.975)
    return estimate_of_parts(score, again.std(ddof=1), len(found), bounds=bounds)


def _spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each column."""
    from scipy.stats import rankdata  # slow to import

    ranks = [rankdata(values, axis=0) for values in (first, second)]
    a, b = (rank - rank.mean(axis=0) for rank in ranks)
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
