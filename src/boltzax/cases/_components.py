"""Components whose entropies under interfaces are known in closed form (`boltzax.theory`)."""

import dataclasses

import jax
import jax.numpy as jnp

from ..core import Positive, typed
from ..declare import Component, Function, Independent, Normal, Uniform


@typed
def gain_component(width: Positive = 3.0) -> Component:
    """`y = w x`, `w ~ U[0, width]`: `theory.linear_interface`.

    Args:
        width: Largest gain.
    """
    return Component(Function(_gain, jnp.zeros(())), Uniform(0.0, width))


@typed
def step_component(height: Positive = 5.0) -> Component:
    """`y = height · 1[x > c]`, `c ~ U[0, height]`: `theory.step_interface`.

    Args:
        height: Of the step; the largest threshold too.
    """
    return Component(Function(_Step(float(height)), jnp.zeros(())), Uniform(0.0, height))


@typed
def affine_component(
    weight: tuple[float, float] = (-1.0, 3.0), bias: tuple[float, float] = (-2.0, 2.0)
) -> Component:
    """`y = w x + b`, uniform on a rectangle: `theory.affine_interface`.

    Args:
        weight: Least and largest `w`.
        bias: Least and largest `b`.
    """
    params = {"weight": jnp.zeros(()), "bias": jnp.zeros(())}
    prior = {"params['weight']": Uniform(*weight), "params['bias']": Uniform(*bias)}
    return Component(Function(_affine, params), Independent(prior))


@typed
def amplifier_component(scale: Positive = 3.0, height: Positive = 5.0) -> Component:
    """`y = height · σ(g (x - height/2) + b)`, g and b from N(0, scale²):
    `theory.amplifier_interface`.

    Args:
        scale: Standard deviation of g and b.
        height: Largest output.
    """
    params = {"gain": jnp.zeros(()), "bias": jnp.zeros(())}
    return Component(Function(_Amplifier(float(height)), params), Normal(0.0, scale))


@dataclasses.dataclass(frozen=True)
class _Amplifier:
    """A class and not a closure: equal heights are equal functions, and compile once."""

    height: float

    def __call__(self, params, x):
        drive = params["gain"] * (x - self.height / 2) + params["bias"]
        return self.height * jax.nn.sigmoid(drive)


@dataclasses.dataclass(frozen=True)
class _Step:
    height: float

    def __call__(self, params, x):
        return jnp.where(x > params, self.height, 0.0)


def _gain(params, x):
    return params * x


def _affine(params, x):
    return params["weight"] * x + params["bias"]
