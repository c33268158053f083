"""Measures on data, and their vector space."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, PyTree

from ..core import (
    Constraint,
    Count,
    DeclarationError,
    Key,
    Number,
    Said,
    constraint_of,
    described,
    eager,
    known,
    typed,
)
from ._basis import AbstractBasis, floating, integrate_nodes

FACTOR: Constraint = Said(
    "one finite real number (divisors are not zero)",
    "scale by a scalar; use `measure.weighted(density)` for a factor per datum",
).of(constraint_of(Number))


@typed
@described(
    "a measure", "pass e.g. bx.GaussianMeasure(1), or bx.Empirical((x, y)) for arrays of data"
)
class AbstractMeasure(eqx.Module):
    """A finite signed measure on data.

    Measures can be added, subtracted and scaled, and `integrate` is linear in the measure. The
    derivative along `mu + h * (nu - mu)` is the response to a change from `mu` to `nu`. Numbers
    (data, weights, means, scales, factors) are leaves, so new values do not retrace. Choices
    (dimension, order, rule) are static.

    A datum is any pytree of arrays. If it is one vector its shape is (dim,), also for dim = 1.

    `signed` is True if a weight may be negative. It is static and set when the measure is built.
    A measure whose factor is traced counts as signed.
    """

    signed: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def nodes(self) -> tuple[PyTree, Float[Array, " node"]]:
        """Points and weights of the quadrature: ∫ f dmu = Σ_i w_i f(z_i).

        Points are a pytree with the node axis first, weights have shape `[node]`.
        """

    @abc.abstractmethod
    def estimate(self, fn: Callable, key: Key) -> PyTree:
        """An unbiased estimate of `integrate(fn)`; `integrate(fn)` itself unless `Subsampled`."""

    @abc.abstractmethod
    def sample(self, key: Key, count: Count) -> PyTree:
        """`count` independent draws from the normalised measure, along a leading axis.

        Raises:
            DeclarationError: If the measure is signed.
        """

    @property
    @abc.abstractmethod
    def mass(self) -> Float[Array, ""]:
        """The total mass ∫ 1 dmu."""

    @property
    @abc.abstractmethod
    def datum(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of one datum."""

    @abc.abstractmethod
    def basis(self) -> AbstractBasis:
        """The orthonormal basis of L²(mu).

        Raises:
            DeclarationError: If none is implemented for this measure.
        """

    @property
    def dim(self) -> int:
        """Length of one datum, for measures on vectors.

        Raises:
            DeclarationError: If a datum is not one vector.
        """
        datum = self.datum
        if isinstance(datum, jax.ShapeDtypeStruct) and len(datum.shape) == 1:
            return datum.shape[0]
        raise DeclarationError(
            "measure.dim",
            got=f"data of structure {datum}",
            expected="a measure whose datum is one vector",
            mend="read `measure.datum` instead",
        )

    def integrate(self, fn: Callable) -> PyTree[Inexact[Array, "..."]]:
        """The integral ∫ fn dmu, where `fn` maps one datum to an array or a pytree of arrays."""
        points, weights = self.nodes()
        return integrate_nodes(fn, points, weights)

    def weighted(self, density: Callable, signed: bool = False) -> "Weighted":
        """The measure density(z) mu(dz).

        Args:
            density: Maps one datum to a scalar. If it has parameters, make it an equinox module:
                new parameters then do not retrace.
            signed: Whether the density takes negative values.
        """
        return Weighted(self, density, signed)

    @eager
    def normalized(self) -> "Scaled":
        """The measure divided by its mass.

        Raises:
            DeclarationError: If the mass is zero or not finite.
        """
        mass = self.mass
        if known(mass) and (not np.isfinite(mass) or float(mass) == 0.0):
            raise DeclarationError(
                "measure",
                got=f"a measure of mass {float(mass)}",
                expected="a finite mass that is not zero",
                mend="normalise the parts before you subtract them",
            )
        return Scaled(self, 1 / mass, self.signed)

    def __add__(self, other: "AbstractMeasure") -> "Sum":
        if not isinstance(other, AbstractMeasure):
            return NotImplemented
        return Sum((self, other))

    def __neg__(self) -> "Scaled":
        return self * -1.0

    def __sub__(self, other: "AbstractMeasure") -> "Sum":
        if not isinstance(other, AbstractMeasure):
            return NotImplemented
        return self + (-other)

    @eager
    def __mul__(self, factor: Any) -> "Scaled":
        if isinstance(factor, AbstractMeasure):
            return NotImplemented
        factor = _scalar(factor)
        return Scaled(self, factor, self.signed or not known(factor) or bool(factor < 0))

    def __rmul__(self, factor: Any) -> "Scaled":
        return self * factor

    @eager
    def __truediv__(self, factor: Any) -> "Scaled":
        return self * (1 / _scalar(factor))

    __array_ufunc__ = None  # so that `np.float64(2) * measure` calls `__rmul__`


