"""Multilevel splitting against closed forms: coverage, decoupling, a decoy, and what it costs.

Chains of gains `y = w x`, `w ~ U[0, 1.5]`, whose stages share the gain evenly, have entropies in
closed form. For each depth the joint probability of all stages and the sum of the stages' entropies
are estimated many times with fresh keys: bias, spread over stated error, and how often the 95%
interval covers. Then a net of some 6,000 weights, timed a replicate.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import numpy as np
import tyro
from _common import Drawn, Seeded, save

import boltzax as bx
from boltzax.cases import gain_component


@dataclass
class Options(Seeded, Drawn):
    """What to run.

    Quick: few repetitions of small runs.
    """

    entropies: list[float] = field(default_factory=lambda: [-5.0, -15.0, -25.0, -35.0])
    """Exact entropies of the chains, nats."""
    length: int = 4
    """Stages of a chain."""
    repetitions: int = 100
    """How often each is estimated."""
    particles: int = 512
    """Particles of a replicate."""
    moves: int = 16
    """Moves a level."""
    replicates: int = 16
    """Replicates of an estimate."""
    width: int = 76
    """Units of the two hidden layers of the net that is timed."""


WIDTH, TOP = 1.5, 50.0
"""Largest gain under the prior; what stands for 1 at the input, where 0 is up to 1."""


def chain(entropy: float, length: int) -> tuple[bx.Chain, float]:
    """A chain with that entropy, and the closed form."""
    low = 1.2
    high = low - WIDTH * np.exp(entropy / length)
    joints = [
        bx.Interface.thresholds(low**i, TOP * high**i, range=(0, None)) for i in range(length + 1)
    ]
    made = bx.Chain([gain_component(WIDTH)] * length, joints, points=3)
    ends = (low**length, TOP * high**length)
    return made, bx.theory.linear_chain_maximum(WIDTH, (1.0, TOP), ends, length)


def repeated(made: bx.Chain, exact: float, joint: bool, options: Options, key) -> dict:
    """Many estimates of one number."""
    sizes = {name: getattr(options, name) for name in ("particles", "moves", "replicates")}
    found = [
        bx.interfaces.entropy(made, key=k, by="levels", joint=joint, throw=False, **sizes)
        for k in jax.random.split(key, options.repetitions)
    ]
    values = np.array([float(each.value) for each in found])
    errors = np.array([float(each.standard_error) for each in found])
    covers = [bool(each.lower <= exact <= each.upper) for each in found]
    return {
        "mean": values.mean(),
        "standard_error": values.std(ddof=1) / np.sqrt(len(values)),
        "coverage": np.mean(covers),
        "stated_error": errors.mean(),
        "spread_over_stated": values.std(ddof=1) / np.sqrt(np.mean(errors**2)),
        "flagged": np.mean([not each.successful for each in found]),
        "evaluations": found[0].evaluations,
    }


class Stage(eqx.Module):
    """`5 σ(net(x))` volts."""

    net: bx.models.MLP

    def __call__(self, x):
        return 5 * jax.nn.sigmoid(self.net((x - 2.5) / 2.5))


def timed(options: Options, key) -> dict:
    """A replicate of splitting on a net of two hidden layers."""
    stage = Stage(bx.models.MLP((1, options.width, options.width, 1)))
    # as a net is initialised, wider in its first layer and at its end
    scale = {"net": 1.0, "net.weight[1]": options.width**-0.5, "net.weight[2]": options.width**-0.5}
    prior = bx.Independent({path: bx.Normal(0.0, s) for path, s in scale.items()})
    first = bx.Interface.intervals({0: [(0, 1.2)], 1: [(3.5, 5.0)]})
    last = bx.Interface.intervals({0: [(0, 1.5)], 1: [(3.5, 5.0)]})
    contract = bx.Contract(bx.Component(stage, prior), first, last, points=9)
    sizes = {"particles": options.particles, "moves": options.moves, "replicates": 2}
    seconds = []
    for k in jax.random.split(key, 2):
        began = time.perf_counter()
        found = bx.interfaces.entropy(contract, key=k, by="levels", throw=False, **sizes)
        seconds.append((time.perf_counter() - began) / sizes["replicates"])
    return {
        "weights": sum(x.size for x in jax.tree.leaves(eqx.filter(stage, eqx.is_array))),
        "value": float(found.value),
        "standard_error": float(found.standard_error),
        "seconds_a_replicate": seconds[1],
        "seconds_with_compilation": seconds[0],
        "evaluations_a_replicate": found.evaluations / sizes["replicates"],
    }


def main(options: Options) -> None:
    """Repeat, time, print, write."""
    if options.quick:
        options = replace(
            options, entropies=[-5.0, -12.0], repetitions=4, particles=64, moves=4, replicates=4
        )
        options = replace(options, width=8)
    keys = jax.random.split(jax.random.key(options.seed), len(options.entropies) + 1)
    cells = []
    for entropy, key in zip(options.entropies, keys[1:], strict=True):
        made, exact = chain(entropy, options.length)
        cell = {"exact": exact, "repetitions": options.repetitions}
        for name, k in zip(("joint", "parts"), jax.random.split(key), strict=True):
            cell[name] = repeated(made, exact, name == "joint", options, k)
            print(
                f"H {exact:8.3f} {name}: bias {cell[name]['mean'] - exact:+.4f} ± "
                f"{cell[name]['standard_error']:.4f}, coverage {cell[name]['coverage']:.0%}, "
                f"spread/stated {cell[name]['spread_over_stated']:.2f}, "
                f"flagged {cell[name]['flagged']:.0%}"
            )
        gap = cell["joint"]["mean"] - cell["parts"]["mean"]
        error = np.hypot(cell["joint"]["standard_error"], cell["parts"]["standard_error"])
        cell["decoupling"] = {"value": gap, "standard_error": error}
        print(f"  joint - sum of parts {gap:+.4f} ± {error:.4f}")
        cells.append(cell)
    net = timed(options, keys[0])
    print(
        f"{net['weights']} weights: {net['seconds_a_replicate']:.1f} s a replicate, "
        f"H = {float(net['value']):.2f} ± {float(net['standard_error']):.2f}"
    )
    save({"cells": cells, "net": net}, options.json)
    if options.figure is not None:
        draw(cells, options.figure)


def draw(cells: list[dict], path: Path) -> None:
    """Coverage against depth."""
    with bx.plot.panels(path=path) as (ax,):
        for name, marker in (("joint", "o"), ("parts", "s")):
            ax.plot(
                [c["exact"] for c in cells],
                [c[name]["coverage"] for c in cells],
                f"{marker}-",
                label=name,
            )
        ax.axhline(0.95, color="0.6")
        ax.set(xlabel="exact H / nats", ylabel="share of 95% intervals that cover")
        ax.legend()


if __name__ == "__main__":
    main(tyro.cli(Options))
