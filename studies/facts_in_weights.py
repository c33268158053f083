"""Facts in weights: which parts of a net are free on data that do not need them.

Two nets learn the same facts. Each fact is a key and a linear function of a context, on top of a
function of the context that all facts share. The first net has a bank of weights for each key
beside a trunk, so that it is known where a fact is stored; the second is one dense layer of tanh
units.

For each fact: how much of the prior gets it right to within ε, `H_s(ε)`, with `dH_s/d log ε`; which
weights its data pin at the trained weights; and what only this fact pins, `h_all - h_others`: the
weights that become free when it is left out. In the first net these should be the fact's own bank.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import tyro

import boltzax as bx
from boltzax.core import weights_of
from examples._cli import Drawn, save, table


@dataclass
class Options(Drawn):
    """The data, the nets, and how long to run.

    Quick: fewer data and particles, larger tolerances.
    """

    sizes: tuple[int, ...] = (2, 3, 4)
    """Number of data of each fact."""
    context: int = 6
    """Dimension of the context."""
    trunk: int = 4
    """Units of the shared trunk."""
    width: int = 8
    """Units of the dense net."""
    smallest: float = 0.03
    """Smallest tolerance of the curves."""
    particles: int = 256
    """Particles of a run of splitting."""
    moves: int = 12
    """Moves at each level."""
    tolerance: float = 0.1
    """Size of an error in the overlaps."""


class Library(eqx.Module):
    """`f(key, c) = Σ_m key_m bank_m·c + trunk(c)`."""

    banks: tuple[jax.Array, ...]
    trunk: bx.models.TwoLayer

    def __call__(self, x):
        keys, context = x[: len(self.banks)], x[len(self.banks) :]
        recalled = jnp.stack([bank @ context for bank in self.banks])
        return keys @ recalled + self.trunk(context)


def main(options: Options) -> None:
    """Train, measure, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(options, sizes=(1, 2, 2), smallest=0.1, particles=96, moves=5)
    facts = len(options.sizes)
    keys = jax.random.split(jax.random.key(options.seed), 8)
    owner = np.repeat(np.arange(facts), options.sizes)
    context = jax.random.normal(keys[0], (len(owner), options.context))
    x = jnp.concatenate([jnp.eye(facts)[owner], context], axis=1)
    rules = jax.random.normal(keys[1], (facts, options.context)) / options.context**0.5
    y = jnp.sum(rules[owner] * context, axis=1) + 0.5 * jnp.tanh(context[:, 0])
    subsets = {f"fact {m}": np.flatnonzero(owner == m) for m in range(facts)}
    subsets["all"] = np.arange(len(owner))

    bank_keys = jax.random.split(keys[2], facts)
    banks = tuple(0.3 * jax.random.normal(k, (options.context,)) for k in bank_keys)
    trunk = bx.models.TwoLayer(options.trunk, jnp.tanh, dim=options.context, key=keys[3])
    dense = bx.models.TwoLayer(options.width, jnp.tanh, dim=x.shape[1], key=keys[4])
    results = {}
    for name, start in {"library": Library(banks, trunk), "dense": dense}.items():
        model, loss = train(start, x, y)
        results[name] = measure(name, model, x, y, subsets, options, keys[5]) | {"loss": loss}
    seconds = time.time() - began
    print(f"{seconds:.1f} s")
    save({**results, "seconds": seconds}, options.json)
    if options.figure is not None:
        draw(results, list(subsets), options.figure)


@eqx.filter_jit
def train(model, x, y, steps: int = 60):
    """Levenberg-Marquardt: the net and its sum of squares."""
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    start, unravel = jax.flatten_util.ravel_pytree(weights)

    def residual(w):
        return jax.vmap(eqx.combine(unravel(w), rest))(x) - y

    def step(carry, _):
        w, damping = carry
        jacobian, r = jax.jacobian(residual)(w), residual(w)
        gram = jacobian @ jacobian.T + damping * jnp.eye(len(y))
        new = w - jacobian.T @ jnp.linalg.solve(gram, r)
        better = jnp.sum(residual(new) ** 2) < jnp.sum(r**2)
        damping = jnp.clip(jnp.where(better, damping / 3, damping * 4), 1e-12, 1e6)
        return (jnp.where(better, new, w), damping), None

    (w, _), _ = jax.lax.scan(step, (start, jnp.asarray(1e-2)), length=steps)
    return eqx.combine(unravel(w), rest), jnp.sum(residual(w) ** 2)


