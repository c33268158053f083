"""How often the prior satisfies each of many interfaces between two components."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from ..compile import Gibbs, compile
from ..core import DeclarationError, typed
from ..declare import Component, Contract, Independent, Interface, Violation

REPLICATES = 200
"""Replicates of the bootstrap over systems and prior draws."""


class Series(eqx.Module):
    """Models one after the other: `x -> parts[-1](... parts[0](x))`."""

    parts: tuple[PyTree, ...]

    def __call__(self, x: Float[Array, " dim"]) -> Array:
        for part in self.parts:
            x = jnp.atleast_1d(part(x))
        return x


class ExpectedSatisfaction(eqx.Module):
    """What the prior says of the candidate interfaces B between two components.

    - `entropy`: `H(B) = H₁(first, B) + H₂(B, last)` in nats, `[candidate]`, and `log_evidence`,
      `log Z = log P_prior[end-to-end spec]`; `entropy_replicates` and `log_evidence_replicates`
      are those of a Bayesian bootstrap (Rubin 1981) over the shared prior draws;
    - `counts`: prior draws that satisfy the rarer of the two contracts;
    - `pool`: for other prior draws that satisfy the spec, which candidates each of them satisfies.
    """

    components: tuple[Component, Component]
    first: Interface
    candidates: Interface
    last: Interface
    points: int = eqx.field(static=True)
    entropy: Float[Array, " candidate"]
    log_evidence: Float[Array, ""]
    entropy_replicates: Float[Array, "replicate candidate"]
    log_evidence_replicates: Float[Array, " replicate"]
    counts: Float[Array, " candidate"]
    pool: Bool[Array, "system candidate"]

    @property
    def spec(self) -> Contract:
        """The end-to-end contract of the two components in series."""
        return end_to_end(self.components, self.first, self.last, points=self.points)

    @property
    def standard_error(self) -> Float[Array, " candidate"]:
        """Standard error of `entropy - log_evidence`, in nats."""
        return jnp.std(self.entropy_replicates - self.log_evidence_replicates[:, None], axis=0)

    def __repr__(self) -> str:
        if not isinstance(self.entropy, jax.Array) or self.entropy.ndim != 1:
            return "ExpectedSatisfaction(...)"
        low, high = float(jnp.min(self.entropy)), float(jnp.max(self.entropy))
        return (
            f"ExpectedSatisfaction of {self.entropy.size} candidates: H from {low:.3g} to "
            f"{high:.3g} nats, log Z {float(self.log_evidence):.4g}, {len(self.pool)} in the pool"
        )


def end_to_end(
    components: Sequence[Component], first: Interface, last: Interface, *, points: int = 33
) -> Contract:
    """The contract of components in series, seen as one: nothing is said of what is between.

    Its model is a `Series`, its prior that of independent components, its logic the composition.
    Raises `DeclarationError` if there are no components, or the shapes or values do not match.
    """
    parts = tuple(components)
    if not parts or not all(isinstance(part, Component) for part in parts):
        raise DeclarationError(
            "components",
            got=f"{components!r:.80}",
            expected="a sequence of components",
            mend="pass e.g. (amplifier, amplifier)",
        )
    logic = {}
    for value in first.values:
        wanted = value
        for part in parts:
            wanted = wanted if part.logic is None else dict(part.logic).get(wanted, wanted)
        logic[value] = wanted
    prior = Independent(
        {
            f"parts[{i}].{pattern}": distribution
            for i, part in enumerate(parts)
            for pattern, distribution in part.prior.by_pattern.items()
        }
    )
    whole = Component(Series(tuple(part.model for part in parts)), prior, logic)
    return Contract(whole, first, last, points=points)


@typed
def expected_satisfaction(
    components: Sequence[Component],
    first: Interface,
    candidates: Sequence[Interface],
    last: Interface,
    *,
    key: PRNGKeyArray,
    draws: int = 100_000,
    points: int = 33,
) -> ExpectedSatisfaction:
    """`e^{H(B)}` and Z for each candidate interface B, by direct Monte Carlo.

    All candidates share `draws` draws of the prior, so that differences between them err little;
    as many other draws make the pool that the noise floor is taken from. `points` is the number
    of values of x looked at in each box (see `Contract`).

    Raises `DeclarationError` unless there are two components and the candidates are interfaces
    with the same values and dimension, and if no draw satisfies the spec.
    """
    if len(components) != 2:
        raise DeclarationError(
            "components",
            got=f"{len(components)} components",
            expected="two, with the candidate interfaces between them",
            mend="cut a longer chain at one joint, and make each part one component",
        )
    spec = end_to_end(components, first, last, points=points)
    stacked = _stack(candidates)
    pair = (components[0], components[1])
    gibbs = compile(Violation(spec), spec.prior)
    keys = jax.random.split(key, 3)

    judge = Judge(pair, first, stacked, last, points)
    before, after, solved = _judge_prior(gibbs, judge, jax.random.split(keys[0], draws))
    other = _judge_prior(gibbs, judge, jax.random.split(keys[1], draws))
    pool = np.asarray(other[0] & other[1])[np.asarray(other[2])]
    if not len(pool) or not bool(jnp.any(solved)):
        raise DeclarationError(
            "last",
            got=f"an end-to-end spec that none of {draws} draws of the prior satisfies",
            expected="a spec that the prior satisfies now and then",
            mend="widen the interfaces at the ends, or draw more",
        )
    entropy, evidence = _entropies(before, after, solved, jnp.ones(draws))
    again = _bootstrap_entropies(before, after, solved, jax.random.split(keys[2], REPLICATES))
    counts = jnp.minimum(jnp.sum(before, axis=0), jnp.sum(after, axis=0)).astype(entropy.dtype)
    return ExpectedSatisfaction(
        pair, first, stacked, last, points, entropy, evidence, *again, counts, jnp.asarray(pool)
    )


class Judge(eqx.Module):
    """Which candidates a system satisfies: before them, after them, and end to end."""

    components: tuple[Component, Component]
    first: Interface
    candidates: Interface
    last: Interface
    points: int = eqx.field(static=True)

    def __call__(self, system: Series) -> tuple[Array, Array, Array]:
        def of(middle: Interface) -> tuple[Array, Array]:
            before = Contract(self.components[0], self.first, middle, points=self.points)
            after = Contract(self.components[1], middle, self.last, points=self.points)
            return before.margin(system.parts[0]) >= 0, after.margin(system.parts[1]) >= 0

        spec = end_to_end(self.components, self.first, self.last, points=self.points)
        return *jax.vmap(of)(self.candidates), spec.margin(system) >= 0


@eqx.filter_jit
def _judge_prior(gibbs: Gibbs, judge: Judge, keys: Array) -> tuple[Array, Array, Array]:
    return jax.lax.map(lambda k: judge(gibbs.model(gibbs.sample_prior(k))), keys, batch_size=64)


def _stack(candidates: Sequence[Interface]) -> Interface:
    """The candidates as one interface with a leading axis, padded with empty boxes."""
    if not candidates or len({(frozenset(c.values), c.dim) for c in candidates}) != 1:
        raise DeclarationError(
            "candidates",
            got=f"{len(candidates)} interfaces, not all of one signal",
            expected="interfaces with the same logical values and dimension",
            mend="list the candidates for one signal",
        )
    values = candidates[0].values
    width = max(c.lower.shape[1] for c in candidates)
    rows = [jnp.asarray([c.index(value) for value in values]) for c in candidates]

    def padded(bounds: Array, empty: float) -> Array:
        room = ((0, 0), (0, width - bounds.shape[1]), (0, 0))
        return jnp.pad(bounds, room, constant_values=empty)

    pairs = list(zip(candidates, rows, strict=True))
    lower = jnp.stack([padded(c.lower[row], jnp.inf) for c, row in pairs])
    upper = jnp.stack([padded(c.upper[row], -jnp.inf) for c, row in pairs])
    return eqx.tree_at(lambda c: (c.lower, c.upper), candidates[0], (lower, upper))


def _entropies(before: Array, after: Array, solved: Array, weights: Array) -> tuple[Array, Array]:
    """`log P₁ + log P₂` of each candidate and `log Z`, from weighted draws."""
    weights = weights / jnp.sum(weights)
    entropy = jnp.log(weights @ before) + jnp.log(weights @ after)
    return entropy, jnp.log(weights @ solved)


@eqx.filter_jit
def _bootstrap_entropies(before: Array, after: Array, solved: Array, keys: Array) -> tuple:
    def one(key):
        return _entropies(before, after, solved, jax.random.exponential(key, solved.shape))

    return jax.lax.map(one, keys)
