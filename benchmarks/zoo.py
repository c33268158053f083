"""How true local learning coefficients are: estimates without a step size against exact values.

Each cell is a problem whose local learning coefficient at its n is known exactly (quadrature, a
closed form, or a long run of an exact sampler on sufficient statistics; `exact_source` says which)
and one seed. `bx.local_learning_coefficient(energy, key=key)` gets the model, its weights and the
data; it chooses everything else. What is asked of it: 95% intervals that cover the exact value in
at least 90% of the cells called usable; at least 80% of the cells usable; a median relative error
of at most 5%.

Without `--problem` the whole zoo is run (`ZOO` in `_problems.py`), without and with label noise.
"""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import numpy as np
import tyro
from _common import Drawn, save
from _problems import ZOO, Problem, problem
from scipy import stats

import boltzax as bx

Kind = Literal[
    "normal-crossing",
    "quadratic",
    "reduced-rank",
    "deep-linear",
    "tanh-zero",
    "mixture",
    "logistic",
]
Sampler = Literal["auto", "sgld", "rmsprop-sgld", "adam-sgld", "underdamped", "sgnht", "nuts"]

KERNELS = {
    "auto": lambda: None,
    "sgld": bx.SGLD,
    "rmsprop-sgld": bx.RMSpropSGLD,
    "adam-sgld": bx.AdamSGLD,
    "underdamped": bx.Underdamped,
    "sgnht": bx.SGNHT,
    "nuts": bx.NUTS,
}


@dataclass
class Options(Drawn):
    """Problems, and how long to run.

    Quick: four problems, one seed, 100,000 gradients.
    """

    problem: Kind | None = None
    """One kind of problem; all of the zoo if not given."""
    skip: tuple[Kind, ...] = ()
    """Kinds of problems of the zoo to leave out."""
    powers: tuple[int, ...] = (1, 2)
    """k_i of the loss ½ Π w_i^(2 k_i) (normal-crossing)."""
    dim: int | None = None
    """Number of weights (quadratic: 10; logistic: 3)."""
    widths: tuple[int, ...] = (5, 3, 5)
    """Widths of a linear net, input first (reduced-rank, deep-linear)."""
    rank: int = 0
    """Rank of the true map (reduced-rank, deep-linear)."""
    width: int = 16
    """Number of units (tanh-zero)."""
    n: int = 10_000
    """Number of data."""
    noise: tuple[float, ...] | None = None
    """Standard deviations of the label noise; 0 and 1 for the whole zoo, else 0."""
    localisation: float = 1.0
    """Strength γ of the localisation."""
    seeds: tuple[int, ...] | None = None
    """Seeds of data and chains; 0 to 7 for the whole zoo, else 0."""
    sampler: Sampler = "auto"
    """Sampler; the estimator's own choice if auto."""
    batch: int | None = None
    """Size of minibatches, for problems with data; all data at once if not given."""
    tolerance: float = 0.02
    """Relative standard error at which a run ends."""
    max_gradients: int = 1_000_000
    """Gradient evaluations at which a run ends."""


def measured(energy: bx.SquaredError, batch: int | None):
    """The energy over minibatches, if it is over data."""
    data = getattr(energy, "measure", None)
    if batch is None or not isinstance(data, bx.Empirical):
        return energy
    return eqx.tree_at(lambda e: e.measure, energy, bx.Subsampled(data, batch))


def cell(options: Options, chosen: Problem, noise: float, seed: int) -> dict:
    """One estimate beside the exact value."""
    began = time.perf_counter()
    result = bx.local_learning_coefficient(
        measured(chosen.energy, options.batch),
        key=jax.random.key(seed),
        localisation=chosen.localisation,
        kernel=KERNELS[options.sampler](),
        tolerance=options.tolerance,
        max_gradients=options.max_gradients,
    )
    seconds = time.perf_counter() - began
    exact = chosen.exact()
    lower, upper = (float(bound) for bound in result.estimate.interval())
    return {
        "problem": chosen.name,
        "noise": noise,
        "seed": seed,
        "value": float(result.estimate.value),
        "standard_error": float(result.estimate.standard_error),
        "lower": lower,
        "upper": upper,
        "exact": exact.value,
        "exact_error": exact.error,
        "exact_source": exact.source,
        "usable": result.usable,
        "reason": result.reason,
        "ess": float(result.estimate.ess),
        "r_hat": float(result.estimate.r_hat),
        "seconds": seconds,
        "gradient_evaluations": result.evidence.gradients,
    }


