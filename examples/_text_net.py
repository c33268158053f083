"""A small transformer in training on the characters of Python's own help texts."""

from dataclasses import dataclass
from pydoc_data.topics import topics

import equinox as eqx
import jax
import numpy as np
import optax
from _cli import Drawn

import boltzax as bx


@dataclass
class TextNet(Drawn):
    """The net and its training, and the settings of the coefficients."""

    width: int = 64  # Length of the vector of a position
    layers: int = 2  # Number of blocks
    heads: int = 4  # Heads of each attention
    context: int = 64  # Characters of a sequence
    steps: tuple[int, ...] = (0, 50, 200, 600, 1800, 5400)  # Steps of the checkpoints, in order
    learning_rate: float = 3e-3  # Of Adam
    sequences: int = 128  # Sequences that are measured
    per_mean: float = 30.0  # nβ, the factor of the mean loss
    localisation: float = 300.0  # γ of the localising Gaussian
    step_size: float = 3e-4  # Step of SGLD
    draws: int = 10  # Draws of a chain, ten steps apart; 100 and more for errors to be trusted

    @property
    def settings(self) -> bx.FixedSettings:
        """Those of the coefficients."""
        nbeta, kernel = bx.temperature.Temperature(self.per_mean), bx.SGLD(self.step_size)
        return bx.FixedSettings(nbeta, self.localisation, kernel, warmup=50, draws=self.draws)

    def text(self) -> tuple[bx.Tokens, np.ndarray]:
        """The tokens, and the ids of the text."""
        text = "".join(topics[name] for name in sorted(topics))
        tokens = bx.Tokens.characters(text, most=96)
        return tokens, tokens.encode(text)

    def net(self, tokens: bx.Tokens, key: jax.Array) -> bx.models.Transformer:
        """A net with random weights."""
        sizes = (self.width, self.layers, self.heads, self.context)
        return bx.models.Transformer(len(tokens), *sizes, key=key)

    def some(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sequences and their labels, evenly spaced in the text."""
        windows = bx.Windows(ids, self.context)
        count = min(self.sequences, len(windows))
        return windows[np.linspace(0, len(windows) - 1, count).astype(int)]

    def trained(self, net: bx.models.Transformer, ids: np.ndarray, key: jax.Array) -> list:
        """The models at the steps of the checkpoints."""
        adam = optax.adam(self.learning_rate)
        batches = bx.Batches(bx.Windows(ids, self.context, stride=1), 32, key=key)

        def loss(model, x, y):
            logits = jax.vmap(model)(x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        @jax.jit
        def step(model, state, batch):
            updates, state = adam.update(eqx.filter_grad(loss)(model, *batch), state)
            return optax.apply_updates(model, updates), state

        models, state = {0: net}, adam.init(net)
        for number in range(max(self.steps)):
            net, state = step(net, state, batches[number])
            models[number + 1] = net if number + 1 in self.steps else None
        return [models[number] for number in self.steps]
