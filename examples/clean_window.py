"""Where an intervention on a net is clean: a window of temperatures, and what hides harm in it.

In a net with four heads (see `planted_circuits.py`) the units that are most correlated with one
task are ablated. In the cold net this also harms the other heads, which use the same units. Is
there a window of temperatures in which the ablation still removes its task and harms nothing else?
The linear task can have one, since it outlives the others; the 3-parity (`--head 1`) has none. An
ablation takes noise away as well, which hides harm: the losses of the mean output show it.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _cli import Drawn, save

import boltzax as bx
from boltzax import cases, degrade


@dataclass
class Options(Drawn):
    """The net, and how long to run; `quick`: fewer models and temperatures."""

    head: int = 0  # The head whose task is removed
    units: int = 6  # How many of 24 units are ablated
    count: int = 12_800  # Models at each temperature, of 8 chains
    points: int = 24  # Temperatures
    fixed: bool = False  # Ablate the units that were chosen in the cooled net, in every model
    localisation: float | None = None  # That holds the posterior at the cooled net; None: global
    tolerance: float | None = None  # Damage that counts as none; None: a tenth of the greatest


def main(options: Options) -> None:
    """Cool a net, heat it, measure the window, print, write what was asked for."""
    chains, warmup = (4, 400) if options.quick else (8, 2000)
    options = replace(options, count=400, points=6) if options.quick else options
    net = cases.planted_net(24, key=jax.random.key(options.seed))
    kernel, x, y = bx.HMC(max_steps=24), jnp.asarray(net.x), jnp.asarray(net.y)
    target, names = y[:, options.head], list(cases.PLANTED_HEADS)
    removed, others = names.pop(options.head), np.delete(np.arange(4), options.head)

    def chosen(model):
        """A mask of the units most correlated with the target, without a look at the readout."""
        units = jax.vmap(lambda x: bx.activations(model, x, "units")["units"])(x)
        correlations = jnp.abs(target @ units)
        return correlations >= jnp.sort(correlations)[-options.units]

    def ablated(model):
        mask = cold_units if options.fixed else chosen(model)
        return bx.patched(model, {"units": bx.Ablate(mask)})

    def overlap(outputs):
        return outputs[:, options.head] @ target / (target @ target)

    def other_losses(outputs):
        return 0.5 * jnp.mean((outputs - y)[:, others] ** 2, axis=0)

    gibbs, few = net.gibbs(marginalise=False), {"chains": 2, "draws": 4, "throw": False}
    cold = bx.sample(gibbs.at(20.0), kernel, key=jax.random.key(1), warmup=warmup, **few)
    net = replace(net, model=cold.ensemble[0, -1].models())
    cold_units, held = chosen(net.model), {"localisation": options.localisation}
    dial = degrade.Tempered(kernel, chains=chains, warmup=300, throw=not options.quick, **held)
    found = degrade.clean_window(
        ablated, overlap, other_losses, dial, np.geomspace(1.0, 40.0, options.points),
        outputs=net.outputs, gibbs=net.gibbs(marginalise=False), key=jax.random.key(2),
        count=options.count, tolerance=options.tolerance,
    )  # fmt: skip
    print(f"{removed} removed; damage to {', '.join(names)}", found, sep="\n")
    print(f"clean net: effect {found.clean_effect:.3f}, damage {found.clean_damage.round(3)}")
    ends = dict(zip(("opens", "closes"), found.ends, strict=True))
    print("harmless from, effect persists to:", ends)
    save({"heads": names, "window": found, "windows": found.windows, "ends": ends}, options.json)
    with bx.plot.panels(path=options.figure) as (ax,):
        bx.plot.clean_window(found, names=names, ax=ax).set(xscale="log", xlabel="temperature")


if __name__ == "__main__":
    main(tyro.cli(Options))
