"""Loops: self-consistency equations of a few numbers, `m = update(m)`, and their solutions."""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ..core import (
    Count,
    DeclarationError,
    Key,
    Positive,
    Status,
    errors_named,
    raise_if_failed,
    typed,
)
from ..numerics import bisect, polish, search, settle
from ._phases import FieldPhases, distinct, radii
from ._solve import Uniqueness

Kind = Literal["cooperative", "antagonistic"]


@typed
class Loop(eqx.Module):
    """A self-consistency equation `m = update(m)` on a box.

    Args:
        update: `[dim] -> [dim]`; a module's arrays are leaves, so that new numbers do not retrace.
        lower: The lower corner of the box, `[dim]` or one number.
        upper: The upper corner.
        kind: "cooperative" if the update keeps order (no entry of its Jacobian is negative),
            "antagonistic" if it reverses order (none is positive), None if neither is known.
        free_energy: `[dim] -> []`, in units of the user; compared between phases.
        inside: `[dim] -> bool`, whether a place has a meaning (a law exists there); the box is
            always part of it.

    Raises:
        DeclarationError: An empty or infinite box, an unknown kind, or an update that does not give
            back `[dim]`.
    """

    update: Callable
    lower: Float[Array, " dim"]
    upper: Float[Array, " dim"]
    kind: Kind | None = eqx.field(static=True)
    free_energy: Callable | None
    inside: Callable | None

    def __init__(
        self,
        update: Callable,
        lower: float | Float[Array, " dim"],
        upper: float | Float[Array, " dim"],
        *,
        kind: Kind | None = None,
        free_energy: Callable | None = None,
        inside: Callable | None = None,
    ):
        low, high = jnp.atleast_1d(jnp.asarray(lower, float)), jnp.asarray(upper, float)
        low, high = jnp.broadcast_arrays(low, jnp.atleast_1d(high))
        if low.ndim != 1 or not _finite_box(low, high):
            raise DeclarationError(
                "lower",
                got=f"{low} to {high}",
                expected="a finite box, lower < upper, of one axis",
                mend="pass e.g. lower=-1.0, upper=1.0",
            )
        with errors_named(
            "update",
            expected="a function of a place that gives a place",
            mend="write it with jax.numpy: the place is traced",
        ):
            given = jax.eval_shape(update, low)
        if getattr(given, "shape", None) != low.shape:
            raise DeclarationError(
                "update",
                got=f"{given} for places of shape {low.shape}",
                expected="an array of the same shape",
                mend="give back one number for each number of the place",
            )
        self.update, self.lower, self.upper, self.kind = update, low, high, kind
        self.free_energy, self.inside = free_energy, inside

    @property
    def side(self) -> float:
        """The longest side of the box."""
        return float(jnp.max(self.upper - self.lower))

    def residual(self, m: Float[Array, " dim"]) -> Float[Array, ""]:
        """`max |m - update(m)|`."""
        return jnp.max(jnp.abs(m - self.update(m)))

    def holds(self, m: Float[Array, " dim"]) -> Bool[Array, ""]:
        """Whether a place is in the box (to rounding) and inside."""
        slack = 8 * jnp.finfo(m.dtype).eps * (jnp.abs(self.lower) + jnp.abs(self.upper))
        good = jnp.all((m >= self.lower - slack) & (m <= self.upper + slack))
        return good if self.inside is None else good & jnp.all(jnp.asarray(self.inside(m)))


