"""A function of a model along a dial, as curves."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..compile import Gibbs
from ..core import MEMORY, Count, Curve, Influence, Key, Memory, ModelFunction, typed
from ..sample import SERIES, Ensemble
from ._dial import AbstractDial, Settings


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
        key: The key of all randomness.
        count: Models at each setting.
        memory: Bytes of intermediate values at once.

    Returns:
        A `Curve` `[point, *shape]` for each array that the function gives. A dial that is not
        random gives exact values.

    Raises:
        DeclarationError: For wrong settings, or a function that raises an error.
        RunError: If sampling failed (`Tempered`).
    """
    ensembles = dial.ensembles(gibbs, settings, key=key, count=count)
    values = [ensemble.map(observable, memory=memory) for ensemble in ensembles]
    source = source_of(key)

    def curve(*leaves: Array) -> Curve:
        each = [
            influence_of(ensemble, leaf, dial.random, source)
            for ensemble, leaf in zip(ensembles, leaves, strict=True)
        ]
        return curve_of(dial, settings, each)

    return jax.tree.map(curve, *values)


def source_of(key: Key) -> str:
    """The name of the draws of a key, so that other draws count as independent."""
    return f"draws of key {np.asarray(jax.random.key_data(key)).tolist()}"


def influence_of(ensemble: Ensemble, values: Array, random: bool, source: str) -> Influence:
    """The mean over an ensemble of values `[*axes, *shape]`, with the contribution of each."""
    numbers = np.asarray(values, float)
    if not random or _one_model(ensemble):
        return Influence(numbers[(0,) * len(ensemble.axes)], {})
    place = f"{source}, {dict(zip(ensemble.axes, ensemble.shape, strict=True))}"
    if ensemble.axes == SERIES:
        return Influence.of(np.moveaxis(numbers, (0, 1), (-2, -1)), source=place)
    return Influence.of_samples(numbers, source=place)


def _one_model(ensemble: Ensemble) -> bool:
    """Whether all models of an ensemble are the same, as at the clean end of a dial."""
    if ensemble.change is not None:  # noise beside equal weights
        return False
    for leaf in ensemble.w.values():
        rows = leaf.reshape(-1, *leaf.shape[len(ensemble.axes) :])
        # most ensembles differ in the first two
        if np.any(np.asarray(rows[:2] != rows[0])) or bool(jnp.any(rows != rows[0])):
            return False
    return True


def curve_of(
    dial: AbstractDial, settings: Settings, each: Sequence[Influence], *, exact: bool = False
) -> Curve:
    """Influences at the settings as a curve over the axis of the dial.

    `exact`: take constants for numbers that are known exactly.
    """
    (places, axis), values = dial.along(settings), Influence.stack(each)
    return Curve(places, values.estimate(exact=exact), axis=axis, influence=values)