@typed
class Scaled(AbstractMeasure):
    """The measure factor * measure."""

    measure: AbstractMeasure
    factor: Float[Array, ""]
    signed: bool = eqx.field(static=True)

    def nodes(self):
        points, weights = self.measure.nodes()
        return points, self.factor * weights

    def estimate(self, fn, key):
        return jax.tree.map(lambda v: self.factor * v, self.measure.estimate(fn, key))

    def sample(self, key, count):
        refuse_signed(self)
        return self.measure.sample(key, count)

    @property
    def mass(self):
        return self.factor * self.measure.mass

    @property
    def datum(self):
        return self.measure.datum

    def basis(self):
        raise no_basis(self)


@typed
class Sum(AbstractMeasure):
    """The sum of measures on the same kind of data."""

    terms: tuple[AbstractMeasure, ...]

    def __init__(self, terms: tuple[AbstractMeasure, ...]):
        flat = [part for t in terms for part in (t.terms if isinstance(t, Sum) else (t,))]
        first = flat[0].datum
        for term in flat[1:]:
            if _shapes(term.datum) != _shapes(first):
                raise DeclarationError(
                    "measure + measure",
                    got=f"data {_shapes(first)} and {_shapes(term.datum)}",
                    expected="the same structure and shapes of one datum",
                    mend="reshape the data of one of them; a vector datum has shape (dim,)",
                )
        self.terms = tuple(flat)

    @property
    def signed(self):
        return any(term.signed for term in self.terms)

    def nodes(self):
        points, weights = zip(*(term.nodes() for term in self.terms), strict=True)
        joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *points)
        return joined, jnp.concatenate(weights)

    def estimate(self, fn, key):
        keys = jax.random.split(key, len(self.terms))
        parts = [term.estimate(fn, k) for term, k in zip(self.terms, keys, strict=True)]
        return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *parts)

    def sample(self, key, count):
        refuse_signed(self)
        which_key, *keys = jax.random.split(key, 1 + len(self.terms))
        masses = jnp.stack([term.mass for term in self.terms])
        which = jax.random.categorical(which_key, jnp.log(masses), shape=(count,))
        draws = [term.sample(k, count) for term, k in zip(self.terms, keys, strict=True)]
        rows = jnp.arange(count)
        return jax.tree.map(lambda *leaves: jnp.stack(leaves)[which, rows], *draws)

    @property
    def mass(self):
        masses = [term.mass for term in self.terms]
        return sum(masses[1:], masses[0])

    @property
    def datum(self):
        return self.terms[0].datum

    def basis(self):
        raise no_basis(self)


@typed
class Weighted(AbstractMeasure):
    """The measure density(z) * measure(dz).

    The nodes are those of `measure`, whose rule is applied to `fn * density`. `sample` draws from
    the nodes: exact for data, else as accurate as the quadrature.
    """

    measure: AbstractMeasure
    density: Callable
    negative: bool = eqx.field(static=True)

    @property
    def signed(self):
        return self.measure.signed or self.negative

    def nodes(self):
        points, weights = self.measure.nodes()
        density = jax.vmap(lambda z: jnp.asarray(self.density(z)))(points)
        if density.shape != weights.shape:
            raise DeclarationError(
                "density",
                got=f"a function with values of shape {density.shape[1:]}",
                expected="a scalar, shape (), at one datum",
                mend="index or sum the value, e.g. `lambda x: jnp.exp(x[0])`",
            )
        return points, weights * floating(density, "density")

    def estimate(self, fn, key):
        def product(z):
            return jax.tree.map(lambda v: self.density(z) * v, fn(z))

        return self.measure.estimate(product, key)

    def sample(self, key, count):
        refuse_signed(self)
        points, weights = self.nodes()
        if known(weights) and bool(jnp.any(weights < 0)):
            raise DeclarationError(
                "density",
                got="a density with negative values, declared signed=False",
                expected="a density without negative values",
                mend="correct the density; a signed measure cannot be sampled",
            )
        chosen = jax.random.choice(key, weights.shape[0], (count,), p=weights / weights.sum())
        return jax.tree.map(lambda leaf: leaf[chosen], points)

    @property
    def mass(self):
        return jnp.sum(self.nodes()[1])

    @property
    def datum(self):
        return self.measure.datum

    def basis(self):
        raise no_basis(self)


def refuse_signed(measure: AbstractMeasure) -> None:
    """Raise a DeclarationError for draws from a signed measure."""
    if measure.signed:
        raise DeclarationError(
            "measure",
            got=f"a draw from a signed measure, {type(measure).__name__}",
            expected="a measure without negative weights or factors",
            mend="sample its positive parts one by one, or use `integrate`",
        )


def no_basis(measure: AbstractMeasure) -> DeclarationError:
    """The error of a measure without an orthonormal basis."""
    return DeclarationError(
        "measure.basis()",
        got=f"a measure of type {type(measure).__name__}",
        expected="GaussianMeasure, IntervalMeasure, CircleMeasure or CubeMeasure, unscaled",
        mend="take the basis of that measure before scaling it, or integrate by quadrature",
    )


def _scalar(factor: Any) -> Array:
    return floating(FACTOR.check("measure * factor", factor))


def _shapes(datum: PyTree) -> PyTree:
    leaves, structure = jax.tree.flatten(datum)
    return structure, [leaf.shape for leaf in leaves]
