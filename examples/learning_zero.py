"""Learning zero: the learning coefficient of a two-layer net whose target is the zero function.

`f(x) = Σ_h a_h act(b_h x)`, `x ~ N(0, 1)`, target 0, `E = ½ E f²`: the curve `λ̂(log n)` with its
bounds, its limit and its turn. `--full` goes past the turn, where the posterior falls apart into
phases that no chain crosses between: each is run by itself, and weighed by its free energy.
"""

from dataclasses import dataclass
from typing import Literal

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import tyro
from _cli import Drawn, save, table
from _phases import FULL_LOG_N, two_phases
from _zero_figure import draw

import boltzax as bx

ACTIVATIONS = {"tanh": jnp.tanh, "erf": jax.lax.erf, "sin": jnp.sin, "sigmoid": jax.nn.sigmoid}


@dataclass
class Options(Drawn):
    """The declaration, and how long to run; `quick`: fewer points and draws."""

    width: int = 128  # Number of hidden units, H
    embedding_prior: Literal["uniform", "normal"] = "uniform"  # b: U(-scale, scale) or N(0, scale²)
    embedding_scale: float = 1.0  # Scale of that prior
    activation: Literal["tanh", "erf", "sin", "sigmoid"] = "tanh"  # The hidden units' activation
    log_n: tuple[float, ...] = tuple(np.arange(0.0, 61.0, 2.0))  # Values of log n, in any order
    full: bool = False  # Log n up to 118; in phases if the prior is uniform and the activation odd
    progress: bool = True  # Show a progress bar


def main(options: Options) -> None:
    """Run the ladder, print a table, write what was asked for."""
    scale = options.embedding_scale

    def declare(embedding):
        net = bx.models.TwoLayer(options.width, ACTIVATIONS[options.activation])
        energy = bx.SquaredError(net, bx.GaussianMeasure(1), target=bx.zero)
        return bx.compile(energy, bx.Independent(readout=bx.Normal(), embedding=embedding))

    uniform = options.embedding_prior == "uniform"
    gibbs = declare(bx.Uniform(-scale, scale) if uniform else bx.Normal(0.0, scale))
    print(gibbs)
    log_n, budget = np.asarray(options.log_n), {"warmup": 120, "draws": 150}
    if options.quick:
        log_n = np.arange(0.0, 61.0, 6.0) if options.log_n == Options().log_n else log_n
        budget = {"warmup": 60, "draws": 50, "spacing": 6.0}
    if options.full:
        log_n, budget = FULL_LOG_N, {"warmup": 150, "draws": 250, "spacing": 6.0}
    key, run = jax.random.key(options.seed), {"progress": options.progress, "throw": False} | budget
    if options.full and uniform and options.activation != "sigmoid":
        curve, energy, status, phases = two_phases(declare, options.width, scale, log_n, key, run)
    else:
        trace = bx.anneal(gibbs, np.exp(log_n), key=key, **run)
        curve, energy = bx.learning_coefficient(trace), bx.free_energy(trace)
        status, phases = str(bx.Status[trace.status]), {}
    columns = {
        "log_n": log_n, "learning_coefficient": curve.value, "standard_error": curve.standard_error,
        "ess": curve.ess, "r_hat": curve.r_hat, "free_energy": energy.value,
        "free_energy_error": energy.standard_error,
    }  # fmt: skip
    print(table(columns))
    for name, phase in phases.items():
        print(name, table(phase), sep="\n")
    print(f"status: {status}")
    save(columns | {"status": status} | ({"phases": phases} if phases else {}), options.json)
    if options.figure is not None:
        draw(options, log_n, curve, phases)


if __name__ == "__main__":
    main(tyro.cli(Options))
