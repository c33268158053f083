"""Bits as voltages: amplifiers and nets that pass them on, from 0 to 5 V.

The three interfaces are those of Wentworth & Lorell, "Toward Statistical Mechanics of Interfaces
Under Selection Pressure" (2025); the bounds of the last are ours.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import Count, Positive, typed
from ..declare import MLP, Chain, Component, Family, Independent, Interface, Normal, Points


class _Amplifier(eqx.Module):
    """`5 σ(gain (x - 2.5) + bias)` volts."""

    gain: Array
    bias: Array

    def __call__(self, x: Float[Array, "1"]) -> Array:
        return 5 * jax.nn.sigmoid(self.gain * (x[0] - 2.5) + self.bias)


class _Net(eqx.Module):
    """The same volts from a tanh net 1-n-1."""

    into: Array
    bias: Array
    out: Array
    last: Array

    def __call__(self, x: Float[Array, "1"]) -> Array:
        hidden = jnp.tanh(self.into * (x[0] - 2.5) + self.bias)
        return 5 * jax.nn.sigmoid(jnp.sum(self.out * hidden) + self.last)


class _Stage(eqx.Module):
    """`5 σ(net((x - 2.5) / 2.5))` volts."""

    net: MLP

    def __call__(self, x: Float[Array, "1"]) -> Array:
        return 5 * jax.nn.sigmoid(self.net((x - 2.5) / 2.5))


@typed
def voltage_amplifier() -> Component:
    """`5 σ(g (x - 2.5) + b)` volts, `g ~ N(1, 2²)`, `b ~ N(0, 2²)`: more often upright than not."""
    model = _Amplifier(jnp.zeros(()), jnp.zeros(()))
    return Component(model, Independent(gain=Normal(1.0, 2.0), bias=Normal(0.0, 2.0)))


@typed
def voltage_net(width: Count = 8) -> Component:
    """`5 σ(Σ_i a_i tanh(w_i (x - 2.5) + b_i) + c)` volts, more often upright than not."""
    model = _Net(*(jnp.zeros(width) for _ in range(3)), jnp.zeros(()))
    prior = {"into": Normal(0.3, 1.0), "bias": Normal(), "out": Normal(0.5, 1.5), "last": Normal()}
    return Component(model, Independent(prior))


@typed
def voltage_middles() -> dict[str, Interface]:
    """Interfaces that the two nets of `voltage_chain` might agree on; the first is the source's.

    There extreme voltages stand for 0 and middling ones for 1.
    """
    sets = {
        "weird": {0: [(0, 0.5), (4.6, 5)], 1: [(2.6, 3.8)]},
        "weird, low side": {0: [(0, 0.5)], 1: [(2.6, 3.8)]},
        "weird, high side": {0: [(4.6, 5)], 1: [(2.6, 3.8)]},
        "plain": {0: [(0, 1.5)], 1: [(3.5, 5)]},
        "inverted": {0: [(3.5, 5)], 1: [(0, 1.5)]},
        "wide": {0: [(0, 2.4)], 1: [(2.6, 5)]},
    }
    return {name: Interface.intervals(each) for name, each in sets.items()}


@typed
def voltage_chain(
    middle: Interface | Family | None = None,
    *,
    width: Count = 16,
    scale: Positive = 2.0,
    points: Points = 33,
) -> Chain:
    """Two tanh nets that pass on a bit, and what stands between them.

    At the input 0 is below 1.2 V and 1 is 3.5 to 5 V; at the output 0 is below 0.8 V and 1 above
    3 V. Weights have the prior `N(0, scale²)`, those of the last layer `3/√width` times as wide.

    Args:
        middle: The interface between the nets, candidates for it, or None (open); see
            `voltage_middles`.
        width: Hidden units of each net.
        scale: Standard deviation of the weights.
        points: As of `Chain`.
    """
    first = Interface.intervals({0: [(0, 1.2)], 1: [(3.5, 5.0)]})
    last = Interface.intervals({0: [(0, 0.8)], 1: [(3.0, 5.0)]})
    narrow = Normal(0.0, 3 * scale / width**0.5)
    prior = Independent({"net": Normal(0.0, scale), "net.weight[1]": narrow})
    net = Component(_Stage(MLP((1, width, 1))), prior)
    return Chain([net, net], [first, middle, last], points=points)
