"""Local learning coefficient along a training run: a tanh net learns a smaller one.

A teacher of `teacher` units makes the labels, with noise of unit variance or less; a student of
`width` units is trained on them by Adam, and its local learning coefficient is estimated at several
moments of the training. Early on w* is no minimum and the verdict says so; later the coefficient is
that of a minimum, below half the number of weights.
"""

from dataclasses import dataclass, replace

import jax

jax.config.update("jax_enable_x64", True)

import optax
import tyro
from _cli import Drawn, save, table

import boltzax as bx


@dataclass
class Options(Drawn):
    """The declaration, and how long to run; `quick`: three moments, 200 data, fewer gradients."""

    width: int = 8  # Units of the student
    teacher: int = 2  # Units of the teacher
    dim: int = 2  # Dimension of the inputs, N(0, 1) each
    n: int = 1000  # Number of data
    noise: float = 0.3  # Standard deviation of the label noise; the energy is that of unit variance
    steps: tuple[int, ...] = (0, 300, 3000, 30_000)  # Of Adam, after which the net is measured
    learning_rate: float = 0.01  # Of Adam; it falls to zero by a cosine
    localisation: float = 1.0  # Strength γ of the localisation
    tolerance: float = 0.03  # Relative standard error at which an estimate ends
    max_gradients: int = 400_000  # Gradient evaluations at which it ends


def main(options: Options) -> None:
    """Train, estimate, print, write what was asked for."""
    if options.quick:
        options = replace(options, n=200, steps=(0, 300, 3000), max_gradients=40_000, tolerance=0.1)
    keys = jax.random.split(jax.random.key(options.seed), 5)
    x = jax.random.normal(keys[0], (options.n, options.dim))
    teacher = bx.models.TwoLayer(options.teacher, dim=options.dim, key=keys[1])
    y = jax.vmap(teacher)(x) + options.noise * jax.random.normal(keys[2], (options.n,))
    student = bx.models.TwoLayer(options.width, dim=options.dim, key=keys[3])
    energy, steps = bx.SquaredError(student, bx.Empirical((x, y))), sorted(options.steps)
    adam = optax.adam(optax.cosine_decay_schedule(options.learning_rate, steps[-1]))
    models = bx.trained(energy, adam, steps)
    losses = [float(energy.value(model)) / options.n for model in models]
    found = []
    for count, model in zip(steps, models, strict=True):
        result = bx.local_learning_coefficient(
            bx.SquaredError(model, energy.measure), key=keys[4], localisation=options.localisation,
            tolerance=options.tolerance, max_gradients=options.max_gradients,
        )  # fmt: skip
        print(f"after {count} steps: {result}", flush=True)
        found.append(result)
    half = options.width * (options.dim + 1) / 2
    coefficient = bx.Estimate.stack([result.estimate for result in found])
    print(table({"step": steps, "loss": losses, "coefficient": coefficient}))
    print(f"half the number of weights: {half:g}")
    columns = {"steps": steps, "loss": losses, "coefficient": coefficient}
    usable = [result.usable for result in found]
    save(columns | {"usable": usable, "half_the_weights": half}, options.json)
    with bx.plot.panels(path=options.figure) as (ax,):
        names = [
            f"{c} steps" if use else f"{c}, not usable"
            for c, use in zip(steps, usable, strict=True)
        ]
        bx.plot.intervals(dict(zip(names, coefficient, strict=True)), ax=ax)
        ax.axvline(half, color="k", lw=1, ls=":", label="half the weights")
        ax.set(xlabel="local learning coefficient")
        ax.legend()


if __name__ == "__main__":
    main(tyro.cli(Options))
