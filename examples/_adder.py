"""A net with square units that learns to add modulo a number from a part of the table."""

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _cli import Drawn

import boltzax as bx


@dataclass
class Adding(Drawn):
    """Task and training; `quick`: a smaller modulus, fewer checkpoints."""

    modulus: int = 53  # Numbers are added modulo this one
    share: float = 0.35  # Share of the pairs that are trained on
    width: int = 128  # Square units
    learning_rate: float = 0.003  # Of AdamW
    weight_decay: float = 1.0  # Of AdamW
    checkpoints: tuple[int, ...] = (100, 200, 300, 400, 600, 800, 1200, 2000, 4000)
    """Steps of AdamW after which the net is measured."""

    def sized(self):
        """The same, smaller if `quick`."""
        small = {"modulus": 23, "share": 0.5, "width": 64}
        few = (50, 100, 200, 400, 800, 2000)
        return replace(self, checkpoints=few, **small) if self.quick else self


class Adder(eqx.Module):
    """`V (A e_a + B e_b)²` of a pair (a, b), e_a the unit vectors."""

    first: jax.Array
    second: jax.Array
    readout: jax.Array

    def __call__(self, pair):
        return self.readout @ (self.first[:, pair[0]] + self.second[:, pair[1]]) ** 2


class Learned(eqx.Module):
    """The nets at the checkpoints, and the energies on trained and held-out pairs."""

    models: list
    trained: bx.SquaredError
    held_out: bx.SquaredError

    def accuracies(self, model) -> jax.Array:
        """Shares of trained and of held-out pairs that a model adds rightly."""
        right = []
        for energy in (self.trained, self.held_out):
            pairs, targets = energy.measure.data
            sums = jnp.argmax(jax.vmap(model)(pairs), axis=-1)
            right.append(jnp.mean(sums == jnp.argmax(targets, axis=-1)))
        return jnp.stack(right)


def learned(options: Adding) -> Learned:
    """Train a net, and keep its checkpoints."""
    p, width, rng = options.modulus, options.width, np.random.default_rng(options.seed)
    pairs = rng.permutation(np.argwhere(np.ones((p, p), bool)))
    targets = np.eye(p, dtype=np.float32)[pairs.sum(axis=1) % p]
    n = int(options.share * len(pairs))
    shapes = ((width, p), (width, p), (p, width))
    net = Adder(*(0.2 * rng.normal(size=shape).astype(np.float32) for shape in shapes))
    energy = bx.SquaredError(net, bx.Empirical((pairs[:n], targets[:n])))
    held_out = bx.SquaredError(net, bx.Empirical((pairs[n:], targets[n:])))
    adamw = optax.adamw(options.learning_rate, weight_decay=options.weight_decay)
    return Learned(bx.trained(energy, adamw, options.checkpoints), energy, held_out)
