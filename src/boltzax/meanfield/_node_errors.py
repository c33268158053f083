"""Errors of a fixed point due to its nodes: other scramblings, or a coarser rule."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._adaptive_nodes import refined
from ._cumulant import AbstractCumulant, NodeCumulant, Rule, lower
from ._dual import Dual, Solution, figures, newton
from ._self_consistency import SelfConsistency

STRIDE = 7919
"""Between the seeds of replicates."""


class NodeErrors(eqx.Module):
    """Standard errors due to the nodes, of the fields of `FixedPoint` with the same names.

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


class Solver(eqx.Module):
    """How to solve on nodes: the goal, and the rules that nodes come from."""

    problem: SelfConsistency
    target: Float[Array, " n"]
    tolerance: Float[Array, ""]
    steps: int = eqx.field(static=True)
    refinements: int = eqx.field(static=True)
    rule: Rule = eqx.field(static=True)
    order: int | None = eqx.field(static=True)
    seed: int = eqx.field(static=True)

    def dual(self, nodes: AbstractCumulant) -> Dual:
        """The dual function on nodes."""
        return Dual(nodes, self.target, self.problem.temperature)

    def settled(
        self, nodes: AbstractCumulant, start: Array, seed: int
    ) -> tuple[AbstractCumulant, Solution]:
        """The solution on nodes, which are drawn again near the law while too few carry it."""
        solutions = [newton(self.dual(nodes), start, self.tolerance, self.steps)]

        def follow(nodes: AbstractCumulant, field: Array) -> Array:
            solutions.append(newton(self.dual(nodes), field, self.tolerance, self.steps))
            return solutions[-1].field

        nodes = refined(self.problem, nodes, solutions[0].field, seed, self.refinements, follow)
        steps = sum([s.steps for s in solutions[1:]], solutions[0].steps)
        return nodes, dataclasses.replace(solutions[-1], steps=steps)

    def errors(self, nodes: AbstractCumulant, found: Solution, replicates: int) -> dict[str, Array]:
        """The error of each figure, and of `background` and `field` as vectors."""
        base = figures(self.dual(nodes), found.field)
        if not isinstance(nodes, NodeCumulant):
            return {name: jnp.zeros_like(value) for name, value in base.items()}
        if not replicates:
            return {name: jnp.full_like(value, jnp.nan) for name, value in base.items()}
        if self.rule != "sobol":
            count, dim = nodes.points.shape
            coarser = max(2, 2 * round(count ** (1 / dim)) // 3)
            _, coarse = self._again(found, coarser, self.seed)
            return {name: jnp.abs(value - coarse[name]) for name, value in base.items()}
        seeds = [self.seed + STRIDE * (i + 1) for i in range(replicates)]
        others = [self._again(found, self.order, seed) for seed in seeds]
        dual = self.dual(NodeCumulant.joined([nodes, *(part for part, _ in others)]))
        together = newton(dual, found.field, self.tolerance, self.steps).field
        results = [base, *(values for _, values in others)]

        def error(whole: Array, *each: Array) -> Array:
            values = jnp.stack(each)
            return jnp.hypot(jnp.std(values, axis=0, ddof=1), jnp.mean(values, axis=0) - whole)

        return jax.tree.map(error, figures(dual, together), *results)

    def _again(
        self, found: Solution, order: int | None, seed: int
    ) -> tuple[NodeCumulant, dict[str, Array]]:
        """Other nodes, and the figures of the solution on them."""
        nodes = lower(self.problem, self.rule, order, seed)
        nodes, other = self.settled(nodes, found.field, seed)
        assert isinstance(nodes, NodeCumulant)
        return nodes, figures(self.dual(nodes), other.field)
