"""Samplers without a Metropolis test: their step size, and how it is chosen.

A step is judged by the error that its discretisation makes in the energy, on the current batch: the
logarithm of the Metropolis ratio that the same step would have, squared, per coordinate (as the
energy error variance per dimension of Robnik et al. 2023, arXiv:2212.08549). Per coordinate,
because the relative bias of an energy does not grow with the dimension, as a rejection rate would.
"""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval
from jaxtyping import Array, Float, PyTree

from ..compile import Gibbs, Weights
from ._kernel import AbstractKernel

FAR = 1e4
"""A trial step whose error is so many times the target is not taken during warm-up."""


class AbstractUnadjusted(AbstractKernel):
    """A kernel whose law is off by a power of its step, and exact as the step goes to zero.

    A subclass has the fields `step_size` (None to have it chosen in warm-up) and `scale` (a factor
    on the step after warm-up: runs that differ in it alone tell what it does), and the class
    variable `order`, the power of the step with which the law is off over all data (with
    minibatches it is taken to be 1).
    """

    step_size: eqx.AbstractVar[float | Array | None]
    scale: eqx.AbstractVar[float | Array]
    order: eqx.AbstractClassVar[int]

    @abc.abstractmethod
    def step_of(self, states: PyTree) -> Float[Array, ""] | None:
        """The step size that the chains of a run were tuned to: their geometric mean.

        None if it has no meaning without the rest of the state.

        Args:
            states: States of the run's chains, with leading axes.
        """

    def at_step(self, states: PyTree) -> "AbstractUnadjusted":
        """The same kernel at the step size that the chains of a run were tuned to.

        Args:
            states: States of the run's chains, with leading axes.
        """
        found = self.step_of(states) if self.step_size is None else None
        if found is None:
            return self
        return eqx.tree_at(lambda k: k.step_size, self, found, is_leaf=lambda x: x is None)


class StepSize(NamedTuple):
    """Logarithm of the step."""

    log_step: Float[Array, ""]

    def mean(self) -> Float[Array, ""]:
        """The geometric mean of the steps of several chains."""
        return jnp.exp(jnp.mean(self.log_step))

    def tuned(self, error: Array, target: Array | float, gain: Array) -> "StepSize":
        """A Robbins-Monro step towards `⟨log error⟩ = log target`; nothing at gain 0."""
        move = jnp.clip(0.3 * jnp.log(target / error), -3.0, 1.0)
        move = jnp.where(jnp.isnan(move) | jnp.isinf(error), -3.0, move)
        return StepSize(self.log_step + gain * move)


def batch_gradient(gibbs: Gibbs, w: Weights, key: Array) -> tuple[Array, Weights]:
    """Log-density and its gradient, both from the minibatch of `key`."""
    return jax.value_and_grad(gibbs.log_prob_estimate)(w, key)


def noisy(gibbs: Gibbs, w: Weights, key: Array) -> bool:
    """Whether the estimate of the log-density depends on its key at all."""
    jaxpr = jax.make_jaxpr(lambda w, key: gibbs.log_prob_estimate(w, key))(w, key).jaxpr
    return partial_eval.dce_jaxpr(jaxpr, [True])[1][-1]


def total(tree) -> Float[Array, ""]:
    """Sum of all entries."""
    return sum((jnp.sum(leaf) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


def size(w: Weights) -> int:
    """Number of coordinates."""
    return sum(leaf.size for leaf in jax.tree.leaves(w))
