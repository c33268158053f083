"""The learning coefficient, and its relatives at one temperature."""

from typing import Annotated, TypeAlias

import numpy as np

from ..core import MEMORY, DeclarationError, Estimate, Key, Memory, Said, scalar, typed
from ..sample import AbstractDrawn, Trace, trace_of
from ._reference import Reference, check_reference, default_reference, reference_energy

Sample: TypeAlias = Annotated[
    float,
    scalar(1, open_low=True),
    Said(
        "a number of data above 1 (log n divides)",
        "pass the number of data that the mean loss is over",
    ),
]
"""How many data a mean loss is over."""


@typed
def learning_coefficient(
    trace: Trace | AbstractDrawn,
    reference: Reference | None = None,
    *,
    plain: bool = False,
    key: Key | None = None,
    memory: Memory = MEMORY,
) -> Estimate:
    """`λ̂(β) = β (⟨E⟩ - E_ref)`, dimensionless; shape `[*beta]`.

    For a regular model of d parameters `λ̂ → d/2`; `λ̂ = β ∂F/∂β` for `E_ref = 0` (Watanabe 2009).

    Args:
        trace: A run, or a result that has one.
        reference: `E_ref`. If None, `E(w*)` of a `LocalLearningCoefficient`, and 0 of a trace; the
            choices are 0 for a realisable population loss (the global coefficient); a model
            `w*` for the local coefficient at `w*`, whose full energy is then subtracted (Lau et al.
            2023, arXiv:2308.12108); or a number.
        plain: Average the energy of full draws, the weights that were integrated out drawn again.
            By default their average is taken in closed form, `⟨½ Σ_i s_i/(1+s_i)⟩` for the zero
            target (Rao-Blackwell): same mean, smaller error. Needs `keep=True` in the run.
        memory: Bytes of intermediate values at once, for `plain`.
    """
    offset = default_reference(trace, reference)
    trace = trace_of(trace)
    energy = trace.evaluate(trace.gibbs.energy_of, key, memory=memory) if plain else trace.energy
    return trace.mean_of(energy - offset).scaled(trace.betas)


@typed
def wbic(trace: Trace | AbstractDrawn, n: Sample, *, reference: Reference = 0.0) -> Estimate:
    """Widely applicable Bayesian information criterion, `n ⟨L - L_ref⟩` at `β = n / log n`.

    `L` is the mean loss. By default the value is absolute: it estimates the free energy at
    `beta = n` up to `O(sqrt(log n))` (Watanabe 2013, JMLR 14:867), `n L(w*)` included. With a
    `reference` it estimates the excess `F - n L_ref`, which grows as `λ log n`.

    Args:
        trace: a run at `temperature.watanabe(n)`.
        n: the number of data that the mean loss is over.
        reference: a model `w*` (its energy is subtracted) or a number, an energy of the trace.

    Returns:
        An estimate in nats, of the shape of the trace's betas.

    Raises:
        DeclarationError: for a trace at another beta.
    """
    trace = trace_of(trace)
    mass = trace.gibbs.masses[0]
    wanted = n / np.log(n) / float(mass)
    if not np.allclose(np.asarray(trace.betas), wanted, rtol=1e-6):
        raise DeclarationError(
            "trace",
            got=f"draws at beta = {trace.betas}",
            expected=f"beta = {wanted:.6g}, that is n/log n times the mean loss",
            mend=f"compile with beta=bx.temperature.watanabe({n:g})",
        )
    excess = trace.energy - reference_energy(trace, reference)
    return trace.mean_of(excess * (n / mass))


@typed
def heat_capacity(trace: Trace | AbstractDrawn) -> Estimate:
    """`C(β) = β² Var E = -β² ∂²F/∂β²`, dimensionless; shape `[*beta]`.

    The variance given the draws (over weights that were integrated out) is included in closed form,
    and the variance of energies that were estimated from minibatches is taken off.
    `C = λ̂ - ∂λ̂/∂log β`, and `C → λ` as λ̂ does; for a regular model of d parameters `d/2`.
    """
    trace = trace_of(trace)
    return trace.mean_of(_variance_series(trace)).scaled(trace.betas**2)


def _variance_series(trace: Trace) -> np.ndarray:
    energy = np.asarray(trace.energy, float)
    count = energy.shape[-1] * energy.shape[-2]
    centred = energy - energy.mean(axis=(-2, -1), keepdims=True)
    series = centred**2 * count / max(count - 1, 1) + np.asarray(trace.energy_variance, float)
    return series if trace.noise is None else series - np.asarray(trace.noise, float)


@typed
def effective_dimension(
    trace: Trace | AbstractDrawn, reference: Reference | None = None
) -> Estimate:
    """`2 λ̂(β) = 2 β (⟨E⟩ - E_ref)`: the number of quadratic directions that the posterior resolves.

    Equipartition gives every resolved direction half a unit of `β ⟨E - E_ref⟩`; equal to the
    parameter count for a regular model.

    Args:
        trace: a run at one or many betas.
        reference: `E_ref`, a model `w*` or a number, as in `learning_coefficient`. Left out, it is
            0, and refused where the run shows that the energy does not come near to zero.

    Returns:
        A dimensionless estimate, of the shape of the trace's betas.

    Raises:
        DeclarationError: without a reference where one is needed.
    """
    if not isinstance(trace, AbstractDrawn):
        reference = check_reference(trace_of(trace), reference)
    return learning_coefficient(trace, reference).scaled(2.0)
