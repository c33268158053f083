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
    DeclarationError,
    Key,
    Positive,
    Status,
    checked,
    scalar,
    text_of_values,
    typed,
)
from ..numerics import polish, search, settle
from ._loop import Loop, check_order, corners
from ._phases import distinct, radii
from ._problem import SelfConsistency
from ._solve import FixedPoint, solve
from ._spinodal import Jumps, find_jumps

APART = 1e-6
"""Two places are one if they are nearer than this part of the box."""


class Hysteresis(eqx.Enumeration):
    """Whether the ways up and down differ, and why."""

    none = "The ways up and down agree."
    true = "True hysteresis: several stable phases exist where the ways differ."
    kinetic = (
        "Kinetic hysteresis: the ways differ where one stable phase exists, so that the loop had "
        "not settled. Allow more steps."
    )


@typed
class Sweep(eqx.Module):
    """A family followed up, and then down from where it came to.

    - `values` `[step]`; `up`, `down` `[step, out]`: what was observed (the place itself, if nothing
      else was asked for), both in the order of `values`.
    - `settled` `[2, step]`: whether the loop settled within its steps, on the way up and down.
    - `stable` `[step]`: how many stable phases were found at each value.
    - `jumps_up`, `jumps_down`: where the branch ended that was followed, and where it led.
    - `hysteresis`: a `Hysteresis`; `status`.
    """

    values: Float[Array, " step"]
    up: Float[Array, "step out"]
    down: Float[Array, "step out"]
    differs: Bool[Array, " step"]
    settled: Bool[Array, "2 step"]
    stable: Int[Array, " step"]
    jumps_up: Jumps
    jumps_down: Jumps
    hysteresis: Hysteresis
    status: Status

    @property
    def area(self) -> Float[Array, " out"]:
        """Area of the hysteresis, `∫ (down - up) dvalue` by the trapezoid rule."""
        return jnp.trapezoid(self.down - self.up, self.values, axis=0)

    @text_of_values
    def __repr__(self) -> str:
        low, high = float(self.values[0]), float(self.values[-1])
        area = ", ".join(f"{x:.4g}" for x in np.asarray(self.area)[:6])
        return "\n  ".join(
            [
                f"Sweep of {len(self.values)} values from {low:g} to {high:g}: up to "
                f"{int(jnp.max(self.stable))} stable phases, area {area}",
                f"jumps up at {self.jumps_up!r}, down at {self.jumps_down!r}",
                Hysteresis[self.hysteresis],
                Status[self.status],
            ]
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
    return checked(result, result.status, throw)


def _loops(make, values, first, key, observe, starts, damping, tolerance, steps) -> Sweep:
    side = float(jnp.max(first.upper - first.lower))
    if tolerance is None:
        tolerance = 1e-12 if first.lower.dtype == jnp.float64 else 1e-5
    goal = jnp.asarray(tolerance * side, first.lower.dtype)
    speed = jnp.asarray(damping, first.lower.dtype)
    # the loop itself to here, Newton's method from there
    rough = jnp.maximum(goal, jnp.asarray(1e-9 * side, goal.dtype))
    up, counts_up = _follow(make, values, first.lower, rough, steps, speed)
    down, counts_down = _follow(make, values[::-1], up[-1], rough, steps, speed)
    ways = ((values, up, counts_up), (values[::-1], down, counts_down))
    jumps = [
        find_jumps(make, line, places, counts < steps, side, (rough, steps, speed))
        for line, places, counts in ways
    ]
    down, counts_down = down[::-1], counts_down[::-1]
    phases = _count_stable(make, values, jnp.stack([up, down], 1), key, goal, starts, side)
    settled = jnp.stack([counts_up, counts_down]) < steps
    differs = jnp.max(jnp.abs(up - down), axis=1) > APART * side
    several = bool(jnp.any(differs & (phases > 1)))
    name = Hysteresis.where(several, Hysteresis.true, Hysteresis.kinetic)
    if observe is not None:
        up, down = (jax.vmap(lambda m: jnp.atleast_1d(observe(m)))(m) for m in (up, down))
    return Sweep(
        values=values,
        up=up,
        down=down,
        differs=differs,
        settled=settled,
        stable=phases,
        jumps_up=jumps[0],
        jumps_down=jumps[1],
        hysteresis=Hysteresis.where(jnp.any(differs), name, Hysteresis.none),
        status=Status.where(jnp.all(settled), Status.successful, Status.not_converged),
    )


@eqx.filter_jit
def _follow(make, values, start, goal, steps, damping):
    """Places along the values, each from the one before, and the steps taken."""

    def at(m, value):
        loop = make(value)
        m, count = settle(loop.update, m, goal, steps, damping)
        reach = jnp.where(count < steps, 1e-3 * jnp.max(loop.upper - loop.lower), -1.0)
        m = polish(loop.update, m, reach)
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
        kept, _ = distinct(places[calm], np.zeros(int(calm.sum())), _near(APART * side))
        counts.append(len(kept))
    return jnp.asarray(counts, int)


def _near(distance: float) -> Callable[[np.ndarray, np.ndarray], bool]:
    return lambda a, b: bool(np.max(np.abs(a - b)) <= distance)


def _problems(make, values, observe, tolerance, steps) -> Sweep:
    look = _loss if observe is None else observe
    points: list[FixedPoint] = []
    line, before = [], None
    for value in values:
        before = solve(
            make(value), start=before, replicates=0, tolerance=tolerance, steps=steps, throw=False
        )
        points.append(before)
        before = before if bool(jnp.all(jnp.isfinite(before.field))) else None
    line.append(points)
    # down on the nodes that were drawn on the way up: the ways differ in their starts alone
    line.append([])
    for value, point in zip(values[::-1], points[::-1], strict=True):
        nodes = None if point.law is None else point.law.nodes
        before = solve(
            make(value), cumulant=nodes, start=before, refinements=0, tolerance=tolerance,
            steps=steps, throw=False,
        )  # fmt: skip
        line[1].append(before)
        before = before if bool(jnp.all(jnp.isfinite(before.field))) else None
    settled = [[bool(p.status == Status.successful) for p in way] for way in line]
    line = [[np.atleast_1d(np.asarray(look(p))) for p in way] for way in line]
    up, down = jnp.asarray(np.stack(line[0])), jnp.asarray(np.stack(line[1][::-1]))
    scale = jnp.max(jnp.abs(up), axis=0) + 1e-300
    coarse = 1e-6 if up.dtype == jnp.float64 else 1e-3
    differs = jnp.any(jnp.abs(up - down) > coarse * scale, axis=1)
    calm = jnp.asarray([settled[0], settled[1][::-1]])
    return Sweep(
        values=values,
        up=up,
        down=down,
        differs=differs,
        settled=calm,
        stable=jnp.ones(len(values), int),
        jumps_up=Jumps.none(up.shape[1]),
        jumps_down=Jumps.none(up.shape[1]),
        hysteresis=Hysteresis.where(jnp.any(differs), Hysteresis.kinetic, Hysteresis.none),
        status=Status.where(jnp.all(calm), Status.successful, Status.not_converged),
    )


def _loss(point: FixedPoint) -> Array:
    return point.loss
