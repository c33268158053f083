"""Entropy of parameters under interfaces, `H(Θ | API) = log P_prior[all contracts hold]`."""

import dataclasses
from typing import Literal

import equinox as eqx
import jax

from ..compile import Gibbs, compile
from ..core import MEMORY, Count, Key, Status, typed
from ..core import wilson as wilson
from ..declare import Contract, Specified, Violation
from ..observe import (
    LogProbability,
    MaxLevels,
    Particles,
    Replicates,
    log_probability,
    of_independent,
)

Method = Literal["auto", "direct", "splitting", "tempered"]

Entropy = LogProbability
"""`H = log P[margin >= 0]`, an upper bound up to its error: the margin is over the points that the
contract looks at, and `boltzax.interfaces.certify` bounds it from below."""

Outcome = Status
"""What became of an estimate of an entropy."""


@typed
def entropy(
    contract: Specified,
    *,
    key: Key,
    method: Method = "auto",
    joint: bool = False,
    draws: Count = 20_000,
    particles: Particles = 512,
    moves: Count = 16,
    replicates: Replicates = 16,
    max_levels: MaxLevels = 200,
    memory: Count = MEMORY,
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
        method: `"direct"` draws, `"splitting"` (rising levels), `"tempered"`, or `"auto"`: direct,
            and splitting if fewer than 100 draws keep the contract.
        joint: Whether to take all contracts of a circuit at once.
        draws: Independent draws of the prior (direct), or steps of all ladders (tempered).
        particles: Of each replicate.
        moves: Moves of every particle at a level.
        replicates: Independent populations, or ladders.
        max_levels: Most levels of a replicate.
        memory: Bytes of intermediate values at once; as many draws, particles and replicates are
            looked at together as that allows (a gigabyte by default).

    Returns:
        A `LogProbability`; of a circuit, with that of each contract in `parts`.

    Raises:
        DeclarationError: Wrong arguments, or, for splitting, a prior with neither quantiles nor a
            distribution function, which is no image of normals. What goes wrong in a run is said
            in `outcome`.
    """
    together = joint or isinstance(contract, Contract)
    each = [contract] if together else contract.contracts
    keys = [key] if together else jax.random.split(key, len(each))
    parts = [
        dataclasses.replace(
            log_probability(
                prior_of_contract(one), one.margin, key=k,
                by="levels" if method == "splitting" else method, samples=draws,
                particles=particles, moves=moves, replicates=replicates, max_levels=max_levels,
                memory=memory, throw=False,
            ),
            over=looked_at(one),
        )
        for one, k in zip(each, keys, strict=True)
    ]  # fmt: skip
    return parts[0] if together else of_independent(parts)


def prior_of_contract(contract: Specified) -> Gibbs:
    """The measure whose prior is that of the components; its energy is the violation."""
    return compile(Violation(contract), contract.prior, marginalise=False)


def looked_at(contract: Specified) -> str:
    """Over how many points of x a contract is looked at, in words."""
    count = 0
    for each in contract.contracts:
        seen = eqx.filter_eval_shape(type(each.assume).points, each.assume, each.points)
        count += seen.shape[0] * seen.shape[1]
    return f"{count} points of x"
