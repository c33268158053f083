"""The uniform probability measure on an interval."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from boltzax.core import Count, DeclarationError, Number, eager, known, typed

from ._basis import floating
from ._legendre import LegendreBasis, gauss_legendre
from ._measure import AbstractMeasure


@typed
class IntervalMeasure(AbstractMeasure):
    """The uniform probability measure on [low, high]: ∫ f(x) dx / (high - low).

    Nodes: Gauss-Legendre, exact for polynomials up to degree 2 order - 1; for a function analytic
    in an ellipse with foci at the ends and semi-axes adding to rho (interval [-1, 1]) the error
    falls as rho^(-2 order) (Trefethen, Approximation Theory and Approximation Practice, thm 19.3).
    A datum has shape (1,).
    """

    low: Float[Array, ""]
    high: Float[Array, ""]
    order: int = eqx.field(static=True)

    @eager
    def __init__(self, low: Number = -1.0, high: Number = 1.0, order: Count | None = None):
        self.low, self.high = floating(low), floating(high)
        self.order = 64 if order is None else order
        if known(self.low) and known(self.high):
            width = float(self.high - self.low)
            if not 0 < width < float("inf"):
                raise DeclarationError(
                    "low, high",
                    got=f"low={float(self.low)}, high={float(self.high)}",
                    expected="finite numbers with low < high",
                    mend="swap the ends, or use `Empirical` for a single point",
                )

    @property
    def signed(self):
        return False

    def nodes(self):
        points, weights = gauss_legendre(self.order)
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return middle + half * floating(points)[:, None], floating(weights)

    def estimate(self, fn, key):
        return self.integrate(fn)

    def sample(self, key, count):
        return self.low + (self.high - self.low) * jax.random.uniform(key, (count, 1))

    @property
    def mass(self):
        return jnp.ones_like(self.low)

    @property
    def datum(self):
        return jax.ShapeDtypeStruct((1,), self.low.dtype)

    def basis(self):
        """Legendre polynomials, sqrt(2k+1) P_k."""
        return LegendreBasis(self.low, self.high)
