"""Reductions: statistics that are summed inside the loop, without keeping draws."""

import abc
from collections.abc import Callable
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..compile import Gibbs, Weights
from ..core import (
    Count,
    DeclarationError,
    Estimate,
    described,
    function_errors,
    given_numbers,
    typed,
    whole,
)


@described("a reduction", "pass e.g. bx.Mean(fn, length=draws // 32)")
class AbstractReduction(eqx.Module):
    """A statistic of the draws of one chain in constant memory. Written for one chain."""

    @abc.abstractmethod
    def init(self, gibbs: Gibbs, w: Weights) -> PyTree:
        """The empty sums, of the shapes that a draw `w` gives."""

    @abc.abstractmethod
    def update(self, sums: PyTree, gibbs: Gibbs, w: Weights, draw: Array) -> PyTree:
        """The sums with draw number `draw` in them, from 0 on; the warm-up makes no draws."""

    @abc.abstractmethod
    def result(self, sums: PyTree) -> PyTree:
        """The statistic, from sums with leading axes `[*beta, chain]`."""


@typed
class Mean(AbstractReduction):
    """`⟨fn(model)⟩`, any pytree of arrays, with an error bar; no draw is kept.

    The draws of a chain are summed in `batches` consecutive pieces of `length` draws, and the error
    is that of the mean of the autocorrelated series of batch means (batch means: Geyer 1992,
    Statistical Science 7:473). Memory: `batches` copies of `fn`'s value a chain. Draws past
    `batches * length` go into the last piece. With `bx.sample(..., reduce={"name": Mean(fn,
    length)})` choose `length = draws / batches`.

    Weights that were integrated out are drawn from their conditional law, as in `Trace.mean`.
    """

    fn: Callable = eqx.field(static=True)
    length: Count = eqx.field(static=True)
    batches: Annotated[int, whole(4)] = eqx.field(static=True, default=32)

    def init(self, gibbs, w):
        with function_errors("fn"):
            model = jax.eval_shape(lambda w: whole_model(gibbs, w, jnp.zeros((), int)), w)
            value = eqx.filter_eval_shape(self.fn, model)
        given_numbers("fn", value)
        for leaf in jax.tree.leaves(value):
            kinds = (jnp.floating, jnp.integer, jnp.bool_)
            if not any(jnp.issubdtype(leaf.dtype, kind) for kind in kinds):
                raise DeclarationError(
                    "fn",
                    got=f"an array of {leaf.dtype}",
                    expected="real numbers",
                    mend="give the real and the imaginary part each on its own",
                )
        count = jnp.zeros(self.batches)
        kind = count.dtype
        means = jax.tree.map(lambda x: jnp.zeros((self.batches, *x.shape), kind), value)
        return count, means

    def update(self, sums: tuple[Array, PyTree], gibbs, w, draw):
        count, means = sums
        batch = jnp.minimum(draw // self.length, self.batches - 1)
        count = count.at[batch].add(1)
        rate = 1 / count[batch]

        def move(mean, x):
            return mean.at[batch].add(rate * (x - mean[batch]))

        return count, jax.tree.map(move, means, self.fn(whole_model(gibbs, w, draw)))

    def result(self, sums: tuple[Array, PyTree]):
        count, means = sums
        axis = count.ndim - 1
        filled = int(np.sum(np.asarray(count).reshape(-1, self.batches)[0] > 0))

        def estimate(mean) -> Estimate:
            series = jnp.moveaxis(
                jnp.take(mean, jnp.arange(filled), axis), (axis - 1, axis), (-2, -1)
            )
            return Estimate.of_series(series)

        return jax.tree.map(estimate, means)


def whole_model(gibbs: Gibbs, w: Weights, draw: Array) -> PyTree:
    """The model at a draw, with a draw of the weights that were integrated out.

    Its key is made of the number of the draw and of the bits of `w`, so that chains differ and a
    resumed run repeats.
    """
    key = jax.random.fold_in(jax.random.key(0), draw)
    for _, leaf in sorted(w.items()):
        bits = jax.lax.bitcast_convert_type(leaf.astype(jnp.float32), jnp.uint32)
        key = jax.random.fold_in(key, jnp.sum(bits, dtype=jnp.uint32))
    return gibbs.complete(w, key)
