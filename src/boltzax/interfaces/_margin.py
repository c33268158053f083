"""Whether a contract is kept, by how much, and where it is broken worst."""

import math
from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from ..core import Count, DeclarationError, Key, typed
from ..declare import HORIZON, Contract, Interface, Predictor, Specified, depth, output_shape
from ..numerics import sign_descent

Models: TypeAlias = Predictor | Sequence[Predictor] | None
"""Of a contract the model; of a circuit one for each component; None for the declared."""


@typed
class Counterexample(eqx.Module):
    """A value that a contract allows as input, and for which the model breaks the promise.

    Args:
        component: Whose contract it is (0, unless in a circuit).
        value: The logical value of the input.
        x: The input, `[dim]`.
        output: What the model makes of it, `[out]`.
        margin: How far inside the acceptable values the output lies, in its units: negative.
    """

    component: int
    value: Hashable
    x: np.ndarray
    output: np.ndarray
    margin: float

    def __repr__(self) -> str:
        def text(array: np.ndarray) -> str:
            return np.array2string(array, precision=6, separator=", ")

        return (
            f"Counterexample(component {self.component}, value {self.value!r}: "
            f"x = {text(self.x)} -> {text(self.output)}, margin {self.margin:.4g})"
        )


@typed
def margin(contract: Specified, model: Models = None) -> Float[Array, ""]:
    """`min_v min_x dist(model(x), boundary of guarantee(logic(v)))` over sampled x.

    The model is the declared one if not given (of a circuit, one for each component). Never below
    the margin over every x; `certify` bounds that.
    """
    models = each_model(contract, model)
    return contract.margin(models[0] if isinstance(contract, Contract) else models)


@typed
def satisfies(contract: Specified, model: Models = None) -> Bool[Array, ""]:
    """Whether the margin over sampled x is not negative; `certified` covers every x."""
    return margin(contract, model) >= 0


@typed
def tightest(contract: Contract, model: Predictor | None = None) -> Interface:
    """The tightest output interface `T`: for each output value the smallest box that holds the
    image of every input value that is to become it, over sampled x.

    An interface `B` of single boxes with the same values can be guaranteed if and only if
    `T <= B`. A value that nothing becomes has no box.

    Raises:
        DeclarationError: If an output is not finite.
    """
    image = np.asarray(contract.image(each_model(contract, model)[0]))
    if not np.all(np.isfinite(image)):
        raise DeclarationError(
            "model",
            got="an output that is not finite",
            expected="finite outputs for every input that is assumed",
            mend="check the weights, or bound the rays of the input",
        )
    assumed_at = [bool(boxes) for boxes in contract.assume.sets().values()]
    rows = zip(contract.rows, image, assumed_at, strict=True)
    images: dict = {value: [] for value in contract.guarantee.values}
    for row, points, assumed in rows:
        if assumed:
            images[contract.guarantee.values[row]].append(points)
    hulls = {
        value: [(tuple(np.concatenate(cloud).min(0)), tuple(np.concatenate(cloud).max(0)))]
        if cloud
        else []
        for value, cloud in images.items()
    }
    return Interface.boxes(hulls)


@typed
def counterexample(
    contract: Specified,
    model: Models = None,
    *,
    key: Key,
    starts: Count = 64,
    steps: Count = 100,
) -> Counterexample | None:
    """The input with the least margin that a search by gradients finds; `None` if it is not < 0.

    Of each box of each logical value `starts` points are moved `steps` times against the sign of
    the gradient of the margin, and put back into the box. Half of them are `Interface.points`
    (ends, corners, then an even cover), half random; a ray is searched to `HORIZON`. The steps
    shrink to a millionth, for every other start from a quarter of the box, for the rest from
    1/starts of it. The least margin met on the way counts; an output that is not a number has
    margin -inf.

    Steps along signs: Madry et al. (2018), arXiv:1706.06083.

    Args:
        contract: A contract, or a circuit.
        model: The declared one if not given (of a circuit, one for each component).
        key: Of the random starts.
        starts: In each box.
        steps: Of each start.
    """
    worst = None
    models = each_model(contract, model)
    for place, (part, net) in enumerate(zip(contract.contracts, models, strict=True)):
        x, margins = _search(part, net, jax.random.fold_in(key, place), starts, steps)
        row = int(jnp.argmin(margins))
        least = float(margins[row])
        if least < 0 and (worst is None or least < worst.margin):
            value, at = part.assume.values[row], np.asarray(x[row])
            output = np.asarray(net(x[row])).reshape(-1)
            worst = Counterexample(place, value, at, output, least)
    return worst


