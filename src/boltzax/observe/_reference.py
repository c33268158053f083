"""The reference energy, from which excess energies are measured."""

import warnings
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..core import (
    Constraint,
    DeclarationError,
    Estimate,
    Model,
    Number,
    constraint_of,
    known,
    refuted,
    shapes_of,
)
from ..sample import AbstractDrawn, Trace, trace_of


def _reference(value: Any) -> Any:
    single = isinstance(value, np.ndarray | jax.Array) and not value.ndim
    number = single or isinstance(value, int | float | np.number)
    return constraint_of(Number if number else Model).take(value)


Reference: TypeAlias = Annotated[
    PyTree | float,
    Constraint(
        "a finite energy, or a model",
        "pass the model w* whose energy is subtracted, or its energy",
        _reference,
    ),
]
"""A reference energy, or a model `w*` that has it."""


def reference_energy(trace: Trace, reference: PyTree | float) -> Float[Array, ""]:
    """`E_ref`, counted as the trace's energies are: of a number, or of a model.

    A number is an energy as declared, also where the trace's energies are relative to a model.
    """
    if isinstance(reference, float) or (isinstance(reference, jax.Array) and not reference.ndim):
        return jnp.asarray(reference, float) - trace.gibbs.reference_energy
    declared, given = shapes_of(trace.gibbs.declared), shapes_of(reference)
    if given != declared:
        raise DeclarationError(
            "reference",
            got=f"{reference!r:.80} with weights {given!r:.120}",
            expected=f"a number, or a model with the declared weights {declared!r:.120}",
            mend="pass the model w* whose energy is subtracted, or its energy",
        )
    return trace.gibbs.energy_of(reference)


def default_reference(
    trace: Trace | AbstractDrawn, reference: PyTree | float | None
) -> Float[Array, ""]:
    """`E_ref`; if None, that of the result, or 0 for a plain trace.

    A `RuntimeWarning` says so where 0 is no reference: of a measure that is relative to a model
    `w*` with `β E(w*)` of more than a nat, and of energies that stay away from 0.
    """
    if reference is not None:
        return reference_energy(trace_of(trace), reference)
    if isinstance(trace, AbstractDrawn):
        return trace.reference
    level = trace.gibbs.reference_energy
    if refuted(lambda e, beta: abs(beta * e) <= 1, level, trace.betas):
        said = f"the measure is relative to a model of energy {float(level):.6g}"
    else:
        said = _unreached(trace) if known(trace.energy, trace.betas, level) else None
    if said is not None:
        warnings.warn(
            f"no reference was given, so that no energy is subtracted, though {said}: this is in "
            "the value. Pass reference=w_star (a trained model) or its energy for the local "
            "coefficient, or reference=0.0 if the absolute value is meant.",
            RuntimeWarning,
            stacklevel=4,  # past the verb and the check of its arguments
        )
    return reference_energy(trace, 0.0)


def check_reference(trace: Trace, reference: PyTree | float | None) -> PyTree | float:
    """The reference; if None, the energy 0 as declared, if the draws agree with it."""
    said = None if reference is not None else _unreached(trace)
    if said is not None:
        raise DeclarationError(
            "reference",
            got=f"none, though {said}",
            expected="the energy that the excess is measured from",
            mend="pass reference=w_star (a trained model), or a number; reference=0.0 if the "
            "absolute value is meant",
        )
    return 0.0 if reference is None else reference


def _unreached(trace: Trace) -> str | None:
    """How the draws show that 0 is not the least energy; None where they agree with it.

    Near a minimum of energy `E_min`, `β (⟨E⟩ - E_min)` and `C = β² Var E` are both about λ. Zero is
    refused as a reference if, at the largest beta, some energy lies below it by more than `1/β`, or
    all lie above it by more than `1/β` and `β ⟨E⟩` is more than twice `C`, beyond four standard
    errors. So `β E_min` of less than about λ is not seen, and a realisable model most of whose
    directions are wider than the prior is refused. `C` is that of single chains, for chains in
    several minima differ by more.
    """
    run = trace if trace.bridges is None else trace.bridges
    energy, conditional, betas = run.energy, run.energy_variance, run.betas
    if betas.ndim:
        coldest = int(jnp.argmax(betas))
        energy, conditional, betas = energy[coldest], conditional[coldest], betas[coldest]
    level = trace.gibbs.reference_energy
    beta, lowest = float(betas), float(jnp.min(energy) + level)
    mean = Estimate.of_series(beta * (energy + level), exact=True)
    within = jnp.mean(jnp.var(energy, axis=-1))
    heat = beta**2 * float(within + jnp.mean(conditional))
    above = float(mean.value) - 4 * float(mean.standard_error) > 2 * heat
    if beta * lowest < -1:
        return f"energies go down to {lowest:.6g}"
    if beta * lowest > 1 and above:
        return (
            f"energies stay at {lowest:.6g} or above: {beta * lowest:.4g} nats at beta = "
            f"{beta:.4g}, where their fluctuations (beta² Var E) are {heat:.3g}"
        )
    return None
