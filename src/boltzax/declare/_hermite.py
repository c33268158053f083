"""Hermite polynomials, orthonormal for a Gaussian, and quadrature rules of a Gaussian."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float

from ..core import typed, whole
from ._basis import floating, graded_indices, of_degree
from ._cauchy_coefficients import AbstractAnalyticBasis, hermite_coefficients


@typed
class HermiteBasis(AbstractAnalyticBasis):
    """phi_a(x) = Π_i he_{a_i}(z_i), z = (x - mean)/scale, he_k = He_k / sqrt(k!).

    Orthonormal for N(mean, diag(scale²)); He_k are the probabilists' polynomials (weight
    exp(-z²/2)). In one dimension function k has degree k; in more, the multi-indices a go by
    total degree, and within a degree the first coordinates come first.
    """

    mean: Float[Array, " dim"]
    scale: Float[Array, " dim"]

    @property
    def dim(self):
        return self.mean.shape[0]

    def evaluate(self, x, count):
        """phi_k(x) for k < count. It overflows float64 for |z| > 50 and k > 700; `projector` does
        not evaluate it there."""
        indices = graded_indices(self.dim, count)
        tables = jax.vmap(lambda z: polynomials(z, int(indices.max()) + 1))(
            (x - self.mean) / self.scale
        )
        return jnp.prod(tables[np.arange(self.dim), indices], axis=1)

    def projector(self, count, order=None):
        """In dim 1 a trapezoid rule, on the range where phi_{count-1} sqrt(density) is not small.

        It is exact to rounding for polynomials and converges exponentially for analytic functions.
        It uses phi_k sqrt(density), which does not overflow for large k. In dim 2 and 3 the rule is
        Gauss-Hermite, above that Smolyak's.
        """
        indices = graded_indices(self.dim, count)
        degree = int(indices.max())
        if self.dim == 1:
            points, matrix = _line(degree, order)
            return self._moved(points), matrix
        default = max((0, 32, 16)[self.dim - 1], degree + 16) if self.dim <= 3 else degree + 2
        order = default if order is None else order
        rule = tensor(gauss_hermite(order), self.dim) if self.dim <= 3 else smolyak(self.dim, order)
        points, weights = self._moved(floating(rule[0])), floating(rule[1])
        return points, weights[:, None] * jax.vmap(lambda x: self.evaluate(x, count))(points)

    def _moved(self, points: Array) -> Array:
        """Points `[node, dim]` of the standard normal law, moved to this mean and scale."""
        return self.mean.reshape(1, -1) + self.scale.reshape(1, -1) * points

    def degrees(self, count):
        return graded_indices(self.dim, count).sum(axis=1)

    def labels(self, count):
        if self.dim == 1:
            return tuple(f"he_{k}" for k in range(count))
        rows = graded_indices(self.dim, count)
        return tuple("he_(" + ",".join(map(str, row)) + ")" for row in rows)

    def _cauchy(self, flat, size, count, strip):
        """`g(t) = E fn(Z + t) = Σ_k c_k t^k / sqrt(k!)` is entire, so `c_k` is a Fourier
        coefficient of `g` on any circle `|t| = r`.

        The radius is the one on which `|g| r^(-k)` is least (Bornemann 2011, Found. Comput. Math.
        11:1): about `sqrt(k)` for a function with poles, `k/s` for `exp(s z)`. Each `g(t)` is a
        Gaussian integral, moved to the horizontal line with the least cancellation. The error is
        the difference between two circles with different nodes, plus a bound on rounding.
        """

        def at(z):
            return flat((self.mean + self.scale * z)[0])

        values, spread = jax.lax.map(
            lambda index: hermite_coefficients(at, index, count, strip), jnp.arange(size)
        )
        return values.T, spread.T


@functools.partial(jax.jit, static_argnames="count")
def polynomials(z: Float[Array, ""], count: int) -> Float[Array, " count"]:
    """he_0(z), ..., he_{count-1}(z): sqrt(k+1) he_{k+1} = z he_k - sqrt(k) he_{k-1}."""

    def step(carry, k):
        before, now = carry
        return (now, (z * now - jnp.sqrt(k) * before) / jnp.sqrt(k + 1)), now

    start = (jnp.zeros_like(z), jnp.ones_like(z))
    return jax.lax.scan(step, start, jnp.arange(count, dtype=z.dtype))[1]


@functools.partial(jax.jit, static_argnames="count")
def functions(z: Float[Array, ""], count: int) -> Float[Array, " count"]:
    """he_k(z) exp(-z²/4) for k < count.

    The recurrence is that of `polynomials`, with a common scale that is stored as a logarithm.
    Without it the first functions would underflow where later ones are of order one.
    """

    def step(carry, k):
        before, now, log_size = carry
        after = (z * now - jnp.sqrt(k) * before) / jnp.sqrt(k + 1)
        size = jnp.maximum(jnp.abs(now), jnp.abs(after))
        size = jnp.where((size > 1e8) | (size < 1e-8), size, 1.0)
        return (now / size, after / size, log_size + jnp.log(size)), now * jnp.exp(log_size)

    start = (jnp.zeros_like(z), jnp.ones_like(z), -(z**2) / 4)
    return jax.lax.scan(step, start, jnp.arange(count, dtype=z.dtype))[1]


def _line(degree: int, order: int | None) -> tuple[Array, Array]:
    """Trapezoid rule for f(z) he_k(z), k <= degree, under N(0, 1): nodes [node, 1], [node, count].

    f sqrt(density) and he_k sqrt(density) are negligible outside |z| < 2 sqrt(degree) + 12 and
    above frequencies of about sqrt(degree) + 12. This determines the range and the step.
    """
    reach = 2 * math.sqrt(degree) + 12
    enough = 2 * math.ceil(reach * (math.sqrt(degree) + 12) / math.pi) + 1
    order = enough if order is None else whole(2).check("order", order)
    z = np.linspace(-reach, reach, order)
    root = floating(np.exp(-(z**2) / 4) * (z[1] - z[0]) / math.sqrt(2 * math.pi))
    values = jax.vmap(lambda node: functions(node, degree + 1))(floating(z))
    return floating(z)[:, None], root[:, None] * values


@functools.lru_cache(maxsize=32)
def gauss_hermite(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for N(0, 1); the weights sum to one."""
    nodes, weights = scipy.special.roots_hermitenorm(order)
    return nodes, weights / weights.sum()


