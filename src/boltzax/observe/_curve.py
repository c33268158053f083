"""The learning coefficient over beta from draws at one beta, by reweighting."""

import dataclasses
import math

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
    Influence,
    Memory,
    map_within,
    typed,
)
from ..sample import AbstractDrawn, PositiveBetas, Trace, along, trace_of
from ._reference import Reference, default_reference


@typed
def coefficient_curve(
    trace: Trace | AbstractDrawn,
    betas: PositiveBetas,
    reference: Reference | None = None,
    *,
    memory: Memory = MEMORY,
) -> Curve:
    """`λ̂(β') = β' (⟨E⟩_{β'} - E_ref)` at other temperatures from one run at β, over `log n`.

    Each draw counts with the weight `v = exp(U(w, β) - U(w, β'))` (importance sampling; Ferrenberg
    & Swendsen 1988, PRL 61:2635). The standard error is that of the ratio of two autocorrelated
    means, and `ess` is the number of draws that the weights leave, `(Σv)²/Σv²`, times the share
    that autocorrelation leaves. Where fewer than 50 are left (β' is too far from β), the estimate
    is NaN: there a run of its own is needed, or a ladder (`bx.anneal`). All points come from the
    same draws, which slopes, differences and crossings of the curve know.

    Args:
        trace: A run at one beta.
        betas: The betas asked for, each the factor of the summed energy.
        reference: A model w* or a number, as in `learning_coefficient`.
        memory: Bytes of intermediate values at once, where the potential is computed anew.

    Raises:
        DeclarationError: A run at several betas, betas that are not positive, energies that were
            estimated from minibatches, or if weights were integrated out and the run kept no draws.
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
    rows = [_row(trace, beta, offset, memory) for beta in wanted]
    shared, left = Influence.stack([row[0] for row in rows]), np.array([row[1] for row in rows])
    plain = trace.vouched(shared.estimate(exact=not trace.gibbs.coordinates.priors))
    ess = np.asarray(plain.ess) * left
    known = dataclasses.replace(plain, ess=jnp.asarray(ess, plain.ess.dtype))
    values = known.scaled(np.where(ess >= 50, 1.0, np.nan))
    moves = shared if not bool(jnp.any(trace.stuck)) else None
    return along(trace.gibbs.at(wanted), values, moves)


def _row(trace: Trace, beta: Array, offset: Array, memory: int) -> tuple[Influence, float]:
    """`λ̂` as a ratio of two means over the draws, and the share of them that the weights leave."""
    difference, energy = (np.asarray(x, float) for x in _moved(trace, beta, memory))
    v = np.exp(difference - np.max(difference))
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
    def one(pair):
        w, _ = pair  # with the number of the draw: all weights may be integrated out
        there = eqx.tree_at(lambda g: g.beta, gibbs, beta).moments(w)
        return gibbs.potential_at(w, gibbs.beta) - there.potential, there.energy

    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), w)
    out = map_within(one, (flat, jnp.arange(math.prod(shape))), memory)
    return jax.tree.map(lambda x: x.reshape(shape), out)
