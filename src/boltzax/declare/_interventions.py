"""Interventions: what takes the place of a value in a model."""

import abc
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Inexact, PyTree

from ..core import Constraint, DeclarationError, Key, NonNegative, Refused, described, known, typed
from ..numerics import Steps


@described(
    "an intervention: bx.Ablate, bx.Replace, bx.Project, bx.Noise, an array or a function",
    "pass e.g. bx.Ablate()",
)
class AbstractIntervention(eqx.Module):
    """What takes the place of a value in a model.

    The value is that of one datum, with the axes of `jax.vmap` inside the model first. The result
    must have its shape, and is converted to its dtype. Where the model repeats a place, the
    intervention is called for each repetition.
    """

    @abc.abstractmethod
    def __call__(self, value: Array) -> Array:
        """The value that takes the place of `value`."""


class AbstractSteppedIntervention(AbstractIntervention):
    """An intervention that differs between repetitions of a place."""

    @abc.abstractmethod
    def at_step(self, steps: Steps, shape: tuple[int, ...]) -> AbstractIntervention:
        """The intervention at one repetition.

        Args:
            steps: For each repetition, outer to inner, its number and how many there are: a module
                that is used several times, the steps of a scan.
            shape: The shape of the value at one repetition.
        """


@typed
class Replace(AbstractSteppedIntervention):
    """A given value in place of that of the model.

    Args:
        value: An array that broadcasts to the place, or has the shape that `bx.activations` gives,
            with the axes of repetitions in front.
    """

    value: Array

    def __init__(self, value: ArrayLike):
        self.value = _array(value)

    def at_step(self, steps: Steps, shape: tuple[int, ...]) -> "Replace":
        for first in range(len(steps)):
            numbers, sizes = zip(*steps[first:], strict=True)
            if self.value.shape == (*sizes, *shape):
                return Replace(self.value[numbers])
        return self

    def __call__(self, value: Array) -> Array:
        return _broadcast("Replace", self.value, value.shape)


def _index(entries: Any) -> tuple | None:
    """An index of numpy as a tuple that can be hashed; slices as `("slice", start, stop, step)`."""
    parts = []
    for part in entries if isinstance(entries, tuple) else (entries,):
        if isinstance(part, slice):
            parts.append(("slice", part.start, part.stop, part.step))
        elif part is Ellipsis:
            parts.append(part)
        elif isinstance(part, Sequence) and not isinstance(part, str | bytes):
            parts.append(tuple(_whole(i) for i in part))
        elif isinstance(part, np.ndarray | Array) and part.ndim == 1 and known(part):
            parts.append(tuple(_whole(i) for i in np.asarray(part).tolist()))
        else:
            parts.append(_whole(part))
    return tuple(parts)


def _of_numpy(part: Any) -> Any:
    """A part of an index as numpy takes it."""
    if not isinstance(part, tuple):
        return part
    return slice(*part[1:]) if part[:1] == ("slice",) else np.asarray(part, int)


def _whole(value: Any) -> int:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise Refused
    return int(value)


def _entries(value: Any) -> Any:
    boolean = isinstance(value, np.ndarray | Array) and value.dtype == bool
    return value if value is None or boolean else _index(value)


Entries: TypeAlias = Annotated[
    Any,
    Constraint(
        "an index of the value: whole numbers, slices, or a boolean array",
        "write e.g. np.s_[:, 2], with indices of numpy, not of jax.numpy",
        _entries,
    ),
]


