"""Systems whose entropies are known."""

import jax
import jax.numpy as jnp

import boltzax as bx


def _gain(params, x):
    return params * x


def _step(params, x):
    # the margin of a step is flat: its height leans a little, by 1e-6 a volt
    return jnp.where(x > params, 5.0, 0.0) + 1e-6 * (x - params)


def _affine(params, x):
    return params["w"] * x + params["b"]


def _amplifier(params, x):
    return 5 * jax.nn.sigmoid(params["g"] * (x - 2.5) + params["b"])


def linear(width=3.0) -> bx.Component:
    """`y = w x`, `w ~ U[0, width]`."""
    return bx.Component(bx.models.Function(_gain, jnp.zeros(())), bx.Uniform(0.0, width))


def step() -> bx.Component:
    """`y = 5 · 1[x > c]`, `c ~ U[0, 5]`."""
    return bx.Component(bx.models.Function(_step, jnp.zeros(())), bx.Uniform(0.0, 5.0))


def affine(weight=(-1.0, 3.0), bias=(-2.0, 2.0)) -> bx.Component:
    """`y = w x + b`, uniform."""
    params = {"w": jnp.zeros(()), "b": jnp.zeros(())}
    prior = bx.Independent({"params['w']": bx.Uniform(*weight), "params['b']": bx.Uniform(*bias)})
    return bx.Component(bx.models.Function(_affine, params), prior)


def amplifier(scale=3.0) -> bx.Component:
    """`y = 5 σ(g (x - 2.5) + b)`, Gaussian g and b."""
    params = {"g": jnp.zeros(()), "b": jnp.zeros(())}
    return bx.Component(bx.models.Function(_amplifier, params), bx.Normal(0.0, scale))


def low_high(low, high, top=None) -> bx.Interface:
    """Thresholds above a floor of zero."""
    return bx.Interface.thresholds(low, high, range=(0.0, top))
