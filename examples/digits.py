"""Handwritten digits with planted wrong labels: which dial forgets them first, and who finds them.

A net is trained by Adam until it knows its data by heart, a share of them with wrong labels. It is
then degraded by six dials. Of each, the survival of the wrong labels is read where that of the
right ones has fallen to a level, since settings of different dials have no common unit. The wrong
labels are to be found without knowledge of which they are: by how early each datum's label dies
along a dial, by its Bayesian influence on itself and on held-out data, and by the loss of the
trained net (the baseline). Each is scored by the area under its ROC curve (AUC), over several nets.
"""

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import tyro
from _cli import Drawn, save
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import boltzax as bx
from boltzax import degrade


@dataclass
class Options(Drawn):
    """The declaration, and how long to run; `quick`: fewer data, units, nets and draws."""

    data: int = 600  # Number of training data; the rest of the 1797 are held out
    wrong: float = 0.1  # Share of the training data that get another label at random
    width: int = 32  # Hidden units
    nets: int = 6  # Nets, each with its own data, wrong labels and start
    steps: int = 2000  # Steps of Adam
    learning_rate: float = 0.01  # Of Adam
    localisation: float = 1.0  # Strength γ that holds the tempered posterior at the trained net
    temperature: float = 1.0  # Of the posterior from which influences are taken
    count: int = 128
    """Degraded models at each setting of a dial, and draws of each chain for influences."""
    warmup: int = 150  # Steps of each chain that are left out
    points: int = 8  # Settings of each dial
    level: float = 0.9  # Survival of the right labels at which dials are compared


def dials(options: Options, checkpoints: list, steps: np.ndarray) -> dict:
    """Each dial with its settings, from weak to strong."""
    held = {"localisation": options.localisation, "chains": 4, "warmup": options.warmup}
    points = options.points
    return {
        "tempering": (degrade.Tempered(**held, throw=False), np.geomspace(0.02, 10, points)),
        "weight noise": (degrade.WeightNoise(), np.geomspace(0.05, 1.5, points)),
        "activation noise": (degrade.ActivationNoise("activation"), np.geomspace(0.1, 5, points)),
        "pruning": (degrade.Pruning(), np.linspace(0.1, 0.8, points)),
        "quantisation": (degrade.Quantisation(), np.linspace(6, 2, points)),
        "checkpoints": (degrade.Snapshots(checkpoints, steps), steps[::-1]),
    }


def measured(options: Options, number: int) -> tuple[dict, dict]:
    """Of one net: survivals of right and wrong labels by dial, AUC by method."""
    rng, key = np.random.default_rng((options.seed, number)), jax.random.key(options.seed)
    keys, n = jax.random.split(jax.random.fold_in(key, number), 4), options.data
    images, digits = load_digits(return_X_y=True)
    order = rng.permutation(len(digits))
    x, digits = jnp.asarray(images[order] / 16, jnp.float32), digits[order]
    wrong = np.arange(n) < options.wrong * n
    label = np.where(wrong, (digits[:n] + rng.integers(1, 10, n)) % 10, digits[:n])
    net = eqx.nn.MLP(64, 10, options.width, 1, jnp.tanh, key=keys[0])
    data, steps = bx.Empirical((x[:n], label)), options.steps // 20 * np.arange(1, 21)
    adam = optax.adam(options.learning_rate)
    checkpoints = bx.trained(bx.CrossEntropy(net, data), adam, steps)
    energy = bx.CrossEntropy(checkpoints[-1], data)
    gibbs = bx.compile(energy, bx.Normal())

    def survival(model):
        """The probability that a model gives each label."""
        return jax.nn.softmax(jax.vmap(model)(x[:n]))[jnp.arange(n), label]

    survivals, scores = {}, {"loss of the net": -np.log(survival(energy.model))}
    for name, (dial, places) in dials(options, checkpoints, steps).items():
        curve = degrade.along_dial(
            dial, places, survival, gibbs=gibbs, key=keys[1], count=options.count
        )
        alive = np.asarray(curve.value)
        survivals[name] = places, alive[:, ~wrong].mean(axis=1), alive[:, wrong].mean(axis=1)
        # the mean over evenly spaced settings is where on the dial the label dies, on average
        scores[f"death by {name}"] = -alive.mean(axis=0)
    trace = bx.sample(
        gibbs.localised(options.localisation).at(1 / options.temperature), bx.HMC(), key=keys[2],
        chains=4, warmup=options.warmup, draws=options.count, start=gibbs.position(energy.model),
        throw=False,
    )  # fmt: skip
    held_out = bx.CrossEntropy(energy.model, bx.Empirical((x[n:], digits[n:])))
    scores["influence on itself"] = -np.diag(bx.influence(trace, energy).value)
    scores["influence on held-out loss"] = bx.influence(trace, energy, held_out.value).value
    print(f"net {number}: {bx.Status[trace.status]}", flush=True)
    return survivals, {name: roc_auc_score(wrong, score) for name, score in scores.items()}


def main(options: Options) -> None:
    """Train, degrade, sample, compare over nets, print, write what was asked for."""
    if options.quick:
        options = replace(options, data=200, width=16, nets=3, steps=600, count=64, warmup=80)
        options = replace(options, points=6)
    nets = [measured(options, number) for number in range(options.nets)]
    curves, matched = {}, {}
    for name, (places, *_) in nets[0][0].items():
        right, wrong = (
            bx.Curve(places, bx.Influence.of_samples(np.array(alive), source="nets"), axis=name)
            for alive in zip(*(survivals[name][1:] for survivals, _ in nets), strict=True)
        )
        curves[name], matched[name] = (
            (right, wrong),
            degrade.selectivity(right, wrong, options.level),
        )
    print(f"survival of wrong labels where that of right ones is {options.level:g}")
    for name, estimate in matched.items():
        print(f"{name:>18}: {estimate!r}")
    areas = {name: np.array([scores[name] for _, scores in nets]) for name in nets[0][1]}
    baseline = areas["loss of the net"]
    auc = {name: bx.Estimate.of_replicates(area) for name, area in areas.items()}
    lead = {name: bx.Estimate.of_replicates(area - baseline) for name, area in areas.items()}
    print("AUC for wrong labels, and its lead over the loss of the net (95% intervals over nets)")
    for name in sorted(auc, key=lambda name: -auc[name].value):
        low, high = lead[name].interval()
        print(f"{name:>27}: {auc[name]!r}, lead [{low:+.4f}, {high:+.4f}]")
    intervals = {name: each.interval() for name, each in auc.items()}
    results = {"auc": auc, "auc_interval": intervals, "lead": lead}
    save(results | {"wrong_at_matched_right": matched}, options.json)
    if options.figure is not None:
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
        for (name, (kept, lost)), marker in zip(curves.items(), "osd^vP", strict=True):
            bars = (1.96 * curve.standard_error for curve in (lost, kept))
            left.errorbar(kept.value, lost.value, *bars, marker=marker, ms=4, lw=1, label=name)
        left.set(
            xlabel="survival of right labels", ylabel="survival of wrong labels, 95% over nets"
        )
        left.legend(frameon=False, fontsize="small")
        values = np.array([float(each.value) for each in auc.values()])
        ends = np.array(list(intervals.values()))
        bars = np.abs(ends - values[:, None]).T
        right.errorbar(values, list(auc), xerr=bars, fmt="o", capsize=3)
        right.set(xlabel="AUC for wrong labels, 95% over nets")
        figure.savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
