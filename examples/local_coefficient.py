"""Local learning coefficient along a training run: a tanh net learns a smaller one.

A teacher of `teacher` units makes the labels, with noise of unit variance or less; a student of
`width` units is trained on them by Adam, and its local learning coefficient is estimated at several
moments of the training. Early on w* is no minimum and the verdict says so; later the coefficient is
that of a minimum, below half the number of weights.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import optax
import tyro
from _cli import Drawn, save, table

import boltzax as bx


@dataclass
class Options(Drawn):
    """The declaration, and how long to run.

    Quick: three moments, 200 data, fewer gradients.
    """

    width: int = 8
    """Units of the student."""
    teacher: int = 2
    """Units of the teacher."""
    dim: int = 2
    """Dimension of the inputs, N(0, 1) each."""
    n: int = 1000
    """Number of data."""
    noise: float = 0.3
    """Standard deviation of the label noise; the energy is that of unit variance."""
    steps: tuple[int, ...] = (0, 300, 3000, 30_000)
    """Steps of Adam after which the coefficient is estimated."""
    learning_rate: float = 0.01
    """Of Adam; it falls to zero by a cosine."""
    localisation: float = 1.0
    """Strength γ of the localisation."""
    tolerance: float = 0.03
    """Relative standard error at which an estimate ends."""
    max_gradients: int = 400_000
    """Gradient evaluations at which it ends."""


def trained(options: Options, energy: bx.SquaredError) -> list:
    """The student after each of the numbers of steps."""
    schedule = optax.cosine_decay_schedule(options.learning_rate, max(options.steps))
    optimiser = optax.adam(schedule)

    def step(carry, _):
        model, state = carry
        gradient = jax.grad(lambda model: energy.value(model) / options.n)(model)
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(model, updates), state), None

    carry, done, models = (energy.model, optimiser.init(energy.model)), 0, []
    for count in sorted(options.steps):
        carry, _ = jax.lax.scan(step, carry, None, length=count - done)
        done = count
        models.append(carry[0])
    return models


def main(options: Options) -> None:
    """Train, estimate, print, write what was asked for."""
    if options.quick:
        options = replace(options, n=200, steps=(0, 300, 3000), max_gradients=40_000, tolerance=0.1)
    keys = jax.random.split(jax.random.key(options.seed), 5)
    x = jax.random.normal(keys[0], (options.n, options.dim))
    teacher = bx.models.TwoLayer(options.teacher, dim=options.dim, key=keys[1])
    y = jax.vmap(teacher)(x) + options.noise * jax.random.normal(keys[2], (options.n,))
    student = bx.models.TwoLayer(options.width, dim=options.dim, key=keys[3])
    energy = bx.SquaredError(student, bx.Empirical((x, y)))
    columns = {"steps": [], "loss": [], "value": [], "standard_error": [], "usable": []}
    for steps, model in zip(sorted(options.steps), trained(options, energy), strict=True):
        here = bx.SquaredError(model, energy.measure)
        result = bx.local_learning_coefficient(
            here,
            key=keys[4],
            localisation=options.localisation,
            tolerance=options.tolerance,
            max_gradients=options.max_gradients,
        )
        print(f"after {steps} steps: {result}")
        row = (steps, here.value(model) / options.n, result.estimate.value)
        row += (result.estimate.standard_error, result.usable)
        for name, value in zip(columns, row, strict=True):
            columns[name].append(bool(value) if name == "usable" else float(value))
    print(table({name: [float(v) for v in column] for name, column in columns.items()}))
    weights = options.width * (options.dim + 1)
    print(f"half the number of weights: {weights / 2:g}")
    save(columns | {"half_the_weights": weights / 2}, options.json)
    if options.figure is not None:
        draw(columns, weights, options.figure)


def draw(columns: dict, weights: int, path: Path) -> None:
    """The coefficient against the loss; hollow where it is not usable."""
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    rows = list(zip(*columns.values(), strict=True))
    for steps, loss, value, error, usable in rows:
        face = "#2a6f97" if usable else "white"
        ax.errorbar(loss, value, 1.96 * error, fmt="o", color="#2a6f97", mfc=face)
        ax.annotate(f"{steps:g}", (loss, value), textcoords="offset points", xytext=(6, 4))
    ax.axhline(weights / 2, color="k", lw=1, ls=":")
    ax.set(xlabel="mean loss at w*", ylabel="local learning coefficient", xscale="log")
    fig.savefig(path, dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
