"""Dynamics of neurons under forces: underdamped Langevin dynamics, and any optimiser."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core import Arrays, Key, Positive, typed
from ..sample import Optimiser, baoa, decayed, kick

Forces = Callable[[PyTree], tuple[PyTree, PyTree]]
"""At weights: the drift `-N ∂loss` (of a neuron `∂⟨y - f, h⟩`), and the gradient of the prior."""


class AbstractNeuronDynamics(eqx.Module):
    """One step of all neurons; the step of a neuron depends on its own force only."""

    @abc.abstractmethod
    def init(self, weights: Arrays, key: Key) -> PyTree:
        """The state beside the weights, such as momenta."""

    @abc.abstractmethod
    def step(
        self,
        weights: Arrays,
        state: PyTree,
        forces: Forces,
        temperature: Float[Array, ""],
        key: Key,
    ) -> tuple[PyTree, PyTree]:
        """The weights and the state after one step; `forces` is called once."""


@typed
class Langevin(AbstractNeuronDynamics):
    """Underdamped mean-field Langevin dynamics: `dθ = p dt`,
    `dp = (drift/T + ∇log p0) dt - γ p dt + √(2γ) dW`, by the BAOAB splitting.

    Its law is the Gibbs measure `p0 exp(-(N/T) loss)`, off by `O(dt²)` (Leimkuhler & Matthews 2013,
    Applied Mathematics Research eXpress 2013:34) and by the noise of batches.

    Args:
        dt: Step, in units in which the prior oscillates with period 2π for a standard normal.
        friction: `γ`.
    """

    dt: Positive = 0.05
    friction: Positive = 1.0

    def init(self, weights, key):
        return _normal(key, weights), jax.tree.map(jnp.zeros_like, weights)

    def step(self, weights, state, forces, temperature, key):
        momentum, force = state
        dt = jnp.asarray(self.dt, jnp.result_type(*jax.tree.leaves(weights)))
        keep = jnp.exp(-dt * self.friction).astype(dt.dtype)
        sigma, noise = jax.tree.map(lambda _: dt, weights), _normal(key, momentum)
        weights, momentum, _ = baoa(
            weights, momentum, force, sigma, lambda p: (decayed(p, noise, keep), None)
        )
        drift, prior = forces(weights)
        force = jax.tree.map(lambda d, q: (d / temperature + q).astype(d.dtype), drift, prior)
        return weights, (kick(momentum, sigma, force), force)


@typed
class Descent(AbstractNeuronDynamics):
    """Gradient descent on the loss by an optimiser of optax: `Descent(optax.sgd(0.1))`,
    `Descent(optax.adam(1e-2))`.

    The gradient of a neuron is `-drift = N ∂loss/∂θ_i`, so that steps do not shrink with the width;
    neither the temperature nor the prior enters (but for the weights it starts at): add weight
    decay in the optimiser. The optimiser must treat every weight by itself, as a rider must not
    change what the net does: no clipping by global norm.

    Args:
        optimiser: An optimiser of optax.
    """

    optimiser: Optimiser

    def init(self, weights, key):
        return self.optimiser.init(weights)

    def step(self, weights, state, forces, temperature, key):
        drift, _ = forces(weights)
        gradient = jax.tree.map(jnp.negative, drift)
        updates, state = self.optimiser.update(gradient, state, weights)
        weights = jax.tree.map(lambda w, u: (w + u).astype(w.dtype), weights, updates)
        return weights, state


def _normal(key: PRNGKeyArray, like: PyTree) -> PyTree:
    leaves, structure = jax.tree.flatten(like)
    keys = jax.random.split(key, len(leaves))
    draws = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves)]
    return jax.tree.unflatten(structure, draws)
