"""Whether verdicts are deserved: target settings of known truth, with default settings throughout.

Each target (`_target_list.py`) is drawn from four seeds and given to
`bx.local_learning_coefficient`, `bx.sample` or `bx.anneal` without any setting but its key. A run
is usable if its verdict (its status) says so. What is asked: of the values of usable runs at least
93% lie in their 95% intervals, none is more than 5 standard errors off, and at least 75% of the
runs are usable. Truth is quadrature of the declared energy.
"""

import concurrent.futures
import multiprocessing
import time
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np
import tyro
from _common import Drawn, Seeded, save
from _target import Case, Target, truth
from _target_list import TARGETS
from scipy import stats

import boltzax as bx


@dataclass
class Options(Seeded, Drawn):
    """Which targets, and how often.

    Quick: three targets, one seed.
    """

    only: tuple[str, ...] = ()
    """Targets whose name holds one of these words; all if not given."""
    seeds: int = 4
    """Number of seeds."""
    processes: int = 2
    """Processes; a target stays in one, so that its seeds share what is compiled."""


def local(case: Case, key) -> tuple[bool, str, list[dict], dict]:
    """Verdict and values of a local learning coefficient."""
    result = bx.local_learning_coefficient(case.energy, key=key, localisation=case.localisation)
    beta = float(result.trace.betas)
    exact = truth(case, np.array([beta]))
    rows = [value("coefficient", beta, result.estimate, exact.coefficient[0], exact.error[0, 0])]
    fields = {k: v for k, v in vars(result.evidence).items() if isinstance(v, int | float)}
    return result.usable, result.reason, rows, fields


def sampled(case: Case, key) -> tuple[bool, str, list[dict], dict]:
    """Status and values of a run at one temperature."""
    gibbs = bx.compile(case.energy, case.prior, beta=case.betas[0], marginalise=False)
    trace = bx.sample(gibbs, key=key, throw=False)
    exact = truth(case, np.asarray(case.betas))
    estimate = bx.learning_coefficient(trace, case.reference)
    rows = [value("coefficient", case.betas[0], estimate, exact.coefficient[0], exact.error[0, 0])]
    fine = bool(trace.status == bx.Status.successful)
    return fine, bx.Status[trace.status], rows, {}


def annealed(case: Case, key) -> tuple[bool, str, list[dict], dict]:
    """Status and values of a ladder: the coefficient and the free energy at every temperature."""
    gibbs = bx.compile(case.energy, case.prior, marginalise=False)
    trace = bx.anneal(gibbs, case.betas, key=key, throw=False)
    exact = truth(case, np.asarray(case.betas))
    both = (bx.learning_coefficient(trace, case.reference), bx.free_energy(trace))
    rows = []
    for name, estimates, values, errors in zip(
        ("coefficient", "free energy"),
        both,
        (exact.coefficient, exact.free_energy),
        exact.error,
        strict=True,
    ):
        rows += [
            value(name, beta, estimates[i], values[i], errors[i])
            for i, beta in enumerate(case.betas)
        ]
    fine = bool(trace.status == bx.Status.successful)
    return fine, bx.Status[trace.status], rows, {}


def value(name: str, beta: float, estimate: bx.Estimate, exact: float, error: float) -> dict:
    """One number beside its truth."""
    found, bar = float(estimate.value), float(estimate.standard_error)
    return {
        "quantity": name,
        "beta": beta,
        "exact": float(exact),
        "exact_error": float(error),
        "value": found,
        "standard_error": bar,
        "z": (found - float(exact)) / float(np.hypot(bar, error)),
        "covered": bool(abs(found - exact) <= 1.96 * bar + error),
    }


