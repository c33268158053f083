"""Preconditioners: how far one unit of noise goes in each coordinate."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..compile import Weights
from ..core import Fraction, NonNegative, described, typed


@described("a preconditioner", "pass e.g. bx.Variance() (an instance, not the class)")
class AbstractPreconditioner(eqx.Module):
    """A diagonal metric, learned while `gain` is positive and fixed afterwards.

    Once it is fixed, Langevin dynamics in the scaled coordinates `w / scale` has the same invariant
    law, without the correction that a metric moving with `w` would need.
    """

    @abc.abstractmethod
    def init(self, w: Weights) -> PyTree:
        """What has been learned before the first step."""

    @abc.abstractmethod
    def learn(self, state: PyTree, w: Weights, gradient: Weights, gain: Float[Array, ""]) -> PyTree:
        """Learn from a place and the gradient of the log-density there; nothing at gain 0."""

    @abc.abstractmethod
    def scales(self, state: PyTree, w: Weights) -> Weights:
        """Scale of each coordinate, positive: arrays that broadcast to the leaves of `w`."""


@typed
class Identity(AbstractPreconditioner):
    """One scale for all coordinates: the root mean square spread of the draws. No memory."""

    def init(self, w):
        return jnp.ones(())

    def learn(self, state: Float[Array, ""], w, gradient, gain):
        return state

    def scales(self, state: Float[Array, ""], w):
        return jax.tree.map(lambda leaf: jnp.ones((), leaf.dtype), w)


class Second(NamedTuple):
    """A second moment, and how many steps are in it."""

    moment: Weights
    count: Float[Array, ""]


@typed
class RMSprop(AbstractPreconditioner):
    """`scale² ∝ 1 / (√v + floor)`, `v` a moving average of squared gradients.

    The preconditioner of Li, Chen, Carlson & Carin 2016 (AAAI, arXiv:1512.07666, eq. 5), with `v`
    fixed after warm-up (so that its term Γ vanishes), the floor in units of the mean of `√v`, and
    the mean of `scale²` one, so that the step size keeps its meaning.

    Args:
        decay: Memory of the moving average, below 1.
        floor: In units of the mean of `√v`.
    """

    decay: Fraction = 0.99
    floor: NonNegative = 0.1

    def init(self, w):
        return Second(jax.tree.map(jnp.zeros_like, w), jnp.zeros(()))

    def learn(self, state: Second, w, gradient, gain):
        rate = jnp.where(gain > 0, 1 - self.decay, 0.0)
        moment = jax.tree.map(lambda v, g: v + rate * (g**2 - v), state.moment, gradient)
        return Second(moment, state.count + (gain > 0).astype(state.count.dtype))

    def scales(self, state: Second, w):
        # a moving average that began at 0 is short of 1 - decay^count, the same for all: no matter
        root = jax.tree.map(jnp.sqrt, state.moment)
        size = sum(leaf.size for leaf in jax.tree.leaves(root))
        mean = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(root)) / size
        some = mean > 0
        safe = jnp.where(some, mean, 1.0)
        metric = jax.tree.map(
            lambda r: jnp.where(some, 1 / (r / safe + self.floor), jnp.ones_like(r)), root
        )
        total = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(metric)) / size
        return jax.tree.map(lambda g: jnp.sqrt(g / total), metric)


def recent(count: Array, gain: Float[Array, ""]) -> Array:
    """Weight of the newest of `count` values of a warm-up; later ones weigh more, so that the way
    from the start is forgotten. Nothing at gain 0."""
    return jnp.where(gain > 0, jnp.minimum(1.0, 5 / (count + 4)), 0.0)


class Spread(NamedTuple):
    """Running mean and variance of each coordinate."""

    mean: Weights
    variance: Weights
    count: Float[Array, ""]


@typed
class Variance(AbstractPreconditioner):
    """`scale²` is the variance of each coordinate over the warm-up, shrunk in part to their mean.

    The diagonal mass matrix of HMC. Weighs later draws more: draw t enters with weight
    `~ 5/(t + 5)`, so that the way from the start is forgotten. `shrink` draws' worth of the mean
    variance are mixed in.
    """

    shrink: NonNegative = 20.0

    def init(self, w):
        return Spread(w, jax.tree.map(jnp.zeros_like, w), jnp.zeros(()))

    def learn(self, state: Spread, w, gradient, gain):
        count = state.count + (gain > 0).astype(state.count.dtype)
        rate = recent(count, gain)
        mean = jax.tree.map(lambda m, x: m + rate * (x - m), state.mean, w)
        variance = jax.tree.map(
            lambda v, old, new, x: v + rate * ((x - old) * (x - new) - v),
            state.variance,
            state.mean,
            mean,
            w,
        )
        return Spread(mean, variance, count)

    def scales(self, state: Spread, w):
        leaves = jax.tree.leaves(state.variance)
        mean = sum(jnp.sum(leaf) for leaf in leaves) / sum(leaf.size for leaf in leaves)
        known = (state.count > 20) & (mean > 0)
        safe = jnp.where(known, mean, 1.0)
        share = self.shrink / (self.shrink + state.count)
        return jax.tree.map(
            lambda v: jnp.where(known, jnp.sqrt((1 - share) * v / safe + share), 1.0),
            state.variance,
        )


ENOUGH = 10_000
"""Coordinates of a leaf whose distance from the start stands for all of them."""


def _some(leaf: Array) -> Array:
    """Evenly spaced rows of a leaf, about `ENOUGH` coordinates."""
    return leaf[:: max(1, leaf.size // ENOUGH)] if leaf.ndim else leaf


class Reach(NamedTuple):
    """How far from its start a chain is: mean square distance a scaled coordinate."""

    origin: Weights
    square: Float[Array, ""]
    count: Float[Array, ""]

    @staticmethod
    def start(w: Weights) -> "Reach":
        return Reach(jax.tree.map(_some, w), jnp.zeros(()), jnp.zeros(()))

    def learned(self, w: Weights, scales: Weights, gain: Float[Array, ""]) -> "Reach":
        """One more place; later ones weigh more. Nothing at gain 0."""

        def one(w, origin, scale):
            scale = _some(jnp.broadcast_to(scale, w.shape))
            return w.size * jnp.mean(((_some(w) - origin) / scale) ** 2)

        terms = jax.tree.map(one, w, self.origin, scales)
        here = sum(jax.tree.leaves(terms)) / sum(leaf.size for leaf in w.values())
        count = self.count + (gain > 0).astype(self.count.dtype)
        rate = recent(count, gain)
        return Reach(self.origin, self.square + rate * (here - self.square), count)

    def root(self, least: Array) -> Array:
        """Root mean square distance, at least `least`."""
        return jnp.maximum(jnp.sqrt(self.square), least)
