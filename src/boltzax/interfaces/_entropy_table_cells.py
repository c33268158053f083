"""Which members of a family contain what a component makes of an interface.

A family distinguishes images only by their *cell*: the set of members that contain the image.
Members with one box for each value contain an image if and only if they contain its hull, so the
cell is found by rounding the ends of the hull outwards to the levels that occur among the members'
bounds. For members that are unions of boxes, every point of the image is compared with every box.

The inputs of all members are cut into pieces that the model sees once: on the line the intervals
between neighbouring ends, else single points. The image of a member is the union of the images of
its pieces. So images of nested members are nested, for every model.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..compile import Gibbs
from ..core import Model, map_within
from ..declare import Component, Contract, Family, Interface

WORK = 1 << 22
"""Bytes of intermediate values of one part of the draws: about the size of a cache."""

MOST_CELLS = 1 << 20
"""Most cells that are numbered by levels; beyond, each draw is compared with every member."""


class Levels(eqx.Module):
    """The bounds of members of one box, as ranks among those that occur.

    Bounds are -lower and upper: a larger one is a wider box. `sizes` counts the levels of each
    `[value, side, dim]`, and `stride` numbers their combinations.
    """

    levels: Float[Array, "value side dim level"]
    rank: Int[Array, "after value side dim"]
    sizes: Int[Array, "value side dim"]
    stride: Int[Array, "value side dim"]
    cells: float = eqx.field(static=True)

    def __init__(self, after: Family):
        bounds = np.stack([-np.asarray(after.lower)[:, :, 0], np.asarray(after.upper)[:, :, 0]], 2)
        columns = bounds.reshape(len(after), -1).T
        levels = [np.unique(column) for column in columns]
        sizes = np.array([len(each) for each in levels])
        padded = np.full((len(levels), sizes.max()), np.inf, bounds.dtype)
        for place, each in enumerate(levels):
            padded[place, : len(each)] = each
        ranks = [np.searchsorted(each, b) for each, b in zip(levels, columns, strict=True)]
        shape, self.cells = bounds.shape[1:], float(np.prod(sizes.astype(float)))
        stride = np.cumprod(np.append(1, sizes[:0:-1]) if self.cells <= MOST_CELLS else 0 * sizes)
        self.levels = jax.device_put(padded.reshape(*shape, -1))
        self.rank = jax.device_put(np.stack(ranks, axis=1).reshape(-1, *shape))
        self.sizes, self.stride = (
            jax.device_put(each.reshape(shape)) for each in (sizes, stride[::-1])
        )

    def contains(self, cells: np.ndarray) -> Bool[np.ndarray, "cell after"]:
        """Whether each member contains the images of each cell. No member contains the last one."""
        sizes, stride, rank = (np.asarray(x) for x in (self.sizes, self.stride, self.rank))
        contains = np.repeat((cells < self.cells)[:, None], len(rank), axis=1)
        for place in np.ndindex(sizes.shape):
            level = cells // stride[place] % sizes[place]
            contains &= level[:, None] <= rank[:, *place]
        return contains


class Containment(eqx.Module):
    """Which members after a component contain its images of the members before it.

    A source is a box of some member before, with the row of the output that it must become. It is
    a union of pieces; a member is a union of sources (padded with -1).
    """

    points: Float[Array, "piece point dim"]
    covers: Bool[Array, "source piece"]
    row: Int[Array, " source"]
    sources: Int[Array, "before entry"]
    after: Family
    levels: Levels | None

    def __init__(self, component: Component, before: Family, after: Family, points: int):
        rows = Contract(component, before[0], after[0], points=points).rows
        grid, covers, row, sources = _inputs(before, rows, points)
        self.points = jnp.asarray(grid, before.lower.dtype)
        self.covers, self.row, self.sources = map(jax.device_put, (covers, row, sources))
        self.after, self.levels = after, Levels(after) if after.single else None

    def kept(self, model: Model) -> Bool[Array, "before after"]:
        """Whether the model takes each member before it into each one after it.

        An image with a number that is not finite is contained in no member.
        """
        image = self._image(model)
        if self.levels is not None:
            return jnp.all(self._places(image)[:, None] <= self.levels.rank, axis=(2, 3, 4))
        y = image[:, :, None, None, None]  # piece point 1 1 1 dim
        inside = (y >= self.after.lower) & (y <= self.after.upper) & jnp.isfinite(y)
        inside = jnp.any(jnp.all(inside, axis=-1), axis=-1).all(1)  # piece member value
        inside = jnp.moveaxis(inside, 2, 0)[self.row]  # source piece member
        ok = jnp.where(self.covers[:, :, None], inside, True).all(1)  # source member
        return jnp.concatenate([ok, jnp.ones((1, ok.shape[1]), bool)])[self.sources].all(1)

    def cell(self, model: Model) -> Array:
        """The cell of each member: by its number `[before]`, or by its bits `[before, byte]`."""
        if self.levels is None or self.levels.cells > MOST_CELLS:
            return jnp.packbits(self.kept(model), axis=-1)
        places = self._places(self._image(model))
        beyond = jnp.any(places >= self.levels.sizes, axis=(1, 2, 3))
        index = jnp.sum(places * self.levels.stride, axis=(1, 2, 3))
        return jnp.where(beyond, round(self.levels.cells), index).astype(jnp.int32)

    def _image(self, model: Model) -> Float[Array, "piece point dim"]:
        images = jax.vmap(jax.vmap(model))(self.points)
        return images.reshape(*self.points.shape[:2], -1)

    def _places(self, image: Array) -> Int[Array, "before value side dim"]:
        """The first levels that are wide enough for the image of each member."""
        assert self.levels is not None
        levels = self.levels.levels
        sides = jnp.stack([-image, image], axis=2).max(1)  # [piece, side, dim]
        sides = jnp.where(self.covers[:, :, None, None], sides, -jnp.inf).max(1)
        place = jnp.sum(levels[self.row] < sides[..., None], axis=-1)  # [source, side, dim]
        wrong = jnp.any(self.covers & ~jnp.isfinite(image).all((1, 2)), axis=1)
        place = jnp.where(wrong[:, None, None], levels.shape[-1], place)
        place = jnp.concatenate([place, jnp.zeros((1, *place.shape[1:]), place.dtype)])
        row = jnp.concatenate([self.row, jnp.full(1, -1, self.row.dtype)])[self.sources]
        mine = row == jnp.arange(levels.shape[0])[:, None, None]  # [value, before, entry]
        mine = jnp.where(mine[..., None, None], place[self.sources], 0).max(2)
        return jnp.moveaxis(mine, 0, 1)


def cells(
    gibbs: Gibbs, containment: Containment, keys: PRNGKeyArray
) -> tuple[np.ndarray, np.ndarray]:
    """The cell of each member and prior draw, `[before, draw]`, and who contains each cell."""
    raw = np.asarray(_cells(gibbs, containment, keys))
    if raw.ndim == 2:
        assert containment.levels is not None
        count = round(containment.levels.cells) + 1
        present = np.flatnonzero(np.bincount(raw.ravel(), minlength=count))
        rename = np.zeros(count, np.int32)
        rename[present] = np.arange(len(present))
        return rename[raw.T], containment.levels.contains(present)
    rows = np.ascontiguousarray(raw)  # [draw, before, byte]
    names, where = np.unique(rows.reshape(-1).view(f"V{rows.shape[-1]}"), return_inverse=True)
    bits = names.view(np.uint8).reshape(len(names), -1)
    contains = np.unpackbits(bits, axis=1, count=len(containment.after)).astype(bool)
    return where.reshape(raw.shape[:2]).T.astype(np.int32), contains


@eqx.filter_jit
def _cells(gibbs: Gibbs, containment: Containment, keys: PRNGKeyArray) -> Array:
    return map_within(
        lambda key: containment.cell(gibbs.model(gibbs.sample_prior(key))), keys, WORK
    )


def _inputs(before: Family, rows: tuple[int, ...], points: int) -> tuple[Any, ...]:
    """The pieces of the inputs of a family, `points` values of x in each interval of the line."""
    low, high = (np.asarray(b, float) for b in (before.lower, before.upper))
    count, values, boxes, dim = low.shape
    row = np.broadcast_to(np.asarray(rows, float)[None, :, None, None], (*low.shape[:3], 1))
    flat = np.concatenate([row, low, high], axis=-1).reshape(-1, 1 + 2 * dim)
    full = (flat[:, 1 : 1 + dim] <= flat[:, 1 + dim :]).all(-1)
    kinds, where = np.unique(flat[full], axis=0, return_inverse=True)
    sources = np.full(len(flat), -1)
    sources[full] = where.ravel()
    low, high = kinds[:, 1 : 1 + dim], kinds[:, 1 + dim :]
    if len(kinds) == 0:
        grid, covers = np.zeros((1, 1, dim)), np.zeros((0, 1), bool)
    elif dim == 1:
        grid, covers = _segments(low, high, points)
    else:
        grid = np.unique(np.asarray(_cover(low, high, points)).reshape(-1, 1, dim), axis=0)
        covers = ((grid[:, 0] >= low[:, None]) & (grid[:, 0] <= high[:, None])).all(-1)
    return grid, covers, kinds[:, 0].astype(int), sources.reshape(count, values * boxes)


def _segments(low: np.ndarray, high: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """The intervals between neighbouring ends, and the ends of boxes that are single points."""
    ends = np.unique(np.concatenate([low, high]))
    alone = np.unique(low[low == high])
    starts, stops = (np.concatenate([e, alone]) for e in (ends[:-1], ends[1:]))
    covers = (starts >= low) & (stops <= high)
    used = covers.any(0)
    return np.asarray(_cover(starts[used, None], stops[used, None], points)), covers[:, used]


@eqx.filter_jit
def _cover(low: Any, high: Any, points: int) -> Array:
    """The points that `Interface.points` looks at in each box, `[box, point, dim]`."""
    low, high = jnp.asarray(low, float), jnp.asarray(high, float)
    return Interface(range(len(low)), low[:, None], high[:, None]).points(points)
