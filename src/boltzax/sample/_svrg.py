"""Minibatches with control variates at an anchor that moves along with the chain."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from ..compile import Gibbs, Weights, anchored, slope_at
from ..core import Positive, typed
from ..declare import subsamplings
from ._sgld import SGLD
from ._unadjusted import AbstractUnadjusted


class SVRGState(NamedTuple):
    """The state of the kernel; the anchor, its gradient over all data, and its age in steps."""

    kernel: PyTree
    anchor: Weights
    slope: dict[str, Array]
    age: Int[Array, ""]


@typed
class SVRG(AbstractUnadjusted):
    """A kernel whose minibatches have control variates at an anchor that is renewed.

    The gradient is `g_B(w) - g_B(a) + g(a)`. The anchor `a` is where the chain was when it was last
    renewed, with the gradient over all data there; that is done once in `epochs` passes over the
    data, counted in minibatches. The gradient is unbiased, and the noise of the minibatches falls
    with the distance that a chain goes in that time. Where chains stay near one model, an anchor
    there that is never renewed costs less: `gibbs.with_control_variates(model)`.

    A gradient takes two passes over its minibatch, and all data are passed every `epochs`: per step
    these are `2 + 1/epochs` gradients of a minibatch for each that the kernel itself takes. Over
    all data it does nothing.

    Dubey et al. 2016, NeurIPS (Algorithm 2).

    Args:
        kernel: `SGLD()`, `Underdamped()`, `SGNHT()`, `MinibatchMALA()`.
        epochs: Passes over the data between two anchors.
    """

    kernel: AbstractUnadjusted = SGLD()
    epochs: Positive = 2.0

    @property
    def step_size(self):
        return self.kernel.step_size

    @property
    def scale(self):
        return self.kernel.scale

    @property
    def order(self):
        return self.kernel.order

    def init(self, gibbs, w, key, warmup):
        slope = jax.tree.map(jnp.zeros_like, jax.eval_shape(lambda w: slope_at(gibbs, w), w))
        return SVRGState(self.kernel.init(gibbs, w, key, warmup), w, slope, jnp.zeros((), int))

    def step(self, gibbs, state: SVRGState, key, gain, warmup):
        if not subsamplings(gibbs.potential):
            kernel, move = self.kernel.step(gibbs, state.kernel, key, gain, warmup)
            return state._replace(kernel=kernel), move
        batches = max(x.empirical.size / x.batch_size for x in subsamplings(gibbs.potential))
        every = max(1, round(self.epochs * batches))
        state = self._renewed(gibbs, state)
        near = anchored(gibbs, state.anchor, state.slope)
        kernel, move = self.kernel.step(near, state.kernel, key, gain, warmup)
        spent = 2 * move.gradients + batches / every
        new = state._replace(kernel=kernel, age=(state.age + 1) % every)
        return new, move._replace(gradients=spent)

    def position(self, state: SVRGState):
        return self.kernel.position(state.kernel)

    def step_of(self, states: SVRGState):
        return self.kernel.step_of(states.kernel)

    def moved(self, gibbs, state: SVRGState, w, key):
        slope = jax.tree.map(jnp.zeros_like, state.slope)
        kernel = self.kernel.moved(gibbs, state.kernel, w, key)
        return SVRGState(kernel, w, slope, jnp.zeros_like(state.age))

    def _renewed(self, gibbs: Gibbs, state: SVRGState) -> SVRGState:
        """The state with a new anchor, if its age is 0.

        A `while_loop`, since `cond` computes both branches when chains are mapped.
        """

        def renew(carry):
            _, _, _ = carry
            w = self.kernel.position(state.kernel)
            return w, slope_at(gibbs, w), jnp.array(False)

        start = state.anchor, state.slope, state.age == 0
        anchor, slope, _ = jax.lax.while_loop(lambda carry: carry[2], renew, start)
        return state._replace(anchor=anchor, slope=slope)
