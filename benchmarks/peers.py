"""boltzax, devinterp, blackjax and numpyro on local learning coefficients that are known exactly.

One run, one posterior `exp(-nβ L(w) - γ/2 |w - w*|²)` with n = 10,000, γ = 1 and β = 1/log n, and
the same data for all. boltzax chooses everything itself. The others are given what they need, and
more: the step that comes closest to the exact value, out of a grid; the loss at w* on all data; the
log-density that boltzax compiled (blackjax, numpyro). A gradient of a minibatch counts as much as
one of all data.

Needs `devinterp==1.3.2 blackjax numpyro` and PyTorch (the nox session `peers`). devinterp 2 takes
token sequences alone, a `dataset` with a column `input_ids`, so it has no row here.

Methods, in the words of the table:

- `boltzax`: `bx.local_learning_coefficient(energy, key=key)`, its gradients cut down to what takes
  `--limit-seconds`;
- `boltzax, fewer gradients`: the same with as many gradients as devinterp at its best step, or some
  10,000 to 20,000, below which it does not go;
- `devinterp, defaults`: minibatches of 500; everything else as it comes (step 0.01, γ = 0, nβ from
  the size of the minibatch, 10 chains of 100 draws);
- `devinterp, right posterior`: the same with nβ = n/log n, γ = 1, and the loss at w* on all data;
- `devinterp, best step`: the same with 4 longer chains, their first fifth left out, at the step of
  `STEPS` with the least true error. All steps share `--limit-seconds`;
- `blackjax SGLD, best step`: the same choice of a step; all data in every gradient, and at least as
  many gradients as `boltzax` at each step, unless the shared time is up;
- `numpyro NUTS`: its defaults, 4 chains, at least as many gradients as `boltzax`, unless the time
  is up.
"""

import math
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import _devinterp as devinterp
import _peers_jax as plain
import numpy as np
import tyro
from _common import Drawn, save
from _problems import Problem, problem
from _setting import Setting, draw

import boltzax as bx

PROBLEMS = {
    "normal-crossing": ({"kind": "normal-crossing", "powers": (1, 2)}, (0.0, 1.0)),
    "deep-linear": ({"kind": "deep-linear", "widths": (30, 20, 20, 30), "rank": 5}, (1.0,)),
    "quadratic": ({"kind": "quadratic", "dim": 10}, (1.0,)),
    "reduced-rank": ({"kind": "reduced-rank", "widths": (5, 3, 5), "rank": 1}, (1.0,)),
    "tanh-zero": ({"kind": "tanh-zero", "width": 16}, (0.0,)),
    "logistic": ({"kind": "logistic", "dim": 3}, (1.0,)),
    "mixture": ({"kind": "mixture"}, (1.0,)),
}
"""Arguments of `problem`, and the noise; tanh-zero at 0 is a population, seen through fresh x."""

STEPS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
N, LOCALISATION, CHAINS = 10_000, 1.0, 4
LIBRARIES = ("boltzax", "jax", "devinterp", "torch", "blackjax", "numpyro")
BEST = "the step with the least true error"


@dataclass
class Options(Drawn):
    """Problems, and how long each method may take.

    Quick: two problems, one seed, 8 seconds.
    """

    problems: tuple[str, ...] = tuple(PROBLEMS)
    """Names of `PROBLEMS`."""
    noise: tuple[float, ...] | None = None
    """Standard deviations of the label noise; each problem's own if not given."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of data and chains."""
    batch: int = 500
    """Size of devinterp's minibatches."""
    limit_seconds: float = 40.0
    """Seconds a method and cell; the steps of a grid share them."""


def ours(energy, seed: int, most: int) -> dict:
    """One estimate by boltzax."""
    began = time.perf_counter()
    found = bx.local_learning_coefficient(energy, key=jax.random.key(seed), max_gradients=most)
    value, error = float(found.estimate.value), float(found.estimate.standard_error)
    return {
        "value": value if math.isfinite(value) else None,
        "standard_error": error if math.isfinite(value) else None,
        "gradient_evaluations": found.evidence.gradients,
        "seconds": time.perf_counter() - began,
        "setting": "none" if found.usable else f"NOT USABLE: {found.reason}",
    }


