"""Continuous XOR: neurons that ride along in a net of two hidden layers.

The target is the XOR of four numbers, smoothed: `tanh(3x_0) tanh(3x_1) tanh(3x_2) tanh(3x_3)`. The
net is a mean of neurons of layer 2, each of which sees the neurons of layer 1. In a net of one
hidden layer, neurons that see the residual and add nothing to it have the law of the net's own.
Does that hold in a deeper one? Riders are compared with the net's neurons

- `live 2`: in layer 2, beside the net as it trains;
- `live 1`: in layer 1, with their own weights into layer 2;
- `frozen`: in layer 2 over the net's trained layer 1, which no longer moves;
- `replaced`: the neurons (no riders) of a second layer 2 that is trained there from the prior;
- `lazy`: as `frozen`, over a layer 1 that was never trained: the wrong background;
- `prior`: that were not trained.

Weights into layer 2 are as many as layer 1 has neurons, and mean nothing over another layer 1. So
neurons are compared by two collective coordinates of what they add to `f`, `h(x)` (`couple`): the
gain `⟨y, h⟩/|y|` and the size `|h|`, by energy distance with a permutation test; in layer 1 by
their weights too. Then by the function that they add up to, and its loss. Two nets of different
seeds are compared by their data kernels.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import boltzax as bx
from boltzax import meanfield as mf
from examples._cli import Drawn, save


@dataclass
class Options(Drawn):
    """The net, the temperature, and how long to run.

    Quick: one small width and few steps.
    """

    widths: tuple[int, ...] = (64, 256)
    """Neurons of layer 2."""
    ratio: int = 4
    """How many times fewer there are in layer 1."""
    temperature: float = 0.01
    """`T` of the Langevin dynamics."""
    spread: float = 2.0
    """Standard deviation of the prior of all weights."""
    steps: int = 1000
    """Steps of Langevin dynamics; 0.6 as many of Adam."""
    dt: float = 0.04
    """Step of Langevin."""
    rate: float = 0.01
    """Learning rate of Adam."""
    data: int = 256
    """Nodes of the measure: a Sobol rule for standard normal inputs."""
    riders: int = 512
    """Riders of each kind."""
    seeds: int = 2
    """Nets of each width."""


def xor(x):
    return jnp.prod(jnp.tanh(3 * x))


def main(options: Options) -> None:
    """Train, ride along, compare, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(options, widths=(32,), steps=100, data=128, riders=64, seeds=2)
    key = jax.random.key(options.seed)
    rows, pairs, clouds = [], [], {}
    kinds = {
        "langevin": mf.Langevin(dt=options.dt),
        "descent": mf.Descent(optax.adam(options.rate)),
    }
    if options.quick:
        del kinds["descent"]
    for name, dynamics in kinds.items():
        for width in options.widths:
            nets = []
            for seed in range(options.seeds):
                case = declare(options, width)
                found, net, points = confront(
                    case, dynamics, options, jax.random.fold_in(key, seed), width
                )
                rows.append({"dynamics": name, "width": width, "seed": seed, **found})
                report(rows[-1])
                nets.append(net)
                clouds[name] = points
            if options.seeds > 1:
                pairs.append({"dynamics": name, "width": width, **kernels(case, nets, key, width)})
                print("   kernels of two nets:", short(pairs[-1]))
            results = {"rows": rows, "kernels": pairs, "clouds": clouds}
            save({**results, "seconds": time.time() - began}, options.json)
    print(f"{time.time() - began:.1f} s")
    if options.figure is not None:
        draw(clouds, options.figure)


