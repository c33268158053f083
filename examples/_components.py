"""Components of a digital circuit, with priors over their weights; signals from 0 to 5 V."""

import equinox as eqx
import jax
import jax.numpy as jnp

import boltzax as bx


class Amplifier(eqx.Module):
    """`5 σ(gain (x - 2.5) + bias)` volts."""

    gain: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(()))
    bias: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(()))

    def __call__(self, x):
        return 5 * jax.nn.sigmoid(self.gain * (x[0] - 2.5) + self.bias)


class Net(eqx.Module):
    """The same volts from a tanh net 1-8-1."""

    into: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(8))
    bias: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(8))
    out: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(8))
    last: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(()))

    def __call__(self, x):
        hidden = jnp.tanh(self.into * (x[0] - 2.5) + self.bias)
        return 5 * jax.nn.sigmoid(jnp.sum(self.out * hidden) + self.last)


COMPONENTS = {
    "amplifier": bx.Component(
        Amplifier(), bx.Independent(gain=bx.Normal(1.0, 2.0), bias=bx.Normal(0.0, 2.0))
    ),
    "mlp": bx.Component(
        Net(),
        bx.Independent(
            into=bx.Normal(0.3, 1.0), bias=bx.Normal(), out=bx.Normal(0.5, 1.5), last=bx.Normal()
        ),
    ),
}
