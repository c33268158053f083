"""A signal buffer accepts wider ranges than it emits; do chains of noisy stages need that?

Stages in series, `x -> f(x) + σ ξ`, are to pass a bit on. First, stages drawn from the prior
conditioned on one shared API: what is below 2 V or above 3 V is accepted, what is emitted keeps a
margin m from there. Then chains of 1 to 16 stages trained end to end on noisy passes, with and
without a penalty for violating the shared API at the joints. Each is used as it was trained,
repeated to 64 stages, and taken apart: 64 stages, each from another system that was trained alike
and passed a test: that all stages keep the API, or, without one, that the whole works.
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
from boltzax.interfaces import end_to_end
from examples._cli import Drawn, save

COMPONENTS = {"amplifier": bx.cases.voltage_amplifier, "mlp": bx.cases.voltage_net}
LEVELS = jnp.array([0.0, 5.0])
RANGE = (-2.0, 7.0)
TRAINED = {"none": None, "margin 0": 0.0, "margin 0.5": 0.5, "margin 1": 1.0}
"""Margins of the shared API in training."""
PASS = 0.01
"""Bit error up to which a system without an API passes as working."""


@dataclass(unsafe_hash=True)
class Options(Drawn):
    """The stages, and how long to train.

    Quick: amplifiers only, shorter chains and training.
    """

    components: tuple[Literal["amplifier", "mlp"], ...] = ("amplifier", "mlp")
    """Which stages."""
    sigma: float = 0.6
    """Noise of each stage, V."""
    margins: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 1.25)
    """Margins m of the shared API of stages drawn from the prior."""
    depths: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Stages of the chains that are trained."""
    stages: int = 64
    """Stages of the long chains."""
    chains: int = 2000
    """Chains drawn from the prior."""
    passes: int = 200
    """Noisy passes of each chain, a bit."""
    seeds: int = 24
    """Chains trained of each kind."""
    steps: int = 1000
    """Steps of Adam."""
    rate: float = 0.03
    """Its learning rate."""
    penalty: float = 1.0
    """Factor of the violation of the API, summed over the stages, in the loss."""


def shared_api(component: bx.Component, margin: float) -> bx.Contract:
    """Accept what is below 2 V or above 3 V, emit what is `margin` farther out."""
    accept = bx.Interface.thresholds(2.0, 3.0, range=RANGE)
    emit = bx.Interface.thresholds(2.0 - margin, 3.0 + margin, range=RANGE)
    return bx.Contract(component, accept, emit, points=9)


def own_api(component: bx.Component, middle: jax.Array) -> bx.Contract:
    """The same widths and no margin, about a middle of the stage's own."""
    api = bx.Interface.thresholds(middle - 0.5, middle + 0.5, range=RANGE)
    return bx.Contract(component, api, api, points=9)


@eqx.filter_jit
def errors(model, stages, key, sigma, passes: int):
    """Share of wrong bits at the end, for `stages[stage, chain]`: `[chain]`."""
    count = len(jax.tree.leaves(stages)[0][0])
    start = jnp.broadcast_to(LEVELS[:, None], (count, 2, passes))

    def stage(x, each):
        w, key = each
        run = jax.vmap(lambda w, x: jax.vmap(with_weights(model, w))(x.reshape(-1, 1)))
        y = run(w, x).reshape(x.shape)
        return y + sigma * jax.random.normal(key, x.shape), None

    depth = len(jax.tree.leaves(stages)[0])
    x, _ = jax.lax.scan(stage, start, (stages, jax.random.split(key, depth)))
    return jnp.mean((x > 2.5) != jnp.array([[False], [True]]), axis=(1, 2))


@eqx.filter_jit
def keeps(contract, w):
    """Whether each of the stages `w[stage]` keeps a contract."""

    def one(w):
        return contract.margin(with_weights(contract.model, w)) >= 0

    return jax.vmap(one)(w)


@eqx.filter_jit
def keeps_all(contract, w):
    """The same of chains `w[seed, stage]`."""
    return jax.vmap(lambda w: keeps(contract, w))(w)


