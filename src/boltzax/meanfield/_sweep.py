"""Sweeps: a family of loops or of self-consistent fields, followed up and down."""

from collections.abc import Callable
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..core import (
    Count,
    Curve,
    DeclarationError,
    Estimate,
    Key,
    Positive,
    Status,
    raise_if_failed,
    scalar,
    text_of_values,
    typed,
)
from ..numerics import search
from ._order_parameters import Loop, check_order, corners, goal_of, landed
from ._phases import distinct, radii
from ._self_consistency import SelfConsistency
from ._solve import FixedPoint, solve
from ._spinodal import Jumps, find_jumps

APART = 1e-6
"""Two places are one if they are nearer than this part of the box."""


class Hysteresis(eqx.Enumeration):
    """Whether the sweeps up and down differ, and why."""

    none = "The sweeps up and down agree."
    true = "True hysteresis: several stable phases exist where the two sweeps differ."
    kinetic = (
        "Kinetic hysteresis: the sweeps differ where one stable phase exists, so the loop did not "
        "settle. Allow more steps."
    )


@typed
class Sweep(eqx.Module):
    """Fixed points of a family, followed up and then down along its parameter.

    Args:
        rising: What was observed on the way up (the place itself, if nothing else was asked for), a
            curve over the values `[step, out]`.
        falling: The same on the way down, over the same values.
        differs: Where the two are apart.
        settled: Whether the loop settled within its steps, on the way up and down.
        stable: Number of stable phases found at each value.
        jumps_up: Ends of the branches that were followed upwards.
        jumps_down: The same downwards.
        hysteresis: A `Hysteresis`.
        status: What became of the run.
    """

    rising: Curve
    falling: Curve
    differs: Bool[Array, " step"]
    settled: Bool[Array, "2 step"]
    stable: Int[Array, " step"]
    jumps_up: Jumps
    jumps_down: Jumps
    hysteresis: Hysteresis
    status: Status

    @property
    def values(self) -> Float[Array, " step"]:
        """Of the parameter, rising."""
        return self.rising.x

    @property
    def up(self) -> Float[Array, "step out"]:
        """What was observed on the way up."""
        return self.rising.value

    @property
    def down(self) -> Float[Array, "step out"]:
        """What was observed on the way down, in the order of `values`."""
        return self.falling.value

    @property
    def area(self) -> Float[Array, " out"]:
        """Area of the hysteresis, `∫ (down - up) dvalue` by the trapezoid rule."""
        return jnp.trapezoid(self.down - self.up, self.values, axis=0)

    @text_of_values
    def __repr__(self) -> str:
        low, high = float(self.values[0]), float(self.values[-1])
        area = ", ".join(f"{x:.4g}" for x in np.asarray(self.area)[:6])
        return (
            f"Sweep of {len(self.values)} values from {low:g} to {high:g}: up to "
            f"{int(jnp.max(self.stable))} stable phases, area {area}\n  "
            f"jumps up at {self.jumps_up!r}, down at {self.jumps_down!r}\n  "
            f"{Hysteresis[self.hysteresis]}\n  {Status[self.status]}"
        )


@typed
def sweep(
    make: Callable,
    values: Float[Array, " step"],
    *,
    key: Key,
    observe: Callable | None = None,
    starts: Count = 16,
    damping: Annotated[float, scalar(0, 1, open_low=True)] = 1.0,
    tolerance: Positive | None = None,
    steps: Count = 100_000,
    throw: bool = True,
) -> Sweep:
    """Follow a family of loops, or of self-consistent fields, up and down along a parameter.

    A `Loop` starts in the bottom corner of its box at the first value; at each next value it starts
    where it was. A `SelfConsistency` is solved from the field before; its fixed point is unique, so
    that it has one phase and no jumps.

    Args:
        make: Value -> `Loop` (traced: written with `jax.numpy`) or `SelfConsistency`. Every loop of
            a family has the same dimension, box and kind.
        values: Rising.
        key: Of the starts from which phases are looked for at each value.
        observe: Of a place `[dim]` (default: itself), or of a `FixedPoint` (default: its loss).
        starts: At each value, if the loop is not cooperative; one that is starts at both corners.
        damping: Of the loop's step, in (0, 1].
        tolerance: Of the residual, as in `fixed_points` and `solve`.
        steps: Most steps at one value; few of them show what a loop does that has no time.
        throw: Raise `RunError` where a value did not settle; else look at `settled` and `status`.

    Raises:
        DeclarationError: Values that do not rise, a `make` that makes something else, a kind that
            the update contradicts at either end.
    """
    host = np.asarray(values)
    if len(host) < 2 or not np.all(np.diff(host) > 0):
        raise DeclarationError(
            "values", got=f"{host}", expected="two or more rising numbers", mend="sort them"
        )
    first = make(values[0])
    if isinstance(first, SelfConsistency):
        result = _problems(make, values, observe, tolerance, steps)
    elif isinstance(first, Loop):
        keys = jax.random.split(key, 3)
        for k, end in zip(keys, (first, make(values[-1])), strict=False):
            check_order(end, k)
        result = _loops(make, values, first, keys[2], observe, starts, damping, tolerance, steps)
    else:
        raise DeclarationError(
            "make",
            got=f"a {type(first).__name__}",
            expected="a Loop or a SelfConsistency",
            mend="give back one of them for each value",
        )
    return raise_if_failed(result, result.status, throw)


