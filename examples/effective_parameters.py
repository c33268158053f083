"""How many parameters a net uses at a temperature, beside its learning coefficient.

The net of `planted_circuits.py` sees n = 64/T data at temperature T of the summed energy. Along a
ladder of temperatures from the prior its excess free energy over `log n` is the effective number of
parameters, and the learning coefficient is its local slope. All targets can be fitted, so that the
least energy is 0.
"""

from dataclasses import dataclass

import jax
import numpy as np
import tyro
from _cli import Drawn, save, table

import boltzax as bx
from boltzax import cases


@dataclass
class Options(Drawn):
    """The net, and how long to run; `quick`: fewer draws."""

    seed: int = 7  # Of the net, and of its chains
    hidden: int = 24  # Units of the hidden layer
    draws: int = 400  # Draws of each chain at each temperature, after half as many of warm-up


def main(options: Options) -> None:
    """Cool, measure, print, write what was asked for."""
    draws = 40 if options.quick else options.draws
    net = cases.planted_net(options.hidden, key=jax.random.key(options.seed))
    temperatures, key = np.geomspace(0.25, 16, 7), jax.random.key(options.seed + 393)
    trace = bx.anneal(
        net.gibbs(marginalise=False), 1 / temperatures, bx.HMC(max_steps=8), key=key,
        warmup=draws // 2, draws=draws, throw=False,
    )  # fmt: skip
    curves = {
        "F / log n": bx.effective_parameters(trace, 0.0),
        "learning coefficient": bx.learning_coefficient(trace, 0.0),
    }
    print(table({"temperature": temperatures} | curves), bx.Status[trace.status], sep="\n")
    status = {"temperature": temperatures, "status": bx.Status[trace.status]}
    save(curves | status, options.json)
    with bx.plot.panels(path=options.figure) as (ax,):
        for name, curve in curves.items():
            bx.plot.estimate(temperatures, curve, ax=ax, label=name)
        ax.set(xscale="log", xlabel="temperature of the summed energy", ylabel="parameters")


if __name__ == "__main__":
    main(tyro.cli(Options))
