"""Components that depend on one shared variable: independent given it, coupled without it."""

import functools
from collections.abc import Callable
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from ..core import (
    DeclarationError,
    Estimate,
    Influence,
    Key,
    estimate_of_parts,
    map_within,
    text_of_values,
    typed,
    whole,
)
from ..declare import Distribution, Specified
from ..sample import Level
from ._entropy import prior_of_contract

BLOCKS = 32
"""Pieces of the draws, from whose spread the errors are."""
SHIFTS = 16
"""Ways in which the draws of the components are paired for their total correlation."""


@typed
class SharedEntropy(eqx.Module):
    """What `shared_entropy` returns; entropies in nats, `P_i(g)` the probability that component `i`
    keeps its contract at `g`.

    Args:
        values: Of the shared variable, `[value, ...]`.
        weights: Their probabilities `p(g)`, `[value]`.
        entropy: `H_i(g) = log P_i(g)`, `[value, component]`.
        joint: `log P[all kept | g]` from components drawn together, `[value]`.
        residual: `joint - Σ_i H_i(g)`, `[value]`: 0 if the components are independent given `g`.
        total: `H(Θ | APIs) = log Σ_g p(g) Π_i P_i(g)`, `[]`.
        marginal: `log Σ_g p(g) P_i(g)`, of each component by itself, `[component]`.
        posterior: `p(g | all kept) ∝ p(g) Π_i P_i(g)`, `[value]`.
        coupling: `total - Σ_i marginal_i = log E_g Π P_i - Σ_i log E_g P_i`, `[]`: how much more
            likely the contracts are kept together than if each component had a variable of its own.
            Positive where all `P_i` rise and fall with `g` together (Chebyshev), negative where one
            gains what another loses, 0 where at most one of them depends on `g`.
        total_correlation: `KL(p(u | all kept) ‖ Π_i p(u_i | all kept))`, `[]`, never negative: what
            the components know of each other through `g`. It is of the whitened weights `u`, i.e.
            of the weights where priors do not depend on `g`.
        satisfied: Number of draws that keep the contract, `[value, component]`.
    """

    values: Float[Array, "value ..."]
    weights: Float[Array, " value"]
    entropy: Estimate
    joint: Estimate
    residual: Estimate
    total: Estimate
    marginal: Estimate
    posterior: Estimate
    coupling: Estimate
    total_correlation: Estimate
    satisfied: Int[Array, "value component"]

    @text_of_values
    def __repr__(self) -> str:
        lines = [
            f"SharedEntropy over {len(self.weights)} values of the shared variable, "
            f"{self.satisfied.shape[1]} components"
        ]
        for name in ("total", "coupling", "total_correlation"):
            lines.append(f"{name}: {getattr(self, name):.4f}")
        lines.append(f"fewest draws that keep a contract: {int(jnp.min(self.satisfied))}")
        return "\n  ".join(lines)


