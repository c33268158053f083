"""How robust is what a net has learned as it comes to add: the noise at which it dies.

The nets of `grokking.py` are degraded by noise on their weights. The relative noise at which the
accuracy falls to a level, on the training pairs and on the others, says how robust that is which
was learned by heart, and that which is computed.
"""

from dataclasses import dataclass

import jax
import numpy as np
import tyro
from _adder import Adding, learned
from _cli import save, table

import boltzax as bx
from boltzax import degrade


@dataclass
class Options(Adding):
    """Task, training and noise; `quick`: a smaller modulus, fewer checkpoints."""

    points: int = 10  # Settings of the noise
    level: float = 0.5  # Accuracy at which what is learned counts as dead


def main(options: Options) -> None:
    """Train, degrade, print, write what was asked for."""
    options = options.sized()
    noises = np.geomspace(0.05, 3, 8 if options.quick else options.points)
    nets, key = learned(options), jax.random.key(options.seed)
    places = {"train": [], "test": []}
    for model in nets.models:
        gibbs = bx.compile(bx.SquaredError(model, nets.trained.measure), bx.Normal())
        accuracy = degrade.along_dial(
            degrade.WeightNoise(), noises, nets.accuracies, gibbs=gibbs, key=key
        )
        for name, curve in accuracy.columns(list(places)).items():
            places[name].append(degrade.characteristic_temperature(curve, options.level))
    dies = {name: bx.Estimate.stack(each) for name, each in places.items()}
    print(table({"step": options.checkpoints} | dies))
    save({"step": options.checkpoints, "dies": dies}, options.json)
    with bx.plot.panels(path=options.figure) as (ax,):
        for name, noise in dies.items():
            bx.plot.estimate(options.checkpoints, noise, ax=ax, label=name)
        ylabel = f"weight noise at accuracy {options.level:g}"
        ax.set(xlabel="step of AdamW", xscale="log", ylabel=ylabel)


if __name__ == "__main__":
    main(tyro.cli(Options))
