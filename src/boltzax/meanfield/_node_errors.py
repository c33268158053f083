"""Errors of a fixed point by its nodes: other scramblings, or a coarser rule."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._cumulant import AbstractCumulant, NodeCumulant, Rule, lower
from ._dual import Dual, Solution, newton
from ._problem import SelfConsistency
from ._refine import enough, refine

STRIDE = 7919
"""Between the seeds of replicates."""


class NodeErrors(eqx.Module):
    """Standard errors, by the nodes over weights, of what `FixedPoint` calls by the same names.

    For Sobol nodes: the root mean square of the spread over independent scramblings and of the
    difference between their mean and the solution on all their nodes together, which shows a bias
    that all of them share as far as it shrinks with the number of nodes. Nodes that all miss a part
    of the law show neither. For other rules: the difference from a coarser rule, two thirds of the
    nodes an axis. Zero for a closed form; NaN if it is not known.
    """

    background: Float[Array, "node *out"]
    field: Float[Array, "node *out"]
    loss: Float[Array, ""]
    entropy: Float[Array, ""]
    free_energy: Float[Array, ""]
    stiffness: Float[Array, ""]
    fluctuation: Float[Array, ""]
    thermal_fluctuation: Float[Array, ""]


class Goal(eqx.Module):
    """How well and how long to solve on each set of nodes."""

    target: Float[Array, " n"]
    tolerance: Float[Array, ""]
    steps: int = eqx.field(static=True)
    refinements: int = eqx.field(static=True)


def settled(
    problem: SelfConsistency, nodes: AbstractCumulant, start: Array, goal: Goal, seed: int
) -> tuple[AbstractCumulant, Solution]:
    """The solution on nodes, which are drawn again near the law while too few carry it."""
    found = newton(Dual(nodes, goal.target, problem.temperature), start, goal.tolerance, goal.steps)
    for round in range(goal.refinements):
        if not isinstance(nodes, NodeCumulant) or enough(nodes, found.field):
            break
        nodes, taken = refine(problem, nodes, found.field, seed + round), found.steps
        dual = Dual(nodes, goal.target, problem.temperature)
        found = newton(dual, found.field, goal.tolerance, goal.steps)
        found = eqx.tree_at(lambda s: s.steps, found, found.steps + taken)
    return nodes, found


def node_errors(
    problem: SelfConsistency,
    nodes: AbstractCumulant,
    found: Solution,
    goal: Goal,
    rule: Rule,
    order: int | None,
    seed: int,
    replicates: int,
) -> dict[str, Array]:
    """The error of each figure, and of `background` and `field` as vectors."""

    def at(cumulant, solution):
        return figures(Dual(cumulant, goal.target, problem.temperature), solution.field)

    base = at(nodes, found)
    if not isinstance(nodes, NodeCumulant):
        return {name: jnp.zeros_like(value) for name, value in base.items()}
    if not replicates:
        return {name: jnp.full_like(value, jnp.nan) for name, value in base.items()}
    if rule != "sobol":
        count, dim = nodes.points.shape
        coarser = max(2, 2 * round(count ** (1 / dim)) // 3)
        other = settled(problem, lower(problem, rule, coarser, seed), found.field, goal, seed)
        coarse = at(*other)
        return {name: jnp.abs(value - coarse[name]) for name, value in base.items()}
    parts, results = [nodes], [base]
    for replicate in range(1, replicates + 1):
        other_seed = seed + STRIDE * replicate
        begin = lower(problem, rule, order, other_seed)
        part, solution = settled(problem, begin, found.field, goal, other_seed)
        assert isinstance(part, NodeCumulant)
        parts.append(part)
        results.append(at(part, solution))
    together = _together(parts)
    dual = Dual(together, goal.target, problem.temperature)
    whole = at(together, newton(dual, found.field, goal.tolerance, goal.steps))

    def error(whole: Array, *each: Array) -> Array:
        values = jnp.stack(each)
        return jnp.hypot(jnp.std(values, axis=0, ddof=1), jnp.mean(values, axis=0) - whole)

    return {name: error(value, *(r[name] for r in results)) for name, value in whole.items()}


def _together(parts: list[NodeCumulant]) -> NodeCumulant:
    """All nodes as one rule, each set with the same weight."""
    shifted = any(part.shift is not None for part in parts)
    shifts = [jnp.zeros(p.design.shape[:2]) if p.shift is None else p.shift for p in parts]
    return NodeCumulant(
        parts[0].one,
        jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *[part.nodes for part in parts]),
        jnp.concatenate([part.log_weights for part in parts]) - jnp.log(len(parts)),
        jnp.concatenate([part.rule for part in parts]) / len(parts),
        jnp.concatenate(shifts) if shifted else None,
        jnp.concatenate([part.design for part in parts]),
    )


@eqx.filter_jit
def figures(dual: Dual, field: Array) -> dict[str, Array]:
    """What a field makes; `background` and `field` as vectors."""
    temperature = dual.temperature
    f = dual.cumulant.mean(field)
    covariance = dual.cumulant.covariance(field)
    eigenvalues = jnp.clip(jnp.linalg.eigvalsh(covariance), 0.0)
    loss = 0.5 * jnp.sum((f - dual.target) ** 2)
    entropy = dual.cumulant.value(field) - field @ f
    return {
        "background": f,
        "field": field,
        "stiffness": eigenvalues[-1] / temperature,
        "loss": loss,
        "entropy": entropy,
        "free_energy": loss - temperature * entropy,
        "fluctuation": jnp.sum(eigenvalues),
        "thermal_fluctuation": jnp.sum(eigenvalues / (1 + eigenvalues / temperature)),
    }
