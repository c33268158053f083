"""How far data reach: a Gaussian process in closed form, and a Bayesian net.

Of Gaussian processes with data at random places: the change of the prediction at the end of the
line when the data beyond a radius are dropped or their labels averaged, over many draws of the
data, with its rate against the exact Lyapunov exponent and the averaged field. Of a tanh net on
data along a line: the same by sampling, at the middle; and how the interactions of data decay.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import tyro
from _cli import Drawn, save

import boltzax as bx
from boltzax import cases, channels, theory

BACKGROUNDS = ("drop", "average", "resample")


@dataclass
class Options(Drawn):
    """The declaration, and how much to draw.

    Quick: few processes, a small net, short runs.
    """

    density: float = 20.0
    """Data per unit length of the processes."""
    noise: float = 1.0
    """Variance of their labels."""
    mean: float = 3.0
    """Mean of their labels; dropping and averaging differ by it."""
    processes: int = 400
    """Draws of the data."""
    data: int = 24
    """Data of the net, uniform on [-3, 3]."""
    width: int = 12
    """Units of the net."""
    net_noise: float = 0.2
    """Standard deviation of the labels of the net."""
    draws: int = 1000
    """Draws of each chain."""


def main(options: Options) -> None:
    """Measure, print, write what was asked for."""
    if options.quick:
        options = replace(options, processes=30, data=10, width=3, draws=150)
    results, radii = {}, np.linspace(0.25, 2.25, 9)
    exact = theory.screening_exponent(options.density, 1.0, options.noise)
    field = theory.averaged_screening(options.density, 1.0, options.noise)
    print(f"Gaussian processes: exponent {exact:.4f}, averaged field {field:.4f}")
    for mean in (0.0, options.mean):
        logs = {name: np.array(of_processes(options, mean, name, radii)) for name in BACKGROUNDS}
        for name, rows in logs.items():
            rate = bx.Estimate.of_replicates(-np.polyfit(radii, rows.T, 1)[0])
            nearer = bx.Estimate.of_samples(logs["drop"] - rows, exact=True).map(jnp.exp)[0]
            print(
                f"  labels of mean {mean:g}, {name:8}: rate {rate}, nearer than dropping {nearer}"
            )
            curve = bx.Curve(radii, bx.Estimate.of_samples(rows), axis="radius")
            results[f"{name}, mean {mean:g}"] = {"log_change": curve, "rate": rate}
    screened, interactions = of_net(options)
    for name, one in screened.items():
        print(f"Net, {name}\n{one}\n  rate {one.rate}")
        results[f"net, {name}"] = {"change": one.change, "spread": one.spread, "rate": one.rate}
    print(interactions, interactions.decay, sep="\n")
    results["interactions"] = {"decay": interactions.decay, "modes": interactions.spectrum}
    save(results | {"exact": exact, "averaged": field}, options.json)
    if options.figure is not None:
        draw(results, screened, interactions, exact, options.figure)


def of_processes(options: Options, mean: float, background: str, radii: np.ndarray) -> list:
    """`log |change|` at the end of the line, for each draw of the data."""
    rows = []
    for seed in range(options.processes):
        rng = np.random.default_rng([options.seed, seed])
        x = np.sort(rng.uniform(0, 6, rng.poisson(6 * options.density)))
        root = np.linalg.cholesky(np.exp(-np.abs(x[:, None] - x)) + 1e-9 * np.eye(len(x)))
        y = mean + root @ rng.normal(size=len(x)) + options.noise**0.5 * rng.normal(size=len(x))
        process = cases.exponential_process(x, y, length=1.0, noise=options.noise)
        change = process.screened(0.0, radii, background, key=jax.random.key(seed))
        rows.append(np.log(np.abs(change)))
    return rows


def of_net(options: Options):
    """Screening of the prediction at 0, and interactions of the predictions."""
    keys = jax.random.split(jax.random.key(options.seed), 4)
    places = jax.random.uniform(keys[0], (options.data,), minval=-3.0, maxval=3.0)
    x = np.sort(np.asarray(places))[:, None]
    y = np.sin(2 * x[:, 0]) + options.net_noise * np.asarray(jax.random.normal(keys[3], (len(x),)))
    net = bx.models.TwoLayer(options.width, jnp.tanh, bias=True)
    wide = bx.Normal(0.0, 3.0)
    prior = bx.Independent(readout=bx.Normal(), embedding=wide, bias=wide)
    energy = bx.SquaredError(net, bx.Empirical((x, y))) / options.net_noise**2
    many = {"chains": 4, "warmup": options.draws // 2, "draws": options.draws, "throw": False}
    radii = np.array([0.6, 1.0, 1.5, 2.1, 2.8])
    screened = {
        name: channels.screen(
            energy, prior, np.zeros(1), radii, key=keys[1], background=name, **many
        )
        for name in BACKGROUNDS
    }
    trace = bx.sample(bx.compile(energy, prior), key=keys[2], **many)
    return screened, channels.data_interactions(
        trace, energy, value=lambda model, datum: model(datum[0]), bins=6
    )


def draw(results, screened, interactions, exact: float, path: Path) -> None:
    """The processes, the net, and the decay of its interactions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    axes = figure.subplots(1, 3)
    for i, name in enumerate(BACKGROUNDS):
        curve = results[f"{name}, mean 0"]["log_change"]
        bx.plot.curve(curve, ax=axes[0], color=f"C{i}", label=f"{name}, 95% band")
    x = np.asarray(curve.x)
    axes[0].plot(x, curve.value[0] - exact * (x - x[0]), color="0.4", lw=1, label="exponent")
    axes[0].set(ylabel="mean log |change|", title="Gaussian processes")
    axes[0].legend(frameon=False, fontsize="small")
    bx.plot.screening(screened, ax=axes[1])
    bx.plot.curve(interactions.decay, ax=axes[2], label="squared correlation, 95% band")
    axes[2].set(yscale="log", title="interactions of data in the net")
    axes[2].legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=160)


if __name__ == "__main__":
    main(tyro.cli(Options))
