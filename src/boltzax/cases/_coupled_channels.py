"""Two channels in one system, whose coupling is known."""

import math
from collections.abc import Callable
from typing import Annotated, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..compile import Gibbs, prior
from ..core import Count, DeclarationError, Whole, scalar, typed, whole
from ..declare import Normal

Angle: TypeAlias = Annotated[float, scalar(open_low=True)]
"""An angle in radians."""


class Wires(eqx.Module):
    """Wires with one weight each."""

    weight: Float[Array, " wire"]


class Power(eqx.Module):
    """The power of some wires, `Σ w²`; as a share of that of all of them, if it is shared."""

    wires: tuple[int, int]
    share: bool = False

    def __call__(self, model: Wires) -> Float[Array, ""]:
        power = jnp.sum(model.weight[slice(*self.wires)] ** 2)
        return power / jnp.sum(model.weight**2) if self.share else power


class Along(eqx.Module):
    """The power along a direction, `(a·w)²`."""

    direction: Float[Array, " wire"]

    def __call__(self, model: Wires) -> Float[Array, ""]:
        return jnp.dot(self.direction, model.weight) ** 2


@typed
class CoupledChannels(eqx.Module):
    """A system with two channels.

    Args:
        prior: Independent standard normal weights.
        intended: Strength of the intended channel.
        unintended: Strength of the unintended channel.
        derivative: The exact `Cov(intended, unintended)/Var(unintended)`.
    """

    prior: Gibbs
    intended: Callable
    unintended: Callable
    derivative: float


@typed
def shared_wires(
    shared: Whole, private: Whole = 1, *, intended_private: Whole = 1
) -> CoupledChannels:
    """Channels of which each is the sum of the powers of its wires, some of them wires of both.

    Of the `k + m` wires of the unintended channel `k` are shared, and `D = k/(k + m)`: covariances
    and variances of independent sums add wire by wire. Both rise with every `|w|`.

    Args:
        shared: Wires of both, `k`.
        private: Wires of the unintended channel alone, `m`; not both 0.
        intended_private: Wires of the intended channel alone.
    """
    total = intended_private + shared + private
    wires = shared + private
    if not wires or not shared + intended_private:
        raise DeclarationError(
            "shared",
            got=f"{shared} shared wires and none of a channel alone",
            expected="at least one wire of each channel",
            mend="pass e.g. shared_wires(2, 1)",
        )
    return CoupledChannels(
        prior(Wires(jnp.zeros(total)), Normal()),
        Power((0, intended_private + shared)),
        Power((intended_private, total)),
        shared / wires,
    )


@typed
def overlapping_channels(angle: Angle, wires: Annotated[int, whole(2)] = 2) -> CoupledChannels:
    """Channels along two directions at an angle `θ`, of the strengths `(a·w)²` and `(b·w)²`.

    `D = cos² θ`: the covariance of the squares of two standard normals of correlation `ρ` is
    `2 ρ²`. It is never negative, although the strengths are not monotone.

    Args:
        angle: Between the directions, in radians.
        wires: Weights of the system.
    """
    first = jnp.zeros(wires).at[0].set(1.0)
    second = jnp.zeros(wires).at[0].set(math.cos(angle)).at[1].set(math.sin(angle))
    system = prior(Wires(jnp.zeros(wires)), Normal())
    return CoupledChannels(system, Along(second), Along(first), math.cos(angle) ** 2)


@typed
def rival_channels(intended: Count = 1, unintended: Count = 1) -> CoupledChannels:
    """Channels that divide a given power among them: `D = -1`, since the shares add up to 1.

    Each share rises with the `|w|` of its own wires and falls with those of the other.

    Args:
        intended: Wires of the intended channel.
        unintended: Wires of the unintended one.
    """
    total = intended + unintended
    system = prior(Wires(jnp.zeros(total)), Normal())
    return CoupledChannels(system, Power((0, intended), True), Power((intended, total), True), -1.0)
