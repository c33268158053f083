"""The clover leaf: neurons in the field of a net, and in a wrong one.

A net of hard-tanh neurons learns the product of two inputs. Its neurons' embeddings form a clover
leaf. Neurons that ride along, which see the net's residual and add nothing to it, should form the
same leaf, add up to the same function and reach the same loss; neurons in the lazy background, that
of the Gaussian process, should not. `confront` measures cloud, function, loss and mixing.

Batches heat: each shakes all neurons at once, so that the law is that of a somewhat higher
temperature, and the loss is above that of the fixed point. Net and riders see the same batches, and
their agreement does not suffer. `--batch 0` takes all nodes of the measure, without that noise; the
lobes are then left so seldom that a run must be some thousand time units long to mix.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import boltzax as bx
from boltzax import meanfield
from examples._cli import Drawn, save, table


@dataclass
class Options(Drawn):
    """The net, the run, and how many of them.

    Quick: two narrow nets and short runs, which do not mix.
    """

    width: int = 2048
    """Neurons of the net, and as many riders."""
    temperature: float = 0.01
    """In units of the loss."""
    steps: int = 10_000
    """Steps of Langevin dynamics."""
    dt: float = 0.05
    """Length of a step."""
    batch: int = 512
    """Fresh data a step; 0 for all nodes of the measure."""
    order: int = 16
    """Nodes an axis of the measure, on which functions are compared."""
    frames: int = 10
    """Frames of a run, for mixing."""
    seeds: int = 10
    """Number of runs, of successive seeds."""


def hard_tanh(x):
    return jnp.clip(x, -1.0, 1.0)


def main(options: Options) -> None:
    """Train, confront, print, write what was asked for."""
    if options.quick:
        options = replace(options, width=256, steps=500, seeds=2)
    began = time.time()
    unit = meanfield.Unit(hard_tanh, dim=2, bias=True)
    problem = meanfield.SelfConsistency(
        meanfield.Neuron(unit, bx.Normal()),
        lambda x: x[0] * x[1],
        bx.GaussianMeasure(2, order=options.order),
        options.temperature,
    )
    dynamics = meanfield.Langevin(dt=options.dt)
    lazy = meanfield.Background.lazy(problem)
    rows: dict[str, list] = {"ride_along": [], "lazy": []}
    seconds, shown, losses = [], {}, []
    for seed in range(options.seed, options.seed + options.seeds):
        start = time.time()
        keys = jax.random.split(jax.random.key(seed), 4)
        training = meanfield.train(
            problem,
            options.width,
            key=keys[0],
            steps=options.steps,
            dynamics=dynamics,
            batch=options.batch or None,
            riders=options.width,
            frames=options.frames,
        )
        wrong = meanfield.foreground(
            problem,
            lazy,
            options.width,
            key=keys[1],
            steps=options.steps,
            dynamics=dynamics,
            frames=options.frames,
        )
        found = {
            "ride_along": meanfield.confront(training, key=keys[2]),
            "lazy": meanfield.confront(training, wrong, key=keys[3]),
        }
        losses.append(float(jnp.mean(training.loss[-options.steps // 2 :])))
        seconds.append(time.time() - start)
        for name, agreement in found.items():
            print(f"seed {seed}, {name}: {agreement}", flush=True)
            rows[name].append(row(seed, agreement))
        if not shown:
            shown = {
                "background": training.net["embedding"],
                "ride_along": training.riders["embedding"],
                "lazy": wrong.riders["embedding"],
            }
    results = {
        name: {column: [each[column] for each in kept] for column in kept[0]}
        for name, kept in rows.items()
    }
    for name, columns in results.items():
        print(f"\n{name}: consistent in {sum(columns['consistent'])} of {options.seeds}")
        print(table({k: v for k, v in columns.items() if k != "failed"}))
    print(f"{time.time() - began:.0f} s, {np.mean(seconds):.1f} s a seed")
    save(
        {
            "options": {
                name: getattr(options, name)
                for name in ("width", "temperature", "steps", "dt", "batch", "order", "seeds")
            },
            **results,
            "loss": losses,
            "seconds": seconds,
            "clouds": {name: np.round(np.asarray(c[:400]), 3) for name, c in shown.items()},
        },
        options.json,
    )
    if options.figure is not None:
        draw(shown, options.figure)


def row(seed: int, a: meanfield.Confrontation) -> dict:
    """The figures of one confrontation."""
    return {
        "seed": seed,
        "energy": float(a.energy.value),
        "standard_error": float(a.energy.noise),  # of the energy distance, for equal laws
        "energy_p": float(a.energy.p_value),
        "kernel_p": float(a.kernel.p_value),
        "sliced": float(a.sliced.value),
        "function": float(a.gap.distance),
        "predicted": float(a.gap.predicted),
        "size": float(a.gap.size),
        "function_p": float(a.gap.p_value),
        "loss_ratio": float(a.gap.ratio),
        "predicted_ratio": float(a.gap.predicted_ratio),
        "loss_p": float(a.gap.loss_p_value),
        "hop_rate": float(a.mixing.hop_rate.value),
        "memory": float(a.mixing.memory),
        "consistent": a.consistent,
        "failed": ", ".join(a.failures),
    }


def draw(shown: dict, path: Path) -> None:
    """Background alone, with riders, with neurons in the lazy background."""
    with bx.plot.panels(1, 3, path=path, share_x=True, share_y=True) as axes:
        titles = ("the net", "with riders", "over the lazy background")
        for ax, title, name in zip(axes, titles, (None, "ride_along", "lazy"), strict=True):
            other = None if name is None else shown[name]
            bx.plot.clouds(shown["background"], other, ax=ax)
            ax.set(
                title=title,
                xlabel="embedding[0]",
                ylabel="embedding[1]",
                xlim=(-5, 5),
                ylim=(-5, 5),
            )


if __name__ == "__main__":
    main(tyro.cli(Options))
