"""One neuron in a given background."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..compile import Gibbs, compile
from ..core import Count, Key, Whole, check_finite, full_products, typed
from ..declare import Empirical, PerDatum
from ..sample import Ensemble
from ._adaptive_nodes import refined
from ._background import DIVERGED, Background
from ._cumulant import NodeCumulant, Rule, lower
from ._self_consistency import Particles, SelfConsistency


@typed
class Probe(eqx.Module):
    """The Gibbs measure of one neuron in a background: `ρ ∝ p0 exp⟨g, h⟩`, `g = (y - f)/T`.

    The neuron depends on the background and does not act on it. `gibbs` is that measure for any
    sampler, `bx.anneal` and every observable. `draw`, `mean`, `response` and `ess` are sums over
    nodes in the weights, without an error of these nodes: compare two seeds, or the `errors` of a
    `FixedPoint`.

    Args:
        nodes: Places in the weights of a neuron, with their weights.
    """

    problem: SelfConsistency
    background: Background
    field: Float[Array, "node *out"]
    nodes: NodeCumulant

    @property
    def gibbs(self) -> Gibbs:
        """`p0(θ) exp(-β E)`, `E = -⟨g, h⟩`, at `β = 1`; at `β = 0` it is the prior."""
        weights = self.problem.measure.nodes()[1]
        data = Empirical((self.problem.inputs(), self.field), weights=weights)
        energy = PerDatum(self.problem.neuron.model, data, coupling)
        return compile(energy, self.problem.neuron.prior)

    def log_density(self, neuron: Particles) -> Float[Array, ""]:
        """`log p0(θ) + ⟨g, h(θ)⟩ - Ψ(g)` at one neuron (unconstrained coordinates), in nats."""
        return self.gibbs.log_prob(neuron) - self.nodes.value(self.vector)

    @property
    def vector(self) -> Float[Array, " n"]:
        """The field times the root of the nodes' weights: `⟨u, v⟩` is a dot product of such."""
        return self.problem.to_vector(self.field)

    @property
    def ess(self) -> Float[Array, ""]:
        """Effective number of nodes of the law."""
        return self.nodes.ess(self.vector)

    @full_products()
    def mean(self) -> Background:
        """`E_ρ[h]`, the output of an infinite net of such neurons, as a background."""
        return Background.from_net(self.nodes.function(self.vector), self.problem)

    def response(self, change: Float[Array, "node *out"]) -> Float[Array, "node *out"]:
        """`Cov_ρ(h) δg`: the response of `E_ρ[h]` to a change of the field, at the nodes."""
        check_finite("change", change, "pass a change of the field at the nodes")
        covariance = self.nodes.covariance(self.vector)
        return self.problem.from_vector(covariance @ self.problem.to_vector(change))

    def draw(self, key: Key, count: Count) -> Particles:
        """`count` neurons of the law (unconstrained coordinates, leading axis).

        Draws of the nodes, so some are equal where few nodes carry the law; what was integrated out
        is drawn from its exact law.
        """
        return _draw(self, key, count)

    def ensemble(self, key: Key, count: Count) -> Ensemble:
        """The same draws as an ensemble of `gibbs`, axis `subset`.

        Draws of one set of nodes are independent of each other, but share the error of the nodes:
        at many draws their `sd/sqrt(n)` is too small. `Ensemble.mean` therefore refuses them. Its
        mean with an error is over probes on other nodes, `probe(..., seed=i)`, each with
        `jnp.mean(ensemble.map(fn))`, by `Estimate.of_replicates`; a bias that all sets of nodes
        share does not show there: compare with draws of `gibbs`.
        """
        return Ensemble.of(self.gibbs, self.draw(key, count), ("subset",))

    def models(self, neurons: Particles) -> PyTree:
        """The functions of neurons: a model with a leading axis in its leaves."""
        return self.problem.ensemble(neurons).models()


@typed
def probe(
    problem: SelfConsistency,
    background: Background,
    *,
    rule: Rule = "sobol",
    order: Count | None = None,
    seed: Whole = 0,
    refinements: Whole = 3,
) -> Probe:
    """One neuron in a background that need not be self-consistent.

    `rule`, `order`, `seed`, `refinements`: nodes over its weights, as of `solve`. `Probe.ess` says
    how many carry the law.
    """
    check_finite("background", background.values, DIVERGED)
    field = (problem.targets() - background.values) / problem.temperature
    nodes = lower(problem, rule, order, seed)
    rounds = refinements if rule == "sobol" else 0
    nodes = refined(problem, nodes, problem.to_vector(field), seed, rounds)
    return Probe(problem, background, field, nodes)


@eqx.filter_jit
def _draw(probe: Probe, key: PRNGKeyArray, count: int) -> Particles:
    vector = probe.vector
    key_node, key_rest = jax.random.split(key)
    exponents = probe.nodes.exponents(vector)
    # by the inverse of the distribution function: no table of draws times nodes
    share = jnp.cumsum(jax.nn.softmax(exponents))
    places = share[-1] * jax.random.uniform(key_node, (count,), share.dtype)
    chosen = jnp.minimum(jnp.searchsorted(share, places, side="right"), len(share) - 1)

    def one(node: Array, key: PRNGKeyArray) -> Particles:
        full = probe.nodes.weights(node, vector, key)
        return probe.problem.coordinates.unconstrain(full)

    return jax.vmap(one)(chosen, jax.random.split(key_rest, count))


def coupling(model: PyTree, datum: PyTree) -> Float[Array, ""]:
    """`-g·h(x)` of one datum `(x, g)`."""
    x, field = datum
    return -jnp.sum(field * model(x))
