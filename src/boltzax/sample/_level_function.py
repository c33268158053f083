"""A level function of weights whose prior is whitened."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..compile import Gibbs, Weights
from ..core import Count, Key, map_within, typed, with_weights
from ..declare import closed_quantile
from ._kernel import noise_like

LARGE = 1000
"""Weights from which on normals are drawn at half the price."""


@typed
class Level(eqx.Module):
    """A level function of whitened weights: `level(model(u))` for standard normal `u`.

    `gibbs` holds the declared model and prior; `function` maps a model to a number.
    """

    gibbs: Gibbs
    function: Callable

    def __call__(self, u: Weights) -> Float[Array, ""]:
        return self._of(self.model(u))

    def _of(self, model: PyTree) -> Float[Array, ""]:
        value = self.function(model)
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    def model(self, u: Weights) -> PyTree:
        """The model whose weights are the images of `u`."""
        return with_weights(self.gibbs.declared, self.gibbs.coordinates.from_normal(u))

    def at_draw(self, key: Key) -> Float[Array, ""]:
        """The level of one draw of the prior, of any prior that can be drawn from."""
        if all(closed_quantile(prior) for prior in self.gibbs.coordinates.priors.values()):
            return self(self.draw(key))
        return self._of(self.gibbs.model(self.gibbs.sample_prior(key)))

    def template(self) -> Weights:
        """Zeros of the shape of `u`."""
        coordinates = self.gibbs.coordinates
        return {path: jnp.zeros_like(coordinates.base[path]) for path in coordinates.priors}

    def draw(self, key: Key) -> Weights:
        """One standard normal `u`: a draw of the prior, before whitening is undone."""
        return noise_like(self.template(), key)

    def draws(self, key: Key, count: Count) -> Weights:
        """So many of them, with a leading axis.

        Of more than `LARGE` weights in float32's resolution (see `boltzax.sample`), whatever they
        are computed in: in float64 the drawing would cost more than the model.
        """
        template = self.template()
        large = sum(leaf.size for leaf in template.values()) > LARGE
        many = {
            path: jnp.zeros((count, *x.shape), jnp.float32 if large else x.dtype)
            for path, x in template.items()
        }
        drawn = noise_like(many, key)
        return {path: drawn[path].astype(x.dtype) for path, x in template.items()}


@eqx.filter_jit
def levels_of_draws(level: Level, key: Key, samples: int, memory: int) -> Float[Array, " sample"]:
    """The levels of independent draws of the prior."""
    # a draw has intermediate values of its own besides those of its level
    return map_within(level.at_draw, jax.random.split(key, samples), memory // 16)
