"""A character-level transformer, trained by Adam on text that comes with Python."""

from pydoc_data import topics

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import boltzax as bx

LENGTH = 64


def sequences() -> tuple[np.ndarray, int]:
    """Sequences of `LENGTH + 1` characters in random order, and the number of characters."""
    text = "".join(topics.topics[name] for name in sorted(topics.topics))
    characters = sorted(set(text))
    number = {character: i for i, character in enumerate(characters)}
    ids = np.array([number[character] for character in text], np.int32)
    rows = ids[: len(ids) // (LENGTH + 1) * (LENGTH + 1)].reshape(-1, LENGTH + 1)
    return np.random.default_rng(0).permutation(rows), len(characters)


def loss(model, row):
    """Mean cross-entropy of the next character, in nats."""
    chances = jax.nn.log_softmax(model(row[:-1]))
    return -jnp.mean(jnp.take_along_axis(chances, row[1:, None], 1))


@eqx.filter_jit
def _update(model, state, rows, optimiser):
    def mean(model):
        return jnp.mean(jax.vmap(lambda row: loss(model, row))(rows))

    slope = eqx.filter_grad(mean)(model)
    change, state = optimiser.update(slope, state)
    return eqx.apply_updates(model, change), state


def trained(steps: int, width: int = 64):
    """A net of two layers after so many steps of Adam, and the sequences."""
    rows, characters = sequences()
    model = bx.models.Transformer(
        characters, width=width, layers=2, heads=4, context=LENGTH, key=jax.random.key(0)
    )
    optimiser = optax.adam(3e-3)
    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))
    rng = np.random.default_rng(1)
    for _ in range(steps):
        few = rows[rng.integers(0, len(rows), 32)]
        model, state = _update(model, state, few, optimiser)
    return model, rows
