"""The toy model of superposition: its polygons, as training and the posterior choose them.

`f(x) = relu(Wᵀ W x + b)` with `W` `[2, 6]` reconstructs inputs with one active feature. Its
critical points are polygons of columns of `W`. The example estimates their coefficients, and
compares when training reaches them with when the posterior prefers them as n grows.
"""

from dataclasses import dataclass, replace

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _cli import Drawn, save, table

import boltzax as bx
from boltzax import cases


@dataclass
class Options(Drawn):
    """The declaration, and how long to run; `quick`: fewer draws, trainings and steps."""

    n: float = 300_000.0  # Inverse temperature of the mean loss at which coefficients are estimated
    tolerance: float = 0.02  # Relative standard error of the coefficients
    log_n: tuple[float, ...] = tuple(np.arange(1.0, 8.1, 0.5))  # Of the posterior
    draws: int = 1000  # Draws of each chain of the posterior, a tenth as many steps apart
    trainings: int = 64  # Training runs, by gradient descent
    steps: int = 20_000  # Steps of each


def main(options: Options) -> None:
    """Descend, estimate, train, sample, print, write what was asked for."""
    if options.quick:
        small = {"draws": 200, "trainings": 16, "steps": 4000, "tolerance": 0.1}
        options = replace(options, log_n=(2.0, 4.0, 6.0), **small)
    phases, keys = cases.SUPERPOSITION_PHASES, jax.random.split(jax.random.key(options.seed), 3)
    settings = {"temperature": bx.temperature.bayes(options.n), "tolerance": options.tolerance}
    points = {}
    for corners, bias in ((5, -0.5), (5, 0.1), (6, -0.3)):
        start = cases.superposition_polygon(corners, bias=bias)
        (net,) = bx.trained(start.energy, optax.lbfgs(), [1000])
        found = bx.local_learning_coefficient(net.energy, key=keys[0], **settings)
        name, loss = phases[jnp.argmax(net.phase)], float(net.energy.value(net))
        points[name] = {"loss": loss, "coefficient": found.estimate}
        print(f"{name}: loss {loss:.5f}, {found}")

    def training(key):
        start = cases.SuperpositionNet(0.1 * jax.random.normal(key, (2, 6)), jnp.zeros(6))
        return bx.trained(start.energy, optax.sgd(0.02), steps)

    steps = np.unique(np.geomspace(200, options.steps, 40).astype(int))
    nets = jax.vmap(training)(jax.random.split(keys[1], options.trainings))
    nets = jax.tree.map(lambda *leaves: jnp.stack(leaves), *nets)
    hits = np.sum(jax.vmap(jax.vmap(lambda net: net.phase))(nets), axis=1)
    gibbs = bx.compile(start.energy, bx.Normal(), marginalise=False)
    trace = bx.anneal(
        gibbs, np.exp(options.log_n), bx.RandomWalk(), key=keys[2], draws=options.draws,
        warmup=options.draws, thin=options.draws // 10, keep=True, throw=False,
    )  # fmt: skip
    posterior = bx.Curve(options.log_n, trace.mean(lambda net: net.phase), axis="log n")
    shares = bx.Curve(steps, bx.Estimate.of_hits(hits, options.trainings), axis="step")
    status, columns = bx.Status[trace.status], [c.columns(phases) for c in (posterior, shares)]
    print(*(table(each) for each in columns), f"posterior: {status}", sep="\n")
    save(points | {"bayesian": posterior, "dynamical": shares, "status": status}, options.json)
    with bx.plot.panels(3, path=options.figure) as axes:
        for ax, curves in zip(axes, columns, strict=False):
            bx.plot.survival(curves, ax=ax, level=None).set(ylabel="probability")
        axes[2].plot(steps, jax.vmap(jax.vmap(start.energy.value))(nets), color="0.5", lw=0.6)
        for point in points.values():
            axes[2].axhline(point["loss"], color="C1", ls="--")
        axes[2].set(xlabel="step", ylabel="loss; dashed: critical points")


if __name__ == "__main__":
    main(tyro.cli(Options))
