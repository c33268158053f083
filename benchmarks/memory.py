"""Copies of the weights that a chain takes, by sampler, as the compiler counts them.

The compiled loop of a run (`keep=False`) on a net of a million weights and a few data: its state,
results and temporary buffers with two chains less those with one, in units of the weights. Data,
the declared weights and what else does not grow with the chains cancel.
"""

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import tyro
from _common import Seeded, save

import boltzax as bx
from boltzax.sample import Chains

KERNELS = {
    "SGLD(step_size)": lambda: bx.SGLD(1e-6),
    "SGLD": bx.SGLD,
    "RMSpropSGLD": bx.RMSpropSGLD,
    "AdamSGLD": bx.AdamSGLD,
    "Underdamped": bx.Underdamped,
    "Underdamped(Identity)": lambda: bx.Underdamped(preconditioner=bx.Identity()),
    "SGNHT": bx.SGNHT,
    "RandomWalk": bx.RandomWalk,
    "MALA": bx.MALA,
    "HMC": bx.HMC,
    "NUTS": bx.NUTS,
}


@dataclass
class Options(Seeded):
    """Sizes.

    Quick: A net of 90,000 weights, whose copies weigh less beside what is not weights.
    """

    hidden: int = 993
    """Hidden units of a net 10-hidden-hidden-1."""
    data: int = 4
    """Number of data, small so that activations are."""


WARMUP = 100


@eqx.filter_jit
def begin(dynamics: Chains, start, key):
    """The state at the start of a run."""
    return dynamics.init(start, key, WARMUP)


@eqx.filter_jit(donate="all-except-first")
def advance(fixed, state, rows: int, thin: int):
    """Records of a run, warm-up and draws by one program, as `bx.run` makes them."""
    dynamics, key, first = fixed

    def row(state, draw):
        def step(number, state):
            time = WARMUP + thin * draw + number
            gain = jnp.where(time < 0.9 * WARMUP, (1.0 + time) ** -0.6, 0.0)
            return dynamics.step(state, jax.random.fold_in(key, time), gain, time, WARMUP)

        def unread(state, draw):
            shapes = jax.eval_shape(lambda *args: dynamics.record(*args), state, draw)[1]
            return state, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        state = jax.lax.fori_loop(jnp.clip(-WARMUP - thin * draw, 0, thin), thin, step, state)
        return jax.lax.cond(draw < 0, unread, lambda *args: dynamics.record(*args), state, draw)

    return jax.lax.scan(row, state, first + jnp.arange(rows))


def copies(kernel, options: Options) -> dict[str, float]:
    """Weights held between steps, and held at most, by a chain."""
    key = jax.random.key(options.seed)
    x = jax.random.normal(key, (options.data, 10))
    net = bx.models.MLP((10, options.hidden, options.hidden, 1), key=key)
    measure = bx.Subsampled(bx.Empirical((x, x[:, 0])), options.data)
    gibbs = bx.compile(bx.SquaredError(net, measure), bx.Normal())
    dynamics = Chains(gibbs, kernel, False)
    found = []
    for chains in (1, 2):
        start = jax.tree.map(
            lambda leaf, chains=chains: jnp.broadcast_to(leaf, (chains, *leaf.shape)),
            gibbs.position(),
        )
        state = begin(dynamics, start, key)
        compiled = (
            advance.lower((dynamics, key, jnp.zeros((), int)), state, 1, 10).compile().compiled
        )
        memory = compiled.memory_analysis()
        held = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        most = memory.argument_size_in_bytes + memory.output_size_in_bytes
        most += memory.temp_size_in_bytes - memory.alias_size_in_bytes
        found.append((held, most))
    weights = 4 * gibbs.dim
    (held, most), (held_two, most_two) = found
    return {"held": (held_two - held) / weights, "at_most": (most_two - most) / weights}


def main(options: Options) -> None:
    """Every sampler; print a table, write what was asked for."""
    if options.quick:
        options = replace(options, hidden=293)
    results = {}
    for name, kernel in KERNELS.items():
        results[name] = copies(kernel(), options)
        print(f"{name:16}", *[f"{what} {value:.2f}" for what, value in results[name].items()])
    save(results, options.json)


if __name__ == "__main__":
    main(tyro.cli(Options))
