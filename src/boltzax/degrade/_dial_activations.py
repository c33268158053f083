"""Noise on the activations of a model as a dial."""

import dataclasses
from typing import Annotated, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..compile import Gibbs
from ..core import DeclarationError, Key, Model, Said, typed, with_weights
from ..declare import Noise, patched
from ..sample import Ensemble
from ._dial import AbstractDial, check_range, weights_and_axes

Place = Annotated[str, Said("names of places as strings", "pass e.g. 'units'; see bx.taps")]


@typed
class ActivationNoise(AbstractDial):
    """Independent Gaussian noise on the values at named places, for every datum.

    The setting is its standard deviation. The models of the ensemble have one set of weights and
    different noise; each is a function of its datum, so that equal data have equal noise.
    `Ensemble.map` sees the noisy models. They are functions and have no attributes of the model: a
    function of the model calls it.

    Args:
        places: Names of places, or globs; see `bx.taps`.
        relative: Whether the setting is in units of the root mean square of the value; else in
            units of the value.
    """

    places: tuple[str, ...] = eqx.field(static=True)
    relative: bool = eqx.field(static=True)
    axes: ClassVar[tuple[str, ...]] = ("activation noise",)
    clean: ClassVar[tuple[float, ...]] = (0.0,)
    random: ClassVar[bool] = True

    def __init__(self, *places: Place, relative: bool = True):
        self.places, self.relative = places, relative
        if not places:
            raise DeclarationError(
                "places",
                got="no place",
                expected="at least one named place",
                mend="bx.taps(model, x) lists them; '*' names all",
            )

    def upon(self, bases, settings, *, key, count):
        check_range(self.axes[0], settings, 0.0, np.inf)
        made = []
        for base, (setting,) in zip(bases, settings, strict=True):
            if isinstance(base, Ensemble) and base.change is not None:
                raise DeclarationError(
                    "inner",
                    got="models with noise on their activations",
                    expected="one activation noise in a combination",
                    mend="name all places in one: ActivationNoise('first', 'second')",
                )
            gibbs = base if isinstance(base, Gibbs) else base.gibbs
            weights, axes, shape = weights_and_axes(base, count)
            ensemble = Ensemble.of_models(gibbs, with_weights(gibbs.declared, weights), axes)
            noise = _Noisy(jnp.asarray(setting), self.places, self.relative)
            keys = jax.random.split(key, shape)
            made.append(dataclasses.replace(ensemble, change=noise, keys=keys))
        return tuple(made)


class _Noisy(eqx.Module):
    """A model with noise at some places."""

    scale: Float[Array, ""]
    places: tuple[str, ...] = eqx.field(static=True)
    relative: bool = eqx.field(static=True)

    def __call__(self, model: Model, key: Key) -> PyTree:
        keys = jax.random.split(key, len(self.places))
        noise = {
            place: Noise(self.scale, key=k, relative=self.relative)
            for place, k in zip(self.places, keys, strict=True)
        }
        return patched(model, noise)
