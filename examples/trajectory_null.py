"""Is the path of a training a clock? Its principal components against two null trajectories.

A tanh net learns a smaller one by minibatches of SGD. Principal components of its weights over time
are compared with those of a random walk and of a noisy relaxation to one point, for the whole
training, its first part and its last, where gradients are mostly noise. As a check, random walks
with as many weights go through the same test.
"""

from dataclasses import dataclass, replace

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _cli import Drawn, save

import boltzax as bx


@dataclass
class Options(Drawn):
    """What is trained, and how often it is looked at; `quick`: 2 trainings, 120 short intervals."""

    width: int = 64  # Units of the student
    dim: int = 10  # Dimension of the inputs, N(0, 1) each
    n: int = 2000  # Number of data
    batch: int = 20  # Data in a minibatch of SGD
    checkpoints: int = 400  # Number of checkpoints
    every: int = 100  # Steps between two checkpoints
    trainings: int = 4  # Trainings, each with a teacher, data and a start of its own


def paths(options: Options, key: jax.Array) -> dict:
    """The weights of one student along its training, and a random walk."""
    keys = jax.random.split(key, 6)
    x = jax.random.normal(keys[0], (options.n, options.dim))
    teacher = bx.models.TwoLayer(4, dim=options.dim, key=keys[1])
    y = jax.vmap(teacher)(x) + 0.3 * jax.random.normal(keys[2], (options.n,))
    student = bx.models.TwoLayer(options.width, dim=options.dim, key=keys[3])
    energy = bx.SquaredError(student, bx.Subsampled(bx.Empirical((x, y)), options.batch))
    steps = options.every * np.arange(1, options.checkpoints + 1)
    models = bx.trained(energy, optax.sgd(0.05), steps, key=keys[4])
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    whole = bx.Ensemble.of_models(gibbs, models, axes=("checkpoint",))
    part, shape = options.checkpoints // 3, (options.checkpoints, gibbs.dim)
    walk = jnp.cumsum(jax.random.normal(keys[5], shape), axis=0)
    parts = {"whole training": whole, "first third": whole[:part], "last third": whole[-part:]}
    return parts | {"random walk": walk}


def main(options: Options) -> None:
    """Train, test, print, write what was asked for."""
    if options.quick:
        options = replace(options, checkpoints=120, every=40, trainings=2)
    spectra, shares = {}, {}
    for number in range(options.trainings):
        key = jax.random.fold_in(jax.random.key(options.seed), number)
        for name, path in paths(options, key).items():
            spectrum = bx.degrade.trajectory_spectrum(path, key=key)
            spectra[name] = [*spectra.get(name, []), spectrum]
    for name, several in spectra.items():
        print(f"{name}, first of {options.trainings}: {several[0]!r}")
        print("  p-values, walk:", *(f"{each.walk.p_value:.3f}" for each in several), end="; ")
        print("relaxation:", *(f"{each.relaxation.p_value:.3f}" for each in several))
        shares[name] = bx.Estimate.of_replicates([float(each.fractions[0]) for each in several])
        print(f"  share of component 1: {shares[name]!r}\n")
    save({"share_of_component_1": shares, "spectra": spectra}, options.json)
    with bx.plot.panels(len(spectra), 2, path=options.figure) as axes:
        for (left, right), (name, (first, *_)) in zip(axes.reshape(-1, 2), spectra.items()):
            left.plot(*np.asarray(first.components).T[:2], lw=0.8)
            left.set(title=name, xlabel="component 1", ylabel="component 2")
            bx.plot.trajectory_spectrum(first, ax=right)


if __name__ == "__main__":
    main(tyro.cli(Options))
