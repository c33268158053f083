"""Where an intervention on a net is clean: a window of temperatures, and what hides harm in it.

In a net with four heads (a linear task, parities of 3 and 5 bits, labels at random) the units that
are most correlated with one task are ablated. In the cold net this also harms the other heads,
which use the same units. As the temperature rises tasks die one after the other; the example asks
whether there is a window in which the ablation still removes its task and harms nothing else. The
linear task outlives the others, so that it can have one; the 3-parity (`--head 1`) has none, since
the linear task lives on beside it.
An ablation takes the noise of its units away as well, which hides harm in the losses of single
models: the losses of the mean output show it.
"""

import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _cli import save, table

import boltzax as bx
from boltzax import cases, degrade


@dataclass
class Options:
    """The net, and how long to run."""

    hidden: int = 24
    """Units of the hidden layer."""
    head: int = 0
    """The head whose task is removed."""
    units: int = 6
    """How many units are ablated."""
    chains: int = 8
    """Chains at each temperature."""
    count: int = 3200
    """Models at each temperature."""
    tolerance: float | None = None
    """Damage to the mean loss of a head that counts as none; a tenth of the greatest if None."""
    seed: int = 0
    """Seed of all randomness."""
    quick: bool = False
    """Fewer models."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw effect and damage."""


class AblateCircuit(eqx.Module):
    """Set the units that are most correlated with a target to zero.

    They are chosen without a look at the readout. Units chosen by what they add to the overlap
    would have an effect in a dead net too, by the choice alone.
    """

    x: jax.Array
    target: jax.Array
    count: int = eqx.field(static=True)

    def __call__(self, model):
        def units(x):
            return bx.activations(model, x, "units")["units"]

        correlation = jnp.abs(self.target @ jax.vmap(units)(self.x))
        chosen = jnp.argsort(jnp.argsort(-correlation)) < self.count
        return bx.patched(model, {"units": bx.Ablate(chosen)})


class Overlap(eqx.Module):
    """`f·y/|y|²` of one head."""

    target: jax.Array
    head: int = eqx.field(static=True)

    def __call__(self, outputs):
        return outputs[:, self.head] @ self.target / (self.target @ self.target)


class OtherLosses(eqx.Module):
    """The mean loss of each other head."""

    y: jax.Array
    head: int = eqx.field(static=True)

    def __call__(self, outputs):
        losses = 0.5 * jnp.mean((outputs - self.y) ** 2, axis=0)
        return jnp.delete(losses, self.head, assume_unique_indices=True)


def main(options: Options) -> None:
    """Cool a net, heat it, measure the window, print, write what was asked for."""
    began = time.time()
    if options.quick:
        options = replace(options, chains=4, count=200)
    net = cases.planted_net(options.hidden, key=jax.random.key(options.seed))
    gibbs = net.gibbs(marginalise=False)
    kernel = bx.HMC(max_steps=24)
    cold = bx.sample(
        gibbs.at(20.0), kernel, key=jax.random.key(1), chains=2, draws=4, throw=False,
        warmup=400 if options.quick else 2000,
    )  # fmt: skip
    model = gibbs.model({path: leaf[0, -1] for path, leaf in cold.w.items()})
    net = replace(net, model=model)
    target = jnp.asarray(net.y[:, options.head])
    dial = degrade.Tempered(kernel, chains=options.chains, warmup=300, throw=not options.quick)
    found = degrade.clean_window(
        AblateCircuit(jnp.asarray(net.x), target, options.units),
        Overlap(target, options.head),
        OtherLosses(jnp.asarray(net.y), options.head),
        dial,
        np.geomspace(0.1, 40.0, 6 if options.quick else 16),
        outputs=net.outputs,
        gibbs=net.gibbs(marginalise=False),
        key=jax.random.key(2),
        count=options.count,
        tolerance=options.tolerance,
    )
    print(f"{cases.PLANTED_HEADS[options.head]} removed; others {others(options)}")
    print(f"clean net: effect {found.clean_effect:.3f}, damage {found.clean_damage.round(3)}")
    print(found)
    columns = {"temperature": found.effect.x, "effect": found.effect.value}
    for i, name in enumerate(others(options)):
        columns[name] = found.damage.value[:, i]
        columns[f"{name}, mean output"] = found.damage_of_mean.value[:, i]
    print(table(columns))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{time.time() - began:.1f} s, {peak:.0f} MiB")
    save(
        {
            **columns,
            "verdicts": list(found.verdicts),
            "windows": [list(window) for window in found.windows],
            "clean_damage": found.clean_damage,
            "denoising": found.denoising.value,
            "denoising_error": found.denoising.standard_error,
            "seconds": time.time() - began,
            "peak_MiB": peak,
        },
        options.json,
    )
    if options.figure is not None:
        draw(found, others(options), options.figure)


def others(options: Options) -> list[str]:
    """The heads that are to be left alone."""
    return [name for i, name in enumerate(cases.PLANTED_HEADS) if i != options.head]


def draw(found: degrade.CleanWindow, names: list[str], path: Path) -> None:
    """The share of the effect above; the damages below, of single models and of the mean output."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.8, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True)
    share = found.effect.scaled(1 / float(found.clean_effect))
    bx.plot.curve(share, ax=upper)
    upper.axhline(found.persists, color="0.7")
    upper.set(ylabel="share of the clean effect", xlabel="")
    for i, name in enumerate(names):
        bx.plot.curve(found.damage[:, i], ax=lower, color=f"C{i}", label=name)
        style = {"color": f"C{i}", "ls": "--", "lw": 1}
        lower.plot(found.damage_of_mean.x, found.damage_of_mean.value[:, i], **style)
    lower.axhline(found.tolerance, color="0.7")
    lower.set(xscale="log", xlabel="temperature", ylabel="damage (dashed: mean output)")
    for low, high in found.windows:
        for axes in (upper, lower):
            axes.axvspan(low, high, color="C2", alpha=0.12, lw=0)
    lower.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=160)


if __name__ == "__main__":
    main(tyro.cli(Options))