@typed
def fixed_points(
    loop: Loop,
    *,
    key: Key,
    starts: Count = 32,
    tolerance: Positive | None = None,
    steps: Count = 100_000,
    throw: bool = True,
) -> FieldPhases:
    """All fixed points of a loop that are found, and whether it is certain that there is one only.

    - Cooperative: the loop from the top corner falls to the largest fixed point, from the bottom
      corner it rises to the least (Knaster, Tarski; Kleene). If they meet it is unique; if not,
      both are phases, and starts look for what lies between.
    - Antagonistic in one dimension: `m - update(m)` rises, and is halved to its one root.
    - Else: Levenberg and Marquardt's method from `starts` places in the box; roots outside the
      domain are rejected and counted, equal ones merged. Uniqueness is never claimed.

    Args:
        key: Of the starts, and of the places where the declared order is checked.
        tolerance: Of the residual, relative to the largest side of the box; 1e-12 in float64, 1e-5
            in float32. Roots nearer than its square root are one, and so are roots between which no
            residual exceeds it: at a critical point a root is known no better.
        steps: Most steps of a monotone loop.
        throw: Raise `RunError` if no root was found; else look at `status`.
        loop: The map, its box and its kind.

    Raises:
        DeclarationError: If the Jacobian at 64 random places has a sign that `kind` excludes, or a
            cooperative loop leaves its box.
    """
    goal = goal_of(loop, tolerance)
    key_order, key_start = jax.random.split(key)
    check_order(loop, key_order)
    places, unique = np.zeros((0, loop.lower.size), goal.dtype), Uniqueness.unknown
    if loop.kind == "cooperative":
        ends, counts = corners(loop, goal, steps)
        places = np.asarray(ends)
        if bool(jnp.all(counts < steps)) and _same(loop, goal, *places):
            unique = Uniqueness.met
    elif loop.kind == "antagonistic" and loop.lower.size == 1:
        places = np.asarray(_bisected(loop))[None]
        unique = Uniqueness.antitone
    if unique == Uniqueness.unknown:
        drawn = _starts(loop, key_start, starts)
        places = np.concatenate([places, np.asarray(search(loop.update, drawn))])
    looks = _looks(loop, places)
    arrived, held = looks["residual"] <= float(goal), looks["held"]
    good = np.flatnonzero(arrived & held)
    rows, hits = distinct(
        places[good], looks["residual"][good], lambda a, b: _same(loop, goal, a, b)
    )
    rows = good[rows]
    if len(rows) != 1:
        unique = Uniqueness.several if len(rows) else Uniqueness.unknown
    residuals, jacobians, free = (looks[n][rows] for n in ("residual", "jacobian", "free"))
    result = FieldPhases(
        roots=jnp.asarray(places[rows], goal.dtype),
        residuals=jnp.asarray(residuals, goal.dtype),
        radius=jnp.asarray(radii(jacobians), goal.dtype),
        free_energies=None if loop.free_energy is None else jnp.asarray(free, goal.dtype),
        hits=jnp.asarray(hits, int),
        rejected=int(np.sum(arrived & ~held)),
        lost=int(np.sum(~arrived)),
        unique=unique,
        status=Status.successful if len(rows) else Status.not_converged,
    )
    return raise_if_failed(result, result.status, throw)


def goal_of(loop: Loop, tolerance: float | Array | None) -> Float[Array, ""]:
    """The largest residual of a root; `tolerance` as of `fixed_points`."""
    if tolerance is None:
        tolerance = 1e-12 if loop.lower.dtype == jnp.float64 else 1e-5
    return jnp.asarray(tolerance * loop.side, loop.lower.dtype)


def check_order(loop: Loop, key: PRNGKeyArray, count: int = 64) -> None:
    """Raise `DeclarationError` for a loop whose Jacobian at random places contradicts its kind."""
    if loop.kind is None:
        return
    slopes = _looks(loop, np.asarray(_starts(loop, key, count)))["jacobian"]
    sign, never = (1, "negative") if loop.kind == "cooperative" else (-1, "positive")
    worst = float(np.min(sign * slopes))
    if worst < -1e-9 * max(1.0, float(np.max(np.abs(slopes)))):
        place = np.unravel_index(np.argmin(sign * slopes), slopes.shape)
        raise DeclarationError(
            "kind",
            got=f"{loop.kind!r}, with ∂update[{place[1]}]/∂m[{place[2]}] = {sign * worst:.3g}",
            expected=f"an update whose Jacobian is nowhere {never}",
            mend="leave `kind` out",
        )
    if sign > 0:
        slack = 1e-9 * (loop.upper - loop.lower)
        top, bottom = loop.update(loop.upper), loop.update(loop.lower)
        if bool(jnp.any(top > loop.upper + slack) | jnp.any(bottom < loop.lower - slack)):
            raise DeclarationError(
                "upper",
                got=f"an update that takes the corners to {bottom} and {top}",
                expected="a box that a cooperative update maps into itself",
                mend="enlarge the box, or leave `kind` out",
            )


