"""Learning zero: the learning coefficient of a two-layer net whose target is the zero function.

`f(x) = Σ_h a_h act(b_h x)`, `x ~ N(0, 1)`, target 0, `E = ½ E f²`: the curve `λ̂(log n)` with its
bounds, its limit and its turn. `--full` goes past the turn, where the posterior falls apart into
phases that no chain crosses between: each is run by itself, and weighed by its free energy.
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
    """Log n up to 118, past the turn, phase by phase (uniform prior, odd activation)."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw the curve."""
    progress: bool = True
    """Show a progress bar."""


CUT = 0.3
"""Two phases: all |b| above this part of the prior's bound (a shell about zero), or not."""


def declare(width: int, activation: str, embedding: bx.Uniform | bx.Normal) -> bx.Gibbs:
    """The experiment."""
    net = bx.models.TwoLayer(width, ACTIVATIONS[activation])
    energy = bx.SquaredError(net, bx.GaussianMeasure(1), target=bx.zero)
    return bx.compile(energy, bx.Independent(readout=bx.Normal(), embedding=embedding))


def shell(options: Options, **run) -> bx.Phase:
    """All units above the cut. The activation is odd, so that signs of b do not matter."""
    top = options.embedding_scale
    gibbs = declare(options.width, options.activation, bx.Uniform(CUT * top, top))
    return bx.Phase(bx.anneal(gibbs, **run), options.width * np.log(1 - CUT))


def rest(options: Options, **run) -> bx.Phase:
    """Some units below the cut: the first one is kept there, and stands for any of the k such."""
    top = options.embedding_scale
    bound = np.full((options.width, 1), top)
    bound[0] = CUT * top
    gibbs = declare(options.width, options.activation, bx.Uniform(-bound, bound))
    trace = bx.anneal(gibbs, keep=True, **run)
    share = trace.evaluate(lambda net: 1 / jnp.sum(jnp.abs(net.embedding) < CUT * top))
    return bx.Phase(trace, np.log(options.width * CUT), share)


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
    run = {"betas": np.exp(log_n), "progress": options.progress, "throw": False} | budget
    columns: dict = {"log_n": log_n}
    phases: dict[str, bx.Estimate] = {}
    if options.full:
        keys = jax.random.split(key)
        parts = [shell(options, key=keys[0], **run), rest(options, key=keys[1], **run)]
        names = ("all |b| above the cut", "the others")
        traces = {name: part.trace for name, part in zip(names, parts, strict=True)}
        whole = bx.phases(parts)
        curve, energy = whole.learning_coefficient, whole.free_energy
        phases = {name: whole.learning_coefficients[i] for i, name in enumerate(names)}
        columns |= {
            "shell_probability": whole.probability[0].value,
            "shell_probability_error": whole.probability[0].standard_error,
            "shell_learning_coefficient": whole.learning_coefficients[0].value,
            "shell_error": whole.learning_coefficients[0].standard_error,
            "shell_free_energy": whole.free_energies[0].value,
            "shell_free_energy_error": whole.free_energies[0].standard_error,
            "rest_learning_coefficient": whole.learning_coefficients[1].value,
            "rest_error": whole.learning_coefficients[1].standard_error,
            "rest_free_energy": whole.free_energies[1].value,
            "rest_free_energy_error": whole.free_energies[1].standard_error,
        }
    else:
        traces = {"run": bx.anneal(gibbs, key=key, **run)}
        curve, energy = bx.learning_coefficient(traces["run"]), bx.free_energy(traces["run"])
    columns |= {
        "learning_coefficient": curve.value,
        "standard_error": curve.standard_error,
        "ess": curve.ess,
        "r_hat": curve.r_hat,
        "free_energy": energy.value,
        "free_energy_error": energy.standard_error,
    }
    print(table(columns))
    status = "; ".join(f"{name}: {bx.Status[t.status]}" for name, t in traces.items())
    print(status)
    seconds = time.time() - began
    print(f"{seconds:.1f} s")
    save(columns | {"seconds": seconds, "status": status}, options.json)
    if options.figure is not None:
        draw(options, log_n, curve, phases)


def draw(
    options: Options, log_n: np.ndarray, curve: bx.Estimate, phases: dict[str, bx.Estimate]
) -> None:
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
    for color, (name, estimate) in zip(("#d9661f", "#7b4fa3"), phases.items(), strict=False):
        bx.plot.estimate(log_n, estimate, ax=ax, color=color, marker="", label=f"phase: {name}")
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
