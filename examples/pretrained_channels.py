"""Information between a random and a trained net at every place, on ladders of sample sizes.

A transformer in training on Python's help texts (as in `transformer.py`) and a net from letters to
phonemes that others trained (`_speller.py`), each against a net of the same shape with random
weights. Both sides read the same input, so that they share information; what a plug-in estimate
says of it beyond that is bias, which falls with the number of samples (claim E2). The participation
ratios of the covariances, beside what samples of one variance in all directions would give, say
whether channels are scarce at random weights already (claim E1).
"""

from dataclasses import dataclass, replace
from pydoc_data.topics import topics

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import transformer
import tyro
from _cli import Drawn, save
from _speller import Speller, dictionary, pretrained

import boltzax as bx
from boltzax import channels


@dataclass
class Options(Drawn):
    """Sizes; `quick`: fewer samples, a smaller transformer, one floor."""

    sequences: int = 4096  # Sequences of the transformer, each read at its last position
    words: int = 8192  # Words of the speller, read after four letters and at the first phonemes
    width: int = 64  # Of the transformer
    layers: int = 2  # Of the transformer
    steps: int = 1800  # Of its training
    floors: tuple[float, ...] = (0.03, 0.3)  # Noise, relative to the spread of each side


def language(options: Options) -> tuple:
    """The transformer before and after its training, and sequences it has not been trained on."""
    own = transformer.Options(width=options.width, layers=options.layers, steps=(options.steps,))
    text = "".join(topics[name] for name in sorted(topics))
    tokens = bx.Tokens.characters(text, most=96)
    ids, key = tokens.encode(text), jax.random.key(options.seed)
    net = bx.models.Transformer(len(tokens), own.width, own.layers, 4, own.context, key=key)
    batches = bx.Batches(bx.Windows(ids, own.context, stride=1), 32, key=key)
    windows = bx.Windows(ids, own.context)
    chosen = np.linspace(0, len(windows) - 1, min(options.sequences, len(windows))).astype(int)
    return net, transformer.train(net, batches, own)[0], windows[chosen][0]


def spelling(options: Options) -> tuple:
    """A speller with random weights of the same sizes, the pretrained one, and words."""
    net = pretrained()
    leaves, structure = jax.tree.flatten(net)
    keys = jax.random.split(jax.random.key(options.seed), len(leaves))
    random = [jnp.std(w) * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys, strict=True)]
    _, (letters, before, _), _ = dictionary(options.words, np.random.default_rng(options.seed))
    return jax.tree.unflatten(structure, random), net, (letters, before)


class OneArgument(eqx.Module):
    """A speller of pairs of letters and phonemes."""

    net: Speller

    def __call__(self, datum):
        return self.net(*datum)


def sides(nets: list, data, patterns: tuple, steps: tuple) -> dict:
    """From place and step of the sequence to the matrices of both nets, `[sample, unit]`."""
    both = [channels.read_taps(net, data, *patterns) for net in nets]
    return {
        f"{name}[{step}]": [np.asarray(each[name][:, step]) for each in both]
        for name in both[0]
        for step in steps
    }


def draw(ladders: dict, path) -> None:
    """Plug-in and corrected information against the number of samples, place by place."""
    columns = -(-len(ladders) // 2)
    figure, axes = plt.subplots(2, columns, figsize=(3.1 * columns, 6), layout="constrained")
    for ax, (name, (paired, shuffled)) in zip(axes.flat, ladders.items(), strict=False):
        for ladder, color, label in ((paired, "C0", "same input"), (shuffled, "C3", "shuffled")):
            bx.plot.curve(ladder.corrected[:, -1], ax=ax, color=color, label=label)
            ax.plot(ladder.plug_in.x, ladder.plug_in.value[:, -1], ":", color=color)
        ax.set(title=name, xscale="log", ylabel="nats (dotted: plug-in)")
        ax.legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=130)


def main(options: Options) -> None:
    """Read both nets, measure at every place, print, write what was asked for."""
    if options.quick:
        options = replace(
            options, sequences=1024, words=1024, width=16, layers=1, steps=200, floors=(0.3,)
        )
    key, rng = jax.random.key(options.seed), np.random.default_rng(options.seed)
    inner = ("embedding", "blocks[*].attention", "blocks[*].mlp", "blocks[*].residual", "final")
    *nets, text = language(options)
    places = sides(nets, text, inner, (-1,))
    *nets, words = spelling(options)
    nets = [OneArgument(net) for net in nets]
    spelled = sides(nets, words, ("net.encoder", "net.decoder"), (1, 3))
    units = slice(16 if options.quick else None)  # few samples tell of few units
    places |= {name: [x[:, units] for x in pair] for name, pair in spelled.items()}
    results, ladders = {}, {}
    for name, (random, trained) in places.items():
        paired = channels.information_ladder(random, trained, floors=options.floors, key=key)
        shuffled = channels.information_ladder(
            random, rng.permutation(trained), floors=options.floors[-1:], key=key
        )
        print(f"{name}: {paired}\n  shuffled: {shuffled}", flush=True)
        ladders[name] = paired, shuffled
        results[name] = {
            "corrected": paired.corrected,
            "plug_in": paired.plug_in,
            "p_flat": paired.p_value,
            "excess": paired.excess,
            "shuffled_corrected": shuffled.corrected,
            "shuffled_plug_in": shuffled.plug_in,
            "shuffled_p_flat": shuffled.p_value,
        }
    save(results, options.json)
    if options.figure is not None:
        draw(ladders, options.figure)


if __name__ == "__main__":
    main(tyro.cli(Options))
