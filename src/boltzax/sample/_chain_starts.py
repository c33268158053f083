"""Starts of chains: draws of the prior or a given place, checked to be finite."""

from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..compile import Gibbs, Weights
from ..core import DeclarationError, Said
from ._dynamics import over_chains, set_beta
from ._kernel import AbstractGradientFree, AbstractKernel, noise_like
from ._unadjusted import AbstractUnadjusted

Start: TypeAlias = Annotated[
    Weights,
    Said("coordinates of one place, by path", "pass gibbs.position(model), or leave it out"),
]
"""Where all chains start."""

DERIVATIVE_PLACES = 4
"""Places near the start where a derivative is compared with a difference."""

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
        return copies(place, shape)
    places, finite = _drawn(gibbs, key, chains, gradient)
    for attempt in range(1, TRIES):
        bad = ~(np.asarray(finite["log_prior"]) & np.asarray(finite["energy"]))
        if not bad.any():
            break
        bad = jnp.asarray(bad, bool)
        others, found = _drawn(gibbs, jax.random.fold_in(key, attempt), chains, gradient)
        places = _where(bad, others, places)
        finite = _where(bad, found, finite)
    _check(gibbs, finite)
    first = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(shape) :])[0], places)
    _check_derivative(gibbs, first, key, kernel)
    return places


@eqx.filter_jit
def copies(start: Weights, shape: tuple[int, ...]) -> Weights:
    """One place at every entry of leading axes."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape + leaf.shape), start)


def check_start(gibbs: Gibbs, start: Weights, key: PRNGKeyArray, kernel: AbstractKernel) -> None:
    """Raise `DeclarationError` unless everything is finite at one place, at every beta.

    For a kernel without a Metropolis test, also unless the gradient is that of the energy.
    """
    gradient = not isinstance(kernel, AbstractGradientFree)
    shape = (*gibbs.beta.shape, 1)
    _check(gibbs, _examined(gibbs, copies(start, shape), key, gradient))
    _check_derivative(gibbs, start, key, kernel)


def _given(gibbs: Gibbs, start: Weights, key: PRNGKeyArray) -> Weights:
    expected = jax.eval_shape(gibbs.sample_prior, key)
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


def _check_derivative(gibbs: Gibbs, w: Weights, key: PRNGKeyArray, kernel: AbstractKernel) -> None:
    """Raise `DeclarationError` if the gradient is not that of the log-density.

    Without a Metropolis test the gradient alone decides what is sampled. It is compared with
    symmetric differences at `DERIVATIVE_PLACES` random places near the start (at a minimum both are
    zero), and refused if it differs at all but one, by 2% and by more than rounding: a kink can be
    hit once.
    """
    if not isinstance(kernel, AbstractUnadjusted):
        return
    beta = gibbs.beta.reshape(-1)[0]
    slope, difference, rounding = map(np.asarray, _slopes(set_beta(gibbs, beta), w, key))
    off = np.abs(slope - difference)
    bad = off > 0.02 * (np.abs(slope) + np.abs(difference)) + rounding
    if np.sum(bad & np.isfinite(off + rounding)) >= DERIVATIVE_PLACES - 1:
        worst = int(np.argmax(np.where(np.isfinite(off), off, -np.inf)))
        raise DeclarationError(
            "model",
            got="a gradient that is not that of the energy: a slope of "
            f"{slope[worst]:.4g} of the log-density where it changes by {difference[worst]:.4g}",
            expected="the derivative of the energy: a kernel without a Metropolis test samples "
            "what the gradient says",
            mend="look for jax.lax.stop_gradient, a straight-through estimator, a derivative of "
            "your own, or a rounded or discrete function; freeze weights by a chart, "
            "bx.Freeze(...); or use a kernel with a Metropolis test, bx.MALA() or bx.RandomWalk()",
        )


@eqx.filter_jit
def _slopes(gibbs: Gibbs, w: Weights, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
    """Slopes along random directions at random places near `w`, differences, and their rounding."""

    size = {path: 0.03 * (jnp.sqrt(jnp.mean(leaf**2)) + 0.03) for path, leaf in w.items()}

    def one(key):
        key_place, key_direction, key_batch = jax.random.split(key, 3)
        place = {path: w[path] + size[path] * z for path, z in noise_like(w, key_place).items()}
        along = {path: size[path] * z for path, z in noise_like(w, key_direction).items()}

        def density(h):
            moved = {path: place[path] + h * along[path] for path in w}
            return gibbs.log_prob_estimate(moved, key_batch)

        value, gradient = jax.value_and_grad(
            lambda place: gibbs.log_prob_estimate(place, key_batch)
        )(place)
        step = float(jnp.finfo(value.dtype).eps) ** (1 / 3)
        slope = sum(jnp.vdot(gradient[path], along[path]) for path in w)
        difference = (density(step) - density(-step)) / (2 * step)
        return slope, difference, 50 * jnp.finfo(value.dtype).eps * jnp.abs(value) / step

    return jax.lax.map(one, jax.random.split(key, DERIVATIVE_PLACES))


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
