"""Which dial keeps structure and loses memory: dials compared at matched survival.

Nets are trained on two tasks (planted parities on 6 bits; even and odd handwritten digits), each
with a head of labels at random on the same inputs. Along each dial the survival of the structure
(3-parity, even/odd) and of the random labels is measured, as overlap with the targets and as
accuracy, relative to the trained net. `selectivity` is the survival of the random labels where that
of the structure is 0.7: lower is more selective. It is compared between dials net by net, over two
architectures and several seeds.
"""

import json
import time
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _common import Flags, save

import boltzax as bx
from boltzax import cases
from boltzax import degrade as dg


@dataclass
class Options(Flags):
    """What to run.

    Quick: one net, few models. Nets that the JSON file holds are not measured again.
    """

    seeds: int = 4
    """Nets of each task and architecture."""
    first: int = 0
    """The first seed."""
    tasks: tuple[str, ...] = ("planted", "digits")
    """Which tasks."""
    layers: tuple[int, ...] = (1, 2)
    """Hidden layers of the nets."""
    hidden: int = 24
    """Units of each layer."""
    steps: int = 6000
    """Steps of Adam."""
    count: int = 400
    """Models at each setting."""
    level: float = 0.7
    """Survival of the structure at which dials are compared."""


def digits(seed: int, count: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of some digits; even or odd, and labels at random."""
    from sklearn.datasets import load_digits  # of this task alone: pip install scikit-learn

    rng = np.random.default_rng(seed)
    data = load_digits()
    chosen = rng.permutation(len(data.data))[:count]
    x = data.data - data.data.mean(0)
    components = np.linalg.svd(x, full_matrices=False)[2][:10]
    x = x @ components.T
    x = (x / x.std(0))[chosen] * 6**0.5 / 10**0.5
    return x, np.stack([2.0 * (data.target[chosen] % 2) - 1, rng.choice([-1.0, 1.0], count)], 1)


def trained(net: cases.PlantedNet, steps: int, saved: np.ndarray) -> list:
    """Models along a training by Adam on the summed loss, with the prior as its decay."""
    optimiser = optax.adam(optax.cosine_decay_schedule(0.02, steps))
    gibbs = net.gibbs(False).at(100.0)

    @eqx.filter_jit
    def advance(w, state, count):
        def step(carry, _):
            w, state = carry
            gradient = jax.grad(lambda w: -gibbs.log_prob(w) / gibbs.beta)(w)
            updates, state = optimiser.update(gradient, state)
            return (optax.apply_updates(w, updates), state), None

        def many(i, carry):
            return step(carry, None)[0]

        return jax.lax.fori_loop(0, count, many, (w, state))

    w = gibbs.position()
    state = optimiser.init(w)
    models = [gibbs.model(w)]
    for number in np.diff(saved):
        w, state = advance(w, state, jnp.asarray(int(number)))
        models.append(gibbs.model(w))
    return models


def dials(models: list, saved: np.ndarray) -> dict:
    """Each dial with its settings."""
    hmc = bx.HMC(max_steps=16)
    heat = {"chains": 8, "warmup": 200, "throw": False}
    temperatures = np.geomspace(0.05, 5, 12)
    local = dg.Tempered(hmc, localisation=1.0, **heat)
    earlier = dg.Snapshots(models, saved)
    noise = np.geomspace(0.03, 1.2, 12)
    mid = len(saved) // 2 + 2

    def pairs(first, second) -> np.ndarray:
        return np.stack(np.broadcast_arrays(first, second), axis=1)

    return {
        "tempered": (dg.Tempered(hmc, **heat), temperatures),
        "local 1": (local, np.geomspace(0.1, 10, 12)),
        "local 10": (dg.Tempered(hmc, localisation=10.0, **heat), np.geomspace(0.3, 100, 12)),
        "weight noise": (dg.WeightNoise(), noise),
        "activation noise": (dg.ActivationNoise("*preactivations"), 2 * noise),
        "earlier": (earlier, saved[1:]),
        "pruning": (dg.Pruning(), np.linspace(0.02, 0.9, 16)),
        "quantisation": (dg.Quantisation(), np.log2(np.arange(2.0, 20.0))),
        "noise @ tempered": (
            dg.WeightNoise() @ dg.Tempered(hmc, **heat),
            pairs(noise, 0.15),
        ),
        "local 1 @ earlier": (local @ earlier, pairs(np.geomspace(0.02, 10, 12), saved[mid])),
        "activation @ weight noise": (
            dg.ActivationNoise("*preactivations") @ dg.WeightNoise(),
            pairs(2 * noise, 0.1),
        ),
        "pruning @ tempered": (
            dg.Pruning() @ dg.Tempered(hmc, **heat),
            pairs(np.linspace(0.02, 0.9, 12), 0.15),
        ),
    }


def measured(net: cases.PlantedNet, heads: tuple[int, int], options: Options, key) -> dict:
    """The selectivity of each dial on one net."""
    saved = np.unique(np.round(np.geomspace(1, options.steps, 25))).astype(float)
    saved = np.concatenate([[0.0], saved])
    models = trained(net, options.steps, saved)
    model = models[-1]
    gibbs = cases.PlantedNet(model, net.x, net.y, net.prior).gibbs(False)

    def both(model):
        return jnp.stack([net.overlaps(model), 2 * net.accuracies(model) - 1])

    clean = np.asarray(both(model))
    rows = {"clean": clean}
    for name, (dial, settings) in dials(models, saved).items():
        began = time.perf_counter()
        curves = dg.along_dial(dial, settings, both, gibbs=gibbs, key=key, count=options.count)
        found = []
        for measure in (0, 1):
            kept, lost = (
                dg.survival(curves[:, measure, head], clean=clean[measure, head]) for head in heads
            )
            try:
                estimate = dg.selectivity(kept, lost, options.level)
                found.append([float(estimate.value), float(estimate.standard_error)])
            except bx.RunError:  # crosses more than once
                found.append([float("nan"), float("nan")])
        rows[name] = {"overlap": found[0], "accuracy": found[1]}
        rows[name]["seconds"] = time.perf_counter() - began
    return rows


def main(options: Options) -> None:
    """Measure all nets, print the table, write the results."""
    if options.quick:
        options.seeds, options.count, options.steps = 1, 64, 1500
        options.tasks, options.layers = ("planted",), (1,)
    found = options.json is not None and options.json.exists()
    results = json.loads(options.json.read_text()) if found else {}
    for seed in range(options.first, options.first + options.seeds):
        for task in options.tasks:
            for layers in options.layers:
                if f"{task} {layers} {seed}" in results:
                    continue
                data = None if task == "planted" else digits(seed)
                heads = (1, 3) if task == "planted" else (0, 1)
                key = jax.random.key(seed)
                net = cases.planted_net(options.hidden, layers=layers, data=data, key=key)
                rows = measured(net, heads, options, jax.random.fold_in(key, 1))
                results[f"{task} {layers} {seed}"] = rows
                clean = np.round(rows["clean"][0], 2)
                print(f"{task}, {layers} layers, seed {seed}, clean overlaps {clean}", flush=True)
                for name, row in rows.items():
                    if name != "clean":
                        text = ", ".join("{:.3f} ± {:.3f}".format(*row[m]) for m in MEASURES)
                        print(f"    {name:26s} {text}  ({row['seconds']:.0f} s)", flush=True)
                rows["clean"] = rows["clean"].tolist()
                save(results, options.json)
    table(results)


MEASURES = ("overlap", "accuracy")


def table(results: dict) -> None:
    """Means over nets with intervals, and how often each dial beats tempering."""
    names = [n for n in next(iter(results.values())) if n != "clean"]
    groups = sorted({" ".join(key.split()[:2]) for key in results})
    for measure in MEASURES:
        print(f"\nsurvival of random labels, {measure}: mean and 95% interval over nets")
        for group in [*groups, ""]:
            rows = [row for key, row in results.items() if key.startswith(group)]
            print(group or "all")
            for name in names:
                values = np.array([row[name][measure][0] for row in rows], float)
                base = np.array([row["tempered"][measure][0] for row in rows], float)
                good = np.isfinite(values)
                if good.sum() < 2:
                    continue
                mean = bx.Estimate.of_replicates(values[good])
                pairs = good & np.isfinite(base)
                apart = bx.Estimate.of_replicates((values - base)[pairs])
                print(
                    f"    {name:26s} {float(mean.value):.3f} "
                    f"({float(mean.lower):.3f}, {float(mean.upper):.3f}) of {good.sum()}; "
                    f"minus tempered {float(apart.value):+.3f} "
                    f"({float(apart.lower):+.3f}, {float(apart.upper):+.3f})"
                )


if __name__ == "__main__":
    main(tyro.cli(Options))
