"""Bayesian nets approach their self-consistent field as 1/N, with the coefficient that it predicts.

Nets of `N` tanh units learn the product of two signs. Their Gibbs measure is sampled at several
widths, and means over the net (the norm of a neuron's weights, its readout, the loss, what of
the target was learnt) are compared with the fixed point of the infinite net: `N (mean - limit)`
should tend to the coefficient of `bx.meanfield.finite_width`, computed from the fixed point alone.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import tyro

import boltzax as bx
from examples._cli import Drawn, save, table


@dataclass
class Options(Drawn):
    """The net, and how long to run.

    Quick: narrow nets and short runs.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Neurons of the nets that are sampled."""
    temperature: float = 0.1
    """T, in units of the loss: the posterior is exp(-(N/T) loss)."""
    chains: int = 64
    """Chains at each width."""
    effort: float = 40.0
    """Draws of a chain for each neuron of the net: deviations shrink as 1/N, errors as N^(-1/2)."""
    warmup: int = 400
    """Steps to tune and forget."""
    order: int = 64
    """Nodes a weight of the neuron's law (trapezoid rule: converged to 1e-8)."""


X = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
Y = X[:, 0] * X[:, 1]
NAMES = ("norm", "readout", "loss", "learnt")


def means(net) -> dict:
    """Of one net: mean |b|² and a² of its neurons, its loss, and `⟨f, y⟩`."""
    f = jax.vmap(net)(X)
    return {
        "norm": jnp.mean(jnp.sum(net.neurons.embedding**2, axis=1)),
        "readout": jnp.mean(net.neurons.readout**2),
        "loss": 0.5 * jnp.mean((f - Y) ** 2),
        "learnt": jnp.mean(f * Y),
    }


def predicted(problem, options: Options) -> tuple[dict, dict, dict]:
    """Limits, coefficients of 1/N, and a few figures of the fixed point."""
    point = bx.meanfield.solve(problem, rule="trapezoid", order=options.order, refinements=0)
    print(point)
    wide = bx.meanfield.finite_width(
        point, lambda one: jnp.array([jnp.sum(one.embedding**2), one.readout**2])
    )
    learnt = jnp.mean(point.background.values * Y)
    limits = (*wide.limit, point.loss, learnt)
    coefficients = (*wide.observable, wide.loss, jnp.mean(wide.background * Y))
    figures = {
        "independent_loss_coefficient": point.fluctuation / 2,
        "thermal_loss_coefficient": point.thermal_fluctuation / 2,
        "stiffness": point.stiffness,
    }
    return dict(zip(NAMES, limits)), dict(zip(NAMES, coefficients)), figures


def main(options: Options) -> None:
    """Solve, sample, compare, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(options, widths=(8, 16), chains=16, effort=16.0, warmup=150, order=32)
    neuron = bx.meanfield.Neuron(bx.meanfield.Unit(jnp.tanh, dim=2, bias=True), bx.Normal())
    data = bx.Empirical((X, Y), weights=jnp.full(4, 0.25))
    problem = bx.meanfield.SelfConsistency(neuron, None, data, options.temperature)
    limits, coefficients, figures = predicted(problem, options)
    columns = {"width": list(options.widths)}
    found = {name: {"value": [], "standard_error": []} for name in NAMES}
    mixing = []
    for width, key in zip(
        options.widths, jax.random.split(jax.random.key(options.seed), len(options.widths))
    ):
        draws = max(32, int(options.effort * width) // 32 * 32)
        trace = bx.sample(
            problem.gibbs(width),
            bx.HMC(),
            key=key,
            chains=options.chains,
            warmup=options.warmup,
            draws=draws,
            keep=False,
            reduce={"net": bx.Mean(means, length=draws // 32)},
        )
        for name, each in trace.reduced["net"].items():
            found[name]["value"].append(float(each.value))
            found[name]["standard_error"].append(float(each.standard_error))
        mixing.append(max(float(each.r_hat) for each in trace.reduced["net"].values()))
        print(f"width {width}: {draws} draws a chain, {time.time() - began:.0f} s")
    results = {}
    for name in NAMES:
        limit, coefficient = float(limits[name]), float(coefficients[name])
        value, error = (np.array(found[name][k]) for k in ("value", "standard_error"))
        scaled = np.array(options.widths) * (value - limit)
        spread = np.array(options.widths) * error
        intercept, deviation = extrapolated(np.array(options.widths), scaled, spread)
        results[name] = {
            "limit": limit,
            "coefficient": coefficient,
            **found[name],
            "scaled": {"value": scaled, "standard_error": spread},
            "extrapolated": {"value": intercept, "standard_error": deviation},
        }
        columns[name] = scaled
        columns["±" + name] = spread
        print(
            f"{name:8s} limit {limit:.5f}, predicted {coefficient:+.4f}/N, measured "
            f"{intercept:+.4f} ± {deviation:.4f}"
        )
    print("N (mean - limit):")
    print(table(columns))
    seconds = time.time() - began
    print(f"{seconds:.1f} s")
    save(
        {
            "widths": options.widths,
            "temperature": options.temperature,
            "results": results,
            "largest_r_hat": max(mixing),
            **figures,
            "seconds": seconds,
        },
        options.json,
    )
    if options.figure is not None:
        draw(options.widths, results, options.figure)


def extrapolated(widths, scaled, spread) -> tuple[float, float]:
    """The value at 1/N = 0 of a straight line in 1/N, by weighted least squares, and its error."""
    design = np.stack([np.ones(len(widths)), 1 / widths], axis=1) / spread[:, None]
    covariance = np.linalg.inv(design.T @ design)
    return float((covariance @ design.T @ (scaled / spread))[0]), float(covariance[0, 0] ** 0.5)


def draw(widths, results: dict, path: Path) -> None:
    """Deviations from the fixed point against the width, with the prediction."""
    with bx.plot.panels(2, 2, path=path) as axes:
        for ax, name in zip(axes, NAMES, strict=True):
            found = results[name]
            scaled = found["scaled"]
            error = 1.96 * np.asarray(scaled["standard_error"])
            ax.errorbar(1 / np.array(widths), scaled["value"], error, fmt="o", label="sampled, 95%")
            ax.axhline(found["coefficient"], color="0.3", lw=1, label="predicted at N = ∞")
            ax.set(xlabel="1/N", ylabel="N (mean - limit)", title=name)
            ax.set_xlim(left=0)
            ax.legend()


if __name__ == "__main__":
    main(tyro.cli(Options))
