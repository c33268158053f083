"""Nets that know handwritten digits by heart, some of them with wrong labels, and six dials."""

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _cli import Drawn
from sklearn.datasets import load_digits

import boltzax as bx
from boltzax import degrade


@dataclass
class Digits(Drawn):
    """Nets and dials; `quick`: fewer data, units, nets and draws."""

    data: int = 600  # Number of training data; the rest of the 1797 are held out
    wrong: float = 0.1  # Share of the training data that get another label at random
    width: int = 32  # Hidden units
    nets: int = 6  # Nets, each with its own data, wrong labels and start
    steps: int = 2000  # Steps of Adam
    localisation: float = 1.0  # Strength γ that holds the tempered posterior at the trained net
    count: int = 128  # Degraded models at each setting of a dial, and draws of each chain
    warmup: int = 150  # Steps of each chain that are left out
    points: int = 8  # Settings of each dial

    def sized(self):
        """The same, smaller if `quick`."""
        small = {"data": 200, "width": 16, "nets": 3, "steps": 600, "count": 64, "warmup": 80}
        return replace(self, points=6, **small) if self.quick else self


class Learned(eqx.Module):
    """A trained net: its energy on the training data and on held-out ones."""

    energy: bx.CrossEntropy
    held_out: bx.CrossEntropy
    wrong: np.ndarray  # Which labels are wrong, `[datum]`
    checkpoints: list
    keys: jax.Array

    @property
    def gibbs(self) -> bx.Gibbs:
        """The posterior."""
        return bx.compile(self.energy, bx.Normal())

    def survival(self, model) -> jax.Array:
        """The probability that a model gives each label, `[datum]`."""
        x, label = self.energy.measure.data
        return jax.nn.softmax(jax.vmap(model)(x))[jnp.arange(len(label)), label]


def learned(options: Digits, number: int) -> Learned:
    """One of the nets, after training."""
    rng, key = np.random.default_rng((options.seed, number)), jax.random.key(options.seed)
    keys, n = jax.random.split(jax.random.fold_in(key, number), 4), options.data
    images, digits = load_digits(return_X_y=True)
    order = rng.permutation(len(digits))
    x, digits = jnp.asarray(images[order] / 16, jnp.float32), digits[order]
    wrong = np.arange(n) < options.wrong * n
    label = np.where(wrong, (digits[:n] + rng.integers(1, 10, n)) % 10, digits[:n])
    net = eqx.nn.MLP(64, 10, options.width, 1, jnp.tanh, key=keys[0])
    data, held_out = bx.Empirical((x[:n], label)), bx.Empirical((x[n:], digits[n:]))
    steps = options.steps // 20 * np.arange(1, 21)
    checkpoints = bx.trained(bx.CrossEntropy(net, data), optax.adam(0.01), steps)
    energies = (bx.CrossEntropy(checkpoints[-1], each) for each in (data, held_out))
    return Learned(*energies, wrong, checkpoints, keys)


def along_dials(net: Learned, options: Digits) -> dict[str, bx.Curve]:
    """The survival of each label, `[setting, datum]`, along each dial from weak to strong."""
    held = {"localisation": options.localisation, "chains": 4, "warmup": options.warmup}
    points, steps = options.points, options.steps // 20 * np.arange(1, 21)
    dials = {
        "tempering": (degrade.Tempered(**held, throw=False), np.geomspace(0.02, 10, points)),
        "weight noise": (degrade.WeightNoise(), np.geomspace(0.05, 1.5, points)),
        "activation noise": (degrade.ActivationNoise("activation"), np.geomspace(0.1, 5, points)),
        "pruning": (degrade.Pruning(), np.linspace(0.1, 0.8, points)),
        "quantisation": (degrade.Quantisation(), np.linspace(6, 2, points)),
        "checkpoints": (degrade.Snapshots(net.checkpoints, steps), steps[::-1]),
    }
    return {
        name: degrade.along_dial(
            dial, places, net.survival, gibbs=net.gibbs, key=net.keys[1], count=options.count
        )
        for name, (dial, places) in dials.items()
    }
