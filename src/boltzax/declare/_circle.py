"""The uniform probability measure on the circle."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core import Count, typed
from ._basis import floating
from ._fourier import FourierBasis
from ._measure import AbstractMeasure


@typed
class CircleMeasure(AbstractMeasure):
    """The uniform probability measure on angles [0, 2π): ∫ f(x) dx / 2π.

    Nodes: x_j = 2πj/order, all weights 1/order, exact for trigonometric polynomials of degree
    below `order`; for f analytic in `|Im x| < a` the error falls as exp(-a order) (Trefethen &
    Weideman 2014, SIAM Review 56:385, thm 3.2). A datum is the angle, shape (1,).
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
        """1, √2 cos x, √2 sin x, √2 cos 2x, ..."""
        return FourierBasis()
