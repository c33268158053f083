"""Cost of `bx.local_coefficient_at` on a transformer, against SGLD written by hand in plain JAX.

Both run the same chains: the localised posterior at nβ = 30 and γ = 300, minibatches of 16 of 128
sequences, two chains of 150 steps. By hand `λ̂ = nβ (⟨L⟩ - L(w*))` is made in two ways: from the
losses of the minibatches, which the steps have anyway; and from losses over all sequences at each
tenth step. CPU seconds of calls in turns, compilation excluded.
"""

import time
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _common import Seeded, save
from _text_net import loss, trained

import boltzax as bx

NBETA, GAMMA, STEP, BATCH, CHAINS, WARMUP, DRAWS, THIN = 30.0, 300.0, 3e-4, 16, 2, 50, 10, 10


@dataclass
class Options(Seeded):
    """Size of the net, and calls of each. Quick: a narrow net, two calls."""

    training: int = 600
    """Steps of Adam."""
    width: int = 64
    """Width of the net."""
    sequences: int = 128
    """Sequences that the coefficient is of."""
    calls: int = 9
    """Calls of each."""


def by_hand(model, rows, whole: bool):
    """A function from a key to λ̂; `whole` takes losses over all data at each tenth step."""
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)

    def mean(w, rows):
        return jnp.mean(jax.vmap(lambda row: loss(eqx.combine(w, rest), row))(rows))

    def chain(key, start, rows):
        def step(w, key):
            key_batch, key_noise = jax.random.split(key)
            chosen = rows[jax.random.randint(key_batch, (BATCH,), 0, len(rows))]
            value, slope = jax.value_and_grad(mean)(w, chosen)
            leaves, tree = jax.tree.flatten(w)
            keys = jax.tree.unflatten(tree, list(jax.random.split(key_noise, len(leaves))))

            def moved(w, slope, centre, key):
                drift = NBETA * slope + GAMMA * (w - centre)
                noise = jax.random.normal(key, w.shape, w.dtype)
                return w - 0.5 * STEP * drift + STEP**0.5 * noise

            return jax.tree.map(moved, w, slope, start, keys), value

        def draw(w, keys):
            w, values = jax.lax.scan(step, w, keys)
            return w, mean(w, rows) if whole else jnp.mean(values)

        key_warm, key_draws = jax.random.split(key)
        w, _ = jax.lax.scan(step, start, jax.random.split(key_warm, WARMUP))
        return jax.lax.scan(draw, w, jax.random.split(key_draws, (DRAWS, THIN)))[1]

    @jax.jit
    def run(key, start, rows):
        losses = jax.vmap(chain, in_axes=(0, None, None))(
            jax.random.split(key, CHAINS), start, rows
        )
        return NBETA * (jnp.mean(losses) - mean(start, rows))

    return lambda key: float(run(key, arrays, rows))


def by_boltzax(model, rows):
    """A function from a key to λ̂."""
    energy = bx.CrossEntropy(
        model, bx.Subsampled(bx.Empirical((rows[:, :-1], rows[:, 1:])), BATCH), count="tokens"
    )
    settings = bx.FixedSettings(
        bx.temperature.Temperature(NBETA), GAMMA, bx.SGLD(STEP),
        chains=CHAINS, warmup=WARMUP, draws=DRAWS, thin=THIN,
    )  # fmt: skip
    return lambda key: float(bx.local_coefficient_at(energy, settings, key=key).estimate)


def main(options: Options) -> None:
    """Call each in turns, print medians, write what was asked for."""
    if options.quick:
        options.training, options.width, options.sequences, options.calls = 20, 16, 32, 2
    model, rows = trained(options.training, options.width)
    rows = rows[: options.sequences]
    calls = {
        "by hand, losses of the minibatches": by_hand(model, rows, False),
        "by hand, losses over all data": by_hand(model, rows, True),
        "bx.local_coefficient_at": by_boltzax(model, rows),
    }
    seconds = {name: [] for name in calls}
    values = {name: [] for name in calls}
    for number in range(options.calls + 1):
        for name, call in calls.items():
            began = time.process_time()
            values[name].append(call(jax.random.fold_in(jax.random.key(options.seed), number)))
            seconds[name].append(time.process_time() - began)
    results = {}
    least = float(np.median(next(iter(seconds.values()))[1:]))
    for name in calls:
        took = np.array(seconds[name][1:])
        results[name] = {
            "cpu_seconds": float(np.median(took)),
            "least": float(took.min()),
            "ratio": float(np.median(took)) / least,
            "mean": float(np.mean(values[name])),
            "standard_error": float(np.std(values[name], ddof=1) / len(values[name]) ** 0.5),
        }
        row = results[name]
        print(
            f"{name:36} {row['cpu_seconds']:.2f} s (least {row['least']:.2f}), x {row['ratio']:.3f}"
            f", {row['mean']:.2f} ± {row['standard_error']:.2f}"
        )
    save(results, options.json)


if __name__ == "__main__":
    main(tyro.cli(Options))
