"""The toy model of superposition: its k-gons, and which of them training and the posterior choose.

`f(x) = relu(Wᵀ W x + b)` with `W` `[2, features]` reconstructs inputs with one active feature,
uniform on [0, 1] (Chen et al. 2023, arXiv:2310.06301). Its critical points are polygons of columns
of `W`: for six features with losses .06874, .06180, .04819 and coefficients 7, 8.5, 8.5. The
example descends to them, estimates their local learning coefficients, and compares the order in
which training reaches them with the order in which the posterior prefers them as n grows.
"""

import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _cli import save, table

import boltzax as bx

PHASES = ("other", "4-gon", "5-gon", "5-gon, b > 0", "6-gon")


@dataclass
class Options:
    """The declaration, and how long to run."""

    features: int = 6
    """Number of features."""
    n: float = 300_000.0
    """Inverse temperature of the mean loss at which coefficients are estimated."""
    log_n: tuple[float, ...] = tuple(np.arange(1.0, 8.1, 0.5))
    """Logarithms of the inverse temperatures of the posterior."""
    draws: int = 1000
    """Draws of each chain of the posterior."""
    thin: int = 100
    """Steps of the random walk for each draw."""
    seeds: int = 64
    """Training runs."""
    steps: int = 20_000
    """Steps of each training run."""
    learning_rate: float = 0.02
    """Of gradient descent."""
    seed: int = 0
    """Seed of all randomness."""
    quick: bool = False
    """Fewer draws, seeds and steps."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw the phases."""


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


def phase(model: Toy):
    """Index into PHASES: by the columns longer than 1/2, and a positive bias of another."""
    long = jnp.linalg.norm(model.embedding, axis=0) > 0.5
    corners, positive = jnp.sum(long), jnp.any(~long & (model.bias > 0.02))
    five = jnp.where(positive, 3, 2)
    return jnp.select([corners == 4, corners == 5, corners == 6], [1, five, 4], 0)


def trained(loss, model: Toy, optimiser, steps: int):
    """The model after training, and its phase and loss on the way (at 200 moments)."""
    optimiser = optax.with_extra_args_support(optimiser)

    def block(carry, _):
        def one(carry, _):
            model, state = carry
            value, grad = jax.value_and_grad(loss)(model)
            extra = {"value": value, "grad": grad, "value_fn": loss}
            updates, state = optimiser.update(grad, state, model, **extra)
            return (optax.apply_updates(model, updates), state), value

        carry, values = jax.lax.scan(one, carry, None, length=steps // 200)
        return carry, (phase(carry[0]), values[-1])

    (model, _), way = jax.lax.scan(block, (model, optimiser.init(model)), None, length=200)
    return model, way


def main(options: Options) -> None:
    """Descend, estimate, train, sample, print, write what was asked for."""
    began, features = time.time(), options.features
    if options.quick:
        options = replace(options, draws=200, thin=20, seeds=16, steps=4000, log_n=(2.0, 4.0, 6.0))
    nodes, weights = np.polynomial.legendre.leggauss(60)
    x = np.concatenate([np.outer((nodes + 1) / 2, row) for row in np.eye(features)])
    data = bx.Empirical((x, x), weights=np.tile(weights / 2, features) / features)
    keys = jax.random.split(jax.random.key(options.seed), 3)

    def energy(model):
        return 2 * bx.SquaredError(model, data)

    def loss(model):
        return energy(model).value(model)

    descend = eqx.filter_jit(lambda model: trained(loss, model, optax.lbfgs(), 1000)[0])
    columns = {"phase": [], "loss": [], "coefficient": [], "standard_error": []}
    for corners, bias in ((5, -0.5), (5, 0.1), (6, -0.3)):
        model = descend(polygon(corners, features, bias))
        result = bx.local_learning_coefficient(
            energy(model),
            key=keys[0],
            temperature=bx.temperature.bayes(options.n),
            tolerance=0.1 if options.quick else 0.02,
        )
        print(f"{PHASES[int(phase(model))]}: loss {loss(model):.5f}, {result}")
        row = (phase(model), loss(model), result.estimate.value, result.estimate.standard_error)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(float(value))
    print(table(columns))

    def start(key):
        return Toy(0.1 * jax.random.normal(key, (2, features)), jnp.zeros(features))

    optimiser = optax.sgd(options.learning_rate)
    runs = jax.vmap(lambda key: trained(loss, start(key), optimiser, options.steps)[1])
    reached, losses = eqx.filter_jit(runs)(jax.random.split(keys[1], options.seeds))
    dynamical = bx.Estimate.of_samples(jax.nn.one_hot(reached, len(PHASES)))
    gibbs = bx.compile(energy(start(keys[1])), bx.Normal(), marginalise=False)
    trace = bx.anneal(
        gibbs,
        np.exp(options.log_n),
        bx.RandomWalk(),
        key=keys[2],
        draws=options.draws,
        warmup=options.draws,
        thin=options.thin,
        keep=True,
        throw=False,
    )
    bayesian = trace.mean(lambda model: jax.nn.one_hot(phase(model), len(PHASES)))
    print(f"posterior: {bx.Status[trace.status]}")
    print(table({"log n": options.log_n} | dict(zip(PHASES, bayesian.value.T, strict=True))))
    print(table({"trained": np.arange(len(PHASES)), "fraction": dynamical.value[-1]}))
    shares = {"bayesian": bayesian, "dynamical": dynamical}
    results = {
        name: {"value": each.value, "standard_error": each.standard_error}
        for name, each in shares.items()
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rest = {"critical_points": columns, "log_n": options.log_n, "loss": losses.mean(0)}
    rest |= {"seconds": time.time() - began, "peak_MiB": peak, "status": bx.Status[trace.status]}
    save(results | rest, options.json)
    if options.figure is not None:
        draw(options, bayesian, dynamical, losses, columns)


def draw(options: Options, bayesian, dynamical, losses, columns) -> None:
    """The shares of the phases in the posterior and along training, and the losses of training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    moments = options.steps / 200 * np.arange(1, 201)
    for ax, x, shares in ((axes[0], options.log_n, bayesian), (axes[1], moments, dynamical)):
        for i, (name, marker) in enumerate(zip(PHASES, "osd^v", strict=True)):
            every = 1 if ax is axes[0] else 20
            place = np.asarray(x) + 0.03 * i * (ax is axes[0])
            bar = 1.96 * np.nan_to_num(shares.standard_error[:, i])
            ax.errorbar(
                place, shares.value[:, i], bar, marker=marker, ms=4, label=name, errorevery=every,
                markevery=every,
            )  # fmt: skip
    axes[0].set(xlabel="log n", ylabel="posterior probability, 95%")
    axes[1].set(xlabel="steps of gradient descent", ylabel="fraction of runs, 95%")
    axes[1].legend(frameon=False, fontsize="small")
    axes[2].plot(moments, np.asarray(losses).T, color="0.5", lw=0.6, alpha=0.6)
    for loss in columns["loss"]:
        axes[2].axhline(loss, color="#d9661f", lw=1, ls="--")
    axes[2].set(xlabel="steps of gradient descent", ylabel="loss; dashed: critical points")
    figure.savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
