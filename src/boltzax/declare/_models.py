"""Model templates. A model is any equinox module (or callable pytree) that maps one datum."""

import abc
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, PyTree

from ..core import Constraint, Count, DeclarationError, Key, Refused, Said, numbers, typed

Scaling = Literal["standard", "mean_field", "ntk"]
Activation: TypeAlias = Annotated[
    Callable, Said(expected="a function of one array", mend="pass e.g. jnp.tanh")
]
Widths: TypeAlias = Annotated[
    tuple[Count, ...],
    Said(expected="at least two widths, input first", mend="pass e.g. (10, 64, 1)"),
]


def _predictor(value: Any) -> Any:
    if not callable(value) or isinstance(value, type):
        raise Refused
    return value


Predictor: TypeAlias = Annotated[
    PyTree,
    Constraint(
        "a callable pytree: model(x)",
        "pass an equinox module, or bx.models.Function(fn, params)",
        _predictor,
    ),
]
"""A model that maps one datum."""


def _exponents(value: Any) -> tuple[tuple[int, ...], ...]:
    table = np.atleast_2d(numbers(value, float, host=True))
    if table.ndim != 2 or table.size == 0 or not np.all((table >= 0) & (table % 1 == 0)):
        raise Refused
    return tuple(tuple(int(e) for e in row) for row in table)


Exponents: TypeAlias = Annotated[
    Sequence,
    Constraint(
        "non-negative integers, [dim] or [term, dim]",
        "pass e.g. (1, 2) for w1 * w2**2",
        _exponents,
    ),
]


