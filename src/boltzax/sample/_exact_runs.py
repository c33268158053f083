"""Runs of a measure whose weights were all integrated out: known in closed form, nothing moves."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..compile import Gibbs, Moments
from ..core import DeclarationError, Key, Status
from ._integrated_keys import integrated_key
from ._temperature_ladder import fill
from ._trace import Bridges, Trace

SPACING = 0.25
"""Levels of a ladder apart in log beta: they cost one factorisation each."""


def is_exact(gibbs: Gibbs) -> bool:
    """Whether no coordinate is left to sample."""
    return not gibbs.coordinates.priors


def exact_draws(gibbs: Gibbs, key: Key, chains: int, draws: int, keep: bool) -> Trace:
    """The run that `sample` would make: at every draw the energy is its posterior mean.

    The weights are drawn independently from their conditional law when the trace is evaluated
    (`trace.weights`, `trace.evaluate`), so that draws are draws of the posterior.
    """
    shape = (*gibbs.beta.shape, chains, draws)
    moments = _moments(gibbs)
    energy, variance = (_spread(row, shape) for row in (moments.energy, moments.energy_variance))
    ones, none = jnp.ones(shape), jnp.zeros(shape, bool)
    return Trace(
        gibbs, energy=energy, energy_variance=variance, acceptance=ones, divergent=none,
        w={} if keep else None, status=Status.successful, gradients=jnp.zeros(shape),
        key=integrated_key(key),
    )  # fmt: skip


def exact_ladder(
    gibbs: Gibbs, key: Key, betas: np.ndarray, chains: int, draws: int, keep: bool
) -> Trace:
    """The run that `anneal` would make, over levels at most `SPACING` apart in log beta."""
    start = 1 / max(float(gibbs.at(0.0).energy({})), 1e-300)
    positive = betas[betas > 0]
    ladder = fill(np.concatenate([[0.0, min([start, *positive])], positive]), SPACING)
    levels = gibbs.at(jnp.asarray(ladder))
    whole = exact_draws(levels, key, chains, draws, keep)
    steps = _spread(jnp.diff(_moments(levels).potential), (len(ladder) - 1, chains, draws))
    index = tuple(int(np.argmin(np.abs(ladder - beta))) for beta in betas)
    bridges = Bridges(
        levels.beta, energy=whole.energy, energy_variance=whole.energy_variance, up=steps,
        down=steps, swap_rate=jnp.ones(len(ladder) - 1), round_trips=jnp.ones(chains),
        requested=index,
    )  # fmt: skip
    run = exact_draws(gibbs.at(levels.beta[jnp.asarray(index)]), key, chains, draws, keep)
    return dataclasses.replace(run, bridges=bridges)


def refuse_exact(gibbs: Gibbs, given: dict[str, object]) -> None:
    """Refuse arguments that have no meaning in a run without steps."""
    for argument, value in given.items():
        if value and is_exact(gibbs):
            raise DeclarationError(
                argument,
                got="a measure whose weights were all integrated out",
                expected=f"no {argument}: no chain is run, draws are made by trace.evaluate",
                mend="leave it out, or compile with marginalise=False",
            )


@eqx.filter_jit
def _moments(gibbs: Gibbs) -> Moments:
    """Potential, energy and variance, of the shape of `beta`."""
    one = gibbs.potential.moments
    weights = gibbs.coordinates.constrain({})
    flat = jax.lax.map(lambda beta: one(weights, beta), gibbs.beta.reshape(-1))
    return jax.tree.map(lambda leaf: leaf.reshape(gibbs.beta.shape), flat)


def _spread(rows: Array, shape: tuple[int, ...]) -> Array:
    return jnp.broadcast_to(rows.reshape((*rows.shape, 1, 1)), shape)
