"""Whether the verdict `melted` is deserved: trained nets from far too hot to cold.

Each target (`_melting_models.py`) is trained to a minimum and given to
`bx.local_learning_coefficient` at inverse temperatures from a small part of `1/log n` to many times
that. What its draws know of the task is measured apart from the verdict, as a score: accuracy of
the classes, or correlation with the noiseless truth at fresh points. `knows` is
`(score of the draws - of a guess) / (score of w* - of a guess)`. What is asked: no usable cell has
`knows < 0.2` (unless λ̂ is known to be right), and none that is called melted has `knows > 0.8`.

For a regression the explained variance (R²) of the draws is written too. It is no measure of
ignorance: draws of a regular model at `1/log n` are worse than a constant wherever the signal is
weak, and their coefficient is right all the same. For the linear model λ̂ is known exactly.
"""

import dataclasses
import math
import time
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import numpy as np
import tyro
from _common import Drawn, Seeded, save
from _melting_models import TARGETS, Target

import boltzax as bx

VERDICTS = (
    "usable",
    "non_finite",
    "rounding",
    "stuck",
    "interrupted",
    "divergent",
    "not_mixed",
    "not_in_equilibrium",
    "step_bias",
    "not_a_minimum",
    "few_data",
    "undecided",
    "melted",
    "localisation_dominates",
    "imprecise",
)
DRAWS = 200
"""Draws whose score is taken."""

Name = Literal["transformer", "convolutional", "mlp", "recurrent", "weak"]


@dataclass
class Options(Seeded, Drawn):
    """Targets and temperatures.

    Quick: two targets, three temperatures, 10,000 gradients.
    """

    only: tuple[Name, ...] = ()
    """Targets; all if not given."""
    factors: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    """Inverse temperatures in units of 1/log n."""
    tolerance: float = 0.05
    """Relative standard error at which a run ends."""
    max_gradients: int = 100_000
    """Gradient evaluations at which a run ends."""


def mean_score(result: bx.LocalLearningCoefficient, score) -> float:
    """The mean of a function of the model over `DRAWS` of the draws."""
    trace = result.trace
    step = max(trace.energy.size // DRAWS, 1)
    w = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[::step], trace.w)

    @eqx.filter_jit
    def scores(gibbs, w):
        return jax.lax.map(lambda each: score(gibbs.model(each)), w)

    return float(np.mean(scores(trace.gibbs, w)))


def part(above: float, whole: float) -> float:
    return above / whole if whole > 0 else math.nan


def cell(options: Options, target: Target, factor: float, key) -> dict:
    """One target at one temperature."""
    began = time.perf_counter()
    beta = factor / math.log(target.n)
    result = bx.local_learning_coefficient(
        target.energy,
        key=key,
        temperature=beta,
        tolerance=options.tolerance,
        max_gradients=options.max_gradients,
    )
    value, e = float(result.estimate.value), result.evidence
    excess = e.loss_of_draws - e.loss
    scores = [mean_score(result, target.score), float(target.score(target.energy.model))]
    return {
        "target": target.name,
        "weights": target.weights,
        "n": target.n,
        "factor": factor,
        "beta": beta,
        "verdict": verdict(result),
        "usable": result.usable,
        "melted": e.melted(value),
        "value": value,
        "standard_error": float(result.estimate.standard_error),
        "exact": None if target.exact is None else target.exact(beta),
        "share": part(excess, e.loss_of_prior - e.loss),
        "of_constant": part(excess, e.loss_of_constant - e.loss),
        "heat": e.heat_capacity / value,
        "heat_error": e.heat_capacity_error / abs(value),
        "score": scores[0],
        "score_at_minimum": scores[1],
        "score_of_guess": target.guess,
        "knows": (scores[0] - target.guess) / (scores[1] - target.guess),
        "explained": None if target.explained is None else mean_score(result, target.explained),
        "loss": e.loss,
        "r_hat": float(e.r_hat),
        "ess": float(e.ess),
        "virial": e.virial,
        "virial_error": e.virial_error,
        "sensitivity": e.sensitivity,
        "gap": e.gap,
        "gradients": e.gradients,
        "seconds": time.perf_counter() - began,
    }


def verdict(result: bx.LocalLearningCoefficient) -> str:
    """The name of the verdict."""
    return next(name for name in VERDICTS if bool(result.verdict == getattr(bx.Verdict, name)))


def unseen(rows: list[dict]) -> list[dict]:
    """Cells that are called usable though their draws know next to nothing.

    Not those whose value is known to be right all the same.
    """
    return [row for row in rows if row["usable"] and row["knows"] < 0.2 and not right(row)]