@typed
class Ablate(AbstractIntervention):
    """Entries of the value set to a number: `value[entries] = to`.

    Args:
        entries: An index as numpy takes it, `np.s_[:, 2]`, or a boolean array that broadcasts to
            the value, True where it is ablated. All entries if None.
        to: A number or an array that broadcasts to the ablated entries (to the value, for a
            boolean array), such as the mean over data. At a place that holds whole numbers it must
            be whole.
        mask: `entries`, if they are a boolean array.
        index: `entries`, if they are an index.
        whole: Whether all entries are meant.
    """

    mask: Bool[Array, "..."] | None
    to: Float[Array, "..."]
    index: tuple | None = eqx.field(static=True)
    whole: bool = eqx.field(static=True)

    def __init__(self, entries: Entries = None, to: ArrayLike = 0.0):
        boolean = entries is not None and not isinstance(entries, tuple)
        self.mask = _array(entries) if boolean else None
        self.index = None if boolean else entries
        self.to = _array(to)
        self.whole = known(to) and bool(np.all(np.asarray(to) == np.round(np.asarray(to))))

    def __call__(self, value: Array) -> Array:
        if not self.whole and not _is(value, jnp.inexact):
            raise DeclarationError(
                "to",
                got="a number that is not whole, or not known",
                expected=f"whole numbers for a place that holds {value.dtype}",
                mend="round it, or name the value by bx.tap where it is a float",
            )
        to = self.to.astype(value.dtype)
        if self.mask is not None:
            return jnp.where(_broadcast("Ablate", self.mask, value.shape), to, value)
        index = ... if self.index is None else tuple(map(_of_numpy, self.index))
        try:
            chosen = np.broadcast_to(False, value.shape)[index]
        except IndexError as error:
            raise DeclarationError(
                "entries",
                got=f"an index for which numpy says: {error}",
                expected=f"an index of a value of shape {value.shape}",
                mend="correct the index (bx.taps(model, x) gives the shapes)",
            ) from None
        return value.at[index].set(_broadcast("Ablate", to, chosen.shape))


@typed
class Project(AbstractIntervention):
    """The value without its components in the span of some directions, or only these.

    `x - P x`, or `P x` with `keep`, where P is the orthogonal projector on the span and x the last
    axis of the value.

    Args:
        basis: The directions, `[direction, width]` or one `[width]`, of any lengths and angles.
        keep: Keep the components in the span and remove the others.
    """

    basis: Float[Array, "direction width"]
    keep: bool = eqx.field(static=True)

    def __init__(
        self, basis: Float[Array, "direction width"] | Float[Array, " width"], keep: bool = False
    ):
        self.basis = basis if basis.ndim == 2 else basis[None]
        self.keep = keep

    def __call__(self, value: Inexact[Array, "*axes width"]) -> Inexact[Array, "*axes width"]:
        if value.ndim == 0 or value.shape[-1] != self.basis.shape[1]:
            raise DeclarationError(
                "basis",
                got=f"shape {self.basis.shape} for a value of shape {value.shape}",
                expected="directions as long as the last axis of the value",
                mend="pass an array [direction, width]",
            )
        # decompositions take no half precision
        inverse = jnp.linalg.pinv(self.basis.astype(float)).astype(value.dtype)
        inside = (value @ inverse) @ self.basis.astype(value.dtype)
        return inside if self.keep else value - inside


@typed
class Noise(AbstractSteppedIntervention):
    """Gaussian noise added to a value: `x + s ξ`, ξ standard normal.

    The noise is a function of the key, of the datum and of the value: the model stays a function of
    its datum, and different data have independent noise, also where they give equal values. Equal
    data have equal noise. A datum is what the patched model is called with; called by itself, an
    intervention knows the value alone.

    Args:
        scale: The standard deviation s; with `relative`, in units of the root mean square of the
            value.
        key: A key of jax.random. An ensemble of noisy models has an ensemble of keys.
        relative: Whether the scale is relative.
    """

    scale: Float[Array, ""]
    key: Key
    relative: bool = eqx.field(static=True)

    def __init__(self, scale: NonNegative, *, key: Key, relative: bool = False):
        self.scale = _array(scale)
        self.key = key
        self.relative = relative

    def at_step(self, steps: Steps, shape: tuple[int, ...]) -> "Noise":
        key = self.key
        for number, _ in steps:
            key = jax.random.fold_in(key, number)
        return eqx.tree_at(lambda noise: noise.key, self, key)

    def __call__(self, value: Inexact[Array, "*axes"]) -> Inexact[Array, "*axes"]:
        key = jax.random.fold_in(self.key, _digest(value))
        scale = self.scale.astype(value.dtype)
        if self.relative:
            scale = scale * jnp.sqrt(jnp.mean(jnp.abs(value) ** 2))
        return value + scale * jax.random.normal(key, value.shape, value.dtype)