def measure(name: str, model, x, y, subsets: dict, options: Options, key) -> dict:
    """Curves, pinned weights and overlaps of one net."""
    tolerances = np.geomspace(1.0, options.smallest, 7)
    curves = bx.interfaces.subset_entropy(
        model,
        bx.Normal(),
        x,
        y,
        subsets,
        tolerances,
        key=key,
        particles=options.particles,
        moves=options.moves,
        throw=False,
    )
    total = sum(leaf.size for leaf in weights_of(model).values())
    print(f"\n{name}: {total} weights")
    print(curves)
    facts = [s for s in subsets if s != "all"]
    shares = {
        s: bx.interfaces.free_directions(model, x, subset=subsets[s]).share() for s in subsets
    }
    print("share of the weights of each leaf that a subset pins")
    print("   ", list(subsets))
    for path in shares["all"]:
        print(f"    {path:16s}", " ".join(f"{float(shares[s][path]):6.3f}" for s in subsets))
    whole = bx.interfaces.free_directions(model, x)
    private = {s: only(model, x, subsets[s], whole) for s in facts}
    home = [f"banks[{m}]" for m in range(len(facts))]
    moves = [moved(model, x, subsets[s], whole) for s in facts]
    rows = {
        "fact": range(len(facts)),
        "data": [len(subsets[s]) for s in facts],
        "only it pins": [sum(float(jnp.sum(h)) for h in private[s].values()) for s in facts],
        "over weights": [spread(private[s]) for s in facts],
        "in own bank": [
            own(private[s], path) if path in private[s] else np.nan
            for s, path in zip(facts, home, strict=True)
        ],
        "moved others": [others for others, _ in moves],
        "moved own": [its for _, its in moves],
    }
    print("directions that only this fact pins, and what a step of 0.01 along them moves")
    print(table(rows))
    shared = bx.interfaces.overlap(
        model, x, {s: subsets[s] for s in facts}, tolerance=options.tolerance
    )
    print(shared)
    together = curves.interaction("all", facts)
    print(f"H(all) - Σ H(fact) at the smallest tolerance: {together[-1]}")
    return {
        "tolerances": curves.tolerances,
        "entropy": curves.entropy.value,
        "entropy_error": curves.entropy.standard_error,
        "dimension": curves.dimension.value,
        "dimension_error": curves.dimension.standard_error,
        "interaction": together.value,
        "interaction_error": together.standard_error,
        "shares": shares,
        "private": {s: jnp.concatenate([jnp.ravel(h) for h in private[s].values()]) for s in facts},
        "leaves": {path: leaf.size for path, leaf in weights_of(model).items()},
        "rank_overlap": shared.rank,
        "information_overlap": shared.information,
        **{column: list(values) for column, values in rows.items()},
    }


def only(model, x, rows, whole) -> dict:
    """`h_all - h_others` of each weight: what becomes free without these data."""
    others = np.setdiff1d(np.arange(len(x)), rows)
    rest = bx.interfaces.free_directions(model, x, subset=others).leverage()
    return {path: h - rest[path] for path, h in whole.leverage().items()}


def spread(private: dict) -> float:
    """`(Σh)²/Σh²`: over how many weights it is spread."""
    flat = np.concatenate([np.ravel(h) for h in private.values()])
    return float(flat.sum() ** 2 / np.sum(flat**2))


def own(private: dict, path: str) -> float:
    """The part of it in one leaf."""
    return float(jnp.sum(private[path]) / sum(jnp.sum(h) for h in private.values()))


def moved(model, x, rows, whole, size: float = 0.01) -> tuple[float, float]:
    """Root mean square change of the outputs on the other data and on these, for a step along the
    directions that only these data pin."""
    others = np.setdiff1d(np.arange(len(x)), rows)
    rest = bx.interfaces.free_directions(model, x, subset=others)
    a, b = whole.directions[: int(whole.rank)], rest.directions[: int(rest.rank)]
    start = jnp.ones(a.shape[0]) @ a
    step = start - (start @ b.T) @ b
    flat, unravel = jax.flatten_util.ravel_pytree(eqx.filter(model, eqx.is_inexact_array))
    there = eqx.combine(unravel(flat + size * step / jnp.linalg.norm(step)), model)
    change = np.asarray(jax.vmap(there)(x) - jax.vmap(model)(x))
    return float(np.sqrt(np.mean(change[others] ** 2))), float(np.sqrt(np.mean(change[rows] ** 2)))


def draw(results: dict, names: list[str], path: Path) -> None:
    """The curves above, the private leverages below."""
    with bx.plot.panels(2, 2, path=path) as axes:
        for column, (name, found) in zip(axes.reshape(2, 2).T, results.items(), strict=True):
            rows = zip(names, found["entropy"], found["entropy_error"], strict=True)
            for (label, h, error), marker in zip(rows, "os^DvP*X" * len(names), strict=False):
                style = {"fmt": f"{marker}-", "label": f"{label}, 95%"}
                column[0].errorbar(found["tolerances"], h, 1.96 * error, **style)
            column[0].set(xscale="log", xlabel="tolerance ε", ylabel="$H_s$ / nats", title=name)
            column[0].legend()
            image = np.stack([np.asarray(h) for h in found["private"].values()])
            column[1].imshow(image, aspect="auto", cmap="Blues", vmin=0, interpolation="nearest")
            edges = np.cumsum(list(found["leaves"].values()))
            for edge in edges[:-1]:
                column[1].axvline(edge - 0.5, color="0.6", lw=0.6)
            middles = edges - np.array(list(found["leaves"].values())) / 2 - 0.5
            column[1].set_xticks(middles, list(found["leaves"]), rotation=20)
            column[1].set_yticks(range(len(image)), list(found["private"]))
            column[1].set(xlabel="weight", ylabel="fact", title="weights that only this fact pins")


if __name__ == "__main__":
    main(tyro.cli(Options))