@typed
def shared_entropy(
    build: Callable[[Any], Specified],
    law: Distribution | tuple[ArrayLike, ArrayLike],
    *,
    key: Key,
    draws: Annotated[int, whole(BLOCKS)] = 16_384,
    values: Annotated[int, whole(2)] = 64,
) -> SharedEntropy:
    """Entropy of components whose interfaces, models or priors depend on one shared variable `g`.

    Given `g` the components are independent, `log P[all kept | g] = Σ_i H_i(g)`; without it they
    are not: `H(Θ | APIs) = log Σ_g p(g) Π_i e^{H_i(g)}`.

    Errors are from the influence of each of 32 pieces of the draws; where `law` is a distribution,
    that of each of its draws is added to those of `total`, `marginal`, `coupling` and
    `total_correlation` (which then sees no more than the log of the number of values). Where
    `satisfied` is below some tens, an error bar means little; a probability of 0 has entropy -inf
    and error NaN.

    Source: independence given what is shared, comments to Wentworth & Lorell, "Toward Statistical
    Mechanics of Interfaces Under Selection Pressure" (2025). Total correlation: Watanabe 1960, IBM
    J. Res. Dev. 4:66. Influence: Efron 1982, The Jackknife, the Bootstrap and Other Resampling
    Plans, ch. 6.

    Args:
        build: The circuit at a value. It is called once for each value, before anything is traced;
            only numbers may differ between values, not structure (number of boxes, activations).
        law: Of `g`: `(values, probabilities)` for a discrete one, or a distribution, of which
            `values` are drawn.
        key: Key of all randomness.
        draws: Of the prior, by direct Monte Carlo, rounded up to a multiple of 32. All values of
            `g` use the same whitened draws, so that differences between values have small errors.
        values: How many draws of a `law` that is a distribution.

    Raises:
        DeclarationError: A law or a `build` that does not fit.
    """
    key_law, key_draws = jax.random.split(key)
    points, weights, sampled = _points(law, key_law, values)
    levels = _stacked([_levels(build, g) for g in points])
    size = BLOCKS * -(-draws // BLOCKS)
    kept = _kept(levels, jax.random.split(key_draws, (len(levels), size)))
    made = {}
    for name, influence in _statistics(kept, weights, sampled).items():
        error = influence.estimate().standard_error
        made[name] = estimate_of_parts(influence.value, error, size)
    satisfied = jnp.sum(kept, axis=(2, 3))
    return SharedEntropy(values=points, weights=weights, satisfied=satisfied, **made)


def _points(law: Any, key: PRNGKeyArray, count: int) -> tuple[Array, Array, bool]:
    """The values of the shared variable, their probabilities, and whether they were drawn."""
    if isinstance(law, Distribution):
        points = jnp.asarray(law.sample(key, (count,)), float)
        return points, jnp.full(count, 1 / count), True
    points, weights = (np.asarray(numbers, jnp.result_type(float)) for numbers in law)
    fits = points.ndim >= 1 and weights.shape == points.shape[:1] and weights.size > 0
    if not fits or np.any(weights < 0) or not abs(np.sum(weights) - 1) < 1e-4:
        raise DeclarationError(
            "law",
            got=f"{law!r:.80}",
            expected="(values, probabilities that sum to 1), or a distribution",
            mend="pass e.g. ([4.5, 5.0, 5.5], [0.25, 0.5, 0.25]) or bx.Normal(5.0, 0.2)",
        )
    return jax.device_put(points), jax.device_put(weights / np.sum(weights)), False


def _levels(build: Callable, g: Array) -> tuple[Level, ...]:
    """The margin of each component as a function of its whitened weights."""
    circuit = build(g)
    if not isinstance(circuit, Specified):
        raise DeclarationError(
            "build",
            got=f"a function that gives {type(circuit).__name__}",
            expected="a Contract, a Circuit or a Chain",
            mend="write e.g. lambda g: bx.Chain(components, interfaces_at(g))",
        )
    return tuple(
        Level(prior_of_contract(contract), contract.margin) for contract in circuit.contracts
    )


def _stacked(circuits: list[tuple[Level, ...]]) -> tuple[Level, ...]:
    """The circuits of all values as one, with a leading axis."""
    halves = [eqx.partition(levels, eqx.is_array) for levels in circuits]
    arrays, rest = zip(*halves)
    shapes = [jax.tree.map(jnp.shape, a) for a in arrays]
    if any(s != shapes[0] for s in shapes) or not all(
        bool(eqx.tree_equal(rest[0], other)) for other in rest
    ):
        raise DeclarationError(
            "build",
            got="circuits that differ between values in more than numbers",
            expected="one structure for all values",
            mend="make functions outside of `build`, and give each interface as many boxes at "
            "every value",
        )
    return eqx.combine(jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays), rest[0])


@eqx.filter_jit
def _kept(
    levels: tuple[Level, ...], keys: PRNGKeyArray
) -> Bool[Array, "value component block draw"]:
    """Which draws keep their contract, at each value of the shared variable."""

    def component(level: Level, keys):
        def at(key):
            return eqx.filter_vmap(lambda level: level(level.draw(key)) >= 0)(level)

        return map_within(at, keys).T

    kept = jnp.stack([component(*pair) for pair in zip(levels, keys, strict=True)], axis=1)
    return kept.reshape(*kept.shape[:2], BLOCKS, -1)


