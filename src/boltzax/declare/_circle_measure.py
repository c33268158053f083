"""The uniform probability measure on the circle, and its Fourier basis."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core import Count, typed
from ._basis import floating
from ._cauchy_coefficients import AbstractAnalyticBasis, circle_coefficients
from ._measure import AbstractMeasure


@typed
class FourierBasis(AbstractAnalyticBasis):
    """1, √2 cos x, √2 sin x, √2 cos 2x, √2 sin 2x, ...: orthonormal for dx/2π on [0, 2π).

    The degree of a function is its frequency.
    """

    @property
    def dim(self):
        return 1

    def evaluate(self, x, count):
        frequency = self.degrees(count)
        angle = floating(frequency) * x[0]
        odd = np.arange(count) % 2 == 1
        modes = jnp.sqrt(2.0) * jnp.where(odd, jnp.cos(angle), jnp.sin(angle))
        return jnp.where(frequency == 0, 1.0, modes)

    def projector(self, count, order=None):
        order = max(128, 2 * count) if order is None else order
        nodes = floating(2 * np.pi * np.arange(order) / order)[:, None]
        return nodes, jax.vmap(lambda x: self.evaluate(x, count))(nodes) / order

    def degrees(self, count):
        return (np.arange(count) + 1) // 2

    def labels(self, count):
        names = (f"{'cos' if k % 2 else 'sin'} {(k + 1) // 2}x" for k in range(1, count))
        return ("1", *names)

    def _cauchy(self, flat, size, count, strip):
        """`E[fn(x) exp(-ikx)] = exp(-ka) E[fn(x - ia) exp(-ikx)]`.

        The factor `exp(-ka)` carries the decay, so a coefficient of 1e-100 keeps its digits. For
        each k the height `a < strip` minimises the integral of the absolute value. The error is the
        difference between two heights with different nodes, plus a bound on rounding.
        """
        frequency = self.degrees(count)
        sums, spread = jax.lax.map(
            lambda i: circle_coefficients(flat, i, int(frequency[-1]) + 1, strip), jnp.arange(size)
        )
        scale = jnp.where(frequency == 0, 1.0, jnp.sqrt(2.0))[:, None]
        sine = ((np.arange(count) % 2 == 0) & (frequency > 0))[:, None]
        both = sums.T[frequency]
        return scale * jnp.where(sine, -both.imag, both.real), scale * spread.T[frequency]


@typed
class CircleMeasure(AbstractMeasure):
    """The uniform probability measure on angles [0, 2π): ∫ f(x) dx / 2π.

    The nodes are `x_j = 2πj/order`, each of weight `1/order`. The rule is exact for trigonometric
    polynomials of degree below `order`. For f analytic in `|Im x| < a` the error decays as
    exp(-a order) (Trefethen & Weideman 2014, SIAM Review 56:385, thm 3.2). A datum is one angle in
    radians, of shape (1,).

    Args:
        order: Number of nodes; 128 if not given.
    """

    order: int = eqx.field(static=True)

    def __init__(self, order: Count | None = None):
        self.order = 128 if order is None else order

    @property
    def signed(self):
        return False

    def nodes(self):
        angles = 2 * np.pi * np.arange(self.order) / self.order
        return floating(angles)[:, None], floating(np.full(self.order, 1 / self.order))

    def estimate(self, fn, key):
        return self.integrate(fn)

    def sample(self, key, count):
        return jax.random.uniform(key, (count, 1), maxval=2 * np.pi)

    @property
    def mass(self):
        return floating(1.0)

    @property
    def datum(self):
        return jax.ShapeDtypeStruct((1,), jnp.result_type(float))

    def basis(self):
        """The Fourier basis: 1, √2 cos x, √2 sin x, √2 cos 2x, ..."""
        return FourierBasis()
