"""A small transformer in training: local learning coefficients and influences of checkpoints.

A decoder-only net is trained by Adam on the characters of Python's own help texts. At some steps
the local learning coefficient is estimated by SGLD at fixed settings, beside the loss at the
weights and the loss of the draws; at the last steps also the influence of sequences on each other,
and which influences change sign. With `--adaptive` the settings are chosen by
`bx.local_learning_coefficient`, which says whether its value can be used.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import tyro
from _cli import save
from _text_net import TextNet

import boltzax as bx


@dataclass
class Options(TextNet):
    """Net, training, settings of the coefficients; `quick`: a smaller net, fewer steps."""

    influences: int = 1  # Last checkpoints whose influences are compared: which change sign
    influence_draws: int = 40  # Draws of each of their chains
    adaptive: bool = False
    """Also estimate without settings, at the last step: some ten minutes of two cores."""


def influence_of(model, energy, data, options: Options, key) -> bx.Estimate:
    """The influence of a few sequences on each other, in the posterior localised at a model."""
    here = bx.CrossEntropy(model, energy.measure, count="tokens")
    near, settings = here + bx.Localisation(model, options.localisation), options.settings
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
    key, key_net, _, key_run = jax.random.split(jax.random.key(options.seed), 4)
    tokens, ids = options.text()
    models, some = options.trained(options.net(tokens, key_net), ids, key), options.some(ids)
    data = bx.Empirical(some)
    energy = bx.CrossEntropy(models[-1], bx.Subsampled(data, 16), count="tokens")
    along = bx.along_training(energy, models, options.settings, key=key_run, steps=options.steps)
    print(along)

    first = bx.Empirical(jax.tree.map(lambda array: array[:8], some))
    influences = [
        influence_of(model, energy, first, options, jax.random.fold_in(key_run, number))
        for number, model in enumerate(models[-options.influences :])
    ]
    clear = 100 * np.mean(np.abs(influences[-1].z_score(0.0)) > 2)
    changes = bx.sign_changes(influences)
    print(f"influence of 8 sequences on each other: {clear:.0f}% beyond two standard errors")
    print(f"over {len(influences)} steps: {changes}")
    results = {"steps": options.steps, "along": along, "influence": influences[-1]}
    results["sign_changes"] = changes
    if options.adaptive:
        own = bx.CrossEntropy(models[-1], data, count="tokens")
        found = bx.local_learning_coefficient(own, key=key_run)
        print(found)
        results["adaptive"] = {"coefficient": found.estimate, "reason": found.reason}
    save(results, options.json)
    with bx.plot.panels(1, 2, path=options.figure) as axes:
        bx.plot.along_training(along, ax=axes[0])
        bx.plot.influence(influences[-1], ax=axes[1])
        axes[1].set(xlabel="sequence", ylabel="asked about (hatched: within two errors of 0)")


if __name__ == "__main__":
    main(tyro.cli(Options))
