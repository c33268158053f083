"""Electrons on a chain or a strip with random energies: the models of Anderson and of Lloyd."""

from typing import Annotated, Literal, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import Key, Number, Positive, typed, whole

Strip = Annotated[int, whole(1)]


@typed
@final
class DisorderedChain(eqx.Module):
    """`ψ_{n+1} + ψ_{n-1} + (ε_n + H) ψ_n = E ψ_n` with random energies `ε_n`, for vectors `ψ_n`.

    `H` hops between the neighbours of a slice. It is a function of a key that draws the transfer
    matrix from `(ψ_n, ψ_{n-1})` to `(ψ_{n+1}, ψ_n)`, `[[E - ε - H, -1], [1, 0]]`.

    Args:
        energy: `E`.
        disorder: The width of the law of `ε`.
        law: "uniform" on `[-disorder/2, disorder/2]`, or "cauchy" of half width `disorder`.
        strip: Sites of a slice, `m`; the matrix is `[2m, 2m]`.
    """

    energy: Number
    disorder: Positive
    law: Literal["uniform", "cauchy"] = eqx.field(static=True)
    strip: Strip = eqx.field(static=True, default=1)

    def __call__(self, key: Key) -> Float[Array, "d d"]:
        if self.law == "uniform":
            draws = jax.random.uniform(key, (self.strip,), float, -0.5, 0.5)
        else:
            draws = jax.random.cauchy(key, (self.strip,), float)
        one, zero = jnp.eye(self.strip), jnp.zeros((self.strip, self.strip))
        hops = jnp.eye(self.strip, k=1) + jnp.eye(self.strip, k=-1)
        inner = jnp.diag(self.energy - self.disorder * draws) - hops
        return jnp.block([[inner, -one], [one, zero]])


@typed
def anderson_chain(energy: Number, disorder: Positive, *, strip: Strip = 1) -> DisorderedChain:
    """The Anderson model: energies uniform on `[-W/2, W/2]`; see `theory.anderson_exponent`.

    Anderson 1958, Phys. Rev. 109:1492.

    Args:
        energy: `E`.
        disorder: `W`.
        strip: Sites of a slice.
    """
    return DisorderedChain(_number(energy), _number(disorder), "uniform", strip)


@typed
def lloyd_chain(energy: Number, width: Positive, *, strip: Strip = 1) -> DisorderedChain:
    """The Lloyd model: Cauchy energies of half width `d`, solvable at any strength.

    `theory.lloyd_exponent` of a chain. On a strip of m sites the sum of the m positive exponents is
    that of the chains of its modes, at energies `E - 2 cos(π j/(m + 1))`, since the mean density of
    states is that of the complex energy `E + i d`. Lloyd 1969, J. Phys. C 2:1717.

    Args:
        energy: `E`.
        width: `d`.
        strip: Sites of a slice.
    """
    return DisorderedChain(_number(energy), _number(width), "cauchy", strip)


def _number(value: Number) -> Array:
    return jax.device_put(jnp.asarray(value, float))
