"""Single-unit moves by rank-two updates, for a marginal potential of exchangeable units."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..compile import Gibbs, UnitPotential, Weights
from ..core import DeclarationError
from ._kernel import AbstractKernel, Move, metropolis


class UnitMovesState(NamedTuple):
    """Place, and the logarithms of the tuned step of a unit and of the global scale move."""

    w: Weights
    log_step: Float[Array, ""]
    log_stretch: Float[Array, ""]


class UnitMoves(AbstractKernel):
    """`sweeps` passes of Metropolis moves over the units, one at a time, and of their scale.

    With the readout integrated out, exchanging one unit's features `v -> v'` changes
    `N = Λ + Σ v vᵀ` by rank two, so a move costs the square of the number of modes and a sweep
    visits every unit (matrix determinant lemma and Sherman-Morrison-Woodbury). A proposal is
    `z + step * N(0, 1)` over two and a half octaves of steps, or `z exp(N(0, 1))`; the scale move
    is `z -> z exp(s N(0, 1))` for all units together, in unconstrained coordinates `z`.
    """

    target_acceptance: float = 0.4
    sweeps: int = eqx.field(default=4, static=True)

    def init(self, gibbs, w, key, warmup):
        if not isinstance(gibbs.potential, UnitPotential):
            raise DeclarationError(
                "kernel",
                got="UnitMoves",
                expected="a marginal potential of exchangeable scalar units in a graded basis",
                mend="use bx.NUTS(), bx.MALA() or bx.RandomWalk() for this measure",
            )
        spread = 0.5 * jnp.log(jnp.mean(w[gibbs.potential.path] ** 2) + 1e-300)
        return UnitMovesState(w, spread, jnp.log(jnp.asarray(0.1)))

    def step(self, gibbs, state, key, gain, warmup):
        path = _potential(gibbs).path
        shape = state.w[path].shape

        def once(z, key):
            key_sweep, key_scale = jax.random.split(key)
            z, accepted = _sweep(gibbs, key_sweep, z, jnp.exp(state.log_step))
            z, stretched = _scale(gibbs, key_scale, z, jnp.exp(state.log_stretch))
            return z, (accepted, stretched)

        keys = jax.random.split(key, self.sweeps)
        z, rates = jax.lax.scan(once, state.w[path].reshape(-1), keys)
        accepted, stretched = jnp.mean(rates[0]), jnp.mean(rates[1])
        spread = 0.5 * jnp.log(jnp.mean(z**2) + 1e-300)
        log_step = state.log_step + jnp.minimum(2 * gain, 1.0) * (spread - state.log_step)
        log_stretch = state.log_stretch + 2 * gain * (stretched - self.target_acceptance)
        w = state.w | {path: z.reshape(shape)}
        return UnitMovesState(w, log_step, log_stretch), Move(accepted, jnp.array(False))

    def position(self, state):
        return state.w

    def moved(self, gibbs, state, w):
        return state._replace(w=w)


def _potential(gibbs: Gibbs) -> UnitPotential:
    assert isinstance(gibbs.potential, UnitPotential)
    return gibbs.potential


def _units(gibbs: Gibbs, z: Array) -> Array:
    """Units in the model's coordinates."""
    path = _potential(gibbs).path
    shape = gibbs.coordinates.base[path].shape
    return gibbs.constrain({path: z.reshape(shape)})[path].reshape(-1)


def _log_prior(gibbs: Gibbs, z: Array) -> Float[Array, " unit"]:
    """Log prior of each unit, from that of all with one replaced: units are independent."""
    path = _potential(gibbs).path
    shape = gibbs.coordinates.base[path].shape
    return gibbs.coordinates.log_prior_entries(path, z.reshape(shape)).reshape(-1)


def _sweep(gibbs: Gibbs, key: Array, z: Array, step: Array) -> tuple[Array, Array]:
    """One pass over the units."""
    potential = _potential(gibbs)
    keys = jax.random.split(key, 4)
    noise = jax.random.normal(keys[0], z.shape)
    size = step * jnp.exp(jax.random.uniform(keys[1], z.shape, minval=-2.5, maxval=0.7))
    additive = jax.random.uniform(keys[2], z.shape) < 0.75
    proposal = jnp.where(additive, z + size * noise, z * jnp.exp(noise))
    jacobian = jnp.where(additive, 0.0, noise)
    proposal, jacobian = jax.lax.optimization_barrier((proposal, jacobian))
    state = potential.state(_units(gibbs, z), gibbs.beta, _units(gibbs, proposal))
    threshold = _log_prior(gibbs, proposal) - _log_prior(gibbs, z) + jacobian
    threshold = threshold - jnp.log(jax.random.uniform(keys[3], z.shape))
    threshold = jax.lax.optimization_barrier(threshold)

    def one(inverse, unit):
        old, new, bound = unit
        pair = jnp.stack([old, new], -1)
        w = inverse @ pair
        q = pair.T @ w
        a, c, d = q[0, 0], q[0, 1], q[1, 1]
        ratio = (1 - a) * (1 + d) + c * c
        accept = (ratio > 0) & (0.5 * jnp.log(ratio) < bound)
        f = jnp.where(accept, 1 / ratio, 0.0)
        left = ((1 + d) * w[:, 0] - c * w[:, 1]) * f
        right = ((a - 1) * w[:, 1] - c * w[:, 0]) * f
        left, right = jax.lax.optimization_barrier((left, right))
        inverse = inverse + left[:, None] * w[None, :, 0] + right[:, None] * w[None, :, 1]
        return inverse, accept

    identity = jnp.eye(state.units.shape[1])
    _, accept = jax.lax.scan(one, identity, (state.units, state.others, threshold))
    return jnp.where(accept, proposal, z), jnp.mean(accept.astype(z.dtype))


def _scale(gibbs: Gibbs, key: Array, z: Array, stretch: Array) -> tuple[Array, Array]:
    """Move the scale of all units together."""
    key_size, key_accept = jax.random.split(key)
    e = stretch * jax.random.normal(key_size)
    proposal = z * jnp.exp(e)

    def log_prob(z):
        potential = _potential(gibbs)
        u = potential.state(_units(gibbs, z), gibbs.beta).value
        return jnp.sum(_log_prior(gibbs, z)) - u

    here, there = jax.vmap(log_prob)(jnp.stack([z, proposal]))
    log_ratio = there - here + z.size * e
    probability, accept = metropolis(log_ratio, key_accept)
    return jnp.where(accept, proposal, z), probability
