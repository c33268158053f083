"""Three voltage interfaces, the weird middle one included, and two nets between them.

At the input 0 is below 1.2 V and 1 is 3.5 to 5 V. In the middle extreme voltages stand for 0 and
middling ones for 1. At the output 0 is a narrower range of low voltages, 1 a wider range of high
ones (Wentworth & Lorell, "Toward Statistical Mechanics of Interfaces Under Selection Pressure",
2025; the output's bounds are ours). The example finds systems that satisfy all three and certifies
one for every voltage; it measures the entropy of parameters that the interfaces leave to each net,
and that the entropies add; and it asks which middle interface leaves the most.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import tyro

import boltzax as bx
from examples._cli import Drawn, save


@dataclass
class Options(Drawn):
    """The declaration, and how long to run.

    Quick: fewer units and particles.
    """

    width: int = 16
    """Hidden units of each net."""
    scale: float = 2.0
    """Standard deviation of all weights under the prior (of the last layer: 3/√width times it)."""
    particles: int = 512
    """Particles of multilevel splitting."""
    replicates: int = 16
    """Independent runs of it."""


def main(options: Options) -> None:
    """Declare, find, certify, measure, compare, print, write what was asked for."""
    began = time.time()
    middles = bx.cases.voltage_middles()
    if options.quick:
        options = replace(options, width=8, particles=64, replicates=4)
        middles = {name: middles[name] for name in ("weird", "plain")}

    def chain(name):
        return bx.cases.voltage_chain(middles[name], width=options.width, scale=options.scale)

    source = chain("weird")
    print(*source.interfaces, sep="\n")
    keys = jax.random.split(jax.random.key(options.seed), 4)
    sizes = {"particles": options.particles, "replicates": options.replicates, "throw": False}

    given = bx.interfaces.condition(source, key=keys[0], draws=64, **sizes)
    best = int(jnp.argmax(given.margin))
    models = jax.tree.map(lambda leaf: leaf[best] if eqx.is_array(leaf) else leaf, given.models)
    proof = bx.interfaces.certify(source, models)
    print(f"A system that satisfies them: margin {float(given.margin[best]):.3f} V; {proof}")

    joint = given.entropy
    entropies = {
        name: bx.interfaces.entropy(chain(name), key=keys[1], by="levels", **sizes)
        for name in middles
    }
    parts = entropies["weird"]
    print(f"H, both nets at once: {joint}\nH, net by net:        {parts}")
    gap = joint.value - parts.value
    error = jnp.hypot(joint.standard_error, parts.standard_error)
    print(f"joint minus sum of parts: {float(gap):.3f} ± {float(error):.3f} nats")
    print("\nentropy of the middle interfaces, nats")
    for name, each in sorted(entropies.items(), key=lambda item: -float(item[1].value)):
        h1, h2 = (float(part.value) for part in each.parts)
        print(
            f"{name:>18}: {float(each.value):8.3f} ± {float(each.standard_error):.3f}"
            f"  = {h1:.3f} + {h2:.3f}{'' if each.successful else '  (flagged)'}"
        )
    finest = max(entropies, key=lambda name: float(entropies[name].value))
    print(f"the one that leaves the most parameters free: {finest}")
    seconds = time.time() - began
    print(f"{seconds:.1f} s")
    results = {
        "middles": {
            name: {
                "value": each.value,
                "standard_error": each.standard_error,
                "parts": [part.value for part in each.parts],
                "flagged": not each.successful,
            }
            for name, each in entropies.items()
        },
        "joint": {"value": joint.value, "standard_error": joint.standard_error},
        "gap": {"value": gap, "standard_error": error},
        "certificate": {"status": proof.status, "lower": proof.lower, "upper": proof.upper},
        "best": finest,
        "seconds": seconds,
    }
    save(results, options.json)
    if options.figure is not None:
        draw(source, given.models, entropies, options.figure)


def draw(chain, models, entropies, path: Path) -> None:
    """The nets that satisfy their contracts, with the boxes; the entropies."""
    with bx.plot.panels(1, 3, path=path) as axes:
        x = jnp.linspace(0, 5, 200)[:, None]
        for place, (contract, each) in enumerate(zip(chain.contracts, models, strict=True)):
            bx.plot.contract(contract, ax=axes[place])
            y = eqx.filter_vmap(lambda model: jax.vmap(model)(x))(each)
            axes[place].plot(x[:, 0], np.asarray(y[:24]).T, color="0.3", lw=0.6)
            axes[place].set(title=f"net {place + 1}", xlabel="input / V", ylabel="output / V")
        names = sorted(entropies, key=lambda name: float(entropies[name].value))
        bx.plot.intervals({name: entropies[name].estimate for name in names}, ax=axes[2])
        axes[2].set_xlabel("H / nats")


if __name__ == "__main__":
    main(tyro.cli(Options))