def _swept(values, up, down, settled, differs, stable, jumps) -> Sweep:
    several = Hysteresis.where(jnp.any(differs & (stable > 1)), Hysteresis.true, Hysteresis.kinetic)
    rising, falling = (Curve(values, Estimate.exact(y), axis="parameter") for y in (up, down))
    return Sweep(
        rising=rising,
        falling=falling,
        differs=differs,
        settled=settled,
        stable=stable,
        jumps_up=jumps[0],
        jumps_down=jumps[1],
        hysteresis=Hysteresis.where(jnp.any(differs), several, Hysteresis.none),
        status=Status.where(jnp.all(settled), Status.successful, Status.not_converged),
    )


def _loops(make, values, first, key, observe, starts, damping, tolerance, steps) -> Sweep:
    goal, side = goal_of(first, tolerance), first.side
    # the loop itself to here, Newton's method from there
    rough = jnp.maximum(goal, jnp.asarray(1e-9 * side, goal.dtype))
    how = (rough, steps, jnp.asarray(damping, goal.dtype))
    up, counts_up = _follow(make, values, first.lower, *how)
    down, counts_down = _follow(make, values[::-1], up[-1], *how)
    ways = ((values, up, counts_up), (values[::-1], down, counts_down))
    jumps = [find_jumps(make, *way[:2], way[2] < steps, side, how) for way in ways]
    down, counts_down = down[::-1], counts_down[::-1]
    stable = _count_stable(make, values, jnp.stack([up, down], 1), key, goal, starts, side)
    settled = jnp.stack([counts_up, counts_down]) < steps
    differs = jnp.max(jnp.abs(up - down), axis=1) > APART * side
    if observe is not None:
        up, down = (jax.vmap(lambda m: jnp.atleast_1d(observe(m)))(m) for m in (up, down))
    return _swept(values, up, down, settled, differs, stable, jumps)


@eqx.filter_jit
def _follow(make, values, start, goal, steps, damping):
    """Places along the values, each from the one before, and the steps taken."""

    def at(m, value):
        loop = make(value)
        reach = 1e-3 * jnp.max(loop.upper - loop.lower)
        m, count = landed(loop.update, m, goal, steps, damping, reach)
        return m, (m, count)

    return jax.lax.scan(at, start, values)[1]


@eqx.filter_jit
def _candidates(make, values, followed, key, goal, starts: int):
    """Places that may be phases at each value, and the Jacobians there."""

    def at(value, here, key):
        loop = make(value)
        if loop.kind == "cooperative":
            found, _ = corners(loop, goal, 100_000)
        else:
            u = jax.random.uniform(key, (starts, loop.lower.size), loop.lower.dtype)
            found = search(loop.update, loop.lower + u * (loop.upper - loop.lower))
        places = jnp.concatenate([here, found])
        good = (jax.vmap(loop.residual)(places) <= goal) & jax.vmap(loop.holds)(places)
        return places, good, jax.vmap(jax.jacfwd(loop.update))(places)

    return jax.vmap(at)(values, followed, jax.random.split(key, len(values)))


def _count_stable(make, values, followed, key, goal, starts, side) -> Array:
    found = _candidates(make, values, followed, key, goal, starts)
    counts = []
    for places, good, jacobians in zip(*map(np.asarray, found), strict=True):
        calm = good & np.all(np.isfinite(jacobians), axis=(1, 2))
        calm[calm] = radii(jacobians[calm]) < 1
        kept, _ = distinct(
            places[calm],
            np.zeros(int(calm.sum())),
            lambda a, b: bool(np.max(np.abs(a - b)) <= APART * side),
        )
        counts.append(len(kept))
    return jnp.asarray(counts, int)


def _problems(make, values, observe, tolerance, steps) -> Sweep:
    def way(values, nodes, before=None) -> list[FixedPoint]:
        """Solved one after the other, each from the field before."""
        points = []
        for value, cumulant in zip(values, nodes, strict=True):
            known = before is not None and bool(jnp.all(jnp.isfinite(before.field)))
            before = solve(
                make(value), cumulant=cumulant, start=before if known else None, replicates=0,
                refinements=3 if cumulant is None else 0, tolerance=tolerance, steps=steps,
                throw=False,
            )  # fmt: skip
            points.append(before)
        return points

    upwards = way(values, [None] * len(values))
    # down on the nodes that were drawn on the way up: the ways differ in their starts alone
    nodes = [None if point.law is None else point.law.nodes for point in upwards[::-1]]
    downwards = way(values[::-1], nodes, upwards[-1])[::-1]
    look = _loss if observe is None else observe
    up, down = (
        jnp.asarray(np.stack([np.atleast_1d(np.asarray(look(point))) for point in points]))
        for points in (upwards, downwards)
    )
    settled = jnp.asarray(
        [[bool(p.status == Status.successful) for p in way] for way in (upwards, downwards)]
    )
    scale = jnp.max(jnp.abs(up), axis=0) + 1e-300
    coarse = 1e-6 if up.dtype == jnp.float64 else 1e-3
    differs = jnp.any(jnp.abs(up - down) > coarse * scale, axis=1)
    none = Jumps.none(up.shape[1])
    return _swept(values, up, down, settled, differs, jnp.ones(len(values), int), (none, none))


def _loss(point: FixedPoint) -> Array:
    return point.loss
