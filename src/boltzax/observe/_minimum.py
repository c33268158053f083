"""Whether w* is a minimum of the loss, up to the noise of the data."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..compile import Gibbs, Weights
from ..core import with_weights
from ..declare import AbstractDataTerm, AbstractEnergy, Empirical, Subsampled

BLOCKS = 32
"""Pieces of the data whose gradients are compared."""


ITERATIONS = 200
"""Iterations of a descent, at most."""

STILL, STILL_FOR = 1e-6, 10
"""A descent ends after 10 iterations that lower `-log p` by less than so many nats each."""


def descend(
    gibbs: Gibbs, w: Weights, gradients: int = 10 * ITERATIONS
) -> tuple[Weights, Float[Array, ""], int]:
    """The localised minimum next to `w`: L-BFGS on `-log p`, and the energy there.

    The energy is NaN if the gradient at `w` is not finite: nothing was descended. Where the
    gradients do not suffice it is an upper bound on that of the minimum.

    Args:
        gibbs: The measure.
        w: Where to begin.
        gradients: The most gradients, those of the line searches included.

    Returns:
        The lowest place, its energy, and how many gradients it took.
    """
    search = max(1, min(20, (gradients - 1) // 2))
    lowest, energy, taken = _descend(gibbs, w, jnp.asarray(gradients - search), search)
    return lowest, energy, int(taken)


@eqx.filter_jit
def _descend(
    gibbs: Gibbs, w: Weights, most: Array, search: int
) -> tuple[Weights, Float[Array, ""], Array]:
    """While fewer than `most` gradients were taken; a line search takes at most `search`."""
    line_search = optax.scale_by_zoom_linesearch(search, initial_guess_strategy="one")
    optimiser = optax.lbfgs(memory_size=10, linesearch=line_search)

    def loss(w):
        return -gibbs.log_prob(w)

    both = optax.value_and_grad_from_state(loss)

    def step(carry):
        w, state, best, where, defined, count, taken, still = carry
        value, gradient = both(w, state=state)
        updates, state = optimiser.update(
            gradient, state, w, value=value, grad=gradient, value_fn=loss
        )
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)]
        defined &= (count > 0) | jnp.all(jnp.stack(finite))
        better = value < best
        where = jax.tree.map(lambda a, b: jnp.where(better, a, b), w, where)
        w = optax.apply_updates(w, updates)
        still = jnp.where(value < best - STILL, 0, still + 1)
        line: Any = state
        taken += line[-1].info.num_linesearch_steps
        return w, state, jnp.minimum(value, best), where, defined, count + 1, taken, still

    def go_on(carry):
        *_, count, taken, still = carry
        return (count < ITERATIONS) & (taken <= most) & (still < STILL_FOR)

    begin = (w, optimiser.init(w), jnp.asarray(jnp.inf), w, jnp.array(True), 0, jnp.asarray(1), 0)
    final = jax.lax.while_loop(go_on, step, begin)
    # the last step has not been looked at
    lowest, defined, taken = final[3], final[4], final[6]
    return lowest, jnp.where(defined, gibbs.energy(lowest), jnp.nan), taken


def gradient_chance(
    energy: AbstractEnergy, gibbs: Gibbs, key: PRNGKeyArray, trials: int = 2000
) -> float | None:
    """Chance of so large a mean gradient at w* if each datum's gradient had expectation zero.

    The data are cut into 32 random blocks with gradients `g_a`; under the hypothesis the sign of
    each block is arbitrary, which gives the law of `Σ_{a≠b} s_a s_b g_a·g_b` by flipping signs (a
    randomisation test: exact for symmetric noise, Fisher 1935). None if the energy is not one data
    term over an `Empirical` measure of 32 data or more.
    """
    pieces = _blocks(energy, key)
    if pieces is None:
        return None
    gram = np.asarray(_gram(pieces, gibbs, gibbs.position()))
    if not np.all(np.isfinite(gram)):
        return float("nan")
    off = gram - np.diag(np.diag(gram))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(trials, len(gram)))
    null = np.einsum("ta,ab,tb->t", signs, off, signs)
    return float((1 + np.sum(null >= off.sum())) / (1 + trials))


@eqx.filter_jit
def _gram(pieces, gibbs: Gibbs, w: Weights) -> Float[Array, "block block"]:
    term, points, weights = pieces

    def gradient(block):
        data, each = block

        def loss(w):
            weights = gibbs.constrain(w)
            losses = jax.vmap(lambda z: term.loss(with_weights(term.model, weights), z))(data)
            return jnp.sum(each * losses)

        return jax.grad(loss)(w)

    rows = jax.lax.map(gradient, (points, weights))
    flat = jnp.concatenate([leaf.reshape(BLOCKS, -1) for leaf in jax.tree.leaves(rows)], axis=1)
    return flat @ flat.T


def _blocks(energy: AbstractEnergy, key: PRNGKeyArray) -> PyTree | None:
    """The data term with its data in random blocks of equal size (a remainder is left out)."""
    terms = [term for _, term in energy.terms() if isinstance(term, AbstractDataTerm)]
    if len(terms) != 1 or not isinstance(terms[0].measure, Empirical | Subsampled):
        return None
    points, weights = terms[0].measure.nodes()
    size = len(weights) // BLOCKS
    if size == 0:
        return None
    order = jax.random.permutation(key, len(weights))[: size * BLOCKS]

    def cut(leaf: Array) -> Array:
        return leaf[order].reshape(BLOCKS, size, *leaf.shape[1:])

    return terms[0], jax.tree.map(cut, points), cut(weights)
