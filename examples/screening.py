"""How far data reach: a Gaussian process in closed form, and a Bayesian net.

Of processes with data at random places: the change of a prediction when the data beyond a radius
are replaced, and its exact rate. Of a tanh net: the same by sampling, and interactions of data.
"""

import itertools
from dataclasses import dataclass, replace

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np
import tyro
from _cli import Drawn, save
from _line_net import line_net

import boltzax as bx
from boltzax import cases, channels, theory

BACKGROUNDS = ("drop", "average", "resample")


@dataclass
class Options(Drawn):
    """The declaration, and how much to draw; `quick`: few processes, a small net, short runs."""

    density: float = 20.0  # Data per unit length of the processes
    noise: float = 1.0  # Variance of their labels
    mean: float = 3.0  # Mean of their labels; dropping and averaging differ by it
    processes: int = 400  # Draws of the data
    data: int = 24  # Data of the net, uniform on [-3, 3]
    width: int = 12  # Units of the net
    net_noise: float = 0.2  # Standard deviation of the labels of the net
    draws: int = 1000  # Draws of each chain


def main(options: Options) -> None:
    """Measure, print, write what was asked for."""
    if options.quick:
        options = replace(options, processes=30, data=10, width=3, draws=150)
    law = (options.density, 1.0, options.noise)
    exact, field = theory.screening_exponent(*law), theory.averaged_screening(*law)
    print(f"Gaussian processes: exponent {exact:.4f}, averaged field {field:.4f}")
    results, curves, radii = {"exact": exact, "averaged": field}, {}, np.linspace(0.25, 2.25, 9)
    given = {"extent": 6.0, "draws": options.processes, "key": jax.random.key(options.seed)}
    for mean, name in itertools.product((0.0, options.mean), BACKGROUNDS):
        logs = np.log(np.abs(cases.PoissonData(*law).screened(radii, name, mean=mean, **given)))
        rate = bx.Estimate.of_replicates(-np.polyfit(radii, logs.T, 1)[0])
        curve = bx.Curve(radii, bx.Estimate.of_samples(logs), axis="radius")
        print(f"  labels of mean {mean:g}, {name}: rate {rate}, log change {curve[0]}")
        results[f"{name}, mean {mean:g}"] = {"log_change": curve, "rate": rate}
        curves[f"{name}, mean {mean:g}"] = curve
    keys = jax.random.split(jax.random.key(options.seed), 4)
    energy, prior = line_net(options.data, options.width, options.net_noise, keys[0], keys[3])
    many = {"chains": 4, "warmup": options.draws // 2, "draws": options.draws, "throw": False}
    radii, at, screened = np.array([0.6, 1.0, 1.5, 2.1, 2.8]), np.zeros(1), {}
    for name in BACKGROUNDS:
        one = channels.screen(energy, prior, at, radii, key=keys[1], background=name, **many)
        print(f"Net, {name}\n{one}\n  rate {one.rate}")
        results[f"net, {name}"] = {"change": one.change, "spread": one.spread, "rate": one.rate}
        screened[name] = one
    trace = bx.sample(bx.compile(energy, prior), key=keys[2], **many)
    found = channels.data_interactions(trace, energy, value=lambda m, datum: m(datum[0]), bins=6)
    print(found, found.decay, sep="\n")
    results["interactions"] = {"decay": found.decay, "modes": found.spectrum, "rate": found.rate}
    save(results, options.json)
    with bx.plot.panels(3, path=options.figure) as axes:
        for name, curve in curves.items():
            bx.plot.curve(curve, ax=axes[0], label=name, name="mean log |change|")
        bx.plot.screening(screened, ax=axes[1])
        bx.plot.data_interactions(found, ax=axes[2])


if __name__ == "__main__":
    main(tyro.cli(Options))