@eqx.filter_jit
def _statistics(
    kept: Bool[Array, "value component block draw"], p: Float[Array, " value"], sampled: bool
) -> dict[str, Influence]:
    """All results, as functions of means over the pieces of the draws and of the law of `g`."""
    kept = kept.astype(p.dtype)
    shares = Influence.of_samples(jnp.moveaxis(jnp.mean(kept, axis=-1), -1, 0))
    together = jnp.mean(jnp.prod(kept, axis=1), axis=-1)
    joint = Influence.of_samples(together.T).map(jnp.log)
    # what a value is weighed with, and a piece: 1, if none is left out
    law = Influence(p, {"values": (jnp.eye(len(p)) - p)[..., None]} if sampled else {})
    pieces = Influence(jnp.ones(BLOCKS), {"draws": (BLOCKS * jnp.eye(BLOCKS) - 1)[..., None]})
    entropy = shares.map(jnp.log)
    total = shares.map(lambda shares, p: jnp.log(p @ jnp.prod(shares, axis=1)), law)
    marginal = shares.map(lambda shares, p: jnp.log(p @ shares), law)
    return {
        "entropy": entropy,
        "joint": joint,
        "residual": joint - entropy.map(lambda h: jnp.sum(h, axis=1)),
        "total": total,
        "marginal": marginal,
        "posterior": shares.map(lambda shares: _posterior(shares, p)),
        "coupling": total - marginal.map(jnp.sum),
        "total_correlation": _first_order(
            functools.partial(_total_correlation, kept), pieces, shares, law
        ),
    }


def _first_order(fn: Callable, *given: Influence) -> Influence:
    """`given[0].map(fn, *given[1:])` of one number, by reverse mode: one pass for all draws."""
    at = [influence.value for influence in given]
    value, slopes = jax.value_and_grad(fn, argnums=tuple(range(len(at))))(*at)

    def line(*moved):
        moves = zip(slopes, moved, at, strict=True)
        return value + sum(jnp.vdot(slope, there - here) for slope, there, here in moves)

    return given[0].map(line, *given[1:])


def _posterior(
    shares: Float[Array, "value component"], p: Float[Array, " value"]
) -> Float[Array, " value"]:
    """`p(g | all kept)`."""
    product = p * jnp.prod(shares, axis=1)
    return product / jnp.sum(product)


def _total_correlation(
    kept: Float[Array, "value component block draw"],
    pieces: Float[Array, " block"],
    shares: Float[Array, "value component"],
    p: Float[Array, " value"],
) -> Float[Array, ""]:
    """`Σ_i I(u_i; g) - I(u; g)`, given that all is kept: the `u_i` are independent given `g`.

    With `I(u; g) = H(g) - ⟨H(g | u)⟩`. A draw `u` speaks of `g` only by the values at which its
    contracts are kept: `p(g | u) ∝ q(g) [kept at g]`, with `q = p` for the whole and
    `q = p Π_{j≠i} P_j` for one component. The averages are over draws of the prior weighted by the
    sum over `g`. For the whole, the components, which are drawn independently, are put together in
    several ways.
    """
    count = shares.shape[1]
    nats = (1 - count) * jnp.sum(_xlogx(_posterior(shares, p)))
    for i in range(count):
        others = jnp.prod(shares.at[:, i].set(1.0), axis=1)
        above, below = _sums(p * others, kept[:, i])
        nats -= (above @ pieces) / (below @ pieces)
    steps = jnp.arange(SHIFTS)[:, None] * jnp.arange(count)

    @jax.checkpoint
    def whole(step):
        rolled = [jnp.roll(kept[:, i], step[i], axis=-1) for i in range(count)]
        return _sums(p, jnp.prod(jnp.stack(rolled), axis=0))

    above, below = jax.tree.map(lambda x: jnp.sum(x, axis=0), jax.lax.map(whole, steps))
    return nats + (above @ pieces) / (below @ pieces)


def _sums(
    q: Float[Array, " value"], kept: Float[Array, "value block draw"]
) -> tuple[Float[Array, " block"], Float[Array, " block"]]:
    """`Σ_u t H(g | u)` and `Σ_u t` of each piece, where `p(g | u) = q(g) kept(g, u) / t`."""
    weights = jnp.stack([q, _xlogx(q)])
    total, logs = jnp.einsum("wg,gbn->wbn", weights, kept)
    return jnp.sum(_xlogx(total) - logs, axis=-1), jnp.sum(total, axis=-1)


def _xlogx(x: Array) -> Array:
    """With the slope 0 at 0."""
    return jnp.where(x > 0, x * jnp.log(jnp.where(x > 0, x, 1.0)), 0.0)