def show(row: dict) -> None:
    z = (row["value"] - row["exact"]) / np.hypot(row["standard_error"], row["exact_error"])
    usable = "usable" if row["usable"] else row["reason"][:40]
    print(
        f"{row['problem']:42} {row['seed']:2d}  {row['value']:9.4f} ± {row['standard_error']:.4f}"
        f"  exact {row['exact']:9.4f}  z {z:5.2f}  {row['seconds']:5.1f} s "
        f" {row['gradient_evaluations']:8d}  {usable}",
        flush=True,
    )


def summary(rows: list[dict]) -> dict:
    """Coverage among the usable, share of the usable, median relative error, z-scores."""
    usable = [row for row in rows if row["usable"]]
    covered = sum(row["lower"] <= row["exact"] <= row["upper"] for row in usable)
    errors = [abs(row["value"] - row["exact"]) / abs(row["exact"]) for row in usable]
    low, high = stats.binomtest(covered, max(len(usable), 1)).proportion_ci()
    return {
        "cells": len(rows),
        "usable": len(usable),
        "usable_share": len(usable) / len(rows),
        "covered": covered,
        "coverage": covered / max(len(usable), 1),
        "coverage_lower": low,
        "coverage_upper": high,
        "median_relative_error": float(np.median(errors)) if errors else None,
        "reasons": dict(Counter(row["reason"] for row in rows if not row["usable"])),
        "seconds": sum(row["seconds"] for row in rows),
    }


def draw(rows: list[dict], path: Path) -> None:
    """Estimates over exact values, one point a cell."""
    with bx.plot.panels(path=path) as (ax,):
        for name, usable, style in (("usable", True, "C0o"), ("not usable", False, "C1x")):
            some = [row for row in rows if row["usable"] == usable]
            exact = np.array([row["exact"] for row in some])
            value = np.array([row["value"] for row in some])
            error = np.array([row["standard_error"] for row in some])
            bars = 1.96 * error / exact
            ax.errorbar(exact, value / exact, bars, fmt=style, lw=1, label=f"{name}, 95%")
        ax.axhline(1.0, color="k", lw=1)
        ax.set(xscale="log", xlabel="exact local learning coefficient", ylabel="estimate / exact")
        ax.legend()


def main(options: Options) -> None:
    """Run the cells, print them, write what was asked for."""
    if options.problem is None:
        picked = ZOO[:1] + ZOO[4:6] + ZOO[-1:] if options.quick else ZOO
        chosen = [dict(each) for each in picked if each["kind"] not in options.skip]
        noises, seeds = options.noise or (0.0, 1.0), options.seeds or tuple(range(8))
    else:
        names = ("powers", "dim", "widths", "rank", "width")
        chosen = [{"kind": options.problem} | {name: getattr(options, name) for name in names}]
        noises, seeds = options.noise or (0.0,), options.seeds or (0,)
    if options.quick:
        options.max_gradients = min(options.max_gradients, 100_000)
        seeds = seeds[:1]
    rows = []
    for arguments in chosen:
        for noise in noises:
            if arguments["kind"] == "logistic" and noise != noises[0]:
                continue  # its labels are random by nature
            for seed in seeds:
                each = problem(
                    **arguments,
                    n=options.n,
                    noise=noise,
                    seed=seed,
                    localisation=options.localisation,
                )
                rows.append(cell(options, each, noise, seed))
                show(rows[-1])
                save(rows, options.json)
    for name, value in summary(rows).items():
        print(f"{name}: {value}")
    if options.figure is not None:
        draw(rows, options.figure)


if __name__ == "__main__":
    main(tyro.cli(Options))
