"""The learning coefficient and its relatives: at the betas of a run, and at others."""

import dataclasses
import math
from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..compile import Gibbs
from ..core import (
    MEMORY,
    Curve,
    DeclarationError,
    Estimate,
    Influence,
    Key,
    Memory,
    Said,
    map_within,
    scalar,
    typed,
)
from ..sample import AbstractDrawn, PositiveBetas, Trace, along, trace_of
from ._reference import Reference, check_reference, default_reference, reference_energy

DataCount: TypeAlias = Annotated[
    float,
    scalar(1, open_low=True),
    Said(
        "a number of data above 1 (log n divides)",
        "pass the number of data that the mean loss is over",
    ),
]
"""How many data a mean loss is over."""
FEWEST = 50
"""Effective draws below which a reweighted estimate is NaN."""


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
        reference: `E_ref`. If None, `E(w*)` of a `LocalLearningCoefficient`, and 0 of a trace: no
            energy is subtracted, also where the measure is `relative_to` a model or the draws show
            that the energy stays away from 0 (a `RuntimeWarning` says so: what is not subtracted
            is in the value; `β E_min` of less than about λ nats is not seen). The choices are 0 for
            a realisable population loss (the global coefficient), a model `w*` for the local
            coefficient at `w*`, whose full energy is then subtracted (Lau et al. 2023,
            arXiv:2308.12108), or a number, an energy as declared.
        plain: Average the energy of full draws, with the weights that were integrated out drawn
            again. By default their average is taken in closed form, `⟨½ Σ_i s_i/(1+s_i)⟩` for the
            zero target (Rao-Blackwell): same mean, smaller error. Needs `keep=True` in the run.
        key: For `plain`: the draws of the weights that were integrated out.
        memory: Bytes of intermediate values at once, for `plain`.

    Raises:
        DeclarationError: For a reference that is a model of another structure, and for `plain` of
            a trace without draws.
    """
    offset = default_reference(trace, reference)
    trace = trace_of(trace)
    energy = trace.evaluate(trace.gibbs.energy_of, key, memory=memory) if plain else trace.energy
    return trace.mean_of(energy - offset).scaled(trace.betas)


@typed
def wbic(trace: Trace | AbstractDrawn, n: DataCount, *, reference: Reference = 0.0) -> Estimate:
    """Widely applicable Bayesian information criterion, `n ⟨L - L_ref⟩` at `β = n / log n`.

    `L` is the mean loss. By default the value is absolute, with `n L(w*)` included: it estimates
    the free energy at `beta = n` up to `O(sqrt(log n))` (Watanabe 2013, JMLR 14:867). With a
    `reference` it estimates the excess `F - n L_ref`, which grows as `λ log n`.

    Args:
        trace: A run at `temperature.watanabe(n)`.
        n: The number of data that the mean loss is over.
        reference: A model `w*` (its energy is subtracted) or a number, an energy as declared.

    Returns:
        An estimate in nats, of the shape of the trace's betas.

    Raises:
        DeclarationError: For a trace at another beta.
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

    The variance over weights that were integrated out is added in closed form; the variance of the
    noise of energies estimated from minibatches is subtracted. `C = λ̂ - ∂λ̂/∂log β`, and `C → λ` as
    λ̂ does; for a regular model of d parameters it tends to `d/2`.
    """
    trace = trace_of(trace)
    energy = np.asarray(trace.energy, float)
    count = energy.shape[-1] * energy.shape[-2]
    centred = energy - energy.mean(axis=(-2, -1), keepdims=True)
    series = centred**2 * count / max(count - 1, 1) + np.asarray(trace.energy_variance, float)
    series = series if trace.noise is None else series - np.asarray(trace.noise, float)
    return trace.mean_of(series).scaled(trace.betas**2)


@typed
def effective_dimension(
    trace: Trace | AbstractDrawn, reference: Reference | None = None
) -> Estimate:
    """`2 λ̂(β) = 2 β (⟨E⟩ - E_ref)`: the number of quadratic directions that the posterior resolves.

    By equipartition every resolved direction contributes one half to `β ⟨E - E_ref⟩`. For a regular
    model the value is the parameter count.

    Args:
        trace: A run at one or many betas.
        reference: `E_ref`, as in `learning_coefficient`. If None, `E(w*)` of a
            `LocalLearningCoefficient`, and the energy 0 as declared of a trace; this is refused
            where the run shows that the energy does not come near zero.

    Returns:
        A dimensionless estimate, of the shape of the trace's betas.

    Raises:
        DeclarationError: Without a reference where one is needed.
    """
    if not isinstance(trace, AbstractDrawn):
        reference = check_reference(trace, reference)
    return learning_coefficient(trace, reference).scaled(2.0)


@typed
def coefficient_curve(
    trace: Trace | AbstractDrawn,
    betas: PositiveBetas,
    reference: Reference | None = None,
    *,
    memory: Memory = MEMORY,
) -> Curve:
    """`λ̂(β') = β' (⟨E⟩_{β'} - E_ref)` at other temperatures from one run at β, over `log n`.

    Each draw is weighted by `v = exp(U(w, β) - U(w, β'))` (importance sampling; Ferrenberg &
    Swendsen 1988, PRL 61:2635). The standard error is that of the ratio of two autocorrelated
    means. `ess` is the effective number of weights, `(Σv)²/Σv²`, times the fraction that
    autocorrelation leaves. Where it is below 50 (β' is too far from β) the estimate is NaN: make a
    run at that beta, or a ladder (`bx.anneal`). All points come from the same draws; slopes,
    differences and crossings of the curve take their correlations into account.

    Args:
        trace: A run at one beta.
        betas: The betas asked for, each the factor of the summed energy.
        reference: A model w* or a number, as in `learning_coefficient`.
        memory: Bytes of intermediate values at once, where the potential is computed anew.

    Raises:
        DeclarationError: For a run at several betas, betas that are not positive, energies that
            were estimated from minibatches, and a run without draws in which weights were
            integrated out.
    """
    result, trace = trace, trace_of(trace)
    wanted = jnp.asarray(betas, float)
    if trace.betas.ndim:
        raise DeclarationError(
            "trace",
            got=f"a run at {trace.betas.shape[0]} betas",
            expected="a run at one beta",
            mend="its learning coefficient is bx.learning_coefficient(trace)",
        )
    if trace.noise is not None:
        raise DeclarationError(
            "trace",
            got="energies that were estimated from minibatches",
            expected="energies over all data: the exponential of a noisy one has another mean",
            mend="raise max_gradients until the energies are over all data, use a run of "
            "bx.sample, or run at each beta",
        )
    offset = default_reference(result, reference)
    rows = [_reweighted(trace, beta, offset, memory) for beta in wanted]
    shared, fraction = Influence.stack([row[0] for row in rows]), np.array([r[1] for r in rows])
    estimate = trace.vouched(shared.estimate(exact=not trace.gibbs.coordinates.priors))
    ess = np.asarray(estimate.ess) * fraction
    estimate = dataclasses.replace(estimate, ess=jnp.asarray(ess, estimate.ess.dtype))
    enough = np.where(ess >= FEWEST, 1.0, np.nan)
    values = estimate.scaled(enough)
    influence = shared.scaled(enough) if not bool(jnp.any(trace.stuck)) else None
    return along(trace.gibbs.at(wanted), values, influence)


def _reweighted(trace: Trace, beta: Array, offset: Array, memory: int) -> tuple[Influence, float]:
    """`λ̂` as a ratio of two means over the draws, and the fraction of effective weights."""
    change, energy = (np.asarray(x, float) for x in _moved(trace, beta, memory))
    v = np.exp(change - np.max(change))
    ratio = Influence.of(v * (energy - np.asarray(offset))) / Influence.of(v)
    return ratio * np.asarray(beta), float(np.mean(v) ** 2 / np.mean(v**2))


def _moved(trace: Trace, beta: Array, memory: int) -> tuple[Array, Array]:
    """`U(w, β) - U(w, β')` and the energy at β', axes `[chain, draw]`."""
    if not bool(jnp.any(trace.energy_variance > 0)):
        return (trace.betas - beta) * trace.energy, trace.energy
    if trace.w is None:
        raise DeclarationError(
            "trace",
            got="a run without draws, in which weights were integrated out",
            expected="the draws, for the potential at other betas",
            mend="run with keep=True",
        )
    return _potentials(trace.gibbs, trace.w, beta, trace.energy.shape[-2:], memory)


@eqx.filter_jit
def _potentials(
    gibbs: Gibbs, w: PyTree, beta: Array, shape: tuple[int, ...], memory: int
) -> tuple[Array, Array]:
    def at_draw(pair):
        w, _ = pair  # with the number of the draw: all weights may be integrated out
        there = eqx.tree_at(lambda g: g.beta, gibbs, beta).moments(w)
        return gibbs.potential_at(w, gibbs.beta) - there.potential, there.energy

    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), w)
    out = map_within(at_draw, (flat, jnp.arange(math.prod(shape))), memory)
    return jax.tree.map(lambda x: x.reshape(shape), out)
