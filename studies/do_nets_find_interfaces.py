"""Does training find the interfaces of maximal entropy?

Two components in series are made to pass a bit on, end to end, and nothing is said of the signal
between them. Under the prior conditioned on that spec an interface B in the middle is satisfied
with probability `e^{H(B)}/Z`, H the entropy of the two components under their contracts with B.
Ensembles of systems, all from starts that violate the spec, are held against this law: prior draws
conditioned by rejection, Metropolis-adjusted and unadjusted Langevin, and SGD and Adam on the
end-to-end loss alone, with and without noise on the labels or the gradients.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import boltzax as bx
from boltzax.core import with_weights
from boltzax.interfaces import (
    Agreement,
    end_to_end,
    expected_satisfaction,
    satisfaction_law,
)
from examples._cli import Drawn, save

COMPONENTS = {"amplifier": bx.cases.voltage_amplifier, "mlp": bx.cases.voltage_net}
RATES = {"sgd": (0.03, 0.1, 0.3), "adam": (0.01, 0.03, 0.1), "sgld": (0.05, 0.2, 0.5)}
"""Learning rates; for SGLD the step size."""
NOISES = {"none": (0.0, 0.0), "label": (1.0, 0.0), "gradient": (0.0, 0.5)}
"""Standard deviations of the noise on the labels, in units of `LABEL`, and on each gradient."""
LABEL = {"hinge": 0.5, "square": 2.5}
"""Noise on the labels, V: the hinge looks at the worst point alone, squares at the mean of all."""
VERDICTS = ("agrees", "order_only", "differs", "too_few")


@dataclass
class Options(Drawn):
    """The ensembles, and how long to train.

    Quick: amplifiers only, fewer settings, systems and steps.
    """

    components: tuple[Literal["amplifier", "mlp"], ...] = ("amplifier", "mlp")
    """Which systems."""
    systems: int = 400
    """Systems of each ensemble."""
    seeds: int = 5
    """Ensembles of each setting."""
    steps: int = 300
    """Steps of training."""
    burn: int = 1500
    """Steps of each Markov chain."""
    beta: float = 1.0
    """Inverse temperature of the chains, per volt of violation."""
    draws: int = 100_000
    """Draws of the prior for H, and as many for the noise floor."""


def interface(low: float, high: float, inverted: bool = False) -> bx.Interface:
    """0 below `low` and 1 above `high`, in [0, 5] V; or the other way round."""
    ends = [(0, low)], [(high, 5)]
    return bx.Interface.intervals(dict(zip((1, 0) if inverted else (0, 1), ends, strict=True)))


FIRST, LAST = interface(1.2, 3.8), interface(1.0, 4.0)
LEVELS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5)
FAMILY = [
    interface(low, high, inverted)
    for inverted in (False, True)
    for low in LEVELS
    for high in LEVELS
    if low <= high
]


def starts(gibbs, key, count: int):
    """Draws of the prior that violate the spec, as coordinates `[count]`."""
    keys = jax.random.split(key, 2 * count)

    @jax.jit
    def draw(keys):
        w = jax.vmap(gibbs.sample_prior)(keys)
        return w, jax.lax.map(gibbs.energy, w, batch_size=512)

    w, energy = draw(keys)
    rows = np.flatnonzero(np.asarray(energy) > 0)[:count]
    assert len(rows) == count, "the prior satisfies the spec too often to find violating starts"
    return {path: leaf[rows] for path, leaf in w.items()}


@eqx.filter_jit
def train(spec, w, key, rates, noises, steps: int, optimiser: str, loss: str):
    """`w[seed, system]` trained at each pair of rate and noise: `[setting, seed, system]`.

    The loss looks at the output of the whole system alone: its largest violation of the spec
    (hinge), or the mean squared distance from 0 V and 5 V (square).
    """
    targets = jnp.asarray([0.0, 5.0])[:, None, None]
    make = {"sgd": optax.sgd, "adam": optax.adam}[optimiser]

    def cost(w, jitter):
        image = spec.image(with_weights(spec.model, w)) + jitter
        if loss == "square":
            return jnp.mean((image - targets) ** 2)
        return jnp.maximum(-jnp.min(spec.margins(image)), 0.0)

    def one(setting):
        rate, (label, kick), key, w = setting
        rule = make(rate)
        count = len(jax.tree.leaves(w)[0])
        shape = (count, *jax.eval_shape(spec.image, spec.model).shape)

        def gaussian(key, scale, shape):
            def drawn(key):
                return scale * jax.random.normal(key, shape)

            return jax.lax.cond(scale > 0, drawn, lambda _: jnp.zeros(shape), key)

        def step(carry, key):
            w, state = carry
            keys = jax.random.split(key, 1 + len(w))
            slopes = jax.vmap(jax.grad(cost))(w, gaussian(keys[0], label, shape))
            slopes = {
                path: slope + gaussian(k, kick, slope.shape)
                for k, (path, slope) in zip(keys[1:], slopes.items(), strict=True)
            }
            moves, state = rule.update(slopes, state, w)
            return (optax.apply_updates(w, moves), state), None

        (w, _), _ = jax.lax.scan(step, (w, rule.init(w)), jax.random.split(key, steps))
        return w

    seeds = len(jax.tree.leaves(w)[0])

    def setting(each):
        rate, noise, key = each
        keys = jax.random.split(key, seeds)
        return jax.lax.map(lambda e: one((rate, noise, *e)), (keys, w))

    return jax.lax.map(setting, (rates, noises, jax.random.split(key, len(rates))))


def system(kind: str, options: Options, key) -> dict:
    """All ensembles of one kind of component."""
    component = COMPONENTS[kind]()
    wires = (FIRST, bx.Family.of(FAMILY), LAST)
    chain = bx.Chain((component, component), wires, points=9)
    keys = jax.random.split(key, 8)
    expected = expected_satisfaction(chain, key=keys[0], draws=options.draws)
    spec = expected.spec
    gibbs = bx.compile(bx.Violation(spec), spec.prior)
    print(f"\n{kind}: {expected}")
    rows, curves = [], {}
    total = options.systems * options.seeds
    coarse = end_to_end(bx.Chain(chain.components, wires, points=5))

    def judge(method, rate, noise, weights, first, told=False):
        """Rows of the table for weights `[seed, system]`."""
        fractions = []
        for seed in range(options.seeds):
            ensemble = {path: leaf[seed] for path, leaf in weights.items()}
            begun = None if first is None else models(spec, {p: x[seed] for p, x in first.items()})
            law = satisfaction_law(
                models(spec, ensemble), expected, key=keys[7], initial=begun, allow_satisfied=told
            )
            rows.append(
                {"method": method, "rate": rate, "noise": noise, "seed": seed}
                | numbers(law)
                | by_sense(law)
            )
            fractions.append(np.asarray(law.fraction))
        curves[f"{method}, {noise}, {rate:g}"] = np.mean(fractions, axis=0)
        report(rows[-options.seeds :])

    print("method          noise      rate  slope        level        order         best H       "
          "distance/floor  solved  verdicts")  # fmt: skip
    # rejection: the prior itself, of which only what satisfies the spec is looked at
    draws = jax.jit(jax.vmap(lambda k: gibbs.constrain(gibbs.sample_prior(k))))
    wanted = int(total / max(np.exp(float(expected.log_evidence)), 0.05))
    drawn = draws(jax.random.split(keys[1], wanted - wanted % options.seeds))
    judge("rejection", 0.0, "none", folded(drawn, options.seeds), None, told=True)

    # chains: from one violating system, so that nothing of their start is the prior's
    one = {path: leaf[0] for path, leaf in starts(gibbs, keys[2], 1).items()}
    cold = gibbs.at(options.beta)
    first = {p: jnp.broadcast_to(x, (total, *x.shape)) for p, x in gibbs.constrain(one).items()}
    first = folded(first, options.seeds)
    kernels = {("mala", 0.0): bx.MALA(), ("random walk", 0.0): bx.RandomWalk()}
    if options.quick:
        kernels.pop(("random walk", 0.0))
    steps = RATES["sgld"][1:2] if options.quick else RATES["sgld"]
    kernels |= {("sgld", s): bx.SGLD(step_size=jnp.asarray(s)) for s in steps}
    for (name, rate), kernel in kernels.items():
        trace = bx.sample(
            cold, kernel, key=keys[3], chains=total, warmup=options.burn // 2, draws=4,
            thin=max(options.burn // 8, 1), start=one, throw=False,
        )  # fmt: skip
        last = {path: leaf[:, -1] for path, leaf in trace.w.items()}
        weights = jax.vmap(gibbs.constrain)(last)
        judge(name, rate, "none", folded(weights, options.seeds), first)

    # trained on the end-to-end loss alone
    begun = starts(gibbs, keys[4], total)
    begun = folded(begun, options.seeds)
    noises = {"none": NOISES["none"]} if options.quick else NOISES
    for loss in ("hinge", "square"):
        for optimiser in ("sgd", "adam"):
            if options.quick and (loss, optimiser) not in (("hinge", "sgd"), ("square", "adam")):
                continue
            pairs = [(r, n) for r in RATES[optimiser] for n in noises]
            rates = jnp.asarray([r for r, _ in pairs])
            label, kick = (jnp.asarray([noises[n][i] for _, n in pairs]) for i in range(2))
            levels = (LABEL[loss] * label, kick)
            trained = train(coarse, begun, keys[5], rates, levels, options.steps, optimiser, loss)
            for i, (rate, noise) in enumerate(pairs):
                weights = {path: leaf[i] for path, leaf in trained.items()}
                judge(f"{optimiser} {loss}", rate, noise, weights, begun)
    return {
        "entropy": expected.entropy,
        "log_evidence": expected.log_evidence,
        "settings": compact(rows),
        "curves": curves,
    }


def models(spec, weights):
    """The pair of component models with weights `[system]`."""
    return with_weights(spec.model, weights).parts


def folded(weights, seeds: int):
    """The leading axis as `[seed, system]`."""
    return {path: leaf.reshape(seeds, -1, *leaf.shape[1:]) for path, leaf in weights.items()}


def numbers(law) -> dict:
    """A law as plain numbers."""
    estimates = {"slope": law.slope, "level": law.level, "order": law.order, "best": law.best}
    found = {name: float(e.value) for name, e in estimates.items()}
    found |= {f"{name}_error": float(e.standard_error) for name, e in estimates.items()}
    return found | {
        "shortfall": law.shortfall,
        "distance": law.distance,
        "floor": law.floor,
        "p_value": law.p_value,
        "used": int(law.used.sum()),
        "solved": law.solved,
        "systems": law.systems,
        "verdict": next(v for v in VERDICTS if law.agreement == getattr(Agreement, v)),
    }


def by_sense(law) -> dict:
    """Level of the upright and of the inverted interfaces, and the slope among the upright."""
    used, fraction, rate = (np.asarray(x) for x in (law.used, law.fraction, law.expected))
    upright = np.array([interface.contains(0.0, 0) for interface in FAMILY])
    found = {}
    for name, sense in (("upright", upright), ("inverted", ~upright)):
        rows = used & sense
        found[name] = float(fraction[rows].sum() / rate[rows].sum()) if rows.any() else np.nan
    rows = used & upright & (fraction > 0)
    weights = np.sqrt(rate[rows])
    found["within"] = np.nan
    if rows.sum() > 2:
        line = np.polyfit(np.log(rate[rows]), np.log(fraction[rows]), 1, w=weights)
        found["within"] = float(line[0])
    return found


KEPT = ("slope", "slope_error", "level", "order", "best", "within", "upright", "inverted",
        "shortfall", "distance", "floor", "p_value", "solved", "verdict")  # fmt: skip


def compact(rows: list[dict]) -> list[dict]:
    """One entry for each setting, with a number for each seed."""
    settings = {}
    for row in rows:
        place = settings.setdefault((row["method"], row["noise"], row["rate"]), [])
        place.append(row)
    names = ("method", "noise", "rate")
    return [
        dict(zip(names, setting, strict=True))
        | {name: [row[name] for row in found] for name in KEPT}
        for setting, found in settings.items()
    ]


def rounded(value):
    """Four digits of every number."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    if isinstance(value, str | int):
        return value
    array = np.asarray(value, float)
    return [rounded(each) for each in array] if array.ndim else float(f"{float(array):.4g}")


