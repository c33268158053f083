"""Exact free energies of Gibbs measures in one to three dimensions, by graded quadrature."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core import Count, DeclarationError, as_argument, typed
from ._arguments import Above, Betas
from ._mesh import Rule, graded_rule
from ._result import ExactFreeEnergy, distance

_LEVELS = ((4, 0), (6, 2), (9, 4), (14, 6), (20, 9))
_CHUNK = 2**14


@typed
def exact_free_energy(
    potential: Callable[[jax.Array, jax.Array], Any],
    log_prior: Callable[[jax.Array], Any],
    bounds: Sequence[tuple[float, float]],
    betas: Betas,
    *,
    centres: Sequence[Sequence[float]] | None = None,
    tolerance: Above = 1e-8,
    max_points: Count = 2**24,
) -> ExactFreeEnergy:
    """`log ∫ exp(log_prior(w) - potential(w, β)) dw` and its slope in log β, for each of `betas`.

    The learning coefficient is `⟨β ∂U/∂β⟩` under the same rule. The rule is a product of composite
    Gauss-Legendre rules. Panels halve towards the centres of each coordinate, down to a width of
    about β^(-1/2), which resolves a singular posterior. The rule is refined until two successive
    levels agree to `tolerance`. Ridges that are not parallel to an axis, and peaks away from the
    centres, are resolved only at moderate β: choose coordinates and centres that follow the zeros
    of the energy. For a centre other than 0, `w - centre` has only absolute accuracy; shift the
    coordinate if that matters.

    Source: Davis and Rabinowitz 1984, *Methods of Numerical Integration*, chapter 2 (graded rules
    for end-point singularities).

    Args:
        potential: `U(w, β)` at one point `w`, `[dim]`: `βE(w)` for a plain energy, else any
            function that is differentiable in β.
        log_prior: The normalised log-density of the prior at one point.
        bounds: The interval `(lo, hi)` of each coordinate, of which there are one to three.
        betas: Inverse temperatures.
        centres: For each coordinate the points towards which panels halve; by default 0.
        tolerance: Largest `ExactFreeEnergy.error`.
        max_points: Largest number of nodes.

    Raises:
        DeclarationError: (a `ValueError`) without 64-bit arithmetic or for a wrong argument.
        RuntimeError: If the tolerance is not met within `max_points` points or if the integrand is
            not finite.
    """
    box, marks = _checked(bounds, centres)
    beta = np.atleast_1d(betas).ravel()
    functions = as_argument(potential), as_argument(log_prior)
    longest = max(hi - lo for lo, hi in box)
    depth = 2 + max(0, math.ceil(0.5 * math.log2(max(1.0, np.max(beta)) * longest**2)))
    previous, error = None, None
    for points, deeper in _LEVELS:
        rules = [
            graded_rule(lo, hi, mark, depth + deeper, points)
            for (lo, hi), mark in zip(box, marks, strict=True)
        ]
        if math.prod(len(node) for node, _ in rules) > max_points:
            break
        log_z, slope = map(np.asarray, _integrate(*functions, *_device(rules), beta))
        if not (np.all(np.isfinite(log_z)) and np.all(np.isfinite(slope))):
            raise RuntimeError(
                "exact_free_energy: the integral is not finite. Expected a potential and a log "
                "prior that are finite almost everywhere in the bounds, and some mass in them. "
                "Check both at a few points, with jax_debug_nans."
            )
        if previous is not None:
            error = np.maximum(distance(previous[0], log_z), distance(previous[1], slope))
            if np.max(error) <= tolerance:
                shape = np.shape(betas)
                return ExactFreeEnergy(
                    log_z.reshape(shape), slope.reshape(shape), error.reshape(shape)
                )
        previous = log_z, slope
    reached = "no two levels fit" if error is None else f"two levels differ by {np.max(error):.2g}"
    raise RuntimeError(
        f"exact_free_energy: not converged to {tolerance:.2g} within {max_points} points; "
        f"{reached}. Change coordinates so that the zeros of the energy lie on axes through the "
        "centres, name further centres, or raise max_points or tolerance."
    )


def _checked(bounds: Sequence, centres: Sequence | None):
    if jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise DeclarationError(
            "jax_enable_x64",
            got="False",
            expected="64-bit arithmetic, as exact values need it",
            mend='call jax.config.update("jax_enable_x64", True) at the start of the program',
        )
    box = list(bounds)
    good = all(math.isfinite(p[1] - p[0]) and p[0] < p[1] for p in box)
    if not good or not 1 <= len(box) <= 3:
        raise DeclarationError(
            "bounds",
            got=repr(bounds),
            expected="one to three finite pairs (lo, hi), lo < hi",
            mend="pass one pair for each coordinate; cut a normal prior at 12 standard deviations",
        )
    marks = [(0.0,)] * len(box) if centres is None else [tuple(c) for c in centres]
    if len(marks) != len(box):
        raise DeclarationError(
            "centres",
            got=f"{len(marks)} entries",
            expected=f"{len(box)} entries, a sequence of centres for each coordinate",
            mend="pass for example centres=[(0.0,), (0.0, 1.0)]; () for a coordinate without any",
        )
    return box, marks


def _device(rules: list[Rule]):
    nodes = tuple(np.asarray(node) for node, _ in rules)
    return nodes, tuple(np.log(weight) for _, weight in rules)


@eqx.filter_jit
def _integrate(potential, log_prior, nodes, logs, betas):
    sizes = tuple(node.shape[0] for node in nodes)
    total = math.prod(sizes)

    def at_point(w, beta):
        u, du = jax.jvp(lambda b: jnp.asarray(potential(w, b)), (beta,), (jnp.ones_like(beta),))
        return jnp.asarray(log_prior(w)) - u, beta * du

    def at_beta(beta):
        def step(carry, start):
            top, mass, moment = carry
            flat = start + jnp.arange(_CHUNK)
            index = jnp.unravel_index(jnp.minimum(flat, total - 1), sizes)
            w = jnp.stack([node[i] for node, i in zip(nodes, index, strict=True)], axis=-1)
            log, slope = jax.vmap(at_point, (0, None))(w, beta)
            log = log + sum(lw[i] for lw, i in zip(logs, index, strict=True))
            log = jnp.where(flat < total, log, -jnp.inf)
            new = jnp.maximum(top, jnp.max(log))
            shift = jnp.where(jnp.isfinite(new), new, 0.0)
            weight = jnp.exp(log - shift)
            keep = jnp.exp(top - shift)
            slope = jnp.where(weight > 0, slope, 0.0)
            carry = new, mass * keep + jnp.sum(weight), moment * keep + jnp.sum(weight * slope)
            return carry, None

        starts = jnp.arange(0, total, _CHUNK)
        (top, mass, moment), _ = jax.lax.scan(step, (-jnp.inf, 0.0, 0.0), starts)
        return top + jnp.log(mass), moment / mass

    return jax.lax.map(at_beta, betas)
