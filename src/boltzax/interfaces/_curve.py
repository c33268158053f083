"""Entropy against tolerance: one run of splitting passes all of them."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..compile import compile
from ..core import MEMORY, DeclarationError, check_memory, typed
from ..declare import Circuit, Contract, Violation
from ._entropy import Entropy, from_splitting
from ._splitting import Level, split


class EntropyCurve(eqx.Module):
    """`H(t) = log P_prior[margin >= -t]` in nats, falling as the tolerance t does.

    `tolerances` in units of the output, `entropies` one by one, all from the same run (their errors
    are correlated: neighbours rise and fall together).
    """

    tolerances: Float[Array, " tolerance"]
    entropies: tuple[Entropy, ...]

    @property
    def value(self) -> Float[Array, " tolerance"]:
        return jnp.stack([each.value for each in self.entropies])

    @property
    def standard_error(self) -> Float[Array, " tolerance"]:
        return jnp.stack([each.standard_error for each in self.entropies])

    def __getitem__(self, place: int) -> Entropy:
        return self.entropies[place]

    def __repr__(self) -> str:
        rows = zip(np.asarray(self.tolerances), self.entropies, strict=True)
        return "EntropyCurve[\n" + "\n".join(f"  {t:9.4g}: {each!r}" for t, each in rows) + "\n]"


@typed
def entropy_curve(
    contract: Contract | Circuit,
    tolerances: Float[Array, " tolerance"],
    *,
    key: PRNGKeyArray,
    particles: int = 512,
    moves: int = 16,
    replicates: int = 16,
    max_levels: int = 200,
    memory: int = MEMORY,
) -> EntropyCurve:
    """`H(t) = log P_prior[margin >= -t]`: the entropy that is left if outputs may miss by t.

    Tolerance 0 is the contract itself, a positive one dilates what is guaranteed (by `t` in L∞), a
    negative one erodes it: a margin demanded. One run of multilevel splitting in the margin goes to
    the strictest tolerance and passes the others on its way. All contracts of a circuit are taken
    together. `memory` is that of `boltzax.interfaces.entropy`.

    Raises:
        DeclarationError: Tolerances that are not finite.
    """
    if tolerances.size == 0 or not bool(jnp.all(jnp.isfinite(tolerances))):
        raise DeclarationError(
            "tolerances",
            got=str(tolerances),
            expected="at least one finite number",
            mend="pass e.g. jnp.linspace(1.0, 0.0, 11)",
        )
    level = Level(compile(Violation(contract), contract.prior, marginalise=False), contract.margin)
    run = split(
        level,
        -jnp.min(tolerances),
        key,
        particles=particles,
        moves=moves,
        replicates=replicates,
        max_levels=max_levels,
        memory=check_memory(memory),
    )
    return EntropyCurve(tolerances, tuple(from_splitting(run, -t) for t in tolerances))
