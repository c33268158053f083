"""Planted circuits under a temperature: which die first, where, and how sure that is.

One net has four heads on all inputs of 6 bits: a linear task, a parity of 3 bits, one of 5 bits,
and labels at random. The survival of each, the overlap of the mean output with its targets, falls
as the temperature of the posterior rises. The example gives the temperature of half survival over
several nets, the order of death by the bootstrap, the same temperatures in the limit of infinite
width (a Gaussian process, in closed form), heating from a cold net against cooling from the prior,
and the effective number of parameters of one net beside its learning coefficient.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import tyro
from _cli import Drawn, save, table

import boltzax as bx
from boltzax import cases, degrade, theory

TEMPERATURES = np.concatenate([np.geomspace(0.25, 3, 10), [8.0, 14.0, 22.0, 36.0, 60.0]])
KERNEL = bx.HMC(max_steps=24)


@dataclass
class Options(Drawn):
    """The nets, and how long to run; `quick`: two nets, fewer draws."""

    nets: int = 8  # Nets, each with labels and chains of its own
    hidden: int = 24  # Units of the hidden layer
    chains: int = 8  # Chains at each temperature
    count: int = 1600  # Draws at each temperature
    ladder: int = 400  # Draws of each chain of the ladder for the number of parameters
    warmup: int = 250
    """Steps of each chain that are left out; six times as many cool the net that is heated."""


def survivals(net: cases.PlantedNet, start: str, options: Options, seed: int) -> bx.Curve:
    """The overlap of each head with its targets along the temperature."""
    dial = degrade.Tempered(
        KERNEL, start=start, chains=options.chains, warmup=options.warmup, throw=not options.quick
    )
    return degrade.along_dial(
        dial, TEMPERATURES, net.overlaps, gibbs=net.gibbs(marginalise=False),
        key=jax.random.key(seed), count=options.count,
    )  # fmt: skip


def parameters(gibbs: bx.Gibbs, options: Options) -> dict:
    """Excess free energy over `log n` at a temperature, n = 64/T, and its local slope `λ̂`.

    The net can fit all targets, so that the least energy is 0.
    """
    temperatures = np.geomspace(0.25, 16, 7)
    trace = bx.anneal(
        gibbs, 1 / temperatures, bx.HMC(max_steps=8), key=jax.random.key(options.seed + 400),
        warmup=options.ladder // 2, draws=options.ladder, throw=False,
    )  # fmt: skip
    effective = bx.effective_parameters(trace, 0.0)
    slope = bx.learning_coefficient(trace, 0.0)
    columns = {
        "temperature": temperatures, "F/log n": effective.value, "+-": effective.standard_error,
        "learning coefficient": slope.value, " +-": slope.standard_error,
    }  # fmt: skip
    print(table(columns), bx.Status[trace.status], sep="\n")
    return columns


def main(options: Options) -> None:
    """Draw, measure, print, write what was asked for."""
    if options.quick:
        options = replace(options, nets=2, chains=4, count=200, warmup=100, ladder=0)
    curves, limits = {head: [] for head in cases.PLANTED_HEADS}, []
    for seed in range(options.seed, options.seed + options.nets):
        net = cases.planted_net(options.hidden, key=jax.random.key(seed))
        cooled = survivals(net, "prior", options, seed + 100)
        for head, name in enumerate(curves):
            curves[name].append(cooled[:, head])
        values, vectors = np.linalg.eigh(cases.planted_kernel(net))
        squares = (vectors.T @ net.y) ** 2
        limits.append([theory.linear_temperature(np.maximum(values, 0), c) for c in squares.T])

    order = degrade.order_of_death(curves, key=jax.random.key(options.seed))
    places = {name: order.places[order.names.index(name)] for name in curves}
    limit = bx.Estimate.of_replicates(np.array(limits), exact=True)
    marks = degrade.temperature_marks(net.gibbs())
    print(order)
    for name, value in zip(curves, limit, strict=True):
        print(f"infinite width, {name}: {value}")
    print("named temperatures:", {name: round(value, 3) for name, value in marks.items()})

    gibbs = net.gibbs(marginalise=False)
    cold = bx.sample(
        gibbs.at(10.0), KERNEL, key=jax.random.key(7), chains=2, warmup=6 * options.warmup,
        draws=4, throw=False,
    )  # fmt: skip
    cold_net = replace(net, model=cold.ensemble[0, -1].models())
    heated = survivals(cold_net, "model", options, options.seed + 300)
    hysteresis = float(np.mean(np.asarray(heated.minus(cooled).z_score(0.0)) ** 2))
    print(f"heating minus cooling: mean square of z {hysteresis:.2f}, {heated.value.size} points")
    results = {"order": order, "infinite_width": limit, "marks": marks, "hysteresis": hysteresis}
    results |= {"parameters": parameters(gibbs, options)} if options.ladder else {}
    intervals = {name: place.interval() for name, place in places.items()}
    save(results | {"temperatures": places, "intervals": intervals}, options.json)
    if options.figure is not None:
        axes = bx.plot.survival(curves, marks=marks)
        axes.set(xlabel="temperature of the summed energy")
        axes.figure.savefig(options.figure, dpi=160)


if __name__ == "__main__":
    main(tyro.cli(Options))
