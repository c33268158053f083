"""Real Fourier modes, orthonormal on the circle."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from boltzax.core import Count, DeclarationError, typed

from ._basis import AbstractBasis, floating
from ._cauchy import certain, circle_coefficients, flat_function


@typed
class FourierBasis(AbstractBasis):
    """1, √2 cos x, √2 sin x, √2 cos 2x, √2 sin 2x, ...: orthonormal for dx/2π on [0, 2π).

    The degree of a mode is its frequency.
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

    def analytic_coefficients(
        self, fn: Callable, count: Count, strip: float, *, errors: bool = False
    ) -> PyTree[Float[Array, "..."]]:
        """The coefficients to relative precision, for `fn` real on the circle and analytic near it.

        `E[fn(x) exp(-ikx)] = exp(-ka) E[fn(x - ia) exp(-ikx)]` (Cauchy): the decay is taken out by
        hand, so coefficients of 1e-100 keep their digits. The height `a < strip` is the one on
        which the integral of the absolute value is least for each k. The error is the difference
        between two heights with nodes of their own, and what rounding makes of the sums.

        Args:
            fn: Real on the circle, called with complex data of shape (1,).
            count: Number of coefficients.
            strip: `fn` is analytic in `|Im x| < strip`; `math.inf` for an entire function.
            errors: Whether to give `(coefficients, errors)`, and to refuse none.

        Returns:
            The coefficients, `[count, *out]`. What vanishes by symmetry comes out as noise, below
            1e-6 of its neighbours.

        Raises:
            DeclarationError: A coefficient that is not known to six digits, nor to 1e-6 of the
                largest of the two on each side (inside jit it is NaN); a function that jax does not
                know off the line; not float64.
        """
        if jnp.result_type(float) != jnp.float64 or not strip > 0:
            raise DeclarationError(
                "analytic_coefficients",
                got=f"dtype {jnp.result_type(float)}, strip={strip}",
                expected="float64 and a positive strip",
                mend="switch on jax_enable_x64",
            )
        frequency = self.degrees(count)
        flat, size, back = flat_function(fn)
        sums, spread = jax.lax.map(
            lambda i: circle_coefficients(flat, i, int(frequency[-1]) + 1, strip), jnp.arange(size)
        )
        scale = jnp.where(frequency == 0, 1.0, jnp.sqrt(2.0))[:, None]
        sine = ((np.arange(count) % 2 == 0) & (frequency > 0))[:, None]
        both = sums.T[frequency]
        values, spread = scale * jnp.where(sine, -both.imag, both.real), scale * spread.T[frequency]
        if errors:
            return back(values), back(spread)
        return back(certain(values, spread))
