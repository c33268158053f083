"""Learning zero: the learning coefficient of a two-layer net whose target is the zero function.

`f(x) = Σ_h a_h act(b_h x)`, `x ~ N(0, 1)`, target 0, `E = ½ E f²`: the curve `λ̂(log n)` with its
bounds, its limit and its turn.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import tyro
from _cli import save, table

import boltzax as bx

ACTIVATIONS = {"tanh": jnp.tanh, "erf": jax.lax.erf, "sin": jnp.sin, "sigmoid": jax.nn.sigmoid}


@dataclass
class Options:
    """The declaration, and how long to run."""

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
    seed: int = 0
    """Seed of all randomness."""
    quick: bool = False
    """Fewer points and draws."""
    full: bool = False
    """Log n up to 102, past the turn, with more draws."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw the curve."""
    progress: bool = True
    """Show a progress bar."""


def declare(width: int, prior: str, scale: float, activation: str) -> bx.Gibbs:
    """The experiment."""
    net = bx.models.TwoLayer(width, ACTIVATIONS[activation])
    energy = bx.SquaredError(net, bx.GaussianMeasure(1), target=bx.zero)
    embedding = bx.Uniform(-scale, scale) if prior == "uniform" else bx.Normal(0.0, scale)
    return bx.compile(energy, bx.Independent(readout=bx.Normal(), embedding=embedding))


def main(options: Options) -> None:
    """Run the ladder, print a table, write what was asked for."""
    began = time.time()
    log_n, budget = np.asarray(options.log_n), {"warmup": 120, "draws": 150}
    if options.quick:
        default = options.log_n == Options().log_n
        log_n = np.arange(0.0, 61.0, 6.0) if default else log_n
        budget = {"warmup": 60, "draws": 50, "spacing": 6.0}
    if options.full:
        log_n = np.concatenate([np.arange(0.0, 60.0, 6.0), np.arange(60.0, 76.0, 2.0)])
        log_n = np.concatenate([log_n, [76, 80, 85, 90, 96, 102]])
        budget = {"warmup": 100, "draws": 160, "spacing": 6.0}
    gibbs = declare(
        options.width, options.embedding_prior, options.embedding_scale, options.activation
    )
    print(gibbs)
    key = jax.random.key(options.seed)
    trace = bx.anneal(
        gibbs, np.exp(log_n), key=key, progress=options.progress, throw=False, **budget
    )
    curve, energy = bx.learning_coefficient(trace), bx.free_energy(trace)
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
    print(f"status: {bx.Status[trace.status]}")
    seconds = time.time() - began
    print(f"{seconds:.1f} s")
    save(columns | {"seconds": seconds, "status": bx.Status[trace.status]}, options.json)
    if options.figure is not None:
        draw(options, trace)


def draw(options: Options, trace: bx.Trace) -> None:
    """The curve with everything that theory says of it."""
    tanh = options.activation == "tanh"
    limit = bx.theory.tanh_network(options.width) if tanh else None
    ax = bx.plot.learning_coefficient(
        trace,
        bound=modes(options) if tanh and options.embedding_prior == "uniform" else None,
        ansatz=True,
        limit=limit,
        plateau=options.width / 2,
        mark_turn=True,
    )
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
