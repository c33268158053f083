"""Thresholds anywhere on the line, or in any dimension, that maximise the sum of entropies."""

from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import (
    Count,
    DeclarationError,
    Estimate,
    Influence,
    Key,
    RunError,
    map_within,
    scalar,
    typed,
)
from ..declare import Chain, Contract, Interface
from ..numerics import adam
from ..sample import Ensemble
from ._entropy import prior_of_contract
from ._old_forms import of_chain
from ._pressure import Pressure

RATE = 0.02
"""Step of the ascent (Adam; Kingma and Ba 2015) in widths of the span; it falls to 0
in the second half."""

HOTTEST, COLDEST = 0.05, 0.002
"""Temperatures of the margin at first, and from half of the steps on, in widths of the span."""

Finite = Annotated[float, scalar(open_low=True)]
Thresholds = list[Float[Array, "side _"]]
"""For each free joint the thresholds `low` and `high`."""


@typed
class MaximisedInterfaces(eqx.Module):
    """Threshold interfaces that maximise `ΣH`.

    Args:
        interfaces: All n + 1.
        thresholds: For each joint that was free `[low or high, dim]`.
        entropy: `ΣH` in nats by counting fresh draws.
        entropies: Its terms.
        starts: `ΣH` that each start reached, by counting the draws of the ascent.
        pressures: Of each of these joints, by differentiating the smoothed probability at the last
            temperature; indexed as in `pressure`, NaN for the ends of the range.
        gradient_norm: Norm of the total pressures, over all thresholds.
    """

    interfaces: tuple[Interface, ...]
    thresholds: Thresholds
    entropy: Estimate
    entropies: Estimate
    starts: Float[Array, " start"]
    pressures: tuple[Pressure, ...]
    gradient_norm: Float[Array, ""]

    def __repr__(self) -> str:
        inner = "\n  ".join(repr(each) for each in self.interfaces)
        return f"MaximisedInterfaces: ΣH = {self.entropy} nats\n  {inner}"


class Ascent(eqx.Module):
    """The sum of entropies as a function of the thresholds at the free joints of a chain."""

    chain: Chain
    draws: tuple[Ensemble, ...]
    span: tuple[float, float] = eqx.field(static=True)
    ends: tuple[float | None, float | None] = eqx.field(static=True)

    @property
    def free(self) -> list[int]:
        """The joints without an interface of their own."""
        inner = self.chain.interfaces[1:-1]
        return [joint for joint, held in enumerate(inner) if not isinstance(held, Interface)]

    def allowed(self, at: Thresholds) -> Thresholds:
        """The thresholds moved into the span, and a `low` above its `high` to their mean."""
        inside = [jnp.clip(t, *self.span) for t in at]
        return [jnp.where(t[0] > t[1], jnp.mean(t, axis=0), t) for t in inside]

    def contracts(self, at: Thresholds) -> tuple[Contract, ...]:
        joints = list(self.chain.interfaces[1:-1])
        for joint, t in zip(self.free, at, strict=True):
            joints[joint] = Interface.thresholds(t[0], t[1], range=self.ends)
        return self.chain.between(joints).contracts

    @eqx.filter_jit
    def margins(self, at: Thresholds) -> Float[Array, "component draw"]:
        def of(contract, drawn):
            return map_within(lambda w: contract.margin(drawn.gibbs.model(w)), drawn.w)

        return jnp.stack(list(map(of, self.contracts(at), self.draws)))

    def smooth(self, at: Thresholds, temperature: Array) -> Array:
        """`ΣH` with `exp(-violation / temperature)` in place of `margin >= 0`."""
        logs = jnp.minimum(self.margins(at) / temperature, 0.0)
        return jnp.sum(jax.nn.logsumexp(logs, axis=1) - jnp.log(logs.shape[1]))