def from_prior(component, options: Options, key) -> list[dict]:
    """Bit error of long chains of stages that are draws of the prior under an API."""
    keys = jax.random.split(key, 6)
    many = 100_000
    model = component.model
    gibbs = bx.compile(bx.Violation(shared_api(component, 0.0)), component.prior)
    draws = jax.jit(jax.vmap(lambda k: gibbs.constrain(gibbs.sample_prior(k))))(
        jax.random.split(keys[0], many)
    )
    middles = jax.random.uniform(keys[1], (many,), minval=1.0, maxval=4.0)
    accept, emit = ends_of(shared_api(component, 0.0))
    pair = end_to_end(bx.Chain((component, component), (accept, None, emit), points=9))
    after = {path: jnp.roll(leaf, 1, axis=0) for path, leaf in draws.items()}

    def own(w, middle):
        return own_api(component, middle).margin(with_weights(model, w))

    def both(w, v):
        system = eqx.tree_at(
            lambda s: s.parts, pair.model, (with_weights(model, w), with_weights(model, v))
        )
        return pair.margin(system)

    pools = {
        f"shared, margin {m:g}": keeps(shared_api(component, m), draws)[None]
        for m in options.margins
    }
    pools["an API of its own"] = (jax.jit(jax.vmap(own))(draws, middles) >= 0)[None]
    ends = jax.jit(jax.vmap(both))(draws, after) >= 0
    pools["ends only, pairs kept"] = pools["ends only, exchanged"] = jnp.stack(
        [ends, jnp.roll(ends, -1)]
    )
    pools["no API"] = jnp.ones((1, many), bool)
    rows = []
    for name, good in pools.items():
        # which draw stands at each stage: the first and second parts of pairs in turn
        places = [jnp.asarray(np.flatnonzero(np.asarray(each))) for each in good]
        shape = (options.stages // len(places), options.chains)
        if name == "ends only, pairs kept":
            firsts = np.flatnonzero(np.asarray(ends))
            first = jnp.asarray(firsts)[jax.random.randint(keys[2], shape, 0, len(firsts))]
            turns = [first, (first - 1) % many]
        else:
            turns = [
                place[jax.random.randint(jax.random.fold_in(keys[2], i), shape, 0, len(place))]
                for i, place in enumerate(places)
            ]
        chosen = jnp.stack(turns, axis=1).reshape(-1, options.chains)
        stages = {path: leaf[chosen] for path, leaf in draws.items()}
        found = errors(model, stages, keys[3], options.sigma, options.passes // 4)
        share = float(jnp.mean(good[0]))
        rows.append({"stages": name, "accepted": share} | spread(found))
        print(
            f"  {name:22s} P {share:.4f}   bit error {rows[-1]['value']:.4f} "
            f"± {rows[-1]['error']:.4f}",
            flush=True,
        )
    return rows


def ends_of(contract: bx.Contract) -> tuple[bx.Interface, bx.Interface]:
    """The interfaces of a contract."""
    return contract.assume, contract.guarantee


@eqx.filter_jit
def train(contract, w, key, factor, options: Options):
    """Chains `w[seed, stage]` trained end to end by Adam on noisy passes.

    The loss is the mean squared distance of the output from 0 V and 5 V, over 25, and `factor`
    times the violations of the contract, summed over the stages.
    """
    violation = bx.Violation(contract)
    template = contract.model
    rule = optax.adam(options.rate)

    def cost(w, noise):
        def stage(x, each):
            w, xi = each
            y = jax.vmap(with_weights(template, w))(x.reshape(-1, 1)).reshape(x.shape)
            return y + options.sigma * xi, violation.value(with_weights(template, w))

        x, violations = jax.lax.scan(stage, jnp.repeat(LEVELS[:, None], 16, 1), (w, noise))
        return jnp.mean((x - LEVELS[:, None]) ** 2) / 25 + factor * jnp.sum(violations)

    seeds, depth = jax.tree.leaves(w)[0].shape[:2]

    def step(carry, key):
        w, state = carry
        noise = jax.random.normal(key, (seeds, depth, 2, 16))
        moves, state = rule.update(jax.vmap(jax.grad(cost))(w, noise), state, w)
        return (optax.apply_updates(w, moves), state), None

    return jax.lax.scan(step, (w, rule.init(w)), jax.random.split(key, options.steps))[0][0]


@eqx.filter_jit
def noise_margins(model, w, sigma):
    """Along each chain `w[seed, stage]`, in V, the worse of the two bits: `[seed, stage]` each.

    - accepted: how far the signal at the input of a stage can move before the rest of the chain,
      without noise, ends at the other bit (0 if it does anyway; up to 4.5 V is looked at);
    - emitted: how far the output moves when the input moves by 2σ;
    - margin: what the next stage accepts, less what this one emits (at the end: 2.5 V is read).
    """
    offsets = jnp.linspace(-4.5, 4.5, 181)
    near = jnp.abs(offsets) <= 2 * sigma

    def of(w, bit):
        def run(w, x):
            return jax.vmap(with_weights(model, w))(x.reshape(-1, 1)).reshape(x.shape)

        def forth(x, w):
            moved = run(w, x + offsets)
            y = run(w, x[None])[0]
            emitted = jnp.max(jnp.where(near, jnp.abs(moved - y), 0.0))
            return y, (x, emitted)

        end, (signal, emitted) = jax.lax.scan(forth, LEVELS[bit], w)
        signals = jnp.concatenate([signal, end[None]])
        depth = len(signal)

        def accepted(joint):
            def on(x, each):
                w, stage = each
                return jnp.where(stage >= joint, run(w, x), x), None

            x, _ = jax.lax.scan(on, signals[joint] + offsets, (w, jnp.arange(depth)))
            wrong = (x > 2.5) != (bit == 1)
            return jnp.min(jnp.where(wrong, jnp.abs(offsets), 4.5))

        room = jax.vmap(accepted)(jnp.arange(depth + 1))
        return room[:-1], emitted, room[1:] - emitted

    both = jax.vmap(lambda w: jax.vmap(lambda bit: of(w, bit))(jnp.arange(2)))(w)
    return jnp.min(both[0], 1), jnp.max(both[1], 1), jnp.min(both[2], 1)


def spread(values) -> dict:
    """Mean and standard error over chains."""
    values = np.asarray(values, float)
    return {"value": values.mean(), "error": values.std(ddof=1) / np.sqrt(len(values))}


def trained(component, options: Options, key) -> list[dict]:
    """Chains trained at each depth, with and without the shared API."""
    gibbs = bx.compile(bx.Violation(shared_api(component, 0.0)), component.prior)
    model, rows = component.model, []
    print("  depth  API         as trained        repeated          parts exchanged   "
          "accepted  emitted  margin  API kept  passing")  # fmt: skip
    for depth in options.depths:
        keys = jax.random.split(jax.random.fold_in(key, depth), 6)
        begin = jax.vmap(jax.vmap(lambda k: gibbs.constrain(gibbs.sample_prior(k))))(
            jax.random.split(keys[0], (options.seeds, depth))
        )
        for name, margin in TRAINED.items():
            contract = shared_api(component, margin or 0.0)
            factor = jnp.asarray(0.0 if margin is None else options.penalty)
            w = train(contract, begin, keys[1], factor, options)
            place = jnp.arange(options.stages) % depth
            uses = {
                "trained": {p: jnp.moveaxis(x, 0, 1) for p, x in w.items()},
                "repeated": {p: jnp.moveaxis(x[:, place], 0, 1) for p, x in w.items()},
            }
            ends = {
                use: errors(model, stages, keys[3], options.sigma, options.passes)
                for use, stages in uses.items()
            }
            found = {use: spread(each) for use, each in ends.items()}
            # parts of systems that passed the test that there is: the API, or the whole at work
            held = np.asarray(jnp.all(keeps_all(contract, w), axis=1))
            passing = np.flatnonzero(
                np.asarray(ends["trained"]) <= PASS if margin is None else held
            )
            found["exchanged"] = exchanged(model, w, place, passing, options, keys[4])
            along = noise_margins(model, w, options.sigma)
            means = [spread(np.mean(a, axis=1)) for a in along]
            names = ("accepted", "emitted", "margin")
            rows.append(
                {
                    "depth": depth,
                    "api": name,
                    "kept": held.mean(),
                    "passing": len(passing) / options.seeds,
                }
                | found
                | dict(zip(names, means, strict=True))
                | {
                    f"{n} along": {"value": a.mean(0), "error": a.std(0) / np.sqrt(len(a))}
                    for n, a in zip(names, map(np.asarray, along), strict=True)
                }
            )
            said = "  ".join(f"{f['value']:.4f} ± {f['error']:.4f}" for f in found.values())
            print(f"  {depth:5d}  {name:10s}  {said}  {means[0]['value']:8.2f} "
                  f"{means[1]['value']:8.2f} {means[2]['value']:7.2f}  "
                  f"{rows[-1]['kept']:8.2f}  {rows[-1]['passing']:7.2f}",
                  flush=True)  # fmt: skip
    return rows


def exchanged(model, w, place, passing, options: Options, key) -> dict:
    """Bit error of long chains, each stage from a system of its own among those `passing`.

    Such chains share the systems, so the error is that of the systems: between two disjoint halves
    of them the means differ with four times the variance of the mean of all. Not a number where
    fewer than four pass.
    """
    if len(passing) < 4:
        return {"value": np.nan, "error": np.nan}

    def one(key, among):
        keys = jax.random.split(key)
        rows = jax.random.randint(keys[0], (options.stages, 200), 0, len(among))
        stages = {path: leaf[jnp.asarray(among)[rows], place[:, None]] for path, leaf in w.items()}
        return float(errors(model, stages, keys[1], options.sigma, 50).mean())

    gaps = []
    for i in range(8):
        keys = jax.random.split(jax.random.fold_in(key, i), 3)
        order = np.asarray(jax.random.permutation(keys[0], passing))
        half = len(order) // 2
        gaps.append((one(keys[1], order[:half]) - one(keys[2], order[half:])) ** 2)
    return {"value": one(key, passing), "error": np.sqrt(np.mean(gaps) / 4)}


def main(options: Options) -> None:
    """Draw, train, measure, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(
            options, components=("amplifier",), depths=(1, 4), seeds=8, steps=400, chains=500
        )
    keys = jax.random.split(jax.random.key(options.seed), 2 * len(options.components))
    found = {}
    for i, kind in enumerate(options.components):
        component = COMPONENTS[kind]()
        print(f"{kind}: {options.stages} stages drawn from the prior, σ = {options.sigma:g} V")
        drawn = from_prior(component, options, keys[2 * i])
        print(f"{kind}: trained end to end, {options.seeds} chains each")
        found[kind] = {"prior": drawn, "trained": trained(component, options, keys[2 * i + 1])}
    seconds = time.time() - began
    print(f"{seconds:.0f} s")
    save({"systems": found, "sigma": options.sigma, "seconds": seconds}, options.json)
    if options.figure is not None:
        draw(found, options.figure)


def draw(found: dict, path: Path) -> None:
    """Bit errors against depth in three uses, and the margins along the longest chain."""
    with bx.plot.panels(2 * len(found), 2, path=path) as grid:
        for axes, (kind, result) in zip(grid.reshape(-1, 4), found.items(), strict=True):
            rows = result["trained"]
            for name, marker in zip(TRAINED, "os^D", strict=False):
                mine = [row for row in rows if row["api"] == name]
                depth = [row["depth"] for row in mine]
                for ax, use in zip(axes, ("trained", "repeated", "exchanged"), strict=False):
                    value, error = (
                        np.array([row[use][k] for row in mine]) for k in ("value", "error")
                    )
                    ax.errorbar(depth, value, 1.96 * error, fmt=f"{marker}-", label=f"{name}, 95%")
                    ax.set(title=f"{kind}, {use}", xlabel="stages trained", ylim=(-0.02, 0.55))
                    ax.set_xscale("log", base=2)
                along = mine[-1]["margin along"]
                bars = 1.96 * np.asarray(along["error"])
                joints = np.arange(1, len(bars) + 1)
                axes[3].errorbar(
                    joints, along["value"], bars, fmt=f"{marker}-", label=f"{name}, 95%"
                )
            for ax in axes[:3]:
                ax.set_ylabel("bit error")
            axes[3].set(title=kind, xlabel="joint", ylabel="noise margin along the chain / V")
            axes[0].legend()


if __name__ == "__main__":
    main(tyro.cli(Options))
