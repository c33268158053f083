"""Entropy against tolerance: one run of rising levels passes all of them."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import MEMORY, Count, DeclarationError, Key, text_of_values, typed
from ..declare import Specified
from ..observe import LogProbability, MaxLevels, Particles, Replicates, raised
from ._entropy import margin_probability


@typed
class EntropyCurve(eqx.Module):
    """`H(t) = log P_prior[margin >= -t]` in nats, falling as the tolerance t does.

    Args:
        tolerances: `[tolerance]`, in units of the output.
        entropies: At each of them, all from the same run: neighbours rise and fall together.
    """

    tolerances: Float[Array, " tolerance"]
    entropies: LogProbability

    @property
    def value(self) -> Float[Array, " tolerance"]:
        return self.entropies.value

    @property
    def standard_error(self) -> Float[Array, " tolerance"]:
        return self.entropies.standard_error

    def __getitem__(self, place: int) -> LogProbability:
        return self.entropies[place]

    @text_of_values
    def __repr__(self) -> str:
        pairs = zip(self.tolerances, self.entropies, strict=True)
        rows = [f"  {float(tolerance):9.4g}: {entropy!r}" for tolerance, entropy in pairs]
        return "EntropyCurve over the tolerance[\n" + "\n".join(rows) + "\n]"


@typed
def entropy_curve(
    contract: Specified,
    tolerances: Float[Array, " tolerance"],
    *,
    key: Key,
    particles: Particles = 512,
    moves: Count = 16,
    replicates: Replicates = 16,
    max_levels: MaxLevels = 200,
    memory: Count = MEMORY,
    throw: bool = True,
) -> EntropyCurve:
    """`H(t) = log P_prior[margin >= -t]`: the entropy that is left if outputs may miss by t.

    Tolerance 0 is the contract itself, a positive one dilates what is guaranteed (by `t` in L∞), a
    negative one erodes it: a margin demanded. One run of rising levels of the margin goes to the
    strictest tolerance and passes the others on its way. All contracts of a circuit are taken
    together.

    Args:
        contract: A contract, or a circuit of several.
        tolerances: `[tolerance]`, in units of the output.
        key: Key of all randomness.
        particles: Of each replicate.
        moves: Moves of every particle at a level.
        replicates: Independent populations.
        max_levels: Most levels of a replicate.
        memory: Bytes of intermediate values at once.
        throw: Raise `RunError` if something speaks against the result; else look at the `status`
            of its `entropies`.

    Raises:
        DeclarationError: Tolerances that are not finite.
        RunError: A `status` that is not `successful`.
    """
    if tolerances.size == 0 or not bool(jnp.all(jnp.isfinite(tolerances))):
        raise DeclarationError(
            "tolerances",
            got=str(tolerances),
            expected="at least one finite number",
            mend="pass e.g. jnp.linspace(1.0, 0.0, 11)",
        )
    entropies = margin_probability(
        contract, -tolerances, key=key, by="levels", particles=particles, moves=moves,
        replicates=replicates, max_levels=max_levels, memory=memory,
    )  # fmt: skip
    return EntropyCurve(tolerances, raised(entropies, throw))
