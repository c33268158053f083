"""Are channels scarce at initialisation, or modules? Spectra of random and of trained nets.

A tanh net learns a function of three of its ten inputs. At initialisation and after training, the
last hidden layer is measured against nulls of random matrices: how many directions carry its
covariance and lie beyond white noise, the regime of its units, and how many directions of the input
it depends on (the input side of its Jacobian; of a random Gaussian chain `1/Σ 1/width`). At a small
gain training closes the channels of the seven inputs that do not matter; at a large gain the net is
lazy, and most of them stay open.
"""

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import tyro
from _cli import Drawn, save

import boltzax as bx
from boltzax import channels, theory


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
    """Two layers of tanh with biases, the last with a name, and a linear readout."""

    layers: list[jax.Array]
    biases: list[jax.Array]

    def __init__(self, width: int, gain: float, key: jax.Array):
        shapes = [(width, 10), (width, width), (1, width)]
        pairs = zip(jax.random.split(key, 3), shapes, strict=True)
        self.layers = [gain * jax.random.normal(k, s) / s[1] ** 0.5 for k, s in pairs]
        self.biases = [jnp.zeros(width), jnp.zeros(width)]

    def __call__(self, x):
        hidden = jnp.tanh(self.layers[0] @ x + self.biases[0])
        last = bx.tap(jnp.tanh(self.layers[1] @ hidden + self.biases[1]), "last")
        return (self.layers[2] @ last)[0]


def target(x):
    """A function of three inputs."""
    return jnp.sin(2 * x[..., 0]) + x[..., 1] * x[..., 2]


def measured(model, x, units):
    """The last hidden layer of one net."""
    last = jax.vmap(lambda one: bx.activations(model, one, "last")["last"])(x)
    last = last[:, jnp.ptp(last, axis=0) > 1e-3]  # without saturated units
    return {
        "loss": float(0.5 * jnp.mean((jax.vmap(model)(x) - target(x)) ** 2)),
        "participation": channels.participation_ratio(last),
        "beyond": channels.covariance_spectrum(last, scaled=True).count,
        "regime": channels.classify_regime(last[:, :units]).verdict,
        "input_side": channels.jacobian_spectrum(model, x[:500], of="last").input_side,
    }


def main(options: Options) -> None:
    """Train nets of every gain and width, measure both ends, print, write what was asked for."""
    if options.quick:
        small = {"gains": (1.0, 3.0), "widths": (32,), "nets": 1, "data": 10_000, "test": 400}
        options = replace(options, steps=3000, units=12, **small)
    rng = np.random.default_rng(options.seed)
    data, x = (jnp.asarray(rng.normal(size=(n, 10))) for n in (options.data, options.test))
    measure = bx.Subsampled(bx.Empirical((data, target(data))), 128)
    rows, curves = [], {}
    _, axes = plt.subplots(1, len(options.widths), figsize=(8, 3.4), layout="constrained")
    for ax, width in zip(np.atleast_1d(axes), options.widths, strict=True):
        sides = {"init": [], "trained": []}
        for gain in options.gains:
            for key in jax.random.split(jax.random.key(options.seed), options.nets):
                energy = bx.SquaredError(Net(width, gain, key), measure)
                nets = bx.trained(energy, optax.adam(3e-3), [0, options.steps], key=key)
                for stage, net in zip(sides, nets, strict=True):
                    row = {"width": width, "gain": gain, "stage": stage}
                    rows.append(row | measured(net, x, options.units))
                    print(", ".join(f"{k} {v:.3g}" if k not in ("stage", "regime") else v
                                    for k, v in rows[-1].items()))  # fmt: skip
            for stage, points in sides.items():
                one = [r["input_side"] for r in rows
                       if (r["width"], r["gain"], r["stage"]) == (width, gain, stage)]  # fmt: skip
                values = np.array([float(each.value) for each in one])
                points.append(bx.Estimate.of_replicates(values) if len(one) > 1 else one[0])
        null = theory.chain_participation((10, width, width))
        for (stage, points), color in zip(sides.items(), ("#1f6fb4", "#d9661f"), strict=True):
            curve = bx.Curve(options.gains, bx.Estimate.stack(points), axis="gain")
            curves[f"{stage}, width {width}"] = curve
            bx.plot.curve(curve, ax=ax, label=stage, color=color)
        ax.axhline(null, color="0.4", linestyle="--", label="random linear chain")
        ax.axhline(3, color="0.4", linestyle=":", label="three inputs")
        ax.set(title=f"width {width}", ylabel="inputs that count (95% bands)", ylim=(0, 10.5))
        ax.legend(frameon=False, fontsize="small")
    for name, curve in curves.items():
        print(f"input side, {name}: {curve.values:.2f}")
    save({"rows": rows, "input_side": curves}, options.json)
    if options.figure:
        ax.figure.savefig(options.figure, dpi=200)


if __name__ == "__main__":
    main(tyro.cli(Options))
