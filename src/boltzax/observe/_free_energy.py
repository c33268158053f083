"""Free energies along a ladder, by two routes that must agree."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import DeclarationError, Estimate, mean_estimate
from ..sample import Bridges, Trace

Method = Literal["bar", "integration"]


def free_energy(trace: Trace, method: Method = "bar") -> Estimate:
    """`F(β) = -log Z(β)` in nats at the requested betas, `F(0) = 0`.

    - `"bar"`: Bennett's acceptance ratio between neighbours of the ladder, summed from the prior
      (Bennett 1976; the two-sided form of stepping-stone sampling, Xie et al. 2011).
    - `"integration"`: `∫ ⟨E⟩ dβ` by the cubic Hermite rule in log β, whose slopes are the heat
      capacities. Its discretisation error, from the rule on every second level, is added to the
      standard error.

    The error bar follows the whole sum as one time series, so that correlations between levels
    (replica exchange makes some) are in it.

    Raises:
        DeclarationError: A trace without a ladder.
    """
    bridges = _bridges(trace)
    if method not in ("bar", "integration"):
        raise DeclarationError(
            "method", got=repr(method), expected="'bar' or 'integration'", mend="choose one"
        )
    rows = jnp.asarray(bridges.requested)
    if method == "bar":
        return mean_estimate(bar_series(bridges)[rows])
    series = mean_estimate(integration_series(bridges)[rows])
    coarse = _discretisation(bridges)[rows]
    error = jnp.hypot(series.standard_error, coarse)
    return Estimate(series.value, error, series.ess, series.r_hat)


def effective_parameters(trace: Trace) -> Estimate:
    """`F(β) / log β`: free energy over log inverse temperature, shape `[beta]`.

    The effective parameter count at a scale (in units where a regular model of d parameters tends
    to d/2), beside `λ̂`, which is its local slope. Infinite or meaningless at beta <= 1.
    """
    betas = trace.betas * trace.gibbs.masses[0]
    return free_energy(trace).scaled(1 / jnp.log(betas))


def entropy(trace: Trace) -> Estimate:
    """`S(β) = β ⟨E⟩ - F(β)` in nats: minus the relative entropy of posterior to prior, `<= 0`."""
    bridges = _bridges(trace)
    rows = jnp.asarray(bridges.requested)
    heat = bridges.betas[:, None, None] * bridges.energy
    return mean_estimate((heat - bar_series(bridges))[rows])


def bar_series(bridges: Bridges) -> Float[Array, "level chain draw"]:
    """A series whose mean is `F(β_k)` by Bennett's ratio and whose spread is its error.

    Around the solution `Δ_k` of `⟨f(up - Δ)⟩ = ⟨f(Δ - down)⟩`, `f(x) = 1/(1+e^x)`, the estimate
    moves by `(f(Δ - down_t) - f(up_t - Δ)) / D` a draw, `D` the derivative.
    """
    up, down = np.asarray(bridges.up, float), np.asarray(bridges.down, float)
    pairs = up.shape[0]
    low = np.minimum(up.min(axis=(1, 2)), down.min(axis=(1, 2))) - 1.0
    high = np.maximum(up.max(axis=(1, 2)), down.max(axis=(1, 2))) + 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        gap = _gap(up, down, middle)
        low, high = np.where(gap < 0, middle, low), np.where(gap < 0, high, middle)
    delta = (0.5 * (low + high)).reshape(pairs, 1, 1)
    forward, backward = _fermi(up - delta), _fermi(delta - down)
    slope = (forward * (1 - forward) + backward * (1 - backward)).mean(axis=(1, 2), keepdims=True)
    # levels that do not overlap have a slope of zero: their error is then huge, not missing
    moves = (backward - forward) / np.maximum(slope, 1e-12)
    steps = delta + moves
    zero = np.zeros((1, *up.shape[1:]))
    series = np.concatenate([zero, np.cumsum(steps, axis=0)])
    return jnp.asarray(series, bridges.up.dtype)


def _gap(up: np.ndarray, down: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Rises with `delta` through zero at Bennett's solution."""
    d = delta.reshape(-1, 1, 1)
    return _fermi(up - d).mean(axis=(1, 2)) - _fermi(d - down).mean(axis=(1, 2))


def _fermi(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 - np.tanh(0.5 * x))


def integration_series(bridges: Bridges) -> Float[Array, "level chain draw"]:
    """A series whose mean is `∫_0^{β_k} ⟨E⟩ dβ` by the cubic Hermite rule."""
    betas = np.asarray(bridges.betas, float)
    energy, variance = _energy_and_variance(bridges)
    return jnp.asarray(_hermite(betas, energy, variance), bridges.up.dtype)


def _energy_and_variance(bridges: Bridges) -> tuple[np.ndarray, np.ndarray]:
    energy = np.asarray(bridges.energy, float)
    centred = energy - energy.mean(axis=(1, 2), keepdims=True)
    return energy, centred**2 + np.asarray(bridges.energy_variance, float)


def _hermite(betas: np.ndarray, energy: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Cumulative integral of the energy; in beta for the first interval, in log beta after it."""
    wide = (slice(None), None, None)
    total = [np.zeros(energy.shape[1:])]
    h = betas[1] - betas[0]
    first = h / 2 * (energy[0] + energy[1]) + h**2 / 12 * (variance[1] - variance[0])
    total.append(first)
    positive = betas[1:][wide]
    coefficient = positive * energy[1:]
    slope = coefficient - positive**2 * variance[1:]
    steps = np.diff(np.log(betas[1:]))[wide]
    parts = steps / 2 * (coefficient[:-1] + coefficient[1:])
    parts = parts + steps**2 / 12 * (slope[:-1] - slope[1:])
    return np.concatenate([np.stack(total), first + np.cumsum(parts, axis=0)])


def _discretisation(bridges: Bridges) -> Array:
    """Error of the cubic rule at each level, from every second level (fourth order: a 15th)."""
    betas = np.asarray(bridges.betas, float)
    energy, variance = (a.mean(axis=(1, 2), keepdims=True) for a in _energy_and_variance(bridges))
    fine = _hermite(betas, energy, variance)[:, 0, 0]
    keep = np.unique(np.concatenate([[0], np.arange(1, len(betas), 2), [len(betas) - 1]]))
    coarse = _hermite(betas[keep], energy[keep], variance[keep])[:, 0, 0]
    return jnp.asarray(np.interp(np.arange(len(betas)), keep, np.abs(coarse - fine[keep])) / 15)


def _bridges(trace: Trace) -> Bridges:
    if trace.bridges is None:
        raise DeclarationError(
            "trace",
            got="draws without a ladder",
            expected="a ladder from the prior to the requested betas",
            mend="use bx.anneal(gibbs, betas, ...) instead of bx.sample",
        )
    return trace.bridges
