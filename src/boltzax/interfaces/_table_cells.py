"""Which members of a family contain what a drawn component makes of an interface.

Of an image only this matters: the set of members that contain it, its *cell*. Two draws in one cell
cannot be told apart by the family. Members of one box a value contain an image if and only if they
contain its hull, so the cell is found by rounding the ends of the hull outwards to the levels that
occur among the members' bounds. Members that are unions of boxes are asked point by point.

The inputs of all members are cut into pieces that the model sees once: on the line the intervals
between neighbouring ends, else single points. A member's image is that of its pieces; so images of
nested members are nested, draw by draw.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from ..compile import Gibbs
from ..declare import Family, Interface

WORK = 1 << 18
"""Numbers held for one piece of the draws (times the width of the model)."""

MOST_CELLS = 1 << 20
"""Rounded images up to which the levels are used; beyond, each draw asks every member."""


class Inputs(NamedTuple):
    """Points to look at, and what of them makes up each member.

    A source is a box of some member with the row of the output that it must become.
    """

    points: Array  # [piece, point, dim]
    covers: np.ndarray  # [source, piece]: the piece lies in the box of the source
    row: np.ndarray  # [source]: value of the output
    sources: np.ndarray  # [member, entry]: the sources of a member, filled up with -1


def inputs(before: Family, rows: tuple[int, ...], points: int) -> Inputs:
    """Cut the inputs of a family into pieces, `points` values of x in each interval of the line."""
    low, high = (np.asarray(b, float) for b in (before.lower, before.upper))
    count, values, boxes, dim = low.shape
    row = np.broadcast_to(np.asarray(rows, float)[None, :, None, None], (*low.shape[:3], 1))
    flat = np.concatenate([row, low, high], axis=-1).reshape(-1, 1 + 2 * dim)
    empty = (flat[:, 1 : 1 + dim] > flat[:, 1 + dim :]).any(-1)
    kinds, where = np.unique(flat[~empty], axis=0, return_inverse=True)
    sources = np.full(len(flat), -1)
    sources[~empty] = where.ravel()
    low, high = kinds[:, 1 : 1 + dim], kinds[:, 1 + dim :]
    if len(kinds) == 0:
        grid, covers = np.zeros((1, 1, dim)), np.zeros((0, 1), bool)
    elif dim == 1:
        grid, covers = _segments(low, high, points)
    else:
        grid = np.asarray(_cover(low, high, points)).reshape(-1, 1, dim)
        grid = np.unique(grid, axis=0)
        covers = ((grid[:, 0] >= low[:, None]) & (grid[:, 0] <= high[:, None])).all(-1)
    return Inputs(
        jnp.asarray(grid, before.lower.dtype),
        covers,
        kinds[:, 0].astype(int),
        sources.reshape(count, values * boxes),
    )


def _segments(low: np.ndarray, high: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """The intervals between neighbouring ends, and the ends of boxes that are single points."""
    ends = np.unique(np.concatenate([low, high]))
    starts, stops = ends[:-1], ends[1:]
    alone = np.unique(low[low == high])
    starts, stops = np.concatenate([starts, alone]), np.concatenate([stops, alone])
    covers = (starts >= low) & (stops <= high)
    used = covers.any(0)
    grid = _cover(starts[used, None], stops[used, None], points)
    return np.asarray(grid), covers[:, used]


@eqx.filter_jit
def _cover(low: Any, high: Any, points: int) -> Array:
    """The points that `Interface.points` looks at in each box, `[box, point, dim]`."""
    low, high = jnp.asarray(low, float), jnp.asarray(high, float)
    return Interface(range(len(low)), low[:, None], high[:, None]).points(points)


def cells(
    gibbs: Gibbs, given: Inputs, after: Family, keys: PRNGKeyArray
) -> tuple[np.ndarray, np.ndarray]:
    """The cell of each member and draw, `[before, draw]`, and who contains each, `[cell, after]`.

    An image with a number that is not finite is contained in no member.
    """
    found = _by_levels(gibbs, given, after, keys) if after.single else None
    return _by_points(gibbs, given, after, keys) if found is None else found


def _by_levels(
    gibbs: Gibbs, given: Inputs, after: Family, keys: PRNGKeyArray
) -> tuple[np.ndarray, np.ndarray] | None:
    """By the hulls; None if the levels make too many cells."""
    # bounds as -lower and upper: a larger one is a wider box
    bounds = np.stack([-np.asarray(after.lower)[:, :, 0], np.asarray(after.upper)[:, :, 0]], 2)
    bounds = bounds.reshape(len(after), -1)  # [member, value * side * dim]
    levels = [np.unique(column) for column in bounds.T]
    sizes = np.array([len(each) for each in levels])
    if np.prod(sizes.astype(float)) > MOST_CELLS:
        return None
    padded = np.full((len(levels), sizes.max()), np.inf)
    for place, each in enumerate(levels):
        padded[place, : len(each)] = each
    shape = (len(after.values), 2, after.dim)
    stride = np.concatenate([np.cumprod(sizes[::-1])[::-1][1:], [1]])
    outside = int(np.prod(sizes))
    work = given.points.shape[0] * given.points.shape[1] + given.sources.shape[0] * len(sizes)
    indices = _level_cells(
        gibbs,
        given.points,
        jnp.asarray(given.covers),
        jnp.asarray(given.row),
        jnp.asarray(given.sources),
        jnp.asarray(padded, after.lower.dtype).reshape(*shape, -1),
        jnp.asarray(sizes).reshape(shape),
        jnp.asarray(stride).reshape(shape),
        keys,
        batch=max(1, min(len(keys), WORK // work)),
    )
    raw = np.asarray(indices)
    present = np.flatnonzero(np.bincount(raw.ravel(), minlength=outside + 1))
    rename = np.zeros(outside + 1, np.int32)
    rename[present] = np.arange(len(present))
    ranks = np.stack([np.searchsorted(each, b) for each, b in zip(levels, bounds.T, strict=True)])
    contains = np.repeat((present < outside)[:, None], len(after), axis=1)
    for size, step, rank in zip(sizes, stride, ranks, strict=True):
        contains &= (present // step % size)[:, None] <= rank
    return rename[raw], contains


@eqx.filter_jit
def _level_cells(
    gibbs, points, covers, row, sources, levels, sizes, stride, keys, *, batch
) -> Int[Array, "before draw"]:
    values = levels.shape[0]

    def one(key):
        image = _image(gibbs, points, key)  # [piece, point, dim]
        sides = jnp.stack([-image, image], axis=2).max(1)  # [piece, side, dim]
        sides = jnp.where(covers[:, :, None, None], sides, -jnp.inf).max(1)  # [source, side, dim]
        # the first level that is wide enough; an image that is not finite is beyond all
        place = jnp.sum(levels[row] < sides[..., None], axis=-1)
        wrong = jnp.any(covers & ~jnp.isfinite(image).all((1, 2)), axis=1)
        place = jnp.where(wrong[:, None, None], levels.shape[-1], place)
        place = jnp.concatenate([place, jnp.zeros((1, *place.shape[1:]), place.dtype)])
        rows = jnp.concatenate([row, jnp.full(1, -1, row.dtype)])
        mine = jnp.where(
            (rows[sources] == jnp.arange(values)[:, None, None])[..., None, None],
            place[sources],
            0,
        ).max(2)  # [value, member, side, dim]
        mine = jnp.moveaxis(mine, 0, 1)
        beyond = jnp.any(mine >= sizes, axis=(1, 2, 3))
        index = jnp.sum(mine * stride, axis=(1, 2, 3))
        return jnp.where(beyond, jnp.prod(sizes), index).astype(jnp.int32)

    return _in_pieces(one, keys, batch).T


def _by_points(
    gibbs: Gibbs, given: Inputs, after: Family, keys: PRNGKeyArray
) -> tuple[np.ndarray, np.ndarray]:
    """By every point and every member; a cell is a set of members that occurs."""
    work = given.points.shape[0] * given.points.shape[1] * after.lower.size
    work = max(work, given.covers.size * len(after), given.sources.size * len(after))
    packed = _point_cells(
        gibbs,
        given.points,
        jnp.asarray(given.covers),
        jnp.asarray(given.row),
        jnp.asarray(given.sources),
        after.lower,
        after.upper,
        keys,
        batch=max(1, min(len(keys), WORK // work)),
    )
    rows = np.ascontiguousarray(np.asarray(packed))  # [draw, before, byte]
    draws, count, width = rows.shape
    names, where = np.unique(rows.reshape(-1).view(f"V{width}"), return_inverse=True)
    bits = np.unpackbits(names.view(np.uint8).reshape(-1, width), axis=1, count=len(after))
    return where.reshape(draws, count).T.astype(np.int32), bits.astype(bool)


@eqx.filter_jit
def _point_cells(gibbs, points, covers, row, sources, lower, upper, keys, *, batch):
    def one(key):
        y = _image(gibbs, points, key)[:, :, None, None, None]  # piece point 1 1 1 dim
        inside = (y >= lower) & (y <= upper) & jnp.isfinite(y)
        inside = jnp.all(inside, axis=-1)  # piece point member value box
        inside = jnp.any(inside, axis=-1).all(1)  # piece member value
        inside = jnp.moveaxis(inside, 2, 0)[row]  # source piece member
        ok = jnp.where(covers[:, :, None], inside, True).all(1)  # source member
        ok = jnp.concatenate([ok, jnp.ones((1, ok.shape[1]), bool)])
        return jnp.packbits(ok[sources].all(1), axis=-1)  # before, byte

    return _in_pieces(one, keys, batch)


def _in_pieces(one: Callable, keys: PRNGKeyArray, batch: int) -> Array:
    """`one` of every key, `batch` at a time; the last piece is filled up, to compile one size."""
    count = len(keys)
    pieces = -(-count // batch)
    full = keys[jnp.arange(pieces * batch) % count].reshape(pieces, batch)
    found = jax.lax.map(jax.vmap(one), full)
    return found.reshape(pieces * batch, *found.shape[2:])[:count]


def _image(gibbs: Gibbs, points: Array, key: PRNGKeyArray) -> Array:
    """What one prior draw makes of the points, `[piece, point, dim]`."""
    model = gibbs.model(gibbs.sample_prior(key))
    return jax.vmap(jax.vmap(model))(points).reshape(*points.shape[:2], -1)
