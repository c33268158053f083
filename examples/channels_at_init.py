"""Are channels scarce at initialisation, or modules? Spectra of random and of trained nets.

A tanh net learns a function of three of its ten inputs. Of its last hidden layer: the spectrum, the
regime, and on how many inputs it depends (a random Gaussian chain: `1/Σ 1/width`).
"""

from dataclasses import dataclass, replace
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _cli import Drawn, save

import boltzax as bx


@dataclass
class Options(Drawn):
    """The nets; `quick`: two gains, one small width, fewer data and steps."""

    gains: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0)  # Weights are N(0, gain²/inputs)
    widths: tuple[int, ...] = (64, 256)  # Of both hidden layers
    nets: int = 4  # Nets of each gain and width
    data: int = 50_000  # Inputs of the training
    test: int = 2000  # Inputs at which spectra are measured
    steps: int = 6000  # Of Adam, of 128 inputs each
    units: int = 24  # Units whose regime is classified


class Net(eqx.Module):
    layers: list[jax.Array]
    biases: list[jax.Array]

    def __call__(self, x):
        hidden = jnp.tanh(self.layers[0] @ x + self.biases[0])
        last = bx.tap(jnp.tanh(self.layers[1] @ hidden + self.biases[1]), "last")
        return (self.layers[2] @ last)[0]

    def measured(self, x, units):
        last = np.asarray(bx.channels.read_taps(self, x, "last")["last"])
        last = last[:, np.ptp(last, axis=0) > 1e-3]  # without saturated units
        beyond = bx.channels.covariance_spectrum(last, scaled=True).count
        regime = bx.channels.classify_regime(last[:, :units]).verdict
        inputs = bx.channels.jacobian_spectrum(self, x[:500], of="last").input_side
        ratio = bx.channels.participation_ratio(last)
        return {"participation": ratio, "beyond": beyond, "regime": regime, "input_side": inputs}


def main(o: Options) -> None:
    """Train nets of every gain and width, measure both ends, print, write what was asked for."""
    if o.quick:
        o = replace(o, gains=(1.0, 3.0), widths=(32,), nets=1, data=10_000, test=400)
        o = replace(o, steps=3000, units=12)
    rows, keys = {}, jax.random.split(jax.random.key(o.seed), o.nets)
    data, x = jnp.split(np.random.default_rng(o.seed).normal(size=(o.data + o.test, 10)), [o.data])
    labels = jnp.sin(2 * data[:, 0]) + data[:, 1] * data[:, 2]
    measure, rate = bx.Subsampled(bx.Empirical((data, labels)), 128), optax.adam(3e-3)
    for width, gain, key in product(o.widths, o.gains, keys):
        pairs = zip(jax.random.split(key, 3), ((width, 10), (width, width), (1, width)))
        layers = [gain * jax.random.normal(k, s) / s[1] ** 0.5 for k, s in pairs]
        energy = bx.SquaredError(Net(layers, [jnp.zeros(width)] * 2), measure)
        for stage, net in zip(("init", "trained"), bx.trained(energy, rate, [0, o.steps], key=key)):
            rows.setdefault(f"{stage}, width {width}", []).append(net.measured(x, o.units))
            print(stage, width, gain, rows[f"{stage}, width {width}"][-1])
    with bx.plot.panels(path=o.figure) as (ax,):
        for name, found in rows.items():
            sides = np.reshape([row["input_side"].value for row in found], (-1, o.nets)).T
            curve = bx.Curve(o.gains, bx.Estimate.of_replicates(sides), axis="gain")
            bx.plot.curve(curve, ax=ax, label=name, name="inputs that count")
            print(f"inputs that count, {name}: {curve.values:.2f}")
    save(rows, o.json)


if __name__ == "__main__":
    main(tyro.cli(Options))
