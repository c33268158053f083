"""The protocol of a Markov kernel: one chain, one step."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from ..compile import Gibbs, Weights
from ..core import Key, Whole, described
from ._normal_noise import normals


class Move(NamedTuple):
    """The report of a step.

    The acceptance probability (1 without a Metropolis test), whether the trajectory diverged, and
    the number of gradients (of the log-density or of an estimate of it).
    """

    acceptance: Float[Array, ""]
    divergent: Bool[Array, ""]
    gradients: Float[Array, ""] | float = 0.0


@described("a kernel", "pass e.g. bx.NUTS() (an instance, not the class)")
class AbstractKernel(eqx.Module):
    """A Markov kernel that leaves `gibbs` invariant. Written for one chain; the loop vmaps.

    A state is a pytree of constant structure. A step samples at the `beta` of the measure it is
    given. It keeps its tuning in the state and changes it in proportion to `gain`, which is
    positive and falls in the first nine tenths of the warm-up. Then it is 0, and the tuning must
    not change.
    """

    @abc.abstractmethod
    def init(self, gibbs: Gibbs, w: Weights, key: Key, warmup: Whole) -> PyTree:
        """The state of a chain that starts at `w`, to be warmed up for `warmup` steps."""

    @abc.abstractmethod
    def step(
        self, gibbs: Gibbs, state: PyTree, key: Key, gain: Float[Array, ""], warmup: Whole
    ) -> tuple[PyTree, Move]:
        """One transition."""

    @abc.abstractmethod
    def position(self, state: PyTree) -> Weights:
        """Where the chain is."""

    @abc.abstractmethod
    def moved(self, gibbs: Gibbs, state: PyTree, w: Weights, key: Key) -> PyTree:
        """The state moved to another place (in a swap of replicas), with the same tuning.

        Everything else in the state, such as momenta, is drawn anew with `key`.
        """


class AbstractGradientFree(AbstractKernel):
    """A kernel without gradients. The gradient at a start is not checked."""


class StepCost(NamedTuple):
    """Gradients of a step: the most after and in the warm-up, and the usual number in it.

    Infinite where nothing bounds them, as in slice sampling, or where they are not reported.
    """

    most: float
    most_in_warmup: float
    usual_in_warmup: float


class AbstractCosted(AbstractKernel):
    """A kernel whose step can take several gradients, for runs with a budget of gradients."""

    @abc.abstractmethod
    def cost(self) -> StepCost:
        """Gradients of a step."""


class Tuning(NamedTuple):
    """Step size and scale of every coordinate, adapted by Robbins-Monro steps."""

    log_step: Float[Array, ""]
    mean: Weights
    variance: Weights

    @staticmethod
    def start(w: Weights, step: float) -> "Tuning":
        ones = jax.tree.map(jnp.ones_like, w)
        return Tuning(jnp.log(jnp.asarray(step)), w, ones)

    def update(self, w: Weights, acceptance: Array, target: float, gain: Array) -> "Tuning":
        """Move the step towards the target acceptance and the scales towards the draws'."""
        log_step = self.log_step + 2 * gain * (acceptance - target)
        mean = jax.tree.map(lambda m, x: m + gain * (x - m), self.mean, w)
        variance = jax.tree.map(
            lambda v, m, x: v + 0.5 * gain * ((x - m) ** 2 - v), self.variance, self.mean, w
        )
        return Tuning(log_step, mean, variance)

    def scales(self) -> Weights:
        """Scale of each coordinate times the step."""
        step = jnp.exp(self.log_step)
        return jax.tree.map(lambda v: step * jnp.sqrt(v + 1e-12), self.variance)


def noise_like(w: Weights, key: PRNGKeyArray) -> Weights:
    """Independent standard normals of the shape of `w`."""
    threefry = str(jax.random.key_impl(key)) in ("fry", "threefry2x32")
    if threefry and all(leaf.dtype == jnp.float32 for leaf in w.values()):
        return normals({path: leaf.shape for path, leaf in w.items()}, key)
    keys = jax.random.split(key, len(w))
    return {
        path: jax.random.normal(k, leaf.shape, leaf.dtype)
        for k, (path, leaf) in zip(keys, w.items(), strict=True)
    }


def choose(accept: Array, new: PyTree, old: PyTree) -> PyTree:
    """`new` where accepted, else `old`."""
    return jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, old)


def metropolis(log_ratio: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
    """Acceptance probability and decision. A NaN ratio is a rejection."""
    probability = jnp.where(jnp.isnan(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))
    return probability, jax.random.uniform(key, dtype=probability.dtype) < probability
