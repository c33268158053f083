"""A tanh net on noisy data of a sine along a line."""

import jax
import jax.numpy as jnp

import boltzax as bx


def line_net(data: int, width: int, noise: float, key_x: jax.Array, key_y: jax.Array):
    """The energy and the prior of a net of some width, with data at random places of [-3, 3]."""
    x = jnp.sort(jax.random.uniform(key_x, (data,), minval=-3.0, maxval=3.0))[:, None]
    y = jnp.sin(2 * x[:, 0]) + noise * jax.random.normal(key_y, (data,))
    net, wide = bx.models.TwoLayer(width, jnp.tanh, bias=True), bx.Normal(0.0, 3.0)
    prior = bx.Independent(readout=bx.Normal(), embedding=wide, bias=wide)
    return bx.SquaredError(net, bx.Empirical((x, y))) / noise**2, prior
