"""Functions of the model at the draws of a chunk of a run."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..compile import Gibbs
from ..core import DeclarationError, map_within
from ..sample import Chains


def mapped(fn: Callable) -> Callable[[Chains, int, PyTree], np.ndarray]:
    """`fn(model)` at every draw of a chunk; compiled once for all chunks."""

    @eqx.filter_jit
    def run(gibbs: Gibbs, w: PyTree, numbers: jax.Array):
        shape = jax.tree.leaves(w)[0].shape[: gibbs.beta.ndim + 2]
        keys = jax.vmap(
            lambda draw: jax.random.split(jax.random.fold_in(jax.random.key(0), draw), shape[1:])
        )(numbers)
        betas = jnp.broadcast_to(gibbs.beta[..., None], shape)

        def at_draw(draw):
            w, key, beta = draw
            return fn(eqx.tree_at(lambda g: g.beta, gibbs, beta).complete(w, key))

        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[len(shape) :]), (w, keys, betas))
        out = map_within(at_draw, flat)
        return out.reshape(*shape, *out.shape[1:])

    def evaluated(dynamics: Chains, first: int, records: PyTree) -> np.ndarray:
        if not isinstance(dynamics, Chains) or "w" not in records:
            raise DeclarationError(
                "derive",
                got="a run without draws",
                expected="draws to evaluate functions at",
                mend="leave out keep=False",
            )
        count = len(records["energy"])
        return np.asarray(run(dynamics.gibbs, records["w"], first + jnp.arange(count)))

    return evaluated