def report(rows: list[dict]) -> None:
    """One line for the seeds of a setting: mean and spread."""

    def said(name):
        values = np.array([row[name] for row in rows], float)
        values = values[np.isfinite(values)]
        if len(values) < 2:
            return "too few"
        return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"

    ratio = np.nanmean([row["distance"] / row["floor"] for row in rows])
    solved = np.mean([row["solved"] / row["systems"] for row in rows])
    verdicts = [row["verdict"] for row in rows]
    counted = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
    first = rows[0]
    print(
        f"{first['method']:15s} {first['noise']:9s} {first['rate']:5g}  {said('slope'):12s} "
        f"{said('level'):12s} {said('order'):12s} {said('best'):12s} {ratio:8.2f}  "
        f"{said('within'):12s} {said('upright'):12s} {said('inverted'):12s}"
        f" {solved:6.2f}  {counted}",
        flush=True,
    )


def main(options: Options) -> None:
    """Make the ensembles, hold them against the law, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(
            options, components=("amplifier",), seeds=2, burn=800, draws=20_000,
        )  # fmt: skip
    keys = jax.random.split(jax.random.key(options.seed), len(options.components))
    found = {
        kind: system(kind, options, key) for kind, key in zip(options.components, keys, strict=True)
    }
    seconds = time.time() - began
    print(f"\n{seconds:.0f} s")
    save(rounded({"systems": found, "seconds": seconds}), options.json)
    if options.figure is not None:
        draw(found, options.figure)


SHOWN = {
    "rejection, none, 0": "rejection",
    "mala, none, 0": "MALA",
    "sgld, none, 0.2": "SGLD, step 0.2",
    "sgd hinge, none, 0.1": "SGD, hinge",
    "adam hinge, none, 0.03": "Adam, hinge",
    "adam square, none, 0.03": "Adam, squares",
}
"""The ensembles that the figure shows."""


def draw(found: dict, path: Path) -> None:
    """log P against H, and the law."""
    with bx.plot.panels(1, len(found), path=path) as axes:
        for ax, (kind, result) in zip(axes, found.items(), strict=True):
            entropy = np.asarray(result["entropy"], float)
            for (name, label), marker in zip(SHOWN.items(), ".x+1*s", strict=True):
                if name in result["curves"]:
                    curve = np.asarray(result["curves"][name], float)  # a stored null is NaN
                    with np.errstate(divide="ignore"):
                        ax.plot(entropy, np.log(curve), marker, label=label, alpha=0.7)
            line = np.array([-9.0, np.nanmax(entropy)])
            ax.plot(line, line - float(result["log_evidence"]), "k", lw=1, label=r"$e^H/Z$")
            ax.set(
                title=kind,
                xlabel="H(B) / nats",
                ylabel="log P[B satisfied | spec] / nats",
                xlim=line,
            )
            ax.set_ylim(line[0] - float(result["log_evidence"]), 0.2)
        axes[0].legend()


if __name__ == "__main__":
    main(tyro.cli(Options))
