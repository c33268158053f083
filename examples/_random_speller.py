"""Spellers of pairs, and random weights of the sizes of the pretrained ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
from _speller import Speller
from jaxtyping import Array


class OneArgument(eqx.Module):
    """A speller of pairs of letters and phonemes."""

    net: Speller

    def __call__(self, datum):
        return self.net(*datum)


def random_like(net: Speller, key: Array) -> Speller:
    """A speller with random weights of the sizes of another one's."""
    leaves, structure = jax.tree.flatten(net)
    pairs = zip(leaves, jax.random.split(key, len(leaves)), strict=True)
    random = [jnp.std(w) * jax.random.normal(k, w.shape) for w, k in pairs]
    return jax.tree.unflatten(structure, random)
