"""The cumulant generating function of one neuron, Ψ(g) = log E_{p0} exp⟨g, h⟩.

Fields and functions on the data measure are vectors here (`problem.to_vector`), so that `⟨u, v⟩` is
their dot product.
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..compile import AbstractResidual, EnergyPotential, Gibbs, MarginalPotential, compile
from ..core import map_within, with_weights
from ..declare import GaussianMeasure, SquaredError
from ._self_consistency import SelfConsistency, points_of

Rule = Literal["sobol", "hermite", "trapezoid"]
"""Nodes over the weights of a neuron: those of `bx.GaussianMeasure` without negative weights."""


class AbstractCumulant(eqx.Module):
    """The cumulant generating function of one neuron's contribution, convex in the field.

    Outside its domain (where the integral diverges) `value` is infinite or NaN.
    """

    @abc.abstractmethod
    def value(self, field: Float[Array, " n"]) -> Float[Array, ""]:
        """`Ψ(g)`, in nats."""

    @abc.abstractmethod
    def mean(self, field: Float[Array, " n"]) -> Float[Array, " n"]:
        """`∇Ψ = E_ρ[h]`: the output of an infinite net of neurons in this field."""

    @abc.abstractmethod
    def covariance(self, field: Float[Array, " n"]) -> Float[Array, "n n"]:
        """`∇²Ψ = Cov_ρ(h)`: the response of `f` to the field."""

    @abc.abstractmethod
    def ess(self, field: Float[Array, " n"]) -> Float[Array, ""]:
        """Effective number of the `J` nodes, `J/Σ_j ρ_j²/r_j`; infinite for a closed form.

        `r_j` are the weights that the rule gives its nodes, `1/J` where they are draws.
        """


class NodeCumulant(AbstractCumulant):
    """A sum over nodes in the weights; what is linear with a Gaussian prior is integrated out.

    The neuron is `h = shift_j + design_j a` at node `j`, `a ~ N(0, 1)` of length `r` (0 if nothing
    was integrated out), so that `Ψ = log Σ_j p_j exp(shift_j·g + ½|design_jᵀg|²)`.

    `rule` `[node]` are the weights of the rule before any importance sampling: 1/J for draws.
    `nodes` `[node, ...]` are the standard normal variables that the weights are images of; `one` is
    the declaration of one neuron, compiled.
    """

    one: Gibbs
    nodes: PyTree
    log_weights: Float[Array, " node"]
    rule: Float[Array, " node"]
    shift: Float[Array, "node n"]
    design: Float[Array, "node n r"]

    def exponents(self, field: Float[Array, " n"]) -> Float[Array, " node"]:
        """`log p_j + log E_a exp⟨g, h_j⟩`."""
        drive = jnp.einsum("jnr,n->jr", self.design, field)
        return self.log_weights + 0.5 * jnp.sum(drive**2, axis=1) + self.shift @ field

    @property
    def points(self) -> Float[Array, "node dim"]:
        """The nodes as vectors."""
        return points_of(self.nodes)

    @staticmethod
    def joined(parts: "Sequence[NodeCumulant]") -> "NodeCumulant":
        """The nodes of several rules as one rule, each with the same weight."""
        one, several = parts[0].one, [dataclasses.replace(part, one=None) for part in parts]
        whole = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *several)
        return dataclasses.replace(
            whole,
            one=one,
            log_weights=whole.log_weights - jnp.log(len(parts)),
            rule=whole.rule / len(parts),
        )

    def part(self, places: slice) -> "NodeCumulant":
        """Some of the nodes as a rule of the same total weight."""
        kept = jax.tree.map(lambda leaf: leaf[places], dataclasses.replace(self, one=None))
        total = jax.nn.logsumexp(self.log_weights) - jax.nn.logsumexp(kept.log_weights)
        return dataclasses.replace(
            kept,
            one=self.one,
            log_weights=kept.log_weights + total,
            rule=kept.rule * (jnp.sum(self.rule) / jnp.sum(kept.rule)),
        )

    def law(self, field: Float[Array, " n"]) -> Float[Array, " node"]:
        """`ρ_j`: probability of each node in this field."""
        return jax.nn.softmax(self.exponents(field))

    def value(self, field):
        return jax.nn.logsumexp(self.exponents(field))

    def mean(self, field):
        law = self.law(field)
        drive = jnp.einsum("jnr,n->jr", self.design, field)
        return jnp.einsum("jnr,jr->n", self.design, law[:, None] * drive) + law @ self.shift

    def covariance(self, field):
        law = self.law(field)
        drive = jnp.einsum("jnr,n->jr", self.design, field)
        means = jnp.einsum("jnr,jr->jn", self.design, drive) + self.shift
        f = law @ means
        off = means - f[None]
        flat = jnp.moveaxis(self.design, 2, 1)
        weighted = (law[:, None, None] * flat).reshape(-1, self.design.shape[1])
        return off.T @ (law[:, None] * off) + flat.reshape(weighted.shape).T @ weighted

    def ess(self, field):
        law = self.law(field)
        return len(law) / jnp.sum(jnp.where(self.rule > 0, law**2 / self.rule, 0.0))

    def function(self, field: Float[Array, " n"]) -> "NodeMean":
        """`E_ρ[h]` as a function of the datum."""
        law = self.law(field)
        drive = jnp.einsum("jnr,n->jr", self.design, field)
        return NodeMean(self.one, self.nodes, law, law[:, None] * drive)

    def response(self, field: Float[Array, " n"]) -> "NodeMean":
        """`E_{p0}[h ⟨h, g⟩]` as a function: the response of the prior to first order."""
        prior = jnp.exp(self.log_weights)
        drive = jnp.einsum("jnr,n->jr", self.design, field)
        plain = prior * (self.shift @ field)
        return NodeMean(self.one, self.nodes, plain, prior[:, None] * drive)

    def weights(
        self, node: Array, field: Float[Array, " n"], key: PRNGKeyArray
    ) -> dict[str, Array]:
        """All weights of a neuron at one node, what was integrated out drawn from its law."""
        here = jax.tree.map(lambda leaf: leaf[node], self.nodes)
        mean = self.design[node].T @ field
        return completed(self.one, here, mean + jax.random.normal(key, mean.shape))


def completed(gibbs: Gibbs, u: PyTree, whitened: Float[Array, " r"]) -> dict[str, Array]:
    """All weights of a neuron, from standard normal variables of the nodes and of the readout."""
    weights = gibbs.coordinates.from_normal(u)
    if isinstance(gibbs.potential, MarginalPotential):
        weights = weights | gibbs.potential.image(weights, whitened)
    return weights


class NodeMean(eqx.Module):
    """`Σ_j plain_j h_j(x) + linear_j · ∂h_j/∂a(x)` at any datum, `j` over nodes in the weights."""

    one: Gibbs
    nodes: PyTree
    plain: Float[Array, " node"]
    linear: Float[Array, "node r"]

    def __call__(self, x: PyTree) -> Array:
        def at(u, plain, linear):
            full = self.one.coordinates.from_normal(u)
            model = self.one.declared
            potential = self.one.potential
            if not isinstance(potential, MarginalPotential):
                return plain * with_weights(model, full)(x)
            loc = potential.image(full, jnp.zeros_like(linear))
            move = jax.tree.map(jnp.subtract, potential.image(full, linear), loc)
            value, slope = jax.jvp(
                lambda readout: with_weights(model, full | readout)(x), (loc,), (move,)
            )
            return plain * value + slope

        each = map_within(lambda node: at(*node), (self.nodes, self.plain, self.linear))
        return jnp.sum(each, axis=0)


def lower(problem: SelfConsistency, rule: Rule, order: int | None, seed: int) -> NodeCumulant:
    """Nodes over the weights of one neuron, and its outputs at the data for each node."""
    energy = SquaredError(problem.neuron.model, problem.measure, problem.target)
    gibbs = compile(energy, problem.neuron.prior, integral="nodes", marginalise=None)
    if not gibbs.coordinates.priors:  # a neuron linear in all its weights: nodes over all of them
        gibbs = compile(energy, problem.neuron.prior, integral="nodes", marginalise=False)
    size = sum(gibbs.coordinates.base[path].size for path in gibbs.coordinates.priors)
    points, weights = GaussianMeasure(size, order=order, rule=rule, seed=seed).nodes()
    return at_nodes(problem, gibbs, points, jnp.log(weights), weights)


def at_nodes(
    problem: SelfConsistency,
    gibbs: Gibbs,
    points: Float[Array, "node dim"],
    log_weights: Float[Array, " node"],
    rule: Float[Array, " node"],
) -> NodeCumulant:
    """The cumulant as a sum over these standard normal variables, with these weights."""
    base = {path: gibbs.coordinates.base[path] for path in gibbs.coordinates.priors}
    nodes = jax.vmap(ravel_pytree(base)[1])(points)
    design, shift = _lowered(gibbs, nodes, problem.to_vector(problem.targets()))
    return NodeCumulant(gibbs, nodes, log_weights, rule, shift, design)


@eqx.filter_jit
def _lowered(gibbs, nodes, target):
    def one(u):
        weights = gibbs.coordinates.from_normal(u)
        potential = gibbs.potential
        if isinstance(potential, MarginalPotential):
            linear = potential.linear_gaussian(weights)
            # what is left of a neuron that is linear in its readout is rounding
            shift, size = target - linear.target, jnp.abs(linear.design)
            small = 1e-14 * (jnp.max(jnp.abs(target)) + jnp.max(size, initial=0.0))
            return linear.design, jnp.where(jnp.max(jnp.abs(shift)) <= small, 0.0, shift)
        assert isinstance(potential, EnergyPotential)
        rows = [p.residuals(weights) for p in potential.parts if isinstance(p, AbstractResidual)]
        return jnp.zeros((target.shape[0], 0), target.dtype), jnp.concatenate(rows) + target

    return map_within(one, nodes)
