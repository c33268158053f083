"""Planted circuits under a temperature: which die first, where, and how sure that is.

One net has four heads on all inputs of 6 bits: a linear task, parities of 3 and of 5 bits, and
labels at random. The overlap of each mean output with its targets falls as the temperature of the
posterior rises. The example gives the temperature of half survival over several nets, the order of
death, these temperatures at infinite width in closed form, and heating from a cold net against
cooling from the prior. `effective_parameters.py` counts the parameters of such a net.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import tyro
from _cli import Drawn, save

import boltzax as bx
from boltzax import cases, degrade

TEMPERATURES = np.concatenate([np.geomspace(0.25, 3, 10), [8.0, 14.0, 22.0, 36.0, 60.0]])
KERNEL = bx.HMC(max_steps=24)


@dataclass
class Options(Drawn):
    """The nets, and how long to run; `quick`: two nets, fewer draws."""

    nets: int = 8  # Nets, each with labels and chains of its own
    hidden: int = 24  # Units of the hidden layer
    chains: int = 8  # Chains at each temperature
    count: int = 1600  # Draws at each temperature
    warmup: int = 250  # Steps of each chain left out; six times as many cool the net to be heated


def survivals(net: cases.PlantedNet, start: str, options: Options, seed: int) -> bx.Curve:
    """The overlap of each head with its targets along the temperature."""
    settings = {"start": start, "chains": options.chains, "warmup": options.warmup}
    dial = degrade.Tempered(KERNEL, throw=not options.quick, **settings)
    gibbs, key = net.gibbs(marginalise=False), jax.random.key(seed)
    return degrade.along_dial(
        dial, TEMPERATURES, net.overlaps, gibbs=gibbs, key=key, count=options.count
    )


def main(options: Options) -> None:
    """Draw, measure, print, write what was asked for."""
    if options.quick:
        options = replace(options, nets=2, chains=4, count=200, warmup=100)
    curves, limits = {head: [] for head in cases.PLANTED_HEADS}, []
    for seed in range(options.seed, options.seed + options.nets):
        net = cases.planted_net(options.hidden, key=jax.random.key(seed))
        cooled = survivals(net, "prior", options, seed + 100)
        for name, curve in cooled.columns(list(curves)).items():
            curves[name].append(curve)
        limits.append(cases.planted_temperatures(net))
    order = degrade.order_of_death(curves, key=jax.random.key(options.seed))
    limit = bx.Estimate.of_replicates(np.array(limits), exact=True)
    marks = degrade.temperature_marks(net.gibbs())
    print(order)
    for name, value in zip(curves, limit, strict=True):
        print(f"infinite width, {name}: {value}")
    print("named temperatures:", {name: round(value, 3) for name, value in marks.items()})

    gibbs, few = net.gibbs(marginalise=False).at(10.0), {"chains": 2, "draws": 4, "throw": False}
    cold = bx.sample(gibbs, KERNEL, key=jax.random.key(7), warmup=6 * options.warmup, **few)
    cold_net = replace(net, model=cold.ensemble[0, -1].models())
    heated = survivals(cold_net, "model", options, options.seed + 300)
    hysteresis = float(np.mean(np.asarray(heated.minus(cooled).z_score(0.0)) ** 2))
    print(f"heating minus cooling: mean square of z {hysteresis:.2f}, {heated.value.size} points")
    results = {"order": order, "infinite_width": limit, "marks": marks, "hysteresis": hysteresis}
    places = dict(zip(order.names, order.places, strict=True))
    intervals = {name: place.interval() for name, place in places.items()}
    save(results | {"temperatures": places, "intervals": intervals}, options.json)
    with bx.plot.panels(path=options.figure) as axes:
        bx.plot.survival(curves, marks=marks, ax=axes[0])
        axes[0].set(xlabel="temperature of the summed energy")


if __name__ == "__main__":
    main(tyro.cli(Options))
