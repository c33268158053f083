"""What every sampler without a Metropolis test must pass."""

import functools
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from boltzax.compile import Gibbs, compile
from boltzax.core import Count, Estimate, Key, Positive, Whole, typed, whole
from boltzax.declare import Empirical, Independent, Normal, SquaredError, Subsampled
from boltzax.sample import AbstractKernel, AbstractUnadjusted, Chains, sample

from ._conformance import (
    BETA,
    THRESHOLD,
    Target,
    _check_steps,
    gaussian_target,
    linear_model,
    products,
)

BIAS = 0.25
"""Relative error of a variance that the step which a kernel chooses may make."""


@functools.cache
def noisy_target() -> Target:
    """A regression of 32 noisy data in minibatches of 4 at β = 3.

    `E = ½ mean (w·x - y)²`, `⟨xxᵀ⟩ ≈ diag(1, 4)`, residuals of size 1.5: the noise of a minibatch
    has about the variance that the gradient has over the posterior.
    """
    n, batch = 32, 4
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2)) * np.array([1.0, 2.0])
    y = x @ np.array([1.0, -0.5]) + 1.5 * rng.normal(size=n)
    data = Subsampled(Empirical((x, y), weights=np.full(n, 1 / n)), batch)
    covariance = np.linalg.inv(np.eye(2) + BETA * x.T @ x / n)
    return Target(_compiled(data, 2), covariance @ (BETA * x.T @ y / n), covariance)


def _compiled(data, dim: int) -> Gibbs:
    prior = Independent({"*": Normal(0.0, 1.0)})
    energy = SquaredError(linear_model(dim), data)
    return compile(energy, prior, beta=BETA, integral="declared", marginalise=False)


@typed
def check_stochastic_kernel(
    kernel: AbstractKernel,
    *,
    key: Key,
    chains: Count = 64,
    warmup: Whole = 500,
    draws: Annotated[int, whole(4)] = 2000,
    thin: Count = 4,
    bias: Positive = BIAS,
    minibatches: bool = True,
    fresh: bool = True,
) -> None:
    """Raise `AssertionError` unless a sampler without a Metropolis test does what it must.

    `kernel` has a field `scale`, a factor on its step after warm-up, and `order`, the power of the
    step with which its law is off over all data (with minibatches the power is taken to be 1).

    - The structure of its state never changes; a step is pure; `moved` puts the chain where it is
      told and forgets the way there, momenta included; at gain 0 a step changes nothing but the
      place (as in `check_kernel`).
    - Every step of every chain has a batch of its own: batches do not repeat within three epochs,
      no two chains share one, and together they cover the data. Which data a step has seen is told
      by changing one datum for that step alone.
    - `scale` acts: at half the scale the jumps are shorter.
    - On a Gaussian of three weights at β = 3, a vector of two and a number, over all data: each
      variance is off by less than `bias` (and 5 standard errors) at scale 1, and means, variances
      and products of pairs at scales 1 and ½, extrapolated to step 0, are right within 5 standard
      errors and the square of the correction. A kernel whose noise is the same for all paths is
      found by the products.
    - The same for two weights with minibatches whose noise is a few times that of the gradient.
    - The standard errors of the extrapolated numbers are at most 0.05 (of a standard deviation, of
      a variance): what is wrong by half a standard deviation or by half is then always found.

    A right kernel fails one of the 14 extrapolated numbers by chance once in 120 000 keys if the
    errors are normal; the answer for one key never changes.

    Args:
        kernel: The kernel.
        key: The key of all runs.
        chains: Chains of a run.
        warmup: Steps of warm-up.
        draws: Draws a chain.
        thin: Steps a draw.
        bias: Relative error that a variance may have at scale 1.
        minibatches: Whether the kernel draws minibatches. One that always looks at all data is
            judged by the points without them.
        fresh: Whether the batches are looked at. What a step has seen cannot be told from one
            datum if the kernel looks at all data now and then (`SVRG`).
    """
    assert isinstance(kernel, AbstractUnadjusted), "the kernel is no AbstractUnadjusted"
    key_steps, key_batches, key_full, key_noisy = jax.random.split(key, 4)
    _check_steps(kernel, noisy_target().gibbs, key_steps)
    run = {"chains": chains, "warmup": warmup, "draws": draws, "thin": thin}
    order = kernel.order
    _check_law("all data", kernel, gaussian_target(), key_full, run, order, bias)
    if minibatches and fresh:
        check_fresh_batches(kernel, key=key_batches)
    if minibatches:
        _check_law("minibatches", kernel, noisy_target(), key_noisy, run, 1, bias)


