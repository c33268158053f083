"""What every Markov kernel must pass."""

import functools
import itertools
from typing import Annotated, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from boltzax.compile import Gibbs, compile
from boltzax.core import Count, Estimate, Key, Whole, typed, whole
from boltzax.declare import Empirical, Function, Independent, Normal, SquaredError
from boltzax.sample import AbstractKernel, sample

THRESHOLD = 5.0
"""Standard errors beyond which a moment is called wrong."""

BETA = 3.0


class Target(NamedTuple):
    """A Gaussian measure over weights of two paths, with its mean and its covariance."""

    gibbs: Gibbs
    mean: np.ndarray
    covariance: np.ndarray

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of each coordinate."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def correlations(self) -> np.ndarray:
        """Of each pair of coordinates, as `products` orders them."""
        matrix = self.covariance / np.outer(self.deviation, self.deviation)
        return matrix[np.triu_indices(len(matrix), 1)]

    def standard(self, w: PyTree) -> np.ndarray:
        """Draws of the weights with mean 0 and variance 1, `[coordinate, chain, draw]`."""
        return (flat(w) - self.mean[:, None, None]) / self.deviation[:, None, None]


def flat(w: PyTree) -> np.ndarray:
    """Draws `[chain, draw, ...]` of all weights, `[coordinate, chain, draw]`."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(w)]
    return np.concatenate([np.moveaxis(x.reshape(*x.shape[:2], -1), -1, 0) for x in leaves])


def linear_model(dim: int) -> Function:
    """`w·x` with the weights in two paths: a vector, and a number for the last."""

    def line(w, x):
        return jnp.dot(w["vector"], x[:-1]) + w["zero"] * x[-1]

    return Function(line, {"vector": jnp.zeros(dim - 1), "zero": jnp.zeros(())})


@functools.cache
def gaussian_target() -> Target:
    """A Gaussian of three coordinates at β = 3.

    Prior `w ~ N(0, 1)`, energy `½ Σ_i k_i (w_i - c_i)²`: precision `1 + β k`, mean `β k c/(1+βk)`.
    """
    stiffness, centre = np.array([1.0, 4.0, 2.0]), np.array([1.0, -0.5, 0.3])
    data = Empirical((np.eye(3), centre), weights=stiffness)
    prior = Independent({"*": Normal(0.0, 1.0)})
    energy = SquaredError(linear_model(3), data)
    gibbs = compile(energy, prior, beta=BETA, integral="nodes", marginalise=False)
    precision = 1 + BETA * stiffness
    return Target(gibbs, BETA * stiffness * centre / precision, np.diag(1 / precision))


def products(x: np.ndarray) -> np.ndarray:
    """`x_i x_j` of each pair of coordinates, `[pair, chain, draw]`."""
    return np.stack([a * b for a, b in itertools.combinations(x, 2)])


@typed
def check_kernel(
    kernel: AbstractKernel,
    *,
    key: Key,
    chains: Count = 4,
    warmup: Whole = 400,
    draws: Annotated[int, whole(4)] = 2000,
) -> None:
    """Raise `AssertionError` unless a kernel does what a kernel must.

    - It samples a Gaussian of three weights at β = 3, a vector of two and a number: their means,
      variances and fourth moments, and the means of the products of pairs, each within 5 standard
      errors of autocorrelated means. A right kernel fails one of the twelve by chance once in
      140 000 runs if the errors are normal, some ten times as often with the few hundred effective
      draws of a slow kernel; and the answer for one `key` never changes. A mean or variance that is
      wrong by a tenth of its standard deviation is found with near certainty; so is a kernel whose
      noise is the same for all paths.
    - It has at least 200 effective draws, so that there is something to judge.
    - The structure, shapes and dtypes of its state never change.
    - A step is pure: the same arguments give the same state.
    - `moved` puts the chain where it is told and keeps the structure and the tuning. What it gives
      depends on the place and the key alone: no density or gradient of the old place is left.
    - At gain 0 a step changes nothing but the place: a chain that is put back walks on as if the
      steps at gain 0 had not been.
    """
    target = gaussian_target()
    gibbs = target.gibbs
    _check_steps(kernel, gibbs, key)
    trace = sample(gibbs, kernel, key=key, chains=chains, warmup=warmup, draws=draws, throw=False)
    assert trace.w is not None
    x = target.standard(trace.w)
    assert np.all(np.isfinite(x)), "draws that are not finite"
    assert np.all((trace.acceptance >= 0) & (trace.acceptance <= 1 + 1e-12)), "acceptance"
    _check_moment("mean", Estimate.of_series(jnp.asarray(x)), 0.0)
    _check_moment("variance", Estimate.of_series(jnp.asarray(x**2)), 1.0)
    _check_moment("fourth moment", Estimate.of_series(jnp.asarray(x**4)), 3.0)
    _check_moment("product", Estimate.of_series(jnp.asarray(products(x))), 0.0)


def _check_moment(name: str, estimate: Estimate, truth: float) -> None:
    z = np.asarray(estimate.z_score(truth))
    assert np.all(np.asarray(estimate.ess) >= 200), f"{name}: only {estimate.ess} effective draws"
    assert np.all(np.abs(z) < THRESHOLD), (
        f"{name}: {np.asarray(estimate.value)} instead of {truth}, {z} standard errors away"
    )


def _check_steps(kernel: AbstractKernel, gibbs: Gibbs, key: PRNGKeyArray) -> None:
    warmup = 10
    key_place, key_init, key_step, key_other = jax.random.split(key, 4)
    w = gibbs.sample_prior(key_place)
    state = eqx.filter_jit(kernel.init)(gibbs, w, key_init, warmup)
    assert _equal(kernel.position(state), w), "`init` does not start where it is told"

    @eqx.filter_jit
    def step(kernel, state, key, gain):
        return kernel.step(gibbs, state, key, gain, warmup)

    shape = _shape(state)
    for number in range(warmup + 2):
        gain = jnp.asarray(0.5 if number < warmup else 0.0)
        state, move = step(kernel, state, jax.random.fold_in(key_step, number), gain)
        assert _shape(state) == shape, "a step changed the structure of the state"
        assert move.acceptance.shape == () and move.divergent.shape == (), "what a step reports"
    again = [step(kernel, state, key_other, jnp.zeros(())) for _ in range(2)]
    assert _equal(*again), "a step is not a function of its arguments"
    moved = _moved(kernel, gibbs, state, w, key_other)
    assert _shape(moved) == shape, "`moved` changed the structure of the state"
    assert _equal(kernel.position(moved), w), "`moved` does not move there"
    _check_tuning(kernel, gibbs, state, step, key_other, w)


@eqx.filter_jit
def _moved(kernel, gibbs, state, w, key):
    return kernel.moved(gibbs, state, w, key)


def _check_tuning(kernel, gibbs, state, step, key, w) -> None:
    """After steps at gain 0 a chain put back must walk as if they had not been."""
    walked = state
    for number in range(20):
        walked, _ = step(kernel, walked, jax.random.fold_in(key, number), jnp.zeros(()))
    fresh, after = (_moved(kernel, gibbs, s, w, key) for s in (state, walked))
    _check_moved(functools.partial(_still, kernel, step), state, walked, fresh, after, key)
    for number in range(20):
        same = jax.random.fold_in(key, 100 + number)
        fresh, _ = step(kernel, fresh, same, jnp.zeros(()))
        after, _ = step(kernel, after, same, jnp.zeros(()))
        near = jax.tree.map(
            lambda a, b: np.allclose(a, b, rtol=1e-9), *map(kernel.position, (fresh, after))
        )
        assert all(jax.tree.leaves(near)), "a step at gain 0 changed the tuning"


def _still(kernel, step, state, key):
    """A step at gain 0."""
    return step(kernel, state, key, jnp.zeros(()))


def _check_moved(step, state, walked, fresh, after, key) -> None:
    """Two states of one chain that are moved to one place go on alike.

    What steps at gain 0 left as it was is tuning, which is kept.
    """
    for leaves in zip(*map(jax.tree.leaves, (state, walked, fresh)), strict=True):
        before, later, first = map(_data, leaves)
        tuning = bool(jnp.array_equal(before, later))
        kept = np.allclose(first, before, rtol=1e-9, equal_nan=True)
        inexact = jnp.issubdtype(before.dtype, jnp.inexact)
        assert kept or not (tuning and inexact), "`moved` changed the tuning"
    for number in range(32):
        same = jax.random.fold_in(key, 200 + number)
        said = [step(each, same)[1].acceptance for each in (fresh, after)]
        assert np.allclose(*said, rtol=1e-9), "`moved` kept something of the place before"


def _shape(tree) -> tuple:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def _equal(first, second) -> bool:
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(bool(jnp.array_equal(_data(a), _data(b))) for a, b in pairs)


def _data(leaf):
    leaf = jnp.asarray(leaf)
    typed_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if typed_key else leaf
