"""Coefficients of analytic functions to relative precision, by Cauchy's integral formula."""

import abc
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PyTree

from ..core import Count, DeclarationError, errors_named, known, typed
from ..numerics import golden
from ._basis import AbstractBasis

DIGITS = 1e-6
"""The largest relative error of a coefficient."""
NEAR = 2
"""The error of a coefficient may also be relative to the largest of so many on each side."""
REACH = 45.0
"""Half-width of the integration range about the real part of the centre, in standard deviations."""
EPS = 2.0**-52
CENTRES = np.array([-8.0, -4.0, 0.0, 4.0, 8.0])
"""Real parts at which the check for singularities evaluates its integrals."""
HIGHEST = 40.0
"""Height of the check for singularities in an infinite strip."""
CROSSED = 1e-8
"""Relative change of an integral between two lines that indicates a singularity between them."""


@typed
class AbstractAnalyticBasis(AbstractBasis):
    """A basis whose coefficients of analytic functions are known to relative precision."""

    @abc.abstractmethod
    def _cauchy(
        self, flat: Callable, size: int, count: int, strip: float
    ) -> tuple[Float[Array, "count out"], Float[Array, "count out"]]:
        """Coefficients of a function that gives `[size]` numbers, and their errors."""

    def analytic_coefficients(
        self, fn: Callable, count: Count, strip: float, *, errors: bool = False
    ) -> PyTree[Float[Array, "..."]]:
        """The coefficients of an analytic function to relative precision; dim 1 and float64 only.

        Quadrature on the line has an error of 1e-16 times the size of `fn`. Here the integrals are
        moved into the complex plane (Cauchy), where their terms do not cancel: a coefficient of
        1e-22 has eight digits (tanh over a Gaussian, k = 1001).

        Args:
            fn: Real on the line and analytic near it. It is called with complex data of shape (1,).
            count: Number of coefficients.
            strip: Distance from the line to the nearest singularity, in units of the scale of the
                measure (1 on the circle): π/2 for tanh and scale 1; `math.inf` for an entire
                function.
            errors: If True, return `(coefficients, errors)` and refuse no coefficient.

        Returns:
            The coefficients, `[count, *out]`. A coefficient that is zero by symmetry is returned as
            noise, below 1e-6 of its neighbours.

        Raises:
            DeclarationError: If the error of a coefficient exceeds 1e-6 both of its own size and of
                the largest of the two coefficients on each side (inside `jax.jit` it is NaN
                instead); if jax does not implement `fn` for complex numbers; in more dimensions, or
                without float64.
        """
        if self.dim != 1 or jnp.result_type(float) != jnp.float64 or not strip > 0:
            raise DeclarationError(
                "analytic_coefficients",
                got=f"dim={self.dim}, dtype {jnp.result_type(float)}, strip={strip}",
                expected="one dimension, float64 and a positive strip",
                mend="switch on jax_enable_x64; in more dimensions use `coefficients`",
            )
        flat, size, back = flat_function(fn)
        values, spread = self._cauchy(flat, size, count, strip)
        return (back(values), back(spread)) if errors else back(certain(values, spread))


