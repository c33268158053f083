"""Cost against size: the local learning coefficient of deep linear nets of up to 1e6 weights.

Each net has the shape `widths` times a factor, and a true map of rank `rank` times that factor with
singular values 1; inputs are N(0, I), without label noise. The value is compared with Aoyagi's
learning coefficient (Neural Networks 172 (2024) 106132), which is the limit n → ∞: the value at
the n and γ at hand is some per cent away (8% at a million weights, n = 10,000 and γ = 10), and is
given beside it (`exact`, by an exact Gibbs sampler, up to `--exact-to` weights).

Chains are split over the host's cores with `--devices 2`. float32 throughout.
"""

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _common import Drawn, Seeded, save
from _problems import problem
from _setting import balanced, product

import boltzax as bx


@dataclass
class Options(Seeded, Drawn):
    """Sizes, and how long to run.

    Quick: the two smallest sizes.
    """

    widths: tuple[int, ...] = (36, 26, 26, 36)
    """Widths of the smallest net, input first."""
    rank: int = 20
    """Rank of its true map."""
    factors: tuple[int, ...] = (1, 3, 8, 20)
    """Sizes of the nets, in units of the smallest."""
    n: int = 1_000_000
    """Number of data; β = 1/log n."""
    localisation: float = 1000.0
    """Strength γ of the localisation."""
    chains: int = 2
    """Number of chains."""
    max_gradients: int = 48_000
    """Gradient evaluations at which a run ends."""
    tolerance: float = 0.01
    """Relative standard error at which it ends."""
    exact_to: int = 2_000_000
    """Number of weights up to which the exact finite-n value is computed."""
    devices: int = 1
    """Host devices the chains are split over."""


def net(widths: tuple[int, ...], rank: int, n: int) -> bx.SquaredError:
    """A deep linear net at w*, over inputs with the second moments of N(0, I)."""
    layers = tuple(jnp.asarray(w, jnp.float32) for w in balanced(widths, rank))
    model = jax.tree.unflatten(jax.tree.structure(bx.models.DeepLinear(widths)), layers)
    inputs = widths[0]
    x = np.sqrt(inputs) * np.eye(inputs)
    y = x @ product([np.asarray(w, float) for w in layers]).T
    measure = bx.Empirical((x, y), weights=np.full(inputs, n / inputs))
    return bx.SquaredError(model, measure)


def run(options: Options, factor: int) -> dict:
    """One size."""
    widths = tuple(factor * width for width in options.widths)
    rank = factor * options.rank
    weights = sum(a * b for a, b in pairwise(widths))
    limit = float(bx.theory.deep_linear(widths, rank).value)
    placement = None
    if options.devices > 1:
        placement = bx.Placement(jax.make_mesh((options.devices,), ("chain",)))
    began = time.perf_counter()
    result = bx.local_learning_coefficient(
        net(widths, rank, options.n),
        key=jax.random.key(options.seed),
        localisation=options.localisation,
        kernel=bx.Underdamped(preconditioner=bx.Identity()),
        chains=options.chains,
        tolerance=options.tolerance,
        max_gradients=options.max_gradients,
        placement=placement,
    )
    seconds = time.perf_counter() - began
    row = {
        "weights": weights,
        "widths": list(widths),
        "rank": rank,
        "value": float(result.estimate.value),
        "standard_error": float(result.estimate.standard_error),
        "limit": limit,
        "relative_to_limit": float(result.estimate.value) / limit - 1,
        "usable": result.usable,
        "reason": result.reason,
        "ess": float(result.estimate.ess),
        "r_hat": float(result.estimate.r_hat),
        "seconds": seconds,
        "gradient_evaluations": result.evidence.gradients,
        "by_step": list(result.evidence.by_step),
    }
    if weights <= options.exact_to:
        arguments = {"kind": "deep-linear", "widths": widths, "rank": rank, "n": options.n}
        with jax.enable_x64(True):
            exact = problem(**arguments, localisation=options.localisation, cache=None).exact()
        row |= {"exact": exact.value, "exact_error": exact.error}
    return row


def draw(rows: list[dict], path: Path) -> None:
    """Seconds, and the estimate over its limit, against the number of weights."""
    with bx.plot.panels(1, 2, path=path) as (left, right):
        weights = [row["weights"] for row in rows]
        left.loglog(weights, [row["seconds"] for row in rows], "o-")
        left.set(xlabel="weights", ylabel="time / s")
        ratio = np.array([row["value"] / row["limit"] for row in rows])
        error = np.array([1.96 * row["standard_error"] / row["limit"] for row in rows])
        right.errorbar(weights, ratio, error, fmt="o", label="estimate, 95%")
        known = [row for row in rows if "exact" in row]
        at, exact = [r["weights"] for r in known], [r["exact"] / r["limit"] for r in known]
        right.plot(at, exact, "k_", ms=14, label="exact at this n")
        right.axhline(1, color="k", lw=1)
        right.axhspan(0.9, 1.1, color="k", alpha=0.07)
        right.set(xscale="log", xlabel="weights", ylabel="value / Aoyagi's limit")
        right.legend()


def main(options: Options) -> None:
    """Run the sizes, print them, write what was asked for."""
    if options.devices > 1:
        jax.config.update("jax_num_cpu_devices", options.devices)
    rows = []
    for factor in options.factors[:2] if options.quick else options.factors:
        row = run(options, factor)
        rows.append(row)
        print(
            f"{row['weights']:9d} weights: {row['value']:.5g} ± {row['standard_error']:.2g}, "
            f"limit {row['limit']:.5g} ({100 * row['relative_to_limit']:+.1f}%), "
            f"exact {row.get('exact', float('nan')):.5g}, {row['seconds']:.0f} s, "
            f"{row['gradient_evaluations']} gradients, {row['reason'][:60]} {row['by_step']}",
            flush=True,
        )
        settings = ("n", "chains", "localisation", "max_gradients", "devices", "seed")
        chosen = {name: getattr(options, name) for name in settings}
        save({"rows": rows, "options": chosen}, options.json)
    if options.figure is not None:
        draw(rows, options.figure)


if __name__ == "__main__":
    main(tyro.cli(Options))