@typed
class Applied(AbstractIntervention):
    """A function of the value as an intervention.

    Args:
        fn: The function; arrays of a callable pytree are settings.
    """

    fn: Callable

    def __call__(self, value: Array) -> Array:
        return self.fn(value)


def _intervention(value: Any) -> AbstractIntervention:
    if isinstance(value, AbstractIntervention):
        return value
    if isinstance(value, np.ndarray | np.generic | Array | int | float):
        return Replace(value)
    if callable(value) and not isinstance(value, type):
        return Applied(value)
    raise Refused


Intervention: TypeAlias = Annotated[
    Any,
    Constraint(
        "an intervention: bx.Ablate, bx.Replace, bx.Project, bx.Noise, an array or a function",
        "pass e.g. bx.Ablate()",
        _intervention,
    ),
]
"""An intervention; an array stands for `Replace`, a function for itself."""


def for_datum(
    interventions: dict[str, AbstractIntervention], called_with: PyTree
) -> dict[str, AbstractIntervention]:
    """The interventions on a model that is called with a datum; other data have other noise."""
    if not any(isinstance(each, Noise) for each in interventions.values()):
        return interventions
    datum = _digest(called_with)
    return {
        pattern: eqx.tree_at(lambda noise: noise.key, each, jax.random.fold_in(each.key, datum))
        if isinstance(each, Noise)
        else each
        for pattern, each in interventions.items()
    }


def apply(place: str, intervention: AbstractIntervention, value: Array, steps: Steps) -> Array:
    """The value that takes the place of another, of its shape and dtype.

    Raises:
        DeclarationError: For another shape.
    """
    if isinstance(intervention, AbstractSteppedIntervention):
        intervention = intervention.at_step(steps, value.shape)
    new = jnp.asarray(intervention(value))
    kinds = (jnp.complexfloating, jnp.inexact)
    lossy = any(_is(new, kind) and not _is(value, kind) for kind in kinds)
    if new.shape != value.shape or lossy:
        raise DeclarationError(
            f"interventions[{place!r}]",
            got=f"a value of shape {new.shape}, {new.dtype}",
            expected=f"one like that of the place, {value.shape}, {value.dtype}",
            mend="keep the shape and the kind of numbers (bx.taps(model, x) gives them)",
        )
    return new.astype(value.dtype)


def _is(value: Array, kind: Any) -> bool:
    return bool(jnp.issubdtype(value.dtype, kind))


def _array(value: ArrayLike) -> Array:
    """An array of jax, without a program for each shape."""
    return value if isinstance(value, Array) else jax.device_put(np.asarray(value))


def _broadcast(name: str, given: Array, shape: tuple[int, ...]) -> Array:
    try:
        return jnp.broadcast_to(given, shape)
    except ValueError:
        raise DeclarationError(
            name,
            got=f"an array of shape {given.shape}",
            expected=f"one that broadcasts to the entries that it replaces, of shape {shape}",
            mend="pass an array of that shape (bx.taps(model, x) gives that of the value)",
        ) from None


def _digest(values: PyTree) -> Array:
    """A number of 32 bits that depends on all bits of the arrays in a pytree."""
    total = jnp.zeros((), jnp.uint32)
    for i, leaf in enumerate(jax.tree.leaves(eqx.filter(values, eqx.is_array))):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        total += jnp.uint32(2 * i + 1) * _of_array(jax.lax.stop_gradient(leaf))
    return total


def _of_array(value: Array) -> Array:
    parts = (value.real, value.imag) if jnp.iscomplexobj(value) else (value,)
    bits = jnp.concatenate([_bits(part) for part in parts])
    odd = 2 * jnp.arange(math.prod(bits.shape), dtype=jnp.uint32) + 1
    # products by large odd numbers, xor-shifted: neighbouring values differ in all bits
    mixed = bits * (odd * jnp.uint32(0x9E3779B1))
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x85EBCA77)
    return jnp.sum(mixed ^ (mixed >> 13), dtype=jnp.uint32)


def _bits(value: Array) -> Array:
    value = value.astype(jnp.uint8) if value.dtype == bool else value
    width = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}[value.dtype.itemsize]
    return jax.lax.bitcast_convert_type(value, width).astype(jnp.uint32).ravel()