@typed
def attack(
    contract: Specified,
    model: Models,
    key: Key,
    starts: Count = 64,
    steps: Count = 100,
) -> Float[Array, ""]:
    """The least margin that the search of `counterexample` finds; it can be jitted and vmapped.

    Args:
        starts: Places where the search starts.
        steps: Its steps from each.
    """
    least = jnp.asarray(jnp.inf)
    models = each_model(contract, model)
    for place, (part, net) in enumerate(zip(contract.contracts, models, strict=True)):
        _, margins = _search(part, net, jax.random.fold_in(key, place), starts, steps)
        least = jnp.minimum(least, jnp.min(margins))
    return least


def each_model(contract: Specified, model: PyTree) -> Sequence[PyTree]:
    """The model of each contract.

    Raises:
        DeclarationError: For another number of models, or one that does not fit between the
            interfaces of its contract.
    """
    if model is None:
        return (contract.model,) if isinstance(contract, Contract) else contract.model
    models, contracts = (model,) if isinstance(contract, Contract) else model, contract.contracts
    if not isinstance(models, Sequence) or len(models) != len(contracts):
        raise DeclarationError(
            "model",
            got=f"{type(models).__name__}"
            + (f" of {len(models)}" if isinstance(models, Sequence) else ""),
            expected=f"a model for each of the {len(contracts)} components",
            mend="pass a tuple of models, in the order of the components",
        )
    for part, net in zip(contracts, models, strict=True):
        shape = output_shape(net, (part.assume.dim,))
        if math.prod(shape) != part.guarantee.dim:
            raise DeclarationError(
                "model",
                got=f"an output of shape {shape}",
                expected=f"shape ({part.guarantee.dim},), the dimension of the interface after it",
                mend="match the model's output to the interface",
            )
    return models


@eqx.filter_jit
def _search(
    contract: Contract, model: PyTree, key: PRNGKeyArray, starts: int, steps: int
) -> tuple[Array, Array]:
    """The worst point `[value, dim]` of each logical value, and its margin `[value]`."""
    assume, rows = contract.assume, jnp.asarray(contract.rows)
    count, boxes = assume.lower.shape[:2]
    empty = jnp.any(assume.lower > assume.upper, axis=-1)
    first = jnp.argmin(empty, axis=1)
    pick = jnp.where(empty, first[:, None], jnp.arange(boxes))
    low = jnp.take_along_axis(assume.lower, pick[:, :, None], axis=1)
    high = jnp.take_along_axis(assume.upper, pick[:, :, None], axis=1)
    near = jnp.where(
        jnp.isfinite(low), low, jnp.where(jnp.isfinite(high), high - HORIZON, -HORIZON)
    )
    far = jnp.where(jnp.isfinite(high), high, near + HORIZON)
    fixed = assume.points(max(starts // 2, 2)).reshape(count, boxes, -1, assume.dim)
    unit = jax.random.uniform(key, (count, boxes, max(starts - fixed.shape[2], 1), assume.dim))
    random = near[:, :, None] + unit * (far - near)[:, :, None]
    begin = jnp.concatenate([fixed, random], axis=2)
    sizes = 1e-6 ** (jnp.arange(steps) / max(steps - 1, 1))
    first_size = jnp.where(jnp.arange(begin.shape[2]) % 2 == 0, 0.25, 1 / starts)

    def descended(
        x: Array, size: Array, row: Array, low: Array, high: Array, width: Array
    ) -> tuple[Array, Array]:
        low_side, high_side = contract.guarantee.lower[row], contract.guarantee.upper[row]

        def score(x: Array) -> Array:
            inside = depth(jnp.asarray(model(x)).reshape(-1), low_side, high_side)
            return jnp.where(jnp.isnan(inside), -jnp.inf, inside)

        lengths = sizes[:, None] * size * width
        return sign_descent(score, x, lengths, lambda x: jnp.clip(x, low, high))

    over: Any = jax.vmap(descended, (0, 0, None, None, None, None))
    over = jax.vmap(over, (0, None, None, 0, 0, 0))
    over = jax.vmap(over, (0, None, 0, 0, 0, 0))
    x, margins = over(begin, first_size, rows, low, high, far - near)
    x, margins = x.reshape(count, -1, assume.dim), margins.reshape(count, -1)
    at = jnp.argmin(margins, axis=1)
    worst = jnp.take_along_axis(margins, at[:, None], axis=1)[:, 0]
    worst = jnp.where(jnp.all(empty, axis=1), jnp.inf, worst)
    return jnp.take_along_axis(x, at[:, None, None], axis=1)[:, 0], worst
