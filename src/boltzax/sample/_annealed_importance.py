"""Annealed importance sampling from a Gaussian, by random walks in its own coordinates."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from ..compile import Gibbs, Weights
from ._dynamics import set_beta

MOVES = 3
"""Metropolis moves at each place of a path."""


class Flat(eqx.Module):
    """A measure over vectors `x`: unconstrained coordinates in units of the prior's spread."""

    gibbs: Gibbs
    template: Weights
    scale: Float[Array, " dim"]

    def log_density(self, x: Float[Array, " dim"], beta: Float[Array, ""]) -> Float[Array, ""]:
        """`log π - U(β)` at `x`, the Jacobian of the units included; `-inf` where undefined."""
        value = set_beta(self.gibbs, beta).log_prob(self.weights(x)) + jnp.sum(jnp.log(self.scale))
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    def weights(self, x: Float[Array, " dim"]) -> Weights:
        """The coordinates by path."""
        return ravel_pytree(self.template)[1](x * self.scale)

    def vector(self, w: Weights) -> Float[Array, " dim"]:
        """The vector of coordinates by path."""
        return ravel_pytree(w)[0] / self.scale


class Gaussian(NamedTuple):
    """`x = centre + factor z`, `z ~ N(0, I)`."""

    centre: Float[Array, " dim"]
    factor: Float[Array, "dim dim"]


@eqx.filter_jit
def walk(
    flat: Flat,
    law: Gaussian,
    beta: Float[Array, ""],
    start: Float[Array, "walker dim"],
    path: Float[Array, " place"],
    key: PRNGKeyArray,
) -> tuple[Array, Array]:
    """Walkers along `q^(1-t) p^t`, and the logarithms of their weights.

    `path` are the values of `t`, from the first to the last; the weight of a step from `t` to `t'`
    is `(p/q)^(t' - t)` where the walker is before it moves. Steps are isotropic in the coordinates
    of `q`, and tuned on the way by the acceptance of all walkers.

    Returns the places `[place, walker, dim]` and the log weights `[walker]`.
    """
    dim = law.centre.shape[0]
    log_volume = jnp.log(jnp.abs(jnp.linalg.det(law.factor)))
    z = jax.scipy.linalg.solve_triangular(law.factor, (start - law.centre[None]).T, lower=True).T

    def both(z):
        gauss = -0.5 * jnp.sum(z**2) - 0.5 * dim * jnp.log(2 * jnp.pi)
        return gauss, flat.log_density(law.centre + law.factor @ z, beta) + log_volume

    def mixed(values, t):
        gauss, target = values
        return jnp.where(t > 0, (1 - t) * gauss + t * target, gauss)

    def move(carry, inputs):
        z, values, log_step = carry
        t, key = inputs
        key_noise, key_accept = jax.random.split(key)
        noise = jax.random.normal(key_noise, z.shape, z.dtype)
        proposal = z + jnp.exp(log_step) * noise
        new = jax.vmap(both)(proposal)
        ratio = mixed(new, t) - mixed(values, t)
        ratio = jnp.where(jnp.isnan(ratio), -jnp.inf, ratio)
        probability = jnp.exp(jnp.minimum(ratio, 0.0))
        accept = jax.random.uniform(key_accept, ratio.shape, z.dtype) < probability
        z = jnp.where(accept[:, None], proposal, z)
        values = jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, values)
        log_step = log_step + 0.7 * (jnp.mean(probability) - 0.3)
        return (z, values, log_step), None

    def place(carry, inputs):
        before, t, key = inputs
        z, (gauss, target), log_step, log_weight = carry
        step = jnp.where(t > before, (t - before) * (target - gauss), 0.0)
        keys = jax.random.split(key, MOVES)
        (z, values, log_step), _ = jax.lax.scan(
            move, (z, (gauss, target), log_step), (jnp.full(MOVES, t), keys)
        )
        return (z, values, log_step, log_weight + step), z

    log_step = jnp.asarray(jnp.log(2.0 / jnp.sqrt(dim)), z.dtype)
    zero = jnp.zeros(z.shape[0], z.dtype)
    keys = jax.random.split(key, path.shape[0] - 1)
    carry = (z, jax.vmap(both)(z), log_step, zero)
    (*_, log_weight), places = jax.lax.scan(place, carry, (path[:-1], path[1:], keys))
    return law.centre[None, None] + places @ law.factor.T, log_weight
