"""A small transformer in training: local learning coefficients of checkpoints, heads and settings.

A decoder-only net is trained by Adam on the characters of Python's own help texts. At some steps
the local learning coefficient is estimated by SGLD at fixed settings, beside the loss at the
weights and the loss of the draws; at the last step also that of each head and of each MLP, or of
the parts that `--heads-of` and `--parts` name, against a net of random weights (or, with
`--null shuffled`, against shuffled weights of the part alone), and the influence of sequences on
each other. With `--adaptive` the
settings are chosen by `bx.local_learning_coefficient`, which says whether its value can be used.
"""

from dataclasses import dataclass, replace
from pydoc_data.topics import topics
from typing import Literal

import equinox as eqx
import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
import tyro
from _cli import Drawn, save
from scipy.stats import norm

import boltzax as bx


@dataclass
class Options(Drawn):
    """Net, training, settings of the coefficients; `quick`: a smaller net, fewer steps."""

    width: int = 64  # Length of the vector of a position
    layers: int = 2  # Number of blocks
    heads: int = 4  # Heads of each attention
    context: int = 64  # Characters of a sequence
    steps: tuple[int, ...] = (0, 50, 200, 600, 1800, 5400)  # Steps of the checkpoints, in order
    learning_rate: float = 3e-3  # Of Adam
    sequences: int = 128  # Sequences that the coefficients are of
    per_mean: float = 30.0  # nβ, the factor of the mean loss
    localisation: float = 300.0  # γ of the localising Gaussian
    step_size: float = 3e-4  # Step of SGLD
    draws: int = (
        10  # Draws of a chain, ten steps apart; 100 and more for errors that can be trusted
    )
    heads_of: tuple[str, ...] = ("blocks[*].attention",)  # Attentions whose heads are parts
    parts: tuple[str, ...] = ("blocks[*].mlp",)  # Other parts by name, such as blocks[0] or final
    null: Literal["random", "shuffled"] = "random"  # What parts are compared with
    influences: int = 1  # Last checkpoints whose influences are compared: which change sign
    influence_draws: int = 40  # Draws of each of their chains
    adaptive: bool = False
    """Also estimate without settings, at the last step: some ten minutes of two cores."""