def flat_function(fn: Callable) -> tuple[Callable, int, Callable]:
    """`fn` of a complex number as a vector, the length of the vector, and the inverse reshaping.

    Raises:
        DeclarationError: If jax does not implement `fn` for complex numbers.
    """
    datum = jax.ShapeDtypeStruct((1,), complex)
    with errors_named(
        "fn",
        expected="a function of complex data, without erf and comparisons",
        mend="use `coefficients`, to absolute precision, or rewrite the function",
    ):
        shapes = jax.eval_shape(lambda z: jax.tree.map(jnp.asarray, fn(z)), datum)
    leaves, tree = jax.tree.flatten(shapes)
    sizes = [math.prod(leaf.shape) for leaf in leaves]

    def flat(z: Complex[Array, ""]) -> Complex[Array, " out"]:
        values = [jnp.ravel(jnp.asarray(v)) for v in jax.tree.leaves(fn(z[None]))]
        return jnp.concatenate(values).astype(complex)

    def back(values: Float[Array, "count out"]) -> PyTree:
        parts = jnp.split(values, np.cumsum(sizes)[:-1].tolist(), axis=1)
        shaped = [p.reshape(-1, *s.shape) for p, s in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(tree, shaped)

    return flat, sum(sizes), back


def certain(values: Float[Array, "count out"], errors: Float[Array, "count out"]) -> Array:
    """The values, if their errors are at most `DIGITS` of themselves or of their neighbours.

    Raises:
        DeclarationError: If an error is larger. Inside `jax.jit` such values are NaN instead.
    """
    sizes = jnp.pad(jnp.abs(values), ((NEAR, NEAR), (0, 0)))
    count = values.shape[0]
    near = jnp.max(jnp.stack([sizes[i : i + count] for i in range(2 * NEAR + 1)]), axis=0)
    good = errors <= DIGITS * near
    if not known(good):
        return jnp.where(good, values, jnp.nan)
    bad = np.flatnonzero(~np.all(np.asarray(good), axis=1))
    if len(bad):
        first = int(bad[0])
        raise DeclarationError(
            "fn",
            got=f"coefficients with fewer than six digits: {len(bad)} of {count}, the first at "
            f"k = {first}, with an error of {float(jnp.max(errors[first])):.2g}",
            expected="a function that is real on the line, analytic up to the height `strip` "
            "(math.inf if it is entire), and whose integrals do not cancel on every line",
            mend="pass strip=math.inf for an entire function, a smaller strip for others, fewer "
            "coefficients, or errors=True for all coefficients with their errors",
        )
    return values


def hermite_coefficients(
    fn: Callable, index: Array, count: int, strip: float
) -> tuple[Float[Array, " count"], Float[Array, " count"]]:
    """Coefficients and errors of one output, for `fn(z)` under the standard normal law."""
    starts, sizes = [0], [1]
    while starts[-1] + sizes[-1] < count:
        starts.append(starts[-1] + sizes[-1])
        sizes.append(max(1, int(2 * math.sqrt(2 * starts[-1]))))
    window = np.arange(max(sizes))
    chosen = [b * len(window) + j for b, size in enumerate(sizes) for j in range(size)][:count]
    degrees = np.array(starts)[:, None] + window
    line = _Line(fn, index, count, strip)

    def block(inputs):
        middle, ks = inputs
        # log M(r) - k log r is convex in log r (Hadamard)
        top = jnp.log(1e3 * jnp.sqrt(middle + 1))
        least, _ = golden(lambda s: line.size(jnp.exp(s)) - middle * s, jnp.log(1e-3), top, 17)
        apart = 0.35 / jnp.sqrt(middle + 1)
        radii = jnp.exp(jnp.stack([least + apart, least - apart]))
        (outer, inner), rounding = jax.lax.map(
            lambda pair: line.circle(pair[0], ks, pair[1]), (radii, jnp.array([0.0, 0.5]))
        )
        return outer, jnp.abs(outer - inner) + jnp.max(rounding, axis=0)

    middles = np.array(starts) + (np.array(sizes) - 1) / 2
    values, errors = jax.lax.map(block, (jnp.asarray(middles), jnp.asarray(degrees, float)))
    errors = jnp.where(line.crossed(), jnp.inf, errors)
    return values.reshape(-1)[np.array(chosen)], errors.reshape(-1)[np.array(chosen)]


class _Line:
    """`g(t) = E f(Z + t)` on circles, each value an integral along the best horizontal line.

    On the line Im z = h, `g(t) = ∫ f(z) exp(-(z - t)²/2) dz / √(2π)`. The logarithm of the integral
    of the absolute value is convex in h (Hadamard). Its minimum, compared with |g|, measures the
    cancellation.
    """

    def __init__(self, fn: Callable, index: Array, count: int, strip: float):
        self.fn = lambda z: fn(z)[index]
        self.top = strip - min(strip / 2, 6 / math.sqrt(count)) if strip < math.inf else math.inf
        self.coarse = np.arange(-REACH, REACH + 0.1, 0.25)
        self.nodes = 19 * math.ceil(math.sqrt(count)) + 128
        self.turns = 32 * math.ceil(6 * math.sqrt(count) / 32 + 1)

    def cap(self, t: Array) -> Array:
        """The height of the highest line."""
        return jnp.minimum(t.imag, self.top)

    def logs(self, t: Array, height: Array, x: Array) -> Array:
        """Logarithm of the absolute value of the integrand."""
        values = jax.vmap(self.fn)(t.real + x + 1j * height)
        return jnp.log(jnp.abs(values)) - x**2 / 2 + (t.imag - height) ** 2 / 2

    def best(self, t: Array) -> tuple[Array, Array]:
        """The height of the best line, as a share of `cap`, and the log size of the integral."""

        def size(share):
            logs = self.logs(t, share * self.cap(t), self.coarse[::3])
            return jnp.where(jnp.any(jnp.isnan(logs)), jnp.inf, jnp.max(logs))

        return golden(size, 0.0, 1.0, 12)

    def size(self, radius: Array, angles: int = 5) -> Array:
        """Logarithm of the largest integral of an absolute value on a circle."""
        t = radius * jnp.exp(1j * jnp.linspace(0, np.pi, angles))
        return jnp.max(jax.vmap(lambda t: self.best(t)[1])(t))

    def extent(self, t: Array, height: Array) -> tuple[Array, Array]:
        """The range in which the integrand is larger than rounding errors."""
        logs = self.logs(t, height, self.coarse)
        seen = logs > jnp.max(logs) - 42
        low = jnp.min(jnp.where(seen, self.coarse, REACH))
        return low - 0.5, jnp.max(jnp.where(seen, self.coarse, -REACH)) + 0.5

    def circle(self, radius: Array, ks: Array, shift: Array) -> tuple[Array, Array]:
        """Coefficients of degrees `ks`, and bounds on errors of rounding and truncation."""
        rough = (jnp.arange(24) + 0.5) * (np.pi / 24)

        def look(angle):
            t = radius * jnp.exp(1j * angle)
            share, size = self.best(t)
            return share, size, *self.extent(t, share * self.cap(t))

        shares, sizes, lows, highs = jax.vmap(look)(rough)
        log_size = jnp.max(sizes)
        nodes = self.nodes
        angles = (jnp.arange(self.turns) + 0.5) * (np.pi / self.turns)

        def value(angle):
            t = radius * jnp.exp(1j * angle)
            share, low, high = (
                jnp.interp(angle, rough, values) for values in (shares, lows, highs)
            )
            height = share * self.cap(t)
            step = (high - low) / (nodes - 1)
            x = low + step * (jnp.arange(nodes) + shift)
            lift = (t.imag - height) ** 2 / 2 - x**2 / 2 - log_size
            kernel = jnp.exp(lift + 1j * x * (t.imag - height)) * (step / math.sqrt(2 * math.pi))
            terms = kernel * jax.vmap(self.fn)(t.real + x + 1j * height)
            ends = (jnp.abs(terms[0]) + jnp.abs(terms[-1])) / step
            return jnp.sum(terms), jnp.sum(jnp.abs(terms)) * (8 * EPS) + ends

        found, rounding = jax.lax.map(value, angles, batch_size=32)
        logs = jax.scipy.special.gammaln(ks + 1) / 2 - ks * jnp.log(radius) + log_size
        phases = jnp.exp(-1j * ks[:, None] * angles) / self.turns
        return jnp.exp(logs) * (phases @ found).real, jnp.exp(logs) * jnp.mean(rounding)

    def crossed(self) -> Array:
        """Whether integrals along horizontal lines change between the real line and the strip."""
        heights, top = [0.0], min(self.top, HIGHEST)
        while heights[-1] < top:
            heights.append(min(heights[-1] + min(0.25, 5 / (heights[-1] + 1)), top))
        x = np.linspace(-9.5, 9.5, 4 * self.nodes)

        def pair(inputs):
            lines, centre = inputs

            def along(height):
                lift = (height**2 - lines[1] ** 2) / 2 - x**2 / 2
                values = jax.vmap(self.fn)(centre + x + 1j * height)
                terms = jnp.exp(lift - 1j * x * height) * values
                even, odd = jnp.sum(terms[::2]), jnp.sum(terms[1::2])
                return even + odd, jnp.abs(even - odd), jnp.sum(jnp.abs(terms))

            integral, doubt, size = jax.lax.map(along, lines)
            # pairs with a line that the nodes do not resolve are ignored
            least = CROSSED * jnp.max(size)
            return (jnp.abs(integral[0] - integral[1]) > least) & (jnp.max(doubt) < least)

        pairs = np.stack([heights[:-2] or heights[:1], heights[2:] or heights[-1:]], axis=1)
        lines = np.repeat(pairs, len(CENTRES), axis=0)
        return jnp.any(jax.lax.map(pair, (lines, np.tile(CENTRES, len(pairs))), batch_size=5))


def circle_coefficients(
    fn: Callable, index: Array, frequencies: int, strip: float
) -> tuple[Complex[Array, " freq"], Float[Array, " freq"]]:
    """`E fn(x) exp(-ikx)` for k < `frequencies` and its errors, of one output on the circle.

    `exp(-ka) E fn(x - ia) exp(-ikx)` at the height `a` of least absolute value. The error is the
    difference from a second height.
    """
    nodes = 16 * max(64, 2 * frequencies)
    top = min(strip - min(strip / 2, 37 / nodes), HIGHEST) if strip < math.inf else HIGHEST

    def sums(k, height, count, shift=0.0):
        x = 2 * np.pi * (np.arange(count) + shift) / count
        values = jax.vmap(lambda z: fn(z)[index])(x - 1j * height)
        terms = values * jnp.exp(-1j * k * x - k * height)
        return jnp.mean(terms), jnp.mean(jnp.abs(terms))

    def size(k, height):
        x = 2 * np.pi * np.arange(256) / 256
        values = jnp.abs(jax.vmap(lambda z: fn(z)[index])(x - 1j * height))
        return jnp.log(jnp.mean(values)) - k * height

    def coefficient(k):
        height = jnp.where(k > 0, golden(lambda a: size(k, a), 0.0, top, 30)[0], 0.0)
        lower = jnp.maximum(height - 1 / (k + 1), 0.0)
        value, rounding = sums(k, height, nodes)
        other, more = sums(k, lower, 3 * nodes // 2, 0.5)
        return value, jnp.abs(value - other) + 8 * EPS * jnp.maximum(rounding, more), height

    values, errors, heights = jax.lax.map(coefficient, jnp.arange(frequencies, dtype=float))

    # integrals must not change between the real line and the highest line
    def integral(inputs):
        k, share = inputs
        return sums(k, share * jnp.max(heights), nodes)

    k, share = (a.reshape(-1) for a in jnp.meshgrid(jnp.arange(6.0), jnp.linspace(0, 1, 33)))
    found, sizes = (a.reshape(33, 6) for a in jax.lax.map(integral, (k, share), batch_size=33))
    changed = jnp.abs(jnp.diff(found, axis=0)) > CROSSED * jnp.maximum(sizes[1:], sizes[:-1])
    return values, jnp.where(jnp.any(changed), jnp.inf, errors)
