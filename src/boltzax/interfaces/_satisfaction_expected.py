"""How often the prior satisfies each of many interfaces between two components."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..compile import Gibbs, compile
from ..core import Count, DeclarationError, Key, map_within, text_of_values, typed
from ..declare import Component, Contract, Interface, Violation
from ._family import Points
from ._series import Series, end_to_end

REPLICATES = 200
"""Replicates of the bootstrap over systems and prior draws."""


@typed
class ExpectedSatisfaction(eqx.Module):
    """What the prior says of the candidate interfaces B between two components.

    Args:
        entropy: `H(B) = H₁(first, B) + H₂(B, last)` in nats, `[candidate]`.
        log_evidence: `log Z = log P_prior[end-to-end spec]`.
        entropy_replicates: Of a Bayesian bootstrap (Rubin 1981) over the shared prior draws.
        log_evidence_replicates: Of the same bootstrap.
        counts: Prior draws that satisfy the rarer of the two contracts.
        pool: For other prior draws that satisfy the spec, which candidates each of them satisfies.
    """

    judge: "Judge"
    entropy: Float[Array, " candidate"]
    log_evidence: Float[Array, ""]
    entropy_replicates: Float[Array, "replicate candidate"]
    log_evidence_replicates: Float[Array, " replicate"]
    counts: Float[Array, " candidate"]
    pool: Bool[Array, "system candidate"]

    @property
    def spec(self) -> Contract:
        """The end-to-end contract of the two components in series."""
        return self.judge.spec

    @property
    def components(self) -> tuple[Component, Component]:
        """The two components."""
        return self.judge.components

    @property
    def standard_error(self) -> Float[Array, " candidate"]:
        """Standard error of `entropy - log_evidence`, in nats."""
        return jnp.std(self.entropy_replicates - self.log_evidence_replicates[:, None], axis=0)

    @text_of_values
    def __repr__(self) -> str:
        low, high = float(jnp.min(self.entropy)), float(jnp.max(self.entropy))
        return (
            f"ExpectedSatisfaction of {self.entropy.size} candidates: H from {low:.3g} to "
            f"{high:.3g} nats, log Z {float(self.log_evidence):.4g}, {len(self.pool)} in the pool"
        )


@typed
def expected_satisfaction(
    components: Sequence[Component],
    first: Interface,
    candidates: Sequence[Interface],
    last: Interface,
    *,
    key: Key,
    draws: Count = 100_000,
    points: Points = 33,
) -> ExpectedSatisfaction:
    """`e^{H(B)}` and Z for each candidate interface B, by direct Monte Carlo.

    All candidates share `draws` draws of the prior, so that differences between them err little;
    as many other draws make the pool that the noise floor is taken from. `points` is the number
    of values of x looked at in each box (see `Contract`).

    Raises:
        DeclarationError: Unless there are two components and the candidates are interfaces with the
            same values and dimension, and if no draw satisfies the spec.
    """
    if len(components) != 2:
        raise DeclarationError(
            "components",
            got=f"{len(components)} components",
            expected="two, with the candidate interfaces between them",
            mend="cut a longer chain at one joint, and make each part one component",
        )
    judge = Judge((components[0], components[1]), first, _stack(candidates), last, points)
    gibbs = compile(Violation(judge.spec), judge.spec.prior)
    keys = jax.random.split(key, 3)
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
    return ExpectedSatisfaction(judge, entropy, evidence, *again, counts, jax.device_put(pool))


class Judge(eqx.Module):
    """Which candidates a system satisfies: before them, after them, and end to end.

    Candidates of a family share boxes, and a contract holds if it holds for each box assumed. So
    the second component is run on `boxes`, interfaces with one box a value `[row, value, 1, dim]`
    that hold each distinct box once; `rows` says where each box of each candidate is among them
    (-1 for an empty one).
    """

    components: tuple[Component, Component]
    first: Interface
    candidates: Interface
    last: Interface
    boxes: Interface
    rows: Int[Array, "candidate value box"]
    spec: Contract
    points: int = eqx.field(static=True)

    def __init__(self, components, first, candidates, last, points: int):
        self.components, self.first, self.last = components, first, last
        self.candidates, self.points = candidates, points
        self.boxes, self.rows = _distinct(candidates)
        self.spec = end_to_end(components, first, last, points=points)

    def __call__(self, system: Series) -> tuple[Array, Array, Array]:
        """`[candidate]`, `[candidate]` and `[]`, booleans."""

        def promised(middle: Interface) -> Array:
            contract = Contract(self.components[0], self.first, middle, points=self.points)
            return contract.margin(system.parts[0]) >= 0

        def kept(box: Interface) -> Array:
            contract = Contract(self.components[1], box, self.last, points=self.points)
            return contract.margins(contract.image(system.parts[1])) >= 0

        good = jax.vmap(kept)(self.boxes)
        values = jnp.arange(good.shape[1])[:, None]
        after = jnp.all(jnp.where(self.rows < 0, True, good[self.rows, values]), axis=(1, 2))
        return jax.vmap(promised)(self.candidates), after, self.spec.margin(system) >= 0


def _distinct(candidates: Interface) -> tuple[Interface, Array]:
    """The distinct boxes of each value, and where those of the candidates are among them."""
    lower, upper = np.asarray(candidates.lower), np.asarray(candidates.upper)
    members, values, width, dim = lower.shape
    found, places = [], []
    for v in range(values):
        ends = np.concatenate([lower[:, v], upper[:, v]], axis=-1).reshape(-1, 2 * dim)
        full = np.all(ends[:, :dim] <= ends[:, dim:], axis=-1)
        boxes, inverse = np.unique(ends[full], axis=0, return_inverse=True)
        place = np.full(len(ends), -1)
        place[full] = inverse.reshape(-1)
        found.append(boxes)
        places.append(place.reshape(members, width))
    bounds = np.full((max(map(len, found)), values, 1, 2 * dim), np.inf)
    bounds[..., dim:] = -np.inf
    for v, boxes in enumerate(found):
        bounds[: len(boxes), v, 0] = boxes
    ends = jnp.asarray(bounds, candidates.lower.dtype)
    boxes = eqx.tree_at(
        lambda c: (c.lower, c.upper), candidates, (ends[..., :dim], ends[..., dim:])
    )
    return boxes, jnp.asarray(np.stack(places, axis=1))


@eqx.filter_jit
def _judge_prior(gibbs: Gibbs, judge: Judge, keys: Array) -> tuple[Array, Array, Array]:
    return map_within(lambda k: judge(gibbs.model(gibbs.sample_prior(k))), keys)


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
