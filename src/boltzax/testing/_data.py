"""What every measure on data must pass."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree
from scipy import stats

from boltzax.core import Count, DeclarationError, Estimate, Key, Positive, typed
from boltzax.declare import AbstractBasis, AbstractMeasure

from ._conformance import THRESHOLD

ESTIMATES = 64
"""Keys at which the estimate is compared with the integral."""

CALLS, DRAWS = 128, 64
"""Calls of `sample`, and draws of each, that are compared for independence."""

MOST = 32
"""How many entries are looked at for that."""

FALSE_ALARM = 1e-6
"""Probability that independent draws are called dependent."""

NEXT = 8
"""How many of the next entries each is multiplied with: all pairs, up to 17 entries."""


def _entries(datum) -> Array:
    """All entries of a datum, their squares, and products of each with the next ones."""
    flat = [jnp.ravel(leaf).astype(float) for leaf in jax.tree.leaves(datum)]
    x = jnp.concatenate(flat)
    products = [x * jnp.roll(x, -i) for i in range(1, min(len(x) // 2, NEXT) + 1)]
    return jnp.concatenate([x, x**2, *products])


@eqx.filter_jit
def _integrals(
    measure: AbstractMeasure, fn: Callable, key: PRNGKeyArray
) -> tuple[Array, Array, Array]:
    keys = jax.random.split(key, ESTIMATES)
    return measure.mass, measure.integrate(fn), jax.vmap(lambda k: measure.estimate(fn, k))(keys)


@typed
def check_measure(
    measure: AbstractMeasure,
    fn: Callable | None = None,
    *,
    key: Key,
    count: Count = 4096,
    rtol: Positive = 1e-9,
) -> None:
    """Raise `AssertionError` unless a measure on data does what it must.

    - Nodes have a leading axis, as many weights, and the shapes and dtypes of `datum`; the weights
      add up to `mass`, and none is negative unless the measure is `signed`.
    - `integrate(fn)` is the mass times the mean of `fn` over `sample`, within 5 standard errors,
      and draws have the shapes and dtypes of `datum`. A signed measure refuses to be drawn from.
    - Draws are independent, of one call and of several: over 128 keys with 64 draws each the mean
      rank of an entry, or of its square, scatters as that of independent draws. A `sample` that
      ignores its key, antithetic pairs, strata and copies are found.
    - `estimate` is unbiased: its mean over 64 keys is the integral within 5 standard errors, or to
      `rtol` where it does not depend on the key.
    - It is linear: `2 μ - μ` integrates to the same.
    - It passes through `jit`: its numbers are leaves, all else can be hashed.
    - `basis` gives a basis, or raises a `DeclarationError`.

    Of a right measure each mean is called wrong once in 1.7 million times if its errors are normal
    (an entry of heavy tails needs more draws, or a bounded `fn`), and independent draws once in a
    million keys. A variance of the mean rank is found with near certainty if it is below 0.3 or
    above 3 times that of independent draws. A wrong law that has the right values of `fn` is not
    found.

    Args:
        measure: The measure.
        fn: A function of one datum that the nodes integrate well, with an array as result. All
            entries of a datum, their squares and the products of two of them if None (of more than
            17 entries, each with the 8 next ones).
        key: The key of draws and estimates.
        count: The number of draws.
        rtol: Relative error allowed where numbers must be equal.
    """
    fn = _entries if fn is None else fn
    key_draw, key_estimate = jax.random.split(key)
    points, weights = measure.nodes()
    assert _kinds(points) == _with_axis(measure.datum, len(weights)), "nodes are not of `datum`"
    least = np.min(np.asarray(weights), initial=0.0)
    assert measure.signed or least >= 0, f"a node has the weight {least}, but `signed` is False"
    mass, whole, estimates = map(np.asarray, _integrals(measure, fn, key_estimate))
    np.testing.assert_allclose(np.sum(weights), mass, rtol=rtol, err_msg="weights and mass")
    again = np.asarray((2.0 * measure - measure).integrate(fn))
    size = _size(fn, points, np.asarray(weights))
    np.testing.assert_allclose(again, whole, rtol=rtol, atol=rtol * size, err_msg="2 mu - mu")
    _check_mean("estimate", jnp.asarray(estimates), whole, rtol * max(size, 1.0))
    _check_basis(measure)
    if measure.signed:
        _check_refused(measure, key_draw)
        return
    draws = measure.sample(key_draw, count)
    assert _kinds(draws) == _with_axis(measure.datum, count), "draws are not of `datum`"
    values = jax.vmap(fn)(draws)
    _check_mean("sample", mass * values, whole, rtol * max(size, 1.0))
    _check_independent(measure, key_draw)


def _size(fn: Callable, points: PyTree, weights: np.ndarray) -> float:
    """The largest `Σ_i |w_i| |fn(x_i)|`: a mean near 0 is known to the rounding of this."""
    values = np.abs(np.asarray(jax.vmap(fn)(points), float))
    return float(np.max(np.tensordot(np.abs(weights), values, 1), initial=0.0))


def _check_independent(measure: AbstractMeasure, key: PRNGKeyArray) -> None:
    """Raise unless the mean ranks of many calls scatter as those of independent draws do."""
    keys = jax.random.split(jax.random.fold_in(key, 1), CALLS)
    calls = [measure.sample(each, DRAWS) for each in keys]
    draws = jax.tree.map(lambda *leaves: np.concatenate(leaves), *calls)
    flat = [np.reshape(leaf, (CALLS * DRAWS, -1)).astype(float) for leaf in jax.tree.leaves(draws)]
    x = np.concatenate(flat, axis=-1)[:, :MOST]
    ranks = stats.rankdata(np.concatenate([x, x**2], axis=-1), axis=0)  # bounded: no heavy tails
    varies = np.var(ranks, axis=0) > 0
    ranks = ranks[:, varies]
    means = ranks.reshape(CALLS, DRAWS, -1).mean(axis=1)
    ratio = DRAWS * np.var(means, axis=0, ddof=1) / np.var(ranks, axis=0)
    tail = FALSE_ALARM / (2 * max(ratio.size, 1))
    low, high = stats.chi2(CALLS - 1).ppf([tail, 1 - tail]) / (CALLS - 1)
    assert np.all((ratio > low) & (ratio < high)), (
        f"draws are not independent: the variance of a mean over {DRAWS} is {ratio} times that of "
        f"independent ones (0 if `sample` ignores its key), not between {low:.2f} and {high:.2f}"
    )


def _check_mean(name: str, values: Array, truth: np.ndarray, allowed: float) -> None:
    found = Estimate.of_samples(values)
    away = np.abs(np.asarray(found.value) - truth)
    near = away <= THRESHOLD * np.nan_to_num(np.asarray(found.standard_error)) + allowed
    assert np.all(near), f"`{name}` gives {found} where the nodes give {truth}"


def _check_refused(measure: AbstractMeasure, key: PRNGKeyArray) -> None:
    try:
        measure.sample(key, 2)
    except DeclarationError:
        return
    raise AssertionError("a signed measure was drawn from")


def _check_basis(measure: AbstractMeasure) -> None:
    try:
        found = measure.basis()
    except DeclarationError:
        return
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise AssertionError(f"`basis` raises no DeclarationError, but {said}") from error
    assert isinstance(found, AbstractBasis), f"`basis` gives {found!r:.80}"


def _kinds(tree) -> tuple:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def _with_axis(datum, count: int) -> tuple:
    leaves, structure = jax.tree.flatten(datum)
    return structure, [((count, *leaf.shape), leaf.dtype) for leaf in leaves]
