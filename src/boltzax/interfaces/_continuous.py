"""Thresholds anywhere on the line, or in any dimension, that maximise the sum of entropies."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..compile import compile as compile_gibbs
from ..core import Count, DeclarationError, Estimate, Key, RunError, map_within, scalar, typed
from ..declare import Component, Contract, Interface, Violation
from ..numerics import adam
from ._family import Points
from ._maximum_pressure import Pressure

RATE = 0.02
"""Step of the ascent (Adam; Kingma and Ba 2015) in widths of the span; it falls to 0
in the second half."""

HOTTEST, COLDEST = 0.05, 0.002
"""Temperatures of the margin at first, and from half of the steps on, in widths of the span."""

Finite = Annotated[float, scalar(open_low=True)]
Thresholds = list[Float[Array, "side _"]]
"""For each joint the thresholds `low` and `high`."""


@typed
class MaximisedInterfaces(eqx.Module):
    """Threshold interfaces that maximise `ΣH`.

    Args:
        interfaces: All n + 1.
        thresholds: For each joint `[low or high, dim]`.
        entropy: `ΣH` in nats by counting fresh draws.
        entropies: Its terms.
        starts: `ΣH` that each start reached, by counting the draws of the ascent.
        pressures: Of each joint, by differentiating the smoothed probability at the last
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
    """What is climbed: components with their drawn models, and the ends of the chain."""

    components: tuple[Component, ...]
    first: Interface
    last: Interface
    span: tuple[float, float] = eqx.field(static=True)
    ends: tuple[float | None, float | None] = eqx.field(static=True)
    points: int = eqx.field(static=True)

    def allowed(self, at: Thresholds) -> Thresholds:
        """The thresholds moved into the span, and a `low` above its `high` to their mean."""

        def one(t):
            t = jnp.clip(t, *self.span)
            return jnp.where(t[0] > t[1], jnp.mean(t, axis=0), t)

        return [one(t) for t in at]

    def contracts(self, at: Thresholds) -> list[Contract]:
        middle = [Interface.thresholds(t[0], t[1], range=self.ends) for t in at]
        wires = [self.first, *middle, self.last]
        return [
            Contract(component, wires[i], wires[i + 1], points=self.points)
            for i, component in enumerate(self.components)
        ]

    def margins(self, at: Thresholds, models: Sequence[PyTree]) -> Float[Array, "component draw"]:
        pairs = zip(self.contracts(at), models, strict=True)
        return jnp.stack([_each(contract.margin, drawn) for contract, drawn in pairs])

    def smooth(self, at: Thresholds, models: Sequence[PyTree], temperature: Array) -> Array:
        """`ΣH` with `exp(-violation / temperature)` in place of `margin >= 0`."""
        logs = jnp.minimum(self.margins(at, models) / temperature, 0.0)
        return jnp.sum(jax.nn.logsumexp(logs, axis=1) - jnp.log(logs.shape[1]))


@typed
def maximise_interfaces(
    components: Sequence[Component],
    first: Interface,
    last: Interface,
    *,
    key: Key,
    span: tuple[Finite, Finite],
    range: tuple[float | None, float | None] = (None, None),
    draws: Count = 2000,
    fresh: Count = 50_000,
    starts: Count = 4,
    steps: Count = 200,
    points: Points = 9,
) -> MaximisedInterfaces:
    """The threshold interfaces at the joints of a chain with the largest `Σ_i H_i`.

    Every joint has `A(0) = [range₀, low]`, `A(1) = [high, range₁]` in its dimension, with `low` and
    `high` anywhere in the `span`, coordinate by coordinate. With prior draws that stay fixed the
    probability is smoothed, `p ≈ ⟨exp(-violation / T)⟩`: that of `Violation` at temperature T,
    which the thresholds enter pathwise. The ascent lowers T from 0.05 to 0.002 of the span, from
    several `starts`. The best start is chosen by counting, and its `ΣH` counted anew with
    `fresh` draws at nearly twice the `points`, so that what
    smoothing and choosing flatter is not in the result. Local maxima other than those of the starts
    are not excluded; with few dimensions compare `maximum_entropy_interfaces`.

    Raises:
        DeclarationError: A span without width, or interfaces that do not fit.
        RunError: If no start ended where any draws satisfy the chain.
    """
    components = tuple(components)
    _check(components, span)
    dims = _dims(components, first)
    climb = Ascent(components, first, last, span, range, points)
    middle = [jnp.stack([jnp.full(d, span[0]), jnp.full(d, span[1])]) for d in dims]
    gibbs = [
        compile_gibbs(Violation(contract), contract.prior) for contract in climb.contracts(middle)
    ]
    one, two, three = jax.random.split(key, 3)
    models = _models(gibbs, one, draws)
    begin = [
        jnp.sort(jax.random.uniform(k, (starts, 2, d), minval=span[0], maxval=span[1]), axis=1)
        for k, d in zip(jax.random.split(two, len(dims)), dims, strict=True)
    ]
    reached, counted = _ascend(climb, models, begin, steps)
    best = int(jnp.argmax(counted))
    if not bool(jnp.isfinite(counted[best])):
        raise RunError(
            "No start ended where any draws satisfy the chain. Take more draws or starts, a wider "
            "span, or a wider specification."
        )
    at = [each[best] for each in reached]
    exact = Ascent(components, first, last, span, range, 2 * points - 1)
    hits = np.sum(np.asarray(_margins(exact, at, _models(gibbs, three, fresh))) >= 0, axis=1)
    each = Estimate.of_hits(hits, fresh, log=True)
    whole = each.times(np.ones(len(hits)))
    wires = [contract.assume for contract in climb.contracts(at)]
    pressures, norm = _pressures(climb, at, models)
    return MaximisedInterfaces((*wires, last), at, whole, each, counted, pressures, norm)


