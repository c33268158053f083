"""Free energies along a ladder, by two routes that must agree."""

from typing import Literal

import jax.numpy as jnp
import numpy as np

from ..core import DeclarationError, Estimate, typed
from ..sample import AbstractDrawn, Bridges, Trace, bar_series, trace_of
from ._integration import integration_series
from ._reference import Reference, check_reference, reference_energy

Method = Literal["bar", "integration"]


@typed
def free_energy(
    trace: Trace | AbstractDrawn, method: Method = "bar", *, reference: Reference = 0.0
) -> Estimate:
    """Free energy `F(β) = -log Z(β)`, or its excess `F(β) - β E_ref`, by one of two routes.

    By default the value is absolute: `Z(β) = ∫ π(w) exp(-β E(w)) dw`, so that `F(0) = 0` and `-F`
    is the log evidence (for data with noise it holds `β E(w*)`, which grows with the data). With a
    `reference` it is the excess over `β E_ref`, the part that grows as `λ log β`.

    The error bar follows the whole sum as one time series, so that correlations between levels
    (replica exchange makes some) are in it.

    Args:
        trace: a run of `anneal`.
        method: `"bar"`, Bennett's acceptance ratio between neighbours of the ladder, summed from
            the prior (Bennett 1976; the two-sided form of stepping-stone sampling, Xie et al.
            2011). `"integration"`, `∫ ⟨E⟩ dβ` by a cubic Hermite rule whose slopes are the heat
            capacities; the rule's error, estimated in every interval (the first one too), is in the
            error bar.
        reference: the reference energy `E_ref`, a model `w*` (its energy is taken) or a number. A
            number is in units of the trace's energies.

    Returns:
        An estimate in nats, shape `[beta]`, for the requested betas.

    Raises:
        DeclarationError: for a trace without a ladder, or a reference that is a model of another
            structure.
    """
    bridges, trace = _bridges(trace), trace_of(trace)
    rows = np.asarray(bridges.requested, int)
    offset = -trace.betas * reference_energy(trace, reference)
    if method == "bar":
        series = np.asarray(bar_series(bridges))[rows]
        return trace.mean_of(series, exact=True).shifted(offset)
    series, rule = integration_series(bridges)
    estimate = trace.mean_of(np.asarray(series)[rows], exact=True)
    return estimate.widened(np.asarray(rule)[rows]).shifted(offset)


@typed
def effective_parameters(
    trace: Trace | AbstractDrawn, reference: Reference | None = None
) -> Estimate:
    """Excess free energy over log inverse temperature, `(F(β) - β E_ref) / log(β m)`.

    The effective parameter count at a scale (in units where a regular model of d parameters tends
    to d/2), beside `λ̂`, which is its local slope. `m` is the mass of the measure: 1 for a
    population, the number of data for a sum over data. Infinite or meaningless at `β m <= 1`.

    Args:
        trace: a run of `anneal`.
        reference: the reference energy `E_ref`, a model `w*` (its energy is taken) or a number, as
            in `learning_coefficient`. 0 is right where some weights reach energy zero (a realisable
            population loss). Left out, it is 0, and refused where the run shows that the energy
            does not come near to zero (data with noise): `F / log n` would count the noise.

    Returns:
        A dimensionless estimate, shape `[beta]`.

    Raises:
        DeclarationError: for a trace without a ladder, or without a reference where one is needed.
    """
    _bridges(trace)
    trace = trace_of(trace)
    reference = check_reference(trace, reference)
    betas = trace.betas * trace.gibbs.masses[0]
    return free_energy(trace, reference=reference).scaled(1 / jnp.log(betas))


@typed
def entropy(trace: Trace | AbstractDrawn) -> Estimate:
    """Entropy `S(β) = β ⟨E⟩ - F(β)`: minus the relative entropy of posterior to prior, `<= 0`.

    A reference energy cancels: the value is the same for energies and for their excess.

    Args:
        trace: a run of `anneal`.

    Returns:
        An estimate in nats, shape `[beta]`, for the requested betas.

    Raises:
        DeclarationError: for a trace without a ladder.
    """
    bridges, trace = _bridges(trace), trace_of(trace)
    rows = np.asarray(bridges.requested, int)
    heat = bridges.betas[:, None, None] * bridges.energy
    return trace.mean_of((heat - bar_series(bridges))[rows], exact=True)


def _bridges(trace: Trace | AbstractDrawn) -> Bridges:
    trace = trace_of(trace)
    if trace.bridges is None:
        raise DeclarationError(
            "trace",
            got="draws without a ladder",
            expected="a ladder from the prior to the requested betas",
            mend="use bx.anneal(gibbs, betas, ...) instead of bx.sample",
        )
    return trace.bridges