def best(runs: dict[float, dict], exact: float) -> dict:
    """The run closest to the exact value, with all the others beside it."""
    finite = {step: run for step, run in runs.items() if run["value"] is not None}
    grid = {
        "grid": {f"{step:g}": run["value"] for step, run in runs.items()},
        "grid_seconds": sum(run["seconds"] for run in runs.values()),
        "grid_gradients": sum(run["gradient_evaluations"] for run in runs.values()),
    }
    if not finite:
        return next(iter(runs.values())) | {"setting": "no step is stable"} | grid
    step = min(finite, key=lambda step: abs(finite[step]["value"] - exact))
    return finite[step] | {"setting": f"{step:g}, {BEST}"} | grid


def by_devinterp(
    options: Options, chosen: Problem, setting: Setting, gibbs: bx.Gibbs, seed: int, want: int
) -> dict[str, dict]:
    """Its three rows; `want` gradients at each step, or fewer where the time is up."""
    kind, nbeta = setting.kind, setting.nbeta
    named = {path: np.asarray(w) for path, w in gibbs.position().items()}
    model = devinterp.Net(kind, setting.powers, named)
    fresh = not setting.sampled and kind != "normal-crossing"
    loader = devinterp.Batches(*draw(setting), options.batch, fresh)
    init_loss = float(gibbs.energy(gibbs.position())) / N
    right = {"nbeta": nbeta, "localization": LOCALISATION}
    short = {"chains": 10, "draws": 100, "burn_in": 0, "seed": seed}
    as_is = devinterp.estimate(model, loader, optimizer={}, init_loss=None, **short)
    mended = devinterp.estimate(model, loader, optimizer=right, init_loss=init_loss, **short)
    rate = devinterp.rate(model, loader, nbeta)
    runs, until = {}, time.perf_counter() + options.limit_seconds
    for left, step in zip(range(len(STEPS), 0, -1), STEPS, strict=True):
        share = max(until - time.perf_counter(), 1.0) / left
        steps = max(int(min(want, share * rate) / CHAINS), 100)
        runs[step] = devinterp.estimate(
            model, loader, optimizer=right | {"lr": step}, chains=CHAINS, draws=steps - steps // 5,
            burn_in=steps // 5, init_loss=init_loss, seed=seed,
        )  # fmt: skip
    batch = options.batch / math.log(options.batch)
    return {
        "devinterp, defaults": as_is | {"setting": f"0.01, γ 0, nβ {batch:.1f}"},
        "devinterp, right posterior": mended | {"setting": "0.01"},
        "devinterp, best step": best(runs, chosen.exact().value),
    }


def by_jax(
    options: Options, gibbs: bx.Gibbs, exact: float, seed: int, want: int, rate: float
) -> dict[str, dict]:
    """blackjax and numpyro."""
    limit, key = options.limit_seconds, jax.random.key(seed)
    runs, until = {}, time.perf_counter() + limit
    for left, step in zip(range(len(STEPS), 0, -1), STEPS, strict=True):
        share = max(until - time.perf_counter(), 0.5) / left
        runs[step] = plain.sgld(gibbs, step, want, share, key)
    # adaptation often takes trees of full depth: 1,023 gradients a draw
    warmup = int(min(max(limit * rate / (CHAINS * 1023), 300), 500))
    tree = plain.nuts(gibbs, want, warmup, limit, key)
    return {
        "blackjax SGLD, best step": best(runs, exact),
        "numpyro NUTS": tree | {"setting": f"defaults, {warmup} draws of warm-up"},
    }


