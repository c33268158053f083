"""Handwritten digits with planted wrong labels: which dial forgets them first, and who finds them.

A net is trained by Adam until it knows its data by heart, a share of them with wrong labels. It is
then degraded by six dials. Of each, the survival of the wrong labels is read where that of the
right ones has fallen to a level, since settings of different dials have no common unit. The wrong
labels are to be found without knowledge of which they are: by how early each datum's label dies
along a dial, by its Bayesian influence on itself and on held-out data, and by the loss of the
trained net (the baseline). Each is scored by the area under its ROC curve (AUC).
"""

import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _cli import save
from scipy.stats import rankdata
from sklearn.datasets import load_digits

import boltzax as bx
from boltzax import degrade


@dataclass
class Options:
    """The declaration, and how long to run."""

    data: int = 1000
    """Number of training data; the rest of the 1797 are held out."""
    wrong: float = 0.1
    """Share of the training data that get another label at random."""
    width: int = 64
    """Hidden units."""
    nets: int = 4
    """Nets, each with its own wrong labels and start."""
    steps: int = 2000
    """Steps of Adam."""
    learning_rate: float = 0.01
    """Of Adam."""
    localisation: float = 1.0
    """Strength γ that holds the tempered posterior at the trained net."""
    count: int = 128
    """Degraded models at each setting of a dial."""
    warmup: int = 200
    """Steps of HMC before the first draw."""
    points: int = 8
    """Settings of each dial."""
    temperature: float = 1.0
    """Of the posterior from which influences are taken."""
    level: float = 0.9
    """Survival of the right labels at which dials are compared."""
    resamples: int = 400
    """Of the bootstrap."""
    seed: int = 0
    """Seed of all randomness."""
    quick: bool = False
    """Fewer data, units, nets and draws."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw survivals and AUC."""


class LabelProbability(eqx.Module):
    """The probability that a model gives each label: the survival of that datum."""

    x: jax.Array
    label: jax.Array

    def __call__(self, model):
        log_p = jax.nn.log_softmax(jax.vmap(model)(self.x))
        return jnp.exp(jnp.take_along_axis(log_p, self.label[:, None], axis=1)[:, 0])


