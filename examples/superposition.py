"""The toy model of superposition: its k-gons, and which of them training and the posterior choose.

`f(x) = relu(Wᵀ W x + b)` with `W` `[2, features]` reconstructs inputs with one active feature,
uniform on [0, 1] (Chen et al. 2023, arXiv:2310.06301). Its critical points are polygons of columns
of `W`: for six features with losses .06874, .06180, .04819 and coefficients 7, 8.5, 8.5. The
example descends to them, estimates their local learning coefficients, and compares the order in
which training reaches them with the order in which the posterior prefers them as n grows.
"""

from dataclasses import dataclass, replace

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import tyro
from _cli import Drawn, save, table

import boltzax as bx

PHASES = ("other", "4-gon", "5-gon", "5-gon, b > 0", "6-gon")


@dataclass
class Options(Drawn):
    """The declaration, and how long to run; `quick`: fewer draws, trainings and steps."""

    features: int = 6  # Number of features
    n: float = 300_000.0  # Inverse temperature of the mean loss at which coefficients are estimated
    log_n: tuple[float, ...] = tuple(np.arange(1.0, 8.1, 0.5))
    """Logarithms of the inverse temperatures of the posterior."""
    tolerance: float = 0.02  # Relative standard error at which an estimate of a coefficient stops
    draws: int = 1000  # Draws of each chain of the posterior
    thin: int = 100  # Steps of the random walk for each draw
    trainings: int = 64  # Training runs
    steps: int = 20_000  # Steps of each training run
    learning_rate: float = 0.02  # Of gradient descent


class Toy(eqx.Module):
    """`relu(Wᵀ W x + b)`."""

    embedding: jax.Array
    bias: jax.Array

    def __call__(self, x):
        return jax.nn.relu(self.embedding.T @ (self.embedding @ x) + self.bias)


def polygon(corners: int, features: int, bias: float) -> Toy:
    """A k-gon; the features without a corner have the given bias."""
    angle, own = 2 * jnp.pi * jnp.arange(features) / corners, jnp.arange(features) < corners
    columns = jnp.stack([jnp.cos(angle), jnp.sin(angle)]) * own
    return Toy(1.1 * columns, jnp.where(own, -0.3, bias))


def phase(model: Toy) -> jax.Array:
    """One-hot over PHASES, by the columns longer than 1/2 and a positive bias of another."""
    long = jnp.linalg.norm(model.embedding, axis=0) > 0.5
    corners, positive = jnp.sum(long), jnp.any(~long & (model.bias > 0.02))
    number = jnp.select(
        [corners == 4, corners == 5, corners == 6], [1, jnp.where(positive, 3, 2), 4], 0
    )
    return jax.nn.one_hot(number, len(PHASES))


def main(options: Options) -> None:
    """Descend, estimate, train, sample, print, write what was asked for."""
    if options.quick:
        options = replace(options, draws=200, thin=20, trainings=16, steps=4000)
        options = replace(options, log_n=(2.0, 4.0, 6.0), tolerance=0.1)
    features, keys = options.features, jax.random.split(jax.random.key(options.seed), 3)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    x = np.concatenate([np.outer((nodes + 1) / 2, row) for row in np.eye(features)])
    data = bx.Empirical((x, x), weights=np.tile(weights / 2, features) / features)

    def energy(model):
        return 2 * bx.SquaredError(model, data)

    points = {"loss": [], "coefficient": []}
    for corners, bias in ((5, -0.5), (5, 0.1), (6, -0.3)):
        (model,) = bx.trained(energy(polygon(corners, features, bias)), optax.lbfgs(), [1000])
        settings = {"temperature": bx.temperature.bayes(options.n), "tolerance": options.tolerance}
        found = bx.local_learning_coefficient(energy(model), key=keys[0], **settings)
        name, loss = PHASES[int(jnp.argmax(phase(model)))], float(energy(model).value(model))
        print(f"{name}: loss {loss:.5f}, {found}")
        points["loss"].append(loss)
        points["coefficient"].append(found.estimate)

    moments = np.unique(np.geomspace(200, options.steps, 40).astype(int))

    @jax.jit
    def training(key):
        """Phases and losses of one training at the moments."""
        start = Toy(0.1 * jax.random.normal(key, (2, features)), jnp.zeros(features))
        models = bx.trained(energy(start), optax.sgd(options.learning_rate), moments)
        models = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
        return jax.vmap(phase)(models), jax.vmap(energy(start).value)(models)

    reached, losses = jax.vmap(training)(jax.random.split(keys[1], options.trainings))
    dynamical = bx.Estimate.of_hits(np.sum(reached, axis=0), options.trainings)
    start = polygon(features, features, -0.3)
    gibbs = bx.compile(energy(start), bx.Normal(), marginalise=False)
    trace = bx.anneal(
        gibbs, np.exp(options.log_n), bx.RandomWalk(), key=keys[2], draws=options.draws,
        warmup=options.draws, thin=options.thin, keep=True, throw=False,
    )  # fmt: skip
    bayesian = trace.mean(phase)
    print(f"posterior: {bx.Status[trace.status]}")
    print(table({"log n": options.log_n} | dict(zip(PHASES, bayesian.value.T, strict=True))))
    print(table({"step": moments[::4]} | dict(zip(PHASES, dynamical.value[::4].T, strict=True))))
    results = points | {"log_n": options.log_n, "bayesian": bayesian, "steps": moments}
    save(results | {"dynamical": dynamical, "status": bx.Status[trace.status]}, options.json)
    if options.figure is not None:
        figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.8), layout="constrained")
        for ax, places, shares in (axes[0], options.log_n, bayesian), (axes[1], moments, dynamical):
            curves = {
                name: bx.Curve(places, shares[:, i], axis="") for i, name in enumerate(PHASES)
            }
            bx.plot.survival(curves, ax=ax, level=None)
        axes[2].plot(moments, losses.T, color="0.5", lw=0.6, alpha=0.6)
        for loss in points["loss"]:
            axes[2].axhline(loss, color="C1", lw=1, ls="--")
        axes[0].set(xlabel="log n", ylabel="posterior probability")
        axes[1].set(xlabel="step of gradient descent", ylabel="share of trainings")
        axes[2].set(xlabel="step of gradient descent", ylabel="loss; dashed: critical points")
        figure.savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
