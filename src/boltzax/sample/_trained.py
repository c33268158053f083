"""Models at some steps of a training by an optimiser of optax."""

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..core import (
    Constraint,
    DeclarationError,
    Key,
    Refused,
    integer,
    model_errors,
    shared_weights,
    typed,
    weights_of,
    with_weights,
)
from ..declare import AbstractDataTerm, AbstractEnergy, amount, subsamplings, total_amount
from ..numerics import optimised


def _optimiser(value: Any) -> Any:
    if not all(callable(getattr(value, name, None)) for name in ("init", "update")):
        raise Refused
    return value


def _steps(value: Any) -> tuple[int, ...]:
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise Refused
    steps = tuple(integer(step) for step in value)
    if not steps or steps[0] < 0 or any(a >= b for a, b in itertools.pairwise(steps)):
        raise Refused
    return steps


Optimiser: TypeAlias = Annotated[
    Any,
    Constraint("an optimiser with `init` and `update`", "pass e.g. optax.adam(1e-2)", _optimiser),
]
"""An optimiser of optax."""

Steps: TypeAlias = Annotated[
    Sequence[int] | np.ndarray,
    Constraint("whole numbers of steps, rising, not negative", "pass e.g. [0, 100, 1000]", _steps),
]


@typed
@model_errors("in bx.trained")
def trained(
    energy: AbstractEnergy, optimiser: Optimiser, steps: Steps, *, key: Key | None = None
) -> list[PyTree]:
    """The model of an energy at some steps of its training, all in one compiled loop.

    What is minimised is the mean loss `E/n`, over all data; of a `Subsampled` measure over the
    minibatch of each step. n is the sample size of the terms; sizes that differ add up. All weights
    move, the prior plays no part: weight decay is one of the optimiser. It can be traced, e.g. for
    many starts by `jax.vmap`.

    Args:
        energy: Its model is where the training starts.
        optimiser: Of optax, such as `optax.adam(1e-2)`, also with schedules and line searches. The
            weights it receives are a dictionary from path to array.
        steps: After how many steps the model is given back, e.g. `[0, 100, 1000]`.
        key: Of the minibatches.

    Returns:
        The model after each of `steps`: as `along_training`, `degrade.Snapshots` and
        `Ensemble.of_models` take them.

    Raises:
        DeclarationError: For a `Subsampled` measure without a key, and for one variable of flax nnx
            at several places, which would move apart.
    """
    shared = shared_weights(energy.terms()[0][1].model)
    if shared:
        path, first = next(iter(shared.items()))
        raise DeclarationError(
            "energy",
            got=f"a model with one nnx.Param at two places, {first!r} and {path!r}",
            expected="weights that are independent",
            mend="train it with an optimiser of flax, which keeps it one",
        )
    if key is None and subsamplings(energy):
        raise DeclarationError(
            "key",
            got="None for an energy of minibatches",
            expected="a key",
            mend="pass key=jax.random.key(0), or an energy over all data",
        )
    key = jax.random.key(0) if key is None else key
    return _trained(energy, optimiser, jnp.asarray(steps), key)


@eqx.filter_jit
def _trained(
    energy: AbstractEnergy, optimiser: Any, steps: Array, key: PRNGKeyArray
) -> list[PyTree]:
    terms = energy.terms()
    declared = terms[0][1].model
    n = total_amount([amount(term) for _, term in terms if isinstance(term, AbstractDataTerm)])

    def loss(weights, step):
        model, own = with_weights(declared, weights), jax.random.fold_in(key, step)
        return sum(factor * term.estimate(model, own) for factor, term in terms) / n

    start = jax.tree.map(jnp.asarray, weights_of(declared))
    places = optimised(loss, start, optimiser, steps)
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], places) for i in range(len(steps))]
    return [with_weights(declared, weights) for weights in each]
