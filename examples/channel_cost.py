"""What a channel costs in bits of optimisation, against its length and the width of its system.

Chains of noisy tanh pieces are to pass one bit on with an error below 5%. The prior probability
that they do gives the bits of optimisation; their slope in the number of pieces says whether, with
the width, channels are scarce (it grows) or modules (it falls). Beside: an exact case, trainings.
"""

from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np
import optax
import tyro
from _cli import Drawn, save, table

import boltzax as bx
from boltzax import cases, channels, theory


@dataclass
class Options(Drawn):
    """The chains, and how long to run; `quick`: few lengths, widths and particles."""

    gains: tuple[float, ...] = (0.7, 1.0, 1.5, 2.5, 3.5)  # Standard deviations of the weights
    widths: tuple[int, ...] = (1, 2, 4, 8)  # Wires of a piece
    lengths: tuple[int, ...] = (3, 4, 5, 6, 7)  # Pieces
    linear: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)  # Pieces of the chains of scalars
    noise: float = 0.2  # Standard deviation after each piece
    error: float = 0.05  # Of the bit, at which a chain transmits
    samples: int = 64  # Pairs of opposite noise
    particles: int = 128  # Of rising levels
    steps: tuple[int, ...] = (0, 100, 1000)  # Of the trainings


def main(options: Options) -> None:
    """Measure costs, train, print, write what was asked for."""
    if options.quick:
        short = {"gains": (1.0, 2.5), "widths": (1, 4), "lengths": (2, 3, 4), "linear": (1, 4, 16)}
        options = replace(options, **short, samples=16, particles=64, steps=(0, 100))
    key, at = jax.random.key(options.seed), 1 - 2 * options.error
    linear = []
    for length in options.linear:
        chain, own = cases.linear_channel(length), jax.random.fold_in(key, length)
        linear.append(channels.bits_of_optimisation(chain.prior, chain.strength, key=own).estimate)
    linear = bx.Estimate.stack(linear)
    exact = np.array([theory.gaussian_chain_bits(length) for length in options.linear])
    columns = {"pieces": options.linear, "bits": linear.value, "±": linear.standard_error}
    print(table(columns | {"exact": exact}))
    costs, results = {}, {"linear": linear, "exact": exact}
    more = {"noise_sd": options.noise, "samples": options.samples, "key": jax.random.key(1)}
    for gain in options.gains:
        build = partial(cases.noisy_channel, gain=gain, **more)
        cost = channels.channel_cost(
            build, options.lengths, options.widths, at=at, key=key, throw=False,
            particles=options.particles, moves=8,
        )  # fmt: skip
        chain = build(options.lengths[-1], options.widths[0])
        trained = channels.training_success(chain, optax.adam(0.02), options.steps, at=at, key=key)
        print(f"gain {gain}: {cost}\n  trainings that transmit: {trained}")
        costs[gain] = cost
        results[f"gain {gain}"] = {
            "bits": cost.bits, "per_piece": cost.per_piece, "r_squared": cost.r_squared,
            "regime": channels.ChannelRegime[cost.regime], "trained": trained,
        }  # fmt: skip
    save(results, options.json)
    with bx.plot.panels(1, 2, path=options.figure) as axes:
        bx.plot.channel_cost(cost, ax=axes[0])
        axes[0].set_title(f"gain {gain}")
        for gain, cost in costs.items():
            bx.plot.curve(cost.per_piece, ax=axes[1], label=f"gain {gain}", name="bits a piece")
        axes[1].set(yscale="log", xticks=options.widths)


if __name__ == "__main__":
    main(tyro.cli(Options))