def train(model: bx.models.Transformer, batches: bx.Batches, options: Options) -> list:
    """The models at the steps of the checkpoints."""
    adam = optax.adam(options.learning_rate)

    def loss(model, x, y):
        logits = jax.vmap(model)(x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def step(model, state, batch):
        updates, state = adam.update(eqx.filter_grad(loss)(model, *batch), state)
        return optax.apply_updates(model, updates), state

    models, state = {0: model}, adam.init(model)
    for number in range(max(options.steps)):
        model, state = step(model, state, batches[number])
        models[number + 1] = model if number + 1 in options.steps else None
    return [models[number] for number in options.steps]


def named_parts(net: bx.models.Transformer, options: Options) -> dict:
    """The parts that the options name; the names are checked before the training."""
    parts = {}
    try:
        for pattern in options.heads_of:
            parts |= bx.parts(net, pattern, heads=options.heads)
        for pattern in options.parts:
            parts |= bx.parts(net, pattern)
    except bx.DeclarationError as error:
        raise SystemExit(f"--heads-of, --parts: {error}") from None
    return parts


def influence_of(model, energy, data, settings, options: Options, key) -> bx.Estimate:
    """The influence of a few sequences on each other, in the posterior localised at a model."""
    here = bx.CrossEntropy(model, energy.measure, count="tokens")
    near = here + bx.Localisation(model, options.localisation)
    gibbs = bx.compile(near, bx.Normal(0.0, 1e3), beta=settings.temperature)
    trace = bx.sample(
        gibbs, settings.kernel, key=key, start=gibbs.position(), chains=2, warmup=100,
        draws=options.influence_draws, thin=10, throw=False,
    )  # fmt: skip
    return bx.influence(trace, bx.CrossEntropy(model, data, count="tokens"))


def main(options: Options) -> None:
    """Train, measure, print, write what was asked for."""
    if options.quick:
        options = replace(options, width=16, layers=1, context=16, steps=(0, 50, 200), sequences=64)
    key, key_net, key_null, key_run = jax.random.split(jax.random.key(options.seed), 4)
    text = "".join(topics[name] for name in sorted(topics))
    tokens = bx.Tokens.characters(text, most=96)
    ids = tokens.encode(text)
    net, null = (
        bx.models.Transformer(
            len(tokens), options.width, options.layers, options.heads, options.context, key=k
        )
        for k in (key_net, key_null)
    )
    parts = named_parts(net, options)
    batches = bx.Batches(bx.Windows(ids, options.context, stride=1), 32, key=key)
    models = train(net, batches, options)
    windows = bx.Windows(ids, options.context)
    some = windows[np.linspace(0, len(windows) - 1, options.sequences).astype(int)]
    data = bx.Empirical(some)
    energy = bx.CrossEntropy(models[-1], bx.Subsampled(data, 16), count="tokens")
    nbeta = bx.temperature.Temperature(options.per_mean)
    settings = bx.FixedSettings(
        nbeta, options.localisation, bx.SGLD(options.step_size), warmup=50, draws=options.draws
    )
    along = bx.along_training(energy, models, settings, key=key_run, steps=options.steps)
    null = null if options.null == "random" else "shuffled"
    of_parts = bx.part_coefficients(energy, parts, settings, key=key_run, null=null)
    print(f"{along}\n\n{of_parts}\n")

    first = bx.Empirical(jax.tree.map(lambda array: array[:8], some))
    influences = [
        influence_of(model, energy, first, settings, options, jax.random.fold_in(key_run, number))
        for number, model in enumerate(models[-options.influences :])
    ]
    influence = influences[-1]
    z = np.stack([np.asarray(each.z_score(0.0)) for each in influences])
    clear = np.any(np.abs(z) > 2, axis=0)
    flips = np.any(z > 2, axis=0) & np.any(z < -2, axis=0)
    # a pair of one sign, clear at one step, is clear with the other sign at some other by chance
    chance = np.sum(clear) * (1 - norm.cdf(2) ** (len(z) - 1))
    print(
        f"influence of 8 sequences on each other: {100 * np.mean(np.abs(z[-1]) > 2):.0f}% beyond "
        f"two standard errors; {np.sum(flips)} of {flips.size} pairs change sign over "
        f"{len(z)} steps, at most {chance:.1f} expected by chance"
    )
    results = {
        "steps": options.steps,
        "coefficient": along.coefficient.values,
        "loss": along.loss.value,
        "loss_of_draws": along.loss_of_draws.values,
        "verdicts": [result.short for result in along.results],
        "parts": dict(zip(parts, (part.estimate for part in of_parts.parts), strict=True)),
        "null": dict(zip(parts, (part.estimate for part in of_parts.null or ()), strict=True)),
        "sum_of_parts": of_parts.sum,
        "whole": of_parts.whole.estimate,
        "influence": influence,
        "sign_changes": {"clear": np.sum(clear), "found": np.sum(flips), "chance": chance},
    }
    if options.adaptive:
        own = bx.CrossEntropy(models[-1], data, count="tokens")
        found = bx.local_learning_coefficient(own, key=key_run)
        print(found)
        results["adaptive"] = {"coefficient": found.estimate, "reason": found.reason}
    save(results, options.json)
    if options.figure is not None:
        figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
        bx.plot.along_training(along, ax=axes[0])
        bx.plot.part_coefficients(of_parts, ax=axes[1])
        bx.plot.influence(influence, ax=axes[2])
        axes[2].set(xlabel="sequence", ylabel="asked about (hatched: within two errors of 0)")
        figure.savefig(options.figure, dpi=160)


if __name__ == "__main__":
    main(tyro.cli(Options))
