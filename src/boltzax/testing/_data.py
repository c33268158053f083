"""What every measure on data must pass."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from boltzax.core import Count, DeclarationError, Estimate, Key, Positive, typed
from boltzax.declare import AbstractBasis, AbstractMeasure

from ._conformance import THRESHOLD

ESTIMATES = 64
"""Keys at which the estimate is compared with the integral."""

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
    - `estimate` is unbiased: its mean over 64 keys is the integral within 5 standard errors, or to
      `rtol` where it does not depend on the key.
    - It is linear: `2 μ - μ` integrates to the same.
    - It passes through `jit`: its numbers are leaves, all else can be hashed.
    - `basis` gives a basis, or raises a `DeclarationError`.

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
    size = np.max(np.abs(whole), initial=0.0)
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
