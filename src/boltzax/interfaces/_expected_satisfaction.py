"""How often the prior satisfies each of many interfaces between two components."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..core import Count, DeclarationError, Key, Status, raise_if_failed, text_of_values, typed
from ..declare import Chain, Component, Contract
from ..sample import Ensemble
from ._components_in_series import Series, end_to_end
from ._entropy import prior_of_contract
from ._entropy_table_cells import Containment
from ._maximum_entropy import FEW, failed, status_of_hits
from ._old_forms import of_chain

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
        hits: Prior draws that satisfy the end-to-end spec, of those that `log_evidence` is from.
        judge: What tells which candidates a system satisfies.
    """

    judge: "Judge"
    entropy: Float[Array, " candidate"]
    log_evidence: Float[Array, ""]
    entropy_replicates: Float[Array, "replicate candidate"]
    log_evidence_replicates: Float[Array, " replicate"]
    counts: Float[Array, " candidate"]
    pool: Bool[Array, "system candidate"]
    hits: Float[Array, ""]

    @property
    def spec(self) -> Contract:
        """The end-to-end contract of the two components in series."""
        return self.judge.spec

    @property
    def components(self) -> tuple[Component, Component]:
        """The two components."""
        one, two = self.judge.chain.components
        return one, two

    @property
    def standard_error(self) -> Float[Array, " candidate"]:
        """Standard error of `entropy - log_evidence`, in nats; infinite without a draw."""
        seen = (self.counts > 0) & (self.hits > 0)
        apart = self.entropy_replicates - self.log_evidence_replicates[:, None]
        return jnp.where(seen, jnp.std(jnp.where(seen, apart, 0.0), axis=0), jnp.inf)

    @property
    def status(self) -> Status:
        """`few_hits` where fewer than 10 draws satisfy the spec, or any one candidate: the same
        for all candidates. `few` tells which of them draws hardly reach.
        """
        return status_of_hits(float(jnp.minimum(self.hits, jnp.max(self.counts))))

    @property
    def few(self) -> Bool[Array, " candidate"]:
        """Which candidates have fewer than 10 draws for one of their contracts."""
        return self.counts < FEW

    @property
    def successful(self) -> bool:
        """Whether the status is `successful`."""
        return bool(self.status == Status.successful)

    @text_of_values
    def __repr__(self) -> str:
        low, high = float(jnp.min(self.entropy)), float(jnp.max(self.entropy))
        return (
            f"ExpectedSatisfaction of {self.entropy.size} candidates: H from {low:.3g} to "
            f"{high:.3g} nats, log Z {float(self.log_evidence):.4g}, {len(self.pool)} in the pool; "
            f"{int(jnp.sum(self.few))} candidates with fewer than {FEW} draws{failed(self.status)}"
        )


@of_chain("components", "first", "candidates", "last")
@typed
def expected_satisfaction(
    chain: Chain, *, key: Key, draws: Count = 100_000, throw: bool = True
) -> ExpectedSatisfaction:
    """`e^{H(B)}` and Z for each candidate B at the joint of two components, by direct Monte Carlo.

    All candidates share `draws` draws of the prior, so that differences between them err little;
    as many other draws make the pool that the noise floor is taken from.

    Args:
        chain: Two components with candidates at their joint.
        key: Of all draws.
        draws: Of the prior.
        throw: Raise `RunError` for a status that is not `successful`; else look at `status`.

    Raises:
        DeclarationError: Unless there are two components with candidates between them, and if no
            draw satisfies the end-to-end spec.
        RunError: With `throw`, if fewer than 10 draws satisfy the spec, or any one candidate.
    """
    if chain.joints != 1:
        raise DeclarationError(
            "chain",
            got=f"{len(chain.components)} components",
            expected="two, with the candidate interfaces between them",
            mend="cut a longer chain at one joint, and make each part one component",
        )
    judge = Judge(chain)
    gibbs = prior_of_contract(judge.spec)
    keys = jax.random.split(key, 3)
    before, after, solved = Ensemble.prior(gibbs, draws, key=keys[0]).map(judge)
    other = Ensemble.prior(gibbs, draws, key=keys[1]).map(judge)
    pool = np.asarray(other[0] & other[1])[np.asarray(other[2])]
    if not len(pool) or not bool(jnp.any(solved)):
        raise DeclarationError(
            "chain",
            got=f"an end-to-end spec that none of {draws} draws of the prior satisfies",
            expected="a spec that the prior satisfies now and then",
            mend="widen the interfaces at the ends, or draw more",
        )
    entropy, evidence = _entropies(before, after, solved, jnp.ones(draws))
    again = _bootstrap_entropies(before, after, solved, jax.random.split(keys[2], REPLICATES))
    counts = jnp.minimum(jnp.sum(before, axis=0), jnp.sum(after, axis=0)).astype(entropy.dtype)
    found = ExpectedSatisfaction(
        judge, entropy, evidence, *again, counts, jax.device_put(pool),
        jnp.sum(solved).astype(entropy.dtype),
    )  # fmt: skip
    return raise_if_failed(found, found.status, throw, "draw more, or widen the interfaces")


class Judge(eqx.Module):
    """Which candidates a system satisfies: before them, after them, and end to end."""

    chain: Chain
    containment: tuple[Containment, Containment]
    spec: Contract

    def __init__(self, chain: Chain):
        self.chain, self.spec = chain, end_to_end(chain)
        (one, two), (first, family, last) = chain.components, chain.families
        self.containment = (
            Containment(one, first, family, chain.points),
            Containment(two, family, last, chain.points),
        )

    def __call__(self, system: Series) -> tuple[Array, Array, Array]:
        """`[candidate]`, `[candidate]` and `[]`, booleans."""
        pairs = zip(self.containment, system.parts, strict=True)
        before, after = (each.kept(model) for each, model in pairs)
        return before[0], after[:, 0], self.spec.margin(system) >= 0


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
