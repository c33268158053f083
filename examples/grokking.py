"""Grokking: the local learning coefficient and the survival of what is learned through it.

A net with square units learns to add modulo `modulus` from a part of the table, by AdamW with
weight decay. It first knows the training pairs by heart and fails on the others, and later adds. At
checkpoints through this transition the local learning coefficient is estimated, and the net is
degraded by noise on its weights: the relative noise at which its accuracy falls to a level, on the
training pairs and on the others, says how robust what it has learned is. Early checkpoints are no
minima, and a part of the rise of the coefficient there is the fall of the loss: the loss of the
draws is printed beside it.
"""

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import tyro
from _cli import Drawn, save, table

import boltzax as bx
from boltzax import degrade


@dataclass
class Options(Drawn):
    """Task, training, and how long to run; `quick`: a smaller modulus, fewer checkpoints."""

    modulus: int = 53  # Numbers are added modulo this one
    share: float = 0.35  # Share of the pairs that are trained on
    width: int = 128  # Square units
    learning_rate: float = 0.003  # Of AdamW
    weight_decay: float = 1.0  # Of AdamW
    checkpoints: tuple[int, ...] = (100, 200, 300, 400, 600, 800, 1200, 2000, 4000)
    """Steps of AdamW after which the net is measured."""
    beta: float = 10.0
    """Factor of the summed energy: the labels have Gaussian noise of variance 1/β."""
    localisation: float = 100.0  # Strength γ that holds the posterior at the checkpoint
    chains: int = 4  # Chains at each checkpoint
    warmup: int = 300  # Steps of HMC before the first draw
    draws: int = 150  # Draws of each chain
    thin: int = 3  # Steps of HMC between draws
    points: int = 10  # Settings of the noise
    level: float = 0.5  # Accuracy at which what is learned counts as dead


class Adder(eqx.Module):
    """`V (A e_a + B e_b)²` of a pair (a, b), e_a the unit vectors."""

    first: jax.Array
    second: jax.Array
    readout: jax.Array

    def __call__(self, pair):
        return self.readout @ (self.first[:, pair[0]] + self.second[:, pair[1]]) ** 2


def main(options: Options) -> None:
    """Train, estimate, degrade, print, write what was asked for."""
    if options.quick:
        options = replace(options, modulus=23, share=0.5, width=64, warmup=100, points=8)
        options = replace(options, checkpoints=(50, 100, 200, 400, 800, 2000))
    p, width = options.modulus, options.width
    rng, key = np.random.default_rng(options.seed), jax.random.key(options.seed)
    pairs = rng.permutation(np.argwhere(np.ones((p, p), bool)))
    sums, n = pairs.sum(axis=1) % p, int(options.share * len(pairs))
    targets = np.eye(p, dtype=np.float32)[sums]
    shapes = ((width, p), (width, p), (p, width))
    net = Adder(*(0.2 * rng.normal(size=shape).astype(np.float32) for shape in shapes))
    energy = bx.SquaredError(net, bx.Empirical((pairs[:n], targets[:n])))
    held_out = bx.SquaredError(net, bx.Empirical((pairs[n:], targets[n:])))
    adamw = optax.adamw(options.learning_rate, weight_decay=options.weight_decay)
    models = bx.trained(energy, adamw, options.checkpoints)

    settings = bx.FixedSettings(
        options.beta, options.localisation, bx.HMC(), chains=options.chains, warmup=options.warmup,
        draws=options.draws, thin=options.thin,
    )  # fmt: skip
    along = bx.along_training(energy, models, settings, key=key, steps=options.checkpoints)
    print(along)

    def accuracies(model):
        right = jnp.argmax(jax.vmap(model)(pairs), axis=-1) == sums
        return jnp.stack([jnp.mean(right[:n]), jnp.mean(right[n:])])

    noises, deaths = np.geomspace(0.05, 3, options.points), ([], [])
    for model in models:
        gibbs = bx.compile(bx.SquaredError(model, energy.measure), bx.Normal())
        curve = degrade.along_dial(degrade.WeightNoise(), noises, accuracies, gibbs=gibbs, key=key)
        for i, places in enumerate(deaths):
            places.append(degrade.characteristic_temperature(curve[:, i], options.level))
    train_dies, test_dies = (bx.Estimate.stack(places) for places in deaths)
    accuracy = np.array([accuracies(model) for model in models]).T
    left_out = [held_out.value(model) / (len(pairs) - n) for model in models]
    columns = {"step": options.checkpoints, "test_loss": left_out}
    columns |= {"train_accuracy": accuracy[0], "test_accuracy": accuracy[1]}
    dies = {"train": train_dies, "test": test_dies}
    for name, noise in dies.items():
        columns |= {f"{name} dies": noise.value, "±": noise.standard_error}
    print(table(columns))
    save(columns | {"along": along, "dies": dies}, options.json)
    if options.figure is not None:
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
        bx.plot.along_training(along, ax=left)
        for style, (name, noise) in zip(("C0o", "C1s"), dies.items(), strict=True):
            middle.plot(columns["step"], columns[f"{name}_accuracy"], f"{style}-", label=name)
            band = {"color": style[:2], "marker": style[2:], "label": f"{name}, 95% band"}
            bx.plot.estimate(columns["step"], noise, ax=right, **band)
        middle.set(ylabel="accuracy")
        right.set(ylabel=f"weight noise at accuracy {options.level:g}")
        for ax in (middle, right):
            ax.set(xlabel="step of AdamW", xscale="log")
            ax.legend(frameon=False)
        figure.savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
