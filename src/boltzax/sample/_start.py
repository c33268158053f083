"""Where chains start: at draws of the prior, or at a given place; all is finite there."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..compile import Gibbs, Weights
from ..core import DeclarationError
from ._dynamics import over_chains, set_beta
from ._kernel import AbstractGradientFree, AbstractKernel

TRIES = 20
"""Draws of the prior from which a start with a finite energy is taken, the first that has one."""


def starts(
    gibbs: Gibbs,
    start: Weights | None,
    key: PRNGKeyArray,
    chains: int,
    kernel: AbstractKernel,
) -> Weights:
    """Starting places with axes `[*beta, chain]`: draws of the prior, or one given place.

    Args:
        gibbs: the measure, at one beta or at a vector of them.
        start: coordinates of one place, or None for a draw of the prior for each chain. A draw
            whose energy is not finite is drawn again.
        key: for the draws of the prior.
        chains: the number of chains.
        kernel: its gradient is looked at too, unless it takes none.

    Returns:
        The starts.

    Raises:
        DeclarationError: `start` has other shapes; or coordinates, log-prior, energy or gradient
            are not finite at a start. The weight is named.
    """
    shape = (*gibbs.beta.shape, chains)
    gradient = not isinstance(kernel, AbstractGradientFree)
    if start is not None:
        place = _given(gibbs, start, key)
        check_start(gibbs, place, key, kernel)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape + leaf.shape), place)
    places, finite = _drawn(gibbs, key, chains, gradient)
    for attempt in range(1, TRIES):
        bad = ~(finite["log_prior"] & finite["energy"])
        if not bool(jnp.any(bad)):
            break
        others, found = _drawn(gibbs, jax.random.fold_in(key, attempt), chains, gradient)
        places = _where(bad, others, places)
        finite = _where(bad, found, finite)
    _check(gibbs, finite)
    return places


def check_start(gibbs: Gibbs, start: Weights, key: PRNGKeyArray, kernel: AbstractKernel) -> None:
    """Raise `DeclarationError` unless all is finite at one place, at every beta."""
    gradient = not isinstance(kernel, AbstractGradientFree)
    shape = (*gibbs.beta.shape, 1)
    place = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape + leaf.shape), start)
    _check(gibbs, _examined(gibbs, place, key, gradient))


def _given(gibbs: Gibbs, start: Weights, key: PRNGKeyArray) -> Weights:
    expected = jax.eval_shape(gibbs.sample_prior, key)
    got = start
    if isinstance(start, dict):
        got = {path: jnp.shape(leaf) for path, leaf in start.items()}
    if got != {path: leaf.shape for path, leaf in expected.items()}:
        raise DeclarationError(
            "start",
            got=f"{got!r:.200}",
            expected=f"coordinates { ({k: v.shape for k, v in expected.items()}) }",
            mend="pass gibbs.position(model), or leave it out",
        )
    return {path: jnp.asarray(leaf) for path, leaf in start.items()}


@eqx.filter_jit
def _drawn(gibbs: Gibbs, key: PRNGKeyArray, chains: int, gradient: bool) -> PyTree:
    """Draws of the prior, and what is finite there."""
    dummy = jnp.zeros((*gibbs.beta.shape, chains))
    places = over_chains(lambda b, _, k: gibbs.sample_prior(k), gibbs.beta, dummy, key)
    return places, _look(gibbs, places, key, gradient)


@eqx.filter_jit
def _examined(gibbs: Gibbs, places: Weights, key: PRNGKeyArray, gradient: bool) -> PyTree:
    return _look(gibbs, places, key, gradient)


def _look(gibbs: Gibbs, places: Weights, key: PRNGKeyArray, gradient: bool) -> PyTree:
    """What is finite at each place: coordinates, log-prior, energy, gradient."""

    def finite(leaf: Array) -> Array:
        return jnp.all(jnp.isfinite(leaf))

    def one(beta, w, key):
        here = set_beta(gibbs, beta)
        found = {
            "coordinates": {path: finite(leaf) for path, leaf in w.items()},
            "log_prior": finite(here.log_prior(w)),
            "energy": finite(here.energy(w)),
        }
        if gradient:
            slope = jax.grad(here.log_prob_estimate)(w, key)
            found["gradient"] = {path: finite(leaf) for path, leaf in slope.items()}
        return found

    return over_chains(one, gibbs.beta, places, key)


def _where(chosen: Array, new: PyTree, old: PyTree) -> PyTree:
    def one(a: Array, b: Array) -> Array:
        return jnp.where(chosen.reshape(chosen.shape + (1,) * (a.ndim - chosen.ndim)), a, b)

    return jax.tree.map(one, new, old)


def _check(gibbs: Gibbs, finite: PyTree) -> None:
    """Raise `DeclarationError` for the first thing that is not finite."""
    finite = jax.tree.map(lambda leaf: bool(np.all(np.asarray(leaf))), finite)
    for path, good in finite["coordinates"].items():
        if not good:
            raise DeclarationError(
                f"start[{path!r}]",
                got="coordinates that are not finite",
                expected=f"a place inside the support {gibbs.coordinates.priors[path].support}",
                mend="move the weights away from the edge of the support",
            )
    for name, what in (("log_prior", "log-density of the prior"), ("energy", "energy")):
        if not finite[name]:
            raise DeclarationError(
                "start",
                got=f"a place where the {what} is not finite, a non-finite start",
                expected="a finite log-density at the start of every chain",
                mend="evaluate energy.value(model) there and look for an overflow, a logarithm or "
                "root outside its domain, a NaN in the data; or pass start=gibbs.position(model)",
            )
    for path, good in finite.get("gradient", {}).items():
        if not good:
            raise DeclarationError(
                f"model.{path}",
                got="a gradient that is not finite at the start, where the energy is",
                expected="a finite gradient with respect to every weight",
                mend="look for a norm or a root at 0, also in the branch of a jnp.where that is "
                "not taken: its gradient is computed too (put a safe argument there as well); or "
                "use a kernel without gradients, bx.RandomWalk()",
            )