def run(target: Target, seed: int) -> dict:
    """One target, one seed."""
    began = time.perf_counter()
    case = target.make(np.random.default_rng([seed, zlib.crc32(target.name.encode())]))
    # every target has keys of its own: the same key gives alike targets alike errors
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(target.name.encode()))
    fine, reason, rows, evidence = {"local": local, "sample": sampled, "anneal": annealed}[
        target.route
    ](case, key)
    return {
        "target": target.name,
        "route": target.route,
        "seed": seed,
        "usable": fine,
        "reason": reason,
        "values": rows,
        "evidence": evidence,
        "seconds": time.perf_counter() - began,
    }


def all_seeds(name: str, seeds: list[int]) -> list[dict]:
    """All runs of one target."""
    target = next(each for each in TARGETS if each.name == name)
    rows = []
    for seed in seeds:
        rows.append(run(target, seed))
        show(rows[-1])
    return rows


def show(row: dict) -> None:
    """One line a run, its worst value."""
    worst = max(row["values"], key=lambda each: abs(np.nan_to_num(each["z"], nan=np.inf)))
    print(
        f"{row['target']:24} {row['seed']}  {worst['value']:9.4f} ± {worst['standard_error']:.4f}"
        f"  exact {worst['exact']:9.4f}  z {worst['z']:6.2f}  {row['seconds']:5.1f} s  "
        f"{'usable' if row['usable'] else row['reason'][:60]}",
        flush=True,
    )


def summary(rows: list[dict]) -> dict:
    """Share of the usable, their coverage, and what the refused would have been."""
    usable = [row for row in rows if row["usable"]]
    refused = [row for row in rows if not row["usable"]]
    values = [each for row in usable for each in row["values"]]
    others = [each for row in refused for each in row["values"]]
    covered = sum(each["covered"] for each in values)
    low, high = stats.binomtest(covered, max(len(values), 1)).proportion_ci()
    return {
        "runs": len(rows),
        "usable": len(usable),
        "usable_share": len(usable) / len(rows),
        "values": len(values),
        "coverage": covered / max(len(values), 1),
        "coverage_lower": float(low),
        "coverage_upper": float(high),
        "largest_z": float(max((abs(each["z"]) for each in values), default=np.nan)),
        "coverage_of_refused": sum(each["covered"] for each in others) / max(len(others), 1),
        "reasons": dict(Counter(row["reason"].split(".")[0] for row in refused)),
        "seconds": sum(row["seconds"] for row in rows),
    }


def draw(rows: list[dict], path: Path) -> None:
    """The z-scores by target, usable and refused."""
    names = list(dict.fromkeys(row["target"] for row in rows))
    with bx.plot.panels(path=path, height=0.6 + 0.2 * len(names)) as (ax,):
        ax.axvspan(-1.96, 1.96, color="0.92", label="95% interval of the truth")
        for label, usable, style in (("usable", True, "C0o"), ("refused", False, "C1x")):
            points = [
                (np.clip(each["z"], -8, 8), names.index(row["target"]))
                for row in rows
                for each in row["values"]
                if row["usable"] == usable
            ]
            if points:
                ax.plot(*zip(*points, strict=True), style, label=label)
        ax.set(xlabel="(estimate - truth) / standard error", ylabel="target", xlim=(-8.3, 8.3))
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.legend()


def main(options: Options) -> None:
    """Run the targets, print them, write what was asked for."""
    chosen = [t for t in TARGETS if not options.only or any(o in t.name for o in options.only)]
    if options.quick:
        chosen = [t for t in chosen if t.name in ("regression", "bounded mode", "annealed ridge")]
    seeds = list(range(options.seed, options.seed + (1 if options.quick else options.seeds)))
    rows = []
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.processes, context) as pool:
        tasks = [pool.submit(all_seeds, target.name, seeds) for target in chosen]
        for task in concurrent.futures.as_completed(tasks):
            rows += task.result()
            save(rows, options.json)
    for name, number in summary(rows).items():
        print(f"{name}: {number}")
    if options.figure is not None:
        draw(rows, options.figure)


if __name__ == "__main__":
    main(tyro.cli(Options))
