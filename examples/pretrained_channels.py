"""Information between a random and a trained net at every place, on ladders of sample sizes.

A transformer in training on help texts and a net from letters to phonemes that others trained (see
`_speller.py` for what to install), each against a net of its shape with random weights, on the same
input. Shuffled samples of one side are independent of the other. Participation ratios, eigenvalues
beyond white noise and singular values of the derivative of the transformer's last norm by its
embedding say whether channels are scarce at random weights already.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import tyro
from _cli import Drawn, save
from _random_speller import OneArgument, random_like
from _speller import dictionary, pretrained
from _text_net import TextNet

import boltzax as bx
from boltzax import channels


@dataclass
class Options(Drawn):
    """Sizes; `quick`: fewer samples, a smaller transformer, one floor, 16 units of the speller."""

    sequences: int = 4096  # Sequences of the transformer, each read at its last position
    words: int = 8192  # Words of the speller, read after two and after four letters and phonemes
    width: int = 64  # Of the transformer
    layers: int = 2  # Of the transformer
    steps: int = 1800  # Of its training
    floors: tuple[float, ...] = (0.03, 0.3)  # Noise, relative to the spread of each side


def main(options: Options) -> None:
    """Read all nets, measure at every place, print, write what was asked for."""
    if options.quick:
        small = {"sequences": 1024, "words": 1024, "width": 16, "layers": 1, "steps": 200}
        options = replace(options, floors=(0.3,), **small)
    key, rng = jax.random.key(options.seed), np.random.default_rng(options.seed)
    sizes = {"width": options.width, "layers": options.layers, "steps": (options.steps,)}
    text = TextNet(sequences=options.sequences, **sizes)
    (tokens, ids), speller = text.text(), pretrained()
    net, sequences = text.net(tokens, key), text.some(ids)[0]
    nets = {"random": net, "trained": text.trained(net, ids, key)[0]}
    for word, each in nets.items():
        found = channels.jacobian_spectrum(each, sequences[::128, :8], of="final", by="embedding")
        print(f"{word} transformer, last norm by embedding, 8 characters: {found}")
    words = dictionary(options.words, np.random.default_rng(options.seed))[1][:2]
    spellers = [OneArgument(each) for each in (random_like(speller, key), speller)]
    inner = ("embedding", "blocks[*].attention", "blocks[*].mlp", "blocks[*].residual", "final")
    sides, results, ladders = {}, {}, {}
    for pair, data, patterns, steps, units in (
        (nets.values(), sequences, inner, (-1,), None),
        (spellers, words, ("net.encoder", "net.decoder"), (1, 3), 16 if options.quick else None),
    ):
        read = [channels.read_taps(each, data, *patterns) for each in pair]
        for name, step in ((name, step) for name in read[0] for step in steps):
            sides[f"{name}[{step}]"] = [np.asarray(each[name][:, step, :units]) for each in read]
    for name, (random, trained) in sides.items():
        same = channels.information_ladder(random, trained, floors=options.floors, key=key)
        mixed, last = rng.permutation(trained), same.floors[-1:]
        shuffled = channels.information_ladder(random, mixed, floors=last, key=key)
        ratios = [channels.participation_ratio(x) for x in (random, trained)]
        counts = [channels.covariance_spectrum(x).count for x in (random, trained)]
        print(f"\n{name}, {random.shape[1]} units\n{same}\nshuffled samples: {shuffled}")
        print(f"random, trained: participation {ratios[0]:.3g}, {ratios[1]:.3g}; beyond {counts}")
        results[name] = {"same": same, "shuffled": shuffled, "ratios": ratios, "beyond": counts}
        ladders |= {f"{name}, same input": same, f"{name}, shuffled": shuffled}
    save(results, options.json)
    with bx.plot.panels(len(sides), 2, path=options.figure) as axes:
        for ax, (title, ladder) in zip(axes, ladders.items(), strict=True):
            bx.plot.information_ladder(ladder, ax=ax).set(title=title)


if __name__ == "__main__":
    main(tyro.cli(Options))
