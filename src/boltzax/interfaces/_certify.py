"""Certificates: a contract kept, or broken, for every input and not only for those looked at."""

import heapq
import math
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from ..core import Count, DeclarationError, known, typed
from ..declare import HORIZON, Contract, Specified
from ..numerics import bounds, down, up
from ._margin import Counterexample, Models, each_model

CertificateStatus = Literal["holds", "violated", "unknown"]


@typed
class Certificate(eqx.Module):
    """What is proved of a contract (or of all contracts of a circuit).

    - `status`: `"holds"`: every allowed input gives an acceptable output; `"violated"`: `witness`
      does not; `"unknown"`: neither is proved;
    - `lower <= margin over every x <= upper`, both proved, in units of the output;
    - `boxes`: how many boxes of inputs were enclosed;
    - `witness`: the input with the upper bound, where that is negative; else an input, if one was
      met, at which the model gives no finite number (its margin is -inf, and so is `lower`).
    """

    status: CertificateStatus = eqx.field(static=True)
    lower: float
    upper: float
    boxes: int
    witness: Counterexample | None

    @property
    def holds(self) -> bool:
        """Whether the contract is proved."""
        return self.status == "holds"

    @property
    def margin(self) -> tuple[float, float]:
        """The bounds of the margin."""
        return self.lower, self.upper

    def __repr__(self) -> str:
        words = f"Certificate({self.status}: margin in [{self.lower:.6g}, {self.upper:.6g}]"
        words += f", {self.boxes} boxes"
        return words + (f",\n  {self.witness!r})" if self.witness is not None else ")")


@typed
def certify(
    contract: Specified,
    model: Models = None,
    *,
    splits: Count = 10_000,
    gap: float = math.inf,
    batch: Count = 128,
    mean_value: bool = True,
) -> Certificate:
    """Prove a contract, or disprove it, by enclosing the model over boxes of inputs.

    The boxes of `assume` are enclosed (see `enclose`); those whose image is not yet seen to lie in
    one of the maximal boxes of the guarantee are halved along the axis on which the model varies
    most (`width * |slope|`, rays at growing distances), the worst first. It ends when nothing is
    undecided, when some box contains an input that is proved to break the contract, or after
    `splits` boxes (for each contract of a circuit). Rays are covered to their ends.

    The certificate is for the function of real numbers that the model writes down with the weights
    as the floats they are, and for its integers as the machine has them, which wrap around. Where
    that function may be undefined, or where the model itself gives no finite number, nothing is
    proved: the status is unknown, or violated by another input.
    A contract whose margin is exactly zero stays unknown. Raises `DeclarationError` for a model
    with an operation that `enclose` does not know.

    Args:
        model: The declared one if not given (of a circuit, one for each component).
        gap: Go on until the bounds of the margin are no further apart, or `splits` is reached.
        batch: Boxes at a time; each shape compiles once.
        mean_value: See `enclose`.
    """
    if not gap > 0:
        raise DeclarationError(
            "gap", got=repr(gap), expected="a positive number", mend="pass e.g. gap=0.01"
        )
    models = each_model(contract, model)
    proofs = []
    for place, (part, net) in enumerate(zip(contract.contracts, models, strict=True)):
        if not known(part, net):
            raise DeclarationError(
                "model",
                got="a traced model",
                expected="a model with known weights",
                mend="inside jit and vmap use `certified`",
            )
        proofs.append(_prove(part, net, place, splits, gap, batch, mean_value))
    worst = min(proofs, key=lambda proof: proof.upper)
    lower = min(proof.lower for proof in proofs)
    broken = any(proof.status == "violated" for proof in proofs)
    status = "violated" if broken else "holds" if lower >= 0 else "unknown"
    witness = worst.witness
    if witness is None:
        witness = next((proof.witness for proof in proofs if proof.witness is not None), None)
    return Certificate(status, lower, worst.upper, sum(proof.boxes for proof in proofs), witness)


