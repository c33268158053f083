"""Components that depend on one shared variable: independent given it, coupled without it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..compile import compile
from ..core import DeclarationError, Estimate, map_within, typed
from ..declare import Distribution, Specified, Violation
from ._splitting import Level

BLOCKS = 32
"""Pieces of the draws that the jackknife leaves out in turn."""
SHIFTS = 16
"""Ways in which the draws of the components are paired for their total correlation."""


class SharedEntropy(eqx.Module):
    """What `shared_entropy` returns; entropies in nats, `P_i(g)` the probability that component `i`
    keeps its contract at `g`.

    - `values` `[value, ...]`, `weights` `[value]`: of the shared variable, `p(g)`.
    - `entropy` `[value, component]`: `H_i(g) = log P_i(g)`.
    - `joint` `[value]`: `log P[all kept | g]` from components drawn together.
    - `residual` `[value]`: `joint - Σ_i H_i(g)`: 0 if the components are independent given `g`.
    - `total` `[]`: `H(Θ | APIs) = log Σ_g p(g) Π_i P_i(g)`.
    - `marginal` `[component]`: `log Σ_g p(g) P_i(g)`, of each component by itself.
    - `posterior` `[value]`: `p(g | all kept) ∝ p(g) Π_i P_i(g)`.
    - `coupling` `[]`: `total - Σ_i marginal_i = log E_g Π P_i - Σ_i log E_g P_i`: how much more
      likely the contracts are kept together than if each component had a variable of its own.
      Positive where all `P_i` rise and fall with `g` together (Chebyshev), negative where one
      gains what another loses, 0 where at most one of them depends on `g`.
    - `total_correlation` `[]`: `KL(p(u | all kept) ‖ Π_i p(u_i | all kept))`, never negative: what
      the components know of each other through `g`. It is of the whitened weights `u`, i.e. of the
      weights where priors do not depend on `g`.
    - `satisfied` `[value, component]`: number of draws that keep the contract.
    """

    values: Array
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

    def __repr__(self) -> str:
        if not eqx.is_array(self.values) or isinstance(self.values, Tracer):
            return "SharedEntropy(...)"
        lines = [
            f"SharedEntropy over {len(self.weights)} values of the shared variable, "
            f"{self.satisfied.shape[1]} components"
        ]
        for name in ("total", "coupling", "total_correlation"):
            each = getattr(self, name)
            lines.append(f"{name}: {float(each.value):.4f} ± {float(each.standard_error):.4f}")
        lines.append(f"fewest draws that keep a contract: {int(jnp.min(self.satisfied))}")
        return "\n  ".join(lines)


@typed
def shared_entropy(
    build: Callable[[Any], Specified],
    law: Distribution | tuple[Any, Any],
    *,
    key: PRNGKeyArray,
    draws: int = 16_384,
    values: int = 64,
) -> SharedEntropy:
    """Entropy of components whose interfaces, models or priors depend on one shared variable `g`.

    Given `g` the components are independent, `log P[all kept | g] = Σ_i H_i(g)`; without it they
    are not: `H(Θ | APIs) = log Σ_g p(g) Π_i e^{H_i(g)}`.

    Errors are by a jackknife over 32 pieces of the draws; where `law` is a distribution, the
    spread over its draws is added to those of `total`, `marginal`, `coupling` and
    `total_correlation` (which then sees no more than the log of the number of values). Where
    `satisfied` is below some tens, an error bar means little; a probability of 0 has entropy -inf
    and error NaN.

    Source: independence given what is shared, comments to Wentworth & Lorell, "Toward Statistical
    Mechanics of Interfaces Under Selection Pressure" (2023). Total correlation: Watanabe 1960, IBM
    J. Res. Dev. 4:66. Jackknife: Efron & Stein 1981, Ann. Stat. 9:586.

    Args:
        build: The circuit at a value. It is called once for each value, before anything is traced;
            only numbers may differ between values, not structure (number of boxes, activations).
        law: Of `g`: `(values, probabilities)` for a discrete one, or a distribution, of which
            `values` are drawn.
        draws: Of the prior, by direct Monte Carlo, rounded up to a multiple of 32. All values of
            `g` use the same whitened draws, so that differences between values have small errors.

    Raises:
        DeclarationError: A law or a `build` that does not fit.
    """
    for name, value, least in (("draws", draws, BLOCKS), ("values", values, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise DeclarationError(
                name, got=repr(value), expected=f"at least {least}", mend=f"leave {name} out"
            )
    key_law, key_draws = jax.random.split(key)
    points, weights, sampled = _points(law, key_law, values)
    levels = _stacked([_levels(build, g) for g in points])
    size = BLOCKS * -(-draws // BLOCKS)
    kept = _kept(levels, jax.random.split(key_draws, (len(levels), size)))
    value, by_draws, by_values = _statistics(kept, weights, sampled)
    error = jax.tree.map(lambda a, b: jnp.sqrt(a**2 + b**2), by_draws, by_values)
    made = {
        name: Estimate(
            value[name],
            error[name],
            jnp.full_like(value[name], size),
            jnp.ones_like(value[name]),
        )
        for name in value
    }
    satisfied = jnp.sum(kept, axis=(2, 3))
    return SharedEntropy(values=points, weights=weights, satisfied=satisfied, **made)


def _points(law: Any, key: PRNGKeyArray, count: int) -> tuple[Array, Array, bool]:
    """The values of the shared variable, their probabilities, and whether they were drawn."""
    if isinstance(law, Distribution):
        points = jnp.asarray(law.sample(key, (count,)), float)
        return points, jnp.full(count, 1 / count), True
    try:
        points, weights = (jnp.asarray(each, float) for each in law)
        good = points.ndim >= 1 and weights.shape == points.shape[:1] and weights.size > 0
        good = good and bool(jnp.all(weights >= 0)) and abs(float(jnp.sum(weights)) - 1) < 1e-4
    except (TypeError, ValueError):
        points, weights, good = jnp.zeros(0), jnp.zeros(0), False
    if not good:
        raise DeclarationError(
            "law",
            got=f"{law!r:.80}",
            expected="(values, probabilities that sum to 1), or a distribution",
            mend="pass e.g. ([4.5, 5.0, 5.5], [0.25, 0.5, 0.25]) or bx.Normal(5.0, 0.2)",
        )
    return points, weights / jnp.sum(weights), False


def _levels(build: Callable, g: Array) -> tuple[Level, ...]:
    """The margin of each component as a function of its whitened weights."""
    if not callable(build):
        raise DeclarationError(
            "build",
            got=type(build).__name__,
            expected="a function from a value to a circuit",
            mend="write e.g. lambda g: bx.Chain(components, interfaces_at(g))",
        )
    circuit = build(g)
    if not isinstance(circuit, Specified):
        raise DeclarationError(
            "build",
            got=f"a function that gives {type(circuit).__name__}",
            expected="a Contract, a Circuit or a Chain",
            mend="write e.g. lambda g: bx.Chain(components, interfaces_at(g))",
        )
    return tuple(
        Level(compile(Violation(contract), contract.prior), contract.margin)
        for contract in circuit.contracts
    )


def _stacked(each: list[tuple[Level, ...]]) -> tuple[Level, ...]:
    """The circuits of all values as one, with a leading axis."""
    parts = [eqx.partition(levels, eqx.is_array) for levels in each]
    arrays, rest = zip(*parts)
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
            return eqx.filter_vmap(lambda one: one(one.draw(key)) >= 0)(level)

        return map_within(at, keys).T

    each = [component(level, k) for level, k in zip(levels, keys, strict=True)]
    kept = jnp.stack(each, axis=1)
    return kept.reshape(*kept.shape[:2], BLOCKS, -1)


@eqx.filter_jit
def _statistics(kept: Array, p: Float[Array, " value"], sampled: bool):
    """The result, and its errors by the draws and by the values."""
    count = p.shape[0]
    laws = p[None]
    if sampled:
        left = jnp.where(jnp.eye(count, dtype=bool), 0.0, p)
        laws = jnp.concatenate([laws, left / jnp.sum(left, axis=1, keepdims=True)])
    tally = Tally(
        jnp.sum(kept, axis=-1, dtype=p.dtype),
        jnp.sum(jnp.all(kept, axis=1), axis=-1, dtype=p.dtype),
        kept.astype(p.dtype),
        *_paired(kept, laws),
    )
    every = jnp.ones(BLOCKS, p.dtype)
    value = tally.summary(0, p, every)
    by_draws = _jackknife(lambda i: tally.summary(0, p, every.at[i].set(0.0)), BLOCKS)
    by_values = jax.tree.map(jnp.zeros_like, value)
    if sampled:

        def without(i):
            found = tally.summary(i + 1, laws[i + 1], every)
            return {name: found[name] for name in _OVER_VALUES}

        by_values = by_values | _jackknife(without, count)
    return value, by_draws, by_values


_OVER_VALUES = ("total", "marginal", "coupling", "total_correlation")


def _jackknife(without: Callable, count: int):
    """Standard error from the statistics that leave out one piece each."""
    each = jax.lax.map(without, jnp.arange(count))
    return jax.tree.map(lambda x: jnp.sqrt((count - 1) * jnp.var(x, axis=0)), each)


class Tally(eqx.Module):
    """What the draws say: how many keep their contract, and sums for the total correlation."""

    counts: Float[Array, "value component block"]
    joint: Float[Array, "value block"]
    kept: Float[Array, "value component block draw"]
    above: Float[Array, "law block"]
    below: Float[Array, "law block"]

    def summary(self, law: Any, p: Float[Array, " value"], every: Float[Array, " block"]) -> dict:
        """All statistics at a law of the shared variable, from the blocks that count."""
        counted = jnp.sum(every) * self.kept.shape[-1]
        each = self.counts @ every / counted
        joint = jnp.log(self.joint @ every / counted)
        product = jnp.prod(each, axis=1)
        evidence = jnp.sum(p * product)
        marginal, total, logs = jnp.log(p @ each), jnp.log(evidence), jnp.log(each)
        posterior = p * product / evidence
        shared = (each.shape[1] - 1) * -jnp.sum(_xlogx(posterior))
        for i in range(each.shape[1]):
            others = jnp.prod(each.at[:, i].set(1.0), axis=1)
            above, below = _sums((p * others)[None], self.kept[:, i])
            shared -= jnp.sum(above[0] * every) / jnp.sum(below[0] * every)
        shared += jnp.sum(self.above[law] * every) / jnp.sum(self.below[law] * every)
        return {
            "entropy": logs,
            "joint": joint,
            "residual": joint - jnp.sum(logs, axis=1),
            "total": total,
            "marginal": marginal,
            "posterior": posterior,
            "coupling": total - jnp.sum(marginal),
            "total_correlation": shared,
        }


# The total correlation given that all is kept is Σ_i I(u_i; g) - I(u; g), as the u_i are
# independent given g, with I(u; g) = H(g) - ⟨H(g | u)⟩. A draw u speaks of g only by the values at
# which its contracts are kept: p(g | u) ∝ q(g) [kept at g], with q = p for the whole and
# q = p Π_{j≠i} P_j for one component. The averages are over draws of the prior weighted by the sum
# over g.


def _paired(kept: Array, laws: Float[Array, "law value"]):
    """The sums of whole systems, each law a row; the components, which are drawn independently, are
    put together in several ways."""
    steps = jnp.arange(SHIFTS)[:, None] * jnp.arange(kept.shape[1])

    def one(step):
        rolled = [jnp.roll(kept[:, i], step[i], axis=-1) for i in range(kept.shape[1])]
        return _sums(laws, jnp.all(jnp.stack(rolled), axis=0).astype(laws.dtype))

    return jax.tree.map(lambda x: jnp.sum(x, axis=0), jax.lax.map(one, steps))


def _sums(q: Float[Array, "law value"], kept: Float[Array, "value block draw"]):
    """`Σ_u t H(g | u)` and `Σ_u t` of each block, where `p(g | u) = q(g) kept(g, u) / t`."""
    total = jnp.einsum("lg,gbn->lbn", q, kept)
    entropy = _xlogx(total) - jnp.einsum("lg,gbn->lbn", _xlogx(q), kept)
    return jnp.sum(entropy, axis=-1), jnp.sum(total, axis=-1)


def _xlogx(x: Array) -> Array:
    return jax.scipy.special.xlogy(x, x)
