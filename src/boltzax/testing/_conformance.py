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

from ._kernel_target import BETAS, BegunElsewhere, kernel_target, moments, standard

THRESHOLD = 5.0
"""Standard errors beyond which a moment is called wrong."""

BETA = 3.0

MOST_STEPS = 400
"""Steps at fixed tuning in which every weight must move."""


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
    draws: Annotated[int, whole(4)] = 4000,
) -> None:
    """Raise `AssertionError` unless a kernel does what a kernel must.

    - It samples a measure of four weights at β = 3 and at β = 1.5: a vector of two and two numbers,
      one of which lies in a skew quartic well. Means, variances and fourth moments, and the means
      of the products of pairs, are each within 5 standard errors of autocorrelated means. The
      chains at β = 1.5 begin at β = 0.75 and are then `moved` to their own, as a population is
      that is carried along a ladder.
    - It has at least 200 effective draws, so that there is something to judge.
    - The structure, shapes and dtypes of its state never change.
    - A step is pure: the same arguments give the same state.
    - `moved` puts the chain where it is told and keeps the structure and the tuning. What it gives
      depends on the place, the measure and the key alone: no density or gradient of the old place,
      or of another β, is left.
    - At gain 0 a step changes nothing but the place: a chain that is put back walks on as if the
      steps at gain 0 had not been, at another β or at its own.

    What it catches: a mean or variance that is wrong by a tenth of its standard deviation, with
    near certainty; noise that is the same for all paths, or for paths of equal shape; an inverse
    temperature that is kept from `init` or from an earlier step; a step without a Metropolis test
    that is exact for Gaussian measures only, if its bias at the quartic well is of this size (one
    of second order is below it where the step times the curvature is less than about a half).

    A right kernel fails one of the 36 numbers by chance once in 48 000 runs if the errors are
    normal, and more often if it is slow (with 2000 draws instead of 4000, three of 60 keys for a
    walk of one step size; with 4000 none). The answer for one `key` never changes.
    """
    gibbs = kernel_target()
    _check_steps(kernel, gibbs.at(BETAS[0]), key)
    trace = sample(
        gibbs, BegunElsewhere(kernel), key=key, chains=chains, warmup=warmup, draws=draws,
        throw=False,
    )  # fmt: skip
    assert trace.w is not None
    x = standard(trace.w)
    assert np.all(np.isfinite(x)), "draws that are not finite"
    assert np.all((trace.acceptance >= 0) & (trace.acceptance <= 1 + 1e-12)), "acceptance"
    _check_moment("mean", x, 0.0)
    _check_moment("variance", x**2, 1.0)
    _check_moment("fourth moment", x**4, moments()[2])
    _check_moment("product", products(x), 0.0)


def _check_moment(name: str, values: np.ndarray, truth: float | np.ndarray) -> None:
    """Of values `[number, beta, chain, draw]`."""
    estimate = Estimate.of_series(jnp.asarray(values))
    z = np.asarray(estimate.z_score(jnp.asarray(truth)))
    assert np.all(np.asarray(estimate.ess) >= 200), f"{name}: only {estimate.ess} effective draws"
    assert np.all(np.abs(z) < THRESHOLD), (
        f"{name} at β = {BETAS}: {np.asarray(estimate.value)} instead of {truth}, {z} standard "
        "errors away"
    )


def _check_steps(kernel: AbstractKernel, gibbs: Gibbs, key: PRNGKeyArray) -> None:
    warmup = 10
    key_place, key_init, key_step, key_other = jax.random.split(key, 4)
    w = gibbs.sample_prior(key_place)
    state = eqx.filter_jit(kernel.init)(gibbs, w, key_init, warmup)
    assert _equal(kernel.position(state), w), "`init` does not start where it is told"

    @eqx.filter_jit
    def step_at(gibbs, state, key, gain):
        return kernel.step(gibbs, state, key, gain, warmup)

    step = functools.partial(step_at, gibbs)
    shape = _shape(state)
    for number in range(warmup + 2):
        gain = jnp.asarray(0.5 if number < warmup else 0.0)
        state, move = step(state, jax.random.fold_in(key_step, number), gain)
        assert _shape(state) == shape, "a step changed the structure of the state"
        assert move.acceptance.shape == () and move.divergent.shape == (), "what a step reports"
    _check_finite(kernel, state)
    again = [step(state, key_other, jnp.zeros(())) for _ in range(2)]
    assert _equal(*again), "a step is not a function of its arguments"
    moved = _moved(kernel, gibbs, state, w, key_other)
    assert _shape(moved) == shape, "`moved` changed the structure of the state"
    assert _equal(kernel.position(moved), w), "`moved` does not move there"
    for other in (gibbs.beta, 0.5 * gibbs.beta):
        walk = functools.partial(step_at, gibbs.at(other))
        _check_tuning(kernel, gibbs, state, step, walk, key_other, w)


@eqx.filter_jit
def _moved(kernel, gibbs, state, w, key):
    return kernel.moved(gibbs, state, w, key)


def _check_tuning(kernel, gibbs, state, step, walk, key, w) -> None:
    """After steps at gain 0, by `walk`, a chain put back must go on as if they had not been."""
    walked, number = state, 0
    # until it is nowhere where it was: what has stayed is then the tuning
    while number < 20 or (_stays(kernel, state, walked) and number < MOST_STEPS):
        walked, _ = walk(walked, jax.random.fold_in(key, number), jnp.zeros(()))
        number += 1
    _check_finite(kernel, walked)
    assert not _stays(kernel, state, walked), f"a weight has not moved in {MOST_STEPS} steps"
    fresh, after = (_moved(kernel, gibbs, s, w, key) for s in (state, walked))
    _check_moved(functools.partial(_still, step), state, walked, fresh, after, key)
    for number in range(20):
        same = jax.random.fold_in(key, 100 + number)
        fresh, _ = step(fresh, same, jnp.zeros(()))
        after, _ = step(after, same, jnp.zeros(()))
        near = jax.tree.map(
            lambda a, b: np.allclose(a, b, rtol=1e-9), *map(kernel.position, (fresh, after))
        )
        assert all(jax.tree.leaves(near)), "a step at gain 0 changed the tuning"


def _check_finite(kernel, state) -> None:
    places = jax.tree.leaves(kernel.position(state))
    assert all(np.all(np.isfinite(leaf)) for leaf in places), "steps to a place that is not finite"


def _stays(kernel, before, after) -> bool:
    """Whether some leaf of the place is as it was."""
    pairs = zip(*map(jax.tree.leaves, map(kernel.position, (before, after))), strict=True)
    return any(bool(jnp.array_equal(a, b)) for a, b in pairs)


def _still(step, state, key):
    """A step at gain 0."""
    return step(state, key, jnp.zeros(()))


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
        assert np.allclose(*said, rtol=1e-9, equal_nan=True), (
            "`moved` kept something of the place before"
        )


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