def _looks(loop: Loop, places: np.ndarray) -> dict[str, np.ndarray]:
    """Residual, whether it holds, Jacobian and free energy of each place, compiled for 64."""
    rows = -(-len(places) // 64) * 64
    padded = np.concatenate(
        [places, np.broadcast_to(loop.lower, (rows - len(places), *loop.lower.shape))]
    )
    parts = [_look(loop, jnp.asarray(padded[i : i + 64])) for i in range(0, rows, 64)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: each[: len(places)] for name, each in joined.items()}


@eqx.filter_jit
def _look(loop: Loop, places: Float[Array, "64 dim"]) -> dict[str, Array]:
    def at(m):
        free = jnp.nan if loop.free_energy is None else loop.free_energy(m)
        return {
            "residual": loop.residual(m),
            "held": loop.holds(m),
            "jacobian": jax.jacfwd(loop.update)(m),
            "free": jnp.reshape(jnp.asarray(free, m.dtype), ()),
        }

    return jax.vmap(at)(places)


@eqx.filter_jit
def _bisected(loop: Loop) -> Array:
    """The root of `m - update(m)`, which rises: halved until floats have nothing in between."""
    low, high, _ = bisect(lambda m, _: (m <= loop.update(m), None), loop.lower, loop.upper, 80)
    ends = jnp.stack([low, high])
    return ends[jnp.argmin(jax.vmap(loop.residual)(ends))]


def _starts(loop: Loop, key: PRNGKeyArray, count: int) -> Array:
    u = jax.random.uniform(key, (count, loop.lower.size), loop.lower.dtype)
    return loop.lower + u * (loop.upper - loop.lower)


@eqx.filter_jit
def corners(loop: Loop, goal: Array, steps: int) -> tuple[Float[Array, "2 dim"], Array]:
    """Where the loops from the bottom and from the top end, and their steps."""
    reach = 1e-3 * jnp.max(loop.upper - loop.lower)
    whole_steps = jnp.ones((), loop.lower.dtype)

    def end(start):
        return landed(loop.update, start, goal, steps, whole_steps, reach, reach)

    return jax.vmap(end)(jnp.stack([loop.lower, loop.upper]))


def landed(
    update: Callable,
    start: Array,
    goal: Array,
    steps: int,
    damping: Array,
    reach: Array,
    unsettled: Array | float = -1.0,
) -> tuple[Float[Array, " dim"], Array]:
    """Where a loop ends, and its steps: Newton's method from where it settled, kept within `reach`.

    Args:
        unsettled: The reach from where it did not settle; by default it stays there.
    """  # fmt: skip
    m, count = settle(update, start, goal, steps, damping)
    return polish(update, m, jnp.where(count < steps, reach, unsettled)), count


def _same(loop: Loop, goal: Array, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two roots cannot be told apart: near, or without a residual between them."""
    apart, side = float(np.max(np.abs(a - b))), loop.side
    if apart <= (float(goal) / side) ** 0.5 * side:
        return True
    return apart <= 1e-2 * side and bool(_between(loop, jnp.asarray(a), jnp.asarray(b)) <= goal)


@eqx.filter_jit
def _between(loop: Loop, a: Array, b: Array) -> Array:
    parts = jnp.linspace(0.0, 1.0, 17, dtype=a.dtype)
    return jnp.max(jax.vmap(lambda t: loop.residual(a + t * (b - a)))(parts))


def _finite_box(low: Array, high: Array) -> bool:
    if isinstance(low, Tracer) or isinstance(high, Tracer):
        return True
    return bool(jnp.all(jnp.isfinite(low) & jnp.isfinite(high) & (low < high)))