def _check_law(name, kernel, target: Target, key, run, order, bias) -> None:
    runs, jumps = [], []
    for scale in (1.0, 0.5):
        scaled = eqx.tree_at(lambda k: k.scale, kernel, jnp.asarray(scale))
        # the same key: the same warm-up, and so the same step to be halved
        trace = sample(target.gibbs, scaled, key=key, throw=False, **run)
        assert trace.w is not None
        x = target.standard(trace.w)
        assert np.all(np.isfinite(x)), f"{name}: draws that are not finite"
        assert np.mean(trace.divergent) <= 0.01, f"{name}: divergent"
        jumps.append(np.mean(np.diff(x, axis=-1) ** 2))
        runs.append([Estimate.of_series(jnp.asarray(each)) for each in (x, x**2, products(x))])
    assert jumps[1] < 0.97 * jumps[0], f"{name}: half the scale does not shorten the step"
    moments = ("mean", "variance", "product"), (0.0, 1.0, target.correlations)
    for what, truth, coarse, fine in zip(*moments, *runs, strict=True):
        where = f"{what} over {name}"
        off = np.abs(np.asarray(coarse.value) - truth) - THRESHOLD * np.asarray(
            coarse.standard_error
        )
        if what == "variance":
            assert np.all(off < bias), (
                f"{where} at scale 1: {np.asarray(coarse.value)} instead of {truth}"
            )
        value, error, remainder = _extrapolated(coarse, fine, order)
        assert np.all(error <= 0.05), (
            f"{where}: standard errors of {error}, from {np.asarray(fine.ess)} effective draws"
        )
        assert np.all(np.abs(value - truth) < THRESHOLD * error + remainder), (
            f"{where}, extrapolated to step 0: {value} ± {error} instead of {truth}, from "
            f"{np.asarray(coarse.value)} and {np.asarray(fine.value)}"
        )


def _extrapolated(coarse: Estimate, fine: Estimate, order: int):
    """Richardson's value, its error, and the size of the next order."""
    share = 1 / (2**order - 1)
    correction = share * np.asarray(fine.value - coarse.value)
    error = np.hypot((1 + share) * fine.standard_error, share * np.asarray(coarse.standard_error))
    return np.asarray(fine.value) + correction, error, correction**2


@typed
def check_fresh_batches(
    kernel: AbstractKernel, *, key: Key, chains: Count = 8, epochs: Count = 3
) -> None:
    """Raise `AssertionError` unless every step of every chain draws a minibatch of its own.

    Runs three epochs in the loop's own ensemble of chains, on 48 data in batches of 6.

    Args:
        epochs: How many are run, 3 by default.
    """
    n, batch = 48, 6
    seen = _batches(kernel, key, n, batch, chains, epochs * n // batch)
    sizes = seen.sum(-1)
    assert np.mean(sizes == batch) > 0.5, f"batches of {np.unique(sizes)} data instead of {batch}"
    names = [[row.tobytes() for row, k in zip(*pair, strict=True) if k] for pair in _rows(seen)]
    for one in names:
        assert len(set(one)) >= 0.95 * len(one), "a chain's batches repeat"
    assert len({b for one in names for b in one}) >= 0.95 * sum(map(len, names)), (
        "chains share their batches"
    )
    assert seen.any(axis=(0, 1)).all(), "batches do not cover the data"


def _rows(seen):
    return zip(seen, seen.any(-1), strict=True)


def _batches(kernel, key, n: int, batch: int, chains: int, steps: int) -> np.ndarray:
    """Which data each step has seen, `[chain, step, datum]`.

    Datum i pulls coordinate i to `c_i`. A step has seen it iff a change of `c_i`, for this
    step alone, changes where the chain is one step later (a momentum moves the place only then).
    """
    x, weights = np.eye(n), np.full(n, 1.0)
    centre = 1.0 + np.arange(n) / n
    key_start, key_init, key_run = jax.random.split(key, 3)
    warmup = 100

    def chains_of(centre):
        gibbs = _compiled(Subsampled(Empirical((x, centre), weights=weights), batch), n)
        return Chains(gibbs, kernel, keep=False)

    plain = chains_of(centre)
    where = [k for k, leaf in enumerate(jax.tree.leaves(plain)) if _same(leaf, centre)]
    assert where, "the target of the check has lost its data"

    def with_centre(plain, centre):
        leaves, structure = jax.tree.flatten(plain)
        for k in where:
            leaves[k] = centre
        return jax.tree.unflatten(structure, leaves)

    @eqx.filter_jit
    def run(plain, centre):
        key_of = functools.partial(jax.random.fold_in, key_run)
        start = jax.vmap(plain.gibbs.sample_prior)(jax.random.split(key_start, chains))

        def step(dynamics, state, time, gain):
            return dynamics.step(state, key_of(time), gain, time, warmup)

        def warm(state, time):
            return step(plain, state, time, (1.0 + time) ** -0.6), None

        def look(state, time):
            def places(centre):
                new = step(with_centre(plain, centre), state, time, jnp.zeros(()))
                after = step(plain, new, time + 1, jnp.zeros(()))
                leaves = jax.tree.leaves(jax.vmap(kernel.position)(after[0]))
                return jnp.concatenate([leaf.reshape(chains, -1) for leaf in leaves], -1)

            ways = jax.vmap(places)(centre + jnp.eye(n))
            moved = jnp.max(jnp.abs(ways - places(centre)), -1)
            return step(plain, state, time, jnp.zeros(())), moved.T

        state = plain.init(start, key_init, warmup)
        # the types of a state do not change from the first step on
        state, _ = jax.lax.scan(warm, step(plain, state, 0, jnp.ones(())), jnp.arange(1, warmup))
        return jax.lax.scan(look, state, warmup + jnp.arange(steps))[1]

    moved = np.moveaxis(np.asarray(run(plain, jnp.asarray(centre))), 0, 1)
    assert np.all(np.isfinite(moved)), "draws that are not finite"
    return moved > 1e-6 * moved.max(-1, keepdims=True)


def _same(leaf, centre) -> bool:
    return eqx.is_array(leaf) and leaf.shape == centre.shape and np.allclose(leaf, centre)
