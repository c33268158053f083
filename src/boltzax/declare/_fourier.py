"""Real Fourier modes, orthonormal on the circle."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from boltzax.core import typed

from ._basis import AbstractBasis, check_count, floating


class FourierBasis(AbstractBasis):
    """1, √2 cos x, √2 sin x, √2 cos 2x, √2 sin 2x, ...: orthonormal for dx/2π on [0, 2π).

    The degree of a mode is its frequency.
    """

    @property
    def dim(self):
        return 1

    @typed
    def evaluate(self, x: Float[Array, " 1"], count: int) -> Float[Array, " {count}"]:
        frequency = self.degrees(count)
        angle = floating(frequency) * x[0]
        odd = np.arange(count) % 2 == 1
        modes = jnp.sqrt(2.0) * jnp.where(odd, jnp.cos(angle), jnp.sin(angle))
        return jnp.where(frequency == 0, 1.0, modes)

    def projector(self, count, order=None):
        check_count("count", count)
        order = max(128, 2 * count) if order is None else check_count("order", order)
        nodes = floating(2 * np.pi * np.arange(order) / order)[:, None]
        return nodes, jax.vmap(lambda x: self.evaluate(x, count))(nodes) / order

    def degrees(self, count):
        return (np.arange(check_count("count", count)) + 1) // 2

    def labels(self, count):
        names = (f"{'cos' if k % 2 else 'sin'} {(k + 1) // 2}x" for k in range(1, count))
        return ("1", *names)

    @typed
    def analytic_coefficients(
        self, fn: Callable, count: int, strip: float
    ) -> PyTree[Float[Array, "..."]]:
        """The coefficients to relative precision, for `fn` real on the circle and analytic in
        |Im x| <= strip.

        E[fn(x) exp(-ikx)] = exp(-k strip) E[fn(x - i strip) exp(-ikx)] (Cauchy): the decay is
        taken out by hand, so coefficients of 1e-100 keep their digits. `fn` is called with complex
        data of shape (1,). At `strip` equal to the distance of the nearest singularity the
        integral diverges; take some tenths less.
        """
        frequency = self.degrees(count)
        points, _ = self.projector(count, 4 * max(128, count))
        values = jax.vmap(lambda x: jax.tree.map(jnp.asarray, fn(x)))(points - 1j * strip)
        phases = jnp.exp(-1j * floating(frequency)[:, None] * points[:, 0]) / points.shape[0]
        decay = jnp.exp(-floating(frequency) * strip)
        even = np.arange(count) % 2 == 0

        def leaf(value):
            sums = jnp.tensordot(phases, value, axes=1, precision="highest")
            shape = (count,) + (1,) * (sums.ndim - 1)
            scale = jnp.where(frequency == 0, 1.0, jnp.sqrt(2.0) * decay).reshape(shape)
            sine = even.reshape(shape) & (frequency > 0).reshape(shape)
            return scale * jnp.where(sine, -sums.imag, sums.real)

        return jax.tree.map(leaf, values)
