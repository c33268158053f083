"""Edgeworth's expansion: the law of a sum of many small parts, beyond the Gaussian."""

import functools
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ..core import DeclarationError, typed, whole

Order = Annotated[int, whole(0, 3)]
"""0 is the Gaussian of the same mean and variance; each order takes one more cumulant."""
NEEDED = 2
"""Cumulants of order 0: mean and variance."""


@typed
class Edgeworth(eqx.Module):
    """Edgeworth's expansion of a law with given cumulants, to third order.

    With `z = (x - κ_1)/√κ_2`, `λ_r = κ_r/κ_2^(r/2)` and Hermite polynomials `He_k`, it is ::

        φ(z)/√κ_2 [1 + λ_3 He_3/6
                     + λ_4 He_4/24 + λ_3² He_6/72
                     + λ_5 He_5/120 + λ_3 λ_4 He_7/144 + λ_3³ He_9/1296]

    for the density, one line an order (Petrov 1975, Sums of Independent Random Variables, ch. VI).
    For a sum of `n` independent parts of one smooth law, the error of order `k` is
    `O(n^(-(k+1)/2))` everywhere. It is an asymptotic series: its density can be negative where `φ`
    is small, and it is then no law.

    Args:
        cumulants: `κ_1, κ_2, ...`: mean, variance and at least `order` more, `[cumulant, *shape]`.
        order: 0 (the Gaussian) to 3.

    Raises:
        DeclarationError: For fewer than `order + 2` cumulants.
    """

    cumulants: Float[Array, "cumulant *shape"]
    order: int = eqx.field(static=True)

    def __init__(self, cumulants: Float[Array, "cumulant *shape"], order: Order = 3):
        if len(cumulants) < order + NEEDED:
            raise DeclarationError(
                "cumulants",
                got=f"{len(cumulants)} cumulants",
                expected=f"at least {order + NEEDED}, for order {order}",
                mend="pass mean, variance, third, ..., or a lower order",
            )
        self.cumulants, self.order = cumulants, order

    def density(self, x: ArrayLike) -> Float[Array, "*broadcast"]:
        """The density at `x`, in units of `1/x`; can be negative (see the class)."""
        return _density(self.cumulants, jnp.asarray(x, float), self.order)

    def distribution(self, x: ArrayLike) -> Float[Array, "*broadcast"]:
        """The probability of a value up to `x`; can leave [0, 1] (see the class)."""
        return _distribution(self.cumulants, jnp.asarray(x, float), self.order)


@typed
def negentropy(cumulants: Float[Array, "cumulant *shape"]) -> Float[Array, "*shape"]:
    """Relative entropy of a law to the Gaussian of its mean and variance, in nats, by its series.

    `J = λ_3²/12 + λ_4²/48 + 7 λ_3⁴/48 - λ_3² λ_4/8`, for `λ_3 = O(n^-½)`, `λ_4 = O(1/n)`: the first
    term is of order 1/n, the others of order 1/n², the rest of order 1/n³ (Comon 1994, Signal
    Processing 36:287). The series of J has no clipped logarithm of a density that may be negative.

    Args:
        cumulants: Mean, variance, third and fourth cumulants, `[cumulant, *shape]`; more are not
            used.

    Raises:
        DeclarationError: For fewer than four cumulants.
    """
    if len(cumulants) < 4:
        raise DeclarationError(
            "cumulants",
            got=f"{len(cumulants)} cumulants",
            expected="at least 4",
            mend="pass mean, variance, third, fourth",
        )
    return _negentropy(cumulants)


@jax.jit
def _negentropy(cumulants: Array) -> Array:
    third = cumulants[2] / cumulants[1] ** 1.5
    fourth = cumulants[3] / cumulants[1] ** 2
    return third**2 / 12 + fourth**2 / 48 + 7 * third**4 / 48 - third**2 * fourth / 8


@functools.partial(jax.jit, static_argnames="order")
def _density(cumulants: Array, x: Array, order: int) -> Array:
    z = (x - cumulants[0]) / jnp.sqrt(cumulants[1])
    hermite = _hermite(z, 9)
    series = 1 + sum(c * hermite[k] for k, c in _coefficients(cumulants, order))
    return _normal(z) / jnp.sqrt(cumulants[1]) * series


@functools.partial(jax.jit, static_argnames="order")
def _distribution(cumulants: Array, x: Array, order: int) -> Array:
    """`∫ φ He_k = -φ He_(k-1)`."""
    z = (x - cumulants[0]) / jnp.sqrt(cumulants[1])
    hermite = _hermite(z, 8)
    series = sum(c * hermite[k - 1] for k, c in _coefficients(cumulants, order))
    return jax.scipy.special.ndtr(z) - _normal(z) * series


def _coefficients(cumulants: Array, order: int) -> list[tuple[int, Array]]:
    """The degree and the coefficient of each Hermite polynomial, by order."""
    lam = [cumulants[r] / cumulants[1] ** ((r + 1) / 2) for r in range(2, order + 2)]
    terms = []
    if order >= 1:
        terms += [(3, lam[0] / 6)]
    if order >= 2:
        terms += [(4, lam[1] / 24), (6, lam[0] ** 2 / 72)]
    if order >= 3:
        terms += [(5, lam[2] / 120), (7, lam[0] * lam[1] / 144), (9, lam[0] ** 3 / 1296)]
    return terms


def _hermite(z: Array, degree: int) -> list[Array]:
    """`He_0 .. He_degree` by `He_(k+1) = z He_k - k He_(k-1)`."""
    found = [jnp.ones_like(z), z]
    for k in range(1, degree):
        found.append(z * found[k] - k * found[k - 1])
    return found


def _normal(z: Array) -> Array:
    return jnp.exp(-0.5 * z**2) / jnp.sqrt(2 * jnp.pi)