def _each(fn: Callable, drawn: PyTree) -> PyTree:
    """`fn` of each of the models drawn, as many together as memory allows."""
    arrays, static = eqx.partition(drawn, eqx.is_array)
    return map_within(lambda leaves: fn(eqx.combine(leaves, static)), arrays)


@eqx.filter_jit
def _models(gibbs: Sequence[Any], key: PRNGKeyArray, draws: int) -> list[PyTree]:
    keys = jax.random.split(key, len(gibbs))
    return [
        eqx.filter_vmap(lambda k, g=g: g.model(g.sample_prior(k)))(jax.random.split(k, draws))
        for g, k in zip(gibbs, keys, strict=True)
    ]


@eqx.filter_jit
def _margins(climb: Ascent, at: Thresholds, models: list[PyTree]) -> Array:
    return climb.margins(at, models)


@eqx.filter_jit
def _ascend(
    climb: Ascent, models: list[PyTree], begin: list[Array], steps: int
) -> tuple[Thresholds, Array]:
    """The thresholds that each start reaches, and their `ΣH` by counting."""
    width = climb.span[1] - climb.span[0]

    def slope(at, i):
        temperature = width * HOTTEST * (COLDEST / HOTTEST) ** jnp.minimum(2 * i / steps, 1.0)
        return jax.grad(lambda at: -climb.smooth(at, models, temperature))(at)

    def rate(i):
        return width * RATE * jnp.minimum(2 - 2 * i / steps, 1.0)

    def run(at):
        at = adam(slope, at, steps, rate, climb.allowed)
        hits = jnp.mean(1.0 * (climb.margins(at, models) >= 0), axis=1)
        return at, jnp.sum(jnp.log(hits))

    return jax.lax.map(run, begin)


@eqx.filter_jit
def _pressures(
    climb: Ascent, at: Thresholds, models: list[PyTree]
) -> tuple[tuple[Pressure, ...], Array]:
    """Pathwise derivatives of each H at the coldest temperature, with errors over the draws."""
    temperature = COLDEST * (climb.span[1] - climb.span[0])

    def kept(at, i, model):
        return jnp.exp(jnp.minimum(climb.contracts(at)[i].margin(model) / temperature, 0.0))

    sides = []
    for i, drawn in enumerate(models):
        soft = _each(lambda model, i=i: kept(at, i, model), drawn)
        slope = _each(lambda model, i=i: jax.grad(kept)(at, i, model), drawn)
        sides.append(jax.tree.map(lambda g, s=soft: _ratio(g, s), slope))
    made = []
    for joint in range(len(at)):
        before, after = (jax.tree.map(_at_bounds, sides[joint + k][joint]) for k in (0, 1))
        made.append(Pressure(before, after, before + after))
    norm = jnp.sqrt(sum(jnp.nansum(each.total.value**2) for each in made))
    return tuple(made), jnp.asarray(norm)


def _ratio(slope: Array, soft: Array) -> Estimate:
    """`⟨slope⟩ / ⟨soft⟩`, a mean of the value and what each draw adds to it."""
    p = jnp.mean(soft)
    value = jnp.mean(slope, axis=0) / p
    return Estimate.of_samples(value + (slope - soft[:, None, None] * value) / p)


def _at_bounds(x: Float[Array, "side dim"]) -> Float[Array, "value side dim"]:
    """`low` is the upper bound of value 0, `high` the lower bound of value 1."""
    none = jnp.full_like(x[0], jnp.nan)
    return jnp.stack([jnp.stack([none, x[0]]), jnp.stack([x[1], none])])


def _dims(components: Sequence[Component], first: Interface) -> list[int]:
    """Dimensions of the joints, from the shapes of the models' outputs."""
    x, dims = jax.ShapeDtypeStruct((first.dim,), jnp.result_type(float)), []
    for component in components[:-1]:
        x = eqx.filter_eval_shape(lambda m, x: jnp.atleast_1d(m(x)), component.model, x)
        dims.append(x.shape[0])
    return dims


def _check(components: tuple, span: tuple[float, float]) -> None:
    if len(components) < 2:
        raise DeclarationError(
            "components",
            got=f"{len(components)} of them",
            expected="at least two components in series",
            mend="with one component there is no interface to choose",
        )
    if not span[0] < span[1]:
        raise DeclarationError(
            "span",
            got=str(span),
            expected="two numbers in order",
            mend="name the values between which thresholds may lie, e.g. span=(0, 5)",
        )
