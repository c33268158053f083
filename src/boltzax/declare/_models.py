"""Model templates. A model is any equinox module (or callable pytree) of one datum."""

import abc
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

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
    Refused,
    constraint_of,
    errors_named,
    numbers,
    typed,
)

Scaling = Literal["standard", "mean_field", "ntk"]


def applicable(shape: tuple[int, ...]) -> Constraint:
    """Functions that can be applied to an array of this shape under `jax.jit`."""

    def take(value: Any) -> Any:
        if not callable(value):
            raise Refused
        try:
            out = jax.eval_shape(value, jax.ShapeDtypeStruct(shape, jnp.result_type(float)))
        except Exception:
            raise Refused from None
        if not isinstance(out, jax.ShapeDtypeStruct) or out.shape != shape:
            raise Refused
        return value

    return Constraint(
        "a function of one array, in jax.numpy, that keeps its shape", "pass e.g. jnp.tanh", take
    )


def _widths(value: Any) -> tuple[int, ...]:
    widths = constraint_of(tuple[Count, ...]).take(value)
    if len(widths) < 2:
        raise Refused
    return widths


Widths: TypeAlias = Annotated[
    tuple[int, ...],
    Constraint("at least two widths, input first", "pass e.g. (10, 64, 1)", _widths),
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
"""A model of one datum."""


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


def split_or_none(key: Key | None, count: int) -> list[Key | None]:
    """`count` keys, or `count` times None without a key."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def normal_or_zero(key: Key | None, shape: tuple[int, ...], scale: float) -> Array:
    """Zeros without a key, else N(0, scale²)."""
    return jnp.zeros(shape) if key is None else scale * jax.random.normal(key, shape)


class AbstractUnitModel(eqx.Module):
    """A scalar model `f(x) = Σ_h readout_h unit(w_h, x)` of exchangeable units.

    If the readout is integrated out, samplers can propose moves of one unit at a time.
    """

    readout: eqx.AbstractVar[Float[Array, " unit"]]

    @abc.abstractmethod
    def unit_weights(self) -> dict[str, Array]:
        """The weights of the units by path, each with the unit axis first."""

    @abc.abstractmethod
    def unit(self, weights: dict[str, Array], x: Inexact[Array, " dim"]) -> Inexact[Array, ""]:
        """The feature of one unit at one datum, factors of the width included.

        Args:
            weights: The weights of one unit: a slice of `unit_weights`.
            x: One datum.
        """


class TwoLayer(AbstractUnitModel):
    """The net `f(x) = s Σ_h a_h act(t b_h·x + c_h)` with readout a, embedding b and bias c.

    Shapes: `readout` is `[width]`, `embedding` `[width, dim]`, `bias` `[width]` or None; the datum
    `x` is `[dim]` and `f` a scalar.

    Args:
        width: Number of units.
        activation: The function `act` of one number.
        dim: Length of one datum.
        bias: Whether units have a bias.
        scaling: The factors (s, t): `"standard"` (1, 1), `"mean_field"` (1/width, 1) (Mei,
            Montanari & Nguyen 2018, PNAS 115:E7665), `"ntk"` (1/sqrt(width), 1/sqrt(dim)) (Jacot et
            al. 2018, arXiv:1806.07572).
        key: Weights are standard normal; with `"standard"` the readout has standard deviation
            1/sqrt(width) and the embedding 1/sqrt(dim). Without a key all weights are zero.
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
        activation: Annotated[Callable, applicable(())] = jnp.tanh,
        dim: Count = 1,
        *,
        bias: bool = False,
        scaling: Scaling = "standard",
        key: Key | None = None,
    ):
        keys = split_or_none(key, 3)
        plain = scaling == "standard"
        self.readout = normal_or_zero(keys[0], (width,), 1 / math.sqrt(width) if plain else 1.0)
        self.embedding = normal_or_zero(keys[1], (width, dim), 1 / math.sqrt(dim) if plain else 1.0)
        self.bias = normal_or_zero(keys[2], (width,), 1.0) if bias else None
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
        # dot products: `jnp.sum(b * x)` here and `jnp.sum(a * h)` below have wrong float32
        # gradients under `jit` in jaxlib 0.10.2 on CPU, for about 128 data and more
        drive = inner * jnp.dot(weights["embedding"], x) + weights.get("bias", 0.0)
        return outer[self.scaling] * self.activation(drive)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        features = jax.vmap(self.unit, in_axes=(0, None))(self.unit_weights(), x)
        return jnp.dot(self.readout, features)


