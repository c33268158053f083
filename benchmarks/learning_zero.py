"""What a learning coefficient costs: readout integrated out, against plain NUTS on all weights.

`f(x) = Σ_h a_h tanh(b_h x)`, `x ~ N(0, 1)`, target 0, `a ~ N(0, 1)`, `b ~ U(-1, 1)`. One run of
`anneal` gives all requested n at once; plain NUTS samples all 2H weights, one n after another.
The cost of an estimate is `standard_error² × CPU seconds`, which does not depend on how long a run
is: for `anneal` with the seconds of the whole ladder, for NUTS with those at that n alone. The
ratio plain/marginal is what is saved. Where the plain chains have not mixed (`r_hat` far from 1)
their standard error is too small, and the ratio with it.

Each run is made twice, with other keys: the first compiles, the second is timed. CPU seconds are
those of the whole process.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import tyro
from _common import Seeded, save

import boltzax as bx


@dataclass
class Options(Seeded):
    """The declaration, and how long to run.

    Quick: 16 units, fewer draws, log n up to 8.
    """

    width: int = 128
    """Number of hidden units, H."""
    log_n: tuple[float, ...] = (4.0, 8.0, 12.0)
    """Values of log n."""
    warmup: int = 100
    """Warm-up of the marginal run."""
    draws: int = 200
    """Draws of the marginal run, a chain."""
    plain_warmup: int = 200
    """Warm-up of plain NUTS."""
    plain_draws: int = 200
    """Draws of plain NUTS, a chain."""
    max_tree_depth: int = 8
    """At most 2^depth - 1 gradients a step of plain NUTS."""
    chains: int = 4
    """Chains of either run."""


def twice(run: Callable, seed: int) -> tuple[bx.Trace, dict[str, float]]:
    """The second of two runs, its CPU and wall seconds, and the wall seconds of compiling."""
    walls, cpus = [time.perf_counter()], [time.process_time()]
    for key in jax.random.split(jax.random.key(seed)):
        trace = jax.block_until_ready(run(key))
        walls.append(time.perf_counter())
        cpus.append(time.process_time())
    first, second = (float(each) for each in np.diff(walls))
    times = {"cpu_seconds": cpus[2] - cpus[1], "wall_seconds": second}
    return trace, times | {"compile_seconds": max(0.0, first - second)}


def summary(trace: bx.Trace, times: dict[str, float]) -> dict:
    """Estimates at the betas of one run, with their cost."""
    curve = bx.learning_coefficient(trace)
    names = ("value", "standard_error", "ess", "r_hat")
    columns = {name: np.atleast_1d(np.asarray(getattr(curve, name))) for name in names}
    columns["cost"] = columns["standard_error"] ** 2 * times["cpu_seconds"]
    columns = {name: column.tolist() for name, column in columns.items()}
    return columns | {name: [value] for name, value in times.items()} | {"status": [trace.status]}


def main(options: Options) -> None:
    """Run both, print a table, write what was asked for."""
    if options.quick:
        options = replace(options, width=min(options.width, 16), warmup=50, draws=60)
        log_n = tuple(x for x in options.log_n if x <= 8) or options.log_n[:1]
        options = replace(options, log_n=log_n, plain_warmup=60, plain_draws=60)
        options = replace(options, max_tree_depth=min(options.max_tree_depth, 6))
    net = bx.models.TwoLayer(options.width, jnp.tanh)
    energy = bx.SquaredError(net, bx.GaussianMeasure(1), target=bx.zero)
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-1.0, 1.0))
    betas = np.exp(np.asarray(options.log_n))
    marginal, plain = (bx.compile(energy, prior, marginalise=each) for each in (True, False))
    kernel = bx.NUTS(max_tree_depth=options.max_tree_depth)

    def anneal(key):
        budget = {"warmup": options.warmup, "draws": options.draws, "chains": options.chains}
        return bx.anneal(marginal, betas, key=key, throw=False, **budget)

    def sample(key, beta):
        budget = {"warmup": options.plain_warmup, "draws": options.plain_draws}
        budget |= {"chains": options.chains, "keep": False, "throw": False}
        return bx.sample(plain.at(beta), kernel, key=key, **budget)

    one = summary(*twice(anneal, 1000 * options.seed))
    parts = []
    for i, beta in enumerate(betas):
        seed = 1000 * options.seed + 1 + i
        parts.append(summary(*twice(lambda key, beta=beta: sample(key, beta), seed)))
        print(f"plain, log n {options.log_n[i]:g}: {parts[-1]['wall_seconds'][0]:.1f} s")
    two = {name: [value for part in parts for value in part[name]] for name in parts[0]}
    ratio = np.array(two["cost"]) / np.array(one["cost"])
    difference = np.abs(np.array(one["value"]) - np.array(two["value"]))
    distance = difference / np.hypot(one["standard_error"], two["standard_error"])
    for i, log_n in enumerate(options.log_n):
        texts = [
            f"{name} {each['value'][i]:.4f} ± {each['standard_error'][i]:.4f}"
            f" (r_hat {each['r_hat'][i]:.3f})"
            for name, each in (("marginal", one), ("plain", two))
        ]
        verdict = "agree" if distance[i] < 3 else "DISAGREE"
        print(f"log n {log_n:g}: {', '.join(texts)}: {verdict}, cost 1:{ratio[i]:.3g}")
    for name, each in (("marginal", one), ("plain", two)):
        numbers = {part: sum(each[part]) for part in ("cpu_seconds", "wall_seconds")}
        numbers["compile_seconds"] = each["compile_seconds"][0]
        text = ", ".join(f"{part} {value:.1f}" for part, value in numbers.items())
        print(f"{name}: {text}; {', '.join(str(bx.Status[status]) for status in each['status'])}")
        each["status"] = [str(bx.Status[status]) for status in each["status"]]
    results = {"width": options.width, "log_n": list(options.log_n), "ratio": ratio.tolist()}
    results |= {"distance_in_standard_errors": distance.tolist()}
    results |= {"agree": [bool(each < 3) for each in distance], "marginal": one, "plain": two}
    save(results, options.json)


if __name__ == "__main__":
    main(tyro.cli(Options))
