"""Planted circuits under a temperature: which die first, where, and how sure that is.

One net has four heads on all inputs of 6 bits: a linear task, a parity of 3 bits, one of 5 bits,
and labels at random. The survival of each, the overlap of the mean output with its targets, falls
as the temperature of the posterior rises. The example gives the temperature of half survival over
several nets, the order of death by the bootstrap, the same temperatures in the limit of infinite
width (a Gaussian process, in closed form), and heating from a cold net against cooling from the
prior.
"""

import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
import tyro
from _cli import save, table

import boltzax as bx
from boltzax import cases, degrade, theory


@dataclass
class Options:
    """The nets, and how long to run."""

    seeds: int = 8
    """Nets, each with labels and chains of its own."""
    hidden: int = 24
    """Units of the hidden layer."""
    chains: int = 8
    """Chains at each temperature."""
    count: int = 1600
    """Draws at each temperature."""
    seed: int = 0
    """The first seed."""
    quick: bool = False
    """Two nets, fewer draws."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw the survivals."""


TEMPERATURES = np.concatenate([np.geomspace(0.25, 3, 10), [8.0, 14.0, 22.0, 36.0, 60.0]])
KERNEL = bx.HMC(max_steps=24)


def main(options: Options) -> None:
    """Draw, measure, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(options, seeds=2, chains=4, count=200)
    dial = degrade.Tempered(
        KERNEL, start="prior", chains=options.chains, warmup=250, throw=not options.quick
    )
    curves, limits = {head: [] for head in cases.PLANTED_HEADS}, []
    for seed in range(options.seed, options.seed + options.seeds):
        net = cases.planted_net(options.hidden, key=jax.random.key(seed))
        cooled = along(dial, net, options, seed + 100)
        for head, name in enumerate(curves):
            curves[name].append(cooled[:, head])
        limits.append(at_infinite_width(net))

    order = degrade.order_of_death(curves, key=jax.random.key(options.seed))
    print(order)
    places = {name: order.places[order.names.index(name)] for name in curves}
    limit = np.mean(limits, axis=0)
    print(table({"infinite width": limit, "this width": [float(places[n].value) for n in curves]}))
    marks = degrade.temperature_marks(net.gibbs())
    print("named temperatures:", {name: round(value, 3) for name, value in marks.items()})

    heated = heating(net, options)
    apart = heated.minus(cooled)
    z = np.asarray(apart.z_score(0.0))
    print(f"heating minus cooling: mean square of z = {np.mean(z**2):.2f} over {z.size} points")
    results = {
        "order": order.names,
        "sure": order.sure,
        "temperatures": {name: float(p.value) for name, p in places.items()},
        "intervals": {name: [float(p.lower), float(p.upper)] for name, p in places.items()},
        "infinite_width": dict(zip(curves, limit.tolist(), strict=True)),
        "marks": marks,
        "hysteresis": float(np.mean(z**2)),
    }
    results |= {
        "seconds": time.time() - began,
        "peak_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(f"{results['seconds']:.1f} s, {results['peak_MiB']:.0f} MiB")
    save(results, options.json)
    if options.figure is not None:
        draw(curves, marks, options.figure)


def along(dial, net: cases.PlantedNet, options: Options, seed: int) -> bx.Curve:
    """The survival of each head along the temperature."""
    return degrade.along_dial(
        dial,
        TEMPERATURES,
        net.overlaps,
        gibbs=net.gibbs(marginalise=False),
        key=jax.random.key(seed),
        count=options.count,
    )


def at_infinite_width(net: cases.PlantedNet) -> list[float]:
    """The temperatures of half survival of a Gaussian process."""
    values, vectors = np.linalg.eigh(cases.planted_kernel(net))
    values = np.maximum(values, 0)
    return [theory.linear_temperature(values, (vectors.T @ y) ** 2) for y in net.y.T]


def heating(net: cases.PlantedNet, options: Options) -> bx.Curve:
    """Survivals of chains that start at a draw of a cold posterior."""
    gibbs = net.gibbs(marginalise=False)
    warmup = 400 if options.quick else 1500
    cold = bx.sample(
        gibbs.at(10.0), KERNEL, key=jax.random.key(7), chains=2, warmup=warmup, draws=4, throw=False
    )
    model = gibbs.model({path: leaf[0, -1] for path, leaf in cold.w.items()})
    net = replace(net, model=model)
    dial = degrade.Tempered(
        KERNEL, start="model", chains=options.chains, warmup=250, throw=not options.quick
    )
    return along(dial, net, options, 300)


def draw(curves: dict, marks: dict, path: Path) -> None:
    """Survivals of all nets, and the named temperatures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.8, 4.2), layout="constrained")
    axes = figure.subplots()
    for i, (name, several) in enumerate(curves.items()):
        for number, curve in enumerate(several):
            label = name if number == 0 else None
            axes.errorbar(
                curve.x, curve.value, 1.96 * curve.standard_error, fmt="-", color=f"C{i}", lw=0.9,
                label=label,
            )  # fmt: skip
    for name, place in marks.items():
        axes.axvline(place, color="0.5", ls=":")
        axes.text(place, 1.02, name, ha="center", fontsize="small")
    axes.axhline(0.5, color="0.8", zorder=0)
    axes.set(xscale="log", xlabel="temperature of the summed energy", ylabel="survival")
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=160)


if __name__ == "__main__":
    main(tyro.cli(Options))