class MLP(eqx.Module):
    """A dense net: `h_{l+1} = act(W_l h_l + b_l)`, without activation at the last layer.

    Shapes: `weight[l]` is `[widths[l+1], widths[l]]`, `bias[l]` is `[widths[l+1]]`. The datum is
    `[widths[0]]`, the output `[widths[-1]]`, or a scalar if the last width is 1.

    Args:
        widths: The widths of all layers, input first, e.g. `(10, 64, 64, 1)`.
        activation: The function `act` of one array.
        bias: Whether layers have biases.
        key: Weights are N(0, 1/widths[l]), biases zero. Without a key all weights are zero.
    """

    weight: tuple[Float[Array, "out in"], ...]
    bias: tuple[Float[Array, " out"], ...] | None
    activation: Callable = eqx.field(static=True)

    @typed
    def __init__(
        self,
        widths: Widths,
        activation: Annotated[Callable, applicable((2,))] = jnp.tanh,
        *,
        bias: bool = True,
        key: Key | None = None,
    ):
        self.weight = _matrices(widths, key)
        self.bias = tuple(jnp.zeros(n) for n in widths[1:]) if bias else None
        self.activation = activation

    def __call__(self, x: Float[Array, " in"]) -> Array:
        for layer, weight in enumerate(self.weight):
            x = x @ weight.T  # under vmap faster than `weight @ x`, which transposes
            x = x if self.bias is None else x + self.bias[layer]
            x = self.activation(x) if layer + 1 < len(self.weight) else x
        return x[0] if self.weight[-1].shape[0] == 1 else x


class DeepLinear(eqx.Module):
    """The linear net `f(x) = W_L ... W_1 x` with a vector as output, also of width 1.

    Args:
        widths: The widths of all layers, input first; `weight[l]` is `[widths[l+1], widths[l]]`.
        key: Weights are N(0, 1/widths[l]). Without a key they are zero.
    """

    weight: tuple[Float[Array, "out in"], ...]

    @typed
    def __init__(self, widths: Widths, *, key: Key | None = None):
        self.weight = _matrices(widths, key)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        for weight in self.weight:
            x = weight @ x
        return x


class Polynomial(eqx.Module):
    """The polynomial `f = Σ_t c_t Π_i w_i^{e_ti}` of the weights `w`, `[dim]`, for every datum.

    With one term `½ f²` is a normal crossing.

    Args:
        exponents: The `e_ti`, non-negative integers `[term, dim]`, or one row of them.
        coefficients: The `c_t`, `[term]`; ones if not given.
        weight: The `w_i`, zeros unless set.
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
                expected=f"one finite number for each term, shape ({len(exponents)},)",
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
    """The model `x -> fn(params, x)`, for pure functions such as `apply` of flax and haiku.

    Args:
        fn: The function.
        params: A pytree of arrays: the weights.
    """

    params: PyTree
    fn: Callable = eqx.field(static=True)

    @typed
    def __init__(self, fn: Callable, params: PyTree):
        expected = "a pytree, whose dictionaries have keys of one kind"
        with errors_named("params", expected=expected, mend="name all entries by strings"):
            jax.tree.structure(params)
        self.fn = fn
        self.params = params

    def __call__(self, x: PyTree) -> Array:
        return self.fn(self.params, x)


def _matrices(widths: tuple[int, ...], key: Key | None) -> tuple[Array, ...]:
    depth = len(widths) - 1
    keys = split_or_none(key, depth)
    shapes = zip(keys, widths[1:], widths[:-1], strict=True)
    return tuple(normal_or_zero(k, (out, into), 1 / math.sqrt(into)) for k, out, into in shapes)
