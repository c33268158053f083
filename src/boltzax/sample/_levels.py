"""Rising levels: populations of the prior above a sequence of levels, as a dynamics of the loop."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..compile import Weights
from ..core import MEMORY
from ._dynamics import AbstractDynamics
from ._level_function import Level
from ._pcn import pcn
from ._population import resampled


class Population(NamedTuple):
    """One replicate: particles distributed as the prior above a level, or several of them.

    `count` levels were raised; `log_survival` is the log probability to lie above the last. The
    target is `reached` where half of the particles lie at or above it; where all have one level
    below it, none can go on and they are `extinct`. What has `stopped` stays as it is. The keys are
    those of the draws of the prior and of the steps.
    """

    u: Weights
    value: Float[Array, " particle"]
    level: Float[Array, ""]
    log_survival: Float[Array, ""]
    log_scale: Float[Array, ""]
    count: Int[Array, ""]
    reached: Bool[Array, ""]
    extinct: Bool[Array, ""]
    stopped: Bool[Array, ""]
    keys: PRNGKeyArray


class Levels(AbstractDynamics):
    """Multilevel splitting towards `level >= target` (subset simulation); axes `[replicate]`.

    A step raises the level to the median of the particles (those strictly above it survive: a
    particle at the level itself would make a plateau look like progress), copies the survivors to
    full number, and moves all `moves` times within the prior above the level. The probability is
    the product of the surviving fractions. Step 0 is one move of scale 1 from anywhere, a draw of
    the prior, so that record `k` is the population above level `k`, and one program evaluates the
    level. Replicates are independent; each begins at a key, and its course depends on this key
    alone.

    With `keep` one more step moves the particles that reached the target within it, so that they
    are distributed as the prior at or above it.

    Sources: Kahn & Harris 1951; Au & Beck 2001, Prob. Eng. Mech. 16:263; Cérou & Guyader 2007,
    Stoch. Anal. Appl. 25:417 (adaptive levels).
    """

    level: Level
    target: Float[Array, ""]
    particles: int = eqx.field(static=True)
    moves: int = eqx.field(static=True)
    keep: bool = eqx.field(static=True, default=False)
    memory: int = eqx.field(static=True, default=MEMORY)

    def init(self, start, key, warmup):
        template = self.level.template()
        zero = jnp.zeros((), jax.eval_shape(self.level, template).dtype)
        none, no, before = zero - jnp.inf, jnp.array(False), jnp.array(-1)
        u = {path: jnp.zeros((self.particles, *x.shape), x.dtype) for path, x in template.items()}
        value = jnp.full(self.particles, none)

        def population(key):
            keys = jax.random.split(key)
            return Population(u, value, none, zero, zero, before, no, no, no, keys)

        return jax.vmap(population)(start["key"])

    def step(self, state, key, gain, time, warmup):
        memory = self._share(state)

        def stepped(old: Population) -> Population:
            new = self._raised(old, time, memory)
            same = old._replace(keys=None), new._replace(keys=None)
            chosen = jax.tree.map(lambda a, b: jnp.where(old.stopped, a, b), *same)
            return chosen._replace(keys=old.keys)

        return jax.lax.cond(jnp.all(state.stopped), lambda state: state, jax.vmap(stepped), state)

    def record(self, state, draw):
        kept = state._asdict()
        return state, {name: kept[name] for name in kept if name not in ("u", "log_scale", "keys")}

    def _share(self, tree) -> int:
        """Bytes for each replicate."""
        return self.memory // jax.tree.leaves(tree)[0].shape[0]

    def _raised(self, old: Population, time: Array, memory: int) -> Population:
        value, target = old.value, self.target.astype(old.value.dtype)
        top = jnp.max(value)
        middle = jnp.sort(value)[(self.particles - 1) // 2]
        # a plateau at the top: the level is the best value below it
        below = jnp.max(jnp.where(value < top, value, -jnp.inf))
        threshold = jnp.where(middle < top, middle, below)
        # the last number below the target; processors take those below `tiny` for zero
        last = jnp.minimum(jnp.nextafter(target, -jnp.inf), target - jnp.finfo(target.dtype).tiny)
        threshold = jnp.where(old.reached, last, threshold)
        first = time == 0
        above = (value > threshold) | first
        key_draws, key_steps = jax.random.clone(old.keys)  # which stay for the next steps
        key_copies, key_moves = jax.random.split(jax.random.fold_in(key_steps, time))
        keys = jnp.where(first, key_draws, jax.random.split(key_moves, self.moves))
        log_weights = jnp.where(above, jnp.zeros((), value.dtype), -jnp.inf)
        u, value = resampled(key_copies, (old.u, value), log_weights)
        walkers = (u, value, old.log_scale)
        moves = jnp.where(first, 1, self.moves)
        u, value, log_scale = pcn(self.level, threshold, walkers, keys, moves, memory)
        log_survival = old.log_survival + jnp.log(jnp.sum(above) / self.particles)
        return self._judged(
            old._replace(
                u=u,
                value=value,
                level=threshold,
                log_survival=log_survival.astype(value.dtype),
                log_scale=log_scale,
                count=old.count + 1,
            )
        )

    def _judged(self, new: Population) -> Population:
        """Whether a population has come to the target, or cannot go on.

        It was judged `reached` before if its level is the one of the particles to be kept.
        """
        target = self.target.astype(new.value.dtype)
        kept = new.reached if self.keep else jnp.array(True)
        reached = new.reached | (2 * jnp.sum(new.value >= target) >= self.particles)
        extinct = ~reached & (jnp.max(new.value) == jnp.min(new.value))
        return new._replace(reached=reached, extinct=extinct, stopped=extinct | (reached & kept))
