"""Is the path of a training a clock? Its principal components against two null trajectories.

A tanh net learns a smaller one by minibatches of SGD. Principal components of its weights over time
are compared with those of a random walk and of a noisy relaxation to one point, for the whole
training, for its first part and for its last part, where the gradients are mostly noise. As a
check a random walk with as many weights goes through the same test.
"""

import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _cli import save

import boltzax as bx


@dataclass
class Options:
    """What is trained, and how often it is looked at."""

    width: int = 64
    """Units of the student."""
    dim: int = 10
    """Dimension of the inputs, N(0, 1) each."""
    n: int = 2000
    """Number of data."""
    noise: float = 0.3
    """Standard deviation of the label noise."""
    learning_rate: float = 0.05
    """Of SGD."""
    batch: int = 20
    """Data in a minibatch."""
    checkpoints: int = 400
    """Number of checkpoints."""
    every: int = 100
    """Steps between two checkpoints."""
    seed: int = 0
    """Seed of all randomness."""
    quick: bool = False
    """120 checkpoints, 40 steps apart."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw components over time and against each other."""


def trained(options: Options, x: jax.Array, y: jax.Array, key: jax.Array) -> tuple:
    """Weights `[checkpoint, weight]` and losses of the student along its training."""
    key_start, key_batches = jax.random.split(key)
    student = bx.models.TwoLayer(options.width, dim=options.dim, key=key_start)
    optimiser = optax.sgd(options.learning_rate)

    def loss(model, x, y):
        return 0.5 * jnp.mean((jax.vmap(model)(x) - y) ** 2)

    def step(carry, key):
        model, state = carry
        rows = jax.random.choice(key, options.n, (options.batch,))
        gradient = jax.grad(loss)(model, x[rows], y[rows])
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(model, updates), state), None

    def checkpoint(carry, key):
        carry, _ = jax.lax.scan(step, carry, jax.random.split(key, options.every))
        return carry, (jax.flatten_util.ravel_pytree(carry[0])[0], loss(carry[0], x, y))

    keys = jax.random.split(key_batches, options.checkpoints)
    _, (weights, losses) = jax.lax.scan(checkpoint, (student, optimiser.init(student)), keys)
    return np.asarray(weights), np.asarray(losses)


def main(options: Options) -> None:
    """Train, test, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(options, checkpoints=120, every=40)
    keys = jax.random.split(jax.random.key(options.seed), 6)
    x = jax.random.normal(keys[0], (options.n, options.dim))
    teacher = bx.models.TwoLayer(4, dim=options.dim, key=keys[1])
    y = jax.vmap(teacher)(x) + options.noise * jax.random.normal(keys[2], (options.n,))
    weights, losses = trained(options, x, y, keys[3])
    part = options.checkpoints // 3
    noise = np.random.default_rng(options.seed).normal(size=weights.shape)
    paths = {
        "whole training": weights,
        "first third": weights[:part],
        "last third": weights[-part:],
        "random walk": np.cumsum(noise, axis=0),
    }
    rows = {name: bx.degrade.trajectory_spectrum(p, key=keys[4]) for name, p in paths.items()}
    results = {}
    for name, found in rows.items():
        print(f"{name}: {found!r}\n")
        results[name] = {
            "fractions": found.fractions, "expected": found.expected, "cosines": found.cosines,
            "p_walk": found.walk.p_value, "p_relaxation": found.relaxation.p_value,
            "memory": found.memory,
        }  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rest = {"losses": losses, "seconds": time.time() - began, "peak_MiB": peak}
    print(f"loss {losses[0]:.4f} to {losses[-1]:.4f}; {rest['seconds']:.0f} s, {peak:.0f} MiB")
    save(results | rest, options.json)
    if options.figure is not None:
        draw(rows, options.figure)


def draw(rows: dict, path: Path) -> None:
    """The first two components against each other, and the shares of variance."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, len(rows), figsize=(3.0 * len(rows), 5.4), layout="constrained")
    for (above, below), (name, found) in zip(axes.T, rows.items(), strict=True):
        above.plot(*np.asarray(found.components).T[:2], lw=0.8, color="#2a6f97")
        above.set(title=name, xlabel="component 1", ylabel="component 2", xticks=[], yticks=[])
        k = np.arange(1, len(found.fractions) + 1)
        below.fill_between(k, *found.walk_band, color="0.85", label="random walk")
        below.plot(k, found.relaxation_band.T, color="#c1121f", lw=0.8, ls=":")
        below.plot(k, found.fractions, "o-", ms=3, color="#2a6f97")
        below.set(yscale="log", xlabel="component", ylabel="share of variance")
    fig.savefig(path, dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