@typed
def certified(
    contract: Specified,
    model: Models = None,
    splits: Count = 64,
    *,
    mean_value: bool = True,
) -> Bool[Array, ""]:
    """Whether every contract is proved with each box of inputs cut into `splits` equal parts.

    In `d` dimensions a grid of at most `splits` cells, `⌊splits^(1/d)⌋` on each side. Rays are cut
    at growing distances, and covered to their ends. It can be jitted and vmapped over models. False
    means that nothing is proved. See `certify`.

    Args:
        splits: Parts of each box of inputs.
        mean_value: Whether bounds use derivatives too; see `certify`.
    """
    models = each_model(contract, model)
    good = jnp.ones((), bool)
    for part, net in zip(contract.contracts, models, strict=True):
        good = good & _covered(part, net, splits, mean_value)
    return good


@eqx.filter_jit
def _covered(contract: Contract, model: PyTree, splits: int, mean_value: bool) -> Array:
    low, high = _cells(contract.assume.lower, contract.assume.upper, splits)
    rows = jnp.asarray(contract.rows)
    sides = contract.guarantee.lower[rows], contract.guarantee.upper[rows]

    def covered(low: Array, high: Array, least: Array, most: Array) -> Array:
        empty = jnp.any(low > high)
        low = jnp.minimum(low, high)
        below, above, _ = bounds(_flat(model), low, high, mean_value)
        number = jnp.all(jnp.isfinite(_vector(model, _middle(low, high))))
        return empty | (number & (_inner(below, above, least, most) >= 0))

    over: Any = jax.vmap(jax.vmap(covered, (0, 0, None, None)))
    return jnp.all(over(low, high, *sides)) & _finite(model)


def _flat(model: PyTree) -> eqx.Partial:
    return eqx.Partial(_vector, model)


def _vector(model: PyTree, x: Array) -> Array:
    """The output as a vector."""
    return jnp.asarray(model(x)).reshape(-1)


def _finite(model: PyTree) -> Array:
    good = jnp.ones((), bool)
    for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)):
        good = good & jnp.all(jnp.isfinite(leaf))
    return good


def _inner(below: Array, above: Array, low: Array, high: Array) -> Array:
    """The least signed distance to the boundary of a union of maximal boxes over a box of outputs.

    A box inside the union lies in one of the maximal boxes, so that nothing is lost. Differences
    are rounded down, exactly zero where they are. -inf if an output may be undefined.
    """
    below, above = below[None], above[None]  # [box, out]
    left = jnp.where(below == low, 0, down(below - low))
    right = jnp.where(above == high, 0, down(high - above))
    return _best(left, right, low, high, jnp.isnan(below) | jnp.isnan(above), -jnp.inf)


def _outer(below: Array, above: Array, low: Array, high: Array) -> Array:
    """The largest such distance over a box of outputs, rounded up; inf if one may be undefined."""
    below, above = below[None], above[None]  # [box, out]
    undefined = jnp.isnan(below) | jnp.isnan(above)
    return _best(up(above - low), up(high - below), low, high, undefined, jnp.inf)


def _best(left, right, low: Array, high: Array, undefined: Array, unknown: float) -> Array:
    """The best of the maximal boxes `[box, out]`, by the distances to both of its sides."""
    # a bound that is infinite on the side where the ray is
    left = jnp.where(low == -jnp.inf, jnp.inf, left)
    right = jnp.where(high == jnp.inf, jnp.inf, right)
    empty = jnp.any(low > high, axis=-1)
    distance = jnp.max(jnp.where(empty, -jnp.inf, jnp.min(jnp.minimum(left, right), axis=-1)))
    return jnp.where(jnp.any(undefined) | jnp.isnan(distance), unknown, distance)


def _cells(low: Array, high: Array, splits: int) -> tuple[Array, Array]:
    """The boxes `[value, box, dim]` cut into cells: `[value, box * cell, dim]` each."""
    dim = low.shape[-1]
    side = max(1, math.floor(splits ** (1 / dim) + 1e-9))
    unit = np.linspace(0, 1, side + 1)
    edges = _edges(low, high, jnp.asarray(unit, low.dtype))  # [value, box, dim, edge]
    grid = np.stack(np.meshgrid(*[np.arange(side)] * dim, indexing="ij"), -1).reshape(-1, dim)
    axes = np.arange(dim)
    cells_low = edges[:, :, axes, grid]
    cells_high = edges[:, :, axes, grid + 1]
    # neighbours overlap by a little, in case a compiler computes an edge twice in two ways
    cells_low = jnp.clip(down(cells_low, 4), low[:, :, None], high[:, :, None])
    cells_high = jnp.clip(up(cells_high, 4), low[:, :, None], high[:, :, None])
    cells_low = jnp.where(grid == 0, low[:, :, None], cells_low)
    cells_high = jnp.where(grid == side - 1, high[:, :, None], cells_high)
    shape = (low.shape[0], -1, dim)
    return cells_low.reshape(shape), cells_high.reshape(shape)


