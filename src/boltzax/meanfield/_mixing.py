"""Mixing of neurons along a run, and tempered draws of their law to compare them with."""

import math
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import (
    POWER_QUANTILE,
    Count,
    DeclarationError,
    Estimate,
    Key,
    Outcome,
    Positive,
    check_finite,
    outcome_of,
    text_of_values,
    typed,
    whole,
)
from ..sample import RandomWalk, anneal
from ._probe import Probe
from ._self_consistency import Particles, points_of

CHAINS, THIN, SPACING = 4, 4, 0.35
"""Of tempered draws: populations, particles for each draw kept, and spacing in log β."""
MEMORY = 0.1
"""Correlation of first and last frame that counts as forgotten, beside four standard errors."""
FROZEN = 0.75
"""A memory that matters: it must be seen with so many neurons."""


@typed
class Mixing(eqx.Module):
    """Moves of neurons among the lobes of their cloud, measured on frames of a run.

    Args:
        hop_rate: Share of neurons that change lobe between frames, per unit time; a lobe is the
            pattern of signs of the coordinates about their mean. Hops back between frames are not
            seen.
        memory: Largest correlation of a coordinate, or of its sign, in the first frame and in the
            last.
        allowed: `0.1 + 4/√n`. Larger: the lobes are frozen, or the run too short to tell.
        autocorrelation_time: `Δ (½ + Σ ρ_k)` of the slowest coordinate, as far as the correlation
            `ρ_k` over `k` frames stays above 0.05; not below half of `Δ`, the time between frames.
        span: Time from first to last frame, in the unit of `dt` (steps for an optimiser).
    """

    hop_rate: Estimate
    memory: Float[Array, ""]
    allowed: Float[Array, ""]
    autocorrelation_time: Float[Array, ""]
    span: Float[Array, ""]

    @property
    def detectable(self) -> Float[Array, ""]:
        """The memory that would have been seen with probability .95."""
        neurons = (4 / (self.allowed - MEMORY)) ** 2
        spread = jnp.maximum(1 - self.allowed**2, 0) / neurons**0.5
        return self.allowed + POWER_QUANTILE * spread

    @property
    def outcome(self) -> Outcome:
        """`disagree` if the first frame is remembered; `too_few` if a memory of 3/4 would not have
        been seen, with fewer than about 50 neurons."""
        seen = not bool(self.memory <= self.allowed)
        return outcome_of(seen, bool(self.detectable <= FROZEN))

    @property
    def forgotten(self) -> bool:
        """Whether the last frame is independent of the first, as far as enough neurons tell."""
        return bool(self.outcome == Outcome.agree)

    @text_of_values
    def __repr__(self) -> str:
        rate = f"{float(self.hop_rate.value):.3g} ± {float(self.hop_rate.standard_error):.1g}"
        return (
            f"hop rate {rate}, memory {float(self.memory):.3f} (allowed {float(self.allowed):.3f}) "
            f"after {float(self.span):.4g}, autocorrelation time "
            f"{float(self.autocorrelation_time):.3g}"
        )


@typed
def mixing(frames: Particles, interval: Positive = 1.0) -> Mixing:
    """Hops, memory and autocorrelation time from frames `[frame, neuron, ...]`, `interval` apart.

    Args:
        frames: Weights at evenly spaced times.
        interval: The time between two frames.

    Raises:
        DeclarationError: Fewer than two frames or two neurons.
    """
    count, neurons = jax.tree.leaves(frames)[0].shape[:2]
    for name, value in (("frames", count), ("neurons", neurons)):
        if value < 2:
            raise DeclarationError(
                "frames",
                got=f"{value} {name}",
                expected="at least two frames of at least two neurons",
                mend="keep more, e.g. train(..., frames=10)",
            )
    check_finite("frames", frames, "look at the status of the run that gave them")
    points = jax.vmap(points_of)(frames)
    return _mixing(points, jnp.asarray(interval, points.dtype))


@typed
def tempered(
    law: Probe,
    count: Annotated[int, whole(4 * CHAINS)],
    *,
    key: Key,
    moves: Count = 40,
    throw: bool = True,
) -> Particles:
    """`count` neurons of the law by tempered sequential Monte Carlo from the prior.

    What the run of a foreground should end at, if nothing froze: `bx.anneal` of `law.gibbs` along a
    ladder to `β = 1`, random-walk moves, `moves` of them a level, in four populations; every fourth
    particle is kept. It sees all of the prior, where `Probe.draw` sees its nodes and a run may not
    leave the lobe it fell into. The weights of lobes that no particle crosses between are those of
    the few ancestors that fell into each: in a cold field compare two keys first.

    Raises:
        RunError: Unless `throw=False`, if the forward and the reverse pass disagree.
    """
    gibbs, key_prior = law.gibbs, jax.random.fold_in(key, 1)
    prior = jax.vmap(gibbs.sample_prior)(jax.random.split(key_prior, 256))
    spread = float(jnp.std(jax.vmap(gibbs.energy)(prior)))
    # from where the prior's energies differ by half a nat
    lowest = min(1.0, 0.5 / max(spread, 1e-6))
    levels = 1 + math.ceil(-math.log(lowest) / SPACING)
    trace = anneal(
        gibbs,
        np.geomspace(lowest, 1.0, levels),
        RandomWalk(),
        key=key,
        by="smc",
        chains=CHAINS,
        draws=-(-count // CHAINS) * THIN,
        thin=moves,
        spacing=1.01 * SPACING,
        keep=True,
        throw=throw,
    )
    assert trace.w is not None
    # siblings are neighbours: every so-manyth only
    cold = {path: w[-1].reshape(-1, *w.shape[3:])[::THIN] for path, w in trace.w.items()}
    return {path: w[:count] for path, w in cold.items()}


@eqx.filter_jit
def _mixing(points: Float[Array, "frame n d"], interval: Array) -> Mixing:
    frames, neurons, _ = points.shape
    lobes = points > jnp.mean(points, axis=(0, 1))
    hops = jnp.sum(jnp.any(lobes[1:] != lobes[:-1], axis=2), axis=0) / (frames - 1)
    hops = hops.astype(points.dtype) / interval
    rate = Estimate.of_samples(hops)
    both = jnp.concatenate([points, lobes.astype(points.dtype)], axis=2)
    centred = both - jnp.mean(both, axis=1, keepdims=True)
    norm = jnp.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / jnp.where(norm > 0, norm, 1.0)
    correlation = jnp.einsum("fnd,gnd->dfg", unit, unit)
    lag = jnp.arange(frames)
    by_lag = jnp.stack(
        [jnp.mean(jnp.diagonal(correlation, k, 1, 2), axis=1) for k in range(frames)]
    )
    alive = jnp.cumprod((by_lag > 0.05) & (lag > 0)[:, None] | (lag == 0)[:, None], axis=0)
    total = 0.5 + jnp.sum(jnp.where(lag[:, None] > 0, alive * by_lag, 0.0), axis=0)
    return Mixing(
        hop_rate=rate,
        memory=jnp.max(jnp.abs(correlation[:, 0, -1])),
        allowed=jnp.asarray(MEMORY + 4 / neurons**0.5, points.dtype),
        autocorrelation_time=interval * jnp.max(total),
        span=interval * (frames - 1),
    )