def cell(options: Options, arguments: dict, noise: float, seed: int) -> list[dict]:
    """A row a method."""
    chosen = problem(**arguments, n=N, noise=noise, seed=seed, localisation=LOCALISATION)
    values = {"powers": (), "dim": 0, "widths": (), "rank": 0, "width": 0} | arguments
    setting = Setting(**values, n=N, noise=noise, seed=seed, localisation=LOCALISATION)
    exact = chosen.exact()
    gibbs = plain.posterior(chosen.energy, N, LOCALISATION)
    rate = plain.rate(gibbs)
    most = int(min(1_000_000, max(options.limit_seconds * rate, 20_000)))
    rows = {"boltzax": ours(chosen.energy, seed, most)}
    want = rows["boltzax"]["gradient_evaluations"]
    theirs = by_devinterp(options, chosen, setting, gibbs, seed, want)
    fewer = theirs["devinterp, best step"]["gradient_evaluations"]
    if fewer < want:
        rows["boltzax, fewer gradients"] = ours(chosen.energy, seed, fewer)
    else:
        rows["boltzax, fewer gradients"] = rows["boltzax"]
    rows |= theirs | by_jax(options, gibbs, exact.value, seed, want, rate)
    done = []
    for method, row in rows.items():
        error = None if row["value"] is None else row["value"] - exact.value
        done.append(
            {"problem": chosen.name, "noise": noise, "seed": seed, "method": method}
            | row
            | {
                "exact": exact.value,
                "exact_error": exact.error,
                "error": error,
                "relative_error": None if error is None else error / exact.value,
            }
        )
        show(done[-1])
    return done


def show(row: dict) -> None:
    start = f"{row['problem']:42} {row['seed']:2d}  {row['method']:27}"
    if row["value"] is None:
        value = "no finite value" + 29 * " "
    else:
        value = (
            f"{row['value']:9.4f} ± {row['standard_error']:8.4f} "
            f"exact {row['exact']:8.4f} {100 * row['relative_error']:+8.1f}%"
        )
    spent = f"{row['gradient_evaluations']:8d} {row['seconds']:6.1f} s"
    print(f"{start} {value} {spent}  {row['setting']}", flush=True)


def sigmas(row: dict) -> float:
    """True error in standard errors."""
    return abs(row["error"]) / math.hypot(max(row["standard_error"], 1e-12), row["exact_error"])


def cost(row: dict) -> float:
    """Gradients that a standard error of 1% takes, by the row's own error."""
    share = row["standard_error"] / (0.01 * abs(row["exact"]))
    return row["gradient_evaluations"] * share**2


def summary(rows: list[dict]) -> dict:
    """By method: true errors, and whether the errors that it reports are honest."""
    methods = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        some = [row for row in mine if row["value"] is not None]
        off = [abs(row["relative_error"]) for row in some]
        methods[method] = {
            "cells": len(mine),
            "without_value": len(mine) - len(some),
            "median_relative_error": float(np.median(off)) if off else None,
            "largest_relative_error": max(off) if off else None,
            "within_2_standard_errors": sum(sigmas(row) < 2 for row in some),
            "seconds": sum(row["seconds"] for row in mine),
            "gradient_evaluations": sum(row["gradient_evaluations"] for row in mine),
        }
    return {"methods": methods, "boltzax_is_not_better": not_better(rows)}


def not_better(rows: list[dict]) -> list[dict]:
    """Rows in which another method is closer, or NUTS needs fewer gradients; and why.

    Each is compared with `boltzax`, and devinterp's best step also with boltzax at fewer gradients.
    """
    found = []
    for own in (r for r in rows if r["method"].startswith("boltzax") and r["value"] is not None):
        few = own["method"] != "boltzax"
        for row in rows:
            same = (row["problem"], row["seed"]) == (own["problem"], own["seed"])
            if not same or row["value"] is None or row["method"].startswith("boltzax"):
                continue
            if few and row["method"] != "devinterp, best step":
                continue
            reasons = []
            if abs(row["error"]) < abs(own["error"]):
                reasons += closer(own, row)
            if row["method"] == "numpyro NUTS" and cost(row) < cost(own):
                reasons.append(
                    f"an error of 1% takes {cost(row):.3g} gradients, and boltzax {cost(own):.3g}"
                )
            if reasons:
                found.append(
                    {"problem": row["problem"], "seed": row["seed"], "method": row["method"]}
                    | {"against": own["method"], "reason": "; ".join(reasons)}
                )
    return found


