"""Two figures of scale: a table of entropies, and the best interfaces of a long chain.

The table is of one amplifier `5 sigmoid(g (x - 2.5) + b)` from one input interface to all pairs of
40 thresholds (820 interfaces) with 20,000 prior draws: a second is wanted at most after
compilation.
The chain has 64 amplifiers that share one table between all joints; max-plus over it is wanted
within a second. Seconds are the least of some rounds; the first call, with compilation, is
apart.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import tyro
from _common import Drawn, Seeded, save

import boltzax as bx
from boltzax.interfaces import Family, chain_tables, entropy_table, max_plus


@dataclass
class Options(Seeded, Drawn):
    """Sizes.

    Quick: fewer levels, draws and components.
    """

    levels: int = 40
    """Levels of the thresholds; L (L + 1) / 2 interfaces."""
    draws: int = 20_000
    """Prior draws of a table."""
    components: int = 64
    """Length of the chain."""
    rounds: int = 3
    """Runs of which the fastest counts."""


def amplifier() -> bx.Component:
    start = {"gain": jnp.zeros(()), "bias": jnp.zeros(())}
    model = bx.models.Function(
        lambda p, x: 5 * jax.nn.sigmoid(p["gain"] * (x[0] - 2.5) + p["bias"]), start
    )
    prior = {"params['gain']": bx.Normal(1.5, 1.5), "params['bias']": bx.Normal()}
    return bx.Component(model, bx.Independent(prior))


def timed(call, rounds: int) -> tuple[object, float, float]:
    """What a call gives, its seconds the first time, and the least of later ones."""
    times = []
    found = None
    for turn in range(rounds + 1):
        began = time.perf_counter()
        found = call(turn)
        jax.block_until_ready(jax.tree.leaves(found))
        times.append(time.perf_counter() - began)
    return found, times[0], min(times[1:])


def main(options: Options) -> None:
    """Time, print, write what was asked for."""
    if options.quick:
        options = replace(options, levels=12, draws=4000, components=16, rounds=1)
    component = amplifier()
    key = jax.random.key(options.seed)
    began = time.perf_counter()
    family = Family.thresholds(np.linspace(0, 5, options.levels), range=(0, 5))
    order = family.order()
    build = time.perf_counter() - began
    first = bx.Interface.intervals({0: [(0, 1.2)], 1: [(3.5, 5.0)]})
    last = bx.Interface.intervals({0: [(0, 1.0)], 1: [(4.0, 5.0)]})
    one = {"draws": options.draws}

    def table(turn):
        return entropy_table(component, first, family, key=jax.random.fold_in(key, turn), **one)

    rows, table_first, table_again = timed(table, options.rounds)
    chain = None
    full = time.perf_counter()
    parts = [component] * options.components
    declared = bx.Chain(parts, [first, *[family] * (len(parts) - 1), last], points=5)
    chain = chain_tables(declared, key=key, **one)
    full = time.perf_counter() - full
    best, plus_first, plus_again = timed(lambda turn: max_plus(chain), options.rounds)
    results = {
        "interfaces": len(family),
        "pairs_in_order": int(jnp.sum(order)),
        "family_seconds": build,
        "table_seconds_with_compilation": table_first,
        "table_seconds": table_again,
        "table_seconds_wanted": 1.0,
        "chain_tables_seconds": full,
        "max_plus_seconds_with_compilation": plus_first,
        "max_plus_seconds": plus_again,
        "max_plus_seconds_wanted": 1.0,
        "sum_of_entropies": float(best.entropy.value),
        "standard_error": float(best.entropy.standard_error),
        "draws": options.draws,
        "components": options.components,
    }
    print(f"family of {len(family)} interfaces and its order: {build:.2f} s")
    print(f"table 1 x {len(family)}, {options.draws} draws: {table_again:.2f} s", end=" ")
    print(f"({table_first:.1f} s with compilation)")
    print(f"all tables of the chain, up to {len(family)} x {len(family)}: {full:.1f} s, compiled")
    print(f"max-plus over {options.components} components: {plus_again:.2f} s", end=" ")
    print(f"({plus_first:.1f} s with compilation), ΣH = {best.entropy}")
    save(results, options.json)
    if options.figure is not None:
        draw(rows, family, best, options.figure)


def draw(rows, family, best, path: Path) -> None:
    """H over both thresholds, and the thresholds of the best chain."""
    with bx.plot.panels(1, 2, path=path) as (left, right):
        low, high = family.upper[:, 0, 0, 0], family.lower[:, 1, 0, 0]
        shown = left.scatter(low, high, c=rows.entropy.value[0], s=14, marker="s")
        left.figure.colorbar(shown, ax=left, label="H / nats")
        left.set(xlabel="low threshold after", ylabel="high threshold after")
        middle = best.interfaces[1:-1]
        right.plot([float(each.upper[0, 0, 0]) for each in middle], "o-", label="low")
        right.plot([float(each.lower[1, 0, 0]) for each in middle], "s-", label="high")
        right.set(xlabel="joint", ylabel="threshold", ylim=(0, 5))
        right.legend()


if __name__ == "__main__":
    main(tyro.cli(Options))
