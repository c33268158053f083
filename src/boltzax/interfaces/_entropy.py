"""Entropy of parameters under interfaces, `H(Θ | API) = log P_prior[all contracts hold]`."""

import dataclasses

import equinox as eqx
import jax
from jaxtyping import ArrayLike

from ..compile import Gibbs, compile
from ..core import MEMORY, Count, Key, Status, typed
from ..core import wilson as wilson
from ..declare import Contract, Specified, Violation
from ..observe import (
    By,
    LogProbability,
    MaxLevels,
    Particles,
    Replicates,
    log_probability,
    of_independent,
    raised,
)
from ._old_forms import of_words

Entropy = LogProbability
"""`H = log P[margin >= 0]`, an upper bound up to its error: the margin is over the points that the
contract looks at, and `boltzax.interfaces.certify` bounds it from below."""

Outcome = Status
"""What became of an estimate of an entropy."""


@of_words({"method": "by", "draws": "samples"}, by={"splitting": "levels"})
@typed
def entropy(
    contract: Specified,
    *,
    key: Key,
    by: By = "auto",
    joint: bool = False,
    samples: Count = 20_000,
    particles: Particles = 512,
    moves: Count = 16,
    replicates: Replicates = 16,
    max_levels: MaxLevels = 200,
    memory: Count = MEMORY,
    throw: bool = True,
) -> LogProbability:
    """`H(Θ | API) = log P_prior[all contracts hold]`, in nats.

    Given the interfaces, the components of a circuit are independent, so that its entropy is the
    sum of the entropies of its contracts, `Σ_i H(Θ_i | API_before, API_after)`; `joint=True`
    estimates the probability of all contracts at once instead, which must agree.

    This is `boltzax.log_probability` of the margin at level 0, which says more of the methods. The
    margin is that over the points that the contract looks at, so that the value is an upper bound
    up to its error; `boltzax.interfaces.certify` bounds it from below.

    Args:
        contract: A contract, or a circuit of several.
        key: Key of all randomness.
        by: `"direct"` draws, `"levels"` (rising levels), `"tempered"`, or `"auto"`: direct, and
            rising levels if fewer than 100 draws keep the contract.
        joint: Whether to take all contracts of a circuit at once.
        samples: Independent draws of the prior (direct), or draws at each temperature, of all
            ladders together (tempered).
        particles: Of each replicate.
        moves: Moves of every particle at a level.
        replicates: Independent populations, or ladders.
        max_levels: Most levels of a replicate.
        memory: Bytes of intermediate values at once; as many draws, particles and replicates are
            looked at together as that allows (a gigabyte by default).
        throw: Raise `RunError` if something speaks against the result; else look at its `status`.

    Returns:
        A `LogProbability`; of a circuit, with that of each contract in `parts`.

    Raises:
        DeclarationError: Wrong arguments, or, for rising levels, a prior with neither quantiles nor
            a distribution function, which is no image of normals.
        RunError: A `status` that is not `successful`.
    """
    apart = not joint and not isinstance(contract, Contract)
    contracts = contract.contracts if apart else (contract,)
    keys = jax.random.split(key, len(contracts)) if apart else [key]
    parts = [
        margin_probability(
            part, key=part_key, by=by, samples=samples, particles=particles, moves=moves,
            replicates=replicates, max_levels=max_levels, memory=memory,
        )
        for part, part_key in zip(contracts, keys, strict=True)
    ]  # fmt: skip
    return raised(of_independent(parts) if apart else parts[0], throw)


def margin_probability(contract: Specified, at: ArrayLike = 0.0, **settings) -> LogProbability:
    """`log P_prior[margin >= at]`, with the settings of `log_probability`; it raises no status."""
    gibbs = prior_of_contract(contract)
    result = log_probability(gibbs, contract.margin, at, throw=False, **settings)
    return dataclasses.replace(result, over=looked_at(contract))


def prior_of_contract(contract: Specified) -> Gibbs:
    """The measure whose prior is that of the components; its energy is the violation."""
    return compile(Violation(contract), contract.prior, marginalise=False)


def looked_at(contract: Specified) -> str:
    """Over how many points of x a contract is looked at, in words."""
    count = 0
    for part in contract.contracts:
        seen = eqx.filter_eval_shape(type(part.assume).points, part.assume, part.points)
        count += seen.shape[0] * seen.shape[1]
    return f"{count} points of x"