def tensor(rule: tuple[np.ndarray, np.ndarray], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Product rule: nodes [order^dim, dim], weights [order^dim]."""
    return product([rule] * dim)


def product(rules: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Product of one-dimensional rules."""
    nodes = np.stack(np.meshgrid(*(r[0] for r in rules), indexing="ij"), axis=-1)
    weights = functools.reduce(np.multiply.outer, (r[1] for r in rules))
    return nodes.reshape(-1, len(rules)), weights.reshape(-1)


@functools.lru_cache(maxsize=16)
def smolyak(dim: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """The sparse rule of Smolyak for N(0, 1)^dim, with coinciding nodes merged.

    It is Σ (-1)^(q-|i|) C(dim-1, q-|i|) times the product of Gauss rules of sizes i, over
    q-dim+1 <= |i| <= q = order+dim-1 (Gerstner & Griebel 1998, eq. 12).
    """
    merged: dict[tuple[float, ...], float] = {}
    for extra in range(max(0, order - dim), order):
        sign = (-1) ** (order - 1 - extra) * math.comb(dim - 1, order - 1 - extra)
        for sizes in of_degree(dim, extra):
            nodes, weights = product([gauss_hermite(1 + size) for size in sizes])
            for node, weight in zip(np.round(nodes, 13) + 0.0, weights, strict=True):
                key = tuple(node)
                merged[key] = merged.get(key, 0.0) + sign * weight
    return np.array(list(merged)), np.array(list(merged.values()))
