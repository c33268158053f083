"""Data as neighbours: who influences whom in a small Bayesian net, and how far.

A two-layer tanh net is sampled on noisy data along a line. Of every pair of data it measures
`∂⟨ℓ_i⟩/∂μ_j = -β Cov(ℓ_i, ℓ_j)`, the response of the loss of one to the weight of the other (the
Bayesian influence function), and of the prediction at every datum the response to every label,
`d⟨f(x_i)⟩/dy_j = β Cov(f(x_i), f(x_j))/s²`. The second is shown against distance. One label is then
moved, the posterior is sampled anew, and the change of the predictions is held against the
susceptibility.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import tyro
from _cli import Drawn, save, table

import boltzax as bx


@dataclass
class Options(Drawn):
    """The declaration, and how long to run.

    Quick: fewer data, units and draws.
    """

    data: int = 24
    """Number of data, evenly spaced on [-2, 2]."""
    width: int = 8
    """Number of hidden units."""
    noise: float = 0.2
    """Standard deviation s of the labels; the energy is divided by s²."""
    scale: float = 2.0
    """Standard deviation of the prior of the embedding and bias."""
    shift: float = 0.3
    """How far the label in the middle is moved, in the run that checks."""
    draws: int = 2000
    """Draws kept of each chain."""
    thin: int = 10
    """Steps for each draw that is kept."""
    chains: int = 8
    """Number of chains."""
    batch_size: int = 16
    """Data at a time in the matrix."""


def main(options: Options) -> None:
    """Sample twice, measure, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(options, data=10, width=3, draws=400, chains=4)
    keys = jax.random.split(jax.random.key(options.seed), 4)
    x = jnp.linspace(-2, 2, options.data)[:, None]
    y = jnp.sin(2 * x[:, 0]) + options.noise * jax.random.normal(keys[0], (options.data,))
    net = bx.models.TwoLayer(options.width, jnp.tanh, bias=True)
    wide = bx.Normal(0.0, options.scale)
    prior = bx.Independent(readout=bx.Normal(), embedding=wide, bias=wide)

    def run(labels, key):
        energy = bx.SquaredError(net, bx.Empirical((x, labels))) * options.noise**-2
        gibbs = bx.compile(energy, prior)
        kept = {"draws": options.draws, "thin": options.thin, "chains": options.chains}
        return energy, bx.sample(gibbs, key=key, warmup=2000, throw=False, **kept)

    def predictions(model):
        return jax.vmap(model)(x)

    energy, trace = run(y, keys[1])
    matrix = bx.influence(trace, energy, batch_size=options.batch_size)
    # a label enters the energy as -y f/s², so that this is the response to each label
    labels = bx.PerDatum(net, bx.Empirical(x), lambda model, z: -model(z)) * options.noise**-2
    response = bx.influence(trace, labels, predictions)

    middle = options.data // 2
    _, moved = run(y.at[middle].add(options.shift), keys[2])
    before, after = (t.mean(predictions) for t in (trace, moved))
    change = (after.value - before.value) / options.shift
    error = jnp.hypot(after.standard_error, before.standard_error) / options.shift
    score = (change - response.value[:, middle]) / jnp.hypot(
        error, response.standard_error[:, middle]
    )
    columns = {
        "x": x[:, 0],
        "d⟨f⟩/dy": response.value[:, middle],
        "±": response.standard_error[:, middle],
        "moved": change,
        "± ": error,
        "z": score,
    }
    print(f"Response of the predictions to the label at x = {float(x[middle, 0]):.3g}")
    print(table(columns))
    significant = np.mean(np.abs(matrix.value) > 2 * matrix.standard_error)
    print(f"{100 * float(significant):.0f}% of the influence matrix is beyond two standard errors")
    print(f"largest r_hat of it {float(jnp.max(matrix.r_hat)):.3f}; {bx.Status[trace.status]}")
    seconds = time.time() - began
    print(f"{seconds:.1f} s")
    results = {
        name: {"value": each.value, "standard_error": each.standard_error}
        for name, each in (("influence", matrix), ("response", response))
    }
    again = {"moved": {"value": change, "standard_error": error}}
    save({"x": x[:, 0], **results, **again, "seconds": seconds}, options.json)
    if options.figure is not None:
        draw(x[:, 0], matrix, response, middle, (change, error), options.figure)


def draw(x, matrix, response, middle, moved, path: Path) -> None:
    """The matrix, and the response to one label: predicted, and by running anew."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    bx.plot.influence(matrix, ax=left)
    left.set_title("hatched: below two standard errors")
    bx.plot.estimate(np.asarray(x), response[:, middle], ax=right, label="susceptibility")
    right.errorbar(x, moved[0], 1.96 * moved[1], fmt="s", ms=3, color="#d9661f", label="run anew")
    right.axvline(float(x[middle]), color="0.6", lw=0.8)
    right.set(xlabel="x", ylabel=r"$d\langle f(x)\rangle/dy_j$")
    right.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=160)


if __name__ == "__main__":
    main(tyro.cli(Options))
