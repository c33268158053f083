"""A small transformer in training: local learning coefficients of checkpoints, heads and settings.

A decoder-only net is trained by Adam on the characters of Python's own help texts. At some steps
the local learning coefficient is estimated by SGLD at fixed settings, beside the loss at the
weights and the loss of the draws; at the last step also that of each head and of each MLP, against
a net of random weights, and the influence of sequences on each other. With `--adaptive` the
settings are chosen by `bx.local_learning_coefficient`, which says whether its value can be used.
"""

import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from pydoc_data.topics import topics

import equinox as eqx
import jax
import numpy as np
import optax
import tyro
from _cli import save

import boltzax as bx


@dataclass
class Options:
    """The net, its training, and the settings of the coefficients."""

    width: int = 64
    """Length of the vector of a position."""
    layers: int = 2
    """Number of blocks."""
    context: int = 64
    """Characters of a sequence."""
    steps: tuple[int, ...] = (0, 50, 200, 600, 1800, 5400)
    """Steps of the checkpoints, in order."""
    learning_rate: float = 3e-3
    """Of Adam."""
    sequences: int = 128
    """Sequences that the coefficients are of."""
    per_mean: float = 30.0
    """nβ, the factor of the mean loss."""
    localisation: float = 300.0
    """γ of the localising Gaussian."""
    step_size: float = 3e-4
    """Step of SGLD."""
    adaptive: bool = False
    """Also estimate without settings, at the last step: some ten minutes of two cores."""
    seed: int = 0
    """Seed of all randomness."""
    quick: bool = False
    """A smaller net, and fewer steps."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw them."""


def main(options: Options) -> None:
    """Train, measure, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(options, width=16, layers=1, context=16, steps=(0, 50, 200), sequences=64)
    key, key_net, key_null, key_run = jax.random.split(jax.random.key(options.seed), 4)
    text = "".join(topics[name] for name in sorted(topics))
    tokens = bx.Tokens.characters(text, most=96)
    ids = tokens.encode(text)

    def net(key):
        return bx.models.Transformer(
            len(tokens), options.width, options.layers, 4, options.context, key=key
        )

    batches = bx.Batches(bx.Windows(ids, options.context, stride=1), 32, key=key)
    models = train(net(key_net), batches, options)
    windows = bx.Windows(ids, options.context)
    some = np.linspace(0, len(windows) - 1, options.sequences).astype(int)
    data = bx.Subsampled(bx.Empirical(windows[some]), 16)
    energy = bx.CrossEntropy(models[-1], data, count="tokens")
    settings = bx.FixedSettings(
        bx.temperature.Temperature(options.per_mean),
        options.localisation,
        bx.SGLD(options.step_size),
    )
    along = bx.along_training(energy, models, settings, key=key_run, steps=options.steps)
    parts = bx.parts(models[-1], "blocks[*].attention", heads=4)
    parts |= bx.parts(models[-1], "blocks[*].mlp")
    of_parts = bx.part_coefficients(energy, parts, settings, key=key_run, null=net(key_null))
    print(f"{along}\n\n{of_parts}\n")
    results = {
        "steps": options.steps,
        "coefficient": numbers(along.coefficient.values),
        "loss": along.loss.value,
        "loss_of_draws": numbers(along.loss_of_draws.values),
        "verdicts": [result.short for result in along.results],
        "parts": {n: numbers(p.estimate) for n, p in zip(parts, of_parts.parts, strict=True)},
        "null": {n: numbers(p.estimate) for n, p in zip(parts, of_parts.null or (), strict=True)},
        "sum_of_parts": numbers(of_parts.sum),
        "whole": numbers(of_parts.whole.estimate),
        "influence": numbers(influence(energy, windows[some[:8]], settings, key_run)),
    }
    if options.adaptive:
        own = bx.CrossEntropy(models[-1], data.empirical, count="tokens")
        found = bx.local_learning_coefficient(own, key=key_run)
        print(found)
        results["adaptive"] = numbers(found.estimate) | {"reason": found.reason}
    results["seconds"] = time.time() - began
    results["peak_memory_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{results['seconds']:.0f} s, peak memory {results['peak_memory_gib']:.2f} GiB")
    save(results, options.json)
    if options.figure is not None:
        draw(along, of_parts, options.figure)


def train(model, batches: bx.Batches, options: Options) -> list:
    """The models at the steps of the checkpoints."""
    adam = optax.adam(options.learning_rate)

    def loss(model, x, y):
        logits = jax.vmap(model)(x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def step(carry, batch):
        model, state = carry
        updates, state = adam.update(eqx.filter_grad(loss)(model, *batch), state)
        return (optax.apply_updates(model, updates), state), None

    advance = jax.jit(lambda carry, batches: jax.lax.scan(step, carry, batches)[0])
    carry, models, done = (model, adam.init(model)), [], 0
    for goal in options.steps:
        while done < goal:
            until = min(done + 50, goal)
            some = [batches[number] for number in range(done, until)]
            carry = advance(carry, jax.tree.map(lambda *each: np.stack(each), *some))
            done = until
        models.append(carry[0])
    return models


def influence(energy, data, settings: bx.FixedSettings, key) -> bx.Estimate:
    """`-Cov(ℓ_i, ℓ_j) β` of the losses of some sequences, under the localised posterior."""
    near = energy + bx.Localisation(energy.model, settings.localisation)
    gibbs = bx.compile(near, bx.Normal(0.0, 1e3), beta=settings.temperature)
    run = {"chains": settings.chains, "warmup": settings.warmup, "draws": 20, "thin": settings.thin}
    trace = bx.sample(gibbs, settings.kernel, key=key, start=gibbs.position(), throw=False, **run)
    return bx.influence(trace, bx.CrossEntropy(energy.model, bx.Empirical(data), count="tokens"))


def numbers(estimate: bx.Estimate) -> dict:
    """Value and standard error."""
    return {"value": estimate.value, "standard_error": estimate.standard_error}


def draw(along: bx.AlongTraining, of_parts: bx.PartCoefficients, path: Path) -> None:
    """Coefficient and losses over the steps; the coefficients of the parts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    bx.plot.along_training(along, ax=left)
    bx.plot.part_coefficients(of_parts, ax=right)
    figure.savefig(path, dpi=160)


if __name__ == "__main__":
    main(tyro.cli(Options))
