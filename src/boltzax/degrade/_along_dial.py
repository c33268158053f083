"""A function of a model along a dial, as curves."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, PyTree

from ..compile import Gibbs
from ..core import (
    MEMORY,
    Count,
    Curve,
    Estimate,
    Influence,
    Key,
    Memory,
    ModelFunction,
    typed,
)
from ..sample import SERIES, Ensemble
from ._dial import AbstractDial, Settings, equal_models

CONDITIONAL = 57
"""Folded into the key for the weights that were integrated out."""


@typed
def along_dial(
    dial: AbstractDial,
    settings: Settings,
    observable: ModelFunction,
    *,
    gibbs: Gibbs,
    key: Key,
    count: Count = 256,
    memory: Memory = MEMORY,
) -> PyTree[Curve]:
    """The mean of a function of the model along a dial.

    All curves of one call come from the same models: slopes, crossings, differences and
    `selectivity` take the correlations between settings and between observables into account.

    Args:
        dial: How the model is degraded.
        settings: `[point]`, or `[point, dial]` for combined dials.
        observable: A function of the model that gives an array or a pytree of arrays.
        gibbs: The measure whose declared model is degraded.
        key: The key of all randomness. Weights that were integrated out are drawn with the same
            random numbers at all settings, so that differences along the dial have small errors.
        count: Models at each setting.
        memory: Bytes of intermediate values at once.

    Returns:
        A `Curve` `[point, *shape]` for each array that the function gives. Values are exact where
        the dial is not random, or at its clean setting. Elsewhere one model, models of which none
        differs from the others (chains that are stuck) and constant values have no error: NaN.

    Raises:
        DeclarationError: For wrong settings, or a function that raises an error.
        RunError: If sampling failed (`Tempered`).
    """
    ensembles = dial.ensembles(gibbs, settings, key=key, count=count)
    equal, source = equal_models(dial, dial.rows(settings)), source_of(key)
    inner = conditional(key)
    values = [ensemble.map(observable, key=inner, memory=memory) for ensemble in ensembles]

    def curve(*leaves: Array) -> Curve:
        parts = zip(ensembles, leaves, equal, strict=True)
        return curve_of(dial, settings, [influence_of(*part, source) for part in parts])

    return jax.tree.map(curve, *values)


def source_of(key: Key) -> str:
    """The name of the draws of a key, so that other draws count as independent."""
    return f"draws of key {np.asarray(jax.random.key_data(key)).tolist()}"


def conditional(key: Key) -> Key:
    """The key of the weights that were integrated out, the same at all settings."""
    return jax.random.fold_in(key, CONDITIONAL)


def influence_of(ensemble: Ensemble, values: Array, equal: bool, source: str) -> Influence:
    """The mean over an ensemble of values `[*axes, *shape]`, with the contribution of each.

    `equal`: the dial gives one model. Of models that are random but do not differ, the
    contributions are NaN.
    """
    numbers = np.asarray(values, float)
    if equal:
        return Influence(numbers[(0,) * len(ensemble.axes)], {})
    place = f"{source}, {dict(zip(ensemble.axes, ensemble.shape, strict=True))}"
    if ensemble.axes == SERIES:
        found = Influence.of(np.moveaxis(numbers, (0, 1), (-2, -1)), source=place)
    else:
        found = Influence.of_samples(numbers, source=place)
    if not _stuck(ensemble):
        return found
    unknown = {name: np.full_like(rows, np.nan) for name, rows in found.rows.items()}
    return Influence(found.value, unknown)


def _stuck(ensemble: Ensemble) -> bool:
    """Whether nothing shows how much models differ: there is one, or no chain ever moved."""
    if np.prod(ensemble.shape) < 2:
        return True
    series = ensemble.axes == SERIES
    if not ensemble.w or (ensemble.change is not None and not series):
        return False  # exact draws of weights that were integrated out; noise beside equal weights
    skipped = 1 if series else 0
    for leaf in ensemble.w.values():
        rows = np.moveaxis(np.asarray(leaf), skipped, 0)
        if np.any(rows[1:2] != rows[:1]) or np.any(rows != rows[:1]):
            return False
    return True


def curve_of(
    dial: AbstractDial, settings: Settings, each: Sequence[Influence], *, zero: bool = False
) -> Curve:
    """Influences at the settings as a curve over the axis of the dial.

    `zero`: a value that is 0 for every model is known exactly.
    """
    places, axis = dial.along(settings)
    values = Estimate.stack([_estimate(influence, zero) for influence in each])
    return Curve(places, values, axis=axis, influence=Influence.stack(each))


def _estimate(influence: Influence, zero: bool) -> Estimate:
    """The estimate, without an error for what is constant over models that differ."""
    known = [np.any(rows != 0, axis=(-2, -1)) for rows in influence.rows.values()]
    constant = ~np.any(known, axis=0) if known else np.zeros(influence.shape, bool)
    if zero:
        constant &= np.asarray(influence.value) != 0
    return influence.estimate(exact=True).unknown(constant)
