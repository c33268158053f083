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

    hidden: int = 24  # Units of the hidden layer
    head: int = 0  # The head whose task is removed
    units: int = 6  # How many units are ablated
    chains: int = 8  # Chains at each temperature
    count: int = 12_800  # Models at each temperature
    points: int = 24  # Temperatures
    fixed: bool = False  # Ablate the units that were chosen in the cooled net, in every model
    localisation: float | None = None
    """Strength that holds the posterior at the cooled net; the global posterior if None."""
    tolerance: float | None = None
    """Damage to the mean loss of a head that counts as none; a tenth of the greatest if None."""


def main(options: Options) -> None:
    """Cool a net, heat it, measure the window, print, write what was asked for."""
    if options.quick:
        options = replace(options, chains=4, count=400, points=6)
    net = cases.planted_net(options.hidden, key=jax.random.key(options.seed))
    kernel, x, y = bx.HMC(max_steps=24), jnp.asarray(net.x), jnp.asarray(net.y)
    target = y[:, options.head]
    others = [i for i in range(len(cases.PLANTED_HEADS)) if i != options.head]

    def chosen(model):
        """The units that are most correlated with the target, as a mask.

        They are chosen without a look at the readout. Units chosen by what they add to the overlap
        would have an effect in a dead net too, by the choice alone.
        """
        units = jax.vmap(lambda x: bx.activations(model, x, "units")["units"])(x)
        correlations = jnp.abs(target @ units)
        return correlations >= jnp.sort(correlations)[-options.units]

    def ablated(model):
        mask = cold_units if options.fixed else chosen(model)
        return bx.patched(model, {"units": bx.Ablate(mask)})

    def overlap(outputs):
        return outputs[:, options.head] @ target / (target @ target)

    def other_losses(outputs):
        return 0.5 * jnp.mean((outputs - y)[:, np.array(others)] ** 2, axis=0)

    cold = bx.sample(
        net.gibbs(marginalise=False).at(20.0), kernel, key=jax.random.key(1), chains=2, draws=4,
        warmup=400 if options.quick else 2000, throw=False,
    )  # fmt: skip
    net = replace(net, model=cold.ensemble[0, -1].models())
    cold_units = chosen(net.model)
    found = degrade.clean_window(
        ablated, overlap, other_losses,
        degrade.Tempered(
            kernel, localisation=options.localisation, chains=options.chains, warmup=300,
            throw=not options.quick,
        ),
        np.geomspace(1.0, 40.0, options.points),
        outputs=net.outputs, gibbs=net.gibbs(marginalise=False), key=jax.random.key(2),
        count=options.count, tolerance=options.tolerance,
    )  # fmt: skip
    names = [cases.PLANTED_HEADS[i] for i in others]
    print(f"{cases.PLANTED_HEADS[options.head]} removed; damage to {', '.join(names)}")
    print(f"clean net: effect {found.clean_effect:.3f}, damage {found.clean_damage.round(3)}")
    print(found)
    opens, closes = found.ends
    print(f"harmless from temperature {opens}\neffect persists to temperature {closes}")
    results = {"heads": names, "window": found, "windows": found.windows}
    save(results | {"ends": {"opens": opens, "closes": closes}}, options.json)
    if options.figure is not None:
        axes = bx.plot.clean_window(found, names=names)
        axes.set(xscale="log", xlabel="temperature")
        axes.figure.savefig(options.figure, dpi=160)


if __name__ == "__main__":
    main(tyro.cli(Options))
