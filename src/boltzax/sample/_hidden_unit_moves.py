"""Single-unit moves by rank-two updates, for a marginal potential of exchangeable units."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..compile import Gibbs, UnitPotential, Weights
from ..core import Count, DeclarationError, Fraction, typed
from ._kernel import AbstractGradientFree, Move, metropolis


class UnitMovesState(NamedTuple):
    """Place, and the logarithms of the tuned steps: of a unit, of the global scale and power."""

    w: Weights
    log_step: Float[Array, ""]
    log_stretch: Float[Array, "2"]


@typed
class UnitMoves(AbstractGradientFree):
    """`sweeps` passes of Metropolis moves over the units, one at a time, and of their scale.

    With the readout integrated out, exchanging one unit's features `v -> v'` changes
    `N = Λ + Σ v vᵀ` by rank two, so a move costs the square of the number of modes and a sweep
    visits every unit (matrix determinant lemma and Sherman-Morrison-Woodbury). A proposal is
    `z + step * N(0, 1)` over two and a half octaves of steps, or `z exp(N(0, 1))`. Two moves take
    all units together, in unconstrained coordinates `z`: one shifts all `log|z|` (a scale), one
    stretches them about their mean (a power: it gathers the units into a shell about zero).
    """

    target_acceptance: Fraction = 0.4
    sweeps: Count = eqx.field(default=4, static=True)

    def init(self, gibbs, w, key, warmup):
        if not isinstance(gibbs.potential, UnitPotential):
            raise DeclarationError(
                "kernel",
                got="UnitMoves",
                expected="a marginal potential of exchangeable scalar units in a graded basis",
                mend="use bx.NUTS(), bx.MALA() or bx.RandomWalk() for this measure",
            )
        spread = 0.5 * jnp.log(jnp.mean(w[gibbs.potential.path] ** 2) + 1e-300)
        return UnitMovesState(w, spread, jnp.log(jnp.full(2, 0.1)))

    def step(self, gibbs, state: UnitMovesState, key, gain, warmup):
        path = _potential(gibbs).path
        shape = state.w[path].shape

        def once(z, key):
            key_sweep, *keys = jax.random.split(key, 3)
            z, u, accepted = _sweep(gibbs, key_sweep, z, jnp.exp(state.log_step))
            z, u, scaled = _together(gibbs, keys[0], z, u, jnp.exp(state.log_stretch), power=False)
            z, _, bent = _together(gibbs, keys[1], z, u, jnp.exp(state.log_stretch), power=True)
            return z, (accepted, jnp.stack([scaled, bent]))

        keys = jax.random.split(key, self.sweeps)
        z, rates = jax.lax.scan(once, state.w[path].reshape(-1), keys)
        accepted, stretched = jnp.mean(rates[0]), jnp.mean(rates[1], 0)
        spread = 0.5 * jnp.log(jnp.mean(z**2) + 1e-300)
        log_step = state.log_step + jnp.minimum(2 * gain, 1.0) * (spread - state.log_step)
        log_stretch = state.log_stretch + 2 * gain * (stretched - self.target_acceptance)
        w = state.w | {path: z.reshape(shape)}
        return UnitMovesState(w, log_step, log_stretch), Move(accepted, jnp.array(False))

    def position(self, state: UnitMovesState):
        return state.w

    def moved(self, gibbs, state: UnitMovesState, w, key):
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


def _sweep(gibbs: Gibbs, key: Array, z: Array, step: Array) -> tuple[Array, Array, Array]:
    """One pass over the units: their places, the potential there, how many moved."""
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
        return inverse, (accept, jnp.where(accept, 0.5 * jnp.log(ratio), 0.0))

    identity = jnp.eye(state.units.shape[1])
    _, (accept, rise) = jax.lax.scan(one, identity, (state.units, state.others, threshold))
    moved = jnp.where(accept, proposal, z)
    return moved, state.value + jnp.sum(rise), jnp.mean(accept.astype(z.dtype))


def _together(
    gibbs: Gibbs, key: Array, z: Array, u: Array, steps: Array, *, power: bool
) -> tuple[Array, Array, Array]:
    """Shift `log|z|` of all units, or stretch it about its mean; `u` is the potential at `z`."""
    key_size, key_accept = jax.random.split(key)
    e = steps[int(power)] * jax.random.normal(key_size)
    logs = jnp.log(jnp.abs(z) + 1e-300)
    centre = jnp.mean(logs)
    shift = jnp.expm1(e) * (logs - centre) if power else jnp.full_like(z, e)
    # d log|z'| / d log|z| is exp(e) but along the mean, which stays
    log_jacobian = jnp.sum(shift) + (z.size - 1) * e if power else jnp.sum(shift)
    proposal = z * jnp.exp(shift)
    there = _potential(gibbs).state(_units(gibbs, proposal), gibbs.beta).value
    log_prior = jnp.sum(_log_prior(gibbs, proposal) - _log_prior(gibbs, z))
    probability, accept = metropolis(log_prior - there + u + log_jacobian, key_accept)
    return jnp.where(accept, proposal, z), jnp.where(accept, there, u), probability