def _edges(low: Array, high: Array, unit: Array) -> Array:
    """Places in a box by a number in [0, 1]; on a ray ever further out, `HORIZON` at most."""
    low, high = low[..., None], high[..., None]
    no_low, no_high = jnp.isinf(low), jnp.isinf(high)
    start, end = jnp.where(no_low, 0.0, low), jnp.where(no_high, 0.0, high)
    out = (1 + 1 / HORIZON) / (1 + 1 / HORIZON - unit) - 1
    back = (1 + 1 / HORIZON) / (unit + 1 / HORIZON) - 1
    ray = jnp.where(no_low, end - back, start + out)
    both = HORIZON * (2 * unit - 1) ** 3
    inner = start + unit * (end - start)
    return jnp.where(no_low & no_high, both, jnp.where(no_low | no_high, ray, inner))


class _Task(eqx.Module):
    """What a box is judged by: the model, and the acceptable boxes of every logical value."""

    model: PyTree
    lower: Float[Array, "value box out"]
    upper: Float[Array, "value box out"]


@eqx.filter_jit
def _judge(task: _Task, low: Array, high: Array, rows: Array, mean_value: bool) -> tuple:
    """Of each box: its margin from below, that of a point from above, the point, the reaches.

    Last, a point at which the model gives no finite number, inf if there is none among those tried.
    """

    def judged(low: Array, high: Array, row: Array) -> tuple:
        sides, fn = (task.lower[row], task.upper[row]), _flat(task.model)
        below, above, steep = bounds(fn, low, high, mean_value)
        wide = _finite_widths(low, high)
        middle = _middle(low, high)
        reach = wide if steep is None else _reach(steep.lower, steep.upper, wide)
        # the middle, and the two ends of the diagonal along which the output moves most
        points = jnp.stack([middle, jnp.where(jnp.isinf(low), middle, low)])
        points = jnp.concatenate([points, jnp.where(jnp.isinf(high), middle, high)[None]])
        at_low, at_high = jax.vmap(lambda x: bounds(fn, x, x, False)[:2])(points)
        seen = jax.vmap(lambda a, b: _outer(a, b, *sides))(at_low, at_high)
        best = jnp.argmin(seen)
        broken = jax.vmap(lambda x: ~jnp.all(jnp.isfinite(fn(x))))(points)
        broken_at = jnp.where(jnp.any(broken), points[jnp.argmax(broken)], jnp.inf)
        return _inner(below, above, *sides), seen[best], points[best], reach, broken_at

    return jax.vmap(judged)(low, high, rows)


def _middle(low: Array, high: Array) -> Array:
    """Where a box is cut: half way, and on a ray at twice the distance."""
    half = jnp.clip(low + 0.5 * (high - low), low, high)
    right, left = low + jnp.maximum(jnp.abs(low), 1), high - jnp.maximum(jnp.abs(high), 1)
    no_low, no_high = jnp.isinf(low), jnp.isinf(high)
    ray = jnp.where(no_low, jnp.where(no_high, 0.0, left), right)
    return jnp.where(no_low | no_high, ray, half)


def _finite_widths(low: Array, high: Array) -> Array:
    wide = high - low
    return jnp.where(jnp.isfinite(wide), wide, 2 * jnp.maximum(jnp.abs(_middle(low, high)), 1))


def _reach(low: Array, high: Array, wide: Array) -> Array:
    """How far the outputs may move along each axis `[dim]`; the widths where that is unbounded."""
    reach = jnp.max(jnp.maximum(jnp.abs(low), jnp.abs(high)), axis=0) * wide
    return jnp.where(jnp.all(jnp.isfinite(reach)), reach, wide)