def _split(key: Key | None, count: int) -> list[Key | None]:
    """So many keys, or Nones."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def _start(key: Key | None, shape: tuple[int, ...], scale: float) -> Array:
    """Zeros without a key, else N(0, scale²)."""
    return jnp.zeros(shape) if key is None else scale * jax.random.normal(key, shape)


class AbstractUnitModel(eqx.Module):
    """A scalar model `f(x) = multiplier * Σ_h readout_h * unit(w_h, x)` of exchangeable units.

    Its posterior allows moves of one unit at a time when the readout is integrated out.
    """

    readout: eqx.AbstractVar[Float[Array, " unit"]]

    @abc.abstractmethod
    def unit_weights(self) -> dict[str, Array]:
        """The weights of the units by path, each with the unit axis first."""

    @abc.abstractmethod
    def unit(self, weights: dict[str, Array], x: Inexact[Array, " dim"]) -> Inexact[Array, ""]:
        """The feature of one unit, given its own slice of `unit_weights` (multiplier included)."""


class TwoLayer(AbstractUnitModel):
    """`f(x) = s Σ_h a_h act(t b_h·x + c_h)`, readout `a`, embedding `b`, bias `c` (optional).

    `scaling` names `(s, t)`: `"standard"` (1, 1), `"mean_field"` (1/width, 1), `"ntk"`
    (1/sqrt(width), 1/sqrt(dim)) (Jacot et al. 2018; Mei, Montanari, Nguyen 2018). Shapes: readout
    `[width]`, embedding `[width, dim]`, bias `[width]`; the datum `x` is `[dim]`, `f` a scalar.
    Without a `key` all weights are zero, else standard normal (`"standard"` scales readout by
    1/sqrt(width) and embedding by 1/sqrt(dim)).
    """

    readout: Float[Array, " width"]
    embedding: Float[Array, "width dim"]
    bias: Float[Array, " width"] | None
    activation: Callable = eqx.field(static=True)
    scaling: Scaling = eqx.field(static=True)

    @typed
    def __init__(
        self,
        width: Count,
        activation: Activation = jnp.tanh,
        dim: Count = 1,
        *,
        bias: bool = False,
        scaling: Scaling = "standard",
        key: Key | None = None,
    ):
        keys = _split(key, 3)
        plain = scaling == "standard"
        self.readout = _start(keys[0], (width,), 1 / math.sqrt(width) if plain else 1.0)
        self.embedding = _start(keys[1], (width, dim), 1 / math.sqrt(dim) if plain else 1.0)
        self.bias = _start(keys[2], (width,), 1.0) if bias else None
        self.activation = activation
        self.scaling = scaling

    def unit_weights(self) -> dict[str, Array]:
        weights = {"embedding": self.embedding}
        return weights if self.bias is None else weights | {"bias": self.bias}

    @typed
    def unit(self, weights: dict[str, Array], x: Inexact[Array, "*dim"]) -> Any:
        width, dim = self.embedding.shape
        inner = 1 / math.sqrt(dim) if self.scaling == "ntk" else 1.0
        outer = {"standard": 1.0, "mean_field": 1 / width, "ntk": 1 / math.sqrt(width)}
        # `jnp.sum(b * x)` here and `jnp.sum(a * h)` below have a wrong gradient in float32 under
        # `jit` in jaxlib 0.10.2 on CPU, from some 128 data on
        drive = inner * jnp.dot(weights["embedding"], x) + weights.get("bias", 0.0)
        return outer[self.scaling] * self.activation(drive)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        features = jax.vmap(self.unit, in_axes=(0, None))(self.unit_weights(), x)
        return jnp.dot(self.readout, features)


class MLP(eqx.Module):
    """Dense net of the given `widths`, e.g. `(10, 64, 64, 1)`; a last width of 1 gives a scalar.

    `weight[l]` is `[widths[l+1], widths[l]]`, `bias[l]` is `[widths[l+1]]`. Without a `key` all
    weights are zero, else N(0, 1/fan_in) with zero biases.
    """

    weight: tuple[Float[Array, "out in"], ...]
    bias: tuple[Float[Array, " out"], ...] | None
    activation: Callable = eqx.field(static=True)

    @typed
    def __init__(
        self,
        widths: Widths,
        activation: Activation = jnp.tanh,
        *,
        bias: bool = True,
        key: Key | None = None,
    ):
        self.weight = _matrices(widths, key)
        self.bias = tuple(jnp.zeros(n) for n in widths[1:]) if bias else None
        self.activation = activation

    def __call__(self, x: Float[Array, " in"]) -> Array:
        for layer, weight in enumerate(self.weight):
            x = x @ weight.T  # over a batch faster than `weight @ x`: nothing is transposed
            x = x if self.bias is None else x + self.bias[layer]
            x = self.activation(x) if layer + 1 < len(self.weight) else x
        return x[0] if self.weight[-1].shape[0] == 1 else x


class DeepLinear(eqx.Module):
    """`f(x) = W_L ... W_1 x`, `weight[l]` of shape `[widths[l+1], widths[l]]`; vector output."""

    weight: tuple[Float[Array, "out in"], ...]

    @typed
    def __init__(self, widths: Widths, *, key: Key | None = None):
        self.weight = _matrices(widths, key)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        for weight in self.weight:
            x = weight @ x
        return x


class Polynomial(eqx.Module):
    """`f = Σ_t c_t Π_i w_i^{e_ti}`, whatever the datum: `½ f²` is a normal crossing for one term.

    `exponents` is `[term, dim]` of non-negative integers or one row of them; `coefficients`
    `[term]` (ones if not given).
    """

    weight: Float[Array, " dim"]
    exponents: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    coefficients: tuple[float, ...] = eqx.field(static=True)

    @typed
    def __init__(self, exponents: Exponents, coefficients: Sequence[float] | None = None):
        terms = np.ones(len(exponents)) if coefficients is None else np.asarray(coefficients)
        if terms.shape != (len(exponents),) or not np.all(np.isfinite(terms)):
            raise DeclarationError(
                "coefficients",
                got=repr(coefficients),
                expected=f"one finite number a term, shape ({len(exponents)},)",
                mend="give as many coefficients as rows of exponents",
            )
        self.weight = jnp.zeros(len(exponents[0]))
        self.exponents = tuple(exponents)
        self.coefficients = tuple(float(c) for c in terms)

    def __call__(self, x: PyTree = None) -> Float[Array, ""]:
        total = jnp.zeros((), self.weight.dtype)
        for coefficient, row in zip(self.coefficients, self.exponents, strict=True):
            monomial = math.prod(self.weight[i] ** e for i, e in enumerate(row) if e)
            total = total + coefficient * monomial
        return total


class Function(eqx.Module):
    """A pure function `fn(params, x)` with its parameter pytree, as a model (flax, haiku, ...)."""

    params: PyTree
    fn: Callable = eqx.field(static=True)

    @typed
    def __init__(self, fn: Callable, params: PyTree):
        self.fn = fn
        self.params = params

    def __call__(self, x: PyTree) -> Array:
        return self.fn(self.params, x)


def _matrices(widths: tuple[int, ...], key: Key | None) -> tuple[Array, ...]:
    if len(widths) < 2:
        raise DeclarationError(
            "widths",
            got=repr(widths),
            expected="at least two widths, input first",
            mend="pass e.g. (10, 64, 1)",
        )
    depth = len(widths) - 1
    keys = _split(key, depth)
    shapes = zip(keys, widths[1:], widths[:-1], strict=True)
    return tuple(_start(k, (out, into), 1 / math.sqrt(into)) for k, out, into in shapes)
