"""The delta method: slopes of a function where its arguments are estimates."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._errors import DeclarationError, errors_named
from ._tracing import known, library

Leaves = tuple
"""Value, standard error, ess, r_hat and bounds of an estimate, all of one shape."""

FUNCTION = {
    "expected": "a differentiable function of arrays, written with jax.numpy",
    "mend": "use jax.numpy in place of numpy and math; try it on the values first",
}
"""What is said of a function that raises an error (`errors_named`)."""
BLOCK = 2**22
"""Slopes that are computed at once."""


def slopes(fn: Callable, values: Sequence[Array]) -> tuple[Array, list[Array]]:
    """`fn(*values)` of shape `[*out]`, and its slopes by each value, `[*out, *shape]`.

    Raises:
        DeclarationError: For a function that does not give one array of real floating numbers.
    """
    with errors_named("fn", **FUNCTION):
        out, back = jax.vjp(fn, *map(jnp.asarray, values))
    check_array(out)
    xp = library(out)
    units = np.eye(out.size, dtype=out.dtype).reshape(-1, *out.shape)
    step = max(1, BLOCK // max(1, sum(np.size(value) for value in values)))
    blocks = [jax.vmap(back)(jnp.asarray(units[i : i + step])) for i in range(0, out.size, step)]
    shapes = [(*out.shape, *np.shape(value)) for value in values]
    if not blocks:
        return out, [xp.zeros(shape, out.dtype) for shape in shapes]
    columns = zip(*blocks, strict=True)
    whole = [xp.concatenate([xp.asarray(part) for part in parts]) for parts in columns]
    return out, [slope.reshape(shape) for slope, shape in zip(whole, shapes, strict=True)]


def check_array(out: object) -> None:
    """Raise `DeclarationError` for what is not one array of real floating numbers."""
    if not isinstance(out, jax.Array) or not jnp.issubdtype(out.dtype, jnp.floating):
        raise DeclarationError(
            "fn",
            got=f"a function that gives {getattr(out, 'dtype', type(out).__name__)}",
            expected="one array of real floating numbers",
            mend="write it with jax.numpy, as in estimate.map(jnp.log)",
        )


def propagated(fn: Callable, estimates: Sequence[Leaves], bounded: bool) -> Leaves:
    """`fn` of independent estimates, to first order: value, error, ess, r_hat, bounds or None.

    Errors add in squares of slope times error; ess and r_hat are the worst that enter.
    """
    value, by = slopes(fn, [leaves[0] for leaves in estimates])
    xp, parts = library(by, estimates), list(zip(by, estimates, strict=True))
    least = [_among(slope, each[2], xp.min, np.inf) for slope, each in parts]
    most = [_among(slope, each[3], xp.max, -np.inf) for slope, each in parts]
    with np.errstate(invalid="ignore", over="ignore"):  # a limit has no first order
        error = total_length([_length(slope, each[1]) for slope, each in parts])
        bounds = _moved(fn, value, parts) if bounded else None
    ess, r_hat = functools.reduce(xp.minimum, least), functools.reduce(xp.maximum, most)
    return value, error, ess, r_hat, bounds


def entrywise(value: Array, parts: Sequence[tuple[Array, Leaves]], bounded: bool) -> Leaves:
    """A function of independent estimates entry by entry, from its slope by each, to first order.

    Args:
        value: Of the function, `[*shape]`.
        parts: Slope and leaves of each estimate, which broadcast to this shape.
        bounded: Whether to give bounds.
    """
    xp = library(value, parts)

    def size(lengths: Sequence[Array]) -> Array:
        slopes = (slope for slope, _ in parts)
        terms = [xp.where(s == 0, 0.0, s * x) for s, x in zip(slopes, lengths, strict=True)]
        return total_length(terms)

    ess = functools.reduce(xp.minimum, [leaves[2] for _, leaves in parts])
    r_hat = functools.reduce(xp.maximum, [leaves[3] for _, leaves in parts])
    with np.errstate(invalid="ignore", over="ignore"):
        error, bounds = size([leaves[1] for _, leaves in parts]), None
        if bounded:
            gaps = [[abs(xp.asarray(end) - leaves[0]) for end in leaves[-1]] for _, leaves in parts]
            rises = [slope > 0 for slope, _ in parts]
            sides = list(zip(rises, gaps, strict=True))
            below = size([xp.where(rise, down, up) for rise, (down, up) in sides])
            above = size([xp.where(rise, up, down) for rise, (down, up) in sides])
            bounds = (value - below, value + above)
    return value, error, ess, r_hat, bounds


def multiplied(matrix: Array, leaves: Leaves, bounds: tuple | None) -> Leaves:
    """A matrix `[*out, entry]` times an estimate `[entry, *shape]`, with its errors."""
    value, error, ess, r_hat = leaves
    xp = library(matrix, leaves, bounds)

    def times(slopes, numbers):
        return xp.tensordot(slopes, numbers, axes=1)

    used = (matrix != 0).reshape(*matrix.shape, *(1,) * (value.ndim - 1))
    least = xp.min(xp.where(used, ess, np.inf), axis=matrix.ndim - 1)
    most = xp.max(xp.where(used, r_hat, -np.inf), axis=matrix.ndim - 1)
    product = times(matrix, value)
    if bounds is not None:
        low, high = (abs(xp.asarray(end) - value) for end in bounds)
        up, down = xp.maximum(matrix, 0.0), xp.minimum(matrix, 0.0)
        below = total_length([_product_length(up, low), _product_length(down, high)])
        above = total_length([_product_length(up, high), _product_length(down, low)])
        bounds = (product - below, product + above)
    return product, _product_length(matrix, error), least, most, bounds


def total_length(lengths: Sequence[Array]) -> Array:
    """`sqrt(Σ length²)` entry by entry; squares of small errors are 0 in single precision."""
    return abs(functools.reduce(library(*lengths).hypot, lengths))


def _product_length(matrix: Array, lengths: Array) -> Array:
    """`sqrt(matrix² length²)`, a matrix of squares times an array of squares."""
    xp = library(matrix, lengths)
    rise, size = (_unit(abs(each)) for each in (matrix, lengths))
    squares = xp.tensordot((matrix / rise) ** 2, (lengths / size) ** 2, axes=1)
    return rise * size * xp.sqrt(squares)


def _unit(lengths: Array, axes: tuple[int, ...] | None = None) -> Array:
    """The largest length, along axes that are kept or of all; 1 where it is no unit."""
    xp = library(lengths)
    largest = xp.max(lengths, axis=axes, keepdims=axes is not None, initial=0.0)
    return xp.where((largest > 0) & xp.isfinite(largest), largest, 1.0)


def _moved(fn: Callable, value: Array, parts: list) -> tuple[Array, Array]:
    """Bounds of `fn`: its values at the bounds of each entry, or their distances to first order."""
    xp = library(value, parts)
    if len(parts) == 1 and _elementwise(parts[0][0], np.shape(value)):
        ends = [xp.asarray(fn(jnp.asarray(bound))) for bound in parts[0][1][-1]]
        low, high = xp.minimum(*ends), xp.maximum(*ends)
        return xp.minimum(low, value), xp.maximum(high, value)  # if it turns between them
    below, above = [], []
    for slope, leaves in parts:
        low, high = (abs(xp.asarray(end) - leaves[0]) for end in leaves[-1])
        up, down = xp.maximum(slope, 0.0), xp.minimum(slope, 0.0)
        below += [_length(up, low), _length(down, high)]
        above += [_length(up, high), _length(down, low)]
    return xp.asarray(value) - total_length(below), xp.asarray(value) + total_length(above)


def _length(slope: Array, lengths: Array) -> Array:
    """`sqrt(Σ slope² length²)` over the axes of the lengths; a slope of 0 sees no infinity."""
    xp = library(slope, lengths)
    terms = xp.where(slope == 0, 0.0, slope * lengths)
    axes = tuple(range(slope.ndim - np.ndim(lengths), slope.ndim))
    unit = _unit(abs(terms), axes)
    return xp.squeeze(unit, axes) * xp.sqrt(xp.sum((terms / unit) ** 2, axis=axes))


def _among(slope: Array, numbers: Array, worst: Callable, neutral: float) -> Array:
    """The worst of the numbers whose slope is not 0 (of all of them, if every slope is 0)."""
    xp = library(slope, numbers)
    axes = tuple(range(slope.ndim - np.ndim(numbers), slope.ndim))
    used = slope != 0
    used = used | ~xp.any(used, axis=axes, keepdims=True)
    return worst(xp.where(used, numbers, neutral), axis=axes)


def _elementwise(slope: Array, shape: tuple[int, ...]) -> bool:
    """Whether a function is known to take each entry on its own."""
    if slope.shape != 2 * shape or not known(slope):
        return False
    size = int(np.prod(shape))
    return not np.any(np.asarray(slope).reshape(size, size)[~np.eye(size, dtype=bool)])
