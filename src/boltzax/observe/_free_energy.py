"""Free energies along a ladder, by two routes that must agree."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import DeclarationError, Estimate, typed
from ..sample import AbstractDrawn, Bridges, Trace, bar_series, trace_of
from ._reference import Reference, check_reference, reference_energy

Method = Literal["bar", "integration"]


@typed
def free_energy(
    trace: Trace | AbstractDrawn, method: Method = "bar", *, reference: Reference = 0.0
) -> Estimate:
    """Free energy `F(β) = -log Z(β)`, or its excess `F(β) - β E_ref`.

    By default the value is absolute: `Z(β) = ∫ π(w) exp(-β E(w)) dw`, so that `F(0) = 0` and `-F`
    is the log evidence. For data with noise F contains `β E(w*)`, which grows with the data. With a
    `reference` the value is the excess over `β E_ref`, the part that grows as `λ log β`.

    The error bar treats the sum over all levels as one time series, so that it includes the
    correlations between levels that replica exchange makes.

    Args:
        trace: A run of `anneal`.
        method: `"bar"` is Bennett's acceptance ratio between neighbours of the ladder, summed from
            the prior (Bennett 1976; the two-sided form of stepping-stone sampling, Xie et al.
            2011). `"integration"` is `∫ ⟨E⟩ dβ` by a cubic Hermite rule whose slopes are the heat
            capacities. The error bar includes the rule's error, estimated in every interval.
        reference: `E_ref`: a model `w*`, whose energy is taken, or a number, an energy as
            declared (also where the measure is `relative_to` a model).

    Returns:
        An estimate in nats, shape `[beta]`, for the requested betas.

    Raises:
        DeclarationError: For a trace without a ladder, and a reference that is a model of another
            structure.
    """
    trace = trace_of(trace)
    bridges = bridges_of(trace)
    rows = np.asarray(bridges.requested, int)
    offset = -trace.betas * reference_energy(trace, reference)
    if method == "bar":
        series = np.asarray(bar_series(bridges))[rows]
        return trace.mean_of(series, exact=True).shifted(offset)
    series, rule = integration_series(bridges)
    estimate = trace.mean_of(np.asarray(series)[rows], exact=True)
    return estimate.widened(rule[rows]).shifted(offset)


@typed
def effective_parameters(
    trace: Trace | AbstractDrawn, reference: Reference | None = None
) -> Estimate:
    """Excess free energy over log inverse temperature, `(F(β) - β E_ref) / log(β m)`.

    The effective parameter count at a scale, in units where a regular model of d parameters tends
    to d/2; `λ̂` is its local slope. `m` is the mass of the measure: 1 for a population, the number
    of data for a sum over data. The value is infinite or meaningless at `β m <= 1`.

    Args:
        trace: A run of `anneal`.
        reference: `E_ref`: a model `w*`, whose energy is taken, or a number, as in
            `learning_coefficient`. 0 is right where some weights reach energy zero (a realisable
            population loss). If None, it is the energy 0 as declared; this is refused where the
            run shows that the energy does not come near zero (data with noise), because
            `F / log n` would count the noise.

    Returns:
        A dimensionless estimate, shape `[beta]`.

    Raises:
        DeclarationError: For a trace without a ladder, or without a reference where one is needed.
    """
    trace = trace_of(trace)
    bridges_of(trace)
    reference = check_reference(trace, reference)
    betas = trace.betas * trace.gibbs.masses[0]
    return free_energy(trace, reference=reference).scaled(1 / jnp.log(betas))


@typed
def entropy(trace: Trace | AbstractDrawn) -> Estimate:
    """Entropy `S(β) = β ⟨E⟩ - F(β)`: minus the relative entropy of posterior to prior, `<= 0`.

    The value does not depend on a reference energy, which cancels.

    Args:
        trace: A run of `anneal`.

    Returns:
        An estimate in nats, shape `[beta]`, for the requested betas.

    Raises:
        DeclarationError: For a trace without a ladder.
    """
    trace = trace_of(trace)
    bridges = bridges_of(trace)
    rows = np.asarray(bridges.requested, int)
    heat = bridges.betas[:, None, None] * bridges.energy
    return trace.mean_of((heat - bar_series(bridges))[rows], exact=True)


def bridges_of(trace: Trace) -> Bridges:
    """What the ladder of a run recorded; a `DeclarationError` for a run without one."""
    if trace.bridges is None:
        raise DeclarationError(
            "trace",
            got="draws without a ladder",
            expected="a ladder from the prior to the requested betas",
            mend="use bx.anneal(gibbs, betas, ...) instead of bx.sample",
        )
    return trace.bridges


def integration_series(bridges: Bridges) -> tuple[Float[Array, "level chain draw"], np.ndarray]:
    """A series whose mean is `∫_0^{β_k} ⟨E⟩ dβ`, and the error of the rule at each level.

    The rule is the cubic Hermite rule in `u = log(1 + β/β_0)`, where `β_0 = (⟨E⟩ - E_min)/Var E` at
    the prior and `E_min` is the lowest energy seen. In this variable the integrand is
    `dF/du = (β + β_0) ⟨E - E_min⟩`: constant for energies with a Gamma law (`E ∝ χ²`), smooth from
    `β = 0` on, and flat where `β ⟨E⟩` tends to a learning coefficient. Its slopes come from the
    variances: `d²F/du² = dF/du - (β + β_0)² Var E`.

    Error of an interval of length `h` with values `g` and slopes `s` at its ends: the cubic rule is
    the mean of two quadratic rules, each of which leaves one slope out. Half their distance,
    `|h (g_0 - g_1)/6 + h² (s_0 + s_1)/12|`, is of one order less than the cubic rule's error and
    bounds it for smooth integrands. It changes sign, and vanishes for some integrands that are not
    cubic; therefore the part that comes from the slopes, `h² (s_0 - s_1)/12`, is added in squares.
    Errors of intervals add in squares.
    """
    betas = np.asarray(bridges.betas, float)
    energy = np.asarray(bridges.energy, float)
    centred = energy - energy.mean(axis=(1, 2), keepdims=True)
    variance = centred**2 + np.asarray(bridges.energy_variance, float)
    increments, errors = hermite(betas, energy, variance)
    zero = np.zeros((1, *energy.shape[1:]))
    series = np.concatenate([zero, np.cumsum(increments, axis=0)])
    rule = np.sqrt(np.concatenate([[0.0], np.cumsum(errors**2)]))
    return jnp.asarray(series, bridges.up.dtype), rule


def hermite(
    betas: np.ndarray, energy: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Integral of the energy over each interval `[pair, ...]`, and the rule's errors `[pair]`."""
    wide = (slice(None), None, None)
    lowest = energy.min()
    spread = variance[0].mean()
    scale = (energy[0].mean() - lowest) / spread if spread > 0 else 1.0
    scale = scale if np.isfinite(scale) and scale > 0 else 1.0
    shifted = (betas + scale)[wide]
    value = shifted * (energy - lowest)
    slope = value - shifted**2 * variance
    width = np.diff(np.log1p(betas / scale))[wide]
    correction = width**2 / 12 * (slope[:-1] - slope[1:])
    increments = width / 2 * (value[:-1] + value[1:]) + correction
    increments = increments + lowest * np.diff(betas)[wide]
    value, slope = (series.mean(axis=(1, 2), keepdims=True) for series in (value, slope))
    halves = width / 6 * (value[:-1] - value[1:]) + width**2 / 12 * (slope[:-1] + slope[1:])
    return increments, np.hypot(halves, correction.mean(axis=(1, 2), keepdims=True))[:, 0, 0]
