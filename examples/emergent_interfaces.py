"""Which interface will two voltage stages agree on?

Two amplifiers pass on a bit, and only the ends are specified. Every pair of thresholds is a
candidate for the wire between them. The example asks which interfaces the working systems satisfy,
which one leaves the most parameters, and whether systems drawn from the prior obey the law.
"""

from dataclasses import dataclass, replace

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import tyro
from _cli import Drawn, save

import boltzax as bx
from boltzax import interfaces as it


@dataclass
class Options(Drawn):
    """The candidates, and how many draws; `quick`: fewer of both."""

    levels: int = 16  # Thresholds from 0 to 5 V; every pair of them is a candidate
    draws: int = 20_000  # Draws of the prior


def main(options: Options) -> None:
    """Declare, ask, print, write what was asked for."""
    if options.quick:
        options = replace(options, levels=8, draws=4000)
    first = bx.Interface.intervals({0: [(0, 1.2)], 1: [(3.5, 5)]})
    last = bx.Interface.intervals({0: [(0, 1.5)], 1: [(4, 5)]})
    family = bx.Family.thresholds(np.linspace(0, 5, options.levels), range=(0, 5))
    chain = bx.Chain([bx.cases.voltage_amplifier()] * 2, [first, family, last], points=3)
    keys = jax.random.split(jax.random.key(options.seed), 5)

    law = it.interface_law(chain, key=keys[0], draws=options.draws)
    best = it.maximum_entropy(chain, key=keys[1], draws=options.draws)
    print(chain, law, best, it.pressure(law.tables, best.members), sep="\n\n")
    print(f"\nsatisfied together: {law.expected_interfaces():.3f} of {len(family)} candidates")
    print(f"the best one: by {law.satisfaction_of(best.members):.3f} of the working systems")
    print(f"a working system's first stage works in another one: {law.swap_rate(0):.3f}\n")

    expected = it.expected_satisfaction(chain, key=keys[2], draws=5 * options.draws)
    gibbs = bx.compile(bx.Violation(expected.spec), expected.spec.prior)
    systems = bx.Ensemble.prior(gibbs, options.draws // 2, key=keys[3]).models()
    verdict = it.satisfaction_law(systems, expected, key=keys[4], allow_satisfied=True)
    print(verdict)
    found = law.satisfaction()
    save(
        {
            "satisfaction": found.value,
            "standard_error": found.standard_error,
            "entropy": best.entropy.value,
            "slope": verdict.slope.value,
            "satisfied": jnp.sum(found.value),
        },
        options.json,
    )
    with bx.plot.panels(path=options.figure) as (ax,):
        order = np.argsort(-np.asarray(found.value))
        bx.plot.estimate(np.arange(len(order)), found[order], ax=ax)
        ax.set(xlabel="candidate, in order of its satisfaction", ylabel="share of working systems")


if __name__ == "__main__":
    main(tyro.cli(Options))