def right(row: dict) -> bool:
    """Whether λ̂ is known, and within a tenth or 3 standard errors of what it should be."""
    if row["exact"] is None:
        return False
    return abs(row["value"] - row["exact"]) < max(3 * row["standard_error"], 0.1 * row["exact"])


def false_alarms(rows: list[dict]) -> list[dict]:
    """Cells that are called melted though their draws know most of what w* does."""
    return [row for row in rows if row["verdict"] == "melted" and row["knows"] > 0.8]


def show(row: dict) -> None:
    print(
        f"{row['target']:14} x {row['factor']:<6g} λ̂ {row['value']:8.3f} ± "
        f"{row['standard_error']:<7.2g} share {row['share']:7.4f}  of constant "
        f"{row['of_constant']:7.3f}  C/λ̂ {row['heat']:6.3f} ± {row['heat_error']:<6.2g} knows "
        f"{row['knows']:6.3f}  {row['seconds']:5.1f} s  {row['verdict']}"
        + (" (melted too)" if row["melted"] and row["verdict"] != "melted" else ""),
        flush=True,
    )


def melted_at(share: float, heat: float, constant: float | None) -> bool:
    """The rule of `melted` at λ̂ = 1, from losses in units of that of the localising Gaussian."""
    numbers = dict.fromkeys((field.name for field in dataclasses.fields(bx.Evidence)), 0)
    losses = {"loss_of_draws": share, "loss_of_prior": 1.0, "loss_of_constant": constant}
    other = {"steps": (), "by_step": (), "by_step_error": (), "scope": "", "needed": None}
    given = numbers | losses | other | {"heat_capacity": heat, "batches": False}
    return bx.Evidence(**given).melted(1.0)


def draw(rows: list[dict], path: Path) -> None:
    """Share of the excess loss of ignorant draws against C/λ̂, coloured by what the draws know."""
    with bx.plot.panels(path=path, height=4.2) as (ax,):
        shades = {"cmap": "cividis", "vmin": 0, "vmax": 1, "zorder": 3}
        for name, marker in zip(
            dict.fromkeys(row["target"] for row in rows), "osD^v", strict=False
        ):
            some = [row for row in rows if row["target"] == name]
            share, heat = (np.array([row[key] for row in some]) for key in ("share", "heat"))
            error = [1.96 * row["heat_error"] for row in some]
            ax.errorbar(share, heat, error, fmt="none", ecolor="0.6", lw=1)
            edges = ["C1" if row["melted"] else "k" for row in some]
            knows = [row["knows"] for row in some]
            points = ax.scatter(
                share, heat, 45, knows, marker=marker, edgecolors=edges, lw=1.3, **shades
            )
            ax.scatter([], [], 45, "0.7", marker=marker, edgecolors="k", label=f"{name}, 95%")
        (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
        share, heat = np.geomspace(max(left, 1e-4), right, 40), np.linspace(max(low, 0), high, 40)
        for constant, style in ((None, "--"), (1e-9, ":")):  # draws that are worse than a constant
            rule = [[melted_at(x, y, constant) for x in share] for y in heat]
            ax.contour(share, heat, rule, [0.5], colors="k", linewidths=1, linestyles=style)
        ax.figure.colorbar(points, label="what the draws know (1: as much as w*)")
        ax.set(
            xscale="log", xlabel="share of the Gaussian's excess loss", ylabel=r"$C/\hat\lambda$"
        )
        ax.legend(title="orange edge: melted")


def main(options: Options) -> None:
    """Run the cells, print them, write what was asked for."""
    chosen = options.only or tuple(TARGETS)
    factors = options.factors
    if options.quick:
        chosen, factors = ("mlp", "weak"), (0.03, 1.0, 100.0)
        options.max_gradients = min(options.max_gradients, 10_000)
    rows = []
    for name in chosen:
        own = zlib.crc32(name.encode())
        key = jax.random.fold_in(jax.random.key(options.seed), own)
        key_model, key_runs = jax.random.split(key)
        target = TARGETS[name](np.random.default_rng([options.seed, own]), key_model)
        for i, factor in enumerate(factors):
            rows.append(cell(options, target, factor, jax.random.fold_in(key_runs, i)))
            show(rows[-1])
            save(rows, options.json)
    counts = Counter(row["verdict"] for row in rows)
    print(f"{len(rows)} cells: {dict(counts)}")
    for said, bad in (("not seen", unseen(rows)), ("false alarm", false_alarms(rows))):
        print(f"{said}: {[(row['target'], row['factor']) for row in bad]}")
    if options.figure is not None:
        draw(rows, options.figure)


if __name__ == "__main__":
    main(tyro.cli(Options))
