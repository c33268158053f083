"""What a certificate costs in entropy: H(Θ | API) sampled, and proved at 1, 8 and 64 splits.

Nets 1-8-1 with tanh are drawn from a Gaussian prior. Each is asked for the interface
0: [0, 1.2] -> (-∞, 1], 1: [3.5, 5] -> [4, ∞), once at many sampled inputs (an upper bound of the
probability, whatever the number of draws) and once by interval arithmetic over equal parts of the
boxes (a lower bound). The gap is the difference of the two logarithms over the same draws, with
its binomial standard error and a 95 % upper bound (Clopper-Pearson). A net that is certified
although a sampled or attacked input breaks the interface is unsound: none may be.
"""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax

jax.config.update("jax_enable_x64", True)

import numpy as np
import tyro
from _common import Drawn, Seeded, save
from scipy import stats

import boltzax as bx
from boltzax.interfaces import attack, certified, margin


@dataclass
class Options(Seeded, Drawn):
    """The nets, and how finely to look.

    Quick: fewer nets and points.
    """

    nets: int = 20_000
    """Draws from the prior."""
    width: int = 8
    """Number of hidden units."""
    scale: float = 3.0
    """Standard deviation of the prior of every weight and bias."""
    splits: tuple[int, ...] = (1, 8, 64)
    """Equal parts of each box of inputs."""
    points: int = 1025
    """Sampled inputs of each box."""
    batch: int = 500
    """Nets at a time."""


def main(options: Options) -> None:
    """Draw, certify, compare, print, write what was asked for."""
    if options.quick:
        options = replace(options, nets=2000, points=129)
    before = bx.Interface.intervals({0: [(0.0, 1.2)], 1: [(3.5, 5.0)]})
    after = bx.Interface.thresholds(1.0, 4.0)
    net = bx.models.MLP((1, options.width, 1))
    component = bx.Component(net, bx.Normal(0.0, options.scale))
    contract = bx.Contract(component, before, after, points=options.points)
    keys = jax.random.split(jax.random.key(options.seed), options.nets)

    def draw(key):
        leaves, tree = jax.tree.flatten(net)
        parts = zip(jax.random.split(key, len(leaves)), leaves, strict=True)
        return tree.unflatten([options.scale * jax.random.normal(k, w.shape) for k, w in parts])

    @eqx.filter_jit
    def over(fn, keys):
        return jax.lax.map(fn, keys, batch_size=options.batch)

    def timed(fn):
        jax.block_until_ready(over(fn, keys))
        began = time.perf_counter()
        found = np.asarray(jax.block_until_ready(over(fn, keys)))
        return found, time.perf_counter() - began

    sampled, seconds = timed(lambda key: margin(contract, draw(key)))
    attacked, _ = timed(lambda key: attack(contract, draw(key), jax.random.fold_in(key, 1), 16, 30))
    least = np.minimum(sampled, attacked)
    kept = least >= 0
    chance = kept.mean()
    entropy, error = math.log(chance), math.sqrt((1 - chance) / kept.sum())
    results = {
        "nets": options.nets,
        "seed": options.seed,
        "entropy": entropy,
        "standard_error": error,
        "sampled_seconds": seconds,
        "rows": [],
    }
    print(f"{options.nets} nets 1-{options.width}-1; P = {chance:.4f}")
    print(f"H = {entropy:.4f} ± {error:.4f} from {options.points} points a box ({seconds:.2f} s)")
    print("form         splits  certified H     gap       ±   95% <  unsound  seconds")
    for mean_value in (False, True):
        form = "mean value" if mean_value else "intervals"
        for splits in options.splits:

            def proved(key, splits=splits, mean_value=mean_value):
                return certified(contract, draw(key), splits, mean_value=mean_value)

            good, seconds = timed(proved)
            unsound = int(np.sum(good & ~kept))
            share = good.sum() / kept.sum()
            gap = abs(math.log(share)) if share else math.inf
            lowest = stats.beta.ppf(0.05, good.sum(), kept.sum() - good.sum() + 1) if share else 0
            most = -math.log(lowest) if lowest else math.inf
            spread = math.sqrt(max(1 - share, 0) / good.sum()) if share else math.inf
            row = {
                "form": form,
                "splits": splits,
                "certified_entropy": entropy - gap,
                "gap": gap,
                "gap_standard_error": spread,
                "gap_upper_95": most,
                "unsound": unsound,
                "seconds": seconds,
            }
            results["rows"].append(row)
            print(
                f"{form:11s}  {splits:6d}  {entropy - gap:11.4f}  {gap:.4f}  {spread:.4f}"
                f"  {most:.4f}  {unsound:7d}  {seconds:7.2f}"
            )
    last = results["rows"][-1]
    results["gap_wanted"] = 0.02
    results["met"] = bool(
        last["gap_upper_95"] <= 0.02 and all(r["unsound"] == 0 for r in results["rows"])
    )
    print(
        f"gap at {last['splits']} splits {last['gap']:.4f}, with 95 % confidence below "
        f"{last['gap_upper_95']:.4f} (wanted: at most 0.02, no unsound)"
    )
    save(results, options.json)
    if options.figure is not None:
        draw_figure(results["rows"], options.figure)


def draw_figure(rows: list[dict], path: Path) -> None:
    """The gap against the number of splits."""
    with bx.plot.panels(path=path) as (axes,):
        for form, marker in (("intervals", "o"), ("mean value", "s")):
            mine = [row for row in rows if row["form"] == form]
            axes.errorbar(
                [row["splits"] for row in mine],
                [row["gap"] for row in mine],
                [1.96 * row["gap_standard_error"] for row in mine],
                fmt=f"{marker}-",
                label=f"{form}, 95%",
            )
        axes.axhline(0.02, color="0.6", lw=0.8, ls="--")
        axes.set(
            xscale="log", xlabel="equal parts of a box", ylabel="H sampled - H certified / nats"
        )
        axes.set_yscale("symlog", linthresh=0.01)
        axes.legend()


if __name__ == "__main__":
    main(tyro.cli(Options))
