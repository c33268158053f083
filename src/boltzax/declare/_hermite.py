"""Hermite polynomials, orthonormal for a Gaussian, and the quadrature rules that go with them."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, PyTree

from boltzax.core import DeclarationError, typed

from ._basis import (
    AbstractBasis,
    check_count,
    floating,
    graded_indices,
    integrate_nodes,
    of_degree,
)


class HermiteBasis(AbstractBasis):
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

    @typed
    def evaluate(self, x: Float[Array, " {self.dim}"], count: int) -> Float[Array, " {count}"]:
        """phi_k(x). Where |z| > 50 and k > 700 the polynomial itself exceeds float64; the
        coefficients never use it there."""
        indices = graded_indices(self.dim, check_count("count", count))
        tables = jax.vmap(lambda z: polynomials(z, int(indices.max()) + 1))(
            (x - self.mean) / self.scale
        )
        return jnp.prod(tables[np.arange(self.dim), indices], axis=1)

    def projector(self, count, order=None):
        """Dim 1: equidistant nodes over the support of phi_{count-1} times the square root of the
        density, exact to rounding for polynomials and exponentially accurate for analytic
        functions, with phi_k sqrt(density) in place of phi_k, so that nothing overflows at k in
        the thousands. Dim 2 and 3: Gauss-Hermite; past it: Smolyak."""
        indices = graded_indices(self.dim, check_count("count", count))
        degree = int(indices.max())
        if self.dim == 1:
            points, matrix = _line(degree, order)
            return self.mean + self.scale * points, matrix
        default = max((0, 32, 16)[self.dim - 1], degree + 16) if self.dim <= 3 else degree + 2
        order = default if order is None else check_count("order", order)
        rule = tensor(gauss_hermite(order), self.dim) if self.dim <= 3 else smolyak(self.dim, order)
        points, weights = self.mean + self.scale * floating(rule[0]), floating(rule[1])
        return points, weights[:, None] * jax.vmap(lambda x: self.evaluate(x, count))(points)

    def degrees(self, count):
        return graded_indices(self.dim, check_count("count", count)).sum(axis=1)

    def labels(self, count):
        if self.dim == 1:
            return tuple(f"he_{k}" for k in range(count))
        rows = graded_indices(self.dim, count)
        return tuple("he_(" + ",".join(map(str, row)) + ")" for row in rows)

    @typed
    def analytic_coefficients(
        self, fn: Callable, count: int, strip: float
    ) -> PyTree[Float[Array, "..."]]:
        """The coefficients to relative precision, [count, *out]; dim 1 and float64 only.

        For `fn` real on the line and analytic near it; `strip` is the distance in z (so in x,
        divided by the scale) of its nearest singularity: π/2 for tanh and scale 1; take 1 for an
        entire function. Quadrature on the line leaves an error of 1e-16 times the size of `fn`;
        this keeps ten digits of a coefficient of 1e-22 (tanh, k = 1001). `fn` is called with
        complex data of shape (1,). What vanishes by symmetry comes out as noise of relative 1e-13.

        Method: g(t) = E fn(Z + t) = Σ_k c_k t^k / sqrt(k!) is entire, so c_k is a Fourier
        coefficient of g on a circle |t| = r, best at r² near k. Each g(t) is a Gaussian integral
        moved (Cauchy) to the line Im z = min(Im t, strip - margin), where little cancels.
        """
        if self.dim != 1 or jnp.result_type(float) != jnp.float64 or not strip > 0:
            raise DeclarationError(
                "analytic_coefficients",
                got=f"dim={self.dim}, dtype {jnp.result_type(float)}, strip={strip}",
                expected="one dimension, float64 and a positive strip",
                mend="switch on jax_enable_x64; in more dimensions use `coefficients`",
            )
        _check_complex(fn)
        radii, windows, chosen = _circles(check_count("count", count))
        margin = min(strip / 2, 6 / radii[-1])
        half = math.ceil(9.5 / min(2 * np.pi * margin / 37, 2 * np.pi / (radii[-1] + 25)))
        nodes = np.linspace(-9.5, 9.5, 2 * half + 1)
        density = np.exp(-(nodes**2) / 2) * ((nodes[1] - nodes[0]) / math.sqrt(2 * math.pi))
        turns = 10 * math.ceil(radii[-1]) + 32
        angles = (np.arange(turns) + 0.5) * (np.pi / turns)

        def smoothed(radius, angle):
            """g(r exp(i angle)) exp(-r²/2)"""
            height = radius * jnp.sin(angle)
            shift = jnp.minimum(height, strip - margin)
            lift = (height - shift) ** 2 / 2 - radius**2 / 2
            kernel = density * jnp.exp(lift + 1j * nodes * (height - shift))
            z = radius * jnp.cos(angle) + nodes + 1j * shift
            return integrate_nodes(fn, self.mean + self.scale * z[:, None], kernel)

        def circle(inputs):
            radius, ks = inputs
            values = jax.lax.map(lambda a: smoothed(radius, a), floating(angles), batch_size=32)
            size = jax.scipy.special.gammaln(ks + 1) / 2 - ks * jnp.log(radius) + radius**2 / 2
            phases = jnp.exp(size[:, None] - 1j * ks[:, None] * angles) / len(angles)
            return jax.tree.map(lambda v: jnp.tensordot(phases, v, axes=1).real, values)

        blocks = jax.lax.map(circle, (floating(radii), floating(windows)))
        return jax.tree.map(lambda b: b.reshape(-1, *b.shape[2:])[chosen], blocks)


def _check_complex(fn: Callable) -> None:
    """Whether a function is known off the real line, in jax's operations."""
    try:
        jax.eval_shape(fn, jax.ShapeDtypeStruct((1,), complex))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise DeclarationError(
            "fn",
            got=f"a function that does not take complex data: {str(error).splitlines()[0]}",
            expected="operations that jax has for complex numbers (not erf, nor comparisons)",
            mend="use `coefficients`, to absolute precision, or write the function otherwise",
        ) from error


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

    The same recurrence with its common size kept apart as a logarithm: the first functions
    underflow where the later ones, which are made from them, are of order one.
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

    f sqrt(density) and he_k sqrt(density) live on |z| < 2 sqrt(degree) + 12 and below frequency
    sqrt(degree) + 12 or so, which sets range and step.
    """
    reach = 2 * math.sqrt(degree) + 12
    enough = 2 * math.ceil(reach * (math.sqrt(degree) + 12) / math.pi) + 1
    order = enough if order is None else check_count("order", order, 2)
    z = np.linspace(-reach, reach, order)
    root = floating(np.exp(-(z**2) / 4) * (z[1] - z[0]) / math.sqrt(2 * math.pi))
    values = jax.vmap(lambda node: functions(node, degree + 1))(floating(z))
    return floating(z)[:, None], root[:, None] * values


@functools.lru_cache(maxsize=16)
def _circles(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radii [block], the degrees each circle serves [block, window], and where 0..count-1 are."""
    starts, sizes = [0], [2]
    while starts[-1] + sizes[-1] < count:
        starts.append(starts[-1] + sizes[-1])
        sizes.append(int(math.sqrt(2 * starts[-1])))
    window = np.arange(max(sizes))
    chosen = [b * len(window) + j for b, size in enumerate(sizes) for j in range(size)]
    radii = np.sqrt(np.maximum(np.array(starts) + np.array(sizes) / 2, 1.0))
    return radii, np.array(starts)[:, None] + window, np.array(chosen[:count])


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
    """Sparse rule for N(0, 1)^dim: Σ (-1)^(q-|i|) C(dim-1, q-|i|) of the products of Gauss rules
    of sizes i, over q-dim+1 <= |i| <= q = order+dim-1 (Gerstner & Griebel 1998, eq. 12); nodes
    that coincide are merged."""
    merged: dict[tuple[float, ...], float] = {}
    for extra in range(max(0, order - dim), order):
        sign = (-1) ** (order - 1 - extra) * math.comb(dim - 1, order - 1 - extra)
        for sizes in of_degree(dim, extra):
            nodes, weights = product([gauss_hermite(1 + size) for size in sizes])
            for node, weight in zip(np.round(nodes, 13) + 0.0, weights, strict=True):
                key = tuple(node)
                merged[key] = merged.get(key, 0.0) + sign * weight
    return np.array(list(merged)), np.array(list(merged.values()))
