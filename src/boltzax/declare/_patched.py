"""Models in which other values take the place of those at named places."""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array, PyTree

from ..core import Setting, at_once, named, typed
from ..numerics import Steps, marks, run_marked
from ._interventions import AbstractIntervention, Intervention, apply, for_datum
from ._models import Predictor
from ._taps import places_matching, tap, traced


@typed
def patched(model: Predictor, interventions: Mapping[str, Intervention]) -> "Patched":
    """A model in which interventions replace the values at named places.

    The result is a model: a callable pytree, whose weights have the paths that they have in
    `model`. So an energy can be declared on it, and an `Ensemble` mapped through it. Its
    derivatives are those of the function with the values replaced, by weights, data and arrays of
    the interventions. Arrays of interventions are settings and not weights.

    If several patterns match a place, the interventions follow each other in the order given.

    Args:
        model: A callable pytree, as for `bx.taps`.
        interventions: From the name of a place, or a glob, to what takes the place of the value: an
            intervention, an array (`bx.Replace`), or a function of the value.

    Raises:
        DeclarationError: When the model is called: for a pattern that matches no place, for an
            intervention that changes the shape, and for a place inside a `cond` or a `while`.
    """
    return Patched(model, tuple(interventions), Setting(tuple(interventions.values())))


class _Unnamed:
    """A key of a pytree that adds nothing to the paths of what it holds."""

    def __str__(self) -> str:
        return ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unnamed)

    def __hash__(self) -> int:
        return hash(_Unnamed)


@jax.tree_util.register_pytree_with_keys_class
class Patched:
    """A model in which other values take the place of some; `bx.patched` makes it.

    It is called as the model is. Its weights have the paths that they have in the model.

    Args:
        model: The model.
        patterns: Patterns of places.
        setting: The intervention of each pattern.
    """

    def __init__(self, model: PyTree, patterns: tuple[str, ...], setting: Setting):
        self.model = model
        self.patterns = patterns
        self.setting = setting

    @property
    def interventions(self) -> dict[str, AbstractIntervention]:
        """From pattern of places to intervention."""
        return dict(zip(self.patterns, self.setting.value, strict=True))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _call(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a patched model has no attribute {name!r}: it is a function of a datum, and has none "
            "of the attributes of the model"
        )

    def tree_flatten_with_keys(self) -> tuple:
        interventions = jax.tree_util.GetAttrKey("interventions")
        return ((_Unnamed(), self.model), (interventions, self.setting)), self.patterns

    def tree_flatten(self) -> tuple:
        return (self.model, self.setting), self.patterns

    @classmethod
    def tree_unflatten(cls, patterns: tuple[str, ...], children: tuple) -> "Patched":
        model, setting = children
        return cls(model, patterns, setting)

    def __repr__(self) -> str:
        places = ", ".join(f"{p}: {type(i).__name__}" for p, i in self.interventions.items())
        return f"Patched({type(self.model).__name__}, {places})"


@at_once
def _call(patched: Patched, args: tuple, kwargs: dict) -> Any:
    closed, arguments, restore = traced(patched.model, args, kwargs)
    places = tuple(dict.fromkeys(marks(closed.jaxpr)))
    for pattern in patched.patterns:
        places_matching("interventions", pattern, places)

    interventions = for_datum(patched.interventions, (args, kwargs))

    def changed(place: str) -> bool:
        return any(named(pattern, place) for pattern in patched.patterns)

    def replace(place: str, value: Array, steps: Steps) -> Array:
        for pattern, intervention in interventions.items():
            if named(pattern, place):
                value = apply(place, intervention, value, steps)
        return tap(value, place)

    outputs, _ = run_marked(closed, arguments, changed, replace)
    return restore(outputs)