def closer(own: dict, row: dict) -> list[str]:
    """Why another method may be closer than boltzax."""
    z, few = sigmas(own), own["gradient_evaluations"]
    reasons = [
        f"off by {100 * abs(row['relative_error']):.1f}%, boltzax by "
        f"{100 * abs(own['relative_error']):.1f}%, which is {z:.1f} of its standard errors"
        + (": chance" if z < 2 else ": its error is too small, or its chains are too short")
    ]
    if own["setting"] != "none":
        reasons.append(f"boltzax calls its estimate not usable ({few:,} gradients are too few)")
    if BEST in row["setting"]:
        grid = [each for each in row["grid"].values() if each is not None]
        reasons.append(
            "the other's step was picked with the exact value in hand, out of steps that give "
            f"{min(grid):.3g} to {max(grid):.3g}"
        )
    elif sigmas(row) > 2:
        reasons.append("the other's error does not cover the exact value: two errors cancel")
    return reasons


def draw_errors(rows: list[dict], path: Path) -> None:
    """Relative errors, a line of points a method."""
    names = list(dict.fromkeys(row["problem"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    with bx.plot.panels(path=path, height=0.6 * len(names) + 1.6) as (ax,):
        for i, (method, marker) in enumerate(zip(methods, "os^DvP*X" * len(methods), strict=False)):
            some = [r for r in rows if r["method"] == method and r["value"] is not None]
            at = [names.index(row["problem"]) + 0.1 * (i - 3) for row in some]
            error = [row["relative_error"] for row in some]
            bar = [1.96 * row["standard_error"] / row["exact"] for row in some]
            ax.errorbar(error, at, xerr=bar, fmt=marker, lw=1, label=f"{method}, 95%")
        ax.axvline(0.0, color="k", lw=1)
        ax.set_xscale("symlog", linthresh=0.1)
        ax.set_yticks(range(len(names)), [name.replace(", ", "\n") for name in names])
        ax.set(xlabel="relative error", ylabel="problem")
        ax.figure.legend(loc="outside upper center", ncols=2)


def main(options: Options) -> None:
    """Run the cells, print them, write what was asked for."""
    if options.quick:
        options.problems, options.seeds = ("normal-crossing", "quadratic"), options.seeds[:1]
        options.limit_seconds, options.noise = 8.0, options.noise or (1.0,)
    rows, found = [], {}
    for name in options.problems:
        arguments, noises = PROBLEMS[name]
        for noise in options.noise or noises:
            for seed in options.seeds:
                rows += cell(options, arguments, noise, seed)
                found = {"limit_seconds": options.limit_seconds, "batch": options.batch}
                found["versions"] = {name: version(name) for name in LIBRARIES}
                found |= {"cells": rows, "summary": summary(rows)}
                save(found, options.json)
    print("\nmedian |relative error|, within 2 standard errors, without a value, seconds")
    for name, each in found["summary"]["methods"].items():
        median = each["median_relative_error"]
        shown = "  none" if median is None else f"{100 * median:5.1f}%"
        share = f"{each['within_2_standard_errors']} of {each['cells']}"
        print(f"{name:27} {shown}  {share:8} {each['without_value']:2d} {each['seconds']:7.0f}")
    print("\nWhere boltzax is not better")
    for each in found["summary"]["boltzax_is_not_better"]:
        pair = f"{each['method']} against {each['against']}"
        print(f"- {each['problem']}, seed {each['seed']}, {pair}: {each['reason']}")
    if options.figure is not None:
        draw_errors(rows, options.figure)


if __name__ == "__main__":
    main(tyro.cli(Options))
