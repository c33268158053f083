"""Grokking: the local learning coefficient as a net comes to add.

A net learns to add modulo a number from a part of the table, by AdamW with weight decay: it first
knows the training pairs by heart and fails on the others, and later adds. At checkpoints through
this transition the local learning coefficient is estimated. Early checkpoints are no minima, and a
part of the rise of the coefficient there is the fall of the loss: the loss of the draws is printed
beside it. `grokking_survival.py` degrades the same nets by noise.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import tyro
from _adder import Adding, learned
from _cli import save, table

import boltzax as bx


@dataclass
class Options(Adding):
    """Task, training, and how long to run; `quick`: a smaller modulus, fewer checkpoints."""

    beta: float = 10.0  # Factor of the summed energy: Gaussian noise of variance 1/β on the labels
    localisation: float = 100.0  # Strength γ that holds the posterior at the checkpoint
    chains: int = 4  # Chains at each checkpoint
    warmup: int = 300  # Steps of HMC before the first draw
    draws: int = 150  # Draws of each chain
    thin: int = 3  # Steps of HMC between draws


def main(options: Options) -> None:
    """Train, estimate, print, write what was asked for."""
    options = replace(options.sized(), warmup=100) if options.quick else options
    nets, steps = learned(options), options.checkpoints
    settings = bx.FixedSettings(
        options.beta, options.localisation, bx.HMC(), chains=options.chains, warmup=options.warmup,
        draws=options.draws, thin=options.thin,
    )  # fmt: skip
    key = jax.random.key(options.seed)
    along = bx.along_training(nets.trained, nets.models, settings, key=key, steps=steps)
    accuracy = np.array([nets.accuracies(model) for model in nets.models])
    held_out = len(nets.held_out.measure.data[0])
    columns = {
        "step": steps,
        "test_loss": [nets.held_out.value(model) / held_out for model in nets.models],
        "train_accuracy": accuracy[:, 0],
        "test_accuracy": accuracy[:, 1],
    }
    print(along, table(columns), sep="\n")
    save(columns | {"along": along}, options.json)
    with bx.plot.panels(1, 2, path=options.figure) as axes:
        bx.plot.along_training(along, ax=axes[0])
        for style, name in (("C0o-", "train"), ("C1s-", "test")):
            axes[1].plot(steps, columns[f"{name}_accuracy"], style, label=name)
        axes[1].set(xlabel="step of AdamW", xscale="log", ylabel="accuracy")
        axes[1].legend()


if __name__ == "__main__":
    main(tyro.cli(Options))
