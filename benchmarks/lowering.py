"""What each lowering buys: time of an energy with its gradient, as ratios within one run.

- moments: a model linear in features of the data costs nothing in their number n; against the loss
  as declared, for a deep linear net and for a readout of fixed features, over n;
- nodes and basis: a two-layer net under N(0, 1), as declared, as rows of residuals, and as
  coefficients in the Hermite basis, whose own error is given;
- integrated-out readout: the potential with its gradient costs more a call, and has half as many
  coordinates; what it buys for an estimate is in `learning_zero.py`.
"""

from dataclasses import dataclass, replace

import equinox as eqx
import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import tyro
from _common import Seeded, save, seconds

import boltzax as bx


@dataclass
class Options(Seeded):
    """Sizes.

    Quick: fewer data and rounds.
    """

    counts: tuple[int, ...] = (1_000, 10_000, 100_000)
    """Numbers of data, n."""
    widths: tuple[int, ...] = (20, 10, 10, 20)
    """Widths of the deep linear net, input first."""
    features: int = 30
    """Number of fixed random features."""
    hidden: int = 128
    """Hidden units of the two-layer net."""
    rounds: int = 7
    """Rounds of which the fastest is taken."""


def measure(
    energy: bx.SquaredError,
    prior: bx.Independent,
    integrals: tuple[str, ...],
    options: Options,
    **more,
) -> dict:
    """Seconds a call of the energy with its gradient by lowering, against the declared one.

    `error` is the relative distance of the lowered energy from the declared.
    """
    step = eqx.filter_jit(jax.value_and_grad(lambda w, gibbs: gibbs.potential_at(w, gibbs.beta)))
    key, calls = jax.random.key(options.seed), {}
    for name in integrals:
        gibbs = bx.compile(energy, prior, integral=name, marginalise=False, **more)
        calls[name] = lambda w=gibbs.sample_prior(key), gibbs=gibbs: step(w, gibbs)
    values = {name: float(call()[0]) for name, call in calls.items()}
    times = seconds(calls, options.rounds)
    first = integrals[0]
    return {
        name: {
            "microseconds": 1e6 * times[name],
            "speedup": times[first] / times[name],
            "error": abs(values[name] / values[first] - 1),
        }
        for name in integrals
    }


def data_terms(options: Options, n: int) -> dict:
    """A deep linear net and a readout of fixed features, on n data."""
    keys = jax.random.split(jax.random.key(options.seed), 4)
    into, out = options.widths[0], options.widths[-1]
    x = jax.random.normal(keys[0], (n, into))
    y = x @ jax.random.normal(keys[1], (into, out)) + jax.random.normal(keys[2], (n, out))
    deep = bx.SquaredError(bx.models.DeepLinear(options.widths), bx.Empirical((x, y)))
    net = bx.models.TwoLayer(options.features, jnp.tanh, into, key=keys[3])
    features = bx.SquaredError(net, bx.Empirical((x, y[:, 0])))
    normal, chart = bx.Independent({"*": bx.Normal()}), bx.Freeze("embedding")
    integrals = ("declared", "moments")
    return {
        "deep_linear": measure(deep, normal, integrals, options),
        "features": measure(
            features, bx.Independent(readout=bx.Normal()), integrals, options, chart=chart
        ),
    }


def two_layer(options: Options) -> dict:
    """A two-layer net under N(0, 1): declared, nodes and basis."""
    net = bx.models.TwoLayer(options.hidden)
    energy = bx.SquaredError(net, bx.GaussianMeasure(1), target=bx.zero)
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-1, 1))
    return measure(energy, prior, ("declared", "nodes", "basis"), options)


def readout(options: Options) -> dict:
    """The same net with its readout integrated out, against all its weights."""
    net = bx.models.TwoLayer(options.hidden)
    energy = bx.SquaredError(net, bx.GaussianMeasure(1), target=bx.zero)
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-1, 1))
    step = eqx.filter_jit(jax.value_and_grad(lambda w, gibbs: gibbs.potential_at(w, gibbs.beta)))
    calls, dims = {}, {}
    for name, marginalise in (("all weights", False), ("integrated out", True)):
        gibbs = bx.compile(energy, prior, beta=1e4, marginalise=marginalise)
        w = gibbs.sample_prior(jax.random.key(options.seed))
        calls[name] = lambda w=w, gibbs=gibbs: step(w, gibbs)
        dims[name] = gibbs.dim
    times = seconds(calls, options.rounds)
    return {
        name: {
            "microseconds": 1e6 * times[name],
            "speedup": times["all weights"] / times[name],
            "coordinates": dims[name],
        }
        for name in calls
    }


def main(options: Options) -> None:
    """Run every comparison, print it, write what was asked for."""
    counts, rounds = options.counts, options.rounds
    if options.quick:
        counts, options = counts[:2], replace(options, rounds=min(rounds, 3))
    results = {f"n = {n}": data_terms(options, n) for n in counts}
    results["N(0, 1)"] = {"two_layer": two_layer(options), "readout": readout(options)}
    for where, systems in results.items():
        for system, lowerings in systems.items():
            for lowering, cell in lowerings.items():
                numbers = "  ".join(f"{name} {value:.3g}" for name, value in cell.items())
                print(f"{where:12} {system:12} {lowering:15} {numbers}")
    save(results, options.json)


if __name__ == "__main__":
    main(tyro.cli(Options))
