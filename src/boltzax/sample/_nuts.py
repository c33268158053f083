"""The no-U-turn sampler: numpyro's functional kernel behind our protocol.

The only importer of `numpyro.infer.hmc`. Its quirks: it fails under strict dtype promotion, so its
calls run under the standard one; its sampling function works only after its initialiser has been
called in the same trace, so a step traces the initialiser and throws the result away; it tunes
itself while its own counter is below the number of warm-up steps, so `gain` is not used.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from numpyro.infer import hmc

from ..compile import Gibbs
from ..core import Count, Fraction, typed
from ._kernel import AbstractCosted, Move, StepCost


def _potential(gibbs: Gibbs):
    return lambda w: -gibbs.log_prob(w)


@typed
class NUTS(AbstractCosted):
    """The no-U-turn sampler with dual averaging and a mass matrix tuned in warm-up.

    Hoffman & Gelman 2014 (JMLR 15:1593), in the multinomial form of Betancourt 2017.
    `dense_mass` adapts a full mass matrix, else a diagonal one.

    Args:
        target_acceptance: The mean acceptance that dual averaging aims at.
        dense_mass: Whether the mass matrix is full.
        max_tree_depth: Trajectories have at most `2^max_tree_depth` steps.
    """

    target_acceptance: Fraction = 0.8
    max_tree_depth: Count = eqx.field(default=10, static=True)
    dense_mass: bool = eqx.field(default=False, static=True)

    def init(self, gibbs, w, key, warmup):
        return self._kernels(gibbs, w, key, warmup)[0]

    def step(self, gibbs, state: hmc.HMCState, key, gain, warmup):
        _, advance = self._kernels(gibbs, state.z, key, warmup)
        with jax.numpy_dtype_promotion("standard"):
            state = advance(state._replace(rng_key=key), (gibbs,))
        gradients = jnp.asarray(state.num_steps, float)
        return state, Move(state.accept_prob, state.diverging, gradients)

    def position(self, state: hmc.HMCState):
        return state.z

    def cost(self):
        longest = 2.0**self.max_tree_depth - 1
        return StepCost(longest, longest, min(8.0, longest))

    def moved(self, gibbs, state: hmc.HMCState, w, key):
        energy, gradient = jax.value_and_grad(_potential(gibbs))(w)
        return state._replace(z=w, potential_energy=energy, z_grad=gradient)

    def _kernels(self, gibbs, w, key, warmup):
        init, advance = hmc.hmc(potential_fn_gen=_potential, algo="NUTS")
        with jax.numpy_dtype_promotion("standard"):
            state = init(
                w,
                warmup,
                target_accept_prob=self.target_acceptance,
                max_tree_depth=self.max_tree_depth,
                dense_mass=self.dense_mass,
                model_args=(gibbs,),
                rng_key=key,
            )
        return jax.tree.map(jnp.asarray, state), advance
