"""Model templates. A model is any equinox module (or callable pytree) that maps one datum."""

import abc
import math
from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core import DeclarationError

Scaling = Literal["standard", "mean_field", "ntk"]


def _positive_int(argument: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise DeclarationError(
            argument, got=repr(value), expected="a positive integer", mend="pass e.g. 16"
        )
    return int(value)


def _callable(argument: str, value: object) -> None:
    if not callable(value):
        raise DeclarationError(
            argument,
            got=repr(value),
            expected="a function of one array",
            mend="pass e.g. jnp.tanh",
        )


def _split(key: PRNGKeyArray | None, count: int) -> list[PRNGKeyArray | None]:
    """So many keys, or Nones."""
    if key is None:
        return [None] * count
    try:
        return list(jax.random.split(key, count))
    except (TypeError, ValueError) as error:
        raise DeclarationError(
            "key",
            got=repr(key),
            expected="a random key of jax, or None for zeros",
            mend="pass key=jax.random.key(0)",
        ) from error


def _start(key: PRNGKeyArray | None, shape: tuple[int, ...], scale: float) -> Array:
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
    def unit(self, weights: dict[str, Array], x: Float[Array, " dim"]) -> Float[Array, ""]:
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

    def __init__(
        self,
        width: int,
        activation: Callable = jnp.tanh,
        dim: int = 1,
        *,
        bias: bool = False,
        scaling: Scaling = "standard",
        key: PRNGKeyArray | None = None,
    ):
        width, dim = _positive_int("width", width), _positive_int("dim", dim)
        _callable("activation", activation)
        if scaling not in ("standard", "mean_field", "ntk"):
            raise DeclarationError(
                "scaling",
                got=repr(scaling),
                expected="'standard', 'mean_field' or 'ntk'",
                mend="choose one of the three",
            )
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

    def unit(self, weights: dict[str, Array], x: Float[Array, " dim"]) -> Float[Array, ""]:
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

    def __init__(
        self,
        widths: tuple[int, ...],
        activation: Callable = jnp.tanh,
        *,
        bias: bool = True,
        key: PRNGKeyArray | None = None,
    ):
        _widths(widths)
        _callable("activation", activation)
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

    def __init__(self, widths: tuple[int, ...], *, key: PRNGKeyArray | None = None):
        _widths(widths)
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

    def __init__(self, exponents, coefficients=None):
        table = np.atleast_2d(_numbers(exponents))
        if table.ndim != 2 or table.size == 0 or (table < 0).any() or (table % 1 != 0).any():
            raise DeclarationError(
                "exponents",
                got=repr(exponents),
                expected="non-negative integers, [dim] or [term, dim]",
                mend="pass e.g. (1, 2) for w1 * w2**2",
            )
        terms = np.ones(len(table)) if coefficients is None else _numbers(coefficients)
        if terms.shape != (len(table),) or not np.all(np.isfinite(terms)):
            raise DeclarationError(
                "coefficients",
                got=repr(coefficients),
                expected=f"one finite number a term, shape ({len(table)},)",
                mend="give as many coefficients as rows of exponents",
            )
        self.weight = jnp.zeros(table.shape[1])
        self.exponents = tuple(tuple(int(e) for e in row) for row in table)
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

    def __init__(self, fn: Callable, params: PyTree):
        _callable("fn", fn)
        self.fn = fn
        self.params = params

    def __call__(self, x: PyTree) -> Array:
        return self.fn(self.params, x)


def _numbers(values: object) -> np.ndarray:
    """Values as floats; no entries if they are no numbers."""
    try:
        return np.asarray(values, float)
    except (TypeError, ValueError):
        return np.zeros((0, 0))


def _widths(widths: tuple[int, ...]) -> None:
    if not isinstance(widths, tuple | list) or len(widths) < 2:
        raise DeclarationError(
            "widths",
            got=repr(widths),
            expected="at least two widths, input first",
            mend="pass e.g. (10, 64, 1)",
        )
    for index, width in enumerate(widths):
        _positive_int(f"widths[{index}]", width)


def _matrices(widths: tuple[int, ...], key: PRNGKeyArray | None) -> tuple[Array, ...]:
    depth = len(widths) - 1
    keys = _split(key, depth)
    shapes = zip(keys, widths[1:], widths[:-1], strict=True)
    return tuple(_start(k, (out, into), 1 / math.sqrt(into)) for k, out, into in shapes)
