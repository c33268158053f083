"""Learning zero: the learning coefficient of a two-layer net whose target is the zero function.

`f(x) = Σ_h a_h act(b_h x)`, `x ~ N(0, 1)`, target 0, `E = ½ E f²`: the curve `λ̂(log n)` with its
bounds, its limit and its turn. `--full` goes past the turn, where the posterior falls apart into
phases that no chain crosses between: each is run by itself, and weighed by its free energy.
"""

import time
from dataclasses import dataclass, field
from typing import Literal

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import tyro
from _cli import Drawn, save, table
from _phases import two_phases

import boltzax as bx

ACTIVATIONS = {"tanh": jnp.tanh, "erf": jax.lax.erf, "sin": jnp.sin, "sigmoid": jax.nn.sigmoid}


@dataclass
class Options(Drawn):
    """The declaration, and how long to run.

    Quick: fewer points and draws.
    """

    width: int = 128
    """Number of hidden units, H."""
    embedding_prior: Literal["uniform", "normal"] = "uniform"
    """Prior of b: U(-scale, scale) or N(0, scale²)."""
    embedding_scale: float = 1.0
    """Scale of that prior."""
    activation: Literal["tanh", "erf", "sin", "sigmoid"] = "tanh"
    """The hidden units' activation."""
    log_n: tuple[float, ...] = field(default_factory=lambda: tuple(np.arange(0.0, 61.0, 2.0)))
    """Values of log n, in any order."""
    full: bool = False
    """Log n up to 118; phase by phase if the prior is uniform and the activation odd."""
    progress: bool = True
    """Show a progress bar."""


def declare(width: int, activation: str, embedding: bx.Uniform | bx.Normal) -> bx.Gibbs:
    """The experiment."""
    net = bx.models.TwoLayer(width, ACTIVATIONS[activation])
    energy = bx.SquaredError(net, bx.GaussianMeasure(1), target=bx.zero)
    return bx.compile(energy, bx.Independent(readout=bx.Normal(), embedding=embedding))


def main(options: Options) -> None:
    """Run the ladder, print a table, write what was asked for."""
    began = time.time()
    prior = bx.Normal if options.embedding_prior == "normal" else lambda _, s: bx.Uniform(-s, s)
    gibbs = declare(options.width, options.activation, prior(0.0, options.embedding_scale))
    print(gibbs)
    log_n, budget = np.asarray(options.log_n), {"warmup": 120, "draws": 150}
    if options.quick:
        default = options.log_n == Options().log_n
        log_n = np.arange(0.0, 61.0, 6.0) if default else log_n
        budget = {"warmup": 60, "draws": 50, "spacing": 6.0}
    if options.full:
        log_n = np.concatenate([np.arange(0.0, 60.0, 6.0), np.arange(60.0, 94.0, 2.0)])
        log_n = np.concatenate([log_n, [98.0, 102.0, 110.0, 118.0]])
        budget = {"warmup": 150, "draws": 250, "spacing": 6.0}
    key = jax.random.key(options.seed)
    run = {"progress": options.progress, "throw": False} | budget
    odd = options.activation != "sigmoid"
    if options.full and odd and options.embedding_prior == "uniform":

        def measure(embedding: bx.Uniform) -> bx.Gibbs:
            return declare(options.width, options.activation, embedding)

        full = two_phases(measure, options.width, options.embedding_scale, log_n, key, run)
        curve, energy, status, phases = full.curve, full.free_energy, full.status, full.phases
    else:
        trace = bx.anneal(gibbs, np.exp(log_n), key=key, **run)
        curve, energy = bx.learning_coefficient(trace), bx.free_energy(trace)
        status, phases = str(bx.Status[trace.status]), {}
    columns = {
        "log_n": log_n,
        "learning_coefficient": curve.value,
        "standard_error": curve.standard_error,
        "ess": curve.ess,
        "r_hat": curve.r_hat,
        "free_energy": energy.value,
        "free_energy_error": energy.standard_error,
    }
    print(table(columns))
    for name, phase in phases.items():
        print(name)
        print(table(phase))
    print(f"status: {status}")
    seconds = time.time() - began
    print(f"{seconds:.1f} s")
    rest = {"seconds": seconds, "status": status} | ({"phases": phases} if phases else {})
    save(columns | rest, options.json)
    if options.figure is not None:
        draw(options, log_n, curve, phases)


def draw(options: Options, log_n: np.ndarray, curve: bx.Estimate, phases: dict[str, dict]) -> None:
    """The curve with everything that theory says of it."""
    tanh = options.activation == "tanh"
    limit = bx.theory.tanh_network(options.width) if tanh else None
    ax = bx.plot.learning_coefficient(
        curve,
        log_n=log_n,
        bound=modes(options) if tanh and options.embedding_prior == "uniform" else None,
        ansatz=True,
        limit=limit,
        plateau=options.width / 2,
        mark_turn=True,
    )
    for color, (name, phase) in zip(("#d9661f", "#7b4fa3"), phases.items(), strict=False):
        value, error = phase["learning_coefficient"], phase["standard_error"]
        label = {"label": f"phase: {name}", "color": color, "lw": 1, "elinewidth": 1}
        ax.errorbar(phase["log_n"], value, 1.96 * np.asarray(error), zorder=0, **label)
    ax.legend(frameon=False, fontsize="small")
    ax.set_title(f"Learning zero, H = {options.width}", loc="left")
    ax.figure.savefig(options.figure, dpi=160)


def modes(options: Options, count: int = 300) -> np.ndarray:
    """`log E c_k²` of the prior's nets, by the exact Hermite coefficients of a unit."""
    b = options.embedding_scale * (np.arange(4) + 0.5) / 4
    orders = np.arange(1, 2 * count, 2)
    logs = np.array([bx.theory.tanh_hermite_log_magnitude(orders, scale) for scale in b])
    return np.logaddexp.reduce(2 * logs, axis=0) + np.log(options.width / len(b))


if __name__ == "__main__":
    main(tyro.cli(Options))
