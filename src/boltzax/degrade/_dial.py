"""Dials: ways to degrade a model by a chosen amount, each of which gives ensembles of models."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..compile import Coordinates, Gibbs
from ..core import (
    Constraint,
    Count,
    DeclarationError,
    Key,
    Refused,
    matches,
    numbers,
    typed,
    weights_of,
    with_weights,
)
from ..sample import Ensemble

Base: TypeAlias = Gibbs | Ensemble
"""What a dial degrades: the declared model of a measure, or each model of an ensemble."""
FIRST_SOURCE = 31
"""Folded into the key for an inner dial, with one less than the number of outer dials added."""


def _settings(value):
    array = numbers(value, float, host=True).astype(np.float64)
    if array.ndim > 2 or not array.size or not np.all(np.isfinite(array)):
        raise Refused
    return array


Settings: TypeAlias = Annotated[
    Float[np.ndarray, "..."],
    Constraint(
        "finite settings of the dial: numbers [point], or rows [point, dial] of combined dials",
        "pass e.g. np.geomspace(0.1, 10, 12)",
        _settings,
    ),
]


class AbstractDial(eqx.Module):
    """A way to degrade a model by a chosen amount.

    Each setting gives an `Ensemble` of models of the declared structure, on which everything works
    that works on draws of a posterior. `outer @ inner` applies both.

    A dial of your own has the method `upon` and three attributes: `axes`, the names of the settings
    (one for each dial of a combination); `clean`, the settings at which the model is not degraded,
    so that all models are the same; `random`, whether the models at other settings differ.
    """

    axes: eqx.AbstractVar[tuple[str, ...]]
    clean: eqx.AbstractVar[tuple[float, ...]]
    random: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def upon(
        self, bases: Sequence[Base], settings: Settings, *, key: Key, count: Count
    ) -> tuple[Ensemble, ...]:
        """Degrade each base at its setting.

        Args:
            bases: One for each setting.
            settings: `[point, dial]`.
            key: The key of all randomness; the same random numbers serve all settings where they
                can, so that differences along the dial have small errors.
            count: How many models to make from a single one.

        Raises:
            DeclarationError: For settings out of the range of the dial.
        """

    @typed
    def ensembles(
        self, gibbs: Gibbs, settings: Settings, *, key: Key, count: Count = 256
    ) -> tuple[Ensemble, ...]:
        """An ensemble of degraded models for each setting.

        Args:
            gibbs: The measure whose declared model is degraded.
            settings: `[point]`, or `[point, dial]` for combined dials.
            key: The key of all randomness.
            count: Models at each setting; one if the dial is not random.

        Raises:
            DeclarationError: For settings of another shape, or out of the range of the dial.
        """
        rows = self.rows(settings)
        return self.upon([gibbs] * len(rows), rows, key=key, count=count)

    @typed
    def ensemble(
        self, gibbs: Gibbs, setting: Settings, *, key: Key, count: Count = 256
    ) -> Ensemble:
        """The ensemble at one setting: a number, or one number for each dial of a combination."""
        return self.ensembles(gibbs, np.asarray(setting)[None], key=key, count=count)[0]

    @typed
    def rows(self, settings: Settings) -> Float[np.ndarray, "point dial"]:
        """Settings as rows, one number for each dial."""
        given = np.atleast_1d(settings)
        rows = given[:, None] if given.ndim == 1 else given
        if rows.shape[1] != len(self.axes):
            raise DeclarationError(
                "settings",
                got=f"an array of shape {np.shape(settings)}",
                expected=f"{len(self.axes)} numbers a point: {', '.join(self.axes)}",
                mend="pass [point] for one dial, np.stack([outer, inner], axis=1) for two",
            )
        return rows

    @typed
    def along(self, settings: Settings) -> tuple[Float[np.ndarray, " point"], str]:
        """Places and name of the axis of a curve: the first of the settings that varies."""
        rows = self.rows(settings)
        column = int(np.argmax(np.ptp(rows, axis=0) > 0))
        return rows[:, column], self.axes[column]

    @typed
    def __matmul__(self, inner: "AbstractDial") -> "Combined":
        return Combined(self, inner)


@typed
class Combined(AbstractDial):
    """Two dials, one upon the other: `outer @ inner`.

    A setting is a row: first those of the outer dial, then those of the inner one. A curve is over
    the first of them that varies.

    Args:
        outer: Acts on each model that the inner dial gives. A `Tempered` outer dial needs an inner
            one that gives one model at each setting, around which it samples.
        inner: Acts on the declared model.
    """

    outer: AbstractDial
    inner: AbstractDial

    @property
    def axes(self) -> tuple[str, ...]:
        return (*self.outer.axes, *self.inner.axes)

    @property
    def clean(self) -> tuple[float, ...]:
        return (*self.outer.clean, *self.inner.clean)

    @property
    def random(self) -> bool:
        return self.outer.random or self.inner.random

    def upon(self, bases, settings, *, key, count):
        cut = len(self.outer.axes)
        key_inner = jax.random.fold_in(key, FIRST_SOURCE + cut - 1)  # (a @ b) @ c: b has another
        between = self.inner.upon(bases, settings[:, cut:], key=key_inner, count=count)
        return self.outer.upon(between, settings[:, :cut], key=key, count=count)


class AbstractWeightDial(AbstractDial):
    """A dial that changes the weights of one model at a time, by its method `changed`.

    `paths` names the leaves that are changed (a path, prefix or glob), `low` and `high` are the
    least and the greatest setting. What the chart of the measure freezes stays, leaves and entries
    of leaves; tied weights follow those to which they are tied.
    """

    paths: eqx.AbstractVar[str]
    low: eqx.AbstractVar[float]
    high: eqx.AbstractVar[float]

    @abc.abstractmethod
    def changed(
        self, weights: dict[str, Array], setting: Float[Array, ""], key: Key
    ) -> dict[str, Array]:
        """The chosen weights of one model, degraded."""

    @typed
    def upon(
        self, bases: Sequence[Base], settings: Settings, *, key: Key, count: Count
    ) -> tuple[Ensemble, ...]:
        """Degrade each base at its setting; see `AbstractDial.upon`.

        Raises:
            DeclarationError: For settings out of range, and `paths` that name no free weights.
        """
        check_range(self.axes[0], settings, self.low, self.high)
        made = []
        for base, (setting,) in zip(bases, settings, strict=True):
            gibbs = base if isinstance(base, Gibbs) else base.gibbs
            weights, axes, shape = weights_and_axes(base, count if self.random else 1)
            keys = jax.random.split(key, shape)
            chosen = _chosen(gibbs, self.paths)
            new = _changed(self, gibbs.coordinates, chosen, weights, jnp.asarray(setting), keys)
            ensemble = Ensemble.of_models(gibbs, with_weights(gibbs.declared, new), axes)
            if isinstance(base, Ensemble) and base.keys is not None:
                kept = {"change": base.change, "keys": jnp.broadcast_to(base.keys, shape)}
                ensemble = dataclasses.replace(ensemble, **kept)
            made.append(ensemble)
        return tuple(made)


def _chosen(gibbs: Gibbs, pattern: str) -> tuple[str, ...]:
    """The free leaves that a pattern names."""
    free = (*gibbs.coordinates.priors, *gibbs.potential.integrated())
    chosen = tuple(path for path in free if matches(pattern, path))
    if not chosen:
        raise DeclarationError(
            "paths",
            got=f"{pattern!r}, which names no free weights",
            expected=f"a path, prefix or glob of {sorted(free)}",
            mend="correct the path; frozen and tied weights are not changed",
        )
    return chosen


@eqx.filter_jit
def _changed(
    dial: AbstractWeightDial,
    coordinates: Coordinates,
    chosen: tuple[str, ...],
    weights: dict[str, Array],
    setting: Array,
    keys: Array,
) -> dict[str, Array]:
    def one(weights, key):
        new = dial.changed({path: weights[path] for path in chosen}, setting, key)
        return _with_fixed(coordinates, weights, new)

    for _ in range(keys.ndim):
        one = jax.vmap(one)
    return one(weights, keys)


def _with_fixed(
    coordinates: Coordinates, weights: dict[str, Array], new: dict[str, Array]
) -> dict[str, Array]:
    """All weights with new ones, but for entries that are fixed; tied leaves follow."""
    full = dict(weights)
    for path, leaf in new.items():
        if path in coordinates.indices:
            places = coordinates.indices[path]
            old = weights[path].reshape(-1)
            leaf = old.at[places].set(leaf.reshape(-1)[places]).reshape(leaf.shape)
        full[path] = leaf
    return full | {leaf: full[source] for leaf, source in coordinates.ties.items()}


def weights_and_axes(
    base: Base, count: int
) -> tuple[dict[str, Array], tuple[str, ...], tuple[int, ...]]:
    """All weights of the base with leading axes; a single model is repeated `count` times."""
    if isinstance(base, Ensemble) and base.shape != (1,):
        return _weights(base), base.axes, base.shape
    single = weights_of(base.declared) if isinstance(base, Gibbs) else _only(base)
    repeated = {p: jnp.broadcast_to(leaf, (count, *leaf.shape)) for p, leaf in single.items()}
    return repeated, ("sample",), (count,)


def _only(base: Ensemble) -> dict[str, Array]:
    return {path: leaf[0] for path, leaf in _weights(base).items()}


def _weights(base: Ensemble) -> dict[str, Array]:
    """Weights without a change beside them, whose models can have other paths."""
    return dataclasses.replace(base, change=None, keys=None).map(weights_of)


def only_model(base: Base, dial: str):
    """The one model of a base.

    Raises:
        DeclarationError: For an ensemble of several.
    """
    if isinstance(base, Gibbs):
        return base.declared
    if base.shape != (1,) or base.change is not None:
        raise DeclarationError(
            "inner",
            got=f"a dial that gives {int(np.prod(base.shape))} models at a setting",
            expected=f"one model at each setting, for {dial} as the outer dial",
            mend=f"write the other one outside: other @ {dial}(...)",
        )
    return with_weights(base.gibbs.declared, _only(base))


def equal_models(dial: AbstractDial, rows: Float[np.ndarray, "point dial"]) -> np.ndarray:
    """At which settings all models of an ensemble are the same, `[point]`.

    They are where the dial is not random, or clean; of a combination, where both are.
    """
    if isinstance(dial, Combined):
        cut = len(dial.outer.axes)
        return equal_models(dial.outer, rows[:, :cut]) & equal_models(dial.inner, rows[:, cut:])
    return (not dial.random) | np.all(rows == np.asarray(dial.clean), axis=1)


def check_range(axis: str, settings: np.ndarray, low: float, high: float) -> None:
    """Raise `DeclarationError` for settings outside `[low, high]`."""
    if np.any(settings < low) or np.any(settings > high):
        wrong = settings[(settings < low) | (settings > high)][0]
        raise DeclarationError(
            "settings",
            got=f"{axis} {wrong:g}",
            expected=f"numbers from {low:g} to {high:g}",
            mend="leave the others out",
        )
