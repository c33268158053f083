"""Which channels form in nets, and whether unintended ones come along.

Nets are trained in environments where two far-apart places share a bit more or less. The example
measures what the states at each place tell of the shared bit, and of a private bit of the first
place, which nothing pays for far away; how natural a latent the state on the way is; and whether,
over the prior of the nets, the channel of the private bit goes with that of the shared one. Systems
with a known coupling come first.
"""

from dataclasses import dataclass, replace

import jax
import optax
import tyro
from _cli import Drawn, save

import boltzax as bx
from boltzax import cases, channels


@dataclass
class Options(Drawn):
    """The environments, and how long to run; `quick`: two environments, few nets and steps."""

    flips: tuple[float, ...] = (0.5, 0.4, 0.3, 0.2, 0.1)  # 1/2: no mutual information
    places: int = 4  # Of the environment and of the net
    width: int = 6  # Units at each place
    noise: float = 0.2  # Of each unit
    nets: int = 24  # Trainings in each environment
    steps: int = 4000  # Of each training
    decay: float = 0.01  # Of the weights
    draws: int = 4000  # Nets of the prior


def main(options: Options) -> None:
    """Couple known systems, train, couple nets, print, write what was asked for."""
    if options.quick:
        options = replace(options, flips=(0.5, 0.1), nets=4, steps=1500, draws=300)
    key, results, formed = jax.random.key(options.seed), {}, []
    toys = {
        "2 of 5 wires shared": cases.shared_wires(2, 3),
        "at an angle of 0.7": cases.overlapping_channels(0.7),
        "rivals": cases.rival_channels(2, 3),
    }
    for name, toy in toys.items():
        nets = bx.Ensemble.prior(toy.prior, 10 * options.draws, key=key)
        found = channels.channel_coupling(nets, toy.intended, toy.unintended)
        print(f"{name}: exact {toy.derivative:.4f}\n{found}")
        results[name] = {"exact": toy.derivative, "derivative": found.derivative}
    for flip in options.flips:
        system = cases.far_places(options.places, options.width, flip=flip, noise_sd=options.noise)
        optimiser = optax.adamw(0.01, weight_decay=options.decay)
        nets = cases.far_channels(system, optimiser, options.steps, nets=options.nets, key=key)
        formed.append(nets)
        print(f"flip {flip}: {nets}")
        results[f"flip {flip}"] = {
            "information": nets.information, "shared": nets.shared, "private": nets.private,
            "shared_before": nets.shared_before, "private_before": nets.private_before,
            "far_loss": nets.far_loss, "mediation": nets.latent.mediation,
            "redundancy": nets.latent.redundancy,
        }  # fmt: skip
    strengths = [system.told(wire, key=jax.random.key(1)) for wire in (0, 1)]
    nets = bx.Ensemble.prior(system.prior, options.draws, key=key)
    found = channels.channel_coupling(nets, *strengths)
    print(f"the shared and the private bit at the last place, over the prior\n{found}")
    results["prior"] = {"derivative": found.derivative, "correlation": found.correlation}
    save(results, options.json)
    with bx.plot.panels(path=options.figure) as (ax,):
        for nets in formed:
            label = f"bit, {nets.information:.2f} nats in the environment"
            bx.plot.curve(nets.shared, ax=ax, label=f"shared {label}", name="told by state / nats")
            bx.plot.curve(nets.private, ax=ax, label=f"private {label}")


if __name__ == "__main__":
    main(tyro.cli(Options))