@of_chain("components", "first", "last", points=9)
@typed
def maximise_interfaces(
    chain: Chain,
    *,
    key: Key,
    span: tuple[Finite, Finite],
    range: tuple[float | None, float | None] = (None, None),
    draws: Count = 2000,
    fresh: Count = 50_000,
    starts: Count = 4,
    steps: Count = 200,
) -> MaximisedInterfaces:
    """The threshold interfaces at the joints of a chain with the largest `Σ_i H_i`.

    A joint with an interface keeps it. Every other one (open, or with candidates, which are not
    looked at) has `A(0) = [range₀, low]`, `A(1) = [high, range₁]` in its dimension, with `low` and
    `high` anywhere in the `span`, coordinate by coordinate. With prior draws that stay fixed the
    probability is smoothed, `p ≈ ⟨exp(-violation / T)⟩`: that of `Violation` at temperature T,
    which the thresholds enter pathwise. The ascent lowers T from 0.05 to 0.002 of the span, from
    several `starts`. The best start is chosen by counting. Its `ΣH` is counted again with `fresh`
    draws at nearly twice the points of the chain, without the bias of smoothing and of the choice.
    A higher maximum that no start reached is not excluded; with few dimensions compare
    `maximum_entropy`.

    Args:
        span: Where thresholds may lie.
        range: The outer ends of the acceptable values.
        starts: Starts of the ascent.
        steps: Its steps from each.
        fresh: Draws of the last count.

    Raises:
        DeclarationError: A span without width, interfaces that do not fit, and no free joint.
        RunError: If no start ended where any draws satisfy the chain.
    """
    climb = Ascent(chain, (), span, range)
    _check(climb)
    dims = [chain.dims[joint + 1] for joint in climb.free]
    wide = [jnp.stack([jnp.full(d, span[0]), jnp.full(d, span[1])]) for d in dims]
    contracts = climb.contracts(wide)
    one, two, three = jax.random.split(key, 3)
    climb = eqx.tree_at(lambda c: c.draws, climb, _drawn(contracts, one, draws))
    begin = [
        jnp.sort(jax.random.uniform(k, (starts, 2, d), minval=span[0], maxval=span[1]), axis=1)
        for k, d in zip(jax.random.split(two, len(dims)), dims, strict=True)
    ]
    reached, counted = _ascend(climb, begin, steps)
    best = int(jnp.argmax(counted))
    if not bool(jnp.isfinite(counted[best])):
        raise RunError(
            "No start ended where any draws satisfy the chain. Take more draws or starts, a wider "
            "span, or a wider specification."
        )
    at = [each[best] for each in reached]
    finer = Chain(chain.components, chain.interfaces, points=2 * chain.points - 1)
    exact = Ascent(finer, _drawn(contracts, three, fresh), span, range)
    hits = np.sum(np.asarray(exact.margins(at)) >= 0, axis=1)
    each = Estimate.of_hits(hits, fresh, log=True)
    whole = each.times(np.ones(len(hits)))
    wires = [contract.assume for contract in climb.contracts(at)]
    pressures, norm = _pressures(climb, at)
    return MaximisedInterfaces((*wires, chain.last), at, whole, each, counted, pressures, norm)


def _drawn(contracts: tuple[Contract, ...], key: Key, count: int) -> tuple[Ensemble, ...]:
    """Draws of the priors of all components."""
    return tuple(
        Ensemble.prior(prior_of_contract(contract), count, key=k)
        for contract, k in zip(contracts, jax.random.split(key, len(contracts)), strict=True)
    )


@eqx.filter_jit
def _ascend(climb: Ascent, begin: list[Array], steps: int) -> tuple[Thresholds, Array]:
    """The thresholds that each start reaches, and their `ΣH` by counting."""
    width = climb.span[1] - climb.span[0]

    def slope(at, i):
        temperature = width * HOTTEST * (COLDEST / HOTTEST) ** jnp.minimum(2 * i / steps, 1.0)
        return jax.grad(lambda at: -climb.smooth(at, temperature))(at)

    def rate(i):
        return width * RATE * jnp.minimum(2 - 2 * i / steps, 1.0)

    def run(at):
        at = adam(slope, at, steps, rate, climb.allowed)
        hits = jnp.mean(1.0 * (climb.margins(at) >= 0), axis=1)
        return at, jnp.sum(jnp.log(hits))

    return jax.lax.map(run, begin)


def _pressures(climb: Ascent, at: Thresholds) -> tuple[tuple[Pressure, ...], Array]:
    """Pathwise derivatives of each H at the coldest temperature, with errors over the draws."""
    slopes = []
    for i, (soft, slope) in enumerate(_slopes(climb, at)):
        kept = Influence.of_samples(soft, source=f"component {i}")
        slopes.append(
            [Influence.of_samples(each, source=f"component {i}") / kept for each in slope]
        )
    made = []
    for place, joint in enumerate(climb.free):
        sides = [slopes[joint][place], slopes[joint + 1][place]]
        estimates = [each.estimate() for each in (*sides, sides[0] + sides[1])]
        made.append(Pressure(*(jax.tree.map(_at_bounds, each) for each in estimates)))
    norm = jnp.sqrt(sum(jnp.nansum(each.total.value**2) for each in made))
    return tuple(made), jnp.asarray(norm)


@eqx.filter_jit
def _slopes(climb: Ascent, at: Thresholds) -> list[tuple[Array, Thresholds]]:
    """Of each component `exp(-violation / T)` for each draw, and its derivatives."""
    temperature = COLDEST * (climb.span[1] - climb.span[0])

    def kept(at, i, w):
        margin = climb.contracts(at)[i].margin(climb.draws[i].gibbs.model(w))
        return jnp.exp(jnp.minimum(margin / temperature, 0.0))

    return [
        map_within(lambda w, i=i: jax.value_and_grad(kept)(at, i, w), drawn.w)
        for i, drawn in enumerate(climb.draws)
    ]


def _at_bounds(x: Float[Array, "side dim"]) -> Float[Array, "value side dim"]:
    """`low` is the upper bound of value 0, `high` the lower bound of value 1."""
    none = jnp.full_like(x[0], jnp.nan)
    return jnp.stack([jnp.stack([none, x[0]]), jnp.stack([x[1], none])])


def _check(climb: Ascent) -> None:
    if not climb.free:
        raise DeclarationError(
            "chain",
            got="an interface at every joint" if climb.chain.joints else "one component",
            expected="at least one joint that is open",
            mend="put None in place of an interface that is to be chosen",
        )
    if not climb.span[0] < climb.span[1]:
        raise DeclarationError(
            "span",
            got=str(climb.span),
            expected="two numbers in order",
            mend="name the values between which thresholds may lie, e.g. span=(0, 5)",
        )
