"""Grokking: the local learning coefficient and the survival of what is learned through it.

A net with square units learns to add modulo `modulus` from a part of the table, by AdamW with
weight decay. It first knows the training pairs by heart and fails on the others, and later adds. At
checkpoints through this transition the local learning coefficient is estimated, and the net is
degraded by noise on its weights: the relative noise at which its accuracy falls to a level, on the
training pairs and on the others, says how robust what it has learned is. Early checkpoints are no
minima, and a part of the rise of the coefficient there is the fall of the loss: the loss of the
draws is printed beside it.
"""

import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _cli import save, table

import boltzax as bx
from boltzax import degrade


@dataclass
class Options:
    """The task, the training, and how long to run."""

    modulus: int = 53
    """Numbers are added modulo this one."""
    share: float = 0.35
    """Share of the pairs that are trained on."""
    width: int = 128
    """Square units."""
    learning_rate: float = 0.003
    """Of AdamW."""
    weight_decay: float = 1.0
    """Of AdamW."""
    checkpoints: tuple[int, ...] = (100, 200, 300, 400, 600, 800, 1200, 2000, 4000)
    """Steps of AdamW after which the net is measured."""
    beta: float = 10.0
    """Factor of the summed energy: the labels have Gaussian noise of variance 1/β."""
    localisation: float = 100.0
    """Strength γ that holds the posterior at the checkpoint."""
    chains: int = 4
    """Chains at each checkpoint."""
    warmup: int = 200
    """Steps of HMC before the first draw."""
    draws: int = 150
    """Draws of each chain."""
    points: int = 10
    """Settings of the noise."""
    level: float = 0.5
    """Accuracy at which what is learned counts as dead."""
    seed: int = 0
    """Seed of all randomness."""
    quick: bool = False
    """A smaller modulus, fewer checkpoints and draws."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw the transition."""


class Adder(eqx.Module):
    """`V (A e_a + B e_b)²` of a pair (a, b), e_a the unit vectors."""

    first: jax.Array
    second: jax.Array
    readout: jax.Array

    def __init__(self, modulus: int, width: int, *, key: jax.Array):
        keys = jax.random.split(key, 3)
        self.first, self.second = (0.2 * jax.random.normal(k, (width, modulus)) for k in keys[:2])
        self.readout = 0.2 * jax.random.normal(keys[2], (modulus, width))

    def __call__(self, pair):
        return self.readout @ (self.first[:, pair[0]] + self.second[:, pair[1]]) ** 2


class Accuracy(eqx.Module):
    """The share of pairs whose sum has the greatest output."""

    pairs: jax.Array
    sums: jax.Array

    def __call__(self, model):
        return jnp.mean(jnp.argmax(jax.vmap(model)(self.pairs), axis=-1) == self.sums)


def trained(options: Options, energy: bx.SquaredError) -> list:
    """The net at the checkpoints."""
    optimiser = optax.adamw(options.learning_rate, weight_decay=options.weight_decay)

    def step(carry, _):
        model, state = carry
        updates, state = optimiser.update(jax.grad(energy.value)(model), state, model)
        return (optax.apply_updates(model, updates), state), None

    carry, models = (energy.model, optimiser.init(energy.model)), []
    for count in np.diff(options.checkpoints, prepend=0):
        carry, _ = jax.lax.scan(step, carry, None, length=int(count))
        models.append(carry[0])
    return models


def main(options: Options) -> None:
    """Train, estimate, degrade, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(options, modulus=23, share=0.5, width=64, warmup=100, draws=150)
        options = replace(options, checkpoints=(50, 100, 200, 400, 600, 800, 1200, 2000))
    rng = np.random.default_rng(options.seed)
    keys = jax.random.split(jax.random.key(options.seed), 3)
    pairs = rng.permutation(np.argwhere(np.ones((options.modulus, options.modulus), bool)))
    sums = pairs.sum(axis=1) % options.modulus
    n = int(options.share * len(pairs))
    known, held_out = (Accuracy(pairs[part], sums[part]) for part in (slice(n), slice(n, None)))
    targets = np.eye(options.modulus, dtype=np.float32)[sums]
    net = Adder(options.modulus, options.width, key=keys[0])
    energy = bx.SquaredError(net, bx.Empirical((pairs[:n], targets[:n])))
    models = trained(options, energy)
    test = bx.SquaredError(net, bx.Empirical((pairs[n:], targets[n:])))

    settings = bx.FixedSettings(
        options.beta,
        options.localisation,
        bx.HMC(),
        chains=options.chains,
        warmup=options.warmup,
        draws=options.draws,
        thin=1,
    )
    along = bx.along_training(energy, models, settings, key=keys[1], steps=options.checkpoints)
    print(along)
    noises = np.geomspace(0.05, 3, options.points)
    deaths = {"train_dies": (known, []), "test_dies": (held_out, [])}
    for model in models:
        here = bx.compile(bx.SquaredError(model, energy.measure), bx.Normal())
        for accuracy, found in deaths.values():
            curve = degrade.along_dial(
                degrade.WeightNoise(), noises, accuracy, gibbs=here, key=keys[2]
            )
            found.append(degrade.characteristic_temperature(curve, options.level))
    estimates = {"coefficient": along.coefficient.values, "draws_loss": along.loss_of_draws.values}
    estimates |= {name: bx.Estimate.stack(found) for name, (_, found) in deaths.items()}
    columns = {
        "step": options.checkpoints,
        "train_loss": along.loss.value,
        "test_loss": [test.value(model) / (len(pairs) - n) for model in models],
        "train_accuracy": [known(model) for model in models],
        "test_accuracy": [held_out(model) for model in models],
    }
    print(table(columns | {name: estimates[name].value for name in deaths}))
    print(table({f"± {name}": estimates[name].standard_error for name in deaths}))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results = {
        name: {"value": each.value, "standard_error": each.standard_error}
        for name, each in estimates.items()
    }
    rest = {"seconds": time.time() - began, "peak_MiB": peak}
    save(columns | results | rest, options.json)
    if options.figure is not None:
        draw(options, columns, estimates)


def draw(options: Options, columns: dict, estimates: dict) -> None:
    """Losses, coefficient, and the noise at which accuracy dies."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for name, marker in (("train_loss", "o"), ("test_loss", "s")):
        left.plot(columns["step"], columns[name], marker=marker, ms=4, label=name.replace("_", " "))
    left.set(ylabel="mean loss", yscale="log")
    panels = {"coefficient": (middle, "o"), "train_dies": (right, "o"), "test_dies": (right, "s")}
    for name, (ax, marker) in panels.items():
        each = estimates[name]
        bar, label = 1.96 * each.standard_error, name.split("_")[0] + " pairs"
        ax.errorbar(columns["step"], each.value, bar, marker=marker, ms=4, capsize=2, label=label)
    middle.set(ylabel="local learning coefficient, 95%")
    right.set(ylabel=f"relative weight noise at accuracy {options.level:g}, 95%")
    for ax in (left, middle, right):
        ax.set(xlabel="steps of AdamW", xscale="log")
    left.legend(frameon=False)
    right.legend(frameon=False)
    figure.savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
