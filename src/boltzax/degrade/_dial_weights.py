"""Dials on the weights of a trained model: noise, pruning, quantisation, earlier checkpoints."""

from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..compile import Gibbs
from ..core import DeclarationError, Model, typed
from ..sample import Ensemble, noise_like
from ._dial import AbstractDial, AbstractWeightDial


@typed
class WeightNoise(AbstractWeightDial):
    """Independent Gaussian noise on every weight. The setting is its standard deviation.

    Args:
        paths: Which free leaves: a path, prefix or glob; all by default.
        relative: Whether the setting is in units of the root mean square of each leaf; else in
            units of the weights.
    """

    paths: str = eqx.field(default="*", static=True)
    relative: bool = eqx.field(default=True, static=True)
    axes: ClassVar[tuple[str, ...]] = ("weight noise",)
    clean: ClassVar[tuple[float, ...]] = (0.0,)
    random: ClassVar[bool] = True
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = np.inf

    def changed(self, weights, setting, key):
        noise = noise_like(weights, key)

        def size(leaf: Array) -> Array:
            return jnp.sqrt(jnp.mean(leaf**2)) if self.relative else jnp.ones(())

        return {p: leaf + setting * size(leaf) * noise[p] for p, leaf in weights.items()}


@typed
class Pruning(AbstractWeightDial):
    """The weights of least magnitude set to zero. The setting is their share of all weights.

    Args:
        paths: Which free leaves: a path, prefix or glob; all by default.
        each: Whether the share is that of each leaf; else magnitudes are compared across leaves.
    """

    paths: str = eqx.field(default="*", static=True)
    each: bool = eqx.field(default=False, static=True)
    axes: ClassVar[tuple[str, ...]] = ("share pruned",)
    clean: ClassVar[tuple[float, ...]] = (0.0,)
    random: ClassVar[bool] = False
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def changed(self, weights, setting, key):
        if self.each:
            return {path: _pruned(leaf, setting) for path, leaf in weights.items()}
        flat, unravel = ravel_pytree(weights)
        return unravel(_pruned(flat, setting))


def _pruned(leaf: Array, share: Array) -> Array:
    ranks = jnp.argsort(jnp.argsort(jnp.abs(leaf), axis=None))
    kept = ranks >= jnp.round(share * leaf.size)
    return jnp.where(kept.reshape(leaf.shape), leaf, jnp.zeros_like(leaf))


@typed
class Quantisation(AbstractWeightDial):
    """Every leaf rounded to `2^bits` evenly spaced values. The setting is the number of bits.

    The values reach from minus to plus the greatest magnitude of the leaf, both included: at one
    bit only the signs remain. Bits need not be whole; the number of values is.

    Args:
        paths: Which free leaves: a path, prefix or glob; all by default.
    """

    paths: str = eqx.field(default="*", static=True)
    axes: ClassVar[tuple[str, ...]] = ("bits",)
    clean: ClassVar[tuple[float, ...]] = (np.inf,)
    random: ClassVar[bool] = False
    low: ClassVar[float] = 1.0
    high: ClassVar[float] = 24.0

    def changed(self, weights, setting, key):
        gaps = jnp.round(2.0**setting) - 1

        def rounded(leaf: Array) -> Array:
            most = jnp.max(jnp.abs(leaf))
            step = jnp.where(most > 0, 2 * most / gaps, 1.0)
            return jnp.round((leaf + most) / step) * step - most

        return {path: rounded(leaf) for path, leaf in weights.items()}


@typed
class Snapshots(AbstractDial):
    """Models from a training, such as its earlier checkpoints. The setting is their step.

    Args:
        models: In the order of the training, the last one being the clean one.
        steps: The step of each, in rising order.
    """

    models: tuple[Model, ...]
    steps: Float[np.ndarray, " checkpoint"]
    axes: ClassVar[tuple[str, ...]] = ("step",)
    random: ClassVar[bool] = False

    def __init__(self, models: Sequence[Model], steps: Sequence[float]):
        self.models, self.steps = tuple(models), np.asarray(steps, float)
        rising = np.all(np.diff(self.steps) > 0) and np.all(np.isfinite(self.steps))
        if len(models) != len(steps) or not len(models) or not rising:
            raise DeclarationError(
                "steps",
                got=f"{list(steps)!r:.80} for {len(models)} models",
                expected="one finite step for each model, in rising order",
                mend="pass the step at which each model was saved",
            )

    @property
    def clean(self) -> tuple[float, ...]:
        return (float(self.steps[-1]),)

    def upon(self, bases, settings, *, key, count):
        made = []
        for base, (setting,) in zip(bases, settings, strict=True):
            place = np.flatnonzero(self.steps == setting)
            if not len(place):
                raise DeclarationError(
                    "settings",
                    got=f"step {setting:g}",
                    expected=f"one of the steps {self.steps.tolist()}",
                    mend="pass dial.steps, or a part of them",
                )
            if not isinstance(base, Gibbs):
                raise DeclarationError(
                    "inner",
                    got="a dial inside Snapshots",
                    expected="Snapshots as the inner dial, since it takes other models",
                    mend="write other @ bx.degrade.Snapshots(...)",
                )
            made.append(Ensemble.of_models(base, [self.models[place[0]]]))
        return tuple(made)