def declare(options: Options, width: int) -> mf.Layered:
    """The problem, with riders in layer 2."""
    neuron = mf.Neuron(mf.Unit(jnp.tanh, dim=4, bias=True), bx.Normal(0.0, options.spread))
    measure = bx.GaussianMeasure(4, order=options.data, rule="sobol")
    return mf.Layered(neuron, xor, measure, options.temperature, hidden=(width // options.ratio,))


def confront(case, dynamics, options: Options, key, width: int):
    """One net, riders of every kind beside it, and how far each is from the net's own neurons."""
    keys = jax.random.split(key, 6)
    steps = options.steps if isinstance(dynamics, mf.Langevin) else 3 * options.steps // 5
    run = {"steps": steps, "dynamics": dynamics, "batch": None, "riders": options.riders}
    low = case.riding(1)
    live = mf.train(case, width, key=keys[0], **run)
    below = mf.train(low, width, key=keys[0], **run)  # the same net, with other riders
    frozen = mf.train(mf.Frozen(case, live.net), width, key=keys[1], **run)
    start = draw_net(case, keys[2], width)
    lazy = mf.train(mf.Frozen(case, start), width, key=keys[3], **run)
    fresh = jax.jit(lambda k: case.draw_riders(k, options.riders, width))(keys[4])
    fresh_low = jax.jit(lambda k: low.draw_riders(k, options.riders, width))(keys[4])

    # each: the problem, the net that is coupled to, neurons, the net's own, who adds up to what
    own, own_low = live.net[-1], low.copies(live.net)
    cases = {
        "live 2": (case, live.net, live.riders, own),
        "frozen": (case, live.net, frozen.riders, own),
        "replaced": (case, live.net, frozen.net, own),
        "lazy": (case, start, lazy.riders, own),
        "prior 2": (case, live.net, fresh, own),
        "live 1": (low, live.net, below.riders, own_low),
        "prior 1": (low, live.net, fresh_low, own_low),
    }
    f, y = outputs(case, live.net), case.targets()
    found = {"loss": loss(f, y), "loss_mean": tail(live.loss), "loss_frozen": tail(frozen.loss)}
    found |= {"loss_lazy": tail(lazy.loss), "loss_zero": loss(0 * y, y)}
    clouds = {
        "net 2": collective(functions(case, live.net, own), y),
        "net 1": collective(functions(low, live.net, own_low), y),
    }
    for name, (problem, net, neurons, peers) in cases.items():
        h = functions(problem, net, neurons)
        clouds[name] = collective(h, y)
        g, noise = jnp.mean(h, axis=0), norm(jnp.std(h, axis=0)) / len(h) ** 0.5
        weights = {}
        if name.endswith("1"):
            g, noise = outputs(case, planted(live.net, neurons)), jnp.nan
            test = bx.energy_distance(plain(peers), plain(neurons), key=keys[5], permutations=499)
            weights = {"weights": test.value, "weights_p": test.p_value}
        other = clouds["net " + name[-1]] if name[-1] in "12" else clouds["net 2"]
        test = bx.energy_distance(other, clouds[name], key=keys[5], permutations=499)
        found[name] = {
            "energy": test.value,
            "p_value": test.p_value,
            "noise": test.noise,
            **weights,
            "function": norm(g - f) / norm(f),
            "standard_error": noise / norm(f),
            "loss": loss(g, y),
        }
    return found, live.net, {name: digits(cloud[:256]) for name, cloud in clouds.items()}


@eqx.filter_jit
def functions(case, net, neurons):
    """`couple` of each neuron at the data."""
    return jax.vmap(lambda one: jax.vmap(lambda x: case.couple(net, one, x))(case.inputs()))(
        neurons
    )


@eqx.filter_jit
def collective(h, y):
    """Gain and size of each neuron."""
    size = jnp.sqrt(jnp.mean(h**2, axis=1))
    return jnp.stack([h @ y / len(y) / jnp.sqrt(jnp.mean(y**2)), size], axis=1)


def digits(cloud):
    """To four decimals, for the file."""
    return np.round(np.asarray(cloud, float), 4)


def plain(neurons):
    """The weights into layer 1 and the bias."""
    return jnp.concatenate([neurons["embedding"], neurons["bias"][:, None]], axis=1)


def planted(net, riders):
    """The net with its layer 1 replaced by riders; more than it has neurons are left out.

    No fair test of a law: new neurons give each `z_j` another random part, that `a_j` do not know.
    """
    width = len(net[0]["bias"])
    low = {"embedding": riders["embedding"][:width], "bias": riders["bias"][:width]}
    return low, net[1] | {"embedding": riders["outgoing"][:width].T}


def kernels(case, nets, key, width: int) -> dict:
    """Two trained nets, and a trained and an untrained one, by their data kernels."""
    weights = case.measure.nodes()[1]
    start = draw_net(case, jax.random.fold_in(key, 99), width)
    found = {}
    for name, layer in (("layer 1", 1), ("layer 2", 2), ("function", None)):
        a, b, c = (
            mf.data_kernel(mf.neuron_functions(case, net, layer=layer), weights)
            for net in (*nets[:2], start)
        )
        size = jnp.linalg.norm(a.operator)
        found[name] = {
            "distance": mf.frobenius_distance(a, b) / size,
            "expected": jnp.sqrt(a.noise**2 + b.noise**2) / size,
            "procrustes": mf.procrustes_distance(a, b) / jnp.sqrt(jnp.trace(a.operator)),
            "alignment": mf.alignment(a, b),
            "untrained": mf.frobenius_distance(a, c) / size,
            "alignment untrained": mf.alignment(a, c),
        }
    flat = [jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(net)]) for net in nets[:2]]
    found["weights"] = norm(flat[0] - flat[1]) / norm(flat[0])
    return found


@eqx.filter_jit
def draw_net(case, key, width: int):
    return case.draw_net(key, width)


@eqx.filter_jit
def outputs(case, net):
    return jax.vmap(lambda x: case.output(net, x))(case.inputs())


def norm(f) -> float:
    return float(jnp.sqrt(jnp.mean(f**2)))


def loss(f, y) -> float:
    return 0.5 * norm(f - y) ** 2


def tail(losses) -> float:
    return float(jnp.mean(losses[-max(len(losses) // 5, 1) :]))


def short(values):
    """Numbers to three digits."""
    if isinstance(values, dict):
        return {key: short(each) for key, each in values.items()}
    return values if isinstance(values, str | int) else float(f"{float(values):.3g}")


def report(row: dict) -> None:
    plain = {k: v for k, v in row.items() if not isinstance(v, dict)}
    print(short(plain))
    for name, found in row.items():
        if isinstance(found, dict):
            print(f"   {name:9s}", short(found), flush=True)


def draw(clouds: dict, path: Path) -> None:
    """Gain and size of the net's neurons (blue) and of others (orange)."""
    names = ("live 2", "frozen", "replaced", "lazy", "live 1", "prior 1")
    with bx.plot.panels(2 * len(clouds), 3, path=path) as axes:
        for line, (dynamics, points) in zip(axes.reshape(-1, 6), clouds.items()):
            for ax, name in zip(line, names):
                own = points["net 1" if name.endswith("1") else "net 2"]
                bx.plot.clouds(np.asarray(own), np.asarray(points[name]), ax=ax)
                ax.set(title=f"{dynamics}: {name}", xlabel="gain", ylabel="size")


if __name__ == "__main__":
    main(tyro.cli(Options))
