"""Data as neighbours: who influences whom in a small Bayesian net, and how far.

A two-layer tanh net is sampled on noisy data along a line. Of every pair of data it measures
`∂⟨ℓ_i⟩/∂μ_j = -β Cov(ℓ_i, ℓ_j)`, the response of the loss of one to the weight of the other (the
Bayesian influence function), and of the prediction at every datum the response to every label,
`d⟨f(x_i)⟩/dy_j = β Cov(f(x_i), f(x_j))/s²`. One label is then moved, the posterior is sampled anew,
and the change of the predictions is held against the susceptibility.
"""

from dataclasses import dataclass, replace

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import tyro
from _cli import Drawn, save, table

import boltzax as bx


@dataclass
class Options(Drawn):
    """The declaration, and how long to run; `quick`: fewer data, units and draws."""

    data: int = 24  # Number of data, evenly spaced on [-2, 2]
    width: int = 8  # Number of hidden units
    noise: float = 0.2  # Standard deviation s of the labels; the energy is divided by s²
    shift: float = 0.3  # How far the label in the middle is moved, in the run that checks
    draws: int = 2000  # Draws kept of each of the chains, ten steps apart
    chains: int = 8  # Number of chains


def main(options: Options) -> None:
    """Sample twice, measure, print, write what was asked for."""
    if options.quick:
        options = replace(options, data=10, width=3, draws=400, chains=4)
    keys = jax.random.split(jax.random.key(options.seed), 4)
    x = jnp.linspace(-2, 2, options.data)[:, None]
    y = jnp.sin(2 * x[:, 0]) + options.noise * jax.random.normal(keys[0], (options.data,))
    net, wide = bx.models.TwoLayer(options.width, jnp.tanh, bias=True), bx.Normal(0.0, 2.0)
    prior = bx.Independent(readout=bx.Normal(), embedding=wide, bias=wide)

    def run(labels, key):
        energy = bx.SquaredError(net, bx.Empirical((x, labels))) * options.noise**-2
        kept = {"draws": options.draws, "thin": 10, "chains": options.chains, "warmup": 2000}
        return energy, bx.sample(bx.compile(energy, prior), key=key, throw=False, **kept)

    def predictions(model):
        return jax.vmap(model)(x)

    energy, trace = run(y, keys[1])
    matrix = bx.influence(trace, energy, batch_size=16)
    # a label enters the energy as -y f/s², so that this is the response to each label
    labels = bx.PerDatum(net, bx.Empirical(x), lambda model, z: -model(z)) * options.noise**-2
    response = bx.influence(trace, labels, predictions)

    middle = options.data // 2
    _, moved = run(y.at[middle].add(options.shift), keys[2])
    change = (moved.mean(predictions) - trace.mean(predictions)) / options.shift
    z, place = change.z_score(response[:, middle]), float(x[middle, 0])
    columns = {"x": x[:, 0], "d⟨f⟩/dy": response[:, middle], "moved": change, "z": z}
    clear = np.mean(np.abs(matrix.z_score(0.0)) > 2)
    print(f"Response of the predictions to the label at x = {place:.3g}", table(columns), sep="\n")
    print(f"{100 * clear:.0f}% of the influence matrix is beyond two standard errors")
    print(f"largest r_hat of it {float(jnp.max(matrix.r_hat)):.3f}; {bx.Status[trace.status]}")
    save({"x": x[:, 0], "influence": matrix, "response": response, "moved": change}, options.json)
    with bx.plot.panels(1, 2, path=options.figure) as (left, right):
        bx.plot.influence(matrix, ax=left).set_title("hatched: below two standard errors")
        bx.plot.estimate(x[:, 0], response[:, middle], ax=right, label="susceptibility")
        bx.plot.estimate(x[:, 0], change, ax=right, label="run anew")
        right.set(xlabel="x", ylabel=rf"$d\langle f(x)\rangle/dy$ of the label at {place:.3g}")


if __name__ == "__main__":
    main(tyro.cli(Options))
