"""Arithmetic of quantities with errors: with their own kind, and with exact numbers."""

import abc
from collections.abc import Callable, Iterator
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike

from ._autocorrelation import check_real
from ._errors import DeclarationError
from ._tracing import check_known, known


class AbstractQuantity(eqx.Module):
    """A quantity with an error: an array `value`, with indices and arithmetic as one.

    Sums, products and ratios take quantities of the same kind, entry by entry, and exact numbers.
    """

    value: eqx.AbstractVar[Array]

    @abc.abstractmethod
    def map(self, fn: Callable) -> Self:
        """`fn(quantity)`, for a function of arrays."""

    @abc.abstractmethod
    def scaled(self, factor: ArrayLike) -> Self:
        """`factor * quantity`, for a factor known exactly."""

    @abc.abstractmethod
    def shifted(self, offset: ArrayLike) -> Self:
        """`quantity + offset`, for an offset known exactly."""

    @abc.abstractmethod
    def _plus(self, other: Any, sign: int) -> Self:
        """`quantity + sign * other`, for another quantity of the same kind."""

    @abc.abstractmethod
    def _product(self, other: Any) -> Self:
        """`quantity * other`, for another quantity of the same kind."""

    @abc.abstractmethod
    def _ratio(self, other: Any) -> Self:
        """`quantity / other`, for another quantity of the same kind."""

    @abc.abstractmethod
    def _own(self, other: object) -> Self | None:
        """Another quantity as one of this kind; None for what has nothing to do with it."""

    @abc.abstractmethod
    def __getitem__(self, index) -> Any:
        """Some entries."""

    __array_ufunc__ = None  # arrays of NumPy leave arithmetic to quantities

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"an {type(self).__name__} of one number has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __neg__(self) -> Self:
        return self.scaled(-1)

    def __add__(self, other: Any) -> Self:
        return self._with(other, lambda own: self._plus(own, 1), self.shifted)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Self:
        return self._with(other, lambda own: self._plus(own, -1), lambda n: self.shifted(-held(n)))

    def __rsub__(self, other: Any) -> Self:
        return -self + other

    def __mul__(self, other: Any) -> Self:
        return self._with(other, self._product, self.scaled)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Self:
        with np.errstate(divide="ignore"):
            return self._with(other, self._ratio, lambda n: self.scaled(1 / held(n)))

    def __rtruediv__(self, other: Any) -> Self:
        return self._with(
            other, lambda own: own._ratio(self), lambda n: self.map(lambda x: alike(n, x) / x)
        )

    def _with(self, other: Any, act: Callable, of_number: Callable) -> Any:
        own = self._own(other)
        if own is None and not is_number(other):
            return NotImplemented
        self._check_shape(np.shape(other) if own is None else own.shape)
        return of_number(other) if own is None else act(own)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        try:
            np.broadcast_shapes(self.shape, shape)
        except ValueError:
            raise DeclarationError(
                "other",
                got=f"an operand of shape {shape}",
                expected=f"a shape that broadcasts with {self.shape}",
                mend="take the entries that belong together first, e.g. quantity[:2]",
            ) from None


def held(number: ArrayLike) -> Array | np.ndarray:
    """A number as an array: NumPy's if its value is known."""
    return np.asarray(number) if known(number) else jnp.asarray(number)


def alike(number: ArrayLike, value: Array) -> Array | np.ndarray:
    """A number to compute with: of Python ones in the kind of the value, else in the wider."""
    number, python = held(number), isinstance(number, bool | int | float)
    kind = value.dtype if python else jnp.promote_types(value.dtype, number.dtype)
    return number.astype(kind)


def is_number(other: object) -> bool:
    """Whether an operand is an exact number; a `DeclarationError` for complex and masked ones."""
    if not isinstance(other, int | float | np.ndarray | np.generic | jax.Array):
        return False
    check_real(other, "number")
    return True


def on_host(index):
    """An index as NumPy takes it; places that are being traced cannot be out of known bounds."""
    parts = index if isinstance(index, tuple) else (index,)
    masks = [part for part in parts if isinstance(part, Tracer) and part.dtype == bool]
    check_known("index", masks, "a mask")
    plain = tuple(0 if isinstance(part, Tracer) else part for part in parts)
    return tuple(np.asarray(part) if isinstance(part, jax.Array) else part for part in plain)