def _prove(
    contract: Contract,
    model: PyTree,
    place: int,
    splits: int,
    gap: float,
    batch: int,
    mean_value: bool,
) -> Certificate:
    """Branch and bound: the box with the worst lower bound first.

    A box that waits has the bound of the box that it was cut from, so that the bounds of all boxes
    count wherever it ends.
    """
    picked = jnp.asarray(contract.rows)
    guarantee = contract.guarantee
    task = _Task(model, guarantee.lower[picked], guarantee.upper[picked])
    low, high = np.asarray(contract.assume.lower), np.asarray(contract.assume.upper)
    waiting = [
        (low[row, box], high[row, box], row, -math.inf)
        for row, box in np.ndindex(*low.shape[:2])
        if np.all(low[row, box] <= high[row, box])
    ]
    if not bool(_finite(model)):
        return Certificate("unknown", -math.inf, math.inf, 0, None)
    heap: list = []
    used, serial = 0, 0
    upper, witness, settled = math.inf, None, math.inf
    undefined_at = None
    declared = len(waiting)
    if waiting:  # not compiled as a whole: a compiler may take a quotient x / x for 1
        middles = [_middle(jnp.asarray(a), jnp.asarray(b)) for a, b, *_ in waiting]
        outputs = np.asarray(jax.vmap(_flat(model))(jnp.stack(middles)))
        good = np.all(np.isfinite(outputs), axis=-1)
        if not good.all():
            at = int(np.argmin(good))
            settled, undefined_at = -math.inf, (waiting[at][2], np.asarray(middles[at]))

    def undecided() -> bool:
        """Whether the worst box is undecided."""
        least = heap[0][0] if heap else math.inf
        return least < 0 <= upper or (math.isfinite(gap) and least < upper - gap)

    while waiting:
        now, waiting = waiting[:batch], waiting[batch:]
        margins, seen, points, reach, broken_at = _padded(task, now, batch, mean_value)
        used += len(now)
        for i, (a, b, row, parent) in enumerate(now):
            if seen[i] < upper:
                upper, witness = float(seen[i]), (row, points[i])
            if np.isfinite(broken_at[i]).all():
                settled, undefined_at = -math.inf, undefined_at or (row, broken_at[i])
                continue  # no use to cut it
            serial += 1
            least = max(float(margins[i]), parent)
            heapq.heappush(heap, (least, serial, a, b, row, reach[i]))
        if upper < 0 and math.isinf(gap) and used >= declared:
            break
        while not waiting and undecided() and used + 2 <= splits:
            room = min(max(batch // 2, 1), (splits - used) // 2)
            while len(waiting) < 2 * room and undecided():
                margin, _, a, b, row, far = heapq.heappop(heap)
                halves = _halves(a, b, far)
                if halves is None:
                    settled = min(settled, margin)  # too small to cut
                else:
                    waiting += [(*half, row, margin) for half in halves]
    left = [least for least, *_ in heap] + [parent for *_, parent in waiting]
    lower = min([settled, upper, *left])
    example = None
    if upper >= 0 and undefined_at is not None:
        witness, seen_margin = undefined_at, -math.inf
    else:
        seen_margin = upper
    if seen_margin < 0 and witness is not None:
        row, x = witness
        output = np.asarray(model(jnp.asarray(x))).reshape(-1)
        example = Counterexample(place, contract.assume.values[row], x, output, seen_margin)
    status = "violated" if upper < 0 else "holds" if lower >= 0 else "unknown"
    return Certificate(status, lower, upper, used, example)


def _padded(task: _Task, boxes: list, batch: int, mean_value: bool) -> list[np.ndarray]:
    """Judge up to `batch` boxes; the rest of the batch repeats the first."""
    full = [*boxes, *[boxes[0]] * (batch - len(boxes))]
    low, high = (jnp.asarray(np.stack([box[i] for box in full])) for i in (0, 1))
    rows = jnp.asarray([box[2] for box in full])
    return [np.asarray(each) for each in _judge(task, low, high, rows, mean_value)]


def _halves(low: np.ndarray, high: np.ndarray, reach: np.ndarray) -> list | None:
    """The box in two, along the axis of the furthest reach that can be cut."""
    middle = np.asarray(_middle(jnp.asarray(low), jnp.asarray(high)))
    cuts = (middle > low) & (middle < high)
    if not cuts.any():
        return None
    axis = int(np.argmax(np.where(cuts, reach, -1)))
    end, start = high.copy(), low.copy()
    end[axis] = start[axis] = middle[axis]
    return [(low, end), (start, high)]