@eqx.filter_jit
def trained(energy: bx.CrossEntropy, steps: int, learning_rate: float) -> tuple:
    """The net after each twentieth of the training."""
    optimiser = optax.adam(learning_rate)

    def step(carry, _):
        params, state = carry
        grad = jax.grad(lambda p: energy.value(eqx.combine(p, static)))(params)
        updates, state = optimiser.update(grad, state)
        return (optax.apply_updates(params, updates), state), None

    def block(carry, _):
        carry, _ = jax.lax.scan(step, carry, None, length=steps // 20)
        return carry, carry[0]

    params, static = eqx.partition(energy.model, eqx.is_inexact_array)
    models = jax.lax.scan(block, (params, optimiser.init(params)), None, length=20)[1]
    leaves, structure = jax.tree.flatten(models)
    each = (jax.tree.unflatten(structure, own) for own in zip(*leaves, strict=True))
    return tuple(eqx.combine(own, static) for own in each)


def dials(options: Options, checkpoints: tuple) -> dict:
    """Each dial with its settings, from weak to strong."""
    held = {"localisation": options.localisation, "chains": 4, "warmup": options.warmup}
    steps = options.steps / 20 * np.arange(1, 21)
    count = options.points
    return {
        "tempering": (degrade.Tempered(**held, throw=False), np.geomspace(0.02, 10, count)),
        "weight noise": (degrade.WeightNoise(), np.geomspace(0.05, 1.5, count)),
        "activation noise": (degrade.ActivationNoise("activation"), np.geomspace(0.1, 5, count)),
        "pruning": (degrade.Pruning(), np.linspace(0.1, 0.8, count)),
        "quantisation": (degrade.Quantisation(), np.linspace(6, 2, count)),
        "checkpoints": (degrade.Snapshots(checkpoints, steps), steps[::-1]),
    }


def measured(options: Options, number: int) -> tuple[np.ndarray, dict, dict, dict]:
    """Which labels of one net are wrong, survivals by dial, scores by method, and settings."""
    rng, key = np.random.default_rng((options.seed, number)), jax.random.key(options.seed)
    keys = jax.random.split(jax.random.fold_in(key, number), 4)
    images, digits = load_digits(return_X_y=True)
    order = rng.permutation(len(digits))
    x, digits = (images[order] / 16).astype(np.float32), digits[order]
    n = options.data
    wrong = np.arange(n) < options.wrong * n
    label = np.where(wrong, (digits[:n] + rng.integers(1, 10, n)) % 10, digits[:n])
    net = eqx.nn.MLP(64, 10, options.width, 1, jnp.tanh, key=keys[0])
    data = bx.Empirical((x[:n], label))
    checkpoints = trained(bx.CrossEntropy(net, data), options.steps, options.learning_rate)
    energy = bx.CrossEntropy(checkpoints[-1], data)
    gibbs = bx.compile(energy, bx.Normal())
    probability = LabelProbability(jnp.asarray(x[:n]), jnp.asarray(label))
    loss = -np.log(probability(energy.model))
    survivals, scores, settings = {}, {"loss of the net": loss}, {}
    for name, (dial, places) in dials(options, checkpoints).items():
        curve = degrade.along_dial(
            dial, places, probability, gibbs=gibbs, key=keys[1], count=options.count
        )
        survivals[name], settings[name] = np.asarray(curve.value), places
        # the mean over evenly spaced settings is where on the dial the label dies, on average
        scores[f"death by {name}"] = -survivals[name].mean(0)
    local = gibbs.localised(options.localisation).at(1 / options.temperature)
    run = {"chains": 4, "warmup": options.warmup, "draws": options.count, "throw": False}
    trace = bx.sample(local, key=keys[2], start=gibbs.position(energy.model), **run)
    print(f"net {number}: {bx.Status[trace.status]}")
    held_out = bx.CrossEntropy(energy.model, bx.Empirical((x[n:], digits[n:])))
    scores["influence on itself"] = -np.diag(bx.influence(trace, energy).value)
    scores["influence on held-out loss"] = bx.influence(trace, energy, held_out.value).value
    return wrong, survivals, scores, settings


def auc(score: np.ndarray, wrong: np.ndarray) -> float:
    """The probability that a wrong label has a higher score than a right one."""
    ranks, count = rankdata(score)[wrong], np.sum(wrong)
    return float((np.mean(ranks) - (count + 1) / 2) / np.sum(~wrong))


def found(options: Options, nets: list) -> dict:
    """AUC of each method, `[method]`, and its lead over the first, with intervals by the bootstrap.

    Nets are resampled, and within each net its wrong and its right labels.
    """
    rng, names = np.random.default_rng(options.seed), list(nets[0][2])
    draws = np.empty((options.resamples, len(nets), len(names)))
    for each in draws:
        for row, chosen in zip(each, rng.integers(len(nets), size=len(nets)), strict=True):
            wrong, _, scores, _ = nets[chosen]
            groups = (np.flatnonzero(wrong), np.flatnonzero(~wrong))
            data = np.concatenate([rng.choice(group, len(group)) for group in groups])
            row[:] = [auc(scores[name][data], wrong[data]) for name in names]
    drawn = draws.mean(axis=1)
    lead = drawn - drawn[:, :1]
    quantiles = (0.025, 0.975)
    return {
        "method": names,
        "value": np.mean([[auc(s[name], w) for name in names] for w, _, s, _ in nets], axis=0),
        "standard_error": drawn.std(axis=0),
        "interval": np.quantile(drawn, quantiles, axis=0).T,
        "lead_interval": np.quantile(lead, quantiles, axis=0).T,
    }


def compared(options: Options, nets: list) -> tuple[dict, dict]:
    """Survival of right and wrong labels by dial, and of the wrong ones at matched right ones."""
    curves, matched = {}, {}
    for name, settings in nets[0][3].items():
        each = np.array([[s[name][:, ~w].mean(1), s[name][:, w].mean(1)] for w, s, _, _ in nets])
        right, wrong = (
            degrade.survival(
                bx.Curve(settings, bx.Influence.of_samples(each[:, i], source="nets"), axis=name),
                dead=0.1,
            )
            for i in (0, 1)
        )
        curves[name] = (right, wrong)
        matched[name] = degrade.selectivity(right, wrong, options.level)
    return curves, matched


def main(options: Options) -> None:
    """Train, degrade, sample, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(options, data=200, width=16, nets=3, steps=600, count=64, warmup=80)
        options = replace(options, points=6)
    nets = [measured(options, number) for number in range(options.nets)]
    curves, matched = compared(options, nets)
    print(f"survival of wrong labels where that of right ones is {options.level:g}")
    for name, estimate in matched.items():
        print(f"{name:>18}: {estimate!r}")
    scores = found(options, nets)
    print("AUC for wrong labels, and its lead over the loss of the net (95% intervals)")
    for i in np.argsort(scores["value"])[::-1]:
        low, high = scores["interval"][i]
        least, most = scores["lead_interval"][i]
        verdict = (
            "better" if least > 0 else "worse" if most < 0 else "undecided" if i else "baseline"
        )
        row = f"{scores['method'][i]:>27}: {scores['value'][i]:.4f} [{low:.4f}, {high:.4f}]"
        print(f"{row}, lead [{least:+.4f}, {most:+.4f}] {verdict}")
    at_level = {
        name: {"value": e.value, "standard_error": e.standard_error} for name, e in matched.items()
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rest = {"seconds": time.time() - began, "peak_MiB": peak}
    save({"wrong_at_matched_right": at_level, "auc": scores} | rest, options.json)
    if options.figure is not None:
        draw(options, curves, scores)


def draw(options: Options, curves: dict, scores: dict) -> None:
    """Wrong against right labels along each dial, and the AUC of each method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    for (name, each), marker in zip(curves.items(), "osd^vP", strict=True):
        x, y = (curve.value for curve in each)
        bars = [np.abs(np.stack(curve.interval()) - curve.value) for curve in each]
        left.errorbar(x, y, bars[1], bars[0], marker=marker, ms=4, lw=1, label=name)
    left.axvline(options.level, color="0.6", lw=0.8, ls=":")
    left.set(xlabel="survival of right labels", ylabel="survival of wrong labels")
    left.set(xlim=(0.4, 1.02), ylim=(-0.1, 1.05))
    left.set_title("bars: 95% over nets", fontsize="medium")
    left.legend(frameon=False, fontsize="small")
    order = np.argsort(scores["value"])
    for place, i in enumerate(order):
        color = "#2a6f97" if i else "#d9661f"
        right.plot(scores["interval"][i], [place, place], color=color)
        right.plot(scores["value"][i], place, "o", color=color)
    right.set_yticks(range(len(order)), [scores["method"][i] for i in order])
    right.set(xlabel="AUC for wrong labels")
    right.set_title("bars: 95%, bootstrap of nets and data", fontsize="medium")
    figure.savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
